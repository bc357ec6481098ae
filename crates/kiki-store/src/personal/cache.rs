//! Who was found a moment ago: what the next question about a person does not ask SQL for.
//!
//! It holds keys and pseudonyms by locator, no customer id. Another process's erasure is noticed when an entry ends; one of
//! this process at once, also by who is just being read.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiki_types::UnixMillis;

use super::sealed::Secret;
use super::subject::SubjectId;

/// Entries of one generation; there are two.
const GENERATION_MAX: usize = 50_000;
/// How long an entry counts.
const LIFE_MS: i64 = 60_000;

/// A person but for their name, which whoever asks knows.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) id: SubjectId,
    pub(crate) pseudonym: [u8; 16],
    pub(crate) restricted: bool,
    pub(crate) objected: bool,
    pub(crate) key: Arc<Secret>,
    pub(crate) used_on: i64,
}

/// The cache.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<[u8; 32], (Known, UnixMillis)>,
    old: HashMap<[u8; 32], (Known, UnixMillis)>,
    forgotten: u64,
}

/// How often something was forgotten when a reading began.
#[derive(Clone, Copy)]
pub(crate) struct Mark(u64);

impl Cache {
    fn inner(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is found by `locator`, if that was read not long before `now`.
    pub(crate) fn get(&self, locator: &[u8; 32], now: UnixMillis) -> Option<Known> {
        let inner = self.inner();
        let (known, since) = inner.young.get(locator).or_else(|| inner.old.get(locator))?;
        // A clock that was put back ends it as well.
        (0..LIFE_MS).contains(&(now.0 - since.0)).then(|| known.clone())
    }

    /// To be taken before SQL is asked.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.inner().forgotten)
    }

    /// Keeps what SQL answered, unless somebody was forgotten since `mark`.
    pub(crate) fn put(&self, mark: Mark, locator: [u8; 32], known: Known, now: UnixMillis) {
        let mut inner = self.inner();
        if inner.forgotten != mark.0 {
            return;
        }
        if inner.young.len() >= GENERATION_MAX {
            inner.old = std::mem::take(&mut inner.young);
        }
        inner.young.insert(locator, (known, now));
    }

    /// Remembers that the person is used on `day`. `true`: that is news.
    pub(crate) fn used(&self, locator: &[u8; 32], day: i64) -> bool {
        let mut inner = self.inner();
        let Generations { young, old, .. } = &mut *inner;
        let known = young.get_mut(locator).or_else(|| old.get_mut(locator));
        known.is_some_and(|(known, _)| std::mem::replace(&mut known.used_on, day) < day)
    }

    /// Drops `ids`, and whatever is being read at this moment.
    pub(crate) fn forget(&self, ids: &[SubjectId]) {
        let ids: HashSet<_> = ids.iter().collect();
        let mut inner = self.inner();
        inner.forgotten += 1;
        inner.young.retain(|_, (known, _)| !ids.contains(&known.id));
        inner.old.retain(|_, (known, _)| !ids.contains(&known.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: u128) -> Known {
        let id = uuid::Uuid::from_u128(id).into();
        Known { id, pseudonym: [0; 16], restricted: false, objected: false, key: Arc::default(), used_on: 0 }
    }

    #[test]
    fn who_is_forgotten_is_not_kept_by_a_reading_that_began_before() {
        let (cache, now) = (Cache::default(), UnixMillis(0));
        let mark = cache.mark();
        cache.put(mark, [1; 32], known(1), now);
        assert!(cache.get(&[1; 32], now).is_some());
        assert!(cache.get(&[1; 32], UnixMillis(LIFE_MS)).is_none(), "its time is over");
        cache.forget(&[known(1).id]);
        assert!(cache.get(&[1; 32], now).is_none());
        cache.put(mark, [1; 32], known(1), now);
        assert!(cache.get(&[1; 32], now).is_none());
    }

    #[test]
    fn it_holds_two_generations_at_the_most() {
        let cache = Cache::default();
        let mark = cache.mark();
        for n in 0..3 * GENERATION_MAX as u64 {
            let mut locator = [0; 32];
            locator[..8].copy_from_slice(&n.to_be_bytes());
            cache.put(mark, locator, known(n.into()), UnixMillis(0));
        }
        let inner = cache.inner();
        assert_eq!(inner.young.len() + inner.old.len(), 2 * GENERATION_MAX);
    }
}
