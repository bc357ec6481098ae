//! Words of the register.

use std::fmt;
use std::str::FromStr;

use kiki_types::{Bar, Channel, Purpose, UnixMillis};
use uuid::Uuid;

/// Bytes of what somebody gives as evidence at the most.
pub(crate) const EVIDENCE_BYTES_MAX: usize = 4096;
/// How long a confirmation may take.
pub(crate) const CONFIRM_MS: i64 = 48 * 3600 * 1000;
/// How long somebody who opted out is not asked again: twelve months (Cal. Civ. Code 1798.135(c)(4)).
pub(crate) const OPT_OUT_MS: i64 = 366 * 86_400_000;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word in JSON and in the database.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("must be one of {}", [$($word),*].join(", "))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Why data may be processed (GDPR Art. 6(1)).
    Basis {
        /// (a)
        Consent = "consent",
        /// (b)
        Contract = "contract",
        /// (c)
        LegalObligation = "legal_obligation",
        /// (d)
        VitalInterests = "vital_interests",
        /// (e)
        PublicTask = "public_task",
        /// (f)
        LegitimateInterests = "legitimate_interests",
    }
}

words! {
    /// What was done.
    Act {
        /// Somebody agreed, or another basis was recorded.
        Grant = "grant",
        /// They no longer agree.
        Revoke = "revoke",
        /// Something stands against all they agreed to.
        Bar = "bar",
        /// It no longer does.
        Unbar = "unbar",
    }
}

words! {
    /// Where a record stands.
    State {
        /// Written down, not decided yet.
        Noted = "noted",
        /// Waits for the person's confirmation.
        Awaiting = "awaiting",
        /// Decided; its entry is in the log.
        Standing = "standing",
        /// Never came about.
        Void = "void",
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// A purpose, by one channel or by all.
    Purpose(Purpose, Channel),
    /// Something that stands against a person's consents.
    Bar(Bar),
}

impl About {
    /// As the database has it: the purpose or the bar, and the channel.
    pub(crate) const fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Purpose(purpose, channel) => (purpose.as_str(), channel.as_str()),
            Self::Bar(bar) => (bar.as_str(), ""),
        }
    }

    /// As [`About::columns`] gave it.
    pub(crate) fn of_columns(name: &str, channel: &str) -> Option<Self> {
        if channel.is_empty() {
            return bar(name).map(Self::Bar);
        }
        Some(Self::Purpose(name.parse().ok()?, channel.parse().ok()?))
    }

    /// What an entry about the record `id` names: `consent/<purpose>[/<channel>]/<id>` or `consent/bar/<bar>/<id>`.
    pub(crate) fn resource(self, id: Uuid) -> String {
        match self {
            Self::Purpose(purpose, Channel::Any) => format!("consent/{purpose}/{id}"),
            Self::Purpose(purpose, channel) => format!("consent/{purpose}/{channel}/{id}"),
            Self::Bar(bar) => format!("consent/bar/{bar}/{id}"),
        }
    }

    /// As [`About::resource`] named it.
    pub(crate) fn of_resource(resource: &str) -> Option<(Self, Uuid)> {
        let parts: Vec<&str> = resource.strip_prefix("consent/")?.split('/').collect();
        let (about, id) = match parts.as_slice() {
            ["bar", name, id] => (Self::Bar(bar(name)?), id),
            [purpose, id] => (Self::Purpose(purpose.parse().ok()?, Channel::Any), id),
            [purpose, channel, id] => (Self::Purpose(purpose.parse().ok()?, channel.parse().ok()?), id),
            _ => return None,
        };
        Some((about, Uuid::try_parse(id).ok()?))
    }
}

fn bar(name: &str) -> Option<Bar> {
    Bar::ALL.into_iter().find(|bar| bar.as_str() == name)
}

/// A row of the register, without what is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) about: About,
    pub(crate) act: Act,
    pub(crate) state: State,
    pub(crate) basis: Basis,
    /// The text that was agreed to; empty if none was named.
    pub(crate) text_version: String,
    /// By which way it came.
    pub(crate) source: String,
    pub(crate) at: UnixMillis,
    /// When it ends; 0: never.
    pub(crate) until: UnixMillis,
    /// By when it is to be confirmed; 0: it need not be.
    pub(crate) confirm_by: UnixMillis,
    /// How many entries the log had when they were asked to confirm it.
    pub(crate) asked: Option<u64>,
    /// Its entry in the log.
    pub(crate) entry: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_entry_names_leads_back_to_the_record() {
        let id = Uuid::from_u128(7);
        for about in [
            About::Purpose(Purpose::Marketing, Channel::Any),
            About::Purpose(Purpose::DataSharing, Channel::Email),
            About::Bar(Bar::DoNotSell),
        ] {
            assert_eq!(About::of_resource(&about.resource(id)), Some((about, id)));
            let (name, channel) = about.columns();
            assert_eq!(About::of_columns(name, channel), Some(about));
        }
        for other in ["consent/marketing", "consent/marketing/x", "subject/7", "consent/bar/x/y", "consent//"] {
            assert_eq!(About::of_resource(other), None, "{other}");
        }
    }
}
