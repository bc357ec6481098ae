//! Looking at a state. Only counters change by it: they forget what no longer counts.

use std::ops::Bound;
use std::sync::Arc;

use kiki_types::{Bar, Channel, Purpose};

use crate::command::{Authorize, Names, Resolution};
use crate::digest::Digest;
use crate::kind::LimitKind;
use crate::limit::{Ask, Limit, Standing};
use crate::record::{First, Stage};
use crate::state::State;

/// Holds that are looked at to find when what is asked for would pass: those that end first. If later ones were
/// needed, the answer is when it passes without their ends, so it is at the latest then.
pub const RELEASES_MAX: usize = 512;

/// Where an authorization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The money is reserved.
    Held,
    /// The money is reserved, and somebody has to approve before it may move.
    Pending,
    /// Nothing was taken.
    Denied,
    /// It has ended.
    Ended(Resolution),
}

impl Status {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Denied => "denied",
            Self::Ended(resolution) => resolution.as_str(),
        }
    }
}

/// What is known of an authorization or of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationView {
    /// The account that pays.
    pub path: Arc<str>,
    /// What is or was held.
    pub amount: i64,
    /// What was captured.
    pub captured: i64,
    /// What of it came back.
    pub refunded: i64,
    /// Where it stands.
    pub status: Status,
    /// What refused it; empty if it was not denied.
    pub refused_by: Names,
    /// Whether it was recorded after the money had gone.
    pub is_record: bool,
    /// Whether it is captured in the step that authorizes or approves it.
    pub captures: bool,
    /// When the hold ends, or would have ended.
    pub until: i64,
    /// The index of the entry of the decision that made it.
    pub entry: Option<u64>,
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
    /// Whether its refusals are only told.
    pub is_shadow: bool,
}

/// What was said about a purpose, for all channels or for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentView {
    /// To what.
    pub purpose: Purpose,
    /// By which channel.
    pub channel: Channel,
    /// Whether it is agreed to now.
    pub stands: bool,
    /// When the consent ends or ended; `None`: never.
    pub until: Option<i64>,
}

impl State {
    /// How every limit on `path` stands for somebody who asks for `amount`, from the account upwards.
    pub fn standings(&mut self, path: &str, amount: i64) -> Vec<Standing> {
        self.stand(self.accounts.deepest(path).0, &Ask::of(amount))
    }

    /// How every limit on its path stands for somebody who asks for `request`, once more.
    pub fn explain(&mut self, request: &Authorize) -> Vec<Standing> {
        let (category, payee) = (request.category.as_deref(), request.payee.as_deref());
        self.stand(self.accounts.deepest(&request.path).0, &Ask { category, payee, ..Ask::of(request.amount) })
    }

    /// How every limit on its path stands for a hold that is to grow by `amount`.
    pub fn explain_increase(&mut self, id: Digest, amount: i64) -> Vec<Standing> {
        let record = self.records.by_id(id).and_then(|slot| self.records.get(slot));
        let Some((account, held)) = record.map(|record| (record.account, record.amount)) else { return Vec::new() };
        self.stand(Some(account), &Ask { total: held.saturating_add(amount), is_new: false, ..Ask::of(amount) })
    }

    fn stand(&mut self, nearest: Option<u32>, ask: &Ask<'_>) -> Vec<Standing> {
        let mut standings = Vec::new();
        let (mut soonest, mut next) = (None, nearest);
        while let Some(index) = next {
            let node = self.accounts.get(index);
            for &limit in &node.limits {
                let limit = &mut self.limits[limit as usize];
                let is_waited_for = node.held.count > 0 && limit.refuses(self.now, ask, node.held);
                let releases = if is_waited_for {
                    let soonest = soonest.get_or_insert_with(|| {
                        let slots = self.expiry.in_order().take(RELEASES_MAX);
                        let holds = slots.filter_map(|(until, slot)| Some((until, self.records.get(slot)?)));
                        holds.map(|(until, hold)| (until, hold.account, hold.amount)).collect::<Vec<_>>()
                    });
                    let here = soonest.iter().filter(|(_, account, _)| self.accounts.is_under(*account, index));
                    here.map(|&(until, _, amount)| (until, amount)).collect()
                } else {
                    Vec::new()
                };
                standings.push(limit.standing(self.now, ask, node.held, &releases));
            }
            next = node.parent();
        }
        standings
    }

    /// The limit `id`, as it was defined, and how it stands for somebody who asks for `amount`.
    pub fn standing_of(&mut self, id: &str, amount: i64) -> Option<(LimitView, Standing)> {
        let place = *self.limits_by_id.get(id)?;
        Some((self.view_at(place)?, self.stand_at(place, amount)?))
    }

    /// What is known of an authorization: open, or ended and not yet forgotten.
    #[must_use]
    pub fn authorization(&self, id: Digest) -> Option<AuthorizationView> {
        let record = self.records.get(self.records.by_id(id)?)?;
        let status = match record.stage {
            Stage::Held => Status::Held,
            Stage::Pending => Status::Pending,
            Stage::Denied => Status::Denied,
            Stage::Ended(resolution) => Status::Ended(resolution),
        };
        Some(AuthorizationView {
            path: self.accounts.get(record.account).path.clone(),
            amount: record.amount,
            captured: record.captured,
            refunded: record.refunded,
            status,
            refused_by: if status == Status::Denied { record.names().into() } else { Names::new() },
            is_record: record.first == First::Recorded,
            captures: record.capture,
            until: record.until,
            entry: record.entry.get(),
        })
    }

