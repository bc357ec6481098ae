//! A state as plain data, for snapshots. What can be derived (sums of holds, indexes, the order of expiry) is left
//! out and computed again, so that it cannot disagree.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::account::Accounts;
use crate::consent::{Consents, ConsentsImage};
use crate::digest::Digest;
use crate::limit::Limit;
use crate::record::{Records, Stage};
use crate::state::{Bounds, State};

/// What is kept of a tenant beside its authorizations.
#[derive(Serialize, Deserialize)]
struct TenantImage {
    root: u32,
    ended: VecDeque<u32>,
    ended_keyless: VecDeque<u32>,
    policy: Option<Digest>,
    denials: (i64, u32),
}

/// An image that owns its parts (`Image<Vec<Limit>, Records>`), or one that borrows the large ones for writing.
#[derive(Serialize, Deserialize)]
pub(crate) struct Image<L, R> {
    now: i64,
    booking: u64,
    entries: u64,
    /// Paths in the order of their indexes, and whether nothing new is authorized there.
    accounts: Vec<(Arc<str>, bool)>,
    limits: L,
    limits_free: Vec<u32>,
    records: R,
    tenants: Vec<TenantImage>,
    consents: ConsentsImage,
    sources: Vec<(Digest, i64)>,
}

impl State {
    pub(crate) fn to_image(&self) -> Image<&[Limit], &Records> {
        let tenants = self.tenants.iter().map(|(&root, tenant)| TenantImage {
            root,
            ended: tenant.ended.clone(),
            ended_keyless: tenant.ended_keyless.clone(),
            policy: self.policies.get(&root).copied(),
            denials: tenant.denials,
        });
        let mut tenants: Vec<_> = tenants.collect();
        tenants.sort_unstable_by_key(|tenant| tenant.root);
        Image {
            now: self.now,
            booking: self.booking,
            entries: self.entries,
            accounts: self.accounts.all().iter().map(|account| (account.path.clone(), account.is_stopped)).collect(),
            limits: &self.limits,
            limits_free: self.limits_free.clone(),
            records: &self.records,
            tenants,
            consents: self.consents.to_image(),
            sources: self.sources.iter().map(|(&source, &position)| (source, position)).collect(),
        }
    }

    /// The state of an image; `None` if the image does not hang together.
    pub(crate) fn from_image(image: Image<Vec<Limit>, Records>, bounds: Bounds) -> Option<Self> {
        let mut state = Self::new(bounds);
        (state.now, state.booking, state.entries) = (image.now, image.booking, image.entries);
        state.accounts = accounts(&image.accounts)?;
        let is_account = |account: u32| (account as usize) < image.accounts.len();
        for tenant in image.tenants {
            if !is_account(tenant.root) {
                return None;
            }
            let known = state.tenants.entry(tenant.root).or_default();
            (known.ended, known.ended_keyless) = (tenant.ended, tenant.ended_keyless);
            known.denials = tenant.denials;
            state.policies.extend(tenant.policy.map(|policy| (tenant.root, policy)));
        }
        for (index, (path, is_stopped)) in (0_u32..).zip(&image.accounts) {
            if *is_stopped {
                state.tenant(index).stops.insert(path.clone());
            }
        }
        state.limits_free = image.limits_free;
        let free: HashSet<u32> = state.limits_free.iter().copied().collect();
        for (index, limit) in (0_u32..).zip(&image.limits) {
            if free.contains(&index) {
                continue;
            }
            if !is_account(limit.account) {
                return None;
            }
            state.limits_by_id.insert(limit.about.id.clone(), index);
            state.accounts.get_mut(limit.account).limits.push(index);
            state.tenant(limit.account).limits.insert(index);
        }
        state.limits = image.limits;
        state.records = image.records;
        state.index_records()?;
        state.consents = Consents::from_image(image.consents);
        state.sources = image.sources.into_iter().collect();
        Some(state)
    }

    fn index_records(&mut self) -> Option<()> {
        let mut open = Vec::new();
        let accounts = self.accounts.all().len();
        for (slot, record) in self.records.iter() {
            if record.account as usize >= accounts {
                return None;
            }
            let root = self.accounts.get(record.account).root;
            let tenant = self.tenants.entry(root).or_default();
            tenant.authorizations += 1;
            if record.stage.is_open() {
                tenant.holds += 1;
                open.push((record.until, slot, record.account, record.amount));
            }
            if record.stage == Stage::Pending {
                tenant.pending.insert(record.id);
            }
        }
        for (until, slot, account, amount) in open {
            self.expiry.insert(until, slot, &mut self.records);
            self.accounts.hold(account, amount, 1);
        }
        Some(())
    }
}

fn accounts(paths: &[(Arc<str>, bool)]) -> Option<Accounts> {
    let mut accounts = Accounts::default();
    for (index, (path, is_stopped)) in (0_u32..).zip(paths) {
        if !crate::account::check(path) || accounts.intern(path) != index {
            return None;
        }
        accounts.put_stop(index, *is_stopped);
    }
    Some(accounts)
}
