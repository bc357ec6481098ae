//! The rules of the money: `apply(state, command, now) → outcome`.
//!
//! Time is handed in and never runs backwards: an earlier time is read as the latest seen. Holds end by
//! themselves before anything else happens at their time. Equal histories give equal states and equal answers.

mod asking;
mod changing;
mod control;
mod settling;
mod tenant;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use kiki_types::Channel;

use crate::account::Accounts;
use crate::change::ChangeKind;
use crate::command::{Command, Names, Notices, Outcome, Resolution};
use crate::consent::Consents;
use crate::digest::Digest;
use crate::expiry::Expiry;
use crate::limit::Limit;
use crate::record::Records;

pub(crate) use tenant::Tenant;

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
    /// Consents of all tenants. Who is barred takes a place, and is barred without one, too.
    pub consents: u32,
    /// Revocations that confirmations are held against, of all tenants.
    pub revocations: u32,
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
            revocations: 1_000_000,
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
            Command::Increase { id, amount, key } => return self.change(*id, ChangeKind::Increase, *amount, *key),
            Command::Refund { id, amount, key } => return self.change(*id, ChangeKind::Refund, *amount, *key),
            Command::Limit { id, path, kind, shadow } => self.define(id, path, kind, *shadow),
            Command::RemoveLimit { id } => self.remove_limit(id),
            Command::Capture { id, amount } => self.capture(*id, *amount),
            Command::Void { id } => self.void(*id),
            Command::Stop { path } => self.stop(path),
            Command::Resume { path } => self.resume(path),
            Command::Reject { id, .. } => self.reject(*id),
            Command::Policy { path, version } => self.put_policy(path, *version),
            Command::Consent { subject, purpose, granted, channel, until, asked } => {
                self.consent((*subject, *purpose), channel.unwrap_or(Channel::Any), (*granted, *until, *asked))
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

    /// The tenant that `account` belongs to.
    pub(crate) fn tenant(&mut self, account: u32) -> &mut Tenant {
        let root = self.accounts.get(account).root;
        self.tenants.entry(root).or_default()
    }
}
