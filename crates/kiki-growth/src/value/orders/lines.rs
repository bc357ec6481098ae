//! Lines of bounded length, counted and hashed as they are read.

use std::io::{BufRead, Read as _};

use sha2::{Digest as _, Sha256};

use super::{LINE_BYTES_MAX, OrdersError, Progress};

pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    hash: Sha256,
    read: Progress,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), hash: Sha256::new(), read: Progress { lines: 0, bytes: 0 } }
    }

    /// The next line and its number, without its end, without a byte order mark, and without spaces at either end;
    /// `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, OrdersError> {
        self.buffer.clear();
        let bound = LINE_BYTES_MAX as u64 + 1;
        let bytes = self.reader.by_ref().take(bound).read_until(b'\n', &mut self.buffer)?;
        if bytes == 0 {
            return Ok(None);
        }
        self.read.lines += 1;
        self.read.bytes += bytes as u64;
        if bytes > LINE_BYTES_MAX {
            return Err(OrdersError::LineTooLong { line: self.read.lines });
        }
        self.hash.update(&self.buffer);
        let line = self.buffer.as_slice();
        let line = if self.read.lines == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        // A tab at an end separates an empty field.
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some((self.read.lines, trim_spaces(line))))
    }

    pub(super) fn progress(&self) -> Progress {
        self.read
    }

    /// Of all that was read, in hexadecimal.
    pub(super) fn sha256(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn trim_spaces(mut line: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = line {
        line = rest;
    }
    line
}
