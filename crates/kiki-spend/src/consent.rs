//! What people agree to, and what stands against it.
//!
//! For each person and purpose the latest word about a channel, or about all channels at once, counts for it: `any` holds
//! what was said about all of them, `own` what was said about one since. A bar refuses whatever was agreed to.
//!
//! What has ended is kept until its room is wanted. Whether there is room depends only on what still has weight, so
//! that a state that was swept and one that was not decide alike.
//!
//! What protects people needs no room: a revocation and a bar are taken beyond the bound, which grants alone keep to. So
//! there are at most as many bars as there were ever people to bar, one byte beside a digest each.

mod taken_back;

use std::collections::HashMap;

use kiki_types::{Bar, Channel, Purpose};
use serde::{Deserialize, Serialize};

use crate::digest::{BuildFolding, Digest};
use taken_back::{TakenBack, TakenBackImage};

/// A consent that ends at no time.
const NEVER: u32 = u32::MAX;
/// An end that has always passed: refused.
const REFUSED: u32 = 0;

/// A person and a purpose.
type Consent = (Digest, Purpose);

/// All consents and bars. Ends are seconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consents {
    /// For all channels that `own` does not name.
    any: HashMap<Consent, u32, BuildFolding>,
    /// For one channel; refused ones only where `any` agrees.
    own: HashMap<(Digest, Purpose, Channel), u32, BuildFolding>,
    /// By person, one bit each.
    bars: HashMap<Digest, u8, BuildFolding>,
    /// Against confirmations of what was asked for before.
    pub(crate) taken_back: TakenBack,
    /// No consent that was there at the last sweep or came since ends before.
    next_end: u32,
}

/// Consents as plain data, in order.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConsentsImage {
    any: Vec<(Consent, u32)>,
    own: Vec<((Digest, Purpose, Channel), u32)>,
    bars: Vec<(Digest, u8)>,
    taken_back: TakenBackImage,
}

/// Whether a consent that ends at `end` stands at `now`.
fn stands(end: u32, now: i64) -> bool {
    end == NEVER || now < i64::from(end) * 1000
}

/// The end of a consent that was given until `until`: never later.
fn end_of(until: Option<i64>) -> u32 {
    until.map_or(NEVER, |until| u32::try_from(until / 1000).unwrap_or(NEVER))
}

impl Consents {
    /// Whether `subject` agrees to `purpose` on `channel` at `now`.
    #[inline]
    pub(crate) fn stand(&self, subject: Digest, purpose: Purpose, channel: Channel, now: i64) -> bool {
        let end = self.own.get(&(subject, purpose, channel)).or_else(|| self.any.get(&(subject, purpose)));
        end.is_some_and(|&end| stands(end, now)) && !self.bars_of(subject).any(|bar| bar.refuses(purpose))
    }

    /// When what was said about `channel` itself ends, in milliseconds: the inner `None` is never, a past time refuses.
    pub(crate) fn said(&self, subject: Digest, purpose: Purpose, channel: Channel) -> Option<Option<i64>> {
        let end = match channel {
            Channel::Any => self.any.get(&(subject, purpose)),
            one => self.own.get(&(subject, purpose, one)),
        };
        end.map(|&end| (end != NEVER).then(|| i64::from(end) * 1000))
    }

    /// What stands against `subject`'s consents.
    #[inline]
    pub(crate) fn bars_of(&self, subject: Digest) -> impl Iterator<Item = Bar> + use<> {
        let bars = if self.bars.is_empty() { 0 } else { self.bars.get(&subject).copied().unwrap_or(0) };
        Bar::ALL.into_iter().filter(move |bar| bars & bar.bit() != 0)
    }

    /// Consents and people with bars.
    pub(crate) fn len(&self) -> usize {
        self.any.len() + self.own.len() + self.bars.len()
    }

    /// `false` if there is no room for it.
    pub(crate) fn grant(
        &mut self,
        (subject, purpose): Consent,
        channel: Channel,
        until: Option<i64>,
        (now, most): (i64, u32),
    ) -> bool {
        let end = end_of(until);
        let takes_a_place = match channel {
            Channel::Any => !self.has_weight((subject, purpose), now),
            one => !self.own_has_weight((subject, purpose, one), now),
        };
        if takes_a_place && !self.make_room(now, most) {
            return false;
        }
        if channel == Channel::Any {
            self.forget_own((subject, purpose));
            self.any.insert((subject, purpose), end);
        } else {
            self.own.insert((subject, purpose, channel), end);
        }
        self.next_end = self.next_end.min(end);
        true
    }

