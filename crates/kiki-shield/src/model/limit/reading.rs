//! Reading a limit flat, so that what is wrong with it is told by its field: a tagged enum forgets where it was.

use kiki_spend::{Field, Unit};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::LimitBody;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Window,
    Total,
    Calendar,
    Each,
    Velocity,
    Occurrences,
    Allow,
    Deny,
    Between,
    Approval,
}

/// The fields of all kinds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    kind: Kind,
    amount: Option<String>,
    seconds: Option<u32>,
    unit: Option<Unit>,
    zone: Option<String>,
    least: Option<String>,
    most: Option<String>,
    count: Option<u32>,
    field: Option<Field>,
    values: Option<Vec<String>>,
    from: Option<String>,
    until: Option<String>,
    above: Option<String>,
    four_eyes: Option<bool>,
}

impl<'de> Deserialize<'de> for LimitBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        let body = fields.take()?;
        fields.left().map_or(Ok(body), |field| Err(D::Error::unknown_field(field, &[])))
    }
}

impl Fields {
    /// Takes out what the kind wants.
    fn take<E: Error>(&mut self) -> Result<LimitBody, E> {
        Ok(match self.kind {
            Kind::Window => LimitBody::Window {
                amount: wanted("amount", &mut self.amount)?,
                seconds: wanted("seconds", &mut self.seconds)?,
            },
            Kind::Total => LimitBody::Total { amount: wanted("amount", &mut self.amount)? },
            Kind::Calendar => LimitBody::Calendar {
                amount: wanted("amount", &mut self.amount)?,
                unit: wanted("unit", &mut self.unit)?,
                zone: self.zone.take(),
            },
            Kind::Each => LimitBody::Each { least: self.least.take(), most: wanted("most", &mut self.most)? },
            Kind::Velocity => LimitBody::Velocity {
                count: wanted("count", &mut self.count)?,
                seconds: wanted("seconds", &mut self.seconds)?,
            },
            Kind::Occurrences => LimitBody::Occurrences {
                count: wanted("count", &mut self.count)?,
                unit: self.unit.take(),
                zone: self.zone.take(),
            },
            Kind::Allow => LimitBody::Allow {
                field: wanted("field", &mut self.field)?,
                values: wanted("values", &mut self.values)?,
            },
            Kind::Deny => LimitBody::Deny {
                field: wanted("field", &mut self.field)?,
                values: wanted("values", &mut self.values)?,
            },
            Kind::Between => LimitBody::Between { from: self.from.take(), until: self.until.take() },
            Kind::Approval => LimitBody::Approval {
                above: wanted("above", &mut self.above)?,
                seconds: self.seconds.take(),
                four_eyes: self.four_eyes.take().unwrap_or(false),
            },
        })
    }

    /// A field that the kind does not have.
    fn left(&self) -> Option<&'static str> {
        let given = [
            ("amount", self.amount.is_some()),
            ("seconds", self.seconds.is_some()),
            ("unit", self.unit.is_some()),
            ("zone", self.zone.is_some()),
            ("least", self.least.is_some()),
            ("most", self.most.is_some()),
            ("count", self.count.is_some()),
            ("field", self.field.is_some()),
            ("values", self.values.is_some()),
            ("from", self.from.is_some()),
            ("until", self.until.is_some()),
            ("above", self.above.is_some()),
            ("four_eyes", self.four_eyes.is_some()),
        ];
        given.into_iter().find_map(|(name, is_given)| is_given.then_some(name))
    }
}

fn wanted<T, E: Error>(name: &'static str, field: &mut Option<T>) -> Result<T, E> {
    field.take().ok_or_else(|| E::missing_field(name))
}
