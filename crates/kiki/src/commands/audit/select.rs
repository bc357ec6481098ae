//! Which entries of a log are meant: by when they were written down, and by what they say.
//!
//! When an entry was written down is the governor's time, which never runs backwards, so a span of time is a range of
//! entries. What another service handed over may have happened somewhat earlier than that.

use std::ops::Range;
use std::path::Path;

use clap::{Args, ValueEnum};
use kiki_audit::{disk, pruned};
use kiki_kit::config::Config;
use kiki_spend::find::first_at;
use kiki_types::event::{AuditEvent, Outcome};
use kiki_types::{TenantId, UnixMillis};

use crate::services::keys;

/// A span of time.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// From this time on, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = UnixMillis::parse_rfc3339)]
    pub(super) since: Option<UnixMillis>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = UnixMillis::parse_rfc3339)]
    pub(super) until: Option<UnixMillis>,
}

impl Span {
    /// The entries that were written down in it and are kept, of the first `entries` of the log.
    pub(super) fn range(self, audit: &Path, entries: u64) -> Result<Range<u64>, kiki_audit::Error> {
        let at = |time: Option<UnixMillis>, open| time.map_or(Ok(open), |time| first_at(audit, entries, time));
        let kept = pruned::minimum(disk::real().as_ref(), audit)?;
        Ok(at(self.since, kept)?..at(self.until, entries)?)
    }
}

/// What entries say.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Filter {
    /// How it ended.
    #[arg(long)]
    outcome: Option<Ending>,
    /// What was done, such as `authorize`, or the kind of the entry, such as `spend.authorize`.
    #[arg(long)]
    action: Option<String>,
    /// Who did it: a keyed hash as the log shows it, or a name that is hashed under this installation's key.
    #[arg(long)]
    actor: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ending {
    Allowed,
    Denied,
    Failed,
}

impl From<Ending> for Outcome {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Allowed => Self::Allowed,
            Ending::Denied => Self::Denied,
            Ending::Failed => Self::Failed,
        }
    }
}

/// A filter, ready to be asked.
pub(super) struct Wanted {
    outcome: Option<Outcome>,
    action: Option<String>,
    actor: Option<String>,
}

impl Filter {
    /// Hashes the name, if it is one.
    pub(super) fn prepare(&self, config: &Config) -> anyhow::Result<Wanted> {
        let is_hash = |actor: &str| actor.len() == 32 && actor.bytes().all(|byte| byte.is_ascii_hexdigit());
        let actor = match self.actor.as_deref() {
            Some(name) if !is_hash(name) => Some(hash(config, name)?),
            hash => hash.map(str::to_ascii_lowercase),
        };
        Ok(Wanted { outcome: self.outcome.map(Into::into), action: self.action.clone(), actor })
    }
}

fn hash(config: &Config, name: &str) -> anyhow::Result<String> {
    let folder = keys::folder(config);
    anyhow::ensure!(
        folder.join("pseudonym.key").exists(),
        "there is no pseudonym.key in {}: an actor can be named by hash only",
        folder.display()
    );
    Ok(keys::pseudonyms(config)?.actor(&TenantId::default_tenant(), name).to_string())
}

impl Wanted {
    pub(super) fn is_met_by(&self, event: &AuditEvent) -> bool {
        self.outcome.is_none_or(|outcome| event.outcome == outcome)
            && self.action.as_ref().is_none_or(|action| *action == event.action || *action == event.event_type)
            && self.actor.as_ref().is_none_or(|actor| *actor == event.actor)
    }
}
