//! The paths that the seeds type. `GET /spend` changes state because they type it so: its answer is never stored, and
//! it refuses what a browser marks as cross-site.

use axum::extract::State;
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, JsonOrQuery, Query};
use kiki_kit::problem::Problem;
use kiki_spend::Outcome;
use kiki_types::money::{Micros, format_micros};
use kiki_types::{Channel, Money, Purpose, UnixMillis};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rate_limit::{RateLimit, rate_limit};
use super::v1::with_ruling;
use super::{caller, denial, limits, refused_by};
use crate::consent::Wanted;
use crate::consent::gpc::Gpc;
use crate::consent::model::Act;
use crate::error::ShieldError;
use crate::model::{
    CheckAnswer, CheckRequest, ConsentAnswer, ConsentRequest, ConsentStatusRequest, ReportRequest, SpendAnswer,
    SpendRequest, tightest,
};
use crate::report::ReportAnswer;
use crate::service::{Ask, Caller, Shield};

pub(super) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(spend_by_get, spend))
        .routes(routes!(check))
        .routes(routes!(grant))
        .routes(routes!(revoke))
        .routes(routes!(consent_status))
        .routes(routes!(compliance_report))
}

type Spent = (StatusCode, RateLimit, Json<SpendAnswer>);

/// Spend money: all of the amount, or nothing.
///
/// Authorizes and captures in one step. It changes state although it is a GET; prefer POST.
#[utoipa::path(get, path = "/spend", tag = "seeds", params(SpendRequest),
    responses((status = 200, body = SpendAnswer), (status = 202, body = SpendAnswer, description = "Waits for approval"),
        (status = 403, description = "Refused; nothing is spent")))]
async fn spend_by_get(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    (method, headers): (Method, HeaderMap),
    Query(request): Query<SpendRequest>,
) -> Result<Spent, Problem> {
    refuse_unsafe(&method, &headers)?;
    spent(&shield, &caller(&allowed, network), request, key).await
}

/// Spend money: all of the amount, or nothing.
#[utoipa::path(post, path = "/spend", tag = "seeds", params(SpendRequest), request_body = Option<SpendRequest>,
    responses((status = 200, body = SpendAnswer), (status = 202, body = SpendAnswer, description = "Waits for approval"),
        (status = 403, description = "Refused; nothing is spent")))]
async fn spend(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    JsonOrQuery(request): JsonOrQuery<SpendRequest>,
) -> Result<Spent, Problem> {
    spent(&shield, &caller(&allowed, network), request, key).await
}

/// Refuses what must not spend: the HEAD that a GET route answers too, and what a browser sends for another site.
fn refuse_unsafe(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method != Method::GET {
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Spend by GET or POST.");
        return Err(problem.with_header(ALLOW, HeaderValue::from_static("GET, POST")));
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", "Another site may not spend money here.")),
    }
}

async fn spent(shield: &Shield, caller: &Caller, request: SpendRequest, key: Option<String>) -> Result<Spent, Problem> {
    let currency = shield.0.currency;
    let amount = Money::new(request.amount.micros("amount")?, currency);
    let ask = Ask { key, capture: true, ..Ask::of(request.account, amount) };
    let decided = shield.judge_and_authorize(caller, &ask).await?;
    let (decision, id) = (&decided.decision, decided.id);
    if let Outcome::Denied { .. } = decision.outcome {
        let by = refused_by(decision).join(", ");
        let problem = denial(shield, "budget_exceeded", format!("{amount} is refused by: {by}."), decision)
            .with("asked", amount.decimal());
        return Err(with_ruling(problem, &decided));
    }
    let is_pending = decision.outcome == Outcome::Pending;
    let least = tightest(&decision.standings);
    let answer = SpendAnswer {
        status: if is_pending { "pending" } else { "allowed" },
        id: decision.authorization.is_some().then(|| id.to_string()),
        amount: Micros(amount.micros.into()),
        currency,
        remaining: least.map(|(_, room)| Micros(room.remaining)),
        frees_at: least.and_then(|(standing, _)| standing.frees_at).map(|at| UnixMillis(at).rfc3339()),
        limits: limits(&decision.standings),
        entry: decision.index,
        receipt: shield.receipt(decision.entry()),
    };
    let status = if is_pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, rate_limit(decision), Json(answer)))
}

/// May a customer of this value be acted for?
///
/// Refuses a value below 10 or above 10000, and when nothing of the budget remains.
#[utoipa::path(get, path = "/check", tag = "seeds", params(CheckRequest),
    responses((status = 200, body = CheckAnswer), (status = 403, description = "Refused, with the reason")))]
