//! The policies in force, as this process last saw them.
//!
//! Which policy is in force is said by the governor alone; what is here may be behind. A request that is judged by a policy
//! that is no longer in force is not decided, and whoever asked looks again ([`crate::service::rules`]).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kiki_types::TenantId;

use super::Policy;

/// Tenants whose policy is kept at hand.
const TENANTS_MAX: usize = 1_000;
/// Rules of all policies that are kept at hand.
const RULES_KEPT_MAX: usize = 100_000;

/// The policy of each tenant that has one, so far as it was asked for.
#[derive(Debug, Default)]
pub struct Policies {
    seen: RwLock<HashMap<TenantId, Arc<Policy>>>,
    /// Held by whoever changes what is in force, or looks what is: one at a time, so that none is read twice.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl Policies {
    /// The policy of a tenant; `None` if it has none, or if none was looked for yet.
    pub(crate) fn of(&self, tenant: &TenantId) -> Option<Arc<Policy>> {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// Takes down what is in force for a tenant. Where there is no room, others are forgotten and looked for again.
    pub(crate) fn see(&self, tenant: &TenantId, policy: Option<Arc<Policy>>) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.remove(tenant);
        let Some(policy) = policy else { return };
        let mut rules: usize = policy.rule_count() + seen.values().map(|other| other.rule_count()).sum::<usize>();
        while seen.len() >= TENANTS_MAX || (rules > RULES_KEPT_MAX && !seen.is_empty()) {
            let Some(other) = seen.keys().next().cloned() else { break };
            rules -= seen.remove(&other).map_or(0, |gone| gone.rule_count());
        }
        seen.insert(tenant.clone(), policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_for_the_newest() {
        let text = "@id(\"a\") permit(principal, action, resource);".to_owned();
        let policy = Arc::new(Policy::from_texts(vec![("a".to_owned(), text)]).unwrap());
        let policies = Policies::default();
        for tenant in 0..TENANTS_MAX + 5 {
            let tenant: TenantId = format!("t{tenant}").parse().unwrap();
            policies.see(&tenant, Some(policy.clone()));
            assert!(policies.of(&tenant).is_some());
        }
        assert_eq!(policies.seen.read().unwrap().len(), TENANTS_MAX);
        let tenant: TenantId = format!("t{}", TENANTS_MAX + 4).parse().unwrap();
        policies.see(&tenant, None);
        assert!(policies.of(&tenant).is_none());
    }
}
