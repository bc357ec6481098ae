//! The rules of the money: `apply(state, command, now) → outcome`.
//!
//! Time is handed in and never runs backwards: an earlier time is read as the latest seen. Holds end by
//! themselves before anything else happens at their time. Equal histories give equal states and equal answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use kiki_types::{Bar, Channel, Purpose};

use crate::account::{self, Accounts};
use crate::command::{
    Authorize, Bound, Command, FORGOTTEN_MAX, Names, Notice, Notices, Outcome, Policy, Record as Gone, Resolution,
    Verdict,
};
use crate::consent::Consents;
use crate::digest::Digest;
use crate::expiry::Expiry;
use crate::fault::Fault;
use crate::kind::{LimitKind, is_value};
use crate::limit::{Ask, Limit, Wait};
use crate::record::{EntryIndex, First, More, Record, Records, Stage};

/// How long an ended authorization with a key is kept at least.
pub const KEPT_MS: i64 = 24 * 3600 * 1000;

/// The longest hold: 31 days.
pub const TTL_MS_MAX: i64 = 31 * 24 * 3600 * 1000;

/// How long a request waits for the approval that a policy asks for.
pub const POLICY_WAIT_MS: i64 = 24 * 3600 * 1000;

/// Limits on one account.
pub const LIMITS_PER_ACCOUNT_MAX: usize = 16;

/// Bytes in a limit's id.
pub const LIMIT_ID_BYTES_MAX: usize = 192;

/// The name by which missing consent refuses, among the ids of limits.
pub const CONSENT: &str = "consent";
/// The name by which a stop refuses.
pub const STOPPED: &str = "stopped";
/// The name by which a policy refuses.
pub const POLICY: &str = "policy";
/// The name by which an approval is refused that comes from whoever asked.
pub const FOUR_EYES: &str = "four_eyes";
/// Names that refuse and are no limit's.
pub const RESERVED: [&str; 4] = [CONSENT, STOPPED, POLICY, FOUR_EYES];

/// So many denials of a tenant within [`BURST_SECONDS`] are a burst.
pub const BURST_DENIALS: u32 = 20;
/// How long denials are counted together.
pub const BURST_SECONDS: u32 = 60;

/// How large the state may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Accounts of one tenant.
    pub accounts_per_tenant: u32,
    /// Open holds of one tenant.
    pub holds_per_tenant: u32,
    /// Authorizations of one tenant: open holds, and ended ones for as long as their keys are kept.
    pub authorizations_per_tenant: u32,
    /// Limits of one tenant.
    pub limits_per_tenant: u32,
    /// Consents, and people with bars, of all tenants.
    pub consents: u32,
    /// Databases that hand over entries.
    pub sources: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            accounts_per_tenant: 200_000,
            holds_per_tenant: 1_000_000,
            authorizations_per_tenant: 11_000_000,
            limits_per_tenant: 100_000,
            consents: 20_000_000,
            sources: 10_000,
        }
    }
}

/// An outcome, and whether the command was decided now (and so becomes an entry) or is a repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer.
    pub outcome: Outcome,
    /// What else came of it.
    pub notices: Notices,
    /// Whether the log must hold it.
    pub is_new: bool,
}

impl Applied {
    const fn repeat(outcome: Outcome) -> Self {
        Self { outcome, notices: Notices::new_const(), is_new: false }
    }
}

/// A tenant's limits and authorizations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenant {
    /// Where its limits are.
    pub(crate) limits: BTreeSet<u32>,
    pub(crate) holds: u32,
    pub(crate) authorizations: u32,
    /// Ended ones with a key, in the order of their ends.
    pub(crate) ended: VecDeque<u32>,
    /// Ended ones without a key, in that order: no repeat can ask for them, so they go first.
    pub(crate) ended_keyless: VecDeque<u32>,
    /// Those that wait for approval. Their ids begin with the time, so the oldest is first.
    pub(crate) pending: BTreeSet<Digest>,
    /// The accounts at which nothing new is authorized.
    pub(crate) stops: BTreeSet<Arc<str>>,
    /// When the denials that are counted together began, and how many there were.
    pub(crate) denials: (i64, u32),
}

impl Tenant {
    fn end(&mut self, slot: u32, has_key: bool) {
        if has_key {
            self.ended.push_back(slot);
        } else {
            self.ended_keyless.push_back(slot);
        }
    }

