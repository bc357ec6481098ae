//! The shapes of what concerns people: consent and reports.

use std::collections::BTreeMap;

use kiki_types::Purpose;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ReceiptAnswer;

/// `POST /consent/grant` and `/consent/revoke`.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsentRequest {
    /// The customer.
    pub(crate) customer_id: String,
    /// marketing, analytics, targeting, profiling or data_sharing.
    #[serde(alias = "type")]
    pub(crate) consent_type: String,
    /// email, sms, push, phone, post or web; absent: all.
    pub(crate) channel: Option<String>,
}

/// `GET /consent/status`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsentStatusRequest {
    /// The customer.
    pub(crate) customer_id: String,
}

/// What a customer agrees to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsentAnswer {
    /// The customer.
    pub(crate) customer_id: String,
    /// For each purpose whether consent stands.
    #[schema(value_type = BTreeMap<String, bool>)]
    pub(crate) consents: BTreeMap<Purpose, bool>,
    /// Where the log has what was decided now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

/// `GET /compliance/report`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportRequest {
    /// `daily`, `weekly`, `monthly`, a number of days such as `90d`, or a month such as `2026-02`; absent: `monthly`.
    pub(crate) period: Option<String>,
}
