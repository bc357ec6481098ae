//! What is asked of a report.

use serde::Deserialize;
use utoipa::IntoParams;

/// `GET /v1/reports/{name}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportsRequest {
    /// Of `summary`, `breaches`, `controls` and `processing`: `daily`, `weekly`, `monthly`, a number of days such as `90d`, or
    /// a month such as `2026-02`; absent: `monthly` for the summary, all of the register for `breaches`, `365d` for others.
    /// Breaches that are open are in every period.
    pub(super) period: Option<String>,
    /// Of `ccpa`: the calendar year; absent: the last one that is over.
    pub(super) year: Option<i16>,
    /// Of `controls`: `soc2`, `iso27001` or `pci-dss`; absent: all.
    pub(super) framework: Option<String>,
    /// `json`, `csv`, or `html` for a page to be printed; absent: `json`.
    pub(super) format: Option<String>,
    /// With `csv`: the one table that is wanted, a line for each row; absent: all of the report, a line for each value.
    pub(super) table: Option<String>,
}
