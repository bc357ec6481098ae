//! A hold as a value: it is settled once, and dropping it settles it too.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kiki_types::id::AuthorizationId;
use kiki_types::{Money, UnixMillis};

use crate::client::Inner;
use crate::error::Error;
use crate::model::{Authorization, Request};
use crate::settle::{Plan, Settle, Settlement, settle, sum_call};
use crate::settler::Job;

/// What becomes of money when the work was interrupted: by a panic, a cancelled future or a time limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interrupted {
    /// What [`OpenHold::spent_so_far`] was told last is captured; nothing told, nothing captured: all is given back.
    #[default]
    SpentSoFar,
    /// The money may have moved: all that is held is captured. Refund what turns out not to have moved.
    CaptureAll,
}

/// Reserved money, to be settled once: [`capture`](Hold::capture) or [`void`](Hold::void).
///
/// Dropped without either, it is given back (or captured, as [`OpenHold::spent_so_far`] says) by a thread of the client, also
/// while a panic unwinds and when the runtime is shutting down. [`crate::Client::close`] waits for that. If the process is
/// killed, the hold ends after its time to live ([`Request::ttl`]).
#[derive(Debug)]
#[must_use = "dropping a hold gives the money back"]
pub struct Hold {
    open: OpenHold,
    authorization: Authorization,
    on_drop: OnDrop,
}

#[derive(Clone, Copy, Debug)]
enum OnDrop {
    Nothing,
    Interrupted(Interrupted),
    Settle(Settle),
}

impl Hold {
    pub(crate) fn new(client: Arc<Inner>, request: Arc<Request>, authorization: Authorization) -> Self {
        let open = OpenHold(Arc::new(Open {
            client,
            request,
            id: authorization.id,
            currency: authorization.amount.currency,
            held: AtomicI64::new(authorization.amount.micros),
            spent: AtomicI64::new(0),
            expires_at: authorization.expires_at,
        }));
        Self { open, authorization, on_drop: OnDrop::Interrupted(Interrupted::default()) }
    }

    /// The authorization's id.
    #[must_use]
    pub fn id(&self) -> AuthorizationId {
        self.open.id()
    }

    /// How much is held.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.open.amount()
    }

    /// The authorization as it was when the money was reserved.
    #[must_use]
    pub fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// What the work needs of the hold. It can be cloned and sent; it settles nothing.
    #[must_use]
    pub fn open(&self) -> OpenHold {
        self.open.clone()
    }

    /// The same, settled differently when it is dropped unresolved.
    pub fn when_interrupted(mut self, interrupted: Interrupted) -> Self {
        self.on_drop = OnDrop::Interrupted(interrupted);
        self
    }

    /// Holds `by` more.
    ///
    /// # Errors
    /// As [`OpenHold::increase`].
    pub async fn increase(&self, by: Money) -> Result<Money, Error> {
        self.open.increase(by).await
    }

    /// The money has moved: settles the hold for `amount`; the rest is free at once. What is beyond the hold is recorded,
    /// and so is all of it if the hold has ended meanwhile. For nothing, the hold is voided.
    ///
    /// # Errors
    /// The service does not settle it, or did not answer within the deadline. In the latter case, and if this future is
    /// dropped, the client goes on trying in the background: the money did move.
    pub async fn capture(self, amount: Money) -> Result<Settlement, Error> {
        self.settle(Settle::for_cost(amount)).await
    }

    /// As [`Hold::capture`] for all that is held.
    ///
    /// # Errors
    /// As [`Hold::capture`].
    pub async fn capture_all(self) -> Result<Settlement, Error> {
        let amount = self.amount();
        self.capture(amount).await
    }

    /// Gives the money back. A hold that has ended already is as good.
    ///
    /// # Errors
    /// As [`Hold::capture`].
    pub async fn void(self) -> Result<Settlement, Error> {
        self.settle(Settle::Void).await
    }

    /// Leaves the hold open, for example for another process that knows its id; its time to live goes on.
    pub fn leave(mut self) -> AuthorizationId {
        self.on_drop = OnDrop::Nothing;
        self.id()
    }

    /// Settles it as after an interruption of the work.
    pub(crate) async fn interrupted(self) -> (Settle, Result<Settlement, Error>) {
        let settle = match self.on_drop {
            OnDrop::Interrupted(interrupted) => self.open.after(interrupted),
            OnDrop::Settle(settle) => settle,
            OnDrop::Nothing => Settle::Void,
        };
        (settle, self.settle(settle).await)
    }

    /// From here on a drop goes on with what was begun.
    pub(crate) async fn settle(mut self, how: Settle) -> Result<Settlement, Error> {
        self.on_drop = OnDrop::Settle(how);
        let client = &self.open.0.client;
        let settled = settle(&client.api, &self.open.plan(how), client.api.settings.deadline).await;
        if !settled.as_ref().is_err_and(is_worth_more) {
            self.on_drop = OnDrop::Nothing;
        }
        settled
    }
}

