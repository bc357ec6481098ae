//! What must hold for a rule to apply, so far as it can be seen without the engine.
//!
//! A guard is read from a rule's conditions: comparisons of the request's fields with constants, joined by and, or and not.
//! All else is a part whose value is unknown here. Where a guard is false or true, the engine would find the rule's conditions
//! not satisfied or satisfied, without an error; what it leaves open, the engine decides. As in Cedar, what
//! stands to the right of a part that may fail does not count until that part has been evaluated.

use cedar_policy::Policy;
use serde_json::Value;

use super::request::Facts;

/// Expressions nested deeper are left to the engine.
const DEPTH_MAX: usize = 32;

/// A condition, so far as it is understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Guard {
    Known(bool),
    /// Has a value that is not seen here; evaluating it cannot fail.
    Unseen,
    /// May fail when it is evaluated.
    Opaque,
    Has(Field),
    Compare(Field, Comparison, i64),
    Is(Field, Box<str>),
    Within(Box<str>),
    /// A text begins with the first part, ends with the last, and has the others between them in order.
    Like(Field, Box<[Box<str>]>),
    Not(Box<Guard>),
    And(Box<Guard>, Box<Guard>),
    Or(Box<Guard>, Box<Guard>),
}

/// A part of the request that a guard can look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field {
    Actor,
    Target,
    Account,
    Category,
    Payee,
    Currency,
    AmountSteps,
    AmountMicros,
    Risk,
    Year,
    Month,
    Day,
    Weekday,
    Hour,
    Minute,
    MinuteOfDay,
    EpochSeconds,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is known of a condition for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    False,
    True,
    /// Either, without failing.
    Either,
    /// Nothing.
    Nothing,
}

impl Guard {
    /// The guard of a rule's `when` and `unless`, in their order.
    pub(crate) fn of(policy: &Policy) -> Self {
        let Ok(json) = policy.to_json() else { return Self::Opaque };
        let conditions = json["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().fold(Self::Known(true), |all, condition| {
            let body = read(&condition["body"], DEPTH_MAX);
            let holds = match condition["kind"].as_str() {
                Some("when") => body,
                Some("unless") => Self::Not(Box::new(body)),
                _ => Self::Opaque,
            };
            Self::And(Box::new(all), Box::new(holds))
        })
    }

    /// Whether the conditions hold; `None` leaves it to the engine.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> Option<bool> {
        match self.see(facts) {
            Seen::False => Some(false),
            Seen::True => Some(true),
            Seen::Either | Seen::Nothing => None,
        }
    }

    fn see(&self, facts: &Facts<'_>) -> Seen {
        match self {
            Self::Known(value) => Seen::of(*value),
            Self::Unseen => Seen::Either,
            Self::Opaque => Seen::Nothing,
            Self::Has(field) => Seen::of(text(*field, facts).is_some() || number(*field, facts).is_some()),
            Self::Is(field, value) => text(*field, facts).map_or(Seen::Nothing, |is| Seen::of(*is == **value)),
            Self::Compare(field, by, value) => {
                number(*field, facts).map_or(Seen::Nothing, |number| Seen::of(by.holds(number, *value)))
            }
            Self::Like(field, parts) => text(*field, facts).map_or(Seen::Nothing, |is| Seen::of(is_like(is, parts))),
            Self::Within(account) => Seen::of(facts.within().any(|above| *above == **account)),
            Self::Not(inner) => match inner.see(facts) {
                Seen::False => Seen::True,
                Seen::True => Seen::False,
                unseen => unseen,
            },
            Self::And(left, right) => match left.see(facts) {
                Seen::True => right.see(facts),
                Seen::Either if right.see(facts) == Seen::False => Seen::False,
                Seen::Either if right.see(facts) == Seen::Nothing => Seen::Nothing,
                other => other,
            },
            Self::Or(left, right) => match left.see(facts) {
                Seen::False => right.see(facts),
                Seen::Either if right.see(facts) == Seen::True => Seen::True,
                Seen::Either if right.see(facts) == Seen::Nothing => Seen::Nothing,
                other => other,
            },
        }
    }
}

