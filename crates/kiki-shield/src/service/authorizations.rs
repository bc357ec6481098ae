//! Authorizations: money is asked for, held, settled or given back, and what is gone already is booked.

use kiki_spend::account::tenant_of;
use kiki_spend::command::Record;
use kiki_spend::kind::is_value;
use kiki_spend::owner::Decision;
use kiki_spend::state::TTL_MS_MAX;
use kiki_spend::{Authorize, Command, Digest, Outcome, Resolution};
use kiki_store::personal::Mint;
use kiki_types::event::{AuditEvent, Outcome as EventOutcome};
use kiki_types::id::AuthorizationId;
use kiki_types::{Money, TenantId};
use uuid::Uuid;

use super::asked::{Ask, Booked, Decided, Known, Preview, known};
use super::rules::{JUDGED_MAX, Ruling};
use super::{Caller, Shield, answered};
use crate::error::ShieldError;
use crate::names::{check_impersonal, path_of, public_name};

/// How long money stays held when the caller does not say: 15 minutes.
const TTL_MS_DEFAULT: i64 = 15 * 60 * 1000;
/// An LTV below this many millionths is refused by `/check`.
const LTV_LEAST: i64 = 10_000_000;
/// An LTV above this many millionths is refused by `/check`.
const LTV_MOST: i64 = 10_000_000_000;

impl Shield {
    /// Reserves money, or spends it at once. A denial is an answer.
    pub(crate) async fn authorize(
        &self,
        caller: &Caller,
        ask: Ask,
    ) -> Result<(Decision, AuthorizationId), ShieldError> {
        self.judge_and_authorize(caller, &ask).await.map(|decided| (decided.decision, decided.id))
    }

    /// As [`Shield::authorize`], with what the policy says.
    pub(crate) async fn judge_and_authorize(&self, caller: &Caller, ask: &Ask) -> Result<Decided, ShieldError> {
        let customer = self.customer(&caller.principal.tenant, ask, Mint::Yes).await?;
        for _ in 0..JUDGED_MAX {
            let (request, draft) = self.request(caller, ask, customer)?;
            let ruling = self.rule(caller, ask, request.amount);
            let id = request.id;
            let command = Command::Authorize(ruled(request, ruling.as_ref(), ask.takes_less));
            let decision = self.decide_any(command, draft).await?;
            if decision.outcome == Outcome::Stale {
                // Boxed: what nearly never happens must not make the future of every request larger.
                Box::pin(self.see_policy(&caller.principal.tenant)).await?;
                continue;
            }
            let decision = answered(decision)?;
            // A repeat is about the authorization that the key made first.
            let id = decision.authorization.as_ref().map_or(id, |(first, _)| *first);
            return Ok(Decided { decision, id: Uuid::from(id).into(), ruling });
        }
        Err(ShieldError::PolicyChanges)
    }

    /// What would be decided now. Nothing is.
    pub(crate) async fn preview(&self, caller: &Caller, ask: &Ask) -> Result<Preview, ShieldError> {
        // Who is not known yet agrees to nothing, and stays unknown.
        let customer = self.customer(&caller.principal.tenant, ask, Mint::No).await?;
        let customer = customer.or(ask.customer_id.as_ref().map(|_| Digest::NONE));
        for _ in 0..JUDGED_MAX {
            let (request, _) = self.request(caller, ask, customer)?;
            let ruling = self.rule(caller, ask, request.amount);
            let request = ruled(request, ruling.as_ref(), ask.takes_less);
            let look = move |state: &mut kiki_spend::State| {
                let is_repeat = request.key.is_some_and(|key| state.authorization_of(key).is_some());
                (state.preview(&request), state.explain(&request), is_repeat)
            };
            let ((outcome, notices), standings, is_repeat) = self.0.governor.read(look).await?;
            match outcome {
                Outcome::Stale => self.see_policy(&caller.principal.tenant).await?,
                Outcome::Conflict => return Err(ShieldError::KeyConflict),
                Outcome::Invalid => return Err(ShieldError::invalid("amount", "is out of range")),
                Outcome::Exhausted { of } => return Err(ShieldError::Exhausted(of)),
                outcome => return Ok(Preview { ruling, outcome, notices, standings, is_repeat }),
            }
        }
        Err(ShieldError::PolicyChanges)
    }

