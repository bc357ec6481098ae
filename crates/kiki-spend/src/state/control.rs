//! What people say over the requests: limits, stops, approvals, policies, consent.

use std::sync::Arc;

use kiki_types::{Bar, Channel, Purpose};

use crate::account;
use crate::command::{Bound, FORGOTTEN_MAX, Names, Outcome, Resolution};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::kind::LimitKind;
use crate::limit::Limit;
use crate::record::{First, Record, Stage};

use super::{Applied, CONSENT, FOUR_EYES, LIMIT_ID_BYTES_MAX, LIMITS_PER_ACCOUNT_MAX, STOPPED, State};

impl State {
    pub(super) fn define(&mut self, id: &Arc<str>, path: &str, kind: &LimitKind, shadow: bool) -> Outcome {
        if !kind.is_valid() || !account::check(path) || !(1..=LIMIT_ID_BYTES_MAX).contains(&id.len()) {
            return Outcome::Invalid;
        }
        let (nearest, missing) = self.accounts.deepest(path);
        if !self.accounts.has_room(nearest, missing, self.bounds.accounts_per_tenant) {
            return Outcome::Exhausted { of: Bound::Accounts };
        }
        let known = self.limits_by_id.get(id).copied();
        let there = nearest.filter(|_| missing == 0);
        if let (Some(index), Some(account)) = (known, there)
            && self.limits[index as usize].account == account
        {
            self.limits[index as usize].replace(kind.clone(), shadow, self.booking, self.now);
            return Outcome::Defined;
        }
        let on_account = there.map_or(0, |account| self.accounts.get(account).limits.len());
        let root = nearest.map(|nearest| self.accounts.get(nearest).root);
        let of_tenant = root.and_then(|root| self.tenants.get(&root)).map_or(0, |tenant| tenant.limits.len());
        if on_account >= LIMITS_PER_ACCOUNT_MAX
            || (known.is_none() && of_tenant >= self.bounds.limits_per_tenant as usize)
        {
            return Outcome::Exhausted { of: Bound::Limits };
        }
        if known.is_some() {
            self.remove_limit(id);
        }
        let account = self.accounts.intern(path);
        let limit = Limit::new(id.clone(), account, kind.clone(), shadow, self.booking, self.now);
        let index = if let Some(index) = self.limits_free.pop() {
            self.limits[index as usize] = limit;
            index
        } else {
            self.limits.push(limit);
            u32::try_from(self.limits.len() - 1).unwrap_or(u32::MAX)
        };
        self.limits_by_id.insert(id.clone(), index);
        // In the order of their places, which a snapshot keeps: the order of notices must not depend on the past.
        let limits = &mut self.accounts.get_mut(account).limits;
        limits.insert(limits.partition_point(|&other| other < index), index);
        self.tenant(account).limits.insert(index);
        Outcome::Defined
    }

    pub(super) fn remove_limit(&mut self, id: &str) -> Outcome {
        let Some(index) = self.limits_by_id.remove(id) else { return Outcome::Unknown };
        let account = self.limits[index as usize].account;
        self.accounts.get_mut(account).limits.retain(|other| *other != index);
        self.limits_free.push(index);
        self.tenant(account).limits.remove(&index);
        Outcome::Removed
    }

    pub(super) fn stop(&mut self, path: &str) -> Outcome {
        if !account::check(path) {
            return Outcome::Invalid;
        }
        let (nearest, missing) = self.accounts.deepest(path);
        if !self.accounts.has_room(nearest, missing, self.bounds.accounts_per_tenant) {
            return Outcome::Exhausted { of: Bound::Accounts };
        }
        let account = self.accounts.intern(path);
        self.accounts.put_stop(account, true);
        let path = self.accounts.get(account).path.clone();
        self.tenant(account).stops.insert(path);
        Outcome::Stopped
    }

    pub(super) fn resume(&mut self, path: &str) -> Outcome {
        if let Some(account) = self.accounts.find(path) {
            self.accounts.put_stop(account, false);
            self.tenant(account).stops.remove(path);
        }
        Outcome::Resumed
    }

    pub(super) fn approve(&mut self, id: Digest, by: Digest) -> Applied {
        let slot = self.records.by_id(id);
        let known = slot.and_then(|slot| Some((slot, self.records.get(slot)?)));
        let Some((slot, record)) = known else { return Applied::repeat(Outcome::Unknown) };
        match (record.stage, record.first) {
            (Stage::Pending, _) => {}
            (Stage::Held, First::Pending) => return Applied::repeat(Outcome::Held),
            (Stage::Ended(Resolution::Captured), First::Pending) if record.capture => {
                return Applied::repeat(Outcome::Captured);
            }
            (Stage::Ended(state), _) => return Applied::repeat(Outcome::Resolved { state }),
            (Stage::Held, _) => return Applied::repeat(Outcome::Invalid),
            (Stage::Denied, _) => return Applied::repeat(Outcome::Unknown),
        }
        let refused_by = self.refuses_approval(record, by);
        if !refused_by.is_empty() {
            return self.decided(Outcome::Denied { refused_by });
        }
        let ttl_ms = record.more.as_deref().map_or(0, |more| more.ttl_ms);
        let (amount, capture, until) = (record.amount, record.capture, self.now.saturating_add(ttl_ms.into()));
        if capture {
            self.settle(slot, amount);
            return self.decided(Outcome::Captured);
        }
        let (account, place) = (record.account, record.place());
        self.tenant(account).pending.remove(&id);
        self.expiry.remove(place, &mut self.records);
        self.expiry.insert(until, slot, &mut self.records);
        if let Some(record) = self.records.get_mut(slot) {
            (record.stage, record.until) = (Stage::Held, until);
            record.forget_wait();
        }
        self.decided(Outcome::Held)
    }

