//! How rules are counted: what a rule says, what a rule set votes, what the policy answers.

use std::sync::Arc;

use kiki_spend::Verdict;

/// What one rule set says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The name of the set.
    pub rule_set: Arc<str>,
    /// `None` if no rule of the set applied: it abstains.
    pub verdict: Option<Verdict>,
    /// The ids of the rules that decided, in the order of the text.
    pub rules: Vec<Arc<str>>,
    /// Their reasons, where they give one, and what went wrong.
    pub reasons: Vec<Arc<str>>,
}

/// The answer of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The most restrictive vote; deny if no rule of any set allowed.
    pub verdict: Verdict,
    /// What may be spent at most, in millionths, below what was asked. Also told with `Ask`, never with `Deny`.
    pub amount: Option<i64>,
    /// The safer mode to use, as its rule names it. Also told with `Ask`, never with `Deny`.
    pub mode: Option<Arc<str>>,
    /// One per rule set, in the order of their names.
    pub votes: Vec<Vote>,
    /// Why, where no vote tells: no rule allowed.
    pub reason: Option<&'static str>,
}

/// The reason when every set abstains, or restricts what none allowed.
pub const NO_RULE_ALLOWS: &str = "no rule allows it";

impl Judgement {
    /// Everything is allowed: there is no policy.
    pub(crate) fn unruled() -> Self {
        Self { verdict: Verdict::Allow, amount: None, mode: None, votes: Vec::new(), reason: None }
    }

    /// The rules that decided, as `rule set/rule`.
    pub fn deciding_rules(&self) -> impl Iterator<Item = String> {
        let deciding = self.votes.iter().filter(|vote| vote.verdict == Some(self.verdict));
        deciding.flat_map(|vote| vote.rules.iter().map(|rule| format!("{}/{rule}", vote.rule_set)))
    }

    /// Why: the reasons of the votes that decided, and the policy's own.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        let deciding = self.votes.iter().filter(|vote| vote.verdict == Some(self.verdict));
        deciding.flat_map(|vote| vote.reasons.iter().map(AsRef::as_ref)).chain(self.reason)
    }
}

/// What a rule does when it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    /// At most so many millionths, in that mode; at least one of them.
    Degrade {
        amount: Option<i64>,
        mode: Option<Arc<str>>,
    },
    Ask,
    Deny,
}

/// A rule that applied, or could not be evaluated.
pub(crate) struct Fired<'a> {
    pub(crate) set: usize,
    pub(crate) id: &'a Arc<str>,
    pub(crate) effect: &'a Effect,
    pub(crate) reason: Option<&'a Arc<str>>,
    pub(crate) error: Option<String>,
}

impl Fired<'_> {
    /// What it says about a request of `asked` millionths; `None` if it changes nothing.
    fn verdict(&self, asked: i64) -> Option<Verdict> {
        match self.effect {
            _ if self.error.is_some() => Some(Verdict::Deny),
            Effect::Allow => Some(Verdict::Allow),
            Effect::Ask => Some(Verdict::Ask),
            Effect::Deny => Some(Verdict::Deny),
            Effect::Degrade { amount, mode } => {
                let changes = mode.is_some() || amount.is_some_and(|most| most < asked);
                changes.then_some(Verdict::Degrade)
            }
        }
    }
}

/// Counts the rules that fired, which are in the order of their sets and of the text.
pub(crate) fn count(sets: &[Arc<str>], fired: &[Fired<'_>], asked: i64) -> Judgement {
    let abstained = |set: &Arc<str>| Vote { rule_set: set.clone(), verdict: None, rules: vec![], reasons: vec![] };
    let mut votes: Vec<Vote> = sets.iter().map(abstained).collect();
    let (mut amount, mut mode, mut is_allowed) = (None, None, false);
    for rule in fired {
        let Some(verdict) = rule.verdict(asked) else { continue };
        is_allowed |= verdict == Verdict::Allow;
        if let (Verdict::Degrade, Effect::Degrade { amount: most, mode: safer }) = (verdict, rule.effect) {
            let most = most.filter(|most| *most < asked);
            amount = [amount, most].into_iter().flatten().min();
            mode = mode.or_else(|| safer.clone());
        }
        add(&mut votes[rule.set], rule, verdict);
    }
    let restricted = votes.iter().filter_map(|vote| vote.verdict).max();
    let verdict = restricted.filter(|_| is_allowed).unwrap_or(Verdict::Deny);
    let is_unexplained = verdict == Verdict::Deny && restricted != Some(Verdict::Deny);
    if verdict == Verdict::Deny {
        (amount, mode) = (None, None);
    }
    Judgement { verdict, amount, mode, votes, reason: is_unexplained.then_some(NO_RULE_ALLOWS) }
}

/// A more restrictive rule replaces what a vote said; an equal one joins it.
fn add(vote: &mut Vote, rule: &Fired<'_>, verdict: Verdict) {
    if vote.verdict > Some(verdict) {
        return;
    }
    if vote.verdict < Some(verdict) {
        vote.verdict = Some(verdict);
        vote.rules.clear();
        vote.reasons.clear();
    }
    vote.rules.push(rule.id.clone());
    match &rule.error {
        Some(error) => vote.reasons.push(format!("rule {} cannot be evaluated: {error}", rule.id).into()),
        None => vote.reasons.extend(rule.reason.cloned()),
    }
}
