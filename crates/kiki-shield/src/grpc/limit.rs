//! Limits as messages: how a budget defines one, and how one stands.

use kiki_proto::shield::v1::limit::Kind;
use kiki_proto::shield::v1::{
    ApprovalLimit, BetweenLimit, CalendarLimit, CalendarUnit, EachLimit, Limit, LimitStanding, ListField, ListLimit,
    Money, OccurrencesLimit, TotalLimit, VelocityLimit, WindowLimit,
};
use kiki_spend::{Field, LimitKind, Measure, Standing, Unit, Zone};
use kiki_types::{Currency, UnixMillis};

use super::in_proto as money;
use crate::error::ShieldError;
use crate::model::{APPROVAL_SECONDS, sorted};
use crate::names::public_name;
use crate::zones;

/// Millionths of an amount that must be there, in the currency of the installation.
pub(super) fn amount(field: &'static str, money: Option<&Money>, own: Currency) -> Result<i64, ShieldError> {
    let money = money.ok_or_else(|| ShieldError::invalid(field, "is missing"))?;
    if money.currency != own.as_str() {
        return Err(ShieldError::invalid("currency", format!("accounts are kept in {own}, not in {}", money.currency)));
    }
    Ok(money.micros)
}

/// What the governor is told; zones are looked up as of `now`.
pub(super) fn kind(limit: &Limit, own: Currency, now: UnixMillis) -> Result<LimitKind, ShieldError> {
    let missing = || ShieldError::invalid("limit", "must be of one kind");
    let micros = |field, money: &Option<Money>| amount(field, money.as_ref(), own);
    Ok(match limit.kind.as_ref().ok_or_else(missing)? {
        Kind::Window(WindowLimit { amount, seconds }) => {
            LimitKind::Window { amount: micros("limit.amount", amount)?, seconds: *seconds }
        }
        Kind::Total(TotalLimit { amount }) => LimitKind::Total { amount: micros("limit.amount", amount)? },
        Kind::Calendar(limit) => LimitKind::Calendar {
            amount: micros("limit.amount", &limit.amount)?,
            unit: unit(limit.unit())?.ok_or_else(|| ShieldError::invalid("limit.unit", "is missing"))?,
            zone: zone(&limit.zone, now)?,
        },
        Kind::Each(EachLimit { least, most }) => LimitKind::Each {
            least: if least.is_some() { micros("limit.least", least)? } else { 0 },
            most: micros("limit.most", most)?,
        },
        Kind::Velocity(VelocityLimit { count, seconds }) => LimitKind::Velocity { count: *count, seconds: *seconds },
        Kind::Occurrences(limit) => {
            LimitKind::Occurrences { count: limit.count, unit: unit(limit.unit())?, zone: zone(&limit.zone, now)? }
        }
        Kind::Allow(list) => LimitKind::Allow { field: field(list)?, values: sorted(&list.values) },
        Kind::Deny(list) => LimitKind::Deny { field: field(list)?, values: sorted(&list.values) },
        Kind::Between(BetweenLimit { from_ms, until_ms }) => {
            LimitKind::Between { from: from_ms.unwrap_or(0), until: until_ms.unwrap_or(i64::MAX) }
        }
        Kind::Approval(ApprovalLimit { above, seconds, four_eyes }) => LimitKind::Approval {
            above: micros("limit.above", above)?,
            seconds: if *seconds == 0 { APPROVAL_SECONDS } else { *seconds },
            four_eyes: *four_eyes,
        },
    })
}

fn unit(unit: CalendarUnit) -> Result<Option<Unit>, ShieldError> {
    Ok(match unit {
        CalendarUnit::Unspecified => None,
        CalendarUnit::Day => Some(Unit::Day),
        CalendarUnit::Week => Some(Unit::Week),
        CalendarUnit::Month => Some(Unit::Month),
        CalendarUnit::Quarter => Some(Unit::Quarter),
        CalendarUnit::Year => Some(Unit::Year),
    })
}

