//! Rust SDK of KIKI: reserve money, run the work that costs it, settle, whatever happens in between.
//!
//! ```no_run
//! use kiki_client::{Client, Currency, Money, Request, Settled};
//! # async fn call_the_model() -> Result<(String, Money), std::io::Error> { todo!() }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let kiki = Client::builder("http://127.0.0.1:8081").api_key("the key").build()?;
//! let at_most = Money::parse("0.50", Currency::USD)?;
//!
//! let spent = kiki
//!     .spend(Request::new("growth/winback", at_most).category("llm"))
//!     .run(|_hold| async {
//!         let (text, cost) = call_the_model().await?;
//!         Ok::<_, std::io::Error>(Settled::amount(cost, text))
//!     })
//!     .await?;
//! println!("{}", spent.value);
//! kiki.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What becomes of the reserved money:
//!
//! | the work | the money |
//! |---|---|
//! | ends well | what it says it cost is captured, the rest is free at once; what went beyond the hold is recorded |
//! | fails, panics, is cancelled, takes longer than [`Spend::time_limit`] | given back, or captured as far as [`OpenHold::spent_so_far`] said; [`Interrupted::CaptureAll`] where the money may have moved |
//! | ends well after the hold has ended | recorded: money that moved is always counted |
//! | ends well while the service is away | [`SpendError::Unsettled`] with the value; the client goes on trying in the background |
//! | is granted less than it needs by a policy | given back: [`Spend::at_least`] says what is enough |
//! | is killed with its process | free after [`Request::ttl`] |
//!
//! [`Client::authorize`] gives a [`Hold`] for work that does not fit into one call; dropping it gives the money back.
//!
//! A drop cannot wait. What it leaves is settled by a thread of the client, with bounds on its queue and its time;
//! [`Client::close`] waits for it before the program ends. The time to live of a hold is the last net below all of this.
//!
//! Calls are tried again, with the same idempotency key, where nobody decided ([`Retry`]); a denial is an answer and is never
//! asked again.
//!
//! The features: `tls` for https.

mod api;
mod client;
mod connect;
mod error;
mod hold;
mod model;
mod requests;
mod retry;
mod settle;
mod settler;
mod spend;
mod verbs;

pub use client::{BuildError, Builder, Client, LeftBehind};
pub use error::{Denial, Error, Problem, Transport};
pub use hold::{Hold, Interrupted, OpenHold};
pub use kiki_types::id::AuthorizationId;
pub use kiki_types::{Currency, Money, Purpose, UnixMillis};
pub use model::{
    Amount, Authorization, Budget, BudgetMode, ConsentRecord, ConsentStanding, ConsentStands, Consents, Decision,
    Figure, Health, Intent, Limit, LimitStanding, NewBudget, Receipt, Recorded, Request, RetentionDue, RetentionPlan,
    RetentionRun, Ruling, State, Verdict, Vote,
};
pub use requests::{SubjectRequest, SubjectTask};
pub use retry::Retry;
pub use settle::Settlement;
pub use spend::{Settled, Spend, SpendError, Spent, Unsettled};
