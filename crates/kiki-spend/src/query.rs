//! Looking at a state. Only windows change by it: they forget what no longer counts.

use std::sync::Arc;

use kiki_types::Purpose;

use crate::command::Resolution;
use crate::digest::Digest;
use crate::limit::{Limit, LimitKind, Standing};
use crate::record::{First, Stage};
use crate::state::State;

/// What is known of an authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationView {
    /// The account that pays.
    pub path: Arc<str>,
    /// What was asked for.
    pub amount: i64,
    /// What was captured.
    pub captured: i64,
    /// `None` while it is held or if it was denied.
    pub resolution: Option<Resolution>,
    /// The limits that refused it; empty if it was not denied.
    pub refused_by: Box<[Arc<str>]>,
    /// When the hold ends, or would have ended.
    pub until: i64,
}

/// A limit as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// Its id.
    pub id: Arc<str>,
    /// The account that it governs.
    pub path: Arc<str>,
    /// What it limits.
    pub kind: LimitKind,
}

impl State {
    /// How every limit on `path` stands for somebody who asks for `amount`, from the account upwards.
    pub fn standings(&mut self, path: &str, amount: i64) -> Vec<Standing> {
        let mut standings = Vec::new();
        for node in self.accounts.upwards(self.accounts.deepest(path).0) {
            for &index in &node.limits {
                standings.push(self.limits[index as usize].standing(self.now, amount, node.held));
            }
        }
        standings
    }

    /// The limit `id`, as it was defined, and how it stands for somebody who asks for `amount`.
    pub fn standing_of(&mut self, id: &str, amount: i64) -> Option<(LimitView, Standing)> {
        let index = *self.limits_by_id.get(id)? as usize;
        let view = self.view(self.limits.get(index)?);
        let limit = self.limits.get_mut(index)?;
        let held = self.accounts.get(limit.account).held;
        Some((view, limit.standing(self.now, amount, held)))
    }

    /// What is known of an authorization: open, or ended and not yet forgotten.
    #[must_use]
    pub fn authorization(&self, id: Digest) -> Option<AuthorizationView> {
        let record = self.records.get(*self.by_id.get(&id)?)?;
        Some(AuthorizationView {
            path: self.accounts.get(record.account).path.clone(),
            amount: record.amount,
            captured: record.captured,
            resolution: match record.stage {
                Stage::Ended(resolution) => Some(resolution),
                Stage::Held | Stage::Denied => None,
            },
            refused_by: match &record.first {
                First::Denied(refused_by) => refused_by.clone(),
                First::Held | First::Captured => Box::default(),
            },
            until: record.until,
        })
    }

    /// The authorization that `key` made.
    #[must_use]
    pub fn authorization_of(&self, key: Digest) -> Option<Digest> {
        Some(self.records.get(*self.by_key.get(&key)?)?.id)
    }

    /// Whether `subject` agrees to `purpose`.
    #[must_use]
    pub fn has_consent(&self, subject: Digest, purpose: Purpose) -> bool {
        self.consents.contains(&(subject, purpose))
    }

    /// The limit `id`, as it was defined.
    #[must_use]
    pub fn limit(&self, id: &str) -> Option<LimitView> {
        let limit = self.limits.get(*self.limits_by_id.get(id)? as usize)?;
        Some(self.view(limit))
    }

    /// All limits on `root` and below, in the order of their definition.
    pub fn limits_under<'a>(&'a self, root: &'a str) -> impl Iterator<Item = LimitView> + 'a {
        let root = self.accounts.deepest(root).0.filter(|&index| &*self.accounts.get(index).path == root);
        let is_below = move |account: u32| root.is_some_and(|root| self.accounts.get(account).root == root);
        self.limits.iter().filter(move |limit| is_below(limit.account)).map(|limit| self.view(limit))
    }

    fn view(&self, limit: &Limit) -> LimitView {
        LimitView { id: limit.id.clone(), path: self.accounts.get(limit.account).path.clone(), kind: limit.kind }
    }
}
