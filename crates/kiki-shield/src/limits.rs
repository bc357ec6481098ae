//! Budgets as a file lists them: as `PUT /v1/budgets/{id}` takes them, with their ids, and the ids of those to remove.

use kiki_spend::Command;
use kiki_types::{TenantId, UnixMillis};
use serde::Deserialize;

use crate::error::ShieldError;
use crate::model::{LimitBody, Mode, check_limit};
use crate::names::{budget_id, path_of};

/// Budgets that a file lists at the most.
const BUDGETS_MAX: usize = 10_000;

/// A list of budgets to define and to remove.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    #[serde(default)]
    budgets: Vec<Budget>,
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    id: String,
    #[serde(default)]
    account: String,
    limit: LimitBody,
    #[serde(default)]
    mode: Mode,
}

impl Budgets {
    /// What the governor is told: definitions first. Zones are looked up as of `now`.
    ///
    /// # Errors
    /// The first field that is wrong, and which budget it belongs to.
    pub fn commands(&self, tenant: &TenantId, now: UnixMillis) -> Result<Vec<Command>, String> {
        if self.budgets.len() + self.remove.len() > BUDGETS_MAX {
            return Err(format!("more than {BUDGETS_MAX} budgets"));
        }
        let told = |id: &str, error: ShieldError| format!("budget {id}: {error}");
        let defined = self.budgets.iter().map(|budget| {
            let define = || budget.command(tenant, now);
            define().map_err(|error| told(&budget.id, error))
        });
        let removed = self.remove.iter().map(|id| {
            let name = budget_id(tenant, id).map_err(|error| told(id, error))?;
            Ok(Command::RemoveLimit { id: name.as_str().into() })
        });
        defined.chain(removed).collect()
    }
}

impl Budget {
    fn command(&self, tenant: &TenantId, now: UnixMillis) -> Result<Command, ShieldError> {
        let id = budget_id(tenant, &self.id)?;
        let path = path_of(tenant, &self.account)?.into();
        let kind = self.limit.kind(now)?;
        check_limit(&kind)?;
        Ok(Command::Limit { id: id.as_str().into(), path, kind, shadow: self.mode == Mode::Shadow })
    }
}
