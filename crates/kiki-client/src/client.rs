//! The client: how it is made, and the verbs around reserving money.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use kiki_types::Money;
use kiki_types::id::AuthorizationId;
use rand::RngCore as _;
use tokio::time::Instant;

use crate::api::{Api, Call, Random, Settings, base_of, read};
use crate::connect::connector;
use crate::error::Error;
use crate::hold::Hold;
use crate::model::{Authorization, Decision, Recorded, Request, State};
use crate::retry::Retry;
use crate::settle::{capture_call, sum_call, void_call};
use crate::settler::{Job, Settler, authorize_call};
use crate::spend::Spend;

const TIMEOUT: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(30);
const BACKGROUND: Duration = Duration::from_secs(300);
const POLL_MIN: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(2);

/// Talks to one KIKI service on behalf of one caller. Clones share connections and the settling in the background.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

/// What clones share.
pub(crate) struct Inner {
    pub(crate) api: Api,
    pub(crate) settler: Settler,
}

impl Inner {
    pub(crate) async fn get(&self, id: AuthorizationId) -> Result<Authorization, Error> {
        self.api.call(&Call::get(format!("/v1/authorizations/{id}"))).await
    }
}

/// Why a client cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The address cannot be called.
    #[error("the address {0}")]
    Address(String),
    /// The API key cannot be sent.
    #[error("the API key has characters other than visible ASCII")]
    ApiKey,
    /// The certificates that the operating system trusts cannot be read.
    #[error("no certificate to trust: {0}")]
    Certificates(String),
}

/// Makes a [`Client`].
#[must_use]
pub struct Builder {
    address: String,
    api_key: Option<String>,
    timeout: Duration,
    deadline: Duration,
    background: Duration,
    retry: Retry,
    random: Random,
}

impl Builder {
    /// The key that says who calls; none where the service takes callers on its own machine for the operator.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// For one attempt of a call, 10 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For a call with all its attempts and waits, 30 s unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long the background tries to settle one hold, 5 min unless set.
    pub fn background_deadline(mut self, deadline: Duration) -> Self {
        self.background = deadline;
        self
    }

    /// When calls are tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Where idempotency keys and jitter come from, instead of the operating system's randomness. It must never give
    /// the same 16 bytes twice.
    pub fn random(mut self, fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        self.random = Arc::new(fill);
        self
    }

    /// The client. Nothing is sent yet.
    ///
    /// # Errors
    /// The address or the key cannot be used.
    pub fn build(self) -> Result<Client, BuildError> {
        let base = base_of(&self.address).map_err(BuildError::Address)?;
        let authorization = self.api_key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| BuildError::ApiKey)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let connector = connector(&base, self.timeout).map_err(BuildError::Certificates)?;
        let settings = Arc::new(Settings {
            base,
            connector,
            authorization: authorization.transpose()?,
            timeout: self.timeout,
            deadline: self.deadline,
            retry: self.retry,
            random: self.random,
        });
        let settler = Settler::new(settings.clone(), self.background);
        Ok(Client(Arc::new(Inner { api: Api::new(settings), settler })))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.0.api.settings.base).finish_non_exhaustive()
    }
}

/// Holds that were not settled: their time to live ends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} holds are not settled yet and {abandoned} never were: their time to live ends them")]
#[non_exhaustive]
pub struct LeftBehind {
    /// Being tried still.
    pub waiting: usize,
    /// Given up.
    pub abandoned: u64,
}

impl Client {
    /// A client without a key, for the service at `address`, such as `http://127.0.0.1:8081`.
    ///
    /// # Errors
    /// The address cannot be called.
    pub fn new(address: impl Into<String>) -> Result<Self, BuildError> {
        Self::builder(address).build()
    }

    /// A client to be.
    pub fn builder(address: impl Into<String>) -> Builder {
        Builder {
            address: address.into(),
            api_key: None,
            timeout: TIMEOUT,
            deadline: DEADLINE,
            background: BACKGROUND,
            retry: Retry::default(),
            random: Arc::new(|bytes| rand::rng().fill_bytes(bytes)),
        }
    }

    /// Reserve, run, settle, in one call: see [`Spend::run`].
    pub fn spend(&self, request: Request) -> Spend {
        Spend::new(self.clone(), request)
    }

    /// Reserves money.
    ///
    /// If this future is dropped, or ends without an answer, while the service may have reserved the money, and the request
    /// has no key of its own, the background finds out and gives it back. With a key of your own the reservation is yours
    /// to ask for again.
    ///
    /// # Errors
    /// [`Error::Denied`] and [`Error::Pending`] are answers; [`Error::Ended`] says that the key belongs to an authorization
    /// that has ended already.
    pub async fn authorize(&self, mut request: Request) -> Result<Hold, Error> {
        let is_ours = request.key.is_none();
        request.key.get_or_insert_with(|| self.0.api.settings.key());
        let request = Arc::new(request);
        let mut asking = Asking { client: self.0.clone(), request: is_ours.then(|| request.clone()) };
        match self.0.api.call::<Authorization>(&authorize_call(&request)).await {
            Ok(authorization) => {
                asking.request = None;
                self.held(request, authorization)
            }
            Err(error) => {
                if !may_stand(&error) {
                    asking.request = None;
                }
                Err(error)
            }
        }
    }

