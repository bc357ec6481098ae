//! The verbs of those who watch over the money: budgets, stops, approvals.

use std::sync::Arc;

use kiki_spend::command::Notice;
use kiki_spend::owner::Decision;
use kiki_spend::{Command, Digest, LimitKind, LimitView, Outcome, Resolution, Standing};
use kiki_types::id::AuthorizationId;
use uuid::Uuid;

use super::{Caller, Known, Shield, known};
use crate::error::ShieldError;
use crate::mandate;
use crate::model::{Constraint, check_limit, check_values};
use crate::names::{budget_id, path_of, public_account, public_name};
use crate::pages;

impl Shield {
    /// Defines a budget or replaces it; what was spent stays counted. Returns its entry; `None` if it stood so before.
    pub(crate) async fn define_budget(
        &self,
        caller: &Caller,
        id: &str,
        account: &str,
        kind: LimitKind,
        is_shadow: bool,
    ) -> Result<Option<u64>, ShieldError> {
        let tenant = &caller.principal.tenant;
        let path = path_of(tenant, account)?;
        let id = budget_id(tenant, id)?;
        check_limit(&kind)?;
        let wanted = LimitView { id: id.as_str().into(), path: path.as_str().into(), kind, is_shadow };
        if self.0.governor.read(move |state| state.limit(&id)).await?.as_ref() == Some(&wanted) {
            return Ok(None);
        }
        let draft = self.draft(caller, "budget.define", "define", &wanted.id);
        let (id, kind) = (wanted.id, wanted.kind);
        Ok(self.decide(Command::Limit { id, path: path.into(), kind, shadow: is_shadow }, draft).await?.index)
    }

    /// Defines the budgets that keep a mandate, in one write to the log; those of its id that it no longer wants go after
    /// that, so that where there is no room for all of them, the agent may spend less and not more. Returns each with its
    /// entry.
    pub(crate) async fn put_mandate(
        &self,
        caller: &Caller,
        id: &str,
        account: &str,
        constraints: &[Constraint],
    ) -> Result<Vec<((LimitView, Standing), Option<u64>)>, ShieldError> {
        let tenant = &caller.principal.tenant;
        let path = path_of(tenant, account)?;
        let name = |ending: &str| budget_id(tenant, &format!("{id}.{ending}"));
        let wanted = mandate::budgets(constraints, self.0.currency)?;
        for (_, kind) in &wanted {
            check_values(kind)?;
        }
        if wanted.iter().any(|(_, kind)| !kind.is_valid()) {
            return Err(ShieldError::invalid(
                "constraints.allowed",
                "must be 1 to 1,000 ids of visible ASCII without '@', 32 KiB of JSON together",
            ));
        }
        let mut ids = Vec::new();
        let mut commands = Vec::new();
        for (ending, kind) in wanted {
            let id: Arc<str> = name(ending)?.into();
            let draft = self.draft(caller, "mandate.define", "define", &id);
            commands.push((Command::Limit { id: id.clone(), path: path.clone().into(), kind, shadow: false }, draft));
            ids.push(id);
        }
        let mut entries = Vec::with_capacity(ids.len());
        for (outcome, entry) in self.0.governor.decide_all(commands).await? {
            if let Outcome::Exhausted { of } = outcome {
                return Err(ShieldError::Exhausted(of));
            }
            entries.push(entry);
        }
        let mut removals = Vec::new();
        for ending in mandate::ENDINGS {
            let id: Arc<str> = name(ending)?.into();
            let stands = id.to_string();
            if !ids.contains(&id) && self.0.governor.read(move |state| state.limit(&stands)).await?.is_some() {
                let draft = self.draft(caller, "mandate.define", "remove", &id);
                removals.push((Command::RemoveLimit { id }, draft));
            }
        }
        self.0.governor.decide_all(removals).await?;
        let stand = move |state: &mut kiki_spend::State| {
            ids.iter().zip(entries).filter_map(|(id, entry)| Some((state.standing_of(id, 1)?, entry))).collect()
        };
        Ok(self.0.governor.read(stand).await?)
    }

    /// Removes a budget with all that counts under it. Returns its entry.
    pub(crate) async fn remove_budget(&self, caller: &Caller, id: &str) -> Result<Option<u64>, ShieldError> {
        let id = budget_id(&caller.principal.tenant, id)?;
        let draft = self.draft(caller, "budget.remove", "remove", &id);
        let decision = self.decide_any(Command::RemoveLimit { id: id.into() }, draft).await?;
        if decision.outcome == Outcome::Unknown { Err(ShieldError::NotFound("budget")) } else { Ok(decision.index) }
    }

    /// The budget `id` and how it stands.
    pub(crate) async fn budget(&self, caller: &Caller, id: &str) -> Result<(LimitView, Standing), ShieldError> {
        let id = budget_id(&caller.principal.tenant, id)?;
        let found = self.0.governor.read(move |state| state.standing_of(&id, 1));
        found.await?.ok_or(ShieldError::NotFound("budget"))
    }

