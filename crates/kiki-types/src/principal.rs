//! Who asks, and what they may do.
//!
//! A [`Principal`] is made where a request is authenticated and nowhere else; a handler receives proof of a
//! [`Permission`] as a parameter (`kiki_kit::authorisation::Allowed`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TenantId;

/// What kind of actor asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person.
    Human,
    /// A program that acts on somebody's behalf.
    Agent,
    /// A part of KIKI.
    System,
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What may be done. One bit each in a [`PermissionSet`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Permission {
            $($(#[$doc])* $variant,)*
        }

        impl Permission {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name, such as `spend:write`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

permissions! {
    /// See authorizations and what remains of a budget.
    SpendRead = "spend:read",
    /// Reserve, capture and void money.
    SpendWrite = "spend:write",
    /// See budgets and their limits.
    BudgetsRead = "budgets:read",
    /// Define budgets.
    BudgetsWrite = "budgets:write",
    /// Stop accounts and let them go on.
    StopsWrite = "stops:write",
    /// Approve or reject requests that wait.
    ApprovalsWrite = "approvals:write",
    /// See the policy and its versions.
    PolicyRead = "policy:read",
    /// Put a policy in force.
    PolicyWrite = "policy:write",
    /// See what a customer agreed to.
    ConsentRead = "consent:read",
    /// Record consent and its revocation.
    ConsentWrite = "consent:write",
    /// Open data subject requests.
    SubjectRequestsWrite = "subject_requests:write",
    /// See data subject requests and how far they are.
    SubjectRequestsRead = "subject_requests:read",
    /// Vouch for, extend, refuse and force data subject requests.
    SubjectRequestsDecide = "subject_requests:decide",
    /// Read what is kept of a person, as an export has it.
    PersonalRead = "personal:read",
    /// Run a subject request or retention over the stores of a service.
    PersonalWrite = "personal:write",
    /// Place and release legal holds.
    LegalHoldsWrite = "legal_holds:write",
    /// Record breaches of personal data.
    BreachesWrite = "breaches:write",
    /// Delete what has been kept long enough.
    RetentionWrite = "retention:write",
    /// Read compliance reports.
    ComplianceRead = "compliance:read",
    /// Hand audit entries to the log.
    AuditWrite = "audit:write",
    /// Read the log's checkpoints, hash tiles and keys, and the entries and proofs of the own tenant.
    AuditRead = "audit:read",
    /// Read the entries of all tenants.
    LogRead = "log:read",
    /// See webhooks and what was delivered to them.
    WebhooksRead = "webhooks:read",
    /// Say who is told of events.
    WebhooksWrite = "webhooks:write",
    /// Ask what customers are worth.
    ValueRead = "value:read",
    /// Fit models, put them in force, and tell of orders.
    ValueWrite = "value:write",
    /// See campaigns and their outcomes.
    CampaignsRead = "campaigns:read",
    /// Create campaigns.
    CampaignsWrite = "campaigns:write",
    /// Send messages to customers.
    MessagesSend = "messages:send",
    /// Read what the sandbox received.
    SandboxRead = "sandbox:read",
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(u64);

impl PermissionSet {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every permission there is.
    #[must_use]
    pub fn all() -> Self {
        Permission::ALL.iter().copied().collect()
    }

    /// Whether `permission` is in the set.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | 1 << permission as u8))
    }
}

/// Who asks: authenticated, of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant whose data may be touched.
    pub tenant: TenantId,
    /// A stable name within the tenant, such as `operator` or `kiki-engage`.
    pub name: String,
    /// Person, agent or part of the system.
    pub kind: ActorKind,
    /// What it may do.
    pub permissions: PermissionSet,
}

impl Principal {
    /// The person at the keyboard of a development machine.
    #[must_use]
    pub fn local_operator() -> Self {
        Self {
            tenant: TenantId::default_tenant(),
            name: "operator".to_owned(),
            kind: ActorKind::Human,
            permissions: PermissionSet::all(),
        }
    }

    /// A service of KIKI that acts for `tenant`.
    #[must_use]
    pub fn service(tenant: TenantId, name: &str) -> Self {
        Self { tenant, name: name.to_owned(), kind: ActorKind::System, permissions: PermissionSet::all() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for &one in Permission::ALL {
            let set: PermissionSet = [one].into_iter().collect();
            for &other in Permission::ALL {
                assert_eq!(set.contains(other), one == other);
                assert!(PermissionSet::all().contains(other));
                assert!(!PermissionSet::NONE.contains(other));
            }
        }
    }
}
