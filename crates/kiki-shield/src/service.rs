//! The verbs of shield: they check what comes in, make ids, draft the audit entry and ask the governor.
//!
//! Here those about authorizations; [`control`] has those about budgets, stops and approvals, [`rules`] those about the
//! policy, [`intents`] what somebody means to do.

pub(crate) mod control;
pub(crate) mod intents;
pub(crate) mod rules;

use std::path::PathBuf;
use std::sync::Arc;

use kiki_audit::Checkpoint;
use kiki_kit::clock::Clock;
use kiki_kit::context::RequestContext;
use kiki_spend::account::tenant_of;
use kiki_spend::command::{Notices, Record};
use kiki_spend::kind::is_value;
use kiki_spend::owner::Decision;
use kiki_spend::state::TTL_MS_MAX;
use kiki_spend::{AuthorizationView, Authorize, Command, Digest, Handle, LimitKind, Outcome, Resolution, Standing};
use kiki_store::Store;
use kiki_store::personal::{Mint, Subject, Subjects};
use kiki_types::event::{AuditEvent, Level, Outcome as EventOutcome};
use kiki_types::id::AuthorizationId;
use kiki_types::{Channel, Currency, IdSource, Money, Principal, Purpose, TenantId, UnixMillis};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::ShieldError;
use crate::names::{check_customer_id, check_impersonal, path_of, public_name};
use crate::policy::Policies;
use crate::pseudonym::Pseudonyms;
use rules::{Act, JUDGED_MAX, Ruling};

/// How long money stays held when the caller does not say: 15 minutes.
const TTL_MS_DEFAULT: i64 = 15 * 60 * 1000;
/// An LTV below this many millionths is refused by `/check`.
const LTV_LEAST: i64 = 10_000_000;
/// An LTV above this many millionths is refused by `/check`.
const LTV_MOST: i64 = 10_000_000_000;
/// The id of the budget that `MAX_BURST_BUDGET` and `WINDOW_SECONDS` define.
pub(crate) const BURST: &str = "burst";

/// Who asks, and from where: what an audit entry says of it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose data may be touched, and in whose name.
    pub principal: Arc<Principal>,
    /// The network that the request came from; empty inside the process.
    pub network: String,
}

/// What a shield is made of.
pub struct Seed {
    /// Asks the governor.
    pub governor: Handle,
    /// For what is not money: subject requests.
    pub store: Store,
    /// Customers.
    pub subjects: Subjects,
    /// Keyed hashes of all but customers.
    pub pseudonyms: Pseudonyms,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn IdSource>,
    /// The currency in which all accounts are kept.
    pub currency: Currency,
    /// `$KIKI_DATA/audit`: the log, for reports.
    pub audit: PathBuf,
    /// `$KIKI_DATA/keys`: the keys that the log is checked by.
    pub keys: PathBuf,
    /// The log's name.
    pub origin: Arc<str>,
    /// The policies in force: none is known at first.
    pub policies: Policies,
    /// How long a consent stands that names no end; 0 is for ever.
    pub consent_days: u32,
    /// Randomness that nobody may guess.
    pub random: fn() -> Zeroizing<[u8; 32]>,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Shield(pub(crate) Arc<Seed>);

/// A request for money, as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) account: String,
    pub(crate) amount: Money,
    pub(crate) customer_id: Option<String>,
    pub(crate) purpose: Option<Purpose>,
    /// By which the customer is reached.
    pub(crate) channel: Option<Channel>,
    pub(crate) category: Option<String>,
    pub(crate) payee: Option<String>,
    pub(crate) ttl_ms: Option<i64>,
    pub(crate) key: Option<String>,
    /// Capture in the same step.
    pub(crate) capture: bool,
    /// What rules alone look at.
    pub(crate) act: Act,
    /// Whether the caller can make do with a smaller amount or a safer mode, and is told so.
    pub(crate) takes_less: bool,
}

impl Ask {
    /// A request that says no more than it must.
    pub(crate) fn of(account: String, amount: Money) -> Self {
        Self {
            account,
            amount,
            customer_id: None,
            purpose: None,
            channel: None,
            category: None,
            payee: None,
            ttl_ms: None,
            key: None,
            capture: false,
            act: Act::default(),
            takes_less: false,
        }
    }
}

/// A decision about a request for money.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) id: AuthorizationId,
    /// What the policy says, if one is in force. For a repeat it is not what decided.
    pub(crate) ruling: Option<Ruling>,
}

/// What would be decided.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) ruling: Option<Ruling>,
    pub(crate) outcome: Outcome,
    pub(crate) notices: Notices,
    pub(crate) standings: Vec<Standing>,
    /// Whether its key was used before: it gets its first answer again, however long it waits.
    pub(crate) is_repeat: bool,
}

/// Money that was booked after it had gone.
#[derive(Debug)]
pub(crate) struct Booked {
    pub(crate) known: Known,
    pub(crate) over: Vec<String>,
    pub(crate) entry: Option<u64>,
}

/// An authorization as its tenant sees it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: AuthorizationId,
    pub(crate) view: AuthorizationView,
    /// The entry of what was decided about it now, or else of the decision that made it.
    pub(crate) entry: Option<u64>,
}

impl Known {
    /// Nothing was decided now.
    fn seen(id: AuthorizationId, view: AuthorizationView) -> Self {
        Self { id, entry: view.entry, view }
    }
}

