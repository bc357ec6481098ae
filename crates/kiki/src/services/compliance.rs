//! What the configuration says that reports tell.

use anyhow::Context as _;
use http::Uri;
use kiki_kit::config::{Config, IdentityCheck};
use kiki_shield::report::{Configured, Days, Statements};
use kiki_store::Dialect;

/// How long classes of data are kept.
const fn days(config: &Config) -> Days {
    Days {
        sessions: config.retention_sessions_days,
        marketing: config.retention_marketing_days,
        customers: config.retention_customers_days,
        audit: config.retention_days,
    }
}

/// How a service is called that is reached at `origin`.
pub(super) fn peer_name(origin: &Uri) -> String {
    origin.authority().map_or_else(|| origin.to_string(), ToString::to_string)
}

/// Who is told something, as far as the configuration says it.
pub(super) fn recipients(config: &Config) -> Configured {
    Configured { shelf: config.ship_to.clone(), peers: config.peers.iter().map(peer_name).collect() }
}

/// What reports tell of the configuration.
///
/// # Errors
/// `KIKI_COMPLIANCE_ZONE` names no time zone.
pub(super) fn statements(config: &Config, database: Dialect) -> anyhow::Result<Statements> {
    let zone = kiki_shield::time_zone(&config.compliance_zone);
    Ok(Statements {
        controller: config.controller.clone(),
        controller_contact: config.controller_contact.clone(),
        data_protection_officer: config.data_protection_officer.clone(),
        days: days(config),
        epoch_days: config.epoch_days,
        identity: match config.identity {
            IdentityCheck::Code => "a code by mail",
            IdentityCheck::None => "none",
        },
        zone: zone.context("KIKI_COMPLIANCE_ZONE names no time zone of the IANA database")?,
        database: match database {
            Dialect::Sqlite => "SQLite",
            Dialect::Postgres => "PostgreSQL",
        },
        recipients: recipients(config),
        has_witnesses: config.log_policy.is_some(),
    })
}