    /// Always possible: the refusal of a channel takes a place beyond the bound, at most six for each consent to all.
    pub(crate) fn revoke(&mut self, (subject, purpose): Consent, channel: Channel, now: i64) {
        if channel == Channel::Any {
            self.forget_own((subject, purpose));
            self.any.remove(&(subject, purpose));
        } else if self.any_stands((subject, purpose), now) {
            self.own.insert((subject, purpose, channel), REFUSED);
        } else {
            self.own.remove(&(subject, purpose, channel));
        }
    }

    /// Always possible: whoever may be barred is known in SQL by a row that is larger.
    pub(crate) fn bar(&mut self, subject: Digest, bar: Bar) {
        *self.bars.entry(subject).or_default() |= bar.bit();
    }

    pub(crate) fn unbar(&mut self, subject: Digest, bar: Bar) {
        let Some(bars) = self.bars.get_mut(&subject) else { return };
        *bars &= !bar.bit();
        if *bars == 0 {
            self.bars.remove(&subject);
        }
    }

    /// Forgets all that is known of `subject`.
    pub(crate) fn forget(&mut self, subject: Digest) {
        for purpose in Purpose::ALL {
            self.forget_own((subject, purpose));
            self.any.remove(&(subject, purpose));
        }
        self.bars.remove(&subject);
    }

    fn forget_own(&mut self, (subject, purpose): Consent) {
        if !self.own.is_empty() {
            for channel in Channel::ALL {
                self.own.remove(&(subject, purpose, channel));
            }
        }
    }

    fn any_stands(&self, consent: Consent, now: i64) -> bool {
        self.any.get(&consent).is_some_and(|&end| stands(end, now))
    }

    /// Whether what is kept of one channel still says something: where all are agreed to, that this one has ended does.
    fn own_has_weight(&self, own: (Digest, Purpose, Channel), now: i64) -> bool {
        self.own.get(&own).is_some_and(|&end| stands(end, now) || self.any_stands((own.0, own.1), now))
    }

    /// Whether anything that is kept of a consent still says something.
    fn has_weight(&self, (subject, purpose): Consent, now: i64) -> bool {
        self.any_stands((subject, purpose), now)
            || Channel::ALL.into_iter().any(|channel| self.own_has_weight((subject, purpose, channel), now))
    }

    /// Whether one more fits, after what has ended was swept out.
    fn make_room(&mut self, now: i64, most: u32) -> bool {
        let most = most as usize;
        if self.len() >= most && now >= i64::from(self.next_end) * 1000 {
            self.sweep(now);
        }
        self.len() < most
    }

    fn sweep(&mut self, now: i64) {
        self.any.retain(|_, end| stands(*end, now));
        let any = &self.any;
        self.own.retain(|(subject, purpose, _), end| stands(*end, now) || any.contains_key(&(*subject, *purpose)));
        let ends = self.any.values().chain(self.own.values()).copied();
        self.next_end = ends.filter(|&end| stands(end, now)).min().unwrap_or(NEVER);
    }

    pub(crate) fn to_image(&self) -> ConsentsImage {
        fn in_order<K: Copy + Ord, V: Copy + Ord>(map: &HashMap<K, V, BuildFolding>) -> Vec<(K, V)> {
            let mut list: Vec<_> = map.iter().map(|(&key, &value)| (key, value)).collect();
            list.sort_unstable();
            list
        }
        let (any, own, bars) = (in_order(&self.any), in_order(&self.own), in_order(&self.bars));
        ConsentsImage { any, own, bars, taken_back: self.taken_back.to_image() }
    }

