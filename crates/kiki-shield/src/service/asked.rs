//! What is asked of the gate, and what it answers, in the words of the verbs.

use kiki_spend::command::Notices;
use kiki_spend::owner::Decision;
use kiki_spend::{AuthorizationView, Outcome, Standing};
use kiki_types::id::AuthorizationId;
use kiki_types::{Channel, Money, Purpose};

use super::rules::{Act, Ruling};

/// A request for money, as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) account: String,
    pub(crate) amount: Money,
    pub(crate) customer_id: Option<String>,
    pub(crate) purpose: Option<Purpose>,
    /// By which the customer is reached.
    pub(crate) channel: Option<Channel>,
    pub(crate) category: Option<String>,
    pub(crate) payee: Option<String>,
    pub(crate) ttl_ms: Option<i64>,
    pub(crate) key: Option<String>,
    /// Capture in the same step.
    pub(crate) capture: bool,
    /// What rules alone look at.
    pub(crate) act: Act,
    /// Whether the caller can make do with a smaller amount or a safer mode, and is told so.
    pub(crate) takes_less: bool,
}

impl Ask {
    /// A request that says no more than it must.
    pub(crate) fn of(account: String, amount: Money) -> Self {
        Self {
            account,
            amount,
            customer_id: None,
            purpose: None,
            channel: None,
            category: None,
            payee: None,
            ttl_ms: None,
            key: None,
            capture: false,
            act: Act::default(),
            takes_less: false,
        }
    }
}

/// A decision about a request for money.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) id: AuthorizationId,
    /// What the policy says, if one is in force. For a repeat it is not what decided.
    pub(crate) ruling: Option<Ruling>,
}

/// What would be decided.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) ruling: Option<Ruling>,
    pub(crate) outcome: Outcome,
    pub(crate) notices: Notices,
    pub(crate) standings: Vec<Standing>,
    /// Whether its key was used before: it gets its first answer again, however long it waits.
    pub(crate) is_repeat: bool,
}

/// Money that was booked after it had gone.
#[derive(Debug)]
pub(crate) struct Booked {
    pub(crate) known: Known,
    pub(crate) over: Vec<String>,
    pub(crate) entry: Option<u64>,
}

/// An authorization as its tenant sees it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: AuthorizationId,
    pub(crate) view: AuthorizationView,
    /// The entry of what was decided about it now, or else of the decision that made it.
    pub(crate) entry: Option<u64>,
}

impl Known {
    /// Nothing was decided now.
    pub(super) fn seen(id: AuthorizationId, view: AuthorizationView) -> Self {
        Self { id, entry: view.entry, view }
    }
}

/// The authorization that a decision was about.
pub(crate) fn known(decision: &Decision, id: AuthorizationId) -> Option<Known> {
    decision.authorization.clone().map(|(_, view)| Known { id, view, entry: decision.entry() })
}
