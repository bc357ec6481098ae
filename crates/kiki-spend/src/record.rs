//! Authorizations: open ones, and ended ones that are kept for repeats of their keys.

use std::sync::Arc;

use kiki_types::Purpose;
use serde::{Deserialize, Serialize};

use crate::command::{Authorize, Outcome, Resolution};
use crate::digest::Digest;
use crate::expiry::Places;

/// What was answered to the request; a repeat gets it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum First {
    Held,
    Captured,
    Denied(Box<[Arc<str>]>),
}

/// Where an authorization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    Held,
    Ended(Resolution),
    Denied,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: Digest,
    pub(crate) key: Option<Digest>,
    pub(crate) account: u32,
    pub(crate) amount: i64,
    pub(crate) consent: Option<(Digest, Purpose)>,
    pub(crate) request: Option<Digest>,
    pub(crate) capture: bool,
    pub(crate) first: First,
    pub(crate) stage: Stage,
    pub(crate) captured: i64,
    pub(crate) until: i64,
    /// Its place among the open holds; without meaning once it has ended.
    #[serde(skip)]
    place: u32,
}

impl Record {
    pub(crate) fn new(request: &Authorize, account: u32, until: i64, first: First) -> Self {
        let (stage, captured) = match first {
            First::Held => (Stage::Held, 0),
            First::Captured => (Stage::Ended(Resolution::Captured), request.amount),
            First::Denied(_) => (Stage::Denied, 0),
        };
        Self {
            id: request.id,
            key: request.key,
            account,
            amount: request.amount,
            consent: request.consent,
            request: request.request,
            capture: request.capture,
            first,
            stage,
            captured,
            until,
            place: 0,
        }
    }

    /// Whether `request`, of the account `path`, is the request that made this record.
    pub(crate) fn is_answer_to(&self, request: &Authorize, path: &str) -> bool {
        *request.path == *path
            && request.amount == self.amount
            && request.consent == self.consent
            && request.request == self.request
            && request.capture == self.capture
    }

    pub(crate) fn first_answer(&self) -> Outcome {
        match &self.first {
            First::Held => Outcome::Held,
            First::Captured => Outcome::Captured,
            First::Denied(refused_by) => Outcome::Denied { refused_by: refused_by.clone() },
        }
    }

    pub(crate) const fn place(&self) -> u32 {
        self.place
    }
}

/// Records in slots that are used again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Records {
    slots: Vec<Option<Record>>,
    free: Vec<u32>,
}

impl Records {
    pub(crate) fn get(&self, slot: u32) -> Option<&Record> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Record> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(crate) fn insert(&mut self, record: Record) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(record);
            slot
        } else {
            self.slots.push(Some(record));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Record> {
        let record = self.slots.get_mut(slot as usize)?.take();
        if record.is_some() {
            self.free.push(slot);
        }
        record
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        (0..).zip(&self.slots).filter_map(|(slot, record)| Some((slot, record.as_ref()?)))
    }
}

impl Places for Records {
    fn moved(&mut self, slot: u32, place: u32) {
        if let Some(record) = self.get_mut(slot) {
            record.place = place;
        }
    }
}
