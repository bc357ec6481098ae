//! Faults that spend governors have had, each behind a switch: `cargo xtask faults` turns them on one by one and requires
//! a test to notice. They exist only with the feature `faults`, which the program never enables; without it every
//! switch is off and costs nothing.

/// A fault that can be turned on by its name in `KIKI_FAULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// What goes wrong.
    pub what: &'static str,
    /// Where it was seen, as public trackers have it; `-` if no case is named.
    pub seen: &'static str,
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $constant:ident, $name:literal, $what:literal, $seen:literal;)*) => {
        impl Fault {
            $(
                #[doc = $what]
                pub const $constant: Self = Self { name: $name, what: $what, seen: $seen };
            )*
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

faults! {
    CHECK_FIRST, "check-first", "checked first and written later: the next request does not see the hold", "LiteLLM 34732, 26672, 40095";
    LEAK_AT_EXPIRY, "leak-at-expiry", "a hold that expires stays reserved", "LiteLLM 27639, 30460";
    LEAK_AT_VOID, "leak-at-void", "a hold that is given back stays reserved", "LiteLLM 27639, 30460";
    DENIED_BUT_CHARGED, "denied-but-charged", "a denied request counts as spent", "upstash ratelimit";
    EXCESS_FORGOTTEN, "excess-forgotten", "what was spent beyond a limit is clamped to it", "agentgateway";
    FIXED_WINDOW, "fixed-window", "a fixed window is sold as a rolling one", "Envoy ratelimit 193, 269";
    LEAVES_EARLY, "leaves-early", "money leaves a window a tick early", "-";
    FLOATS, "floats", "amounts go through floating point", "-";
    HOLDS_NOT_COUNTED, "holds-not-counted", "what is held does not count against a limit", "-";
    CAPTURE_BEYOND_HOLD, "capture-beyond-hold", "more is captured than was held", "-";
    CONFLICT_IGNORED, "conflict-ignored", "a key gives its answer to another request", "-";
    REFUND_INTO_WINDOW, "refund-into-window", "a refund makes room in a window, though the money did move", "-";
    STOP_MISSES_INCREASE, "stop-misses-increase", "a stop does not stop the growth of a hold", "-";
    CONSENT_STALE, "consent-stale", "the decision after a revocation still reads consent", "-";
    ANSWER_BEFORE_DISK, "answer-before-disk", "an answer leaves before its entry is durable", "-";
    SHADOW_ENFORCES, "shadow-enforces", "a limit in shadow refuses", "-";
    FOUR_EYES_IGNORED, "four-eyes-ignored", "whoever asked approves", "-";
    PERIOD_IN_UTC, "period-in-utc", "a calendar period ignores its time zone", "-";
}

impl Fault {
    /// Whether it is turned on.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn is_on(self) -> bool {
        use std::sync::OnceLock;
        static ON: OnceLock<Option<String>> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "a switch of tests, absent from the program")]
        let on = ON.get_or_init(|| std::env::var("KIKI_FAULT").ok());
        on.as_deref() == Some(self.name)
    }

    /// Never.
    #[cfg(not(feature = "faults"))]
    #[inline(always)]
    pub(crate) const fn is_on(self) -> bool {
        let _ = self;
        false
    }
}

#[cfg(feature = "faults")]
pub(crate) use faulty::{Faulty, distorted};

#[cfg(feature = "faults")]
mod faulty {
    //! What faults need to remember.

    use kiki_types::{Channel, Purpose};

    use super::Fault;
    use crate::account::{Account, Accounts};
    use crate::consent::Consents;
    use crate::digest::Digest;
    use crate::limit::Held;
    use crate::record::Records;

    /// Beside the state, while a fault is on.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Faulty {
        /// The slot of the newest authorization.
        newest: Option<u32>,
        /// A consent that was revoked, and how many commands still read it.
        revoked: Option<((Digest, Purpose), Channel, u8)>,
    }

    impl Faulty {
        pub(crate) fn opened(&mut self, slot: u32) {
            self.newest = Some(slot);
        }

        /// What a decision sees to be held at `node`.
        pub(crate) fn seen(&self, node: &Account, records: &Records, accounts: &Accounts) -> Held {
            if Fault::HOLDS_NOT_COUNTED.is_on() {
                return Held::default();
            }
            let mut held = node.held;
            if let Some(record) = self.newest.filter(|_| Fault::CHECK_FIRST.is_on()).and_then(|slot| records.get(slot))
            {
                let mut above = accounts.upwards(Some(record.account));
                if record.stage.is_open() && above.any(|account| account.path == node.path) {
                    held.amount -= i128::from(record.amount);
                    held.count -= 1;
                }
            }
            held
        }

        /// Whether the revocation is put off.
        pub(crate) fn revoke(&mut self, consent: (Digest, Purpose), channel: Channel) -> bool {
            let is_on = Fault::CONSENT_STALE.is_on();
            if is_on {
                self.revoked = Some((consent, channel, 1));
            }
            is_on
        }

        pub(crate) fn forget_consent(&mut self, consents: &mut Consents, now: i64) {
            match &mut self.revoked {
                Some((.., left @ 1..)) => *left -= 1,
                Some((consent, channel, 0)) => {
                    consents.revoke(*consent, *channel, now);
                    self.revoked = None;
                }
                None => {}
            }
        }
    }

    /// The amount that is booked in place of `amount`.
    pub(crate) fn distorted(amount: i64, most: i64, used: i128) -> i64 {
        if Fault::FLOATS.is_on() {
            return (amount as f64 / 1_000_000.0 * 1_000_000.0) as i64;
        }
        if Fault::EXCESS_FORGOTTEN.is_on() {
            let room = (i128::from(most) - used).clamp(0, amount.into());
            return i64::try_from(room).unwrap_or(amount);
        }
        amount
    }
}
