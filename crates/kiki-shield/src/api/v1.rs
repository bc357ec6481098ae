//! Authorizations, and records of money that is already gone.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, JsonOrQuery, Path};
use kiki_kit::problem::Problem;
use kiki_spend::{Decision, Outcome, Status};
use kiki_types::id::AuthorizationId;
use kiki_types::{Channel, Money, Purpose, UnixMillis};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rate_limit::{RateLimit, rate_limit};
use super::{caller, denial, limits, names_of, passes_at, refused_by};
use crate::error::ShieldError;
use crate::model::{
    AmountBody, AuthorizationAnswer, AuthorizeBody, CaptureBody, DegradedAnswer, DryRunAnswer, RecordAnswer,
    RecordBody, RulingAnswer, act,
};
use crate::names::public_account;
use crate::service::control::would_refuse;
use crate::service::rules::Ruling;
use crate::service::{Ask, Booked, Caller, Decided, Shield, known};

/// Seconds that `ttl_seconds` may name at the most, so that it can be counted in milliseconds.
const TTL_SECONDS_MAX: i64 = i64::MAX / 1000;

pub(super) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(authorize))
        .routes(routes!(authorization))
        .routes(routes!(capture))
        .routes(routes!(void))
        .routes(routes!(increase))
        .routes(routes!(refund))
        .routes(routes!(record))
}

/// Reserve money before it moves.
///
/// Takes every limit on the account's path, and consent where a purpose is given, or nothing. Where the policy in force
/// allows less than was asked for, less is held, and `degraded` says so. With the header `Idempotency-Key` a repeat gets
/// the same answer.
#[utoipa::path(post, path = "/v1/authorizations", tag = "authorizations", request_body = AuthorizeBody,
    params(("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 201, body = AuthorizationAnswer),
        (status = 202, body = AuthorizationAnswer, description = "Held, and waits for approval"),
        (status = 200, body = DryRunAnswer, description = "What would be decided: for `dry_run`"),
        (status = 403, description = "Denied, with what refused, how each limit stands, and when it would pass"),
        (status = 409, description = "The key was used for another request")))]
async fn authorize(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<AuthorizeBody>,
) -> Result<Response, Problem> {
    let caller = caller(&allowed, network);
    let purpose = body.purpose.as_deref().map(str::parse::<Purpose>).transpose();
    let channel = body.channel.as_deref().map(str::parse::<Channel>).transpose();
    let ask = Ask {
        customer_id: body.customer_id,
        purpose: purpose.map_err(|error| ShieldError::invalid("purpose", error))?,
        channel: channel.map_err(|error| ShieldError::invalid("channel", error))?,
        category: body.category,
        payee: body.payee,
        ttl_ms: body.ttl_seconds.map(|seconds| seconds.clamp(0, TTL_SECONDS_MAX) * 1000),
        key,
        act: act(None, body.action.as_deref(), body.target, body.risk)?,
        takes_less: true,
        ..Ask::of(body.account, body.amount)
    };
    if body.dry_run {
        return Ok(Json(dry_run(&shield, &caller, ask).await?).into_response());
    }
    let decided = shield.judge_and_authorize(&caller, &ask).await?;
    let decision = &decided.decision;
    let is_waiting = decision.authorization.as_ref().is_some_and(|(_, view)| view.status == Status::Pending);
    let status = match decision.outcome {
        Outcome::Pending if is_waiting => StatusCode::ACCEPTED,
        Outcome::Held | Outcome::Pending => StatusCode::CREATED,
        _ => return Err(with_ruling(refused(&shield, body.amount, "", decision), &decided)),
    };
    let Json(mut answer) = authorized(&shield, decision, decided.id)?;
    answer.policy = ruling_of(&decided).map(RulingAnswer::new);
    let less = Some(answer.amount).filter(|held| held.micros < ask.amount.micros);
    answer.degraded = DegradedAnswer::new(decided.ruling.as_ref(), Some(ask.amount), less);
    Ok((status, rate_limit(decision), Json(answer)).into_response())
}

/// What the policy said, if it is what decided: a repeat was decided before.
fn ruling_of(decided: &Decided) -> Option<&Ruling> {
    decided.ruling.as_ref().filter(|_| decided.decision.index.is_some())
}

/// A denial with what the policy says.
pub(super) fn with_ruling(problem: Problem, decided: &Decided) -> Problem {
    let Some(ruling) = ruling_of(decided) else { return problem };
    problem.with("policy", serde_json::to_value(RulingAnswer::new(ruling)).unwrap_or_default())
}

/// What a decision made of an authorization.
fn authorized(
    shield: &Shield,
    decision: &Decision,
    id: AuthorizationId,
) -> Result<Json<AuthorizationAnswer>, ShieldError> {
    let known = known(decision, id).ok_or(ShieldError::NotFound("authorization"))?;
    Ok(Json(AuthorizationAnswer::new(&known, shield)))
}

/// A denial of `asked`, or of so much more.
fn refused(shield: &Shield, asked: Money, more: &str, decision: &Decision) -> Problem {
    let by = refused_by(decision).join(", ");
    let problem = denial(shield, "denied", format!("{asked}{more} is refused by: {by}."), decision);
    problem.with("asked", serde_json::to_value(asked).unwrap_or_default())
}

