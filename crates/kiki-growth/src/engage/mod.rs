//! SyncEngage: retention messages, each of which passes the gate before it leaves.
//!
//! Invariants: a message is sent only while shield holds its money under an authorization that included the customer's
//! consent; it is paid for when it was sent and given back when it was not; a customer gets one message of a campaign,
//! however often it is run and wherever it crashed; when shield does not answer nothing is sent. Every end of a message
//! commits with its audit entry.
//!
//! Start with [`Engage::new`] and [`api::api`]. A message's life is in [`message`], what drives it in `dispatch`, a
//! campaign's run in `run`, SQL in `repo`. [`jobs`] hands audit entries to shield; [`endpoints`] reads the addresses of
//! the services that engage needs.

pub mod api;
mod audit;
pub mod campaign;
mod customers;
mod dispatch;
pub mod endpoints;
mod error;
mod gate;
mod input;
pub mod jobs;
pub mod message;
pub mod personal;
mod repo;
mod run;
mod sender;
mod service;
pub mod template;
#[cfg(test)]
mod tests;
mod trigger;
mod view;

use std::sync::Arc;

use kiki_kit::clock::Clock;
use kiki_kit::inprocess::Transport;
use kiki_kit::shutdown::Tasks;
use kiki_store::Store;
use kiki_store::personal::Subjects;
use kiki_types::{IdSource, TenantId};
use tokio::sync::Semaphore;

pub use audit::{AUDIT_TOPIC, Pseudonym, Pseudonyms};
pub use sender::{MailSender, OutgoingMail, SendError};

use customers::Customers;
use error::EngageError;
use gate::Gate;

/// Campaigns that one process runs at the same time at the most.
const RUNS_MAX: usize = 4;

/// Makes the transport to a service on behalf of a tenant; `None` where this process may not act for that tenant.
pub type Connect = Arc<dyn Fn(&TenantId) -> Option<Transport> + Send + Sync>;

/// What engage needs.
#[derive(Clone)]
pub struct Needs {
    /// Where campaigns and messages are kept.
    pub store: Store,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Where runs are spawned.
    pub tasks: Tasks,
    /// The way to shield.
    pub shield: Connect,
    /// The way to the value service.
    pub value: Connect,
    /// The mail provider.
    pub mail: Arc<dyn MailSender>,
    /// The keys that what is kept about customers is sealed under.
    pub subjects: Subjects,
    /// Hides names in audit entries, and what callers name freely.
    pub pseudonyms: Pseudonyms,
    /// The address that messages come from.
    pub mail_from: String,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Engage {
    needs: Arc<Needs>,
    runs: Arc<Semaphore>,
}

impl Engage {
    /// The service over `needs`.
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Self { needs: Arc::new(needs), runs: Arc::new(Semaphore::new(RUNS_MAX)) }
    }

    fn gate(&self, tenant: &TenantId) -> Result<Gate, EngageError> {
        let transport = (self.needs.shield)(tenant);
        let missing = || EngageError::ShieldAway("there is no way to it for this tenant".to_owned());
        Ok(Gate::new(transport.ok_or_else(missing)?))
    }

    fn customers(&self, tenant: &TenantId) -> Result<Customers, EngageError> {
        Ok(Customers::new((self.needs.value)(tenant).ok_or_else(customers::ValueAway::no_way)?))
    }
}

impl std::fmt::Debug for Engage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engage").field("store", &self.needs.store).finish_non_exhaustive()
    }
}
