//! What reports are computed from.

use kiki_audit::Checkpoint;
use kiki_kit::problem::Problem;
use kiki_store::personal::{KeyStatus, Stores};
use kiki_types::UnixMillis;

use super::count::Counted;
use super::repo::{self, BreachCounts, Group, Period};
use super::service::{Reports, Statements};
use crate::error::ShieldError;
use crate::service::Caller;
use crate::subject::model::State;

/// What is known of a tenant and a period.
pub(crate) struct Facts<'a> {
    pub(crate) stated: &'a Statements,
    pub(crate) stores: Stores,
    pub(crate) now: UnixMillis,
    pub(crate) period: Period,
    /// How the period was asked for.
    pub(crate) asked: String,
    pub(crate) counted: Counted,
    pub(crate) log: Option<Checkpoint>,
    pub(crate) keys: KeyStatus,
    /// By regime, kind and state.
    pub(crate) requests: Vec<Group<3>>,
    pub(crate) overdue: i64,
    /// By act, purpose, channel and state.
    pub(crate) consents: Vec<Group<4>>,
    pub(crate) texts: i64,
    /// By cause.
    pub(crate) erasures: Vec<Group<1>>,
    pub(crate) holds: i64,
    pub(crate) breaches: BreachCounts,
    /// Rules of the policy in force; `None` where there is none.
    pub(crate) rules: Option<usize>,
}

impl Reports {
    pub(super) async fn facts(&self, caller: &Caller, asked: &str) -> Result<Facts<'_>, Problem> {
        let (store, now, tenant) = (self.store(), self.now(), &caller.principal.tenant);
        let period = super::period::parse_period(asked, now)?;
        let (counted, log) = self.shield().counted(tenant, period).await?;
        let of = |error| Problem::from(ShieldError::from(error));
        let policy = self.shield().policy(tenant).await?;
        Ok(Facts {
            stated: self.stated(),
            stores: self.stores(),
            now,
            period,
            asked: asked.to_owned(),
            counted,
            log,
            keys: self.subjects().status(),
            requests: repo::requests(store, tenant, period).await.map_err(of)?,
            overdue: repo::overdue(store, tenant, now).await.map_err(of)?,
            consents: repo::consents(store, tenant, period).await.map_err(of)?,
            texts: repo::texts(store, tenant, now).await.map_err(of)?,
            erasures: repo::erasures(store, tenant, period).await.map_err(of)?,
            holds: repo::holds(store, tenant, now).await.map_err(of)?,
            breaches: repo::breaches(store, tenant, period).await.map_err(of)?,
            rules: policy.map(|policy| policy.rule_count()),
        })
    }
}

impl Facts<'_> {
    /// Requests of these kinds that came in during the period and were carried out.
    pub(crate) fn completed(&self, kinds: &[&str]) -> i64 {
        let is_one =
            |([_, kind, state], _): &&Group<3>| kinds.contains(&kind.as_str()) && state == State::Completed.as_str();
        self.requests.iter().filter(is_one).map(|(_, count)| count).sum()
    }

    /// People who were erased.
    pub(crate) fn erased(&self) -> i64 {
        self.erasures.iter().map(|(_, count)| count).sum()
    }
}
