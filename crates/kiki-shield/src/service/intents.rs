//! Intents: what somebody means to do, put before everything that would decide it. Nothing is reserved.

use std::sync::Arc;

use kiki_spend::{Authorize, Command, Digest, Outcome, Policy as Ruled, Standing, State, Verdict};
use kiki_store::personal::Mint;
use kiki_types::event::{AuditEvent, Outcome as EventOutcome};
use kiki_types::{Channel, Money, Purpose};

use super::rules::{JUDGED_MAX, RULES_TOLD_MAX, Ruling};
use super::{Ask, Caller, Shield};
use crate::error::ShieldError;
use crate::names::public_name;
use crate::policy::Vote;

/// The vote of the limits, beside those of the rule sets.
pub(crate) const LIMITS: &str = "limits";
/// The vote of consent.
pub(crate) const CONSENT: &str = "consent";

/// What came of an intent.
#[derive(Debug)]
pub(crate) struct Considered {
    /// The most restrictive vote.
    pub(crate) verdict: Verdict,
    /// What the policy says, if one is in force.
    pub(crate) ruling: Option<Ruling>,
    /// Of limits and consent.
    pub(crate) others: Vec<Vote>,
    /// How each limit stands for somebody who asks for what the policy allows.
    pub(crate) standings: Vec<Standing>,
    /// The place of its entry in the log.
    pub(crate) entry: Option<u64>,
}

/// What the governor shows of an intent.
struct Look {
    policy: Option<Digest>,
    money: Option<(Outcome, Vec<Standing>)>,
    has_consent: Option<bool>,
}

impl Shield {
    /// Says what would be decided, with every vote, and writes it into the log. `amount` is what it would cost.
    pub(crate) async fn consider(
        &self,
        caller: &Caller,
        ask: Ask,
        amount: Option<Money>,
    ) -> Result<Considered, ShieldError> {
        let customer = self.customer(&caller.principal.tenant, &ask, Mint::Yes).await?;
        let (request, mut draft) = self.request(caller, &ask, customer)?;
        "intent".clone_into(&mut draft.event_type);
        ask.act.action.name().clone_into(&mut draft.action);
        for _ in 0..JUDGED_MAX {
            let ruling = self.rule(caller, &ask, amount.map_or(0, |amount| amount.micros));
            let look = self.look(&request, ruling.as_ref(), amount.is_some()).await?;
            if look.policy == ruling.as_ref().map(|ruling| ruling.version) {
                return self.write_down(considered(ruling, look), draft).await;
            }
            self.see_policy(&caller.principal.tenant).await?;
        }
        Err(ShieldError::PolicyChanges)
    }

    async fn look(&self, request: &Authorize, ruling: Option<&Ruling>, costs: bool) -> Result<Look, ShieldError> {
        let mut request = request.clone();
        let consent: Option<(Digest, Purpose)> = request.consent.take();
        let channel = request.channel.unwrap_or(Channel::Any);
        // The limits alone are asked: as if the policy allowed it.
        request.policy =
            ruling.map(|ruling| Ruled { version: ruling.version, verdict: Verdict::Allow, rules: Box::default() });
        request.amount = ruling.and_then(|ruling| ruling.judgement.amount).unwrap_or(request.amount);
        let look = move |state: &mut State| Look {
            policy: state.policy(kiki_spend::account::tenant_of(&request.path)),
            money: costs.then(|| (state.preview(&request).0, state.explain(&request))),
            has_consent: consent.map(|(subject, purpose)| state.has_consent(subject, purpose, channel)),
        };
        let look = self.0.governor.read(look).await?;
        match look.money {
            Some((Outcome::Invalid, _)) => Err(ShieldError::invalid("amount", "is out of range")),
            _ => Ok(look),
        }
    }

    async fn write_down(&self, mut considered: Considered, mut draft: AuditEvent) -> Result<Considered, ShieldError> {
        if considered.verdict == Verdict::Deny {
            draft.outcome = EventOutcome::Denied;
        }
        let by: Vec<String> = considered.deciding().take(RULES_TOLD_MAX).collect();
        let version = considered.ruling.as_ref().map(|ruling| format!(" under policy {}", ruling.version));
        let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(" ")) };
        draft.reason = format!("{}{by}{}", considered.verdict.as_str(), version.unwrap_or_default());
        considered.entry = self.decide(Command::Note { from: None }, draft).await?.index;
        Ok(considered)
    }
}

impl Considered {
    /// What decided: rules as `rule set/rule`, limits and consent.
    fn deciding(&self) -> impl Iterator<Item = String> {
        let ruling = self.ruling.iter().filter(|ruling| ruling.judgement.verdict == self.verdict);
        let others = self.others.iter().filter(|vote| vote.verdict == Some(self.verdict));
        let named = others.flat_map(|vote| {
            let alone = vote.rules.is_empty().then(|| vote.rule_set.to_string());
            vote.rules.iter().map(|rule| format!("{}/{rule}", vote.rule_set)).chain(alone)
        });
        ruling.flat_map(|ruling| ruling.judgement.deciding_rules()).chain(named)
    }
}

fn considered(ruling: Option<Ruling>, look: Look) -> Considered {
    let mut others = Vec::new();
    let mut standings = Vec::new();
    if let Some((outcome, stand)) = look.money {
        others.push(limits_vote(&outcome));
        standings = stand;
    }
    match look.has_consent {
        Some(true) => others.push(vote(CONSENT, Verdict::Allow, Vec::new(), Vec::new())),
        Some(false) => {
            others.push(vote(CONSENT, Verdict::Deny, Vec::new(), vec!["the customer does not agree".into()]));
        }
        None => {}
    }
    let of_policy = ruling.as_ref().map(|ruling| ruling.judgement.verdict);
    let verdict = others.iter().filter_map(|vote| vote.verdict).chain(of_policy).max().unwrap_or(Verdict::Allow);
    Considered { verdict, ruling, others, standings, entry: None }
}

fn limits_vote(outcome: &Outcome) -> Vote {
    match outcome {
        Outcome::Denied { refused_by } => {
            let rules: Vec<Arc<str>> = refused_by.iter().map(|limit| public_name(limit).into()).collect();
            let reasons = rules.iter().map(|limit| format!("refused by {limit}").into()).collect();
            vote(LIMITS, Verdict::Deny, rules, reasons)
        }
        Outcome::Pending => vote(LIMITS, Verdict::Ask, Vec::new(), vec!["somebody has to approve".into()]),
        _ => vote(LIMITS, Verdict::Allow, Vec::new(), Vec::new()),
    }
}

fn vote(name: &str, verdict: Verdict, rules: Vec<Arc<str>>, reasons: Vec<Arc<str>>) -> Vote {
    Vote { rule_set: name.into(), verdict: Some(verdict), rules, reasons }
}
