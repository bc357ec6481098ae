//! Mandates: what a user lets an agent pay, in the words of the Agent Payments Protocol (AP2), as budgets.
//!
//! A constraint that no budget can keep is refused, and with it the mandate: what is not enforced must not look as if
//! it were.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use kiki_spend::{Field, LimitKind, Unit};
use kiki_types::Currency;
use kiki_types::money::MICROS_PER_UNIT;

use crate::error::ShieldError;
use crate::model::{Constraint, moment, sorted};

/// Constraints of one mandate at the most.
pub(crate) const CONSTRAINTS_MAX: usize = 5;

/// What the ids of a mandate's budgets can end with.
pub(crate) const ENDINGS: [&str; 6] = ["amount", "budget", "payees", "frequency", "occurrences", "dates"];

/// The budgets that keep a mandate's constraints, each with the ending of its id.
///
/// # Errors
/// A constraint that cannot be kept, is given twice, or does not read.
pub(crate) fn budgets(
    constraints: &[Constraint],
    currency: Currency,
) -> Result<Vec<(&'static str, LimitKind)>, ShieldError> {
    if !(1..=CONSTRAINTS_MAX).contains(&constraints.len()) {
        return Err(ShieldError::invalid("constraints", format!("must be 1 to {CONSTRAINTS_MAX}, each type once")));
    }
    if let Some(place) = constraints.iter().position(|constraint| matches!(constraint, Constraint::Unknown)) {
        return Err(ShieldError::UnknownConstraint(place));
    }
    let mut budgets: Vec<(&'static str, LimitKind)> = Vec::new();
    for constraint in constraints {
        for budget in of(constraint, currency)? {
            if budgets.iter().any(|(ending, _)| *ending == budget.0) {
                return Err(ShieldError::invalid("constraints", "name each type once"));
            }
            budgets.push(budget);
        }
    }
    if budgets.is_empty() {
        return Err(ShieldError::invalid("constraints", "constrain nothing"));
    }
    Ok(budgets)
}

fn of(constraint: &Constraint, own: Currency) -> Result<Vec<(&'static str, LimitKind)>, ShieldError> {
    Ok(match constraint {
        Constraint::AmountRange { currency, max, min } => {
            let minor = |amount: i64| {
                let micros = MICROS_PER_UNIT / 10_i64.pow(own.minor_digits());
                amount.checked_mul(micros).filter(|amount| *amount >= 0)
            };
            check(currency, own)?;
            match (minor(*max), minor(min.unwrap_or(0))) {
                (Some(most), Some(least)) if least <= most => vec![("amount", LimitKind::Each { least, most })],
                _ => return Err(ShieldError::invalid("constraints.max", "must be at least min, and neither negative")),
            }
        }
        Constraint::Budget { currency, max } => {
            check(currency, own)?;
            let amount = max.micros("constraints.max")?;
            if amount < 0 {
                return Err(ShieldError::invalid("constraints.max", "must not be negative"));
            }
            vec![("budget", LimitKind::Total { amount })]
        }
        Constraint::AllowedPayees { allowed } => {
            let ids: Vec<String> = allowed.iter().map(|merchant| merchant.id.clone()).collect();
            vec![("payees", LimitKind::Allow { field: Field::Payee, values: sorted(&ids) })]
        }
        Constraint::AgentRecurrence { frequency, max_occurrences } => {
            let once = |unit| LimitKind::Occurrences { count: 1, unit: Some(unit), zone: Default::default() };
            let in_all = |count| LimitKind::Occurrences { count, unit: None, zone: Default::default() };
            let period = match frequency.as_str() {
                "ON_DEMAND" => None,
                "DAILY" => Some(Unit::Day),
                "WEEKLY" => Some(Unit::Week),
                "MONTHLY" => Some(Unit::Month),
                "QUARTERLY" => Some(Unit::Quarter),
                "ANNUALLY" => Some(Unit::Year),
                _ => {
                    let detail =
                        "must be ON_DEMAND, DAILY, WEEKLY, MONTHLY, QUARTERLY or ANNUALLY; no budget keeps another one";
                    return Err(ShieldError::invalid("constraints.frequency", detail));
                }
            };
            let period = period.map(|unit| ("frequency", once(unit)));
            period.into_iter().chain(max_occurrences.map(|count| ("occurrences", in_all(count)))).collect()
        }
        Constraint::ExecutionDate { not_before, not_after } => {
            let from = not_before.as_deref().map_or(Ok(0), |text| time("constraints.not_before", text, false))?;
            let until = not_after.as_deref().map_or(Ok(i64::MAX), |text| time("constraints.not_after", text, true))?;
            if from >= until {
                return Err(ShieldError::invalid("constraints.not_after", "must be after not_before"));
            }
            vec![("dates", LimitKind::Between { from, until })]
        }
        Constraint::Unknown => Vec::new(),
    })
}

fn check(currency: &str, own: Currency) -> Result<(), ShieldError> {
    if currency == own.as_str() {
        return Ok(());
    }
    Err(ShieldError::invalid("constraints.currency", format!("accounts are kept in {own}, not in {currency}")))
}

/// A moment, or the first or last moment of a day in UTC; the last one as the first one after it.
fn time(field: &'static str, text: &str, is_last: bool) -> Result<i64, ShieldError> {
    let Ok(day) = text.parse::<Date>().map_err(|_| ()).and_then(|day| if text.len() == 10 { Ok(day) } else { Err(()) })
    else {
        return Ok(moment(field, text)?.saturating_add(i64::from(is_last)));
    };
    let day = if is_last { day.tomorrow() } else { Ok(day) };
    let midnight = day.and_then(|day| day.to_zoned(TimeZone::UTC));
    midnight.map(|midnight| midnight.timestamp().as_millisecond()).map_err(|error| ShieldError::invalid(field, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<(&'static str, LimitKind)>, String> {
        let constraints: Vec<Constraint> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        budgets(&constraints, Currency::USD).map_err(|error| error.to_string())
    }

    #[test]
    fn each_constraint_becomes_the_budget_that_keeps_it() {
        let kept = read(
            r#"[{"type": "payment.amount_range", "currency": "USD", "min": 100, "max": 27999},
                {"type": "payment.budget", "currency": "USD", "max": 1000.5},
                {"type": "payment.allowed_payees", "allowed": [{"id": "shop-2", "name": "Two"}, {"id": "shop-1"}]},
                {"type": "payment.agent_recurrence", "frequency": "MONTHLY", "max_occurrences": 12},
                {"type": "payment.execution_date", "not_before": "2027-01-01", "not_after": "2027-12-31"}]"#,
        );
        let occurrences = |count, unit| LimitKind::Occurrences { count, unit, zone: Default::default() };
        let values = ["shop-1".into(), "shop-2".into()].into();
        let (from, until) = (1_798_761_600_000, 1_830_297_600_000);
        let expected = vec![
            ("amount", LimitKind::Each { least: 1_000_000, most: 279_990_000 }),
            ("budget", LimitKind::Total { amount: 1_000_500_000 }),
            ("payees", LimitKind::Allow { field: Field::Payee, values }),
            ("frequency", occurrences(1, Some(Unit::Month))),
            ("occurrences", occurrences(12, None)),
            ("dates", LimitKind::Between { from, until }),
        ];
        assert_eq!(kept.unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (json, told) in [
            (r#"[{"type": "payment.allowed_pisps", "allowed": []}]"#, "not known"),
            (r#"[{"type": "payment.budget", "currency": "USD", "max": 1, "soft": true}]"#, "unknown field"),
            (r#"[{"type": "payment.agent_recurrence", "frequency": "BIWEEKLY"}]"#, "frequency"),
            (r#"[{"type": "payment.budget", "currency": "EUR", "max": 1}]"#, "kept in USD"),
            (r#"[{"type": "payment.amount_range", "currency": "USD", "max": 9223372036854775807}]"#, "max"),
            (r#"[{"type": "payment.execution_date", "not_before": "2027-02-01", "not_after": "2027-01-01"}]"#, "after"),
            (r#"[{"type": "payment.agent_recurrence", "frequency": "ON_DEMAND"}]"#, "nothing"),
            ("[]", "must be 1 to"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(told), "{json}: {error}");
        }
    }
}
