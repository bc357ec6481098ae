//! What changes an authorization without ending it: it grows, or what was captured comes back.

use crate::change::{Change, ChangeKind};
use crate::command::{Bound, Outcome, Resolution};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::limit::Ask;
use crate::record::{EntryIndex, Stage};

use super::{Applied, POLICY, STOPPED, State};

impl State {
    /// Increases or refunds `id`. What took effect under `key` before is answered as it was then, whatever became of
    /// the authorization since, and is not judged again.
    pub(super) fn change(&mut self, id: Digest, kind: ChangeKind, amount: i64, key: Option<Digest>) -> Applied {
        if key == Some(Digest::NONE) {
            return Applied::repeat(Outcome::Invalid);
        }
        if let Some(done) = key.and_then(|key| self.changed(id, key)) {
            let is_same = (done.kind, done.amount) == (kind, amount);
            return Applied::repeat(if is_same { kind.answer() } else { Outcome::Conflict });
        }
        let outcome = match kind {
            ChangeKind::Increase => self.increase(id, amount, key.is_some()),
            ChangeKind::Refund => self.refund(id, amount, key.is_some()),
        };
        if let Some(key) = key.filter(|_| outcome == kind.answer()) {
            let change = Change { key, amount, entry: EntryIndex::new(self.entries), kind };
            let slot = self.records.by_id(id);
            if let Some(record) = slot.and_then(|slot| self.records.get_mut(slot)) {
                record.remember(change);
            }
        }
        self.decided(outcome)
    }

    /// The change of `id` that took effect under `key`.
    fn changed(&self, id: Digest, key: Digest) -> Option<&Change> {
        let record = self.records.get(self.records.by_id(id)?)?;
        record.changes().iter().find(|change| change.key == key)
    }

    /// The index of the entry of the change of `id` that took effect under `key`.
    pub(crate) fn entry_of_change(&self, id: Digest, key: Digest) -> Option<u64> {
        self.changed(id, key)?.entry.get()
    }

    fn increase(&mut self, id: Digest, by: i64, is_keyed: bool) -> Outcome {
        let slot = match self.held(id) {
            Ok(slot) => slot,
            Err(no) => return no,
        };
        let Some(record) = self.records.get(slot) else { return Outcome::Unknown };
        let account = Some(record.account);
        let Some(total) = record.amount.checked_add(by).filter(|_| by > 0) else { return Outcome::Invalid };
        if is_keyed && !record.has_room_for_change() {
            return Outcome::Exhausted { of: Bound::Changes };
        }
        if self.accounts.is_stopped(account) && !Fault::STOP_MISSES_INCREASE.is_on() {
            self.refused_by.push(STOPPED.into());
        } else {
            self.judge(account, &Ask { total, is_new: false, ..Ask::of(by) });
            // Rules judge whole requests; what was judged must not grow into what would have been refused.
            if self.policy_over(account).is_some() {
                self.refused_by.push(POLICY.into());
            }
        }
        if !self.refused_by.is_empty() {
            self.count_denial(account);
            return Outcome::Denied { refused_by: self.refusals() };
        }
        if let (Some(record), Some(account)) = (self.records.get_mut(slot), account) {
            record.amount = total;
            self.accounts.hold(account, by, 0);
        }
        self.tell_reached(account);
        Outcome::Held
    }

    fn refund(&mut self, id: Digest, amount: i64, is_keyed: bool) -> Outcome {
        let slot = self.records.by_id(id);
        let Some(record) = slot.and_then(|slot| self.records.get_mut(slot)) else { return Outcome::Unknown };
        match record.stage {
            Stage::Denied => return Outcome::Unknown,
            Stage::Ended(Resolution::Captured) if (1..=record.captured - record.refunded).contains(&amount) => {}
            _ => return Outcome::Invalid,
        }
        if is_keyed && !record.has_room_for_change() {
            return Outcome::Exhausted { of: Bound::Changes };
        }
        record.refunded += amount;
        let (account, booking, at) = (record.account, record.booking, record.ended);
        for node in self.accounts.upwards(Some(account)) {
            for &index in &node.limits {
                let limit = &mut self.limits[index as usize];
                limit.leave(self.now);
                limit.refund(booking, at, amount);
            }
        }
        Outcome::Refunded
    }
}