    pub(crate) fn from_image(image: ConsentsImage) -> Self {
        let ConsentsImage { any, own, bars, taken_back } = image;
        let (any, own, bars) = (any.into_iter().collect(), own.into_iter().collect(), bars.into_iter().collect());
        Self { any, own, bars, taken_back: TakenBack::from_image(taken_back), next_end: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PURPOSES: [Purpose; 2] = [Purpose::Marketing, Purpose::DataSharing];
    const CHANNELS: [Channel; 3] = [Channel::Any, Channel::Email, Channel::Post];

    fn person(number: u8) -> Digest {
        Digest([number; 16])
    }

    #[derive(Clone, Debug)]
    enum Act {
        Grant(u8, Purpose, Channel, Option<i64>),
        Revoke(u8, Purpose, Channel),
        Bar(u8, Bar, bool),
        Forget(u8),
    }

    fn act() -> impl Strategy<Value = Act> {
        let purpose = || prop::sample::select(&PURPOSES[..]);
        let channel = || prop::sample::select(&CHANNELS[..]);
        let bar = prop::sample::select(&Bar::ALL[..]);
        let until = prop::option::of(1_i64..20);
        prop_oneof![
            6 => (0_u8..4, purpose(), channel(), until).prop_map(|(who, to, by, until)| Act::Grant(who, to, by, until)),
            3 => (0_u8..4, purpose(), channel()).prop_map(|(who, to, by)| Act::Revoke(who, to, by)),
            1 => (0_u8..4, bar, any::<bool>()).prop_map(|(who, bar, set)| Act::Bar(who, bar, set)),
            1 => (0_u8..4).prop_map(Act::Forget),
        ]
    }

    /// Whether there was room.
    fn apply(consents: &mut Consents, act: &Act, room: (i64, u32)) -> bool {
        match *act {
            Act::Grant(who, to, by, until) => {
                return consents.grant((person(who), to), by, until.map(|later| room.0 + later * 1000), room);
            }
            Act::Revoke(who, to, by) => consents.revoke((person(who), to), by, room.0),
            Act::Bar(who, bar, true) => consents.bar(person(who), bar),
            Act::Bar(who, bar, false) => consents.unbar(person(who), bar),
            Act::Forget(who) => consents.forget(person(who)),
        }
        true
    }

    proptest! {
        /// A start from a snapshot sweeps at other moments than the process before: entries of the log must fold alike.
        #[test]
        fn a_state_that_is_swept_at_other_times_decides_alike(
            history in prop::collection::vec((0_i64..9, act(), any::<bool>(), any::<bool>()), 1..200),
            most in 2_u32..12,
        ) {
            let (mut one, mut other) = (Consents::default(), Consents::default());
            let mut now = 1_700_000_000_000;
            for (later, act, is_swept, is_restored) in history {
                now += later * 500;
                if is_swept {
                    other.sweep(now);
                }
                if is_restored {
                    one = Consents::from_image(one.to_image());
                }
                prop_assert_eq!(apply(&mut one, &act, (now, most)), apply(&mut other, &act, (now, most)), "{:?}", act);
                for (who, to) in (0..4).flat_map(|who| PURPOSES.map(|to| (person(who), to))) {
                    for by in [Channel::Any, Channel::Email, Channel::Post, Channel::Sms] {
                        prop_assert_eq!(one.stand(who, to, by, now), other.stand(who, to, by, now), "{:?} {:?}", act, by);
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_ended_makes_room_and_a_refusal_needs_none() {
        let mut consents = Consents::default();
        let (now, most) = (1_700_000_000_000, 2);
        let mut grant =
            |who, until, now| consents.grant((person(who), Purpose::Marketing), Channel::Any, until, (now, most));
        assert!(grant(1, Some(now + 1000), now) && grant(2, None, now));
        assert!(!grant(3, None, now) && !grant(3, None, now + 999), "nothing has ended");
        assert!(grant(2, None, now), "what is there already takes no place");
        assert!(grant(3, None, now + 1000));
        consents.revoke((person(2), Purpose::Marketing), Channel::Email, now);
        assert_eq!(consents.len(), 3);
        assert!(!consents.stand(person(2), Purpose::Marketing, Channel::Email, now));
        assert!(consents.stand(person(2), Purpose::Marketing, Channel::Post, now));
    }

    /// Who asks to be forgotten is barred first: no bound may keep that waiting.
    #[test]
    fn a_bar_needs_no_room_and_takes_that_of_consents() {
        let mut consents = Consents::default();
        let (now, most) = (1_700_000_000_000, 2);
        let marketing = |who| (person(who), Purpose::Marketing);
        assert!((0..2).all(|who| consents.grant(marketing(who), Channel::Any, None, (now, most))));
        for who in 0..9 {
            consents.bar(person(who), Bar::Restricted);
            assert!(!consents.stand(person(who), Purpose::Marketing, Channel::Any, now), "{who}");
        }
        assert_eq!(consents.len(), 11);
        assert!(!consents.grant(marketing(3), Channel::Any, None, (now, most)), "consents keep to the bound");
        for who in 0..9 {
            consents.unbar(person(who), Bar::Restricted);
        }
        assert_eq!(consents.len(), 2);
        consents.forget(person(0));
        assert!(consents.grant(marketing(3), Channel::Any, None, (now, most)));
    }
}
