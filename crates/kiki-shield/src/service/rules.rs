//! The policy of a tenant: what is in force, and what it says to a request for money.
//!
//! Rules are evaluated here, before a request is queued; which policy is in force is the governor's to say. A request
//! judged by another one comes back undecided and is judged again, so from the entry in the log that puts a policy in
//! force, nothing is decided under the one before. The texts of a version are in SQL before it is in force.

use std::sync::Arc;

use kiki_spend::{Command, Digest, Policy as Ruled};
use kiki_types::{ActorKind, TenantId};

use super::{Ask, Caller, Shield};
use crate::error::ShieldError;
use crate::policy::repo::{self, Kept};
use crate::policy::{Action, Judgement, Policy, PolicyRequest, RuleSetText, Verdict};

/// How often a request is judged, if the policy changes every time meanwhile.
pub(crate) const JUDGED_MAX: usize = 4;
/// Rules that an entry of the log names as those that decided.
pub(crate) const RULES_TOLD_MAX: usize = 16;

/// What a request says of itself for rules alone.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// Who acts, if it is not the caller.
    pub(crate) actor: Option<(ActorKind, String)>,
    pub(crate) action: Action,
    pub(crate) target: String,
    pub(crate) risk: Option<u8>,
}

impl Default for Act {
    /// Money is spent to carry something out.
    fn default() -> Self {
        Self { actor: None, action: Action::Execute, target: String::new(), risk: None }
    }
}

/// What a policy says to a request.
#[derive(Clone, Debug)]
pub(crate) struct Ruling {
    pub(crate) version: Digest,
    pub(crate) judgement: Judgement,
}

impl Ruling {
    /// For the governor. Who cannot make do with less is refused where less is all there is.
    pub(super) fn ruled(&self, takes_less: bool) -> Ruled {
        let is_less = self.judgement.amount.is_some() || self.judgement.mode.is_some();
        let verdict = if is_less && !takes_less { Verdict::Deny } else { self.judgement.verdict };
        let rules = self.judgement.deciding_rules().take(RULES_TOLD_MAX).map(String::into_boxed_str);
        Ruled { version: self.version, verdict, rules: rules.collect() }
    }
}

impl Shield {
    /// What the policy of the caller's tenant says to a request that was found valid and is about `amount`; `None` if it
    /// has none.
    pub(super) fn rule(&self, caller: &Caller, ask: &Ask, amount: i64) -> Option<Ruling> {
        let policy = self.0.policies.of(&caller.principal.tenant)?;
        let own = (caller.principal.kind, caller.principal.name.as_str());
        let (actor, actor_name) = ask.act.actor.as_ref().map_or(own, |(kind, name)| (*kind, name));
        let judgement = policy.decide(&PolicyRequest {
            actor,
            actor_name,
            action: ask.act.action,
            target: &ask.act.target,
            account: &ask.account,
            category: ask.category.as_deref(),
            payee: ask.payee.as_deref(),
            amount_micros: amount,
            currency: self.0.currency.as_str(),
            risk: ask.act.risk,
            at: self.0.clock.now(),
        });
        metrics::counter!("kiki_policy_judgements_total", "verdict" => judgement.verdict.as_str()).increment(1);
        Some(Ruling { version: policy.version(), judgement })
    }

    /// Puts a policy in force from the very next decision on. Returns it, and its entry unless it was in force before.
    pub(crate) async fn put_policy(
        &self,
        caller: &Caller,
        texts: Vec<RuleSetText>,
    ) -> Result<(Arc<Policy>, Option<u64>), ShieldError> {
        if texts.is_empty() {
            return Err(ShieldError::invalid("rule_sets", "must hold a rule set; DELETE puts no policy in force"));
        }
        self.enforce(caller, "put", read(texts).await?).await
    }

    /// Puts a version in force that was in force before.
    pub(crate) async fn roll_back(
        &self,
        caller: &Caller,
        version: Digest,
    ) -> Result<(Arc<Policy>, Option<u64>), ShieldError> {
        let policy = self.kept(&caller.principal.tenant, version).await?;
        self.enforce(caller, "rollback", policy.ok_or(ShieldError::NotFound("version of the policy"))?).await
    }