impl Seen {
    const fn of(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

impl Comparison {
    const fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }

    /// The same comparison seen from the other side.
    const fn turned(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

fn text<'a>(field: Field, facts: &Facts<'a>) -> Option<&'a str> {
    let request = facts.request;
    match field {
        Field::Actor => Some(request.actor_name),
        Field::Target => Some(request.target),
        Field::Account => Some(request.account),
        Field::Currency => Some(request.currency),
        Field::Category => request.category,
        Field::Payee => request.payee,
        _ => None,
    }
}

fn number(field: Field, facts: &Facts<'_>) -> Option<i64> {
    match field {
        Field::AmountSteps => Some(facts.amount_steps()),
        Field::AmountMicros => Some(facts.request.amount_micros),
        Field::Risk => facts.request.risk.map(i64::from),
        Field::Year => Some(facts.time.year().into()),
        Field::Month => Some(facts.time.month().into()),
        Field::Day => Some(facts.time.day().into()),
        Field::Weekday => Some(facts.weekday()),
        Field::Hour => Some(facts.hour()),
        Field::Minute => Some(facts.minute()),
        Field::MinuteOfDay => Some(facts.hour() * 60 + facts.minute()),
        Field::EpochSeconds => Some(facts.epoch_seconds()),
        _ => None,
    }
}

/// The guard of an expression in Cedar's JSON form.
fn read(expression: &Value, depth: usize) -> Guard {
    let Some((operator, operands)) = single(expression).filter(|_| depth > 0) else { return Guard::Opaque };
    let inner = |side: &str| Box::new(read(&operands[side], depth - 1));
    let guard = match operator {
        "Value" => operands.as_bool().map(Guard::Known),
        "!" => Some(Guard::Not(inner("arg"))),
        "&&" => Some(Guard::And(inner("left"), inner("right"))),
        "||" => Some(Guard::Or(inner("left"), inner("right"))),
        "!=" => compare("==", &operands["left"], &operands["right"]).map(|equal| Guard::Not(Box::new(equal))),
        "==" | "<" | "<=" | ">" | ">=" => compare(operator, &operands["left"], &operands["right"]),
        "lessThan" | "lessThanOrEqual" | "greaterThan" | "greaterThanOrEqual" => {
            compare(operator, &operands[0], &operands[1])
        }
        "has" => has(operands),
        "like" => like(operands),
        "contains" => contains(&operands["left"], &operands["right"]),
        _ => None,
    };
    guard.unwrap_or_else(|| if never_fails(expression, depth) { Guard::Unseen } else { Guard::Opaque })
}

/// The operator and the operands of an expression.
fn single(expression: &Value) -> Option<(&str, &Value)> {
    let object = expression.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(operator, operands)| (operator.as_str(), operands))
}

fn compare(operator: &str, left: &Value, right: &Value) -> Option<Guard> {
    let by = match operator {
        "==" => Comparison::Equal,
        "<" | "lessThan" => Comparison::Less,
        "<=" | "lessThanOrEqual" => Comparison::LessOrEqual,
        ">" | "greaterThan" => Comparison::Greater,
        ">=" | "greaterThanOrEqual" => Comparison::GreaterOrEqual,
        _ => return None,
    };
    let (field, by, constant) = match (field(left), field(right)) {
        (Some(field), None) => (field, by, right),
        (None, Some(field)) => (field, by.turned(), left),
        _ => return None,
    };
    if let Some(text) = constant["Value"].as_str() {
        return (by == Comparison::Equal).then(|| Guard::Is(field, text.into()));
    }
    let value = if field == Field::AmountSteps { steps(constant) } else { long(constant) };
    Some(Guard::Compare(field, by, value?))
}

/// A whole number; a negative one may be written as a negation.
fn long(constant: &Value) -> Option<i64> {
    constant["Value"].as_i64().or_else(|| constant["neg"]["arg"]["Value"].as_i64()?.checked_neg())
}

/// A constant such as `decimal("50.00")`, in steps of four digits.
fn steps(constant: &Value) -> Option<i64> {
    let text = constant["decimal"][0]["Value"].as_str()?;
    let (whole, fraction) = text.strip_prefix('-').unwrap_or(text).split_once('.')?;
    if fraction.len() > 4 {
        return None;
    }
    let steps: i64 = format!("{whole}{fraction:0<4}").parse().ok()?;
    Some(if text.starts_with('-') { -steps } else { steps })
}

