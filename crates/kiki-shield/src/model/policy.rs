//! The shapes of policies and intents.

use std::collections::BTreeMap;

use kiki_kit::schema::MoneySchema;
use kiki_spend::{Digest, Verdict};
use kiki_types::{ActorKind, Money};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LimitAnswer, ReceiptAnswer};
use crate::error::ShieldError;
use crate::policy::{Action, Policy, Vote};
use crate::service::Shield;
use crate::service::intents::Considered;
use crate::service::rules::{Act, RULES_TOLD_MAX, Ruling};

/// Bytes of a target's or an actor's name at the most.
const NAME_BYTES_MAX: usize = 256;

/// `PUT /v1/policy`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyBody {
    /// The rule sets by name, each the text of one file in Cedar.
    pub(crate) rule_sets: BTreeMap<String, String>,
}

/// `POST /v1/policy/rollback`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackBody {
    /// A version that is kept.
    #[schema(value_type = String, example = "5f0c2a9e7d1b4c3f8a6e0d9c2b1a7f43")]
    pub(crate) version: Digest,
}

/// The policy in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub(crate) struct PolicyAnswer {
    /// Which one: made of the names and texts of its rule sets. Absent: none is in force.
    pub(crate) version: Option<String>,
    /// How many rules it has.
    pub(crate) rules: usize,
    /// The rule sets by name.
    pub(crate) rule_sets: BTreeMap<String, String>,
    /// Where the log has what was decided now; absent where it was so before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

impl PolicyAnswer {
    pub(crate) fn new(policy: Option<&Policy>, receipt: Option<ReceiptAnswer>) -> Self {
        Self {
            version: policy.map(|policy| policy.version().to_string()),
            rules: policy.map_or(0, Policy::rule_count),
            rule_sets: policy.into_iter().flat_map(Policy::texts).cloned().collect(),
            receipt,
        }
    }
}

/// The versions of the policy that are kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyVersionsAnswer {
    /// The newest first.
    pub(crate) versions: Vec<PolicyVersionAnswer>,
}

/// A version of the policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyVersion)]
pub(crate) struct PolicyVersionAnswer {
    /// Its name.
    pub(crate) version: String,
    /// How many rules it has.
    pub(crate) rules: i64,
    /// When it was first put in force.
    pub(crate) created_at: String,
    /// Who put it in force first, as the audit log names them.
    pub(crate) created_by: String,
    /// Whether it is in force.
    pub(crate) in_force: bool,
}

/// What the policy in force says to a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ruling)]
pub(crate) struct RulingAnswer {
    /// Which policy.
    pub(crate) version: String,
    /// `allow`, `degrade`, `ask` or `deny`.
    #[schema(example = "ask")]
    pub(crate) verdict: &'static str,
    /// What each rule set says.
    pub(crate) votes: Vec<VoteAnswer>,
    /// Why.
    pub(crate) reasons: Vec<String>,
}

impl RulingAnswer {
    pub(crate) fn new(ruling: &Ruling) -> Self {
        let judgement = &ruling.judgement;
        Self {
            version: ruling.version.to_string(),
            verdict: judgement.verdict.as_str(),
            votes: judgement.votes.iter().map(VoteAnswer::new).collect(),
            reasons: reasons(ruling),
        }
    }
}

/// What one rule set says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vote)]
pub(crate) struct VoteAnswer {
    /// Its name.
    pub(crate) rule_set: String,
    /// Absent: no rule of the set applied.
    pub(crate) verdict: Option<&'static str>,
    /// The rules that decided, at most 16.
    pub(crate) rules: Vec<String>,
    /// Their reasons, at most 16.
    pub(crate) reasons: Vec<String>,
}

impl VoteAnswer {
    fn new(vote: &Vote) -> Self {
        let texts = |of: &[std::sync::Arc<str>]| of.iter().take(RULES_TOLD_MAX).map(ToString::to_string).collect();
        Self {
            rule_set: vote.rule_set.to_string(),
            verdict: vote.verdict.map(Verdict::as_str),
            rules: texts(&vote.rules),
            reasons: texts(&vote.reasons),
        }
    }
}

/// Less than was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Degraded)]
pub(crate) struct DegradedAnswer {
    /// What was asked for.
    #[schema(value_type = Option<MoneySchema>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<Money>,
    /// What may be spent; absent: what was asked for.
    #[schema(value_type = Option<MoneySchema>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<Money>,
    /// The safer mode to use, as its rule names it.
    #[schema(example = "paper")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// Why.
    pub(crate) reasons: Vec<String>,
}

