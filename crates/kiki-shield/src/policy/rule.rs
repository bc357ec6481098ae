//! A rule set's text, read into rules: parsed, checked against the schema, its annotations understood.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy as cedar;
use cedar_policy::{ActionConstraint, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint};
use kiki_types::ActorKind;
use kiki_types::money::parse_micros;
use kiki_types::tenant::is_name;

use super::error::PolicyError;
use super::guard::Guard;
use super::judgement::{Effect, Fired};
use super::request::{ACTORS, Action, type_name};

/// Bytes of a rule's reason at the most.
pub const REASON_BYTES_MAX: usize = 500;

const ANNOTATIONS: [&str; 5] = ["id", "verdict", "amount", "mode", "reason"];

/// One rule, ready to be asked.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Unique in its set.
    pub(crate) id: Arc<str>,
    /// Which set, by position.
    pub(crate) set: usize,
    pub(crate) effect: Effect,
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) scope: Scope,
    pub(crate) guard: Guard,
    /// The rule by itself, for the engine.
    pub(crate) alone: PolicySet,
}

impl Rule {
    /// The rule as one that applies, or could not be evaluated.
    pub(crate) fn fires(&self, error: Option<String>) -> Fired<'_> {
        Fired { set: self.set, id: &self.id, effect: &self.effect, reason: self.reason.as_ref(), error }
    }
}

/// To which requests a rule can apply at all. Wider than the rule where its scope says more than the index knows.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// `None` is any kind.
    pub(crate) actor: Option<ActorKind>,
    pub(crate) actor_name: Option<Box<str>>,
    /// `None` is any action.
    pub(crate) actions: Option<Vec<Action>>,
    pub(crate) target: Option<Box<str>>,
    /// Whether the rule's scope says exactly this and no more.
    pub(crate) is_exact: bool,
}

impl Scope {
    pub(crate) fn admits(&self, actor: ActorKind, action: Action) -> bool {
        self.actor.is_none_or(|only| only == actor) && self.actions.as_ref().is_none_or(|any| any.contains(&action))
    }

    fn of(policy: &cedar::Policy) -> Self {
        let mut scope = Self::default();
        match policy.principal_constraint() {
            PrincipalConstraint::Is(of) | PrincipalConstraint::IsIn(of, _) => scope.actor = actor_of(&of),
            PrincipalConstraint::Eq(one) => {
                scope.actor = actor_of(one.type_name());
                scope.actor_name = Some(one.id().unescaped().into());
            }
            _ => {}
        }
        scope.actions = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(one) => actions_of(&[one]),
            ActionConstraint::In(some) => actions_of(&some),
        };
        if let ResourceConstraint::Eq(one) = policy.resource_constraint() {
            scope.target = Some(one.id().unescaped().into());
        }
        let is_principal_exact = match policy.principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Is(_) | PrincipalConstraint::Eq(_) => scope.actor.is_some(),
            _ => false,
        };
        let is_action_exact = matches!(policy.action_constraint(), ActionConstraint::Any) || scope.actions.is_some();
        // There is one type of resource.
        let is_resource_exact =
            !matches!(policy.resource_constraint(), ResourceConstraint::In(_) | ResourceConstraint::IsIn(..));
        scope.is_exact = is_principal_exact && is_action_exact && is_resource_exact;
        scope
    }
}

fn actor_of(of: &cedar::EntityTypeName) -> Option<ActorKind> {
    let name = of.to_string();
    ACTORS.into_iter().find(|actor| type_name(*actor) == name)
}

/// `None` if one of them is unknown, which leaves the decision to the engine.
fn actions_of(uids: &[cedar::EntityUid]) -> Option<Vec<Action>> {
    uids.iter().map(|uid| Action::from_name(uid.id().unescaped())).collect()
}