fn zone(name: &str, now: UnixMillis) -> Result<Zone, ShieldError> {
    if name.is_empty() { Ok(Zone::default()) } else { zones::resolve(name, now) }
}

fn field(list: &ListLimit) -> Result<Field, ShieldError> {
    match list.field() {
        ListField::Category => Ok(Field::Category),
        ListField::Payee => Ok(Field::Payee),
        ListField::Unspecified => Err(ShieldError::invalid("limit.field", "must be category or payee")),
    }
}

/// A limit as it was defined.
pub(super) fn in_proto(kind: &LimitKind, own: Currency) -> Limit {
    let in_proto = |unit: Unit| match unit {
        Unit::Day => CalendarUnit::Day,
        Unit::Week => CalendarUnit::Week,
        Unit::Month => CalendarUnit::Month,
        Unit::Quarter => CalendarUnit::Quarter,
        Unit::Year => CalendarUnit::Year,
    };
    let name = |zone: &Zone| if *zone == Zone::default() { String::new() } else { zone.name().to_owned() };
    let list = |field: Field, values: &[Box<str>]| {
        let field = match field {
            Field::Category => ListField::Category,
            Field::Payee => ListField::Payee,
        };
        ListLimit { field: field.into(), values: values.iter().map(ToString::to_string).collect() }
    };
    let kind = match kind {
        LimitKind::Window { amount, seconds } => {
            Kind::Window(WindowLimit { amount: money(*amount, own), seconds: *seconds })
        }
        LimitKind::Total { amount } => Kind::Total(TotalLimit { amount: money(*amount, own) }),
        LimitKind::Calendar { amount, unit, zone } => Kind::Calendar(CalendarLimit {
            amount: money(*amount, own),
            unit: in_proto(*unit).into(),
            zone: name(zone),
        }),
        LimitKind::Each { least, most } => Kind::Each(EachLimit { least: money(*least, own), most: money(*most, own) }),
        LimitKind::Velocity { count, seconds } => Kind::Velocity(VelocityLimit { count: *count, seconds: *seconds }),
        LimitKind::Occurrences { count, unit, zone } => Kind::Occurrences(OccurrencesLimit {
            count: *count,
            unit: unit.map_or(CalendarUnit::Unspecified, in_proto).into(),
            zone: name(zone),
        }),
        LimitKind::Allow { field, values } => Kind::Allow(list(*field, values)),
        LimitKind::Deny { field, values } => Kind::Deny(list(*field, values)),
        LimitKind::Between { from, until } => Kind::Between(BetweenLimit {
            from_ms: (*from > 0).then_some(*from),
            until_ms: (*until < i64::MAX).then_some(*until),
        }),
        LimitKind::Approval { above, seconds, four_eyes } => {
            Kind::Approval(ApprovalLimit { above: money(*above, own), seconds: *seconds, four_eyes: *four_eyes })
        }
    };
    Limit { kind: Some(kind) }
}

/// How a limit stands. What does not fit into 64 bits is told as the largest that does.
pub(super) fn standing(standing: &Standing) -> LimitStanding {
    let fitting = |number: i128| i64::try_from(number).unwrap_or(i64::MAX);
    let room = standing.room.as_ref();
    LimitStanding {
        id: public_name(&standing.limit).to_owned(),
        kind: standing.kind.as_str().to_owned(),
        shadow: standing.is_shadow,
        refuses: standing.refused,
        counts_authorizations: room.is_some_and(|room| room.measure == Measure::Count),
        most: room.map(|room| room.most),
        used: room.map(|room| fitting(room.used)),
        held: room.map(|room| fitting(room.held)),
        remaining: room.map(|room| fitting(room.remaining)),
        frees_at_ms: standing.frees_at.unwrap_or(0),
        passes_at_ms: standing.passes_at.filter(|_| standing.refused).unwrap_or(0),
    }
}
