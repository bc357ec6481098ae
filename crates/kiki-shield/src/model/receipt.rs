//! Receipts: where the log has a decision.
//!
//! A receipt is a promise that the log will prove: the entry is durable when it is given, and a checkpoint that covers it
//! is signed shortly after. Nothing is signed for a single decision.

use std::sync::Arc;

use http::HeaderName;
use kiki_kit::problem::Problem;
use kiki_proto::shield::v1::Receipt;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::service::Shield;

/// Carries a receipt where an answer has no body: the log's name, a space, the index.
pub(crate) const RECEIPT: HeaderName = HeaderName::from_static("kiki-receipt");

/// Where the log has a decision. Its proof is at `/v1/audit/entries/{index}/proof`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(crate) struct ReceiptAnswer {
    /// The log's name, as in its checkpoints.
    #[schema(value_type = String, example = "kiki.local/shield")]
    log: Arc<str>,
    /// The place of the entry in the log, counted from 0. For a repeat, and where an authorization is looked at, the
    /// entry of the decision that made it.
    index: u64,
}

impl ReceiptAnswer {
    /// As a member of a denial.
    pub(crate) fn on(self, problem: Problem) -> Problem {
        problem.with("receipt", json!({"log": &*self.log, "index": self.index}))
    }

    /// As the value of the header [`RECEIPT`].
    pub(crate) fn in_header(&self) -> String {
        format!("{} {}", self.log, self.index)
    }
}

impl From<ReceiptAnswer> for Receipt {
    fn from(receipt: ReceiptAnswer) -> Self {
        Self { log: receipt.log.to_string(), index: receipt.index }
    }
}

impl Shield {
    /// A receipt for the entry at `index`, if there is one.
    pub(crate) fn receipt(&self, index: Option<u64>) -> Option<ReceiptAnswer> {
        index.map(|index| ReceiptAnswer { log: self.0.origin.clone(), index })
    }
}
