//! What can go wrong with webhooks, and what callers are told.

use kiki_kit::problem::Problem;
use kiki_store::StoreError;

use super::model::{ENDPOINT_WAITING_MAX, ENDPOINTS_MAX};
use crate::error::ShieldError;

/// Why a verb of webhooks was not done.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// As elsewhere at shield: a wrong field, an unknown id, a failed database.
    #[error(transparent)]
    Shield(#[from] ShieldError),
    /// The tenant has as many endpoints as it may.
    #[error("a tenant may have {ENDPOINTS_MAX} webhooks")]
    TooMany,
    /// As many deliveries wait for the endpoint as may.
    #[error("{ENDPOINT_WAITING_MAX} deliveries wait for the webhook")]
    Full,
    /// Nothing is sent to the endpoint.
    #[error("the webhook is disabled")]
    Disabled,
}

impl From<StoreError> for WebhookError {
    fn from(error: StoreError) -> Self {
        Self::Shield(error.into())
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Shield(error) => error.into(),
            WebhookError::TooMany => {
                Self::conflict("too_many_webhooks", format!("A tenant may have {ENDPOINTS_MAX} webhooks. Delete one."))
            }
            WebhookError::Full => Self::conflict(
                "webhook_full",
                format!("{ENDPOINT_WAITING_MAX} deliveries wait for the webhook. Let it answer first."),
            ),
            WebhookError::Disabled => {
                Self::conflict("webhook_disabled", "Nothing is sent to a disabled webhook. Enable it first.")
            }
        }
    }
}