    /// What stands against the approval of a request that waits.
    fn refuses_approval(&self, record: &Record, by: Digest) -> Names {
        let mut refused_by = Names::new();
        let more = record.more.as_deref();
        let agrees = |(subject, purpose, channel)| self.consents.stand(subject, purpose, channel, self.now);
        if more.and_then(|more| more.consent).is_some_and(|consent| !agrees(consent)) {
            refused_by.push(CONSENT.into());
        }
        if more.is_some_and(|more| {
            more.four_eyes && !Fault::FOUR_EYES_IGNORED.is_on() && more.by.is_none_or(|asked| asked == by)
        }) {
            refused_by.push(FOUR_EYES.into());
        }
        if self.accounts.is_stopped(Some(record.account)) {
            refused_by.push(STOPPED.into());
        }
        refused_by
    }

    pub(super) fn reject(&mut self, id: Digest) -> Outcome {
        match self.open(id) {
            Ok((slot, Stage::Pending)) => {
                self.resolve(slot, Resolution::Rejected, self.now);
                Outcome::Rejected
            }
            Ok(_) => Outcome::Invalid,
            Err(no) => no,
        }
    }

    pub(super) fn put_policy(&mut self, path: &str, version: Option<Digest>) -> Outcome {
        if !account::check(path) || account::tenant_of(path) != path {
            return Outcome::Invalid;
        }
        let account = self.accounts.intern(path);
        match version {
            Some(version) => self.policies.insert(account, version),
            None => self.policies.remove(&account),
        };
        // A policy makes a tenant known.
        self.tenant(account);
        Outcome::Defined
    }

    /// The version of the policy that judges what happens at `account`.
    #[inline]
    pub(super) fn policy_over(&self, account: Option<u32>) -> Option<&Digest> {
        self.policies.get(&self.accounts.get(account?).root)
    }

    pub(super) fn consent(
        &mut self,
        consent: (Digest, Purpose),
        channel: Channel,
        (granted, until, asked): (bool, Option<i64>, Option<u64>),
    ) -> Outcome {
        if until.is_some_and(|until| !granted || until <= self.now) || (!granted && asked.is_some()) {
            return Outcome::Invalid;
        }
        if !granted {
            let room = (self.now, self.bounds.revocations);
            self.consents.taken_back.note(consent, channel, room, self.entries);
            #[cfg(feature = "faults")]
            if self.faulty.revoke(consent, channel) {
                return Outcome::Revoked;
            }
            self.consents.revoke(consent, channel, self.now);
            return Outcome::Revoked;
        }
        if asked.is_some_and(|asked| self.consents.taken_back.is_since(consent, channel, asked, self.now)) {
            return Outcome::Stale;
        }
        if self.consents.grant(consent, channel, until, (self.now, self.bounds.consents)) {
            Outcome::Granted
        } else {
            Outcome::Exhausted { of: Bound::Consents }
        }
    }

    pub(super) fn bar(&mut self, subject: Digest, bar: Bar, set: bool) -> Outcome {
        if !set {
            self.consents.unbar(subject, bar);
            return Outcome::Unbarred;
        }
        self.consents.bar(subject, bar);
        Outcome::Barred
    }

    pub(super) fn forget(&mut self, subjects: &[Digest]) -> Outcome {
        if !(1..=FORGOTTEN_MAX).contains(&subjects.len()) {
            return Outcome::Invalid;
        }
        for subject in subjects {
            self.consents.forget(*subject);
        }
        Outcome::Forgotten
    }

    /// Refuses when under some limit nothing remains, or nothing new is authorized at all.
    pub(super) fn check(&mut self, path: &str) -> Outcome {
        let mut refused_by = Names::new();
        if self.accounts.is_stopped(self.accounts.deepest(path).0) {
            refused_by.push(STOPPED.into());
        }
        let is_spent = |standing: &crate::limit::Standing| standing.room.is_some_and(|room| room.remaining == 0);
        let spent = self.standings(path, 1).into_iter().filter(|standing| !standing.is_shadow && is_spent(standing));
        refused_by.extend(spent.map(|standing| standing.limit));
        if refused_by.is_empty() {
            return Outcome::Clear;
        }
        refused_by.sort_unstable();
        Outcome::Denied { refused_by }
    }

    pub(super) fn note(&mut self, from: Option<(Digest, i64)>) -> Applied {
        let mut is_new = true;
        if let Some((source, position)) = from {
            if !self.sources.contains_key(&source) && self.sources.len() >= self.bounds.sources as usize {
                return Applied::repeat(Outcome::Exhausted { of: Bound::Sources });
            }
            let last = self.sources.entry(source).or_insert(i64::MIN);
            is_new = position > *last;
            *last = position.max(*last);
        }
        Applied { is_new, ..Applied::repeat(Outcome::Noted) }
    }
}
