//! What becomes of a subject request: its words, and which state follows which.
//!
//! A request is received, the person proves who they are, it is carried out, it is completed or refused. An extension
//! moves its last day and is a state of its own once the request is being carried out. What has ended stays as it is.

use std::fmt;
use std::str::FromStr;

use kiki_types::UnixMillis;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How an enum's values are called in JSON and in the database. The word is a token, not a `literal`: the description of the
/// API would not see through that.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:tt,)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        $(#[$doc])*
        pub(crate) enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in JSON and in the database.
            #[must_use]
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            /// Letter case does not matter.
            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|word| word.as_str().eq_ignore_ascii_case(text));
                found.copied().ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|word| word.as_str()).collect();
                    format!("must be one of {}", words.join(", "))
                })
            }
        }
    };
}

words! {
    /// The right that a person makes use of.
    #[schema(as = SubjectRequestType)]
    Kind {
        /// See the data (GDPR Art. 15).
        Access = "ACCESS",
        /// Have them erased (Art. 17).
        Deletion = "DELETION",
        /// Take them along (Art. 20).
        Portability = "PORTABILITY",
        /// Have them put right (Art. 16).
        Rectification = "RECTIFICATION",
        /// Have them kept unused (Art. 18).
        Restriction = "RESTRICTION",
        /// Object to their use (Art. 21).
        Objection = "OBJECTION",
        /// No longer have them sold or shared (CCPA 1798.120).
        OptOut = "OPT_OUT",
    }
}

words! {
    /// The law that gives the right.
    Regime {
        /// The General Data Protection Regulation of the European Union.
        Gdpr = "gdpr",
        /// The California Consumer Privacy Act.
        Ccpa = "ccpa",
    }
}

words! {
    /// Where a request stands.
    State {
        /// It came in.
        Received = "received",
        /// The person was told, and has yet to prove who they are.
        IdentityCheck = "identity_check",
        /// It is being carried out.
        InProgress = "in_progress",
        /// As before, with a later last day.
        Extended = "extended",
        /// It was carried out.
        Completed = "completed",
        /// It was not, and the person was told why.
        Refused = "refused",
    }
}

words! {
    /// What a completed request came to.
    Outcome {
        /// All that was asked for.
        Whole = "whole",
        /// Some of it.
        Part = "part",
        /// Nothing was held about the person.
        NothingHeld = "nothing_held",
    }
}

words! {
    /// Why a request is refused.
    Ground {
        /// Who asked did not prove to be the person.
        IdentityNotProven = "identity_not_proven",
        /// GDPR Art. 12(5).
        Unfounded = "unfounded",
        /// GDPR Art. 12(5).
        Excessive = "excessive",
        /// GDPR Art. 17(3)(b).
        LegalObligation = "legal_obligation",
        /// GDPR Art. 17(3)(e).
        LegalClaims = "legal_claims",
        /// GDPR Art. 17(3)(c), (d).
        PublicInterest = "public_interest",
        /// GDPR Art. 17(3)(a).
        FreeExpression = "free_expression",
        /// GDPR Art. 15(4).
        RightsOfOthers = "rights_of_others",
        /// A legal hold forbids to erase.
        LegalHold = "legal_hold",
        /// The data were erased, as the person asked for too, before a copy of them was made.
        Erased = "erased",
        /// Somebody else decides about the data (GDPR Art. 4(7)).
        NotController = "not_controller",
        /// Cal. Civ. Code 1798.140(i).
        NotAConsumer = "not_a_consumer",
        /// Cal. Civ. Code 1798.145.
        Exempt = "exempt",
    }
}

words! {
    /// Why more time is taken (GDPR Art. 12(3)).
    Delay {
        /// The request is complex.
        Complexity = "complexity",
        /// There are many requests.
        Number = "number",
    }
}

