//! Accounts: paths such as `tenant/desk/agent`, as a tree in which each node knows what is held at or below it.
//!
//! Invariant: a node's `held` and `holds` are the sum and the number of the open holds of its subtree.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use kiki_types::tenant::is_name;
use smallvec::SmallVec;

use crate::ahead::AHEAD;
use crate::limit::Held;

/// Parts of a path at the most.
pub const DEPTH_MAX: usize = 8;

/// Whether `path` is 1 to 8 names (see [`is_name`]) with slashes between them.
#[must_use]
pub fn check(path: &str) -> bool {
    path.split('/').count() <= DEPTH_MAX && path.split('/').all(is_name)
}

/// The topmost account of `path`, which stands for the tenant.
#[must_use]
pub fn tenant_of(path: &str) -> &str {
    path.split_once('/').map_or(path, |(tenant, _)| tenant)
}

/// A node. What every decision touches comes first and fits into one line of the cache.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Account {
    pub(crate) held: Held,
    /// Indexes of the limits on this node, ascending.
    pub(crate) limits: SmallVec<[u32; 4]>,
    /// The topmost account of its path, which stands for the tenant.
    pub(crate) root: u32,
    /// The account above, or [`NONE`].
    above: u32,
    pub(crate) path: Arc<str>,
    /// On a root: the accounts of its tree, itself among them.
    pub(crate) tree: u32,
    /// Nothing new is authorized here and below.
    pub(crate) is_stopped: bool,
}

/// Stands for no account.
const NONE: u32 = u32::MAX;

const _: () = assert!(std::mem::offset_of!(Account, path) == 64);

impl Account {
    /// The account above.
    #[inline]
    pub(crate) fn parent(&self) -> Option<u32> {
        (self.above != NONE).then_some(self.above)
    }
}

/// The tree. Nodes are never removed; callers ask [`Accounts::has_room`] first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    nodes: Vec<Account>,
    by_path: HashTable<Entry>,
    hasher: RandomState,
    /// Accounts with a stop of their own.
    stopped: u32,
    ahead: Ahead,
}

/// Places that were found before they are asked for, in the order of asking. One that is not what is asked for then is
/// passed over, so they save time and change no answer.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    found: [Option<Entry>; AHEAD],
    next: usize,
}

/// A place of the table of paths. A short path lies in it, so that finding one touches nothing else.
#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u32,
    short: Short,
}

/// A path of up to 27 bytes, then its length; [`LONG`] for a longer one.
type Short = [u8; 28];
/// Stands for the length of a path that is not short.
const LONG: u8 = u8::MAX;

fn short(path: &str) -> Short {
    let mut short = [0; 28];
    match short.get_mut(..path.len()) {
        Some(bytes) if path.len() < 28 => {
            bytes.copy_from_slice(path.as_bytes());
            short[27] = u8::try_from(path.len()).unwrap_or(LONG);
        }
        _ => short[27] = LONG,
    }
    short
}

impl Accounts {
    pub(crate) fn get(&self, index: u32) -> &Account {
        &self.nodes[index as usize]
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Account {
        &mut self.nodes[index as usize]
    }

    pub(crate) fn all(&self) -> &[Account] {
        &self.nodes
    }

    /// The node of `path`.
    #[inline]
    pub(crate) fn find(&self, path: &str) -> Option<u32> {
        self.entry(path).map(|entry| entry.index)
    }

    #[inline]
    fn entry(&self, path: &str) -> Option<&Entry> {
        self.by_path.find(self.hasher.hash_one(path), |entry| self.is_entry(entry, path))
    }

    /// Compares where the bytes lie: a copy that is read back at once would wait for itself.
    #[inline]
    fn is_entry(&self, entry: &Entry, path: &str) -> bool {
        let length = usize::from(entry.short[27]);
        match entry.short.get(..length) {
            Some(short) => short == path.as_bytes(),
            None => *self.nodes[entry.index as usize].path == *path,
        }
    }

    /// Finds the nodes of `paths`, for [`Accounts::deepest_next`] to be asked for them in that order: at most [`AHEAD`].
    pub(crate) fn look_ahead<'a>(&mut self, paths: impl Iterator<Item = &'a str>) -> [Option<u32>; AHEAD] {
        let mut found = [None; AHEAD];
        for (found, path) in found.iter_mut().zip(paths) {
            *found = self.entry(path).copied();
        }
        self.ahead = Ahead { found, next: 0 };
        found.map(|entry| entry.map(|entry| entry.index))
    }

    /// As [`Accounts::deepest`], from what was looked up ahead if that is it.
    #[inline]
    pub(crate) fn deepest_next(&mut self, path: &str) -> (Option<u32>, u32) {
        let next = self.ahead.found.get(self.ahead.next).copied().flatten();
        self.ahead.next += 1;
        match next {
            Some(entry) if self.is_entry(&entry, path) => (Some(entry.index), 0),
            _ => self.deepest(path),
        }
    }

