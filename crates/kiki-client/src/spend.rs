//! Reserve, run, settle: one call around the work that costs something.

use std::future::Future;
use std::time::Duration;

use kiki_types::{Money, UnixMillis};

use crate::client::Client;
use crate::error::Error;
use crate::hold::{Hold, Interrupted, OpenHold};
use crate::model::Request;
use crate::settle::{Settle, Settlement};

/// A spend that is about to happen: made by [`Client::spend`], done by [`Spend::run`].
#[derive(Debug)]
#[must_use = "nothing is reserved before `run`"]
pub struct Spend {
    client: Client,
    request: Request,
    time_limit: Option<Duration>,
    interrupted: Interrupted,
    approval: Option<Duration>,
    at_least: Money,
}

/// What the work cost, and what it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<T> {
    cost: Cost,
    value: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    Amount(Money),
    All,
    SoFar,
}

impl<T> Settled<T> {
    /// It cost `amount`. What is held beyond is free at once; what went beyond the hold is recorded.
    pub const fn amount(amount: Money, value: T) -> Self {
        Self { cost: Cost::Amount(amount), value }
    }

    /// It cost all that is held.
    pub const fn all(value: T) -> Self {
        Self { cost: Cost::All, value }
    }

    /// It cost what [`OpenHold::spent_so_far`] was told last.
    pub const fn so_far(value: T) -> Self {
        Self { cost: Cost::SoFar, value }
    }
}

/// The work is done and paid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Spent<T> {
    /// What the work made.
    pub value: T,
    /// How the hold was settled.
    pub settlement: Settlement,
}

/// Why a spend did not end with both its work and its settlement done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpendError<T, E> {
    /// The money was not reserved, so the work was not begun.
    #[error(transparent)]
    Refused(Error),
    /// The work failed. The money was given back, or captured as far as [`OpenHold::spent_so_far`] said. If the service
    /// could not be reached for that, the client goes on in the background.
    #[error("the work failed")]
    Work(#[source] E),
    /// The work took longer than its time limit and was dropped.
    #[error("the work did not end within {limit:?}; {} was settled", .captured.decimal())]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// What was captured; zero if the money was given back.
        captured: Money,
    },
    /// The work is done, but its cost is not settled yet. The money is still held, and the client goes on in the
    /// background unless the error is final.
    #[error("the work is done, but {} is not settled; held until {}", .0.amount, .0.until())]
    Unsettled(Box<Unsettled<T>>),
}

/// Work that is done while its settlement is not.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unsettled<T> {
    /// What the work made.
    pub value: T,
    /// What it cost.
    pub amount: Money,
    /// Until when the money is held.
    pub held_until: Option<UnixMillis>,
    /// Why it is not settled.
    pub error: Error,
}

impl<T> Unsettled<T> {
    fn until(&self) -> String {
        self.held_until.map_or_else(|| "its time to live".to_owned(), UnixMillis::rfc3339)
    }
}

impl Spend {
    pub(crate) fn new(client: Client, request: Request) -> Self {
        let at_least = request.amount();
        Self { client, request, time_limit: None, interrupted: Interrupted::default(), approval: None, at_least }
    }

    /// Drops the work if it takes longer, and settles as after any interruption.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// What becomes of the money if the work panics, is cancelled or takes too long.
    pub fn when_interrupted(mut self, interrupted: Interrupted) -> Self {
        self.interrupted = interrupted;
        self
    }

    /// Where a person must approve, waits this long for them; then the request is withdrawn. Without it such a request ends
    /// with [`Error::Pending`] and stays for approval: [`Client::adopt`] takes it up.
    pub fn wait_for_approval(mut self, patience: Duration) -> Self {
        self.approval = Some(patience);
        self
    }

    /// Runs the work also where a policy grants less than was asked for, down to `least`; [`OpenHold::amount`] tells the
    /// work how much. Without it, less ends with [`Error::Degraded`].
    pub fn at_least(mut self, least: Money) -> Self {
        self.at_least = least;
        self
    }

    /// Reserves the money, runs the work, and captures what the work says it cost.
    ///
    /// If the work fails, panics, takes too long, or if this future is dropped, the money is given back, or captured as
    /// [`OpenHold::spent_so_far`] and [`Spend::when_interrupted`] say. A panic goes on after that.
    ///
    /// # Errors
    /// See [`SpendError`].
    pub async fn run<T, E, F, W>(self, work: F) -> Result<Spent<T>, SpendError<T, E>>
    where
        F: FnOnce(OpenHold) -> W,
        W: Future<Output = Result<Settled<T>, E>>,
    {
        let limit = self.time_limit;
        let hold = self.reserve().await.map_err(SpendError::Refused)?;
        hold.run(limit, work).await
    }

    async fn reserve(self) -> Result<Hold, Error> {
        let hold = match (self.client.authorize(self.request.clone()).await, self.approval) {
            (Err(Error::Pending(waiting)), Some(patience)) => {
                self.client.approved(self.request, *waiting, patience).await?
            }
            (authorized, _) => authorized?,
        };
        if hold.amount().micros < self.at_least.micros {
            let granted = Box::new(hold.authorization().clone());
            // What the service does not take back now, the background gives back.
            let _ = hold.void().await;
            return Err(Error::Degraded(granted));
        }
        Ok(hold.when_interrupted(self.interrupted))
    }
}

impl Hold {
    /// Runs the work under this hold, for at most `limit`, and settles it as [`Spend::run`] does.
    ///
    /// # Errors
    /// See [`SpendError`].
    pub async fn run<T, E, F, W>(self, limit: Option<Duration>, work: F) -> Result<Spent<T>, SpendError<T, E>>
    where
        F: FnOnce(OpenHold) -> W,
        W: Future<Output = Result<Settled<T>, E>>,
    {
        let working = work(self.open());
        let done = match limit {
            None => working.await,
            Some(limit) => match tokio::time::timeout(limit, working).await {
                Ok(done) => done,
                Err(_) => return Err(self.timed_out(limit).await),
            },
        };
        match done {
            Ok(settled) => self.settled(settled).await,
            Err(error) => {
                let so_far = self.open().so_far();
                // What is left undone goes on in the background; the work's error is what the caller must see.
                let _ = self.settle(so_far).await;
                Err(SpendError::Work(error))
            }
        }
    }

    async fn timed_out<T, E>(self, limit: Duration) -> SpendError<T, E> {
        let nothing = Money::new(0, self.amount().currency);
        let (how, _) = self.interrupted().await;
        let captured = match how {
            Settle::Void => nothing,
            Settle::Capture(amount) => amount,
        };
        SpendError::TimedOut { limit, captured }
    }

    async fn settled<T, E>(self, settled: Settled<T>) -> Result<Spent<T>, SpendError<T, E>> {
        let how = match settled.cost {
            Cost::Amount(amount) => Settle::for_cost(amount),
            Cost::All => Settle::Capture(self.amount()),
            Cost::SoFar => self.open().so_far(),
        };
        let held_until = self.open().expires_at();
        let amount = match how {
            Settle::Void => Money::new(0, self.amount().currency),
            Settle::Capture(amount) => amount,
        };
        let value = settled.value;
        match self.settle(how).await {
            Ok(settlement) => Ok(Spent { value, settlement }),
            Err(error) => Err(SpendError::Unsettled(Box::new(Unsettled { value, amount, held_until, error }))),
        }
    }
}
