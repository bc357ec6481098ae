//! Names: how a tenant's accounts, budgets and customers are called, and what the governor calls them.

use kiki_spend::account;
use kiki_types::TenantId;
use kiki_types::personal::looks_personal;

use crate::error::ShieldError;

/// Bytes of a customer's id at the most.
const CUSTOMER_ID_BYTES_MAX: usize = 256;

/// Whether `id` can name a customer: 1 to 256 bytes without control characters.
pub(crate) fn check_customer_id(id: &str) -> Result<(), ShieldError> {
    if !(1..=CUSTOMER_ID_BYTES_MAX).contains(&id.len()) || id.chars().any(char::is_control) {
        return Err(ShieldError::invalid("customer_id", "must be 1 to 256 bytes without control characters"));
    }
    Ok(())
}

/// Refuses a name that looks like a person's: names stand in the log for years.
pub(crate) fn check_impersonal(field: &'static str, name: &str) -> Result<(), ShieldError> {
    if looks_personal(name) { Err(ShieldError::PersonalName(field)) } else { Ok(()) }
}

/// Whether `name` can name something: as accounts are named, and no person.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), ShieldError> {
    check_impersonal(field, name)?;
    if kiki_types::tenant::is_name(name) {
        return Ok(());
    }
    Err(ShieldError::invalid(field, "must be a name of 1 to 64 letters, digits, '.', '_' or '-'"))
}

/// The governor's path of `account`, which is below the tenant; empty is the tenant itself.
pub(crate) fn path_of(tenant: &TenantId, account: &str) -> Result<String, ShieldError> {
    for name in account.split('/') {
        check_impersonal("account", name)?;
    }
    let path = if account.is_empty() { tenant.to_string() } else { format!("{tenant}/{account}") };
    if account::check(&path) {
        return Ok(path);
    }
    let detail = "must be at most 7 names with slashes between them, each 1 to 64 letters, digits, '.', '_' or '-'";
    Err(ShieldError::invalid("account", detail))
}

/// The governor's name of a tenant's budget.
pub(crate) fn budget_id(tenant: &TenantId, id: &str) -> Result<String, ShieldError> {
    check_impersonal("id", id)?;
    if kiki_types::tenant::is_name(id) && !kiki_spend::state::RESERVED.contains(&id) {
        return Ok(format!("{tenant}/{id}"));
    }
    let reserved = kiki_spend::state::RESERVED.join(", ");
    let detail = format!("must be a name of 1 to 64 letters, digits, '.', '_' or '-', and none of {reserved}");
    Err(ShieldError::invalid("id", detail))
}

/// What a limit's id is called towards its tenant.
pub(crate) fn public_name(limit: &str) -> &str {
    limit.split_once('/').map_or(limit, |(_, name)| name)
}

/// An account towards its tenant: the path below the tenant.
pub(crate) fn public_account(path: &str) -> &str {
    path.split_once('/').map_or("", |(_, account)| account)
}