    /// The authorization that `key` made.
    #[must_use]
    pub fn authorization_of(&self, key: Digest) -> Option<Digest> {
        Some(self.records.get(self.records.by_key(key)?)?.id)
    }

    /// At most `most` requests of a tenant that wait for approval, after `after`, the oldest first.
    #[must_use]
    pub fn pending(&self, tenant: &str, after: Option<Digest>, most: usize) -> Vec<Digest> {
        let tenant = self.accounts.find(tenant).and_then(|root| self.tenants.get(&root));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        tenant.map_or_else(Vec::new, |tenant| {
            tenant.pending.range((from, Bound::Unbounded)).take(most).copied().collect()
        })
    }

    /// At most `most` accounts of a tenant at which nothing new is authorized, after `after`, in the order of their paths.
    #[must_use]
    pub fn stops(&self, tenant: &str, after: Option<&str>, most: usize) -> Vec<Arc<str>> {
        let tenant = self.accounts.find(tenant).and_then(|root| self.tenants.get(&root));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        tenant.map_or_else(Vec::new, |tenant| {
            tenant.stops.range::<str, _>((from, Bound::Unbounded)).take(most).cloned().collect()
        })
    }

    /// The policy of a tenant that is in force.
    #[must_use]
    pub fn policy(&self, tenant: &str) -> Option<Digest> {
        self.policies.get(&self.accounts.find(tenant)?).copied()
    }

    /// Open holds and kept authorizations of a tenant.
    #[must_use]
    pub fn counts(&self, tenant: &str) -> (u32, u32) {
        let tenant = self.accounts.find(tenant).and_then(|root| self.tenants.get(&root));
        tenant.map_or((0, 0), |tenant| (tenant.holds, tenant.authorizations))
    }

    /// Whether `subject` agrees to `purpose` by `channel`, and nothing stands against it.
    #[must_use]
    pub fn has_consent(&self, subject: Digest, purpose: Purpose, channel: Channel) -> bool {
        self.consents.stand(subject, purpose, channel, self.now)
    }

    /// What was said for `subject` about all channels and about single ones, and whether it stands now.
    #[must_use]
    pub fn consents_of(&self, subject: Digest) -> Vec<ConsentView> {
        let of = |purpose, channel| {
            let until = self.consents.said(subject, purpose, channel)?;
            Some(ConsentView { purpose, channel, stands: self.has_consent(subject, purpose, channel), until })
        };
        let all = Purpose::ALL.into_iter().flat_map(|purpose| Channel::ALL.map(|channel| (purpose, channel)));
        all.filter_map(|(purpose, channel)| of(purpose, channel)).collect()
    }

    /// What stands against `subject`'s consents.
    #[must_use]
    pub fn bars(&self, subject: Digest) -> Vec<Bar> {
        self.consents.bars_of(subject).collect()
    }

    /// Consents and people with bars that are kept, of all tenants.
    #[must_use]
    pub fn consents_kept(&self) -> usize {
        self.consents.len()
    }

    /// The last position of the entries that `source` handed over.
    #[must_use]
    pub fn position_of(&self, source: Digest) -> Option<i64> {
        self.sources.get(&source).copied()
    }

    /// The limit `id`, as it was defined.
    #[must_use]
    pub fn limit(&self, id: &str) -> Option<LimitView> {
        let limit = self.limits.get(*self.limits_by_id.get(id)? as usize)?;
        Some(self.view(limit))
    }

    /// At most `most` limits of a tenant behind the place `after`, in the order of their places, each with its place and
    /// how it stands for somebody who asks for `amount`. A limit keeps its place until it is removed.
    pub fn limits_of(
        &mut self,
        tenant: &str,
        after: Option<u32>,
        most: usize,
        amount: i64,
    ) -> Vec<(u32, LimitView, Standing)> {
        let tenant = self.accounts.find(tenant).and_then(|root| self.tenants.get(&root));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let places = tenant.map(|tenant| tenant.limits.range((from, Bound::Unbounded)).take(most).copied());
        let places: Vec<u32> = places.into_iter().flatten().collect();
        places
            .into_iter()
            .filter_map(|place| Some((place, self.view_at(place)?, self.stand_at(place, amount)?)))
            .collect()
    }

    fn view_at(&self, place: u32) -> Option<LimitView> {
        self.limits.get(place as usize).map(|limit| self.view(limit))
    }

    fn stand_at(&mut self, place: u32, amount: i64) -> Option<Standing> {
        let limit = self.limits.get_mut(place as usize)?;
        let held = self.accounts.get(limit.account).held;
        Some(limit.standing(self.now, &Ask::of(amount), held, &[]))
    }

    fn view(&self, limit: &Limit) -> LimitView {
        let path = self.accounts.get(limit.account).path.clone();
        LimitView { id: limit.about.id.clone(), path, kind: limit.about.kind.clone(), is_shadow: limit.is_shadow }
    }
}
