//! Records of bounded length, counted and hashed as they are read. A record is a line, or several where a quoted field holds
//! line breaks.

use std::collections::VecDeque;
use std::io::{BufRead, Read as _};

use sha2::{Digest as _, Sha256};

use super::csv::Quotes;
use super::{LINE_BYTES_MAX, OrdersError, Progress};

/// Lines of a record after its first. Where a quote opens on each line and none is closed, each line is looked at so often.
const LINES_MORE_MAX: usize = 100;

pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Lines that were read to see whether a record goes on in them, and are none of it.
    held: VecDeque<(u64, Vec<u8>)>,
    hash: Sha256,
    read: Progress,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        let read = Progress { lines: 0, bytes: 0 };
        Self { reader, buffer: Vec::new(), held: VecDeque::new(), hash: Sha256::new(), read }
    }

    /// The next record and the number of its first line, without its end, without a byte order mark, and without spaces at
    /// either end; `None` after the last. With a separator, quoted fields may hold line breaks. A quote that nothing closes
    /// within [`LINE_BYTES_MAX`] and [`LINES_MORE_MAX`] opens nothing: its line is a record by itself.
    pub(super) fn next(&mut self, separator: Option<u8>) -> Result<Option<(u64, &[u8])>, OrdersError> {
        let spare = std::mem::take(&mut self.buffer);
        let Some((number, line)) = self.line(spare)? else { return Ok(None) };
        self.buffer = line;
        if let Some(separator) = separator {
            self.join(separator)?;
        }
        let record = self.buffer.as_slice();
        let record = if number == 1 { record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record) } else { record };
        // A tab at an end separates an empty field.
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        Ok(Some((number, trim_spaces(record))))
    }

    /// Adds the lines that the record in the buffer goes on in.
    fn join(&mut self, separator: u8) -> Result<(), OrdersError> {
        let mut state = Quotes::Start.after(&self.buffer, separator);
        if state != Quotes::Quoted {
            return Ok(());
        }
        let mut joined = self.buffer.clone();
        let mut taken = Vec::new();
        while state == Quotes::Quoted && joined.len() <= LINE_BYTES_MAX && taken.len() < LINES_MORE_MAX {
            let Some((number, line)) = self.line(Vec::new())? else { break };
            state = state.after(&line, separator);
            joined.extend_from_slice(&line);
            taken.push((number, line));
        }
        if matches!(state, Quotes::Quoted | Quotes::Broken) || joined.len() > LINE_BYTES_MAX {
            taken.into_iter().rev().for_each(|line| self.held.push_front(line));
        } else {
            self.buffer = joined;
        }
        Ok(())
    }

    /// The next line with its end, and its number, in the memory of `line`.
    fn line(&mut self, mut line: Vec<u8>) -> Result<Option<(u64, Vec<u8>)>, OrdersError> {
        if let Some(held) = self.held.pop_front() {
            return Ok(Some(held));
        }
        line.clear();
        let bound = LINE_BYTES_MAX as u64 + 1;
        let bytes = self.reader.by_ref().take(bound).read_until(b'\n', &mut line)?;
        if bytes == 0 {
            return Ok(None);
        }
        self.read.lines += 1;
        self.read.bytes += bytes as u64;
        if bytes > LINE_BYTES_MAX {
            return Err(OrdersError::LineTooLong { line: self.read.lines });
        }
        self.hash.update(&line);
        Ok(Some((self.read.lines, line)))
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
