//! Authorizations: open ones, and ended ones that are kept for repeats of their keys and for refunds.

use std::sync::Arc;

use hashbrown::HashTable;
use kiki_types::{Channel, Purpose};
use serde::{Deserialize, Serialize};

use crate::change::{Change, KEYED_CHANGES_MAX};
use crate::command::{Outcome, Resolution};
use crate::digest::Digest;
use crate::expiry::Places;

/// What was answered to the request; a repeat gets it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum First {
    Held,
    Pending,
    Captured,
    Denied,
    Recorded,
}

/// Where an authorization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Held,
    Pending,
    Ended(Resolution),
    Denied,
}

impl Stage {
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Pending)
    }
}

/// What only some authorizations have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct More {
    /// What refused it; of a record, the limits that it broke.
    pub(crate) names: Box<[Arc<str>]>,
    /// What it waits with: the consent that must still stand when it is approved, and who asked.
    pub(crate) consent: Option<(Digest, Purpose, Channel)>,
    pub(crate) by: Option<Digest>,
    pub(crate) four_eyes: bool,
    /// How long the hold lasts from its approval on.
    pub(crate) ttl_ms: u32,
    /// Increases and refunds that took effect under a key, at most [`KEYED_CHANGES_MAX`].
    pub(crate) changes: Vec<Change>,
}

/// The index of an entry of the log, in five bytes. The largest stands for none, as do all beyond: a log of so many
/// entries takes hundreds of terabytes, and misses the indexes of repeats alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryIndex([u8; 5]);

impl EntryIndex {
    const NONE: u64 = (1 << 40) - 1;

    pub(crate) fn new(index: u64) -> Self {
        let [a, b, c, d, e, ..] = index.min(Self::NONE).to_le_bytes();
        Self([a, b, c, d, e])
    }

    fn raw(self) -> u64 {
        let [a, b, c, d, e] = self.0;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }

    pub(crate) fn get(self) -> Option<u64> {
        Some(self.raw()).filter(|&index| index != Self::NONE)
    }
}

impl Serialize for EntryIndex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EntryIndex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::new)
    }
}

/// 120 bytes; [`Digest::NONE`] stands for no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: Digest,
    pub(crate) key: Digest,
    /// The fingerprint of the request that made it.
    pub(crate) request: Digest,
    pub(crate) account: u32,
    pub(crate) amount: i64,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    /// When the hold ends, or would have ended.
    pub(crate) until: i64,
    /// When it ended.
    pub(crate) ended: i64,
    /// The number of its booking, once money has moved.
    pub(crate) booking: u64,
    /// Its place among the open holds; without meaning once it has ended.
    #[serde(skip)]
    place: u32,
    /// The entry of the decision that made it.
    pub(crate) entry: EntryIndex,
    pub(crate) first: First,
    pub(crate) stage: Stage,
    /// Captured in the step that authorizes it.
    pub(crate) capture: bool,
    pub(crate) more: Option<Box<More>>,
}

// Millions of them are kept.
const _: () = assert!(size_of::<Option<Record>>() == 120);

impl Record {
    pub(crate) fn new(id: Digest, account: u32, amount: i64, first: First) -> Self {
        let stage = match first {
            First::Held => Stage::Held,
            First::Pending => Stage::Pending,
            First::Captured | First::Recorded => Stage::Ended(Resolution::Captured),
            First::Denied => Stage::Denied,
        };
        let captured = if matches!(stage, Stage::Ended(_)) { amount } else { 0 };
        Self {
            id,
            key: Digest::NONE,
            request: Digest::NONE,
            account,
            amount,
            captured,
            refunded: 0,
            until: 0,
            ended: 0,
            booking: 0,
            place: 0,
            entry: EntryIndex::new(EntryIndex::NONE),
            first,
            stage,
            capture: false,
            more: None,
        }
    }

    pub(crate) fn names(&self) -> &[Arc<str>] {
        self.more.as_ref().map_or(&[], |more| &more.names)
    }

    pub(crate) fn first_answer(&self) -> Outcome {
        match &self.first {
            First::Held => Outcome::Held,
            First::Pending => Outcome::Pending,
            First::Captured => Outcome::Captured,
            First::Denied => Outcome::Denied { refused_by: self.names().into() },
            First::Recorded => Outcome::Recorded { over: self.names().into() },
        }
    }

    pub(crate) fn changes(&self) -> &[Change] {
        self.more.as_ref().map_or(&[], |more| &more.changes)
    }

    /// Whether the key of one more change can be remembered.
    pub(crate) fn has_room_for_change(&self) -> bool {
        self.changes().len() < KEYED_CHANGES_MAX
    }