impl DegradedAnswer {
    /// What the policy makes of what was `asked`, if it is less; `at_most` is what it left of the amount.
    pub(crate) fn new(ruling: Option<&Ruling>, asked: Option<Money>, at_most: Option<Money>) -> Option<Self> {
        let mode = ruling.and_then(|ruling| ruling.judgement.mode.as_deref()).map(str::to_owned);
        (at_most.is_some() || mode.is_some()).then(|| Self {
            asked,
            at_most,
            mode,
            reasons: ruling.map(reasons).unwrap_or_default(),
        })
    }
}

fn reasons(ruling: &Ruling) -> Vec<String> {
    ruling.judgement.reasons().take(RULES_TOLD_MAX).map(str::to_owned).collect()
}

/// `POST /v1/intents`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IntentBody {
    /// Who would act; absent: the caller.
    pub(crate) actor: Option<ActorBody>,
    /// `read`, `write`, `execute` or `mutate`.
    #[schema(example = "execute")]
    pub(crate) action: String,
    /// What it would be done to.
    pub(crate) target: Option<String>,
    /// The account that would pay, below the tenant; absent: the tenant itself.
    #[serde(default)]
    #[schema(example = "growth/winback")]
    pub(crate) account: String,
    /// What the money would be for.
    pub(crate) category: Option<String>,
    /// Whom it would go to.
    pub(crate) payee: Option<String>,
    /// What it would cost.
    #[schema(value_type = Option<MoneySchema>)]
    pub(crate) amount: Option<Money>,
    /// How risky it is, 0 to 100.
    pub(crate) risk: Option<u8>,
    /// The customer it concerns.
    pub(crate) customer_id: Option<String>,
    /// With a customer: their consent to this has a vote.
    #[schema(value_type = Option<String>, example = "marketing")]
    pub(crate) purpose: Option<String>,
}

/// Somebody who acts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActorBody {
    /// `human`, `agent` or `system`.
    #[schema(value_type = String, example = "agent")]
    pub(crate) kind: ActorKind,
    /// Its name.
    #[schema(example = "winback")]
    pub(crate) name: String,
}

/// What would be decided about an intent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentAnswer {
    /// The most restrictive vote: `allow`, `degrade`, `ask` or `deny`.
    #[schema(example = "allow")]
    pub(crate) verdict: &'static str,
    /// What each rule set says; `limits`, if it costs something; `consent`, if it is for a purpose.
    pub(crate) votes: Vec<VoteAnswer>,
    /// Why.
    pub(crate) reasons: Vec<String>,
    /// The policy that was asked; absent: none is in force.
    pub(crate) policy_version: Option<String>,
    /// What the policy makes of it, if it is less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<DegradedAnswer>,
    /// How each limit on the account's path stands.
    pub(crate) limits: Vec<LimitAnswer>,
    /// The place of the intent in the audit log.
    pub(crate) entry: Option<u64>,
    /// Where the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

impl IntentAnswer {
    pub(crate) fn new(considered: &Considered, asked: Option<Money>, shield: &Shield) -> Self {
        let currency = shield.0.currency;
        let ruling = considered.ruling.as_ref();
        let of_policy = ruling.map(|ruling| ruling.judgement.votes.as_slice()).unwrap_or_default();
        let most = ruling.and_then(|ruling| ruling.judgement.amount).map(|micros| Money::new(micros, currency));
        let others = considered.others.iter();
        let why = others.clone().flat_map(|vote| &vote.reasons).map(ToString::to_string);
        Self {
            verdict: considered.verdict.as_str(),
            votes: of_policy.iter().chain(others).map(VoteAnswer::new).collect(),
            reasons: ruling.map(reasons).into_iter().flatten().chain(why).collect(),
            policy_version: ruling.map(|ruling| ruling.version.to_string()),
            degraded: DegradedAnswer::new(ruling, asked, most),
            limits: considered.standings.iter().map(LimitAnswer::from).collect(),
            entry: considered.entry,
            receipt: shield.receipt(considered.entry),
        }
    }
}

/// What a body says for rules alone.
pub(crate) fn act(
    actor: Option<ActorBody>,
    action: Option<&str>,
    target: Option<String>,
    risk: Option<u8>,
) -> Result<Act, ShieldError> {
    let action = match action {
        Some(name) => Action::from_name(name)
            .ok_or_else(|| ShieldError::invalid("action", "must be read, write, execute or mutate"))?,
        None => Action::Execute,
    };
    let is_name = |name: &str| name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
    let target = target.unwrap_or_default();
    if !is_name(&target) {
        return Err(ShieldError::invalid("target", "must be at most 256 bytes without control characters"));
    }
    if actor.as_ref().is_some_and(|actor| actor.name.is_empty() || !is_name(&actor.name)) {
        return Err(ShieldError::invalid("actor.name", "must be 1 to 256 bytes without control characters"));
    }
    if risk.is_some_and(|risk| risk > 100) {
        return Err(ShieldError::invalid("risk", "must be 0 to 100"));
    }
    Ok(Act { actor: actor.map(|actor| (actor.kind, actor.name)), action, target, risk })
}
