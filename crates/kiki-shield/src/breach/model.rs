//! A breach, and what follows from its times.

use std::str::FromStr;

use kiki_types::UnixMillis;
use kiki_types::id::BreachId;

const HOUR_MS: i64 = 3_600_000;
/// From becoming aware to the authority's being told (Art. 33(1) GDPR).
pub(crate) const NOTIFY_MS: i64 = 72 * HOUR_MS;
/// Hours after which somebody is reminded, in ascending order. Each has the bit of its place.
pub(crate) const REMINDERS_H: [i64; 4] = [24, 48, 66, 72];
/// Breaches of a tenant at the most.
pub(crate) const BREACHES_MAX: i64 = 10_000;

/// How likely a breach harms those whom it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Risk {
    /// Nobody need be told.
    Unlikely,
    /// The authority is to be told.
    Likely,
    /// The persons, too (Art. 34 GDPR).
    High,
}

impl Risk {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unlikely => "unlikely",
            Self::Likely => "likely",
            Self::High => "high",
        }
    }
}

impl FromStr for Risk {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let all = [Self::Unlikely, Self::Likely, Self::High];
        all.into_iter().find(|risk| risk.as_str() == text).ok_or("must be unlikely, likely or high")
    }
}

/// What was broken (EDPB Guidelines 9/2022, section I.B.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Somebody saw what was not for them.
    Confidentiality,
    /// Something was changed that should not have been.
    Integrity,
    /// Something was lost or could not be reached.
    Availability,
}

impl Nature {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Confidentiality => "confidentiality",
            Self::Integrity => "integrity",
            Self::Availability => "availability",
        }
    }
}

impl FromStr for Nature {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let all = [Self::Confidentiality, Self::Integrity, Self::Availability];
        let found = all.into_iter().find(|nature| nature.as_str() == text);
        found.ok_or("must be among confidentiality, integrity, availability")
    }
}

/// What people write about a breach: readable, or sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts<T> {
    pub(crate) facts: T,
    pub(crate) effects: T,
    pub(crate) measures: T,
    /// Why its risk is unlikely.
    pub(crate) risk_reason: Option<T>,
    /// Why the authority was told late.
    pub(crate) delay_reason: Option<T>,
    /// Why the persons need not be told (Art. 34(3) GDPR).
    pub(crate) persons_reason: Option<T>,
}

impl<T> Texts<T> {
    /// Each text made another by `map`, which is told the column.
    pub(crate) fn try_map<U, E>(&self, map: impl Fn(&'static str, &T) -> Result<U, E>) -> Result<Texts<U>, E> {
        let optional = |place, text: &Option<T>| text.as_ref().map(|text| map(place, text)).transpose();
        Ok(Texts {
            facts: map("breach.facts", &self.facts)?,
            effects: map("breach.effects", &self.effects)?,
            measures: map("breach.measures", &self.measures)?,
            risk_reason: optional("breach.risk_reason", &self.risk_reason)?,
            delay_reason: optional("breach.delay_reason", &self.delay_reason)?,
            persons_reason: optional("breach.persons_reason", &self.persons_reason)?,
        })
    }
}

/// How the telling of the authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notification {
    /// A risk is unlikely.
    NotRequired,
    /// There is still time.
    Due,
    /// There is none.
    Overdue,
    /// It was told within 72 hours.
    InTime,
    /// It was told later.
    Late,
}

impl Notification {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotRequired => "not_required",
            Self::Due => "due",
            Self::Overdue => "overdue",
            Self::InTime => "in_time",
            Self::Late => "late",
        }
    }
}

/// A breach of personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach<T> {
    pub(crate) id: BreachId,
    pub(crate) aware_at: UnixMillis,
    pub(crate) natures: Vec<Nature>,
    /// Categories of personal data, as codes.
    pub(crate) categories: Vec<String>,
    pub(crate) persons_about: i64,
    pub(crate) records_about: i64,
    pub(crate) risk: Risk,
    pub(crate) texts: Texts<T>,
    pub(crate) authority_at: Option<UnixMillis>,
    pub(crate) persons_at: Option<UnixMillis>,
    pub(crate) closed_at: Option<UnixMillis>,
    /// A bit for each of [`REMINDERS_H`] that was published.
    pub(crate) reminded: i64,
    /// Who, as a keyed hash.
    pub(crate) reported_by: String,
}

impl Breach<String> {
    /// Fields without which it cannot end.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let (texts, is_unlikely) = (&self.texts, self.risk == Risk::Unlikely);
        let is_late = self.authority_at.is_some_and(|at| at > self.notify_by());
        let is_told = self.persons_at.is_some() || texts.persons_reason.is_some();
        let wanted = [
            (texts.facts.is_empty(), "facts"),
            (texts.effects.is_empty(), "effects"),
            (texts.measures.is_empty(), "measures"),
            (is_unlikely && texts.risk_reason.is_none(), "unlikely_because"),
            (!is_unlikely && self.authority_at.is_none(), "authority_notified_at"),
            (is_late && texts.delay_reason.is_none(), "delay_reason"),
            (self.risk == Risk::High && !is_told, "persons_notified_at"),
        ];
        wanted.into_iter().filter_map(|(is_missing, field)| is_missing.then_some(field)).collect()
    }
}

