//! Requests for money: what the limits say to one, and what is kept of it.

use kiki_types::Channel;

use crate::account;
use crate::command::{Authorize, Bound, Notice, Notices, Outcome, Policy, Verdict};
use crate::digest::Digest;
use crate::fault::Fault;
use crate::kind::is_value;
use crate::limit::{Ask, Wait};
use crate::record::{EntryIndex, First, More, Record, Stage};

use super::{Applied, CONSENT, POLICY, POLICY_WAIT_MS, STOPPED, State, TTL_MS_MAX};

impl State {
    pub(super) fn authorize(&mut self, request: &Authorize) -> Applied {
        // Before anything else, so that a repeat takes its own place of those that were looked up ahead.
        let (nearest, missing) = self.accounts.deepest_next(&request.path);
        if let Some(answer) = self.repeated(request.key, request.request) {
            return Applied::repeat(answer);
        }
        let wait = match self.judge_request(request, nearest, missing == 0) {
            Ok(wait) => wait,
            Err(outcome) => return Applied::repeat(outcome),
        };
        if self.refused_by.is_empty() && wait.is_none() && request.capture && request.key.is_none() {
            // Nothing of it is kept.
            self.book(nearest, request.amount);
            return self.decided(Outcome::Captured);
        }
        match self.admit(request, (nearest, missing), wait) {
            Ok(outcome) => self.decided(outcome),
            Err(of) => Applied::repeat(Outcome::Exhausted { of }),
        }
    }

    /// What would be answered to `request` now, and what else would be told. Nothing changes.
    pub fn preview(&mut self, request: &Authorize) -> (Outcome, Notices) {
        self.begin();
        let (nearest, missing) = self.accounts.deepest(&request.path);
        if let Some(answer) = self.repeated(request.key, request.request) {
            return (answer, Notices::new());
        }
        let outcome = match self.judge_request(request, nearest, missing == 0) {
            Err(outcome) => return (outcome, Notices::new()),
            Ok(_) if !self.refused_by.is_empty() => Outcome::Denied { refused_by: self.refusals() },
            Ok(Some(_)) => Outcome::Pending,
            Ok(None) if request.capture => Outcome::Captured,
            Ok(None) => Outcome::Held,
        };
        let is_open = matches!(outcome, Outcome::Held | Outcome::Pending);
        match self.room((nearest, missing), is_open) {
            Err(of) if is_open || request.key.is_some() => (Outcome::Exhausted { of }, Notices::new()),
            _ => (outcome, std::mem::take(&mut self.notices)),
        }
    }

    /// The answer to a request whose key was seen before.
    pub(super) fn repeated(&self, key: Option<Digest>, request: Option<Digest>) -> Option<Outcome> {
        let record = self.records.get(self.records.by_key(key?)?)?;
        let is_same = request == Some(record.request) || Fault::CONFLICT_IGNORED.is_on();
        Some(if is_same { record.first_answer() } else { Outcome::Conflict })
    }

    /// What is to be waited for before a request that is no repeat has its money, or why nothing is decided. What
    /// refuses it is noted.
    fn judge_request(
        &mut self,
        request: &Authorize,
        nearest: Option<u32>,
        is_known: bool,
    ) -> Result<Option<Wait>, Outcome> {
        let is_valid = request.amount > 0
            && (0..=TTL_MS_MAX).contains(&request.ttl_ms)
            && self.is_well_formed(Some(request.id), request.key, request.request)
            && (is_known || account::check(&request.path))
            && are_values(request.category.as_deref(), request.payee.as_deref());
        if !is_valid {
            return Err(Outcome::Invalid);
        }
        if self.policy_over(nearest) != request.policy.as_ref().map(|policy| &policy.version) {
            return Err(Outcome::Stale);
        }
        if self.accounts.is_stopped(nearest) {
            self.refused_by.push(STOPPED.into());
            return Ok(None);
        }
        let ask =
            Ask { category: request.category.as_deref(), payee: request.payee.as_deref(), ..Ask::of(request.amount) };
        let wait = self.judge(nearest, &ask);
        if let Some((subject, purpose)) = request.consent
            && !self.consents.stand(subject, purpose, request.channel.unwrap_or(Channel::Any), self.now)
        {
            self.refused_by.push(CONSENT.into());
        }
        match &request.policy {
            Some(Policy { verdict: Verdict::Deny, .. }) => self.refused_by.push(POLICY.into()),
            Some(Policy { verdict: Verdict::Ask, .. }) if wait.is_none() => {
                return Ok(Some(Wait { ms: POLICY_WAIT_MS, four_eyes: false }));
            }
            _ => {}
        }
        Ok(wait)
    }