    /// The governor's request for what is asked, before any rule looked at it, and the entry that it will be.
    pub(super) fn request(
        &self,
        caller: &Caller,
        ask: &Ask,
        customer: Option<Digest>,
    ) -> Result<(Authorize, AuditEvent), ShieldError> {
        let tenant = &caller.principal.tenant;
        let path = path_of(tenant, &ask.account)?;
        let amount = self.amount(ask.amount)?;
        let ttl_ms = ask.ttl_ms.unwrap_or(TTL_MS_DEFAULT);
        if !(1..=TTL_MS_MAX).contains(&ttl_ms) {
            return Err(ShieldError::invalid("ttl_seconds", "must be positive and at most 31 days"));
        }
        let (category, payee) = (named("category", ask.category.clone())?, named("payee", ask.payee.clone())?);
        let action = if ask.capture { "authorize_and_capture" } else { "authorize" };
        let mut draft = self.draft(caller, &format!("spend.{action}"), action, &path);
        draft.customer = customer.map(|customer| customer.to_string()).unwrap_or_default();
        let consent = match (customer, ask.purpose) {
            (Some(customer), Some(purpose)) => {
                "consent".clone_into(&mut draft.data);
                Some((customer, purpose))
            }
            (_, None) if ask.channel.is_some() => {
                return Err(ShieldError::invalid("purpose", "must be given with a channel"));
            }
            (_, None) => None,
            (None, Some(_)) => return Err(ShieldError::invalid("customer_id", "must be given with a purpose")),
        };
        let key = ask.key.as_deref().map(|key| self.0.pseudonyms.request_key(tenant, key));
        // Of what was asked for, not of what a policy makes of it: a repeat is the same request under another policy.
        let fingerprint = key.map(|_| {
            let money = (&path, amount, &category, &payee, ttl_ms, ask.capture);
            let whole = (money, &draft.customer, ask.purpose, ask.channel, &ask.act);
            self.0.pseudonyms.request_key(tenant, &format!("{whole:?}"))
        });
        let by = Some(self.0.pseudonyms.actor(tenant, &caller.principal.name));
        let id = AuthorizationId::new(self.0.ids.as_ref()).uuid().into();
        let least = Authorize::of(id, &path, amount, ttl_ms);
        let (channel, capture) = (ask.channel, ask.capture);
        let request = Authorize { key, request: fingerprint, consent, channel, category, payee, by, capture, ..least };
        Ok((request, draft))
    }

    /// Grows a hold, if every limit allows the larger sum. A denial is an answer.
    pub(crate) async fn increase(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        amount: Money,
        key: Option<&str>,
    ) -> Result<Decision, ShieldError> {
        let key = self.change_key(caller, key);
        let command = Command::Increase { id: id.uuid().into(), amount: self.amount(amount)?, key };
        self.decide(command, self.draft(caller, "spend.increase", "increase", &format!("authorization/{id}"))).await
    }

    /// Takes back what was captured.
    pub(crate) async fn refund(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        amount: Money,
        key: Option<&str>,
    ) -> Result<Known, ShieldError> {
        let key = self.change_key(caller, key);
        let command = Command::Refund { id: id.uuid().into(), amount: self.amount(amount)?, key };
        let draft = self.draft(caller, "spend.refund", "refund", &format!("authorization/{id}"));
        let decision = self.decide_any(command, draft).await?;
        match (decision.outcome.clone(), known(&decision, id)) {
            (Outcome::Refunded, Some(known)) => Ok(known),
            (Outcome::Invalid, Some(Known { view, .. })) => {
                Err(ShieldError::RefundTooLarge(view.captured - view.refunded))
            }
            (Outcome::Conflict, _) => Err(ShieldError::KeyConflict),
            _ => Err(ShieldError::NotFound("authorization")),
        }
    }

    /// Books money that is already gone.
    pub(crate) async fn record_gone(&self, caller: &Caller, ask: Ask) -> Result<Booked, ShieldError> {
        let tenant = &caller.principal.tenant;
        let path = path_of(tenant, &ask.account)?;
        let amount = self.amount(ask.amount)?;
        let (category, payee) = (named("category", ask.category)?, named("payee", ask.payee)?);
        let draft = self.draft(caller, "spend.record", "record", &path);
        let key = ask.key.map(|key| self.0.pseudonyms.request_key(tenant, &key));
        let whole = format!("{:?}", ("record", &path, amount, &category, &payee));
        let request = key.map(|_| self.0.pseudonyms.request_key(tenant, &whole));
        let id = AuthorizationId::new(self.0.ids.as_ref());
        let made = Some(id.uuid().into());
        let gone = Record { id: made, key, request, path: path.into(), amount, category, payee };
        let decision = self.decide(Command::Record(gone), draft).await?;
        let entry = decision.entry();
        let (first, view) = decision.authorization.ok_or(ShieldError::NotFound("authorization"))?;
        let over = match &decision.outcome {
            Outcome::Recorded { over } => over.iter().map(|limit| public_name(limit).to_owned()).collect(),
            _ => Vec::new(),
        };
        Ok(Booked { known: Known { id: Uuid::from(first).into(), view, entry }, over, entry: decision.index })
    }