impl<T> Breach<T> {
    /// The same breach with these texts.
    pub(crate) fn with_texts<U>(&self, texts: Texts<U>) -> Breach<U> {
        Breach {
            id: self.id,
            aware_at: self.aware_at,
            natures: self.natures.clone(),
            categories: self.categories.clone(),
            persons_about: self.persons_about,
            records_about: self.records_about,
            risk: self.risk,
            texts,
            authority_at: self.authority_at,
            persons_at: self.persons_at,
            closed_at: self.closed_at,
            reminded: self.reminded,
            reported_by: self.reported_by.clone(),
        }
    }

    pub(crate) const fn notify_by(&self) -> UnixMillis {
        UnixMillis(self.aware_at.0 + NOTIFY_MS)
    }

    pub(crate) fn notification(&self, now: UnixMillis) -> Notification {
        match self.authority_at {
            Some(at) if at > self.notify_by() => Notification::Late,
            Some(_) => Notification::InTime,
            None if self.risk == Risk::Unlikely => Notification::NotRequired,
            None if now > self.notify_by() => Notification::Overdue,
            None => Notification::Due,
        }
    }

    /// The bits of all reminders that are to be published by `now`, and the hours of the latest that was not.
    pub(crate) fn reminder(&self, now: UnixMillis) -> Option<(i64, i64)> {
        if self.closed_at.is_some() || self.authority_at.is_some() || self.risk == Risk::Unlikely {
            return None;
        }
        let passed = REMINDERS_H.iter().take_while(|hours| now.0 - self.aware_at.0 >= **hours * HOUR_MS).count();
        let latest = passed.checked_sub(1)?;
        (self.reminded & 1 << latest == 0).then(|| ((1 << passed) - 1, REMINDERS_H[latest]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWARE: UnixMillis = UnixMillis(1_770_287_400_000);

    fn breach(risk: Risk) -> Breach<String> {
        Breach {
            id: BreachId::from(uuid::Uuid::from_u128(1)),
            aware_at: AWARE,
            natures: vec![Nature::Confidentiality],
            categories: Vec::new(),
            persons_about: 3,
            records_about: 7,
            risk,
            texts: Texts::default(),
            authority_at: None,
            persons_at: None,
            closed_at: None,
            reminded: 0,
            reported_by: String::new(),
        }
    }

    #[test]
    fn the_clock_ends_after_72_hours_to_the_millisecond() {
        let likely = breach(Risk::Likely);
        let end = AWARE.plus(72 * 3_600_000);
        assert_eq!(likely.notification(end), Notification::Due);
        assert_eq!(likely.notification(end.plus(1)), Notification::Overdue);
        assert_eq!(Breach { authority_at: Some(end), ..likely.clone() }.notification(end), Notification::InTime);
        assert_eq!(Breach { authority_at: Some(end.plus(1)), ..likely }.notification(end), Notification::Late);
        assert_eq!(breach(Risk::Unlikely).notification(end.plus(1)), Notification::NotRequired);
    }

    #[test]
    fn a_breach_ends_with_what_its_risk_and_its_delay_want() {
        let text = || Some("so it is".to_owned());
        let told = |risk| {
            let [facts, effects, measures] = ["a disk was lost", "none", "disks are sealed"].map(str::to_owned);
            Breach { texts: Texts { facts, effects, measures, ..Texts::default() }, ..breach(risk) }
        };
        let all = ["facts", "effects", "measures", "unlikely_because"];
        assert_eq!(breach(Risk::Unlikely).missing(), all);
        let mut unlikely = told(Risk::Unlikely);
        unlikely.texts.risk_reason = text();
        assert!(unlikely.missing().is_empty());
        assert_eq!(told(Risk::Likely).missing(), ["authority_notified_at"]);
        assert_eq!(told(Risk::High).missing(), ["authority_notified_at", "persons_notified_at"]);
        let mut late = Breach { authority_at: Some(AWARE.plus(NOTIFY_MS + 1)), ..told(Risk::High) };
        assert_eq!(late.missing(), ["delay_reason", "persons_notified_at"]);
        (late.texts.delay_reason, late.texts.persons_reason) = (text(), text());
        assert!(late.missing().is_empty());
    }

    #[test]
    fn a_reminder_is_due_once_at_each_mark_and_the_latest_stands_for_those_before() {
        let mut breach = breach(Risk::Likely);
        let at = |hours: i64| AWARE.plus(hours * 3_600_000);
        assert_eq!(breach.reminder(at(24).plus(-1)), None);
        assert_eq!(breach.reminder(at(24)), Some((0b0001, 24)));
        breach.reminded = 0b0001;
        assert_eq!(breach.reminder(at(47)), None);
        assert_eq!(breach.reminder(at(70)), Some((0b0111, 66)), "one reminder after a pause, not two");
        breach.reminded = 0b0111;
        assert_eq!(breach.reminder(at(500)), Some((0b1111, 72)));
        breach.reminded = 0b1111;
        assert_eq!(breach.reminder(at(501)), None);
        let open = Breach { reminded: 0, ..breach };
        assert_eq!(Breach { authority_at: Some(at(1)), ..open.clone() }.reminder(at(72)), None);
        assert_eq!(Breach { closed_at: Some(at(1)), ..open.clone() }.reminder(at(72)), None);
        assert_eq!(Breach { risk: Risk::Unlikely, ..open }.reminder(at(72)), None);
    }
}
