//! Settling one hold: the rules of what is sent, the same from the caller's task and from the background.
//!
//! Money that has moved is always counted. What cannot be captured because the hold has ended, or because it was more than
//! was held, is recorded instead. Every call can be repeated: captures and voids resolve once, records carry a key made
//! from the authorization's id.

use std::sync::Arc;
use std::time::Duration;

use kiki_types::Money;
use kiki_types::id::AuthorizationId;
use serde::Serialize;

use crate::api::{Api, Call};
use crate::error::Error;
use crate::model::{Authorization, Recorded, Request};

/// What is to become of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settle {
    /// Nothing has moved: all is free again.
    Void,
    /// This much has moved.
    Capture(Money),
}

impl Settle {
    /// `amount` has moved, which may be nothing.
    pub(crate) fn for_cost(amount: Money) -> Self {
        if amount.micros > 0 { Self::Capture(amount) } else { Self::Void }
    }
}

/// All that is needed to settle a hold, wherever that happens.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) id: AuthorizationId,
    pub(crate) held: Money,
    pub(crate) settle: Settle,
    pub(crate) request: Arc<Request>,
}

/// How a hold was settled.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Settlement {
    /// The authorization afterwards; absent if it had ended before.
    pub authorization: Option<Authorization>,
    /// What was recorded instead of captured: what went beyond the hold, or all of it if the hold had ended.
    pub recorded: Option<(Money, Recorded)>,
}

#[derive(Serialize)]
struct AmountBody {
    amount: Money,
}

/// Settles it, trying for `within`.
pub(crate) async fn settle(api: &Api, plan: &Plan, within: Duration) -> Result<Settlement, Error> {
    match plan.settle {
        Settle::Void => void(api, plan.id, within).await,
        Settle::Capture(amount) => capture(api, plan, amount, within).await,
    }
}

async fn void(api: &Api, id: AuthorizationId, within: Duration) -> Result<Settlement, Error> {
    match api.call(&void_call(id).within(within)).await {
        Ok(authorization) => Ok(Settlement { authorization: Some(authorization), recorded: None }),
        // It holds nothing any more, which is all that was wanted.
        Err(error) if error.ended_as().is_some() || matches!(error, Error::NotFound(_)) => Ok(Settlement::default()),
        Err(error) => Err(error),
    }
}

async fn capture(api: &Api, plan: &Plan, amount: Money, within: Duration) -> Result<Settlement, Error> {
    let part = Money::new(amount.micros.min(plan.held.micros), amount.currency);
    match api.call(&capture_call(plan.id, Some(part)).within(within)).await {
        Ok(authorization) => {
            let beyond = Money::new(amount.micros - part.micros, amount.currency);
            let recorded = if beyond.micros > 0 { Some(record(api, plan, beyond, within).await?) } else { None };
            Ok(Settlement { authorization: Some(authorization), recorded })
        }
        Err(error) if has_ended_uncounted(&error) => {
            let recorded = Some(record(api, plan, amount, within).await?);
            Ok(Settlement { authorization: None, recorded })
        }
        Err(error) => Err(error),
    }
}

/// The hold is gone and nothing was captured under it.
fn has_ended_uncounted(error: &Error) -> bool {
    matches!(error, Error::NotFound(_)) || matches!(error.ended_as(), Some("expired" | "voided"))
}

async fn record(api: &Api, plan: &Plan, amount: Money, within: Duration) -> Result<(Money, Recorded), Error> {
    let key = format!("settle-{}", plan.id);
    let call = Call::post("/v1/records", key).json(&plan.request.record(amount)).within(within);
    Ok((amount, api.call(&call).await?))
}

pub(crate) fn void_call(id: AuthorizationId) -> Call {
    Call::post(format!("/v1/authorizations/{id}/void"), format!("void-{id}"))
}

pub(crate) fn capture_call(id: AuthorizationId, amount: Option<Money>) -> Call {
    let call = Call::post(format!("/v1/authorizations/{id}/capture"), format!("capture-{id}"));
    match amount {
        Some(amount) => call.json(&AmountBody { amount }),
        None => call,
    }
}

/// A call that moves a sum once for each key: `increase` or `refund`.
pub(crate) fn sum_call(id: AuthorizationId, verb: &str, amount: Money, key: String) -> Call {
    Call::post(format!("/v1/authorizations/{id}/{verb}"), key).json(&AmountBody { amount })
}