words! {
    /// What a request waits for that is not for the program to do.
    #[schema(as = SubjectRequestAwaits)]
    Awaits {
        /// An officer says that the source of what is computed here was corrected.
        Source = "source",
        /// The copy that the person asked for as well is fetched.
        Copy = "copy",
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The person was told that it came in.
    Acknowledged,
    /// The person proved who they are, or somebody vouched for it.
    Proven,
    /// More time is taken.
    Extended,
    /// It was carried out.
    Completed,
    /// It is not carried out.
    Refused,
}

/// What does not follow from where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is {0}")]
pub(crate) struct Impossible(pub(crate) State);

impl State {
    /// Whether nothing more happens.
    #[must_use]
    pub(crate) const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Refused)
    }

    /// Where a request begins. `is_exempt`: nobody has to prove who they are. `is_told`: the person knows already that it
    /// came in.
    #[must_use]
    pub(crate) const fn first(is_exempt: bool, is_told: bool) -> Self {
        match (is_exempt, is_told) {
            (true, _) => Self::InProgress,
            (false, true) => Self::IdentityCheck,
            (false, false) => Self::Received,
        }
    }

    /// Where a request stands after `event`. `is_extended`: more time was taken before.
    pub(crate) fn after(self, event: Event, is_extended: bool) -> Result<Self, Impossible> {
        let running = if is_extended { Self::Extended } else { Self::InProgress };
        match (self, event) {
            (Self::Received, Event::Acknowledged) => Ok(Self::IdentityCheck),
            // Told late, by a mail that waited: it stands where it stands.
            (state, Event::Acknowledged) => Ok(state),
            (Self::Received | Self::IdentityCheck, Event::Proven) => Ok(running),
            (state @ (Self::Received | Self::IdentityCheck), Event::Extended) if !is_extended => Ok(state),
            (Self::InProgress, Event::Extended) => Ok(Self::Extended),
            (Self::InProgress | Self::Extended, Event::Completed) => Ok(Self::Completed),
            (state, Event::Refused) if !state.has_ended() => Ok(Self::Refused),
            (state, _) => Err(Impossible(state)),
        }
    }
}

impl Kind {
    /// Whether the person must not be asked to prove who they are (11 CCR § 7026(d)).
    #[must_use]
    pub(crate) const fn is_open_to_anybody(self) -> bool {
        matches!(self, Self::OptOut)
    }

    /// Whether the person gets a copy of what is held.
    #[must_use]
    pub(crate) const fn is_for_a_copy(self) -> bool {
        matches!(self, Self::Access | Self::Portability)
    }

    /// The law that gives the right, unless somebody says another.
    #[must_use]
    pub(crate) const fn usual_regime(self) -> Regime {
        match self {
            Self::OptOut => Regime::Ccpa,
            _ => Regime::Gdpr,
        }
    }
}

/// What is to be reminded of: a bit each.
pub(crate) mod reminder {
    use super::UnixMillis;

    const DAY_MS: i64 = 86_400_000;
    /// Half the time is over.
    pub(crate) const HALF: i64 = 1;
    /// Seven days are left.
    pub(crate) const WEEK: i64 = 2;
    /// Three days are left.
    pub(crate) const THREE_DAYS: i64 = 4;
    /// One day is left.
    pub(crate) const DAY: i64 = 8;
    /// The time is over.
    pub(crate) const OVERDUE: i64 = 16;
    /// Two days are left to acknowledge the receipt.
    pub(crate) const ACKNOWLEDGE: i64 = 32;
    /// Those that an extension lets come again.
    pub(crate) const OF_DUE: i64 = HALF | WEEK | THREE_DAYS | DAY | OVERDUE;

    /// Which reminders are due at `now`. `acknowledge_by` is `None` where the receipt was acknowledged or need not be.
    pub(crate) fn due(
        now: UnixMillis,
        received: UnixMillis,
        due: UnixMillis,
        acknowledge_by: Option<UnixMillis>,
    ) -> i64 {
        let half = UnixMillis(received.0 + (due.0 - received.0) / 2);
        let times = [
            (HALF, half),
            (WEEK, due.plus(-7 * DAY_MS)),
            (THREE_DAYS, due.plus(-3 * DAY_MS)),
            (DAY, due.plus(-DAY_MS)),
            (OVERDUE, due.plus(1)),
        ];
        let of_due = times.iter().filter(|(_, at)| *at <= now).fold(0, |bits, (bit, _)| bits | bit);
        let of_receipt = acknowledge_by.is_some_and(|by| by.plus(-2 * DAY_MS) <= now);
        of_due | if of_receipt { ACKNOWLEDGE } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 5] = [Event::Acknowledged, Event::Proven, Event::Extended, Event::Completed, Event::Refused];

