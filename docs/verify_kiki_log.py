#!/usr/bin/env python3
"""Verifies what a KIKI log has published, with nothing but Python's standard library.

  verify_kiki_log.py proof FILE --key VKEY                   one .tlog-proof: the entry is in the log
  verify_kiki_log.py log DIR_OR_URL --key VKEY [--kept FILE]  a whole log: its entries, or its tiles, give the signed root

VKEY is the text of log.vkey or that file. FILE after --kept is a checkpoint that you kept earlier: the log must still
begin with what it covered. Formats: c2sp.org/signed-note, tlog-checkpoint, tlog-tiles, tlog-proof; RFC 6962; RFC 8032.
"""
import argparse, base64, hashlib, os, sys, urllib.error, urllib.request

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    A, B = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    C, E = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = B - A, E - C, E + C, B + A
    return e * f % P, g * h % P, f * g % P, e * h % P


def mul(n, point):
    result = (0, 1, 1, 0)
    while n:
        result = add(result, point) if n & 1 else result
        point, n = add(point, point), n >> 1
    return result


def decompress(data):
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    x = x if (x * x - x2) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - x2) % P or (x == 0 and sign):
        raise ValueError("not a point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signature_holds(key, message, signature):
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    a, b = mul(s, BASE), add(decompress(signature[:32]), mul(h, decompress(key)))
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def check(holds, complaint):
    if not holds:
        sys.exit("NOT VERIFIED: " + complaint)


def checkpoint(note, vkey):
    """The size and root of a checkpoint that the key has signed."""
    name, key_id, key = vkey.strip().split("+", 2)
    key = base64.b64decode(key, validate=True)
    check(key[0] == 1 and hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] == key_id, "this is no key of a log")
    text, lines = note.rsplit("\n\n", 1)
    text, found = text + "\n", False
    for signer, signature in (line[2:].split(" ") for line in lines.strip("\n").split("\n")):
        signature = base64.b64decode(signature, validate=True)
        if signer == name and signature[:4].hex() == key_id:
            check(signature_holds(key[1:], text.encode(), signature[4:]), "the signature does not match the checkpoint")
            found = True
    check(found, "the checkpoint is not signed by this key")
    origin, size, root = text.split("\n")[:3]
    check(origin == name, "the checkpoint is of " + origin)
    return int(size), base64.b64decode(root, validate=True)


def leaf(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def included(hash, index, size, path):
    """The root that an entry and its path give (RFC 9162, 2.1.3.2); None if the path does not fit."""
    first, last = index, size - 1
    for beside in path:
        if last == 0:
            return None
        if first & 1 or first == last:
            hash = node(beside, hash)
            while first & 1 == 0 and first:
                first, last = first >> 1, last >> 1
        else:
            hash = node(hash, beside)
        first, last = first >> 1, last >> 1
    return hash if last == 0 else None


def proof(text, vkey):
    head, note = text.split("\n\n", 1)
    first, extra, index, *path = head.split("\n")
    check(first == "c2sp.org/tlog-proof@v1" and extra[:6] == "extra " and index[:6] == "index ", "this is no proof of an entry")
    entry, index = base64.b64decode(extra[6:], validate=True), int(index[6:])
    size, root = checkpoint(note, vkey)
    path = [base64.b64decode(hash, validate=True) for hash in path]
    check(0 <= index < size and included(leaf(entry), index, size, path) == root, "the entry is not in the log")
    print(f"verified: entry {index} is in the signed log of {size} entries\n{entry.decode()}")


def read(source, name, token):
    if "://" not in source:
        with open(os.path.join(source, name), "rb") as file:
            return file.read()
    headers = {"authorization": "Bearer " + token} if token else {}
    return urllib.request.urlopen(urllib.request.Request(source.rstrip("/") + "/" + name, headers=headers)).read()


def leaves(source, size, token):
    """The hashes of the entries: of the entries themselves where they are published, else those in the tiles."""
    kind = "entries"
    for tile in range((size + 255) // 256):
        name, rest, width = f"{tile % 1000:03}", tile, min(256, size - 256 * tile)
        while rest >= 1000:
            rest //= 1000
            name = f"x{rest % 1000:03}/{name}"
        name += f".p/{width}" if width < 256 else ""
        try:
            data = read(source, f"tile/{kind}/{name}", token)
        except (FileNotFoundError, urllib.error.HTTPError):
            check(tile == 0, f"tile/{kind}/{name} is missing")
            kind, data = "0", read(source, f"tile/0/{name}", token)
        at = 0
        for _ in range(width):
            start, end = (at, at + 32) if kind == "0" else (at + 2, at + 2 + int.from_bytes(data[at : at + 2], "big"))
            check(len(data) >= end, f"tile/{kind}/{name} is too short")
            yield data[start:end] if kind == "0" else leaf(data[start:end])
            at = end
        check(len(data) == at, f"tile/{kind}/{name} is too long")


def log(source, vkey, kept, token):
    newest, signed = checkpoint(read(source, "checkpoint", token).decode(), vkey)
    wanted = {newest: signed}
    for size, root in (checkpoint(note, vkey) for note in kept):
        check(size <= newest, f"the log has {newest} entries and had {size}")
        check(wanted.setdefault(size, root) == root, f"two histories are signed, of {size} entries each")
    peaks, count = [], 0  # the perfect subtrees from the left: entries, root
    for hash in leaves(source, newest, token):
        peaks, count = peaks + [(1, hash)], count + 1
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            peaks[-2:] = [(2 * peaks[-1][0], node(peaks[-2][1], peaks[-1][1]))]
        if count in wanted:
            root = peaks[-1][1]
            for _, left in reversed(peaks[:-1]):
                root = node(left, root)
            check(root == wanted[count], f"the first {count} entries do not give the root that was signed")
    check(newest or signed == hashlib.sha256().digest(), "the empty log has another root")
    print(f"verified: {count} entries give the signed root {signed.hex()}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=["proof", "log"])
parser.add_argument("source")
parser.add_argument("--key", required=True)
parser.add_argument("--kept", action="append", default=[], help="a checkpoint that you kept")
parser.add_argument("--token", help="sent as bearer token with requests to a URL")
given = parser.parse_args()
key = open(given.key).read() if os.path.exists(given.key) else given.key
try:
    if given.what == "proof":
        proof(open(given.source, encoding="utf-8", newline="").read(), key)
    else:
        log(given.source, key, [open(file, encoding="utf-8", newline="").read() for file in given.kept], given.token)
except (ValueError, IndexError, OSError) as error:
    sys.exit(f"NOT VERIFIED: {error}")
