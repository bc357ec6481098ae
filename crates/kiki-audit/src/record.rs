//! The bytes of a segment: a header, then records.
//!
//! Header, 16 bytes: `KIKI`, version (u32 LE), index of the first entry (u64 LE).
//! Record: length of the entry (u32 LE, 1..=65535), CRC-32C (u32 LE) over the entry's index (u64 LE) and the entry,
//! the entry. The index under the checksum makes a record fail where it does not belong: a removed or swapped one is
//! noticed at its exact place.

use crate::entry::ENTRY_BYTES_MAX;

/// Bytes before the first record of a segment.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 16;
/// Bytes before the entry in a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 8;
/// Bytes of the longest record.
pub(crate) const RECORD_BYTES_MAX: usize = RECORD_HEADER_BYTES + ENTRY_BYTES_MAX;

const MAGIC: [u8; 4] = *b"KIKI";
const VERSION: u32 = 1;

/// The header of the segment whose first entry has index `first`.
pub(crate) fn segment_header(first: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..].copy_from_slice(&first.to_le_bytes());
    header
}

/// CRC-32C over the index and the entry.
pub(crate) fn checksum(index: u64, entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&index.to_le_bytes()), entry)
}

/// The two numbers before an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) len: u32,
    pub(crate) checksum: u32,
}

impl RecordHeader {
    pub(crate) fn to_bytes(self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; RECORD_HEADER_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { len: u32::from_le_bytes([a, b, c, d]), checksum: u32::from_le_bytes([e, f, g, h]) }
    }

    /// The entry's length, if a record can have it.
    pub(crate) fn entry_len(self) -> Option<usize> {
        usize::try_from(self.len).ok().filter(|len| (1..=ENTRY_BYTES_MAX).contains(len))
    }
}

/// What is wrong at a place where a record belongs.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The file ends before the record does.
    Short { expected: u64, found: u64 },
    /// No record has this length.
    Length(u32),
    /// The entry, or its index, is another than the one that was written.
    Checksum { expected: u32, found: u32 },
}

impl Fault {
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Short { expected, .. } => format!("a record of {expected} bytes"),
            Self::Length(_) => format!("a record of 1 to {ENTRY_BYTES_MAX} bytes"),
            Self::Checksum { expected, .. } => format!("an entry with checksum {expected:08x} at its index"),
        }
    }

    pub(crate) fn found(&self) -> String {
        match self {
            Self::Short { found, .. } => format!("the end of the file after {found}"),
            Self::Length(len) => format!("length {len}"),
            Self::Checksum { found, .. } => format!("checksum {found:08x}"),
        }
    }
}

/// The entry of the record that `bytes` start with, if it is complete and belongs at `index`.
pub(crate) fn intact(bytes: &[u8], index: u64) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>()?;
    let header = RecordHeader::from_bytes(*header);
    let entry = rest.get(..header.entry_len()?)?;
    (checksum(index, entry) == header.checksum).then_some(entry)
}

/// Where in `bytes` an intact record with `index` starts and ends, if there is one. Cheap on entries of JSON: a
/// length has two zero bytes at the least, JSON has none.
pub(crate) fn find(bytes: &[u8], index: u64) -> Option<(usize, usize)> {
    (0..bytes.len()).find_map(|start| {
        let entry = intact(&bytes[start..], index)?;
        Some((start, start + RECORD_HEADER_BYTES + entry.len()))
    })
}
