//! The verbs of shield: they check what comes in, make ids, draft the audit entry and ask the governor.
//!
//! Here what all of them are made with; [`authorizations`] has the verbs about those, in the words of [`asked`], [`control`]
//! those about budgets, stops and approvals, [`rules`] those about the policy, [`intents`] what somebody means to do.

mod asked;
mod authorizations;
pub(crate) mod control;
pub(crate) mod intents;
pub(crate) mod rules;

use std::path::PathBuf;
use std::sync::Arc;

use kiki_audit::Checkpoint;
use kiki_kit::clock::Clock;
use kiki_kit::context::RequestContext;
use kiki_kit::shutdown::Tasks;
use kiki_spend::owner::Decision;
use kiki_spend::{Command, Handle, LimitKind, Outcome};
use kiki_store::Store;
use kiki_store::personal::{Mint, Subject, Subjects};
use kiki_types::event::{AuditEvent, Level, Outcome as EventOutcome};
use kiki_types::{Currency, IdSource, Principal, TenantId, UnixMillis};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::ShieldError;
use crate::names::check_customer_id;
use crate::policy::Policies;
use crate::pseudonym::Pseudonyms;
pub(crate) use asked::{Ask, Booked, Decided, Known, known};

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
    /// Where work goes on whose caller has left.
    pub tasks: Tasks,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Shield(pub(crate) Arc<Seed>);

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