    async fn enforce(
        &self,
        caller: &Caller,
        action: &str,
        policy: Arc<Policy>,
    ) -> Result<(Arc<Policy>, Option<u64>), ShieldError> {
        let tenant = &caller.principal.tenant;
        let version = policy.version();
        let _one_at_a_time = self.0.policies.changing.lock().await;
        let before = self.version_in_force(tenant).await?;
        let kept = Kept {
            version: version.to_string(),
            rules: i64::try_from(policy.rule_count()).unwrap_or(i64::MAX),
            created_at: self.0.clock.now(),
            created_by: self.0.pseudonyms.actor(tenant, &caller.principal.name).to_string(),
        };
        let mut tx = self.0.store.begin().await?;
        repo::insert(&mut tx, tenant, &kept, policy.texts()).await?;
        repo::prune(&mut tx, tenant, [&kept.version, &before.unwrap_or(version).to_string()]).await?;
        tx.commit().await?;
        let entry = match before {
            Some(before) if before == version => None,
            _ => self.put_in_force(caller, action, Some(version)).await?,
        };
        self.0.policies.see(tenant, Some(policy.clone()));
        Ok((policy, entry))
    }

    /// Puts no policy in force: everything is allowed, as far as limits and consent allow it. Returns its entry, unless
    /// none was in force.
    pub(crate) async fn remove_policy(&self, caller: &Caller) -> Result<Option<u64>, ShieldError> {
        let tenant = &caller.principal.tenant;
        let _one_at_a_time = self.0.policies.changing.lock().await;
        let entry = match self.version_in_force(tenant).await? {
            Some(_) => self.put_in_force(caller, "remove", None).await?,
            None => None,
        };
        self.0.policies.see(tenant, None);
        Ok(entry)
    }

    async fn put_in_force(
        &self,
        caller: &Caller,
        action: &str,
        version: Option<Digest>,
    ) -> Result<Option<u64>, ShieldError> {
        let tenant = &caller.principal.tenant;
        let name = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        let draft = self.draft(caller, &format!("policy.{action}"), action, &format!("policy/{name}"));
        let command = Command::Policy { path: tenant.as_str().into(), version };
        Ok(self.decide(command, draft).await?.index)
    }

    /// The policy in force.
    pub(crate) async fn policy(&self, tenant: &TenantId) -> Result<Option<Arc<Policy>>, ShieldError> {
        self.see_policy(tenant).await?;
        Ok(self.0.policies.of(tenant))
    }

    /// The versions that are kept, the newest first, and the one in force.
    pub(crate) async fn policy_versions(&self, tenant: &TenantId) -> Result<(Vec<Kept>, Option<Digest>), ShieldError> {
        let in_force = self.version_in_force(tenant).await?;
        Ok((repo::versions(&self.0.store, tenant).await?, in_force))
    }

    /// Looks which policy is in force, and has it at hand afterwards.
    pub(super) async fn see_policy(&self, tenant: &TenantId) -> Result<(), ShieldError> {
        let policies = &self.0.policies;
        let _one_at_a_time = policies.changing.lock().await;
        let in_force = self.version_in_force(tenant).await?;
        if policies.of(tenant).map(|policy| policy.version()) == in_force {
            return Ok(());
        }
        let policy = match in_force {
            Some(version) => Some(self.kept(tenant, version).await?.ok_or(ShieldError::PolicyLost(version))?),
            None => None,
        };
        policies.see(tenant, policy);
        Ok(())
    }

    /// A version that is kept. Texts that are not those of the version are as good as none.
    async fn kept(&self, tenant: &TenantId, version: Digest) -> Result<Option<Arc<Policy>>, ShieldError> {
        let Some(texts) = repo::texts(&self.0.store, tenant, version).await? else { return Ok(None) };
        let policy = read(texts).await?;
        Ok(Some(policy).filter(|policy| policy.version() == version))
    }

    async fn version_in_force(&self, tenant: &TenantId) -> Result<Option<Digest>, ShieldError> {
        let tenant = tenant.clone();
        Ok(self.0.governor.read(move |state| state.policy(tenant.as_str())).await?)
    }
}

/// Reads texts where nobody waits for the thread.
async fn read(texts: Vec<RuleSetText>) -> Result<Arc<Policy>, ShieldError> {
    let policy = tokio::task::spawn_blocking(move || Policy::from_texts(texts)).await;
    Ok(Arc::new(policy.map_err(ShieldError::Reading)??))
}