    pub(crate) fn remember(&mut self, change: Change) {
        let changes = &mut self.more.get_or_insert_default().changes;
        // Most authorizations are changed once.
        changes.reserve_exact(1);
        changes.push(change);
    }

    /// Forgets what it waited with.
    pub(crate) fn forget_wait(&mut self) {
        let changes = self.more.take().map_or_else(Vec::new, |more| more.changes);
        if !changes.is_empty() {
            self.more = Some(Box::new(More { changes, ..More::default() }));
        }
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key != Digest::NONE
    }

    pub(crate) const fn place(&self) -> u32 {
        self.place
    }
}

/// Records in slots that are used again, in pieces that never move, with an index by id and one by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    slots: Vec<Vec<Option<Record>>>,
    free: Vec<u32>,
    by_id: HashTable<u32>,
    by_key: HashTable<u32>,
}

/// Slots in a piece.
const PIECE: usize = 4096;

fn slot_of(slots: &[Vec<Option<Record>>], slot: u32) -> Option<&Record> {
    slots.get(slot as usize / PIECE)?.get(slot as usize % PIECE)?.as_ref()
}

impl Records {
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Record> {
        slot_of(&self.slots, slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Record> {
        self.slots.get_mut(slot as usize / PIECE)?.get_mut(slot as usize % PIECE)?.as_mut()
    }

    /// The slot of the authorization `id`.
    #[inline]
    pub(crate) fn by_id(&self, id: Digest) -> Option<u32> {
        self.by_id.find(id.spread(), |&slot| self.get(slot).is_some_and(|record| record.id == id)).copied()
    }

    /// The slot of the authorization that `key` made.
    #[inline]
    pub(crate) fn by_key(&self, key: Digest) -> Option<u32> {
        self.by_key.find(key.spread(), |&slot| self.get(slot).is_some_and(|record| record.key == key)).copied()
    }

    pub(crate) fn insert(&mut self, record: Record) -> u32 {
        let (id, key) = (record.id, record.key);
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize / PIECE][slot as usize % PIECE] = Some(record);
            slot
        } else {
            self.push(Some(record))
        };
        self.index(slot, id, key);
        slot
    }

    fn push(&mut self, record: Option<Record>) -> u32 {
        if self.slots.last().is_none_or(|piece| piece.len() == PIECE) {
            self.slots.push(Vec::with_capacity(PIECE));
        }
        let piece = self.slots.len() - 1;
        let last = &mut self.slots[piece];
        last.push(record);
        u32::try_from(piece * PIECE + last.len() - 1).unwrap_or(u32::MAX)
    }

    fn index(&mut self, slot: u32, id: Digest, key: Digest) {
        let of = |slot: u32| slot_of(&self.slots, slot);
        self.by_id.insert_unique(id.spread(), slot, |&slot| of(slot).map_or(0, |record| record.id.spread()));
        if key != Digest::NONE {
            self.by_key.insert_unique(key.spread(), slot, |&slot| of(slot).map_or(0, |record| record.key.spread()));
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(record) = self.get(slot) else { return };
        let (id, key) = (record.id, record.key);
        if let Ok(entry) = self.by_id.find_entry(id.spread(), |&other| other == slot) {
            entry.remove();
        }
        if let Ok(entry) = self.by_key.find_entry(key.spread(), |&other| other == slot) {
            entry.remove();
        }
        self.slots[slot as usize / PIECE][slot as usize % PIECE] = None;
        self.free.push(slot);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        (0..).zip(self.slots.iter().flatten()).filter_map(|(slot, record)| Some((slot, record.as_ref()?)))
    }
}

impl Serialize for Records {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&self.slots)?;
        tuple.serialize_element(&self.free)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (slots, free): (Vec<Vec<Option<Record>>>, Vec<u32>) = Deserialize::deserialize(deserializer)?;
        let is_whole = slots.iter().rev().skip(1).all(|piece| piece.len() == PIECE)
            && slots.last().is_none_or(|piece| piece.len() <= PIECE)
            && free.iter().all(|&slot| {
                slots.get(slot as usize / PIECE).is_some_and(|piece| piece.get(slot as usize % PIECE) == Some(&None))
            });
        if !is_whole {
            return Err(serde::de::Error::custom("records do not hang together"));
        }
        let mut records = Self { slots, free, ..Self::default() };
        for slot in 0..u32::try_from(records.slots.len() * PIECE).unwrap_or(u32::MAX) {
            if let Some((id, key)) = records.get(slot).map(|record| (record.id, record.key)) {
                records.index(slot, id, key);
            }
        }
        Ok(records)
    }
}

impl Places for Records {
    fn moved(&mut self, slot: u32, place: u32) {
        if let Some(record) = self.get_mut(slot) {
            record.place = place;
        }
    }
}
