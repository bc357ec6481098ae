//! What is kept of a tenant beside its accounts.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::command::Notice;
use crate::digest::Digest;
use crate::record::Records;

use super::{BURST_DENIALS, BURST_SECONDS, KEPT_MS};

/// A tenant's limits and authorizations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenant {
    /// Where its limits are.
    pub(crate) limits: BTreeSet<u32>,
    pub(crate) holds: u32,
    pub(crate) authorizations: u32,
    /// Ended ones with a key, in the order of their ends.
    pub(crate) ended: VecDeque<u32>,
    /// Ended ones without a key, in that order: no repeat of the request can ask for them, so they
    /// go first.
    pub(crate) ended_keyless: VecDeque<u32>,
    /// Those that wait for approval. Their ids begin with the time, so the oldest is first.
    pub(crate) pending: BTreeSet<Digest>,
    /// The accounts at which nothing new is authorized.
    pub(crate) stops: BTreeSet<Arc<str>>,
    /// When the denials that are counted together began, and how many there were.
    pub(crate) denials: (i64, u32),
}

impl Tenant {
    pub(super) fn end(&mut self, slot: u32, has_key: bool) {
        if has_key {
            self.ended.push_back(slot);
        } else {
            self.ended_keyless.push_back(slot);
        }
    }

    /// Whether an ended authorization may be forgotten at `now`.
    pub(super) fn may_evict(&self, now: i64, records: &Records) -> bool {
        let oldest = || records.get(*self.ended.front()?);
        !self.ended_keyless.is_empty() || oldest().is_some_and(|oldest| oldest.ended.saturating_add(KEPT_MS) <= now)
    }

    /// Takes out the ended authorization that is to be forgotten first.
    pub(super) fn evict(&mut self) -> Option<u32> {
        let evicted = self.ended_keyless.pop_front().or_else(|| self.ended.pop_front());
        self.authorizations -= u32::from(evicted.is_some());
        evicted
    }

    /// Counts a denial; tells the one that makes a burst.
    pub(super) fn deny(&mut self, now: i64) -> Option<Notice> {
        if now.saturating_sub(self.denials.0) >= i64::from(BURST_SECONDS) * 1000 {
            self.denials = (now, 0);
        }
        self.denials.1 = self.denials.1.saturating_add(1);
        let notice = Notice::Denials { denials: BURST_DENIALS, seconds: BURST_SECONDS };
        (self.denials.1 == BURST_DENIALS).then_some(notice)
    }
}