    /// At most `limit` budgets of the tenant behind the place `after`, each with its place.
    pub(crate) async fn budgets(
        &self,
        caller: &Caller,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<(u32, LimitView, Standing)>, ShieldError> {
        let tenant = caller.principal.tenant.clone();
        Ok(self.0.governor.read(move |state| state.limits_of(tenant.as_str(), after, limit, 1)).await?)
    }

    /// Refuses everything new at an account and below, or takes that back. Repeating it changes nothing. Returns its entry.
    pub(crate) async fn put_stop(
        &self,
        caller: &Caller,
        account: &str,
        is_stopped: bool,
    ) -> Result<Option<u64>, ShieldError> {
        let path = path_of(&caller.principal.tenant, account)?;
        let action = if is_stopped { "stop" } else { "resume" };
        let draft = self.draft(caller, &format!("spend.{action}"), action, &path);
        let path = path.into();
        let command = if is_stopped { Command::Stop { path } } else { Command::Resume { path } };
        Ok(self.decide(command, draft).await?.index)
    }

    /// At most `limit` accounts of the tenant at which nothing new is authorized, after the account `after`, and where the
    /// next page begins.
    pub(crate) async fn stops(
        &self,
        caller: &Caller,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<String>), ShieldError> {
        let tenant = caller.principal.tenant.clone();
        let after = after.map(|account| path_of(&tenant, &account)).transpose();
        let after = after.map_err(|_| ShieldError::invalid("after", "is of no answer"))?;
        let look = move |state: &mut kiki_spend::State| state.stops(tenant.as_str(), after.as_deref(), limit);
        let stops = self.0.governor.read(look).await?;
        let accounts: Vec<String> = stops.iter().map(|path| public_account(path).to_owned()).collect();
        let next = pages::next(&accounts, limit, String::clone);
        Ok((accounts, next))
    }

    /// At most `limit` requests that wait for approval, after `after`, the oldest first.
    pub(crate) async fn approvals(
        &self,
        caller: &Caller,
        after: Option<AuthorizationId>,
        limit: usize,
    ) -> Result<Vec<Known>, ShieldError> {
        let tenant = caller.principal.tenant.clone();
        let after = after.map(|id| id.uuid().into());
        let found = self.0.governor.read(move |state| {
            let ids = state.pending(tenant.as_str(), after, limit);
            ids.into_iter().filter_map(|id| Some((id, state.authorization(id)?))).collect::<Vec<_>>()
        });
        Ok(found.await?.into_iter().map(|(id, view)| Known::seen(Uuid::from(id).into(), view)).collect())
    }

    /// Lets a request that waits have its money. That something refuses the approval is an answer.
    pub(crate) async fn approve(
        &self,
        caller: &Caller,
        id: AuthorizationId,
    ) -> Result<(Decision, Option<Known>), ShieldError> {
        let command = Command::Approve { id: id.uuid().into(), by: self.approver(caller) };
        let draft = self.draft(caller, "spend.approve", "approve", &format!("authorization/{id}"));
        let decision = self.settled(self.decide_any(command, draft).await?)?;
        let known = known(&decision, id);
        Ok((decision, known))
    }

    /// Ends a request that waits. Repeating it answers the same.
    pub(crate) async fn reject(&self, caller: &Caller, id: AuthorizationId) -> Result<Known, ShieldError> {
        let command = Command::Reject { id: id.uuid().into(), by: self.approver(caller) };
        let draft = self.draft(caller, "spend.reject", "reject", &format!("authorization/{id}"));
        let decision = self.decide_any(command, draft).await?;
        if let (Outcome::Resolved { state: Resolution::Rejected }, Some(known)) =
            (&decision.outcome, known(&decision, id))
        {
            return Ok(known);
        }
        let decision = self.settled(decision)?;
        known(&decision, id).ok_or(ShieldError::NotFound("authorization"))
    }

    fn approver(&self, caller: &Caller) -> Digest {
        self.0.pseudonyms.actor(&caller.principal.tenant, &caller.principal.name)
    }

    /// Turns what is no answer to an approval or rejection into an error.
    fn settled(&self, decision: Decision) -> Result<Decision, ShieldError> {
        match decision.outcome {
            Outcome::Unknown => Err(ShieldError::NotFound("authorization")),
            Outcome::Invalid => Err(ShieldError::NoApproval),
            Outcome::Resolved { state } => Err(ShieldError::Resolved(state)),
            _ => Ok(decision),
        }
    }
}

/// The limits in shadow that would refuse.
pub(crate) fn would_refuse(notices: &[Notice]) -> Vec<&str> {
    let limits = notices.iter().filter_map(|notice| match notice {
        Notice::WouldRefuse { would_refuse } => Some(public_name(would_refuse)),
        _ => None,
    });
    limits.collect()
}
