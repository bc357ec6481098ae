//! The rules of the money: `apply(state, command, now) → outcome`.
//!
//! Time is handed in and never runs backwards: an earlier time is read as the latest seen. Holds end by
//! themselves before anything else happens at their time. Equal histories give equal states and equal answers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use kiki_types::Purpose;

use crate::account::{self, Accounts};
use crate::command::{Authorize, Bound, Command, Outcome, Resolution};
use crate::digest::{BuildFolding, Digest};
use crate::expiry::Expiry;
use crate::limit::{Limit, LimitKind};
use crate::record::{First, Record, Records, Stage};

/// How long an ended authorization with a key is kept at least.
pub const KEPT_MS: i64 = 24 * 3600 * 1000;

/// The longest hold: 31 days.
pub const TTL_MS_MAX: i64 = 31 * 24 * 3600 * 1000;

/// Limits on one account.
pub const LIMITS_PER_ACCOUNT_MAX: usize = 16;

/// Bytes in a limit's id.
pub const LIMIT_ID_BYTES_MAX: usize = 192;

/// The name by which missing consent refuses, among the ids of limits.
pub const CONSENT: &str = "consent";

/// How large the state may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Accounts of one tenant.
    pub accounts_per_tenant: u32,
    /// Authorizations of one tenant: open holds, and ended ones for as long as their keys are kept.
    pub authorizations_per_tenant: u32,
    /// Limits, of all tenants.
    pub limits: u32,
    /// Consents, of all tenants.
    pub consents: u32,
    /// Databases that hand over entries.
    pub sources: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            accounts_per_tenant: 100_000,
            authorizations_per_tenant: 1_000_000,
            limits: 100_000,
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
    /// Whether the log must hold it.
    pub is_new: bool,
}

/// A tenant's authorizations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenant {
    pub(crate) authorizations: u32,
    /// Ended ones with a key, in the order of their ends, and when they ended.
    pub(crate) ended: VecDeque<(i64, u32)>,
    /// Ended ones without a key, in that order: no repeat can ask for them, so they go first.
    pub(crate) ended_keyless: VecDeque<u32>,
}

impl Tenant {
    fn end(&mut self, at: i64, slot: u32, has_key: bool) {
        if has_key {
            self.ended.push_back((at, slot));
        } else {
            self.ended_keyless.push_back(slot);
        }
    }

    /// Takes out the ended authorization that is to be forgotten first, if one may be at `now`.
    fn evict(&mut self, now: i64) -> Option<u32> {
        let evicted = match (self.ended_keyless.pop_front(), self.ended.front()) {
            (Some(slot), _) => Some(slot),
            (None, Some(&(ended, slot))) if ended.saturating_add(KEPT_MS) <= now => {
                self.ended.pop_front();
                Some(slot)
            }
            _ => None,
        };
        self.authorizations -= u32::from(evicted.is_some());
        evicted
    }
}

