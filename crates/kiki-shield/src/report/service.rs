//! Which reports there are, and how each is made.

use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;
use kiki_kit::problem::Problem;
use kiki_store::Store;
use kiki_store::personal::{Class, Stores, Subjects};
use kiki_types::{TenantId, UnixMillis};
use serde_json::{Value, json};

use super::document::Document;
use super::period::{parse_period, parse_year};
use super::recipients::Configured;
use super::repo::Period;
use super::{breaches, ccpa, controls, processing, summary};
use crate::breach::Breaches;
use crate::error::ShieldError;
use crate::service::{Caller, Shield};

/// Breaches that one report tells of at the most.
const BREACHES_MAX: usize = 10_000;
const ALWAYS: Period = (UnixMillis(0), UnixMillis(i64::MAX));

/// What the operator of an installation states about it, and its settings that reports name.
#[derive(Clone, Debug)]
pub struct Statements {
    /// Who the controller is.
    pub controller: Option<String>,
    /// How the controller is reached.
    pub controller_contact: Option<String>,
    /// Who the data protection officer is.
    pub data_protection_officer: Option<String>,
    /// How long each class is kept.
    pub days: Days,
    /// How often the secret above the keys of people is renewed, in days.
    pub epoch_days: u32,
    /// How people prove who they are.
    pub identity: &'static str,
    /// The zone in which years begin.
    pub zone: TimeZone,
    /// `SQLite` or `PostgreSQL`.
    pub database: &'static str,
    /// Who is told something.
    pub recipients: Configured,
    /// Whether witnesses are asked to cosign the log's checkpoints.
    pub has_witnesses: bool,
}

/// How long classes are kept, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// `KIKI_RETENTION_SESSIONS_DAYS`.
    pub sessions: u32,
    /// `KIKI_RETENTION_MARKETING_DAYS`.
    pub marketing: u32,
    /// `KIKI_RETENTION_CUSTOMERS_DAYS`.
    pub customers: u32,
    /// `RETENTION_DAYS`.
    pub audit: u32,
}

impl Days {
    /// The days of `class`; `None` where it never ends.
    #[must_use]
    pub const fn of(self, class: Class) -> Option<u32> {
        match class {
            Class::Sessions => Some(self.sessions),
            Class::Marketing => Some(self.marketing),
            Class::Customers => Some(self.customers),
            Class::Audit => Some(self.audit),
            Class::Never => None,
        }
    }

    /// What a report says of them.
    pub(crate) fn settings(self) -> Vec<(&'static str, Value)> {
        vec![
            ("retention_audit_days", json!(self.audit)),
            ("retention_customers_days", json!(self.customers)),
            ("retention_marketing_days", json!(self.marketing)),
            ("retention_sessions_days", json!(self.sessions)),
        ]
    }
}

/// Reports of a shield. Cheap to clone.
#[derive(Clone)]
pub struct Reports(Arc<Parts>);

struct Parts {
    shield: Shield,
    breaches: Breaches,
    /// Known once every service is there.
    stores: OnceLock<Stores>,
    stated: Statements,
}

/// What a report is to be about.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) period: Option<String>,
    pub(crate) year: Option<i16>,
    pub(crate) framework: Option<String>,
}

impl Reports {
    /// The names of all reports.
    pub const NAMES: [&'static str; 5] = ["summary", "processing", "breaches", "ccpa", "controls"];

    /// Reports on `shield` and the register `breaches`.
    #[must_use]
    pub fn new(shield: Shield, breaches: Breaches, stated: Statements) -> Self {
        Self(Arc::new(Parts { shield, breaches, stores: OnceLock::new(), stated }))
    }

    /// Lets reports tell of what `stores` hold: all that there are.
    pub fn begin(&self, stores: Stores) {
        // A second call changes nothing.
        let _ = self.0.stores.set(stores);
    }

    pub(super) fn subjects(&self) -> &Subjects {
        &self.0.shield.0.subjects
    }

    pub(super) fn shield(&self) -> &Shield {
        &self.0.shield
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.shield.0.store
    }

    /// All stores, as far as they are known yet.
    pub(super) fn stores(&self) -> Stores {
        self.0.stores.get().cloned().unwrap_or_default()
    }

    pub(super) fn stated(&self) -> &Statements {
        &self.0.stated
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.0.shield.0.clock.now()
    }

    /// Makes the report `name` about what is `wanted`.
    pub(crate) async fn make(&self, caller: &Caller, name: &str, wanted: &Wanted) -> Result<Document, Problem> {
        let tenant = &caller.principal.tenant;
        let period = |usual: &'static str| wanted.period.as_deref().unwrap_or(usual).to_owned();
        match name {
            "summary" => Ok(summary::document(&self.facts(caller, &period("monthly")).await?, tenant)),
            "processing" => {
                let facts = self.facts(caller, &period("365d")).await?;
                let found = processing::Found::read(self.shield(), &self.stated().recipients, tenant, facts.now).await;
                Ok(processing::document(&facts, &found.map_err(ShieldError::from)?, tenant))
            }
            "breaches" => self.register(caller, wanted.period.as_deref()).await,
            "ccpa" => self.ccpa(tenant, wanted.year).await,
            "controls" => {
                let framework = controls::framework(wanted.framework.as_deref())?;
                Ok(controls::document(&self.facts(caller, &period("365d")).await?, framework, tenant))
            }
            _ => Err(ShieldError::NotFound("report").into()),
        }
    }

    /// Every breach; with a period, those that somebody became aware of in it and those that are open.
    async fn register(&self, caller: &Caller, asked: Option<&str>) -> Result<Document, Problem> {
        let (now, tenant) = (self.now(), &caller.principal.tenant);
        let period = asked.map(|asked| parse_period(asked, now)).transpose()?;
        let found = self.0.breaches.breaches(caller, period.unwrap_or(ALWAYS), None, BREACHES_MAX).await?;
        let (_, log) = self.shield().counted(tenant, (now, now)).await?;
        Ok(Document { tenant: tenant.clone(), made_at: now, period, log, ..breaches::document(&found, now) })
    }

    async fn ccpa(&self, tenant: &TenantId, year: Option<i16>) -> Result<Document, Problem> {
        let (year, period) = parse_year(year, self.now(), &self.stated().zone)?;
        let found = ccpa::Found::read(self.store(), tenant, period).await.map_err(ShieldError::from)?;
        let (_, log) = self.shield().counted(tenant, (period.0, period.0)).await?;
        Ok(Document {
            tenant: tenant.clone(),
            made_at: self.now(),
            period: Some(period),
            log,
            settings: vec![("year", json!(year)), ("zone", json!(self.stated().zone.iana_name().unwrap_or("UTC")))],
            ..ccpa::document(&found)
        })
    }
}