    /// Whether an ended authorization may be forgotten at `now`.
    fn may_evict(&self, now: i64, records: &Records) -> bool {
        let oldest = || records.get(*self.ended.front()?);
        !self.ended_keyless.is_empty() || oldest().is_some_and(|oldest| oldest.ended.saturating_add(KEPT_MS) <= now)
    }

    /// Takes out the ended authorization that is to be forgotten first.
    fn evict(&mut self) -> Option<u32> {
        let evicted = self.ended_keyless.pop_front().or_else(|| self.ended.pop_front());
        self.authorizations -= u32::from(evicted.is_some());
        evicted
    }

    /// Counts a denial; tells the one that makes a burst.
    fn deny(&mut self, now: i64) -> Option<Notice> {
        if now.saturating_sub(self.denials.0) >= i64::from(BURST_SECONDS) * 1000 {
            self.denials = (now, 0);
        }
        self.denials.1 = self.denials.1.saturating_add(1);
        let notice = Notice::Denials { denials: BURST_DENIALS, seconds: BURST_SECONDS };
        (self.denials.1 == BURST_DENIALS).then_some(notice)
    }
}

/// The state of all accounts of a shard.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) now: i64,
    pub(crate) bounds: Bounds,
    pub(crate) accounts: Accounts,
    pub(crate) limits: Vec<Limit>,
    /// Places of removed limits, which are used again.
    pub(crate) limits_free: Vec<u32>,
    pub(crate) limits_by_id: HashMap<Arc<str>, u32>,
    pub(crate) records: Records,
    pub(crate) expiry: Expiry,
    /// By the root account.
    pub(crate) tenants: HashMap<u32, Tenant, FixedState>,
    /// The policies in force, by the root account. Beside the tenants: every request looks here, and mostly there is none.
    pub(crate) policies: HashMap<u32, Digest, FixedState>,
    pub(crate) consents: Consents,
    pub(crate) sources: BTreeMap<Digest, i64>,
    /// The number of the latest booking.
    pub(crate) booking: u64,
    /// Commands that were decided: the index of the next entry of the log.
    pub(crate) entries: u64,
    /// Of the command that is being applied: what refuses it, and what is told besides.
    refused_by: Names,
    notices: Notices,
    #[cfg(feature = "faults")]
    faulty: crate::fault::Faulty,
}

impl State {
    /// An empty state.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// The latest time seen, in milliseconds since 1970.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// How many commands were decided: as many entries the log has.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Decides one command at `at`.
    #[inline]
    pub fn apply(&mut self, command: &Command, at: i64) -> Applied {
        let applied = self.answer(command, at);
        self.entries += u64::from(applied.is_new);
        applied
    }

    fn answer(&mut self, command: &Command, at: i64) -> Applied {
        self.advance(at);
        self.begin();
        let outcome = match command {
            Command::Authorize(request) => return self.authorize(request),
            Command::Record(record) => return self.record(record),
            Command::Approve { id, by } => return self.approve(*id, *by),
            Command::Note { from } => return self.note(*from),
            Command::Limit { id, path, kind, shadow } => self.define(id, path, kind, *shadow),
            Command::RemoveLimit { id } => self.remove_limit(id),
            Command::Increase { id, amount } => self.increase(*id, *amount),
            Command::Capture { id, amount } => self.capture(*id, *amount),
            Command::Void { id } => self.void(*id),
            Command::Refund { id, amount } => self.refund(*id, *amount),
            Command::Stop { path } => self.stop(path),
            Command::Resume { path } => self.resume(path),
            Command::Reject { id, .. } => self.reject(*id),
            Command::Policy { path, version } => self.put_policy(path, *version),
            Command::Consent { subject, purpose, granted, channel, until } => {
                self.consent((*subject, *purpose), channel.unwrap_or(Channel::Any), *granted, *until)
            }
            Command::Bar { subject, bar, set } => self.bar(*subject, *bar, *set),
            Command::Forget { subjects } => self.forget(subjects),
            Command::Check { path } => self.check(path),
        };
        self.decided(outcome)
    }

    #[inline]
    fn begin(&mut self) {
        if !self.notices.is_empty() {
            self.notices.clear();
        }
        if !self.refused_by.is_empty() {
            self.refused_by.clear();
        }
    }

    #[inline]
    fn decided(&mut self, outcome: Outcome) -> Applied {
        let is_new = outcome.is_decision();
        let notices = if self.notices.is_empty() { Notices::new_const() } else { std::mem::take(&mut self.notices) };
        Applied { outcome, notices, is_new }
    }

    /// What refuses the command that is being applied, in order.
    #[cold]
    fn refusals(&mut self) -> Names {
        self.refused_by.sort_unstable();
        std::mem::take(&mut self.refused_by)
    }

