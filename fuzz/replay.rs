//! The quick and deterministic part of fuzzing, for `cargo test`: the seeds of a target, every input that ever failed, and
//! mutations of both. Included by the tests of the crates that have targets.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Bytes of a mutation at the most.
const BYTES_MAX: usize = 16 * 1024;

/// What is put in: numbers and marks that readers and models might stumble over.
const TOKENS: [&[u8]; 40] = [
    b"0",
    b"-1",
    b"1e308",
    b"1e-320",
    b"NaN",
    b"inf",
    b"9223372036854.775807",
    b"9223372036854.775808",
    b"0.0000001",
    b"99999999999999999999",
    b"-0",
    b"\"",
    b"\"\"",
    b"\"\n",
    b"\r",
    b"\n",
    b"\r\n",
    b"\t",
    b",",
    b";",
    b"{",
    b"}",
    b"[",
    b":",
    b"null",
    b"true",
    b"\\u0000",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\0",
    b" ",
    b"9999-12-31",
    b"-9999-01-01",
    b"00010101",
    b"1997-02-30",
    b"1997-01-01T00:00:00Z",
    b"1997-01-01 00:00:00 -0400",
    b"24:00:00",
    b"customer",
    b"\xf0\x9f\x9b\x92",
];

/// Tries each file of `fuzz/seeds/<target>` and `fuzz/found/<target>`, then `mutations` of them.
pub(super) fn replay(target: &str, mutations: u64, try_out: impl Fn(&[u8])) {
    let seeds = files(target);
    assert!(!seeds.is_empty(), "fuzz/seeds/{target} is empty");
    for (name, bytes) in &seeds {
        attempt(name, bytes, &try_out);
    }
    for seed in 0..mutations {
        let mut random = Random(seed);
        let bytes = mutated(&seeds, &mut random);
        attempt(&format!("mutation {seed} of {target}"), &bytes, &try_out);
    }
}

/// A failure names the input, which belongs into `fuzz/found` once it is mended.
fn attempt(name: &str, bytes: &[u8], try_out: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| try_out(bytes))) {
        eprintln!("{name} failed: b\"{}\"", bytes.escape_ascii());
        resume_unwind(panic);
    }
}

fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folders = ["seeds", "found"].map(|folder| root.join(folder).join(target));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.display().to_string(), fs::read(&path).expect("a readable file"));
    paths.into_iter().map(read).collect()
}

/// Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

fn mutated(seeds: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].1.clone();
    for _ in 0..=random.below(6) {
        mutate(&mut bytes, &seeds[random.below(seeds.len())].1, random);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

/// One change: of a byte, a word, a line, or the order of lines.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let (at, end) = span(bytes.len(), random);
    match random.below(11) {
        0 if at < bytes.len() => bytes[at] = random.byte(),
        1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            insert(bytes, at, &again);
        }
        4 => insert(bytes, at, TOKENS[random.below(TOKENS.len())]),
        5 => replace_word(bytes, at, TOKENS[random.below(TOKENS.len())]),
        6 => {
            let (from, to) = span(other.len(), random);
            insert(bytes, at, &other[from..to]);
        }
        7 => bytes.truncate(at),
        8 => change_lines(bytes, random),
        9 => *bytes = bytes.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]),
        _ => insert(bytes, at, &random.next().to_le_bytes()),
    }
}

/// A place and one at most 64 bytes behind it.
fn span(length: usize, random: &mut Random) -> (usize, usize) {
    let at = random.below(length + 1);
    (at, (at + random.below(64)).min(length))
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    bytes.splice(at..at, more.iter().copied());
}

/// Puts `token` in the place of the word at `at`.
fn replace_word(bytes: &mut Vec<u8>, at: usize, token: &[u8]) {
    let ends = |byte: &u8| b",;\t\n\r\" :{}".contains(byte);
    let start = bytes[..at].iter().rposition(ends).map_or(0, |place| place + 1);
    let end = bytes[at..].iter().position(ends).map_or(bytes.len(), |place| at + place);
    bytes.splice(start..end, token.iter().copied());
}

/// Repeats a line, exchanges two, or leaves one out.
fn change_lines(bytes: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(3) {
        0 if !lines.is_empty() => lines.insert(other, lines[one].clone()),
        1 if !lines.is_empty() => lines.swap(one, other),
        _ if !lines.is_empty() => drop(lines.remove(one)),
        _ => {}
    }
    *bytes = lines.concat();
}