    fn held(&self, request: Arc<Request>, authorization: Authorization) -> Result<Hold, Error> {
        match authorization.state {
            State::Held => Ok(Hold::new(self.0.clone(), request, authorization)),
            State::Pending => Err(Error::Pending(Box::new(authorization))),
            _ => Err(Error::Ended(Box::new(authorization))),
        }
    }

    /// Takes up a hold that was left open, or one that was approved meanwhile.
    ///
    /// # Errors
    /// [`Error::Pending`] if it waits still, [`Error::Ended`] if it has ended.
    pub async fn adopt(&self, id: AuthorizationId) -> Result<Hold, Error> {
        let authorization = self.get(id).await?;
        let request = Request::new(authorization.account.clone(), authorization.amount);
        self.held(Arc::new(request), authorization)
    }

    /// Waits for a person to approve; withdraws the request if they do not, or if this future is dropped.
    pub(crate) async fn approved(
        &self,
        request: Request,
        waiting: Authorization,
        patience: Duration,
    ) -> Result<Hold, Error> {
        let id = waiting.id;
        let request = Arc::new(request);
        let reserved = Hold::new(self.0.clone(), request.clone(), waiting);
        let ends = Instant::now() + patience;
        let mut pause = POLL_MIN;
        loop {
            let now = self.get(id).await?;
            match now.state {
                State::Pending if Instant::now() < ends => {}
                State::Pending => {
                    // Whoever approves from here on finds it withdrawn.
                    let settled = reserved.void().await?;
                    return Err(Error::NotApproved(Box::new(settled.authorization.unwrap_or(now))));
                }
                State::Held => {
                    reserved.leave();
                    return self.held(request, now);
                }
                _ => {
                    reserved.leave();
                    return Err(Error::NotApproved(Box::new(now)));
                }
            }
            tokio::time::sleep(pause.min(ends.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    /// Asks what would be decided, and reserves nothing.
    ///
    /// # Errors
    /// Nobody can say, or a field is wrong. A denial is no error here.
    pub async fn dry_run(&self, mut request: Request) -> Result<Decision, Error> {
        request.dry_run = true;
        let (status, body) =
            self.0.api.answer(&Call::new(http::Method::POST, "/v1/authorizations").json(&request)).await?;
        read(status, &body)
    }

    /// An authorization.
    ///
    /// # Errors
    /// It is unknown or forgotten.
    pub async fn get(&self, id: AuthorizationId) -> Result<Authorization, Error> {
        self.0.get(id).await
    }

    /// Settles the hold `id`, for all that is held unless `amount` is less. [`Hold::capture`] does more.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has ended in another way.
    pub async fn capture(&self, id: AuthorizationId, amount: Option<Money>) -> Result<Authorization, Error> {
        self.0.api.call(&capture_call(id, amount)).await
    }

    /// Gives the hold `id` back.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has ended in another way.
    pub async fn void(&self, id: AuthorizationId) -> Result<Authorization, Error> {
        self.0.api.call(&void_call(id)).await
    }

    /// Holds `by` more under `id`. Asked again under the same key while no answer comes, it counts once.
    ///
    /// # Errors
    /// [`Error::Denied`] leaves the hold as it was.
    pub async fn increase(&self, id: AuthorizationId, by: Money) -> Result<Authorization, Error> {
        self.0.api.call(&sum_call(id, "increase", by, self.0.api.settings.key())).await
    }

    /// Gives back `amount` of what was captured. Asked again under the same key while no answer comes, it counts once.
    ///
    /// # Errors
    /// It is more than was captured and not refunded yet.
    pub async fn refund(&self, id: AuthorizationId, amount: Money) -> Result<Authorization, Error> {
        self.0.api.call(&sum_call(id, "refund", amount, self.0.api.settings.key())).await
    }

    /// Counts money that is gone already: amount, account, category and payee of `spent`. It is never refused; the answer
    /// names the budgets that it went beyond.
    ///
    /// # Errors
    /// Nobody can count it now, or a field is wrong.
    pub async fn record(&self, spent: &Request) -> Result<Recorded, Error> {
        let key = spent.key.clone().unwrap_or_else(|| self.0.api.settings.key());
        self.0.api.call(&Call::post("/v1/records", key).json(&spent.record(spent.amount()))).await
    }

    /// Waits until the background has settled what was handed over to it, at most for the deadline of a call. Call it
    /// before the program ends.
    ///
    /// # Errors
    /// Some holds are left to their time to live.
    pub async fn close(self) -> Result<(), LeftBehind> {
        let settler = &self.0.settler;
        let _ = tokio::time::timeout(self.0.api.settings.deadline, settler.idle()).await;
        let (waiting, abandoned) = (settler.outstanding(), settler.abandoned());
        if waiting == 0 && abandoned == 0 { Ok(()) } else { Err(LeftBehind { waiting, abandoned }) }
    }
}

/// A request whose answer is awaited. Dropped before the answer, it is withdrawn.
struct Asking {
    client: Arc<Inner>,
    request: Option<Arc<Request>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.client.settler.hand_over(Job::Withdraw(request));
        }
    }
}

/// Whether money may be reserved although the last attempt to reserve it ended so. An attempt before may have arrived, and
/// what nobody could write down in time may still be found to count.
fn may_stand(error: &Error) -> bool {
    match error {
        Error::Transport(lost) => lost.was_sent,
        Error::Unavailable { .. } | Error::Unexpected { .. } => true,
        _ => false,
    }
}
