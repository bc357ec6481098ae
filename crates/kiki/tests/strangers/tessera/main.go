// Command tessera checks a log with Tessera's fsck, which grows the whole tree again from the entry bundles and compares
// every tile and the root. Usage: tessera VKEY PLACE
//
// PLACE is a folder or an http URL that holds checkpoint, tile/<L>/<N> and tile/entries/<N>. The environment variable
// BEARER, if set, is sent as bearer token.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

// A worker that finds a difference ends; the others go on taking what is to be compared.
const workers = 4

// leaves gives the hashes of the entries of a bundle, each of which follows its length.
func leaves(bundle []byte) ([][]byte, error) {
	var hashes [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			return nil, errors.New("a bundle ends within an entry")
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(bundle[2:end]))
		bundle = bundle[end:]
	}
	return hashes, nil
}

func fetcher(place string) (fsck.Fetcher, error) {
	if !strings.HasPrefix(place, "http://") {
		return client.FileFetcher{Root: place}, nil
	}
	root, err := url.Parse(place)
	if err != nil {
		return nil, err
	}
	remote, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return nil, err
	}
	if bearer := os.Getenv("BEARER"); bearer != "" {
		remote.SetAuthorizationHeader("Bearer " + bearer)
	}
	return remote, nil
}

func check(vkey, place string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	source, err := fetcher(place)
	if err != nil {
		return err
	}
	return fsck.New(verifier.Name(), verifier, source, leaves, fsck.Opts{N: workers}).Check(context.Background())
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: tessera VKEY PLACE")
	}
	if err := check(os.Args[1], os.Args[2]); err != nil {
		log.Fatal("refused: ", err)
	}
	fmt.Println("accepted: every tile and the root are those of the entries")
}
