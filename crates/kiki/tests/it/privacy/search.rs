//! Looks for personal data in bytes, in every form that something on the way may have given it.

use std::path::{Path, PathBuf};

/// What is looked for, by its first byte.
pub(super) struct Needles(Vec<Vec<(String, Vec<u8>)>>);

impl Needles {
    /// `markers` in the forms of [`forms`].
    pub(super) fn of(markers: &[&str]) -> Self {
        let mut by_first = vec![Vec::new(); 256];
        for marker in markers {
            for (form, bytes) in forms(marker) {
                by_first[usize::from(bytes[0])].push((format!("{marker:?} {form}"), bytes));
            }
        }
        Self(by_first)
    }

    /// The first of them in `hay`.
    pub(super) fn find(&self, hay: &[u8]) -> Option<&str> {
        hay.iter().enumerate().find_map(|(at, &byte)| {
            let mut candidates = self.0[usize::from(byte)].iter();
            candidates.find(|(_, needle)| hay[at..].starts_with(needle)).map(|(name, _)| name.as_str())
        })
    }

    /// Every file below `folder` that one of them is in.
    pub(super) fn in_files(&self, folder: &Path) -> Vec<String> {
        let found = |file: &PathBuf| {
            let inside = self.find(&std::fs::read(file).ok()?).map(str::to_owned);
            let named = self.find(file.strip_prefix(folder).ok()?.to_str()?.as_bytes()).map(str::to_owned);
            Some(format!("{}: {}", file.display(), inside.or(named)?))
        };
        files(folder).iter().filter_map(found).collect()
    }
}

/// Every file below `folder`.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `marker` as it is, in other cases, and as URLs, mail, JSON, hexadecimal digits, base64 and UTF-16 have it.
pub(super) fn forms(marker: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = marker.as_bytes();
    let escaped = |mark: &str, digits: usize, upper: bool| -> Vec<u8> {
        let one = |&byte: &u8| match (byte.is_ascii_alphanumeric() || byte == b'-', upper) {
            (true, _) => char::from(byte).to_string(),
            (false, true) => format!("{mark}{byte:0digits$X}"),
            (false, false) => format!("{mark}{byte:0digits$x}"),
        };
        bytes.iter().map(one).collect::<String>().into_bytes()
    };
    let hex = |upper| -> Vec<u8> {
        let digits = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        bytes.iter().map(digits).collect::<String>().into_bytes()
    };
    let utf16 = |order: fn(u16) -> [u8; 2]| marker.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let mut forms = vec![
        ("as it is", bytes.to_vec()),
        ("in lower case", marker.to_lowercase().into_bytes()),
        ("in upper case", marker.to_uppercase().into_bytes()),
        ("in a URL", escaped("%", 2, true)),
        ("in a URL, small digits", escaped("%", 2, false)),
        ("in a form", String::from_utf8(escaped("%", 2, true)).unwrap().replace("%20", "+").into_bytes()),
        ("in a mail", escaped("=", 2, true)),
        ("in JSON", escaped("\\u", 4, false)),
        ("in hexadecimal digits", hex(false)),
        ("in great hexadecimal digits", hex(true)),
        ("in UTF-16, the low byte first", utf16(u16::to_le_bytes)),
        ("in UTF-16, the high byte first", utf16(u16::to_be_bytes)),
    ];
    for (alphabet, name) in [(b"+/", "in base64"), (b"-_", "in base64 of URLs")] {
        forms.extend((0..3).map(|before| (name, base64_within(bytes, before, *alphabet))));
    }
    forms
}

/// What base64 has for `bytes` wherever they begin `before` bytes after a group of three: without the digits that depend on
/// what stands around them.
fn base64_within(bytes: &[u8], before: usize, last: [u8; 2]) -> Vec<u8> {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let bit = |at: usize| (bytes[at / 8] >> (7 - at % 8)) & 1;
    let first = [0, 4, 2][before];
    let digits = (bytes.len() * 8 - first) / 6;
    let digit = |number: usize| {
        let value = (0..6).fold(0, |value, at| value << 1 | bit(first + number * 6 + at));
        DIGITS.get(usize::from(value)).copied().unwrap_or_else(|| last[usize::from(value) - 62])
    };
    (0..digits).map(digit).collect()
}

#[test]
fn every_form_is_found_wherever_it_stands() {
    let marker = "+49 zq7@x";
    let needles = Needles::of(&[marker]);
    assert_eq!(needles.find(b"+49 zq7 @x and +49zq7@x"), None);
    for (form, bytes) in forms(marker) {
        for place in 0..4 {
            let hay = [&vec![0; place], &*bytes, b"."].concat();
            assert!(needles.find(&hay).is_some(), "{form} at {place}");
        }
    }
    // By Python's base64 of b"zq7-ann", b" zq7-ann" and b"  zq7-ann".
    for (before, expected) in [(0, "enE3LWFub"), (1, "pxNy1hbm"), (2, "6cTctYW5u")] {
        assert_eq!(String::from_utf8(base64_within(b"zq7-ann", before, *b"+/")).unwrap(), expected);
    }
}
