//! How a customer is reached, and what bars it whatever was agreed to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Purpose;

/// A way to reach a customer. Consent is given for all of them ([`Channel::Any`]) or for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Channel {
    /// All that have no word of their own.
    #[default]
    Any = 0,
    /// E-mail.
    Email = 1,
    /// Text messages.
    Sms = 2,
    /// Notifications of an app.
    Push = 3,
    /// Calls.
    Phone = 4,
    /// Letters.
    Post = 5,
    /// What is shown on pages.
    Web = 6,
}

impl Channel {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 7] = [Self::Any, Self::Email, Self::Sms, Self::Push, Self::Phone, Self::Post, Self::Web];

    /// The name in JSON and queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Push => "push",
            Self::Phone => "phone",
            Self::Post => "post",
            Self::Web => "web",
        }
    }
}

impl FromStr for Channel {
    type Err = UnknownChannel;

    /// Letter case does not matter.
    fn from_str(text: &str) -> Result<Self, UnknownChannel> {
        Self::ALL.into_iter().find(|channel| channel.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownChannel)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of any, email, sms, push, phone, post, web")]
pub struct UnknownChannel;

/// What refuses purposes whatever a customer agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Bar {
    /// The customer's data may not be sold or shared (Cal. Civ. Code 1798.120).
    DoNotSell = 1,
    /// Processing is restricted (Art. 18 GDPR).
    Restricted = 2,
    /// The customer objected (Art. 21 GDPR).
    Objected = 4,
}

impl Bar {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::DoNotSell, Self::Restricted, Self::Objected];

    /// The name in JSON and queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoNotSell => "do_not_sell",
            Self::Restricted => "restricted",
            Self::Objected => "objected",
        }
    }

    /// Its place in a byte that holds all that stand.
    #[must_use]
    pub const fn bit(self) -> u8 {
        self as u8
    }

    /// Whether it refuses `purpose`.
    #[must_use]
    pub const fn refuses(self, purpose: Purpose) -> bool {
        match self {
            Self::DoNotSell => matches!(purpose, Purpose::DataSharing | Purpose::Targeting),
            Self::Restricted => true,
            Self::Objected => matches!(purpose, Purpose::Marketing | Purpose::Targeting | Purpose::Profiling),
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_reads_back_from_its_name() {
        for channel in Channel::ALL {
            assert_eq!(channel.as_str().to_uppercase().parse(), Ok(channel));
            assert_eq!(serde_json::to_value(channel).unwrap(), channel.as_str());
        }
        assert_eq!("pigeon".parse::<Channel>(), Err(UnknownChannel));
    }

    #[test]
    fn each_bar_has_a_bit_of_its_own() {
        assert_eq!(Bar::ALL.iter().fold(0, |bits, bar| bits + bar.bit()), 7);
        for bar in Bar::ALL {
            assert_eq!(serde_json::to_value(bar).unwrap(), bar.as_str());
        }
    }

    #[test]
    fn who_objects_to_marketing_may_still_be_counted() {
        assert!(Bar::Objected.refuses(Purpose::Marketing) && !Bar::Objected.refuses(Purpose::Analytics));
        assert!(Bar::DoNotSell.refuses(Purpose::DataSharing) && !Bar::DoNotSell.refuses(Purpose::Marketing));
        assert!(Purpose::ALL.into_iter().all(|purpose| Bar::Restricted.refuses(purpose)));
    }
}
