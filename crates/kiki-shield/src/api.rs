//! HTTP: the paths of the seeds exactly as their readers type them, and the interface proper under `/v1`.

mod budgets;
mod control;
mod policy;
mod rate_limit;
mod seeds;
mod v1;

use http::header::{ALLOW, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use kiki_kit::authorisation::{Allowed, RemoteNetwork};
use kiki_kit::problem::Problem;
use kiki_spend::owner::Decision;
use kiki_spend::{Outcome, Standing};
use kiki_types::UnixMillis;
use kiki_types::money::format_micros;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;

use crate::model::{LimitAnswer, tightest};
use crate::names::public_name;
use crate::service::{Caller, Shield};

/// The paths of the service.
#[must_use]
pub fn routes(shield: Shield) -> OpenApiRouter {
    let v1 = v1::routes()
        .merge(budgets::routes())
        .merge(control::routes())
        .merge(policy::routes())
        .merge(crate::audit::routes())
        .merge(crate::consent::routes());
    OpenApiRouter::new().merge(seeds::routes()).merge(v1).with_state(shield)
}

/// Refuses the HEAD that a GET route answers too, where to answer it would do what GET does.
pub(crate) fn only_get(method: &Method) -> Result<(), Problem> {
    if method == Method::GET {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Fetch it by GET.");
    Err(problem.with_header(ALLOW, HeaderValue::from_static("GET")))
}

pub(crate) fn caller<P>(allowed: &Allowed<P>, network: RemoteNetwork) -> Caller
where
    P: kiki_kit::authorisation::Can,
{
    Caller { principal: allowed.principal().clone(), network: network.0 }
}

/// What refused, towards the caller; empty unless it was denied.
fn refused_by(decision: &Decision) -> Vec<&str> {
    names_of(&decision.outcome)
}

/// What refused, towards the caller.
pub(crate) fn names_of(outcome: &Outcome) -> Vec<&str> {
    let Outcome::Denied { refused_by } = outcome else { return Vec::new() };
    let mut names: Vec<_> = refused_by.iter().map(|limit| public_name(limit)).collect();
    names.sort_unstable();
    names
}

fn limits(standings: &[Standing]) -> Vec<LimitAnswer> {
    standings.iter().map(LimitAnswer::from).collect()
}

/// A denial with all that explains it: what refused, how each limit stands, when the same request would pass.
fn denial(shield: &Shield, code: &'static str, detail: String, decision: &Decision) -> Problem {
    let limits = serde_json::to_value(limits(&decision.standings)).unwrap_or_default();
    let mut problem = Problem::denied(code, detail).with("refused_by", refused_by(decision)).with("limits", limits);
    for (name, value) in rate_limit::fields(decision) {
        problem = problem.with_header(name, value);
    }
    if let Some(entry) = decision.index {
        problem = problem.with("entry", entry);
    }
    if let Some(receipt) = shield.receipt(decision.entry()) {
        problem = receipt.on(problem);
    }
    if let Some((standing, room)) = tightest(&decision.standings) {
        problem = problem.with("remaining", format_micros(room.remaining));
        if let Some(frees_at) = standing.frees_at {
            problem = problem.with("frees_at", UnixMillis(frees_at).rfc3339());
        }
    }
    match passes_at(&decision.outcome, &decision.standings).filter(|_| decision.index.is_some()) {
        Some(passes_at) => {
            let seconds = u64::try_from(passes_at - decision.at).unwrap_or_default().div_ceil(1000);
            problem
                .with("passes_at", UnixMillis(passes_at).rfc3339())
                .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
        }
        None => problem,
    }
}

/// When the same request passes: when the last of those that refuse lets it. `None` where waiting does not help, as
/// without consent or beyond a total; a repeat, too, gets its first answer again.
pub(crate) fn passes_at(outcome: &Outcome, standings: &[Standing]) -> Option<i64> {
    let Outcome::Denied { refused_by } = outcome else { return None };
    let standing_of = |limit: &Arc<str>| standings.iter().find(|standing| standing.limit == *limit);
    let times = refused_by.iter().map(|limit| standing_of(limit)?.passes_at).collect::<Option<Vec<i64>>>()?;
    times.into_iter().max()
}