fn is_context(expression: &Value) -> bool {
    expression["Var"] == "context"
}

fn field(expression: &Value) -> Option<Field> {
    let (of, name) = (&expression["."]["left"], expression["."]["attr"].as_str()?);
    if is_context(of) {
        return attribute(name);
    }
    let is_time = is_context(&of["."]["left"]) && of["."]["attr"] == "time";
    is_time.then(|| time_attribute(name)).flatten()
}

fn attribute(name: &str) -> Option<Field> {
    Some(match name {
        "actor" => Field::Actor,
        "target" => Field::Target,
        "account" => Field::Account,
        "category" => Field::Category,
        "payee" => Field::Payee,
        "currency" => Field::Currency,
        "amount" => Field::AmountSteps,
        "amount_micros" => Field::AmountMicros,
        "risk" => Field::Risk,
        _ => return None,
    })
}

fn time_attribute(name: &str) -> Option<Field> {
    Some(match name {
        "year" => Field::Year,
        "month" => Field::Month,
        "day" => Field::Day,
        "weekday" => Field::Weekday,
        "hour" => Field::Hour,
        "minute" => Field::Minute,
        "minute_of_day" => Field::MinuteOfDay,
        "epoch_seconds" => Field::EpochSeconds,
        _ => return None,
    })
}

fn has(operands: &Value) -> Option<Guard> {
    let field = attribute(operands["attr"].as_str()?)?;
    is_context(&operands["left"]).then_some(Guard::Has(field))
}

/// `context.account like "growth/*"`: the texts between the wildcards.
fn like(operands: &Value) -> Option<Guard> {
    let field = field(&operands["left"])?;
    let mut parts = vec![String::new()];
    for element in operands["pattern"].as_array()? {
        match (element.as_str(), element["Literal"].as_str()) {
            (Some("Wildcard"), _) => parts.push(String::new()),
            (None, Some(literal)) => parts.last_mut()?.push_str(literal),
            _ => return None,
        }
    }
    Some(Guard::Like(field, parts.into_iter().map(String::into_boxed_str).collect()))
}

/// Whether `text` is the parts with anything between them. The leftmost place of each part is as good as any.
fn is_like(text: &str, parts: &[Box<str>]) -> bool {
    let [first, between @ .., last] = parts else {
        return parts.first().is_some_and(|only| **only == *text);
    };
    let Some(mut rest) = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last)) else { return false };
    between.iter().all(|part| {
        let found = rest.find(&**part);
        rest = found.map_or("", |at| &rest[at + part.len()..]);
        found.is_some()
    })
}

/// `context.within.contains("growth")`, or `["ads", "email"].contains(context.category)`.
fn contains(set: &Value, member: &Value) -> Option<Guard> {
    if is_context(&set["."]["left"]) && set["."]["attr"] == "within" {
        return member["Value"].as_str().map(|account| Guard::Within(account.into()));
    }
    let any = set["Set"].as_array()?.iter().map(|constant| compare("==", member, constant));
    any.collect::<Option<Vec<_>>>()?.into_iter().reduce(|some, more| Guard::Or(Box::new(some), Box::new(more)))
}

/// Whether evaluating the expression can only give a value, given that it passed the strict check of types.
/// Arithmetic may overflow, and functions of extensions may refuse their argument.
fn never_fails(expression: &Value, depth: usize) -> bool {
    const SAFE: [&str; 20] = [
        "Var",
        "Value",
        "!",
        "&&",
        "||",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "in",
        "is",
        "has",
        ".",
        "like",
        "contains",
        "containsAll",
        "containsAny",
        "Set",
    ];
    let Some((operator, operands)) = single(expression).filter(|_| depth > 0) else { return false };
    if !SAFE.contains(&operator) {
        return false;
    }
    let is_safe = |inner: &Value| never_fails(inner, depth - 1);
    match operator {
        "Var" | "Value" => true,
        "Set" => operands.as_array().is_some_and(|members| members.iter().all(is_safe)),
        _ => ["left", "right", "arg"].iter().filter_map(|side| operands.get(side)).all(is_safe),
    }
}