impl Shield {
    /// A shield of these parts.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self(Arc::new(seed))
    }

    /// Defines the budget of the seeds for the default tenant, if it does not stand as configured.
    ///
    /// # Errors
    /// [`ShieldError::Undecided`].
    pub async fn define_burst(&self, amount: i64, seconds: u32) -> Result<(), ShieldError> {
        let caller = Caller {
            principal: Arc::new(Principal::service(TenantId::default_tenant(), "kiki-shield")),
            network: String::new(),
        };
        self.define_budget(&caller, BURST, "", LimitKind::Window { amount, seconds }, false).await.map(|_| ())
    }

    /// The pseudonyms of this installation.
    #[must_use]
    pub fn pseudonyms(&self) -> &Pseudonyms {
        &self.0.pseudonyms
    }

    /// Whether the governor answers.
    ///
    /// # Errors
    /// [`ShieldError::Undecided`].
    pub async fn ping(&self) -> Result<(), ShieldError> {
        Ok(self.0.governor.read(|_| ()).await?)
    }

    pub(crate) fn draft(&self, caller: &Caller, event_type: &str, action: &str, resource: &str) -> AuditEvent {
        let tenant = caller.principal.tenant.clone();
        AuditEvent {
            id: Uuid::nil(),
            at: UnixMillis(0),
            actor: self.0.pseudonyms.actor(&tenant, &caller.principal.name).to_string(),
            tenant,
            level: Level::Info,
            event_type: event_type.to_owned(),
            customer: String::new(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            outcome: EventOutcome::Allowed,
            reason: String::new(),
            ip: caller.network.clone(),
            data: String::new(),
            request: RequestContext::current()
                .map(|context| self.0.pseudonyms.request_id(context.request_id()))
                .unwrap_or_default(),
        }
    }

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
    fn request(
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
    ) -> Result<Decision, ShieldError> {
        let command = Command::Increase { id: id.uuid().into(), amount: self.amount(amount)? };
        self.decide(command, self.draft(caller, "spend.increase", "increase", &format!("authorization/{id}"))).await
    }

    /// Takes back what was captured.
    pub(crate) async fn refund(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        amount: Money,
    ) -> Result<Known, ShieldError> {
        let command = Command::Refund { id: id.uuid().into(), amount: self.amount(amount)? };
        let draft = self.draft(caller, "spend.refund", "refund", &format!("authorization/{id}"));
        let decision = self.decide_any(command, draft).await?;
        match (decision.outcome.clone(), known(&decision, id)) {
            (Outcome::Refunded, Some(known)) => Ok(known),
            (Outcome::Invalid, Some(Known { view, .. })) => {
                Err(ShieldError::RefundTooLarge(view.captured - view.refunded))
            }
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

    /// The log's newest checkpoint, if one is signed already.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        Checkpoint::load(&self.0.audit, None).ok().flatten()
    }

    /// The customer `id`; `None` if nobody is known by it, and nobody is to be made known.
    pub(crate) async fn person(&self, tenant: &TenantId, id: &str, mint: Mint) -> Result<Option<Subject>, ShieldError> {
        check_customer_id(id)?;
        Ok(self.0.subjects.resolve(tenant, id, mint).await?)
    }

    /// The customer `id`, known from now on: something is decided or recorded about them.
    pub(crate) async fn somebody(&self, tenant: &TenantId, id: &str) -> Result<Subject, ShieldError> {
        self.person(tenant, id, Mint::Yes).await?.ok_or(ShieldError::NotFound("customer"))
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

    /// Asks the governor; what is neither a decision nor a repeat is an error.
    pub(crate) fn decide(
        &self,
        command: Command,
        draft: AuditEvent,
    ) -> impl Future<Output = Result<Decision, ShieldError>> + Send + use<> {
        let decided = self.decide_any(command, draft);
        async move { answered(decided.await?) }
    }

    pub(crate) fn decide_any(
        &self,
        command: Command,
        draft: AuditEvent,
    ) -> impl Future<Output = Result<Decision, ShieldError>> + Send + use<> {
        let decided = self.0.governor.decide(command, draft);
        async move {
            let decided = decided.await;
            let outcome = decided.as_ref().map_or("undecided", |decision| decision.outcome.as_str());
            metrics::counter!("kiki_spend_decisions_total", "outcome" => outcome).increment(1);
            let decision = decided?;
            if let Outcome::Exhausted { of } = decision.outcome {
                return Err(ShieldError::Exhausted(of));
            }
            Ok(decision)
        }
    }
}

/// What is neither a decision nor a repeat is an error.
fn answered(decision: Decision) -> Result<Decision, ShieldError> {
    match decision.outcome {
        Outcome::Conflict => Err(ShieldError::KeyConflict),
        Outcome::Invalid => Err(ShieldError::invalid("amount", "is out of range")),
        Outcome::Unknown => Err(ShieldError::NotFound("authorization")),
        Outcome::Resolved { state } => Err(ShieldError::Resolved(state)),
        Outcome::Waiting => Err(ShieldError::Waiting),
        Outcome::Stale => Err(ShieldError::PolicyChanges),
        _ => Ok(decision),
    }
}

/// A request as the policy lets it be asked: for no more than it allows.
fn ruled(request: Authorize, ruling: Option<&Ruling>, takes_less: bool) -> Authorize {
    let Some(ruling) = ruling else { return request };
    let most = ruling.judgement.amount.filter(|_| takes_less);
    Authorize { amount: most.unwrap_or(request.amount), policy: Some(ruling.ruled(takes_less)), ..request }
}

pub(crate) fn known(decision: &Decision, id: AuthorizationId) -> Option<Known> {
    decision.authorization.clone().map(|(_, view)| Known { id, view, entry: decision.entry() })
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