    #[inline]
    pub(super) fn is_well_formed(&self, id: Option<Digest>, key: Option<Digest>, request: Option<Digest>) -> bool {
        let is_name = |name: Digest| name != Digest::NONE;
        id.is_none_or(|id| is_name(id) && self.records.by_id(id).is_none())
            && key.is_none_or(|key| is_name(key) && id.is_some() && request.is_some_and(is_name))
    }

    /// What the limits from `nearest` upwards want waited for; those that refuse `ask` are noted.
    #[inline]
    pub(super) fn judge(&mut self, nearest: Option<u32>, ask: &Ask<'_>) -> Option<Wait> {
        let mut waits: Option<Wait> = None;
        for node in self.accounts.upwards(nearest) {
            #[cfg(feature = "faults")]
            let held = self.faulty.seen(node, &self.records, &self.accounts);
            #[cfg(not(feature = "faults"))]
            let held = node.held;
            for &index in &node.limits {
                let limit = &mut self.limits[index as usize];
                let wait = limit.wants(ask);
                let refuses = limit.refuses(self.now, ask, held);
                if !refuses && wait.is_none() {
                    continue;
                }
                if limit.is_shadow && !Fault::SHADOW_ENFORCES.is_on() {
                    self.notices.push(Notice::WouldRefuse { would_refuse: limit.about.id.clone() });
                } else if refuses {
                    self.refused_by.push(limit.about.id.clone());
                } else if let Some(wait) = wait {
                    let other = waits.unwrap_or(wait);
                    let four_eyes = wait.four_eyes || other.four_eyes;
                    waits = Some(Wait { ms: wait.ms.min(other.ms), four_eyes });
                }
            }
        }
        waits
    }

    /// Whether one more authorization and `missing` accounts below `nearest` fit; the tenant that must forget an
    /// ended authorization for that.
    fn room(&self, (nearest, missing): (Option<u32>, u32), is_open: bool) -> Result<Option<u32>, Bound> {
        if !self.accounts.has_room(nearest, missing, self.bounds.accounts_per_tenant) {
            return Err(Bound::Accounts);
        }
        let root = nearest.map(|nearest| self.accounts.get(nearest).root);
        let Some(tenant) = root.and_then(|root| self.tenants.get(&root)) else { return Ok(None) };
        if is_open && tenant.holds >= self.bounds.holds_per_tenant {
            return Err(Bound::Holds);
        }
        if tenant.authorizations < self.bounds.authorizations_per_tenant {
            return Ok(None);
        }
        if tenant.may_evict(self.now, &self.records) { Ok(root) } else { Err(Bound::Authorizations) }
    }

    /// As [`State::room`], and forgets what must be.
    pub(super) fn make_room(&mut self, at: (Option<u32>, u32), is_open: bool) -> Result<(), Bound> {
        let full = self.room(at, is_open)?;
        if let Some(evicted) = full.and_then(|root| self.tenants.get_mut(&root)?.evict()) {
            self.records.remove(evicted);
        }
        Ok(())
    }