async fn dry_run(shield: &Shield, caller: &Caller, ask: Ask) -> Result<DryRunAnswer, Problem> {
    let preview = shield.preview(caller, &ask).await?;
    let ruling = preview.ruling.as_ref();
    let less = ruling.and_then(|ruling| ruling.judgement.amount);
    let less = less.map(|micros| Money::new(micros, ask.amount.currency));
    let passes_at = passes_at(&preview.outcome, &preview.standings).filter(|_| !preview.is_repeat);
    Ok(DryRunAnswer {
        policy: ruling.map(RulingAnswer::new),
        degraded: DegradedAnswer::new(ruling, Some(ask.amount), less),
        would_be: preview.outcome.as_str(),
        refused_by: names_of(&preview.outcome).into_iter().map(str::to_owned).collect(),
        would_refuse: would_refuse(&preview.notices).into_iter().map(str::to_owned).collect(),
        limits: limits(&preview.standings),
        passes_at: passes_at.map(|at| UnixMillis(at).rfc3339()),
    })
}

/// Grow a hold, if every limit on the account's path allows the larger sum.
///
/// Where a policy is in force it is refused: rules judge whole requests, so what is missing is another authorization.
/// With the header `Idempotency-Key` a repeat changes nothing and is answered with the authorization as it stands now, also
/// after it has ended. A denied increase is judged anew.
#[utoipa::path(post, path = "/v1/authorizations/{id}/increase", tag = "authorizations", request_body = AmountBody,
    params(("id" = String, Path), ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 200, body = AuthorizationAnswer),
        (status = 403, description = "Denied; the hold stands as it was"),
        (status = 404, description = "Unknown or forgotten"),
        (status = 409, description = "Resolved before, or the key was used for another change of the authorization"),
        (status = 422, description = "No key of one more change of the authorization can be kept")))]
async fn increase(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<AmountBody>,
) -> Result<(RateLimit, Json<AuthorizationAnswer>), Problem> {
    let decision = shield.increase(&caller(&allowed, network), id, body.amount, key.as_deref()).await?;
    match decision.outcome {
        Outcome::Held => Ok((rate_limit(&decision), authorized(&shield, &decision, id)?)),
        _ => Err(refused(&shield, body.amount, " more", &decision)),
    }
}

/// Take back what was captured, in one or several parts.
///
/// It gives back to totals and to the calendar period of the capture. Windows and counts keep it: the money did move.
/// With the header `Idempotency-Key` a repeat gives back nothing more and is answered with the authorization as it stands now.
#[utoipa::path(post, path = "/v1/authorizations/{id}/refund", tag = "authorizations", request_body = AmountBody,
    params(("id" = String, Path), ("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 200, body = AuthorizationAnswer), (status = 404, description = "Unknown or forgotten"),
        (status = 409, description = "The key was used for another change of the authorization"),
        (status = 422, description = "More than is left to refund, or no key of one more change can be kept")))]
async fn refund(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<AmountBody>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.refund(&caller(&allowed, network), id, body.amount, key.as_deref()).await?;
    Ok(Json(AuthorizationAnswer::new(&known, &shield)))
}

/// Book money that is already gone.
///
/// It always counts; `over` names the limits that it broke. With the header `Idempotency-Key` a repeat gets the same answer.
#[utoipa::path(post, path = "/v1/records", tag = "authorizations", request_body = RecordBody,
    params(("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 201, body = RecordAnswer), (status = 409, description = "The key was used for another request")))]
async fn record(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<RecordBody>,
) -> Result<(StatusCode, Json<RecordAnswer>), Problem> {
    let ask = Ask { category: body.category, payee: body.payee, key, ..Ask::of(body.account, body.amount) };
    let Booked { known, over, entry } = shield.record_gone(&caller(&allowed, network), ask).await?;
    let answer = RecordAnswer {
        id: known.id.to_string(),
        state: known.view.status.as_str(),
        account: public_account(&known.view.path).to_owned(),
        amount: body.amount,
        over,
        entry,
        receipt: shield.receipt(known.entry),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// An authorization.
#[utoipa::path(get, path = "/v1/authorizations/{id}", tag = "authorizations", params(("id" = String, Path)),
    responses((status = 200, body = AuthorizationAnswer), (status = 404, description = "Unknown or forgotten")))]
async fn authorization(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendRead>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.authorization(&caller(&allowed, network), id).await?;
    Ok(Json(AuthorizationAnswer::new(&known, &shield)))
}

/// Settle a hold: the money has moved.
///
/// For at most what is held; the rest is free at once. Repeating it with the same amount answers the same.
#[utoipa::path(post, path = "/v1/authorizations/{id}/capture", tag = "authorizations", params(("id" = String, Path)),
    request_body = Option<CaptureBody>, responses((status = 200, body = AuthorizationAnswer),
        (status = 404, description = "Unknown or forgotten"), (status = 409, description = "Resolved before")))]
async fn capture(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
    JsonOrQuery(body): JsonOrQuery<CaptureBody>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.capture(&caller(&allowed, network), id, body.amount).await?;
    Ok(Json(AuthorizationAnswer::new(&known, &shield)))
}

/// Give a hold back.
#[utoipa::path(post, path = "/v1/authorizations/{id}/void", tag = "authorizations", params(("id" = String, Path)),
    responses((status = 200, body = AuthorizationAnswer), (status = 404, description = "Unknown or forgotten"),
        (status = 409, description = "Resolved before")))]
async fn void(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.void(&caller(&allowed, network), id).await?;
    Ok(Json(AuthorizationAnswer::new(&known, &shield)))
}