    /// Settles a hold for `amount`, or for all of it. Settling it again for the same amount answers the same.
    pub(crate) async fn capture(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        amount: Option<Money>,
    ) -> Result<Known, ShieldError> {
        let amount = amount.map(|amount| self.amount(amount)).transpose()?;
        let command = Command::Capture { id: id.uuid().into(), amount };
        let draft = self.draft(caller, "spend.capture", "capture", &format!("authorization/{id}"));
        let decision = self.decide_any(command, draft).await?;
        let known = known(&decision, id);
        match (decision.outcome, known) {
            (Outcome::Captured, Some(known)) => Ok(known),
            (Outcome::Resolved { state: Resolution::Captured }, Some(known))
                if known.view.captured == amount.unwrap_or(known.view.amount) =>
            {
                Ok(known)
            }
            (Outcome::Resolved { state }, _) => Err(ShieldError::Resolved(state)),
            (Outcome::Waiting, _) => Err(ShieldError::Waiting),
            (Outcome::Invalid, _) => Err(ShieldError::invalid("amount", "must be positive and at most what is held")),
            _ => Err(ShieldError::NotFound("authorization")),
        }
    }

    /// Gives a hold back. Giving it back again answers the same.
    pub(crate) async fn void(&self, caller: &Caller, id: AuthorizationId) -> Result<Known, ShieldError> {
        let draft = self.draft(caller, "spend.void", "void", &format!("authorization/{id}"));
        let decision = self.decide_any(Command::Void { id: id.uuid().into() }, draft).await?;
        let known = known(&decision, id);
        match (decision.outcome, known) {
            (Outcome::Voided | Outcome::Resolved { state: Resolution::Voided }, Some(known)) => Ok(known),
            (Outcome::Resolved { state }, _) => Err(ShieldError::Resolved(state)),
            _ => Err(ShieldError::NotFound("authorization")),
        }
    }

    /// An authorization that is held, or has ended and is still kept.
    pub(crate) async fn authorization(&self, caller: &Caller, id: AuthorizationId) -> Result<Known, ShieldError> {
        let digest = Digest::from(id.uuid());
        let view = self.0.governor.read(move |state| state.authorization(digest)).await?;
        let own = view.filter(|view| tenant_of(&view.path) == caller.principal.tenant.as_str());
        own.map(|view| Known::seen(id, view)).ok_or(ShieldError::NotFound("authorization"))
    }

    /// Whether a customer of this value may be acted for: not outside the bounds, and not when nothing remains.
    pub(crate) async fn check(&self, caller: &Caller, ltv: i64) -> Result<Decision, ShieldError> {
        let path = path_of(&caller.principal.tenant, "")?;
        let mut draft = self.draft(caller, "spend.check", "check", &path);
        let refusal = match ltv {
            ..LTV_LEAST => Some("ltv_too_low"),
            LTV_LEAST..=LTV_MOST => None,
            _ => Some("ltv_too_high"),
        };
        let Some(reason) = refusal else {
            return self.decide(Command::Check { path: path.into() }, draft).await;
        };
        draft.outcome = EventOutcome::Denied;
        reason.clone_into(&mut draft.reason);
        let mut decision = self.decide(Command::Note { from: None }, draft).await?;
        decision.outcome = Outcome::Denied { refused_by: [reason.into()].into_iter().collect() };
        Ok(decision)
    }

    /// What stands for the customer of a request, if it names one.
    pub(crate) async fn customer(
        &self,
        tenant: &TenantId,
        ask: &Ask,
        mint: Mint,
    ) -> Result<Option<Digest>, ShieldError> {
        let Some(id) = ask.customer_id.as_deref() else { return Ok(None) };
        // Boxed: what is mostly in memory must not make the future of every request larger.
        let who = Box::pin(self.person(tenant, id, mint)).await?;
        Ok(who.map(|who| Digest(who.pseudonym)))
    }

    /// What stands for the key of an increase or a refund. The governor looks for it at its authorization alone.
    fn change_key(&self, caller: &Caller, key: Option<&str>) -> Option<Digest> {
        key.map(|key| self.0.pseudonyms.request_key(&caller.principal.tenant, key))
    }

    fn amount(&self, amount: Money) -> Result<i64, ShieldError> {
        if amount.currency != self.0.currency {
            let detail = format!("accounts are kept in {}, not in {}", self.0.currency, amount.currency);
            return Err(ShieldError::invalid("currency", detail));
        }
        if amount.micros <= 0 {
            return Err(ShieldError::invalid("amount", "must be more than 0"));
        }
        Ok(amount.micros)
    }
}

/// A request as the policy lets it be asked: for no more than it allows.
fn ruled(request: Authorize, ruling: Option<&Ruling>, takes_less: bool) -> Authorize {
    let Some(ruling) = ruling else { return request };
    let most = ruling.judgement.amount.filter(|_| takes_less);
    Authorize { amount: most.unwrap_or(request.amount), policy: Some(ruling.ruled(takes_less)), ..request }
}

/// A category or a payee, if it can be one.
fn named(field: &'static str, value: Option<String>) -> Result<Option<Box<str>>, ShieldError> {
    match value {
        Some(value) if check_impersonal(field, &value).is_err() => Err(ShieldError::PersonalName(field)),
        Some(value) if !is_value(&value) => {
            Err(ShieldError::invalid(field, "must be 1 to 128 visible ASCII characters without '@'"))
        }
        value => Ok(value.map(String::into_boxed_str)),
    }
}
