//! How an authorization ends, and money that moved without one.

use crate::account;
use crate::command::{Outcome, Record as Gone, Resolution};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::limit::Ask;
use crate::record::{First, More, Record, Stage};

use super::asking::are_values;
use super::{Applied, State};

impl State {
    /// Ends a hold; its money is free.
    #[inline]
    pub(super) fn resolve(&mut self, slot: u32, resolution: Resolution, at: i64) {
        let Some(record) = self.records.get_mut(slot) else { return };
        let was = std::mem::replace(&mut record.stage, Stage::Ended(resolution));
        record.ended = at;
        record.forget_wait();
        let (account, amount, place, has_key) = (record.account, record.amount, record.place(), record.has_key());
        let id = record.id;
        self.expiry.remove(place, &mut self.records);
        let leaks = (Fault::LEAK_AT_EXPIRY.is_on() && resolution == Resolution::Expired)
            || (Fault::LEAK_AT_VOID.is_on() && resolution == Resolution::Voided);
        if !leaks {
            self.accounts.hold(account, -amount, -1);
        }
        let tenant = self.tenant(account);
        tenant.holds -= 1;
        tenant.end(slot, has_key);
        if was == Stage::Pending {
            tenant.pending.remove(&id);
        }
    }

    /// The slot of an authorization that is held and not waiting.
    #[inline]
    pub(super) fn held(&self, id: Digest) -> Result<u32, Outcome> {
        match self.open(id)? {
            (slot, Stage::Held) => Ok(slot),
            _ => Err(Outcome::Waiting),
        }
    }

    /// The slot of an authorization that has not ended.
    pub(super) fn open(&self, id: Digest) -> Result<(u32, Stage), Outcome> {
        let known = self.records.by_id(id).and_then(|slot| Some((slot, self.records.get(slot)?.stage)));
        match known {
            Some((slot, stage)) if stage.is_open() => Ok((slot, stage)),
            Some((_, Stage::Ended(state))) => Err(Outcome::Resolved { state }),
            _ => Err(Outcome::Unknown),
        }
    }

    pub(super) fn capture(&mut self, id: Digest, amount: Option<i64>) -> Outcome {
        let slot = match self.held(id) {
            Ok(slot) => slot,
            Err(no) => return no,
        };
        let Some(record) = self.records.get(slot) else { return Outcome::Unknown };
        let amount = amount.unwrap_or(record.amount);
        let most = if Fault::CAPTURE_BEYOND_HOLD.is_on() { i64::MAX } else { record.amount };
        if !(1..=most).contains(&amount) {
            return Outcome::Invalid;
        }
        self.settle(slot, amount);
        Outcome::Captured
    }

    /// The hold in `slot` ends and `amount` of it moves.
    pub(super) fn settle(&mut self, slot: u32, amount: i64) {
        self.resolve(slot, Resolution::Captured, self.now);
        let account = self.records.get(slot).map(|record| record.account);
        self.book(account, amount);
        if let Some(record) = self.records.get_mut(slot) {
            record.captured = amount;
            record.booking = self.booking;
        }
    }

    pub(super) fn void(&mut self, id: Digest) -> Outcome {
        match self.open(id) {
            Ok((slot, _)) => {
                self.resolve(slot, Resolution::Voided, self.now);
                Outcome::Voided
            }
            Err(no) => no,
        }
    }

    pub(super) fn record(&mut self, gone: &Gone) -> Applied {
        if let Some(answer) = self.repeated(gone.key, gone.request) {
            return Applied::repeat(answer);
        }
        let is_valid = gone.amount > 0
            && self.is_well_formed(gone.id, gone.key, gone.request)
            && account::check(&gone.path)
            && are_values(gone.category.as_deref(), gone.payee.as_deref());
        if !is_valid {
            return Applied::repeat(Outcome::Invalid);
        }
        let (nearest, missing) = self.accounts.deepest_next(&gone.path);
        if gone.id.is_some()
            && let Err(of) = self.make_room((nearest, missing), false)
        {
            return Applied::repeat(Outcome::Exhausted { of });
        }
        let ask = Ask { category: gone.category.as_deref(), payee: gone.payee.as_deref(), ..Ask::of(gone.amount) };
        self.judge(nearest, &ask);
        let over = self.refusals();
        self.book(nearest, gone.amount);
        let Some(id) = gone.id else { return self.decided(Outcome::Recorded { over }) };
        let account = self.accounts.intern(&gone.path);
        let mut record = Record::new(id, account, gone.amount, First::Recorded);
        record.key = gone.key.unwrap_or(Digest::NONE);
        record.request = gone.request.unwrap_or(Digest::NONE);
        record.until = self.now;
        if !over.is_empty() {
            record.more = Some(Box::new(More { names: over.into_vec().into(), ..More::default() }));
        }
        let outcome = self.keep(record);
        self.decided(outcome)
    }
}
