//! Entries on their way to the log, laid out as they will be on disk.
//!
//! A batch is one buffer that is used again and again: pushing allocates nothing once it has grown. Indexes and
//! checksums are stamped by [`Log::append`](crate::Log::append), which knows the first index.

use kiki_types::event::AuditEvent;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::entry::{ENTRY_BYTES_MAX, write_event};
use crate::record::{RECORD_HEADER_BYTES, RecordHeader, checksum};

/// Bytes of the largest batch.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

/// Entries that become durable together.
#[derive(Default)]
pub struct Batch {
    /// Records; their checksums are zero until stamped.
    buffer: Vec<u8>,
    entries: usize,
}

/// Why an entry was not added. The batch is as before.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The entry is longer than [`ENTRY_BYTES_MAX`].
    #[error("an entry of {bytes} bytes is longer than {ENTRY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The batch would be larger than [`BATCH_BYTES_MAX`]: append it first.
    #[error("the batch is full")]
    Full,
    /// The body does not serialize.
    #[error("the body cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry whose body is JSON already.
    ///
    /// # Errors
    /// The entry is too long or the batch is full.
    pub fn push(&mut self, event: &AuditEvent, body: Option<&RawValue>) -> Result<(), PushError> {
        self.push_record(event, |out| {
            if let Some(body) = body {
                out.extend_from_slice(b",\"body\":");
                out.extend_from_slice(body.get().as_bytes());
            }
            Ok(())
        })
    }

    /// Adds an entry and serializes its body straight into the batch.
    ///
    /// # Errors
    /// The body does not serialize, the entry is too long, or the batch is full.
    pub fn push_with<T: Serialize + ?Sized>(&mut self, event: &AuditEvent, body: &T) -> Result<(), PushError> {
        self.push_record(event, |out| {
            out.extend_from_slice(b",\"body\":");
            serde_json::to_writer(out, body)
        })
    }

    fn push_record(
        &mut self,
        event: &AuditEvent,
        write_body: impl FnOnce(&mut Vec<u8>) -> Result<(), serde_json::Error>,
    ) -> Result<(), PushError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        write_event(&mut self.buffer, event);
        let written = write_body(&mut self.buffer).map_err(PushError::from);
        self.buffer.push(b'}');
        let pushed = written.and_then(|()| self.seal(start));
        match pushed {
            Ok(()) => self.entries += 1,
            Err(_) => self.buffer.truncate(start),
        }
        pushed
    }

    /// Writes the length of the record at `start`, if it may be added.
    fn seal(&mut self, start: usize) -> Result<(), PushError> {
        let bytes = self.buffer.len() - start - RECORD_HEADER_BYTES;
        let len = u32::try_from(bytes).ok().filter(|_| bytes <= ENTRY_BYTES_MAX).ok_or(PushError::TooLong { bytes })?;
        if self.buffer.len() > BATCH_BYTES_MAX {
            return Err(PushError::Full);
        }
        let header = RecordHeader { len, checksum: 0 }.to_bytes();
        self.buffer[start..start + RECORD_HEADER_BYTES].copy_from_slice(&header);
        Ok(())
    }

    /// Gives the entries the indexes from `first` on: writes their checksums.
    pub(crate) fn stamp(&mut self, first: u64) -> &[u8] {
        let mut rest = self.buffer.as_mut_slice();
        let mut index = first;
        while let Some((head, tail)) = rest.split_first_chunk_mut::<RECORD_HEADER_BYTES>() {
            let mut header = RecordHeader::from_bytes(*head);
            let len = usize::try_from(header.len).unwrap_or(usize::MAX).min(tail.len());
            let (entry, next) = tail.split_at_mut(len);
            header.checksum = checksum(index, entry);
            *head = header.to_bytes();
            index += 1;
            rest = next;
        }
        &self.buffer
    }

    /// The entries' bytes in their order.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.buffer.as_slice();
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<RECORD_HEADER_BYTES>()?;
            let len = usize::try_from(RecordHeader::from_bytes(*head).len).unwrap_or(usize::MAX);
            let (entry, next) = tail.split_at(len.min(tail.len()));
            rest = next;
            Some(entry)
        })
    }

    /// How many entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Bytes that appending writes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether there is nothing to append.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Forgets the entries and keeps the buffer.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.entries = 0;
    }
}