/// The rules of one set, or everything that is wrong with it. The text has passed [`super::shape::check`].
pub(crate) fn read(
    validator: &cedar::Validator,
    set: usize,
    name: &str,
    text: &str,
) -> Result<Vec<Rule>, Vec<PolicyError>> {
    let parsed = PolicySet::from_str(text).map_err(|errors| {
        let syntax =
            "write `permit(principal, action, resource) when { … };` or forbid; each rule ends with a semicolon";
        errors.iter().map(|mistake| PolicyError::of_cedar(name, text, mistake, syntax)).collect::<Vec<_>>()
    })?;
    if let Some(template) = parsed.templates().next() {
        let message = format!("{} has a slot such as ?principal, which nothing fills", template.id());
        return Err(vec![PolicyError::about(name, message, "name the principal or the resource")]);
    }
    let mut mistakes = Vec::new();
    let (mut rules, mut seen) = (Vec::new(), HashSet::new());
    for (policy, byte) in in_order(&parsed, text) {
        match rule(set, policy) {
            Ok(rule) if !seen.insert(rule.id.clone()) => {
                let message = format!("the id {:?} is used twice", rule.id);
                mistakes.push(PolicyError::at(name, text, byte, message, "an id names one rule of its set"));
            }
            Ok(rule) => rules.push(rule),
            Err((message, help)) => mistakes.push(PolicyError::at(name, text, byte, message, help)),
        }
    }
    if mistakes.is_empty() {
        mistakes = validate(validator, name, text, &rules);
    }
    if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
}

/// The rules of a text in its order, each with the byte at which it begins. Cedar numbers them while parsing.
fn in_order<'a>(parsed: &'a PolicySet, text: &str) -> Vec<(&'a cedar::Policy, usize)> {
    let number = |policy: &&cedar::Policy| {
        let id: &str = policy.id().as_ref();
        id.trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX)
    };
    let mut policies: Vec<&cedar::Policy> = parsed.policies().collect();
    policies.sort_by_key(number);
    let mut from = 0;
    let place = |policy: &'a cedar::Policy| {
        let source = policy.to_string();
        let byte = text.get(from..).and_then(|rest| rest.find(&source)).map_or(from, |at| from + at);
        from = byte + source.len();
        (policy, byte)
    };
    policies.into_iter().map(place).collect()
}