    /// Takes the money if nothing refuses, and keeps what a later command may ask for.
    fn admit(&mut self, request: &Authorize, at: (Option<u32>, u32), wait: Option<Wait>) -> Result<Outcome, Bound> {
        let first = match (self.refused_by.is_empty(), wait, request.capture) {
            (false, ..) => First::Denied,
            (true, Some(_), _) => First::Pending,
            (true, None, true) => First::Captured,
            (true, None, false) => First::Held,
        };
        let is_open = matches!(first, First::Held | First::Pending);
        let is_kept = is_open || request.key.is_some();
        let account = if is_kept {
            self.make_room(at, is_open)?;
            Some(self.accounts.intern(&request.path))
        } else {
            at.0
        };
        match first {
            First::Denied => {
                self.count_denial(account);
                if Fault::DENIED_BUT_CHARGED.is_on() {
                    self.book(account, request.amount);
                }
            }
            First::Captured => self.book(account, request.amount),
            _ => {}
        }
        let (true, Some(account)) = (is_kept, account) else {
            return Ok(Outcome::Denied { refused_by: self.refusals() });
        };
        let mut record = Record::new(request.id, account, request.amount, first);
        record.key = request.key.unwrap_or(Digest::NONE);
        record.request = request.request.unwrap_or(Digest::NONE);
        record.until = self.now.saturating_add(wait.map_or(request.ttl_ms, |wait| wait.ms));
        record.capture = request.capture;
        if let Some(Wait { four_eyes, .. }) = wait.filter(|_| is_open) {
            let channel = request.channel.unwrap_or(Channel::Any);
            let consent = request.consent.map(|(subject, purpose)| (subject, purpose, channel));
            let by = request.by;
            let ttl_ms = u32::try_from(request.ttl_ms).unwrap_or(u32::MAX);
            record.more = Some(Box::new(More { consent, by, four_eyes, ttl_ms, ..More::default() }));
        } else if first == First::Denied {
            record.more = Some(Box::new(More { names: self.refusals().into_vec().into(), ..More::default() }));
        }
        Ok(self.keep(record))
    }

    /// Keeps a new record: open, or ended now.
    pub(super) fn keep(&mut self, mut record: Record) -> Outcome {
        let outcome = record.first_answer();
        let (account, amount, until, stage) = (record.account, record.amount, record.until, record.stage);
        let (id, has_key) = (record.id, record.has_key());
        record.ended = self.now;
        record.booking = self.booking;
        record.entry = EntryIndex::new(self.entries);
        let slot = self.records.insert(record);
        #[cfg(feature = "faults")]
        self.faulty.opened(slot);
        let tenant = self.tenant(account);
        tenant.authorizations += 1;
        if stage == Stage::Pending {
            tenant.pending.insert(id);
        }
        if stage.is_open() {
            tenant.holds += 1;
            self.expiry.insert(until, slot, &mut self.records);
            self.accounts.hold(account, amount, 1);
            self.tell_reached(Some(account));
        } else {
            tenant.end(slot, has_key);
        }
        outcome
    }

    pub(super) fn count_denial(&mut self, account: Option<u32>) {
        let now = self.now;
        if let Some(notice) = account.and_then(|account| self.tenant(account).deny(now)) {
            self.notices.push(notice);
        }
    }

    /// Money has moved: it counts in every limit above `account` from now.
    #[inline]
    pub(super) fn book(&mut self, account: Option<u32>, amount: i64) {
        self.booking += 1;
        for node in self.accounts.upwards(account) {
            for &index in &node.limits {
                let limit = &mut self.limits[index as usize];
                limit.book(self.now, amount);
                if let Some(percent) = limit.reached(node.held) {
                    self.notices.push(Notice::Reached { reached: limit.about.id.clone(), percent });
                }
            }
        }
    }

    /// Tells which shares of limits above `account` are reached since more is held.
    #[inline]
    pub(super) fn tell_reached(&mut self, account: Option<u32>) {
        for node in self.accounts.upwards(account) {
            for &index in &node.limits {
                let limit = &mut self.limits[index as usize];
                if let Some(percent) = limit.reached(node.held) {
                    self.notices.push(Notice::Reached { reached: limit.about.id.clone(), percent });
                }
            }
        }
    }
}

/// Whether a category and a payee can be such.
#[inline]
pub(super) fn are_values(category: Option<&str>, payee: Option<&str>) -> bool {
    category.is_none_or(is_value) && payee.is_none_or(is_value)
}