async fn check(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendRead>,
    network: RemoteNetwork,
    Query(request): Query<CheckRequest>,
) -> Result<Json<CheckAnswer>, Problem> {
    let ltv = request.ltv.micros("ltv")?;
    let decision = shield.check(&caller(&allowed, network), ltv).await?;
    let least = tightest(&decision.standings);
    match refused_by(&decision).as_slice() {
        [] => Ok(Json(CheckAnswer {
            status: "allowed",
            ltv: format_micros(ltv.into()),
            currency: shield.0.currency.to_string(),
            remaining: least.map(|(_, room)| format_micros(room.remaining)),
            entry: decision.index,
            receipt: shield.receipt(decision.entry()),
        })),
        ["ltv_too_low"] => {
            Err(denial(&shield, "ltv_too_low", "A value below 10 is not worth acting for.".into(), &decision))
        }
        ["ltv_too_high"] => {
            Err(denial(&shield, "ltv_too_high", "A value above 10000 needs a person.".into(), &decision))
        }
        by => Err(denial(&shield, "budget_spent", format!("Nothing remains under: {}.", by.join(", ")), &decision)),
    }
}

/// Record that a customer agrees.
#[utoipa::path(post, path = "/consent/grant", tag = "seeds", params(ConsentRequest,
        ("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    request_body = Option<ConsentRequest>, responses((status = 200, body = ConsentAnswer)))]
async fn grant(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentWrite>,
    network: RemoteNetwork,
    gpc: Gpc,
    IdempotencyKey(key): IdempotencyKey,
    JsonOrQuery(request): JsonOrQuery<ConsentRequest>,
) -> Result<Json<ConsentAnswer>, Problem> {
    consent(&shield, &caller(&allowed, network), key.as_deref(), request, gpc, Act::Grant).await
}

/// Record that a customer no longer agrees. The very next decision refuses.
#[utoipa::path(post, path = "/consent/revoke", tag = "seeds", params(ConsentRequest,
        ("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    request_body = Option<ConsentRequest>, responses((status = 200, body = ConsentAnswer)))]
async fn revoke(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentWrite>,
    network: RemoteNetwork,
    gpc: Gpc,
    IdempotencyKey(key): IdempotencyKey,
    JsonOrQuery(request): JsonOrQuery<ConsentRequest>,
) -> Result<Json<ConsentAnswer>, Problem> {
    consent(&shield, &caller(&allowed, network), key.as_deref(), request, gpc, Act::Revoke).await
}

async fn consent(
    shield: &Shield,
    caller: &Caller,
    key: Option<&str>,
    request: ConsentRequest,
    gpc: Gpc,
    act: Act,
) -> Result<Json<ConsentAnswer>, Problem> {
    let verb = if act == Act::Grant { "seeds.consent.grant" } else { "seeds.consent.revoke" };
    let key = shield.key(&caller.principal.tenant, verb, key, &request)?;
    let purpose: Purpose = request.consent_type.parse().map_err(|error| ShieldError::invalid("consent_type", error))?;
    let channel = request.channel.as_deref().map_or(Ok(Channel::Any), str::parse);
    let channel = channel.map_err(|error| ShieldError::invalid("channel", error))?;
    let wanted = Wanted::of(request.customer_id.clone(), purpose, channel);
    let made = shield.consent_once(caller, key, act, wanted, gpc).await?;
    let (consents, receipt) = ([(purpose, act == Act::Grant)].into(), shield.receipt(made.record.entry));
    Ok(Json(ConsentAnswer { customer_id: request.customer_id, consents, receipt }))
}

/// What does a customer agree to?
#[utoipa::path(get, path = "/consent/status", tag = "seeds", params(ConsentStatusRequest),
    responses((status = 200, body = ConsentAnswer)))]
async fn consent_status(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentRead>,
    Query(request): Query<ConsentStatusRequest>,
) -> Result<Json<ConsentAnswer>, Problem> {
    let tenant = &allowed.principal().tenant;
    let agrees = shield.agrees(tenant, &request.customer_id, &Purpose::ALL, Channel::Any).await?;
    let consents = agrees.into_iter().collect();
    Ok(Json(ConsentAnswer { customer_id: request.customer_id, consents, receipt: None }))
}

/// What was decided in a period, counted from the audit log.
#[utoipa::path(get, path = "/compliance/report", tag = "seeds", params(ReportRequest),
    responses((status = 200, body = ReportAnswer)))]
async fn compliance_report(
    State(shield): State<Shield>,
    allowed: Allowed<can::ComplianceRead>,
    network: RemoteNetwork,
    Query(request): Query<ReportRequest>,
) -> Result<Json<ReportAnswer>, Problem> {
    let period = request.period.as_deref().unwrap_or("monthly");
    Ok(Json(shield.report(&caller(&allowed, network), period).await?))
}