    /// The node of `path` or of its nearest ancestor that exists, and how many parts of the path have none.
    #[inline]
    pub(crate) fn deepest(&self, path: &str) -> (Option<u32>, u32) {
        let mut prefix = path;
        let mut missing = 0;
        loop {
            if let Some(index) = self.find(prefix) {
                return (Some(index), missing);
            }
            missing += 1;
            match prefix.rfind('/') {
                Some(slash) => prefix = &prefix[..slash],
                None => return (None, missing),
            }
        }
    }

    /// Whether `missing` accounts can be added below `nearest` when a tenant may have `most`.
    pub(crate) fn has_room(&self, nearest: Option<u32>, missing: u32, most: u32) -> bool {
        let tree = nearest.map_or(0, |index| self.get(self.get(index).root).tree);
        missing == 0 || tree.saturating_add(missing) <= most
    }

    /// The node of `path`, made with its ancestors if need be.
    pub(crate) fn intern(&mut self, path: &str) -> u32 {
        if let Some(index) = self.find(path) {
            return index;
        }
        let parent = path.rfind('/').map(|slash| self.intern(&path[..slash]));
        let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let root = parent.map_or(index, |parent| self.get(parent).root);
        let (limits, held, above) = (SmallVec::new(), Held::default(), parent.unwrap_or(NONE));
        self.nodes.push(Account { held, limits, root, above, path: path.into(), tree: 0, is_stopped: false });
        let hash = |entry: &Entry| self.hasher.hash_one(&*self.nodes[entry.index as usize].path);
        self.by_path.insert_unique(self.hasher.hash_one(path), Entry { index, short: short(path) }, hash);
        self.get_mut(root).tree += 1;
        index
    }

    /// `from` and all its ancestors.
    pub(crate) fn upwards(&self, from: Option<u32>) -> impl Iterator<Item = &Account> {
        std::iter::successors(from.map(|index| self.get(index)), |node| node.parent().map(|index| self.get(index)))
    }

    /// Whether `account` is `above` or below it.
    pub(crate) fn is_under(&self, account: u32, above: u32) -> bool {
        let mut upwards = std::iter::successors(Some(account), |&index| self.get(index).parent());
        upwards.any(|index| index == above)
    }

    /// Whether nothing new is authorized at `account`.
    #[inline]
    pub(crate) fn is_stopped(&self, account: Option<u32>) -> bool {
        self.stopped > 0 && self.upwards(account).any(|node| node.is_stopped)
    }

    /// Stops `account`, or takes that back.
    pub(crate) fn put_stop(&mut self, account: u32, is_stopped: bool) {
        let was_stopped = std::mem::replace(&mut self.get_mut(account).is_stopped, is_stopped);
        self.stopped = self.stopped + u32::from(is_stopped) - u32::from(was_stopped);
    }

    /// What is held at `account` changes by `amount` and `count` holds.
    #[inline]
    pub(crate) fn hold(&mut self, account: u32, amount: i64, count: i32) {
        let mut next = Some(account);
        while let Some(index) = next {
            let node = self.get_mut(index);
            node.held.amount += i128::from(amount);
            node.held.count = node.held.count.wrapping_add_signed(count);
            next = node.parent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_with_slashes_between() {
        assert!(check("t") && check("t/desk/agent-7/c.1/email"));
        for bad in ["", "/", "t/", "/t", "t//a", "t/a b", "t/../u", "a/b/c/d/e/f/g/h/i"] {
            assert!(!check(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_is_held_counts_in_every_account_above() {
        let mut accounts = Accounts::default();
        let leaf = accounts.intern("t/a/x");
        let other = accounts.intern("t/b");
        accounts.hold(leaf, 5, 1);
        accounts.hold(other, 7, 1);
        accounts.hold(leaf, -5, -1);
        let held = |path: &str| accounts.get(accounts.deepest(path).0.unwrap()).held.amount;
        assert_eq!([held("t"), held("t/a"), held("t/a/x"), held("t/b"), held("t/b/none")], [7, 0, 0, 7, 7]);
        assert_eq!((accounts.get(0).held.count, accounts.get(0).tree), (1, 4));
        assert!(accounts.is_under(leaf, 0) && !accounts.is_under(other, leaf));
        let has_room = |path: &str, most| {
            let (nearest, missing) = accounts.deepest(path);
            accounts.has_room(nearest, missing, most)
        };
        assert!(has_room("t/c", 5) && !has_room("t/c/d", 5) && has_room("t/a", 0));
    }
}
