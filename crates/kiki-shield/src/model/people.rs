//! The shapes of what concerns people: consent, subject requests, reports.

use std::collections::BTreeMap;

use kiki_types::Purpose;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ReceiptAnswer;
use crate::error::ShieldError;

/// `POST /consent/grant` and `/consent/revoke`.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsentRequest {
    /// The customer.
    pub(crate) customer_id: String,
    /// marketing, analytics, targeting, profiling or data_sharing.
    #[serde(alias = "type")]
    pub(crate) consent_type: String,
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

/// The right that a person makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum SubjectRequestType {
    /// See the data (GDPR Art. 15).
    Access,
    /// Have them erased (Art. 17).
    Deletion,
    /// Take them along (Art. 20).
    Portability,
    /// Have them put right (Art. 16).
    Rectification,
    /// Have them kept unused (Art. 18).
    Restriction,
    /// Object to their use (Art. 21).
    Objection,
    /// No longer have them sold or shared (CCPA 1798.120).
    OptOut,
}

impl SubjectRequestType {
    const ALL: [(Self, &str); 7] = [
        (Self::Access, "ACCESS"),
        (Self::Deletion, "DELETION"),
        (Self::Portability, "PORTABILITY"),
        (Self::Rectification, "RECTIFICATION"),
        (Self::Restriction, "RESTRICTION"),
        (Self::Objection, "OBJECTION"),
        (Self::OptOut, "OPT_OUT"),
    ];

    /// The name in JSON, queries and the database.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Reads a name; letter case does not matter.
    pub(crate) fn parse(text: &str) -> Result<Self, ShieldError> {
        let found = Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(kind, _)| kind).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            ShieldError::invalid("request_type", format_args!("must be one of {names}"))
        })
    }
}

/// `POST /dsr/create`.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubjectRequestBody {
    /// The customer.
    pub(crate) customer_id: String,
    /// ACCESS, DELETION, PORTABILITY, RECTIFICATION, RESTRICTION, OBJECTION or OPT_OUT.
    pub(crate) request_type: String,
}

/// A data subject request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubjectRequestAnswer {
    /// Its id.
    pub(crate) request_id: String,
    /// The customer.
    pub(crate) customer_id: String,
    /// The right that is made use of.
    pub(crate) request_type: SubjectRequestType,
    /// `received`.
    pub(crate) status: &'static str,
    /// When it came.
    pub(crate) received_at: String,
    /// When it must be answered: one calendar month later (GDPR Art. 12(3)).
    pub(crate) due_at: String,
}

/// `GET /compliance/report`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportRequest {
    /// `daily`, `weekly`, `monthly`, a number of days such as `90d`, or a month such as `2026-02`; absent: `monthly`.
    pub(crate) period: Option<String>,
}
