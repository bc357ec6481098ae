//! HTTP of reports.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{Json, Path, Query};
use kiki_kit::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::{Document, ReportBody};
use super::page::page;
use super::request::ReportsRequest;
use super::service::{Reports, Wanted};
use crate::api::caller;
use crate::error::ShieldError;

/// The paths of reports.
#[must_use]
pub fn routes(reports: Reports) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(report)).with_state(reports)
}

/// A report, computed from the log and the registers.
///
/// `summary`: what was decided. `processing`: the record of processing activities (GDPR Art. 30(1)). `breaches`: the register of
/// breaches (Art. 33(5)). `ccpa`: the yearly metrics of requests (11 CCR § 7102). `controls`: what proves controls of SOC 2,
/// ISO 27001 and PCI DSS, or that nothing does.
#[utoipa::path(get, path = "/v1/reports/{name}", tag = "compliance", params(("name" = String, Path), ReportsRequest),
    responses((status = 200, body = ReportBody), (status = 404, description = "No such report")))]
async fn report(
    State(reports): State<Reports>,
    allowed: Allowed<can::ComplianceRead>,
    network: RemoteNetwork,
    Path(name): Path<String>,
    Query(request): Query<ReportsRequest>,
) -> Result<Response, Problem> {
    let ReportsRequest { period, year, framework, format, table } = request;
    let format = format.as_deref().unwrap_or("json");
    if !["json", "csv", "html"].contains(&format) {
        return Err(ShieldError::invalid("format", "must be json, csv or html").into());
    }
    let wanted = Wanted { period, year, framework };
    let made = reports.make(&caller(&allowed, network), &name, &wanted).await?;
    let answer = match format {
        "csv" => csv(&made, table.as_deref())?,
        "html" => {
            let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            ([(CONTENT_TYPE, html), (CONTENT_SECURITY_POLICY, policy)], page(&made)).into_response()
        }
        _ => Json(made.body()).into_response(),
    };
    Ok((never_kept(), answer).into_response())
}

fn csv(document: &Document, table: Option<&str>) -> Result<Response, Problem> {
    let text = match table {
        None => document.csv(),
        Some(name) => document.csv_of(name).ok_or_else(|| {
            let names: Vec<_> = document.tables.iter().map(|table| table.name).collect();
            ShieldError::invalid("table", format_args!("must be among {}", names.join(", ")))
        })?,
    };
    let file = format!("attachment; filename=\"{}-{}.csv\"", document.name, table.unwrap_or("all"));
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], [(CONTENT_DISPOSITION, file)], text).into_response())
}

/// Reports hold what people wrote; no cache keeps them.
fn never_kept() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}
