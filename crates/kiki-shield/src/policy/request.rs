//! What a rule is asked about, in our words and in Cedar's.

use std::str::FromStr;

use cedar_policy::{Context, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use jiff::civil::DateTime;
use kiki_types::{ActorKind, UnixMillis};
use serde::{Deserialize, Serialize};

/// Millionths in the smallest step of Cedar's decimal, which has four digits.
const MICROS_PER_STEP: i64 = 100;

/// Every kind of actor, each at its place in an index.
pub(crate) const ACTORS: [ActorKind; 3] = [ActorKind::Human, ActorKind::Agent, ActorKind::System];

/// The entity type of a kind of actor in rules.
pub(crate) const fn type_name(actor: ActorKind) -> &'static str {
    match actor {
        ActorKind::Human => "Human",
        ActorKind::Agent => "Agent",
        ActorKind::System => "System",
    }
}

/// What the actor wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Look at something.
    Read,
    /// Create or replace data.
    Write,
    /// Carry something out in the world: buy, send, trade.
    Execute,
    /// Change how something works: a setting, a model, a limit.
    Mutate,
}

impl Action {
    /// Every action, each at its place in an index.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Execute, Self::Mutate];

    /// The action of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Its word in requests and in rules, such as `execute`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Mutate => "mutate",
        }
    }
}

/// One request, as rules see it. Texts are compared byte by byte; whoever makes the request bounds their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRequest<'a> {
    /// What kind of actor asks.
    pub actor: ActorKind,
    /// Its name.
    pub actor_name: &'a str,
    /// What is to be done.
    pub action: Action,
    /// To what; empty where the caller names nothing.
    pub target: &'a str,
    /// The account below the tenant, such as `growth/eu`; empty is the tenant itself.
    pub account: &'a str,
    /// The category of the spend.
    pub category: Option<&'a str>,
    /// Who is paid.
    pub payee: Option<&'a str>,
    /// Millionths of the currency; 0 where nothing is spent.
    pub amount_micros: i64,
    /// ISO 4217.
    pub currency: &'a str,
    /// 0 to 100, where one is told.
    pub risk: Option<u8>,
    /// When it is decided.
    pub at: UnixMillis,
}

/// A request with what follows from it.
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a PolicyRequest<'a>,
    pub(crate) time: DateTime,
}

impl<'a> Facts<'a> {
    /// `None` if the time is outside the years that a calendar has.
    pub(crate) fn of(request: &'a PolicyRequest<'a>) -> Option<Self> {
        let at = jiff::Timestamp::from_millisecond(request.at.0).ok()?;
        Some(Self { request, time: jiff::tz::Offset::UTC.to_datetime(at) })
    }

    /// The amount in steps of Cedar's decimal, rounded up: no amount looks smaller than it is. For any bound of four
    /// digits `greaterThan` and `lessThanOrEqual` are thereby exact.
    pub(crate) fn amount_steps(&self) -> i64 {
        let micros = self.request.amount_micros;
        micros.div_euclid(MICROS_PER_STEP) + i64::from(micros.rem_euclid(MICROS_PER_STEP) > 0)
    }

    pub(crate) fn hour(&self) -> i64 {
        self.time.hour().into()
    }

    pub(crate) fn minute(&self) -> i64 {
        self.time.minute().into()
    }

    pub(crate) fn weekday(&self) -> i64 {
        self.time.weekday().to_monday_one_offset().into()
    }

    pub(crate) fn epoch_seconds(&self) -> i64 {
        self.request.at.0.div_euclid(1000)
    }

    /// The account and every account above it.
    pub(crate) fn within(&self) -> impl Iterator<Item = &'a str> {
        let account = self.request.account;
        let above = |inner: &&'a str| inner.rsplit_once('/').map(|(outer, _)| outer);
        std::iter::successors(Some(account).filter(|account| !account.is_empty()), above)
    }
}

/// The names of the schema, parsed once.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    actors: [EntityTypeName; 3],
    actions: [EntityUid; 4],
    target: EntityTypeName,
}

impl Vocabulary {
    pub(crate) fn new() -> Result<Self, String> {
        let name = |text: &str| EntityTypeName::from_str(text).map_err(|error| error.to_string());
        let action_type = name("Action")?;
        let action =
            |action: Action| EntityUid::from_type_name_and_id(action_type.clone(), EntityId::new(action.name()));
        let [human, agent, system] = ACTORS.map(|actor| name(type_name(actor)));
        Ok(Self { actors: [human?, agent?, system?], actions: Action::ALL.map(action), target: name("Target")? })
    }

    /// The request in Cedar's words; it has every attribute that the schema promises.
    pub(crate) fn request(&self, facts: &Facts<'_>) -> Result<Request, String> {
        let request = facts.request;
        let uid = |of: &EntityTypeName, name| EntityUid::from_type_name_and_id(of.clone(), EntityId::new(name));
        let context = Context::from_pairs(context(facts)?).map_err(|error| error.to_string())?;
        let principal = uid(&self.actors[request.actor as usize], request.actor_name);
        let action = self.actions[request.action as usize].clone();
        Request::new(principal, action, uid(&self.target, request.target), context, None)
            .map_err(|error| error.to_string())
    }
}

fn context(facts: &Facts<'_>) -> Result<Vec<(String, RestrictedExpression)>, String> {
    let request = facts.request;
    let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
    let long = RestrictedExpression::new_long;
    let time = [
        ("year", facts.time.year().into()),
        ("month", facts.time.month().into()),
        ("day", facts.time.day().into()),
        ("weekday", facts.weekday()),
        ("hour", facts.hour()),
        ("minute", facts.minute()),
        ("minute_of_day", facts.hour() * 60 + facts.minute()),
        ("epoch_seconds", facts.epoch_seconds()),
    ];
    let time = RestrictedExpression::new_record(time.map(|(name, value)| (name.to_owned(), long(value))));
    let steps = facts.amount_steps();
    let sign = if steps < 0 { "-" } else { "" };
    let amount = format!("{sign}{}.{:04}", steps.unsigned_abs() / 10_000, steps.unsigned_abs() % 10_000);
    let mut pairs = vec![
        ("actor", text(request.actor_name)),
        ("target", text(request.target)),
        ("account", text(request.account)),
        ("within", RestrictedExpression::new_set(facts.within().map(text))),
        ("amount", RestrictedExpression::new_decimal(amount)),
        ("amount_micros", long(request.amount_micros)),
        ("currency", text(request.currency)),
        ("time", time.map_err(|error| error.to_string())?),
    ];
    pairs.extend(request.category.map(|category| ("category", text(category))));
    pairs.extend(request.payee.map(|payee| ("payee", text(payee))));
    pairs.extend(request.risk.map(|risk| ("risk", long(risk.into()))));
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