type Mistake = (String, &'static str);

fn rule(set: usize, policy: &cedar::Policy) -> Result<Rule, Mistake> {
    if let Some((unknown, _)) = policy.annotations().find(|(name, _)| !ANNOTATIONS.contains(name)) {
        let message = format!("@{unknown} is no annotation of a rule");
        return Err((message, "known are @id, @verdict, @amount, @mode and @reason"));
    }
    let id = policy.annotation("id").filter(|id| is_name(id)).ok_or_else(|| {
        let help = "write @id(\"…\") before it, 1 to 64 letters, digits, '.', '_' or '-'";
        ("the rule has no name by which answers and the log can tell it".to_owned(), help)
    })?;
    let reason = policy.annotation("reason");
    if reason.is_some_and(|text| text.len() > REASON_BYTES_MAX || text.is_empty() || text.contains(char::is_control)) {
        let message = format!("@reason must have 1 to {REASON_BYTES_MAX} bytes, without control characters");
        return Err((message, "one sentence for whoever is refused"));
    }
    let effect = effect(policy)?;
    let policy = policy.new_id(PolicyId::new(id));
    let guard = Guard::of(&policy);
    let alone = PolicySet::from_policies([policy.clone()])
        .map_err(|error| (error.to_string(), "report this: a rule that Cedar parsed must stand alone"))?;
    Ok(Rule { id: id_of(&policy), set, effect, reason: reason_of(&policy), scope: Scope::of(&policy), guard, alone })
}

fn id_of(policy: &cedar::Policy) -> Arc<str> {
    let id: &str = policy.id().as_ref();
    id.into()
}

fn reason_of(policy: &cedar::Policy) -> Option<Arc<str>> {
    policy.annotation("reason").map(Arc::from)
}

/// What the rule does, from its keyword and its annotations.
fn effect(policy: &cedar::Policy) -> Result<Effect, Mistake> {
    let verdict = policy.annotation("verdict");
    let (amount, mode) = (policy.annotation("amount"), policy.annotation("mode"));
    if verdict != Some("degrade") && (amount.is_some() || mode.is_some()) {
        return Err(("@amount and @mode say how to degrade".to_owned(), "add @verdict(\"degrade\") or remove them"));
    }
    match (policy.effect(), verdict) {
        (cedar::Effect::Permit, None) => Ok(Effect::Allow),
        (cedar::Effect::Permit, Some(_)) => {
            Err(("a permit allows; @verdict belongs to a forbid".to_owned(), "write forbid, or remove @verdict"))
        }
        (cedar::Effect::Forbid, None | Some("deny")) => Ok(Effect::Deny),
        (cedar::Effect::Forbid, Some("ask")) => Ok(Effect::Ask),
        (cedar::Effect::Forbid, Some("degrade")) => degrade(amount, mode),
        (cedar::Effect::Forbid, Some(other)) => {
            Err((format!("@verdict({other:?}) is no verdict"), "use \"degrade\", \"ask\" or \"deny\""))
        }
    }
}

fn degrade(amount: Option<&str>, mode: Option<&str>) -> Result<Effect, Mistake> {
    if amount.is_none() && mode.is_none() {
        return Err(("it does not say to what to degrade".to_owned(), "add @amount(\"50.00\") or @mode(\"paper\")"));
    }
    let micros = |text: &str| parse_micros(text).ok().filter(|micros| *micros > 0);
    let amount = amount.map(|text| {
        let help = "write units of the currency above 0, such as @amount(\"50.00\"); to allow nothing, deny";
        micros(text).ok_or_else(|| (format!("@amount({text:?}) is no amount"), help))
    });
    if let Some(mode) = mode.filter(|mode| !is_name(mode)) {
        let help = "use 1 to 64 letters, digits, '.', '_' or '-'";
        return Err((format!("@mode({mode:?}) is no name of a mode"), help));
    }
    Ok(Effect::Degrade { amount: amount.transpose()?, mode: mode.map(Arc::from) })
}

/// What the schema does not know, or what can never be true. A warning is a mistake too: a rule that never applies
/// protects nothing.
fn validate(validator: &cedar::Validator, name: &str, text: &str, rules: &[Rule]) -> Vec<PolicyError> {
    let policies = rules.iter().flat_map(|rule| rule.alone.policies().cloned());
    let all = match PolicySet::from_policies(policies) {
        Ok(all) => all,
        Err(error) => return vec![PolicyError::about(name, error.to_string(), "")],
    };
    let result = validator.validate(&all, cedar::ValidationMode::Strict);
    let is_general =
        |mistake: &&cedar::ValidationError| matches!(mistake, cedar::ValidationError::InvalidActionApplication(_));
    let unknown = "docs/policy.md lists what a rule can ask about, and of which type it is";
    let (general, exact): (Vec<_>, Vec<_>) = result.validation_errors().partition(is_general);
    // What follows from an exact mistake is not told as well.
    let errors = if exact.is_empty() { general } else { exact };
    let mut mistakes: Vec<PolicyError> =
        errors.into_iter().map(|mistake| PolicyError::of_cedar(name, text, mistake, unknown)).collect();
    if mistakes.is_empty() {
        let never = "such a rule is refused because it does not do what it seems to say";
        let warnings = result.validation_warnings();
        mistakes.extend(warnings.map(|mistake| PolicyError::of_cedar(name, text, mistake, never)));
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    // Cedar tells a mistake once for every kind of request that the rule is for.
    mistakes.dedup_by_key(|mistake| (mistake.line, mistake.column));
    mistakes
}