    /// Lets time pass: holds whose time has come end.
    #[inline]
    pub fn advance(&mut self, at: i64) {
        #[cfg(feature = "faults")]
        self.faulty.forget_consent(&mut self.consents, self.now);
        self.now = self.now.max(at);
        while let Some((until, slot)) = self.expiry.first() {
            if until > self.now {
                break;
            }
            self.resolve(slot, Resolution::Expired, until);
        }
    }

    fn define(&mut self, id: &Arc<str>, path: &str, kind: &LimitKind, shadow: bool) -> Outcome {
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

    fn remove_limit(&mut self, id: &str) -> Outcome {
        let Some(index) = self.limits_by_id.remove(id) else { return Outcome::Unknown };
        let account = self.limits[index as usize].account;
        self.accounts.get_mut(account).limits.retain(|other| *other != index);
        self.limits_free.push(index);
        self.tenant(account).limits.remove(&index);
        Outcome::Removed
    }

    /// The tenant that `account` belongs to.
    pub(crate) fn tenant(&mut self, account: u32) -> &mut Tenant {
        let root = self.accounts.get(account).root;
        self.tenants.entry(root).or_default()
    }

    fn authorize(&mut self, request: &Authorize) -> Applied {
        if let Some(answer) = self.repeated(request.key, request.request) {
            return Applied::repeat(answer);
        }
        let (nearest, missing) = self.accounts.deepest(&request.path);
        let wait = match self.judge_request(request, nearest, missing == 0) {
            Ok(wait) => wait,
            Err(outcome) => return Applied::repeat(outcome),
        };
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
    fn repeated(&self, key: Option<Digest>, request: Option<Digest>) -> Option<Outcome> {
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
    fn is_well_formed(&self, id: Option<Digest>, key: Option<Digest>, request: Option<Digest>) -> bool {
        let is_name = |name: Digest| name != Digest::NONE;
        id.is_none_or(|id| is_name(id) && self.records.by_id(id).is_none())
            && key.is_none_or(|key| is_name(key) && id.is_some() && request.is_some_and(is_name))
    }

    /// What the limits from `nearest` upwards want waited for; those that refuse `ask` are noted.
    #[inline]
    fn judge(&mut self, nearest: Option<u32>, ask: &Ask<'_>) -> Option<Wait> {
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
    fn make_room(&mut self, at: (Option<u32>, u32), is_open: bool) -> Result<(), Bound> {
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
            let is_denied = first == First::Denied;
            return Ok(if is_denied { Outcome::Denied { refused_by: self.refusals() } } else { Outcome::Captured });
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
    fn keep(&mut self, mut record: Record) -> Outcome {
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

    fn count_denial(&mut self, account: Option<u32>) {
        let now = self.now;
        if let Some(notice) = account.and_then(|account| self.tenant(account).deny(now)) {
            self.notices.push(notice);
        }
    }

    /// Money has moved: it counts in every limit above `account` from now.
    #[inline]
    fn book(&mut self, account: Option<u32>, amount: i64) {
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
    fn tell_reached(&mut self, account: Option<u32>) {
        for node in self.accounts.upwards(account) {
            for &index in &node.limits {
                let limit = &mut self.limits[index as usize];
                if let Some(percent) = limit.reached(node.held) {
                    self.notices.push(Notice::Reached { reached: limit.about.id.clone(), percent });
                }
            }
        }
    }

    /// Ends a hold; its money is free.
    #[inline]
    fn resolve(&mut self, slot: u32, resolution: Resolution, at: i64) {
        let Some(record) = self.records.get_mut(slot) else { return };
        let was = std::mem::replace(&mut record.stage, Stage::Ended(resolution));
        record.ended = at;
        record.more = None;
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
    fn held(&self, id: Digest) -> Result<u32, Outcome> {
        match self.open(id)? {
            (slot, Stage::Held) => Ok(slot),
            _ => Err(Outcome::Waiting),
        }
    }

    /// The slot of an authorization that has not ended.
    fn open(&self, id: Digest) -> Result<(u32, Stage), Outcome> {
        let known = self.records.by_id(id).and_then(|slot| Some((slot, self.records.get(slot)?.stage)));
        match known {
            Some((slot, stage)) if stage.is_open() => Ok((slot, stage)),
            Some((_, Stage::Ended(state))) => Err(Outcome::Resolved { state }),
            _ => Err(Outcome::Unknown),
        }
    }

    fn increase(&mut self, id: Digest, by: i64) -> Outcome {
        let slot = match self.held(id) {
            Ok(slot) => slot,
            Err(no) => return no,
        };
        let Some(record) = self.records.get(slot) else { return Outcome::Unknown };
        let account = Some(record.account);
        let Some(total) = record.amount.checked_add(by).filter(|_| by > 0) else { return Outcome::Invalid };
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

    fn capture(&mut self, id: Digest, amount: Option<i64>) -> Outcome {
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
    fn settle(&mut self, slot: u32, amount: i64) {
        self.resolve(slot, Resolution::Captured, self.now);
        let account = self.records.get(slot).map(|record| record.account);
        self.book(account, amount);
        if let Some(record) = self.records.get_mut(slot) {
            record.captured = amount;
            record.booking = self.booking;
        }
    }

    fn void(&mut self, id: Digest) -> Outcome {
        match self.open(id) {
            Ok((slot, _)) => {
                self.resolve(slot, Resolution::Voided, self.now);
                Outcome::Voided
            }
            Err(no) => no,
        }
    }

    fn refund(&mut self, id: Digest, amount: i64) -> Outcome {
        let slot = self.records.by_id(id);
        let Some(record) = slot.and_then(|slot| self.records.get_mut(slot)) else { return Outcome::Unknown };
        match record.stage {
            Stage::Denied => return Outcome::Unknown,
            Stage::Ended(Resolution::Captured) if (1..=record.captured - record.refunded).contains(&amount) => {}
            _ => return Outcome::Invalid,
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

    fn record(&mut self, gone: &Gone) -> Applied {
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
        let (nearest, missing) = self.accounts.deepest(&gone.path);
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

    fn stop(&mut self, path: &str) -> Outcome {
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

    fn resume(&mut self, path: &str) -> Outcome {
        if let Some(account) = self.accounts.find(path) {
            self.accounts.put_stop(account, false);
            self.tenant(account).stops.remove(path);
        }
        Outcome::Resumed
    }

    fn approve(&mut self, id: Digest, by: Digest) -> Applied {
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
            (record.stage, record.until, record.more) = (Stage::Held, until, None);
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

    fn reject(&mut self, id: Digest) -> Outcome {
        match self.open(id) {
            Ok((slot, Stage::Pending)) => {
                self.resolve(slot, Resolution::Rejected, self.now);
                Outcome::Rejected
            }
            Ok(_) => Outcome::Invalid,
            Err(no) => no,
        }
    }

    fn put_policy(&mut self, path: &str, version: Option<Digest>) -> Outcome {
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
    fn policy_over(&self, account: Option<u32>) -> Option<&Digest> {
        self.policies.get(&self.accounts.get(account?).root)
    }

    fn consent(&mut self, consent: (Digest, Purpose), channel: Channel, granted: bool, until: Option<i64>) -> Outcome {
        if until.is_some_and(|until| !granted || until <= self.now) {
            return Outcome::Invalid;
        }
        if !granted {
            #[cfg(feature = "faults")]
            if self.faulty.revoke(consent, channel) {
                return Outcome::Revoked;
            }
            self.consents.revoke(consent, channel, self.now);
            return Outcome::Revoked;
        }
        if self.consents.grant(consent, channel, until, (self.now, self.bounds.consents)) {
            Outcome::Granted
        } else {
            Outcome::Exhausted { of: Bound::Consents }
        }
    }

    fn bar(&mut self, subject: Digest, bar: Bar, set: bool) -> Outcome {
        if !set {
            self.consents.unbar(subject, bar);
            return Outcome::Unbarred;
        }
        if self.consents.bar(subject, bar, (self.now, self.bounds.consents)) {
            Outcome::Barred
        } else {
            Outcome::Exhausted { of: Bound::Consents }
        }
    }

    fn forget(&mut self, subjects: &[Digest]) -> Outcome {
        if !(1..=FORGOTTEN_MAX).contains(&subjects.len()) {
            return Outcome::Invalid;
        }
        for subject in subjects {
            self.consents.forget(*subject);
        }
        Outcome::Forgotten
    }

    /// Refuses when under some limit nothing remains, or nothing new is authorized at all.
    fn check(&mut self, path: &str) -> Outcome {
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

    fn note(&mut self, from: Option<(Digest, i64)>) -> Applied {
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

/// Whether a category and a payee can be such.
#[inline]
fn are_values(category: Option<&str>, payee: Option<&str>) -> bool {
    category.is_none_or(is_value) && payee.is_none_or(is_value)
}
