//! The code by which a person proves who they are: six digits, sent to the address that is known of them.
//!
//! It is good for ten minutes and three tries. At most three are sent in 24 hours, a minute apart, to one person for all of
//! their requests together, so that whoever guesses has nine tries a day at one in a million. The tries are counted before the code is compared: how often somebody guesses
//! at the same time does not matter.

use kiki_types::UnixMillis;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Digits of a code.
const DIGITS: usize = 6;
/// Codes that there are: one more than the largest.
const CODES: u32 = 1_000_000;
/// How long a code is good: 10 minutes.
pub(crate) const LIFE_MS: i64 = 10 * 60 * 1000;
/// How often one code may be tried.
pub(crate) const TRIES_MAX: i64 = 3;
/// Codes that are sent in [`SPELL_MS`] at the most.
const CODES_MAX: i64 = 3;
/// How long the codes that were sent are counted after the last one: 24 hours.
const SPELL_MS: i64 = 24 * 60 * 60 * 1000;
/// How far two codes are apart at least: a minute.
const APART_MS: i64 = 60 * 1000;

/// How long somebody who was sent a code has to prove who they are, before their request is refused: 14 days.
pub(crate) const ANSWER_MS: i64 = 14 * SPELL_MS;

/// The codes that were sent for a request, or to a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// How many, since 24 hours without one.
    pub(crate) count: i64,
    /// Until when the last one is good; 0 if there was none.
    pub(crate) until: UnixMillis,
}

/// Another code may be sent from this time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotBefore(pub(crate) UnixMillis);

impl Sent {
    /// What was sent, once another code is sent at `now`.
    pub(crate) fn another(self, now: UnixMillis) -> Result<Self, NotBefore> {
        let last = self.until.plus(-LIFE_MS);
        let count = if self.count == 0 || last.plus(SPELL_MS) <= now { 0 } else { self.count };
        let wait = if count >= CODES_MAX { SPELL_MS } else { APART_MS };
        if count > 0 && now < last.plus(wait) {
            return Err(NotBefore(last.plus(wait)));
        }
        Ok(Self { count: count + 1, until: now.plus(LIFE_MS) })
    }

    /// Whether somebody was sent a code, and has proven nothing for [`ANSWER_MS`] since.
    pub(crate) fn is_unanswered(self, now: UnixMillis) -> bool {
        self.count > 0 && self.until.plus(ANSWER_MS) <= now
    }
}

/// Codes that are good until then or earlier are counted no more at `now`.
pub(crate) fn counted_after(now: UnixMillis) -> UnixMillis {
    now.plus(LIFE_MS - SPELL_MS)
}

/// A code, each as likely as any other. `random` gives bytes that nobody can guess.
pub(crate) fn draw(random: fn() -> Zeroizing<[u8; 32]>) -> Zeroizing<String> {
    // What is left of the range of a u32 beyond a whole number of rounds would make small codes likelier.
    const LIMIT: u32 = u32::MAX - u32::MAX % CODES;
    loop {
        let bytes = random();
        let words = bytes.chunks_exact(4).filter_map(|word| word.try_into().ok().map(u32::from_le_bytes));
        if let Some(word) = words.into_iter().find(|&word| word < LIMIT) {
            return Zeroizing::new(format!("{:0DIGITS$}", word % CODES));
        }
    }
}

/// Whether `given` is the code, in a time that does not tell where they differ. White space around it does not matter.
pub(crate) fn is_right(code: &[u8], given: &str) -> bool {
    let given = given.trim().as_bytes();
    given.len() == DIGITS && bool::from(code.ct_eq(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixMillis = UnixMillis(1_770_292_800_000);

    #[test]
    fn three_codes_are_sent_in_24_hours_a_minute_apart() {
        let first = Sent::default().another(NOON).unwrap();
        assert_eq!(first, Sent { count: 1, until: NOON.plus(LIFE_MS) });
        assert_eq!(first.another(NOON.plus(59_999)), Err(NotBefore(NOON.plus(60_000))));
        let second = first.another(NOON.plus(60_000)).unwrap();
        let third = second.another(NOON.plus(120_000)).unwrap();
        let refused = NotBefore(NOON.plus(120_000 + SPELL_MS));
        assert_eq!(third.another(NOON.plus(SPELL_MS)), Err(refused), "24 hours after the last, not after the first");
        assert_eq!(third.another(refused.0).unwrap().count, 1);
    }

    #[test]
    fn a_code_has_six_digits_whatever_is_drawn() {
        let zeros = || Zeroizing::new([0; 32]);
        assert_eq!(*draw(zeros), "000000");
        let mostly_too_large = || {
            let mut bytes = [0xff; 32];
            bytes[28..].copy_from_slice(&1_234_567u32.to_le_bytes());
            Zeroizing::new(bytes)
        };
        assert_eq!(*draw(mostly_too_large), "234567", "what would favour small codes is drawn again");
    }

    #[test]
    fn only_the_code_is_right() {
        assert!(is_right(b"012345", "012345") && is_right(b"012345", " 012345\n"));
        for wrong in ["", "012346", "0123456", "12345", "012 345"] {
            assert!(!is_right(b"012345", wrong), "{wrong:?}");
        }
    }
}
