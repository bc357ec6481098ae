//! A state as plain data, for snapshots. What can be derived (sums of holds, indexes, the order of expiry) is left
//! out and computed again, so that it cannot disagree.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

use kiki_types::Purpose;

use crate::account::Accounts;
use crate::digest::Digest;
use crate::limit::Limit;
use crate::record::{Records, Stage};
use crate::state::{Bounds, State};

/// The ended authorizations of the tenant with this root: with a key, and without.
type Ended = (u32, VecDeque<(i64, u32)>, VecDeque<u32>);

#[derive(Serialize, Deserialize)]
pub(crate) struct Image {
    now: i64,
    /// Paths, in the order of their indexes.
    accounts: Vec<Arc<str>>,
    limits: Vec<Limit>,
    records: Records,
    ended: Vec<Ended>,
    consents: Vec<(Digest, Purpose)>,
    sources: Vec<(Digest, i64)>,
}

impl State {
    pub(crate) fn to_image(&self) -> Image {
        let tenants = self.tenants.iter();
        let mut ended: Vec<Ended> =
            tenants.map(|(&root, tenant)| (root, tenant.ended.clone(), tenant.ended_keyless.clone())).collect();
        ended.sort_unstable_by_key(|&(root, ..)| root);
        let mut consents: Vec<_> = self.consents.iter().copied().collect();
        consents.sort_unstable();
        Image {
            now: self.now,
            accounts: self.accounts.all().iter().map(|account| account.path.clone()).collect(),
            limits: self.limits.clone(),
            records: self.records.clone(),
            ended,
            consents,
            sources: self.sources.iter().map(|(&source, &position)| (source, position)).collect(),
        }
    }

    /// The state of an image; `None` if the image does not hang together.
    pub(crate) fn from_image(image: Image, bounds: Bounds) -> Option<Self> {
        let mut state = Self::new(bounds);
        state.now = image.now;
        state.accounts = accounts(&image.accounts)?;
        for (index, limit) in (0_u32..).zip(&image.limits) {
            if limit.account as usize >= image.accounts.len() {
                return None;
            }
            state.limits_by_id.insert(limit.id.clone(), index);
            state.accounts.get_mut(limit.account).limits.push(index);
        }
        state.limits = image.limits;
        state.records = image.records;
        state.index_records()?;
        for (root, ended, ended_keyless) in image.ended {
            let tenant = state.tenants.entry(root).or_default();
            (tenant.ended, tenant.ended_keyless) = (ended, ended_keyless);
        }
        state.consents = image.consents.into_iter().collect();
        state.sources = image.sources.into_iter().collect();
        Some(state)
    }

    fn index_records(&mut self) -> Option<()> {
        let mut open = Vec::new();
        for (slot, record) in self.records.iter() {
            if record.account as usize >= self.accounts.all().len() {
                return None;
            }
            let root = self.accounts.get(record.account).root;
            self.tenants.entry(root).or_default().authorizations += 1;
            self.by_id.insert(record.id, slot);
            if let Some(key) = record.key {
                self.by_key.insert(key, slot);
            }
            if record.stage == Stage::Held {
                open.push((record.until, record.id, slot, record.account, record.amount));
            }
        }
        for (until, id, slot, account, amount) in open {
            self.expiry.insert(until, id, slot, &mut self.records);
            self.accounts.hold(account, amount, true);
        }
        Some(())
    }
}

fn accounts(paths: &[Arc<str>]) -> Option<Accounts> {
    let mut accounts = Accounts::default();
    for (index, path) in (0_u32..).zip(paths) {
        if !crate::account::check(path) || accounts.intern(path) != index {
            return None;
        }
    }
    Some(accounts)
}
