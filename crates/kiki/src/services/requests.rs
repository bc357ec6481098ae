//! Subject requests with what this process has: whose days count, who sends mail, which stores there are.

use std::sync::Arc;

use anyhow::Context as _;
use kiki_kit::config::{Config, IdentityCheck};
use kiki_shield::Shield;
use kiki_shield::subject::{Calendar, Needs, Requests, Sheet};
use kiki_store::personal::{Class, Stores};

use super::{compliance, secret_bytes};
use crate::process::Process;

/// Requests that are carried out at the same time.
const WORKERS: usize = 2;

/// The subject requests of `shield`; nothing is carried out yet.
///
/// # Errors
/// The zone whose days count is unknown.
pub(super) fn made(process: &Process, shield: &Shield) -> anyhow::Result<Requests> {
    let config = &process.config;
    let zone = kiki_shield::time_zone(&config.compliance_zone);
    let zone = zone.context("KIKI_COMPLIANCE_ZONE names no time zone of the IANA database")?;
    Ok(Requests::new(Needs {
        shield: shield.clone(),
        calendar: Calendar::new(zone, config.holidays.iter().copied()),
        checks_identity: config.identity == IdentityCheck::Code,
        random: secret_bytes,
        mail: Arc::new(process.mail.clone()),
        sheet: sheet(config),
    }))
}

/// What people are told beside their data.
fn sheet(config: &Config) -> Sheet {
    Sheet {
        controller: config.controller.clone(),
        contact: config.controller_contact.clone(),
        officer: config.data_protection_officer.clone(),
        kept_days: vec![
            (Class::Audit, config.retention_days),
            (Class::Customers, config.retention_customers_days),
            (Class::Marketing, config.retention_marketing_days),
            (Class::Sessions, config.retention_sessions_days),
        ],
        recipients: compliance::recipients(config),
    }
}

/// Carries requests out over `stores`, until the process ends.
pub(super) fn carry_out(process: &Process, requests: &Requests, stores: Stores) {
    requests.begin(stores);
    let shutdown = &process.platform.shutdown;
    for _ in 0..WORKERS {
        process.tasks.spawn("subject requests", requests.clone().work(shutdown.clone()));
    }
    process.tasks.spawn("services apart", requests.clone().tell_apart(shutdown.clone()));
    process.tasks.spawn("letters", requests.clone().write_letters(shutdown.clone()));
}