    #[test]
    fn a_request_goes_from_receipt_over_the_check_to_its_end() {
        use Event as E;
        use State::{Completed, Extended, IdentityCheck, InProgress, Received, Refused};
        for (first, is_extended, events, states) in [
            (
                Received,
                false,
                &[E::Acknowledged, E::Proven, E::Completed][..],
                &[IdentityCheck, InProgress, Completed][..],
            ),
            (InProgress, false, &[E::Acknowledged, E::Completed], &[InProgress, Completed]),
            (Received, false, &[E::Proven, E::Extended, E::Completed], &[InProgress, Extended, Completed]),
            (Received, true, &[E::Acknowledged, E::Proven], &[IdentityCheck, Extended]),
            (Received, false, &[E::Acknowledged, E::Extended, E::Refused], &[IdentityCheck, IdentityCheck, Refused]),
        ] {
            let mut state = first;
            for (&event, &expected) in events.iter().zip(states) {
                state = state.after(event, is_extended).unwrap();
                assert_eq!(state, expected, "{events:?}");
            }
        }
        assert_eq!((State::first(true, false), State::first(false, true)), (InProgress, IdentityCheck));
    }

    #[test]
    fn every_event_leads_from_every_state_to_where_the_table_says() {
        use State::{Completed, Extended, IdentityCheck, InProgress, Received, Refused};
        let (to, no) = (Some::<State>, None);
        // In the order of EVENTS: acknowledged, proven, extended, completed, refused.
        for (state, is_extended, row) in [
            (Received, false, [to(IdentityCheck), to(InProgress), to(Received), no, to(Refused)]),
            (Received, true, [to(IdentityCheck), to(Extended), no, no, to(Refused)]),
            (IdentityCheck, false, [to(IdentityCheck), to(InProgress), to(IdentityCheck), no, to(Refused)]),
            (IdentityCheck, true, [to(IdentityCheck), to(Extended), no, no, to(Refused)]),
            (InProgress, false, [to(InProgress), no, to(Extended), to(Completed), to(Refused)]),
            (Extended, true, [to(Extended), no, no, to(Completed), to(Refused)]),
            (Completed, false, [to(Completed), no, no, no, no]),
            (Completed, true, [to(Completed), no, no, no, no]),
            (Refused, false, [to(Refused), no, no, no, no]),
            (Refused, true, [to(Refused), no, no, no, no]),
        ] {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                let expected = expected.ok_or(Impossible(state));
                assert_eq!(state.after(event, is_extended), expected, "{state} ({is_extended}) {event:?}");
            }
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for &ground in Ground::ALL {
            assert_eq!(ground.as_str().parse(), Ok(ground));
        }
        assert!("because".parse::<Ground>().unwrap_err().contains("legal_hold"));
    }

    #[test]
    fn reminders_come_at_their_times_and_not_before() {
        const DAY: i64 = 86_400_000;
        let due =
            |now: i64| reminder::due(UnixMillis(now), UnixMillis(0), UnixMillis(30 * DAY), Some(UnixMillis(10 * DAY)));
        for (now, bits) in [
            (0, 0),
            (8 * DAY - 1, 0),
            (8 * DAY, reminder::ACKNOWLEDGE),
            (15 * DAY, reminder::ACKNOWLEDGE | reminder::HALF),
            (23 * DAY, reminder::ACKNOWLEDGE | reminder::HALF | reminder::WEEK),
            (30 * DAY, reminder::ACKNOWLEDGE | (reminder::OF_DUE & !reminder::OVERDUE)),
            (30 * DAY + 1, reminder::ACKNOWLEDGE | reminder::OF_DUE),
        ] {
            assert_eq!(due(now), bits, "{now}");
        }
        let acknowledged = reminder::due(UnixMillis(29 * DAY), UnixMillis(0), UnixMillis(30 * DAY), None);
        assert_eq!(acknowledged & reminder::ACKNOWLEDGE, 0);
    }
}
