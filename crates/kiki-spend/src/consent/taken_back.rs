//! Which consents were taken back lately: a confirmation of what was asked for before comes too late.
//!
//! The latest [`KEPT_MS`] are kept, and a bounded number of them. A confirmation of what was asked for before the latest
//! one that is no longer kept is refused, whoever it is of: nothing stands by a gap in this memory.

use std::collections::{HashMap, VecDeque};

use kiki_types::{Channel, Purpose};
use serde::{Deserialize, Serialize};

use super::Consent;
use crate::digest::{BuildFolding, Digest};

/// How long is kept what was taken back: longer than a confirmation may take.
const KEPT_MS: i64 = 72 * 3600 * 1000;

type Own = (Digest, Purpose, Channel);

/// What was taken back, in the order of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct TakenBack {
    /// What, when, and the index of its entry.
    kept: VecDeque<(Own, i64, u64)>,
    /// The index of the latest entry that takes it back.
    latest: HashMap<Own, u64, BuildFolding>,
    /// What was asked for before this entry may have been taken back by one that is not kept any more.
    floor: u64,
}

/// As plain data.
#[derive(Serialize, Deserialize)]
pub(crate) struct TakenBackImage {
    kept: Vec<(Own, i64, u64)>,
    floor: u64,
}

impl TakenBack {
    /// Remembers at `now` that the entry `index` takes it back; at most `most` are remembered.
    pub(crate) fn note(&mut self, (subject, purpose): Consent, channel: Channel, (now, most): (i64, u32), index: u64) {
        self.forget_old(now);
        while !self.kept.is_empty() && self.kept.len() >= most as usize {
            self.forget_first();
        }
        let own = (subject, purpose, channel);
        self.kept.push_back((own, now, index));
        self.latest.insert(own, index);
    }

    /// Whether any of `channel` was taken back since the log had `asked` entries.
    pub(crate) fn is_since(&mut self, (subject, purpose): Consent, channel: Channel, asked: u64, now: i64) -> bool {
        self.forget_old(now);
        let is_about = |by: Channel| by == channel || by == Channel::Any || channel == Channel::Any;
        let at = |by: Channel| self.latest.get(&(subject, purpose, by)).copied();
        let latest = Channel::ALL.into_iter().filter(|by| is_about(*by)).filter_map(at).max();
        asked < self.floor || latest.is_some_and(|index| index >= asked)
    }

    fn forget_old(&mut self, now: i64) {
        while self.kept.front().is_some_and(|(_, at, _)| at.saturating_add(KEPT_MS) <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((own, _, index)) = self.kept.pop_front() else { return };
        self.floor = index + 1;
        if self.latest.get(&own) == Some(&index) {
            self.latest.remove(&own);
        }
    }

    pub(crate) fn to_image(&self) -> TakenBackImage {
        TakenBackImage { kept: self.kept.iter().copied().collect(), floor: self.floor }
    }

    pub(crate) fn from_image(image: TakenBackImage) -> Self {
        let TakenBackImage { kept, floor } = image;
        let latest = kept.iter().map(|&(own, _, index)| (own, index)).collect();
        Self { kept: kept.into(), latest, floor }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const BY: [Channel; 3] = [Channel::Any, Channel::Email, Channel::Sms];

    fn ann(number: u8) -> Consent {
        (Digest([number; 16]), Purpose::Marketing)
    }

    proptest! {
        /// Against all that was ever taken back. What is not kept any more is only ever refused.
        #[test]
        fn what_was_taken_back_since_it_was_asked_for_is_known_whatever_is_kept(
            history in prop::collection::vec((0_u8..3, prop::sample::select(&BY[..]), 0_i64..40, any::<bool>()), 1..60),
            asked in prop::collection::vec((0_u8..3, prop::sample::select(&BY[..]), 0_u64..60), 20),
            most in prop::sample::select(vec![3_u32, 1_000]),
        ) {
            let (mut memory, mut all, mut now) = (TakenBack::default(), Vec::new(), NOW);
            for (index, (who, by, hours, is_restored)) in history.iter().enumerate() {
                now += hours * 3_600_000;
                memory.note(ann(*who), *by, (now, most), index as u64);
                all.push((*who, *by, now));
                if *is_restored {
                    memory = TakenBack::from_image(memory.to_image());
                }
                prop_assert!(memory.kept.len() <= most as usize && memory.latest.len() <= memory.kept.len());
            }
            for (who, by, asked) in asked {
                let meets = |other: Channel| other == by || other == Channel::Any || by == Channel::Any;
                let since = all.iter().skip(asked as usize);
                let expected = since.into_iter().any(|(other, to, _)| *other == who && meets(*to));
                let found = memory.is_since(ann(who), by, asked, now);
                let is_kept = all.iter().skip(asked as usize).all(|(_, _, at)| at + KEPT_MS > now);
                prop_assert!(found || !expected, "{who} {by} {asked}");
                prop_assert!(!found || expected || !is_kept || most == 3, "{who} {by} {asked}: nothing was");
            }
        }
    }

    #[test]
    fn what_is_forgotten_refuses_whatever_was_asked_for_before_it() {
        let mut memory = TakenBack::default();
        memory.note(ann(1), Channel::Any, (NOW, 2), 10);
        assert!(memory.is_since(ann(1), Channel::Email, 10, NOW) && !memory.is_since(ann(1), Channel::Email, 11, NOW));
        assert!(!memory.is_since(ann(2), Channel::Email, 10, NOW), "hers alone");
        assert!(memory.is_since(ann(2), Channel::Email, 10, NOW + KEPT_MS), "nobody knows any more");
        assert!(!memory.is_since(ann(2), Channel::Email, 11, NOW + KEPT_MS));
        for index in 20..23 {
            memory.note(ann(3), Channel::Any, (NOW, 2), index);
        }
        assert!(memory.is_since(ann(2), Channel::Email, 20, NOW), "there was no room");
        assert!(!memory.is_since(ann(2), Channel::Email, 21, NOW));
    }
}