/// The state of all accounts of a shard.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) now: i64,
    pub(crate) bounds: Bounds,
    pub(crate) accounts: Accounts,
    pub(crate) limits: Vec<Limit>,
    pub(crate) limits_by_id: HashMap<Arc<str>, u32>,
    pub(crate) records: Records,
    pub(crate) by_id: HashMap<Digest, u32, BuildFolding>,
    pub(crate) by_key: HashMap<Digest, u32, BuildFolding>,
    pub(crate) expiry: Expiry,
    /// By the root account.
    pub(crate) tenants: HashMap<u32, Tenant>,
    pub(crate) consents: HashSet<(Digest, Purpose), BuildFolding>,
    pub(crate) sources: BTreeMap<Digest, i64>,
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

    /// Decides one command at `at`.
    pub fn apply(&mut self, command: &Command, at: i64) -> Applied {
        self.advance(at);
        let outcome = match command {
            Command::Limit { id, path, kind } => self.define(id, path, *kind),
            Command::Authorize(request) => return self.authorize(request),
            Command::Capture { id, amount } => self.capture(*id, *amount),
            Command::Void { id } => self.void(*id),
            Command::Consent { subject, purpose, granted } => self.consent((*subject, *purpose), *granted),
            Command::Check { path } => self.check(path),
            Command::Note { from } => return self.note(*from),
        };
        Applied { is_new: outcome.is_decision(), outcome }
    }

    /// Lets time pass: holds whose time has come end.
    pub fn advance(&mut self, at: i64) {
        self.now = self.now.max(at);
        while let Some((until, slot)) = self.expiry.first() {
            if until > self.now {
                break;
            }
            self.resolve(slot, Resolution::Expired, until);
        }
    }

    fn define(&mut self, id: &Arc<str>, path: &str, kind: LimitKind) -> Outcome {
        if !kind.is_valid() || !account::check(path) || !(1..=LIMIT_ID_BYTES_MAX).contains(&id.len()) {
            return Outcome::Invalid;
        }
        let known = self.limits_by_id.get(id).copied();
        if known.is_none() && self.limits.len() >= self.bounds.limits as usize {
            return Outcome::Exhausted { of: Bound::Limits };
        }
        let (nearest, missing) = self.accounts.deepest(path);
        if !self.accounts.has_room(nearest, missing, self.bounds.accounts_per_tenant) {
            return Outcome::Exhausted { of: Bound::Accounts };
        }
        let account = self.accounts.intern(path);
        let is_there = known.is_some_and(|index| self.limits[index as usize].account == account);
        if !is_there && self.accounts.get(account).limits.len() >= LIMITS_PER_ACCOUNT_MAX {
            return Outcome::Exhausted { of: Bound::Limits };
        }
        let Some(index) = known else {
            let index = u32::try_from(self.limits.len()).unwrap_or(u32::MAX);
            self.limits.push(Limit::new(id.clone(), account, kind));
            self.limits_by_id.insert(id.clone(), index);
            self.accounts.get_mut(account).limits.push(index);
            return Outcome::Defined;
        };
        let limit = &mut self.limits[index as usize];
        if is_there {
            limit.replace(kind, self.now);
        } else {
            let old = std::mem::replace(limit, Limit::new(id.clone(), account, kind)).account;
            self.accounts.get_mut(old).limits.retain(|&other| other != index);
            self.accounts.get_mut(account).limits.push(index);
        }
        Outcome::Defined
    }

    fn authorize(&mut self, request: &Authorize) -> Applied {
        let repeat = |outcome| Applied { outcome, is_new: false };
        if let Some(record) = request.key.and_then(|key| self.records.get(*self.by_key.get(&key)?)) {
            let same = record.is_answer_to(request, &self.accounts.get(record.account).path);
            return repeat(if same { record.first_answer() } else { Outcome::Conflict });
        }
        let valid = request.amount > 0
            && (0..=TTL_MS_MAX).contains(&request.ttl_ms)
            && account::check(&request.path)
            && !self.by_id.contains_key(&request.id);
        if !valid {
            return repeat(Outcome::Invalid);
        }
        let (nearest, missing) = self.accounts.deepest(&request.path);
        if let Err(of) = self.make_room(nearest, missing) {
            return repeat(Outcome::Exhausted { of });
        }
        let refused_by = self.refusals(nearest, request.amount, request.consent);
        let first = match (refused_by.is_empty(), request.capture) {
            (false, _) => First::Denied(refused_by.into()),
            (true, false) => First::Held,
            (true, true) => First::Captured,
        };
        let account = nearest.filter(|_| missing == 0);
        Applied { outcome: self.admit(request, account, first), is_new: true }
    }

    /// Whether one more authorization and `missing` accounts below `nearest` fit; forgets the longest ended
    /// authorization of the tenant if that makes it fit.
    fn make_room(&mut self, nearest: Option<u32>, missing: u32) -> Result<(), Bound> {
        if !self.accounts.has_room(nearest, missing, self.bounds.accounts_per_tenant) {
            return Err(Bound::Accounts);
        }
        let root = nearest.map(|nearest| self.accounts.get(nearest).root);
        let Some(tenant) = root.and_then(|root| self.tenants.get_mut(&root)) else { return Ok(()) };
        if tenant.authorizations < self.bounds.authorizations_per_tenant {
            return Ok(());
        }
        let evicted = tenant.evict(self.now).ok_or(Bound::Authorizations)?;
        self.forget(evicted);
        Ok(())
    }

    fn forget(&mut self, slot: u32) {
        if let Some(record) = self.records.remove(slot) {
            self.by_id.remove(&record.id);
            if let Some(key) = record.key {
                self.by_key.remove(&key);
            }
        }
    }

    /// The names of what refuses, in order.
    fn refusals(&mut self, nearest: Option<u32>, amount: i64, consent: Option<(Digest, Purpose)>) -> Vec<Arc<str>> {
        let mut refused_by = Vec::new();
        for node in self.accounts.upwards(nearest) {
            for &index in &node.limits {
                let limit = &mut self.limits[index as usize];
                if limit.refuses(self.now, amount, node.held) {
                    refused_by.push(limit.id.clone());
                }
            }
        }
        if consent.is_some_and(|consent| !self.consents.contains(&consent)) {
            refused_by.push(CONSENT.into());
        }
        refused_by.sort_unstable();
        refused_by
    }

    /// Takes the money if `first` says so, and keeps what a later command may ask for.
    fn admit(&mut self, request: &Authorize, account: Option<u32>, first: First) -> Outcome {
        let until = self.now.saturating_add(request.ttl_ms);
        let is_held = first == First::Held;
        let is_kept = is_held || request.key.is_some();
        // Only what takes money or is kept makes an account.
        let account = match account {
            None if is_kept || first == First::Captured => Some(self.accounts.intern(&request.path)),
            account => account,
        };
        if let (First::Captured, Some(account)) = (&first, account) {
            self.book(account, request.amount);
        }
        let (true, Some(account)) = (is_kept, account) else {
            return match first {
                First::Denied(refused_by) => Outcome::Denied { refused_by },
                First::Held | First::Captured => Outcome::Captured,
            };
        };
        let record = Record::new(request, account, until, first);
        let outcome = record.first_answer();
        let slot = self.records.insert(record);
        self.by_id.insert(request.id, slot);
        if let Some(key) = request.key {
            self.by_key.insert(key, slot);
        }
        let tenant = self.tenants.entry(self.accounts.get(account).root).or_default();
        tenant.authorizations += 1;
        if is_held {
            self.expiry.insert(until, request.id, slot, &mut self.records);
            self.accounts.hold(account, request.amount, true);
        } else {
            tenant.end(self.now, slot, request.key.is_some());
        }
        outcome
    }

    /// Money has moved: it counts in every limit above `account` from now.
    fn book(&mut self, account: u32, amount: i64) {
        for node in self.accounts.upwards(Some(account)) {
            for &index in &node.limits {
                self.limits[index as usize].book(self.now, amount);
            }
        }
    }

    /// Ends a hold; its money is free.
    fn resolve(&mut self, slot: u32, resolution: Resolution, at: i64) {
        let Some(record) = self.records.get_mut(slot) else { return };
        record.stage = Stage::Ended(resolution);
        let (account, amount, place, has_key) = (record.account, record.amount, record.place(), record.key.is_some());
        self.expiry.remove(place, &mut self.records);
        self.accounts.hold(account, amount, false);
        self.tenants.entry(self.accounts.get(account).root).or_default().end(at, slot, has_key);
    }

    fn held(&self, id: Digest) -> Result<u32, Outcome> {
        let known = self.by_id.get(&id).and_then(|&slot| Some((slot, self.records.get(slot)?)));
        match known.map(|(slot, record)| (slot, record.stage)) {
            Some((slot, Stage::Held)) => Ok(slot),
            Some((_, Stage::Ended(state))) => Err(Outcome::Resolved { state }),
            Some((_, Stage::Denied)) | None => Err(Outcome::Unknown),
        }
    }

    fn capture(&mut self, id: Digest, amount: Option<i64>) -> Outcome {
        let slot = match self.held(id) {
            Ok(slot) => slot,
            Err(no) => return no,
        };
        let Some(record) = self.records.get_mut(slot) else { return Outcome::Unknown };
        let amount = amount.unwrap_or(record.amount);
        if !(1..=record.amount).contains(&amount) {
            return Outcome::Invalid;
        }
        record.captured = amount;
        let account = record.account;
        self.resolve(slot, Resolution::Captured, self.now);
        self.book(account, amount);
        Outcome::Captured
    }

    fn void(&mut self, id: Digest) -> Outcome {
        match self.held(id) {
            Ok(slot) => {
                self.resolve(slot, Resolution::Voided, self.now);
                Outcome::Voided
            }
            Err(no) => no,
        }
    }

    fn consent(&mut self, consent: (Digest, Purpose), granted: bool) -> Outcome {
        if !granted {
            self.consents.remove(&consent);
            return Outcome::Revoked;
        }
        if self.consents.len() >= self.bounds.consents as usize && !self.consents.contains(&consent) {
            return Outcome::Exhausted { of: Bound::Consents };
        }
        self.consents.insert(consent);
        Outcome::Granted
    }

    /// Refuses when under some limit not even one millionth remains.
    fn check(&mut self, path: &str) -> Outcome {
        let spent = self.standings(path, 1).into_iter().filter(|standing| standing.remaining == 0);
        let mut refused_by: Vec<_> = spent.map(|standing| standing.limit).collect();
        if refused_by.is_empty() {
            return Outcome::Clear;
        }
        refused_by.sort_unstable();
        Outcome::Denied { refused_by: refused_by.into() }
    }

    fn note(&mut self, from: Option<(Digest, i64)>) -> Applied {
        let mut is_new = true;
        if let Some((source, position)) = from {
            if !self.sources.contains_key(&source) && self.sources.len() >= self.bounds.sources as usize {
                return Applied { outcome: Outcome::Exhausted { of: Bound::Sources }, is_new: false };
            }
            let last = self.sources.entry(source).or_insert(i64::MIN);
            is_new = position > *last;
            *last = position.max(*last);
        }
        Applied { outcome: Outcome::Noted, is_new }
    }
}
