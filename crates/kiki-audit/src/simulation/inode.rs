//! The bytes of a file: in the cache, and on the disk.

use std::collections::BTreeSet;

use super::Dice;

const SECTOR_BYTES: usize = 512;

/// A file's bytes. Invariant: where no sector is dirty, a restart finds what `durable` has.
#[derive(Debug, Default)]
pub(super) struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that were written and not synced.
    dirty: BTreeSet<usize>,
}

impl Inode {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        let from = offset.min(self.cached.len());
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        self.dirty.extend(from / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let from = len.min(self.cached.len());
        if len > from {
            self.dirty.extend(from / SECTOR_BYTES..len.div_ceil(SECTOR_BYTES));
        }
        self.cached.resize(len, 0);
        self.dirty.retain(|sector| sector * SECTOR_BYTES < len);
    }

    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
        self.durable.resize(self.cached.len(), 0);
    }

    /// A sync that failed: which sectors it wrote is chance, and none is dirty any more. The length is written.
    pub(super) fn sync_in_part(&mut self, dice: &mut Dice) {
        self.keep_some(dice);
        self.durable.resize(self.cached.len(), 0);
    }

    /// The cache shows what the disk has, but for what is dirty.
    pub(super) fn forget_cached(&mut self) {
        for (sector, bytes) in self.cached.chunks_mut(SECTOR_BYTES).enumerate() {
            if !self.dirty.contains(&sector) {
                let start = sector * SECTOR_BYTES;
                for (offset, byte) in bytes.iter_mut().enumerate() {
                    *byte = self.durable.get(start + offset).copied().unwrap_or(0);
                }
            }
        }
    }

    /// The power goes: each dirty sector is kept or lost, and the length is any from the old to the new.
    pub(super) fn lose(&mut self, dice: &mut Dice) {
        let (old, new) = (self.durable.len(), self.cached.len());
        if !self.dirty.is_empty() || old != new {
            let len = match dice.up_to(3) {
                0 => old,
                1 => old.min(new) + dice.up_to(old.abs_diff(new)),
                _ => new,
            };
            self.keep_some(dice);
            self.durable.resize(len, 0);
        }
        self.cached.clone_from(&self.durable);
    }

    fn keep_some(&mut self, dice: &mut Dice) {
        let kind = dice.up_to(2);
        for sector in std::mem::take(&mut self.dirty) {
            let kept = match kind {
                0 => true,
                1 => dice.coin(),
                _ => dice.up_to(7) > 0,
            };
            if kept {
                self.keep(sector);
            }
        }
    }

    /// The sector reaches the disk, as it is in the cache.
    fn keep(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = self.cached.len().min(start + SECTOR_BYTES);
        if start < end {
            // A disk writes the whole sector: behind the end of the file it has zeros.
            self.durable.resize(self.durable.len().max(end), 0);
            let written = self.durable.len().min(start + SECTOR_BYTES);
            self.durable[start..end].copy_from_slice(&self.cached[start..end]);
            self.durable[end..written].fill(0);
        }
    }
}