/// Whether trying on in the background may settle it yet.
pub(crate) fn is_worth_more(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Transport(_) | Error::Unexpected { .. })
}

impl Drop for Hold {
    fn drop(&mut self) {
        let settle = match self.on_drop {
            OnDrop::Nothing => return,
            OnDrop::Interrupted(interrupted) => self.open.after(interrupted),
            OnDrop::Settle(settle) => settle,
        };
        self.open.0.client.settler.hand_over(Job::Settle(self.open.plan(settle)));
    }
}

/// What the work sees of the hold that pays for it.
#[derive(Clone)]
pub struct OpenHold(Arc<Open>);

struct Open {
    client: Arc<Inner>,
    request: Arc<Request>,
    id: AuthorizationId,
    currency: kiki_types::Currency,
    held: AtomicI64,
    spent: AtomicI64,
    expires_at: Option<UnixMillis>,
}

impl OpenHold {
    /// The authorization's id.
    #[must_use]
    pub fn id(&self) -> AuthorizationId {
        self.0.id
    }

    /// How much is held.
    #[must_use]
    pub fn amount(&self) -> Money {
        Money::new(self.0.held.load(Ordering::Acquire), self.0.currency)
    }

    /// When the hold ends by itself.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixMillis> {
        self.0.expires_at
    }

    /// Says that `total` has moved up to here. If the work is interrupted or fails after this, that much is captured
    /// instead of nothing. Call it as the cost grows, for example for each part of a streamed answer; it sends nothing.
    /// A smaller total than before is ignored: money does not come back by itself.
    pub fn spent_so_far(&self, total: Money) {
        self.0.spent.fetch_max(total.micros, Ordering::AcqRel);
    }

    /// Holds `by` more. Returns what is held then. Asked again under the same key while no answer comes, it counts once.
    ///
    /// # Errors
    /// [`Error::Denied`] leaves the hold as it was. [`Error::Conflict`] if it has ended.
    pub async fn increase(&self, by: Money) -> Result<Money, Error> {
        let api = &self.0.client.api;
        let now: Authorization = api.call(&sum_call(self.0.id, "increase", by, api.settings.key())).await?;
        self.0.held.store(now.amount.micros, Ordering::Release);
        Ok(now.amount)
    }

    /// What the work said to have spent, or nothing.
    pub(crate) fn so_far(&self) -> Settle {
        Settle::for_cost(Money::new(self.0.spent.load(Ordering::Acquire), self.0.currency))
    }

    fn after(&self, interrupted: Interrupted) -> Settle {
        match interrupted {
            Interrupted::SpentSoFar => self.so_far(),
            Interrupted::CaptureAll => {
                let spent = self.0.spent.load(Ordering::Acquire);
                Settle::Capture(Money::new(spent.max(self.amount().micros), self.0.currency))
            }
        }
    }

    fn plan(&self, settle: Settle) -> Plan {
        Plan { id: self.0.id, held: self.amount(), settle, request: self.0.request.clone() }
    }
}

impl fmt::Debug for OpenHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenHold").field("id", &self.0.id).field("amount", &self.amount()).finish_non_exhaustive()
    }
}
