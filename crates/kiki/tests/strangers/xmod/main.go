// Command xmod checks a log as Go's checksum database checks its own: with golang.org/x/mod/sumdb/note and tlog, which
// know nothing of KIKI. Usage: xmod [-proof FILE]... VKEY PLACE
//
// PLACE is a folder or an http URL that holds checkpoint, tile/<L>/<N> and tile/entries/<N>. The environment variable
// BEARER, if set, is sent as bearer token. A file of -proof is a tlog-proof of this log.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	bundleWidth = 256
	records     = 1000
	pairs       = 100
)

// place reads the files of a log from a folder or over HTTP.
type place struct{ root, bearer string }

func (p place) get(path string) ([]byte, error) {
	if !strings.HasPrefix(p.root, "http://") {
		return os.ReadFile(filepath.Join(p.root, filepath.FromSlash(path)))
	}
	request, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(p.root, "/")+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	if p.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+p.bearer)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// tiles gives the hash tiles to tlog, which checks each against the root before it is used.
type tiles struct {
	place place
	seen  map[tlog.Tile][]byte
}

func (t tiles) Height() int { return 8 }

func (t tiles) SaveTiles(checked []tlog.Tile, data [][]byte) {
	for i, tile := range checked {
		t.seen[tile] = data[i]
	}
}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(wanted))
	for i, tile := range wanted {
		data, known := t.seen[tile]
		if !known {
			var err error
			if data, err = t.place.get("tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")); err != nil {
				return nil, err
			}
		}
		read[i] = data
	}
	return read, nil
}

// checkpoint opens a signed checkpoint: three lines of origin, size, root. (tlog.ParseTree accepts the origin of the
// checksum database alone.)
func checkpoint(raw []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("not three lines of %s: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// entries reads all entries from their bundles and compares the hash of each with its leaf in the tree.
func entries(p place, tree tlog.Tree, hashes tlog.HashReader) ([][]byte, error) {
	var all [][]byte
	for n := int64(0); n*bundleWidth < tree.N; n++ {
		width := tree.N - n*bundleWidth
		if width > bundleWidth {
			width = bundleWidth
		}
		name := tlog.Tile{H: 8, L: 0, N: n, W: int(width)}.Path()
		bundle, err := p.get("tile/entries/" + strings.TrimPrefix(name, "tile/8/0/"))
		if err != nil {
			return nil, err
		}
		var leaves []int64
		for i := n * bundleWidth; i < n*bundleWidth+width; i++ {
			leaves = append(leaves, tlog.StoredHashIndex(0, i))
		}
		expected, err := hashes.ReadHashes(leaves)
		if err != nil {
			return nil, err
		}
		for _, leaf := range expected {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("bundle %d ends within entry %d", n, len(all))
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			if tlog.RecordHash(bundle[2:end]) != leaf {
				return nil, fmt.Errorf("entry %d of bundle %d has not the hash of its leaf", len(all), n)
			}
			all = append(all, bundle[2:end])
			bundle = bundle[end:]
		}
		if len(bundle) > 0 {
			return nil, fmt.Errorf("bundle %d has %d bytes too many", n, len(bundle))
		}
	}
	return all, nil
}

// proveRecords proves entries at random and at the edges, and checks the proofs.
func proveRecords(tree tlog.Tree, hashes tlog.HashReader, all [][]byte, random *rand.Rand) error {
	chosen := []int64{0, tree.N - 1, tree.N / 256 * 256 % tree.N, tree.N/256*256 - 1}
	for len(chosen) < records {
		chosen = append(chosen, random.Int63n(tree.N))
	}
	for _, i := range chosen {
		if i < 0 {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, i, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, i, tlog.RecordHash(all[i])); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// proveTrees proves for random sizes that the tree contains the smaller one.
func proveTrees(tree tlog.Tree, hashes tlog.HashReader, random *rand.Rand) error {
	for i := 0; i < pairs; i++ {
		newer := 1 + random.Int63n(tree.N)
		older := 1 + random.Int63n(newer)
		if i%2 == 0 {
			newer = tree.N
		}
		roots := [2]tlog.Hash{}
		for at, size := range []int64{older, newer} {
			var err error
			if roots[at], err = tlog.TreeHash(size, hashes); err != nil {
				return err
			}
		}
		proof, err := tlog.ProveTree(newer, older, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, newer, roots[1], older, roots[0]); err != nil {
			return fmt.Errorf("%d in %d: %w", older, newer, err)
		}
	}
	return nil
}

// checkProof checks a tlog-proof that KIKI made: its entry, its path and the checkpoint in it.
func checkProof(file string, verifier note.Verifier) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(raw), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a tlog-proof: %q", lines[0])
	}
	tree, err := checkpoint([]byte(signed), verifier)
	if err != nil {
		return err
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	return tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

type files []string

func (f *files) String() string         { return strings.Join(*f, " ") }
func (f *files) Set(value string) error { *f = append(*f, value); return nil }

func check(vkey, root string, proofs files) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	log := place{root, os.Getenv("BEARER")}
	raw, err := log.get("checkpoint")
	if err != nil {
		return err
	}
	tree, err := checkpoint(raw, verifier)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	hashes := tlog.TileHashReader(tree, tiles{log, map[tlog.Tile][]byte{}})
	if computed, err := tlog.TreeHash(tree.N, hashes); err != nil || computed != tree.Hash {
		return fmt.Errorf("the tiles give the root %v: %v", computed, err)
	}
	all, err := entries(log, tree, hashes)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewSource(1))
	if err := proveRecords(tree, hashes, all, random); err != nil {
		return err
	}
	if err := proveTrees(tree, hashes, random); err != nil {
		return err
	}
	for _, file := range proofs {
		if err := checkProof(file, verifier); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	fmt.Printf("accepted: %d entries, %d records and %d pairs of trees proven, %d proofs of the log's own\n",
		tree.N, records, pairs, len(proofs))
	return nil
}

func main() {
	log.SetFlags(0)
	var proofs files
	flag.Var(&proofs, "proof", "a tlog-proof to check")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: xmod [-proof FILE]... VKEY PLACE")
	}
	if err := check(flag.Arg(0), flag.Arg(1), proofs); err != nil {
		log.Fatal("refused: ", err)
	}
}
