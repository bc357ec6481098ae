//! The mailbox over HTTP: what it received, for those who may see it. Each tenant sees its own.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::{Json, Path, Query};
use kiki_kit::problem::Problem;
use kiki_types::id::MessageId;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Mailbox, Summary};

/// Messages of one page at the most.
const PAGE_MAX: usize = 200;
/// Messages of one page unless asked otherwise.
const PAGE_DEFAULT: usize = 50;

/// The mailbox's operations.
#[must_use]
pub fn api(mailbox: Mailbox) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read)).with_state(mailbox)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Messages at the most, 1 to 200; 50 unless given.
    limit: Option<usize>,
    /// Show what follows this id: `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<MessageId>,
}

/// A page of the mailbox.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct MailboxPage {
    /// Messages, oldest ids first.
    messages: Vec<MailboxMessage>,
    /// To be given as `after` for the next page; null on the last one.
    #[schema(value_type = Option<String>)]
    next: Option<MessageId>,
}

/// What a message's headers say.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct MailboxMessage {
    /// The message's id.
    #[schema(value_type = String)]
    id: MessageId,
    /// Its date, RFC 3339.
    at: String,
    /// The sender's address.
    from: String,
    /// The recipient's address.
    to: String,
    /// Its subject.
    subject: String,
    /// Its length in bytes.
    bytes: usize,
}

impl From<Summary> for MailboxMessage {
    fn from(summary: Summary) -> Self {
        let Summary { id, at, from, to, subject, bytes } = summary;
        Self { id, at: at.rfc3339(), from, to, subject, bytes }
    }
}

#[derive(Debug, Deserialize)]
struct MessagePath {
    id: MessageId,
}

/// What the mailbox received.
#[utoipa::path(
    get, path = "/sandbox/mailbox", tag = "sandbox", params(ListQuery),
    responses((status = 200, description = "A page", body = MailboxPage)),
)]
async fn list(
    State(mailbox): State<Mailbox>,
    allowed: Allowed<can::SandboxRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<MailboxPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format_args!("must be 1 to {PAGE_MAX}")));
    }
    let page = mailbox.list(&allowed.tenant, query.after, limit).await.map_err(|error| Problem::internal(&error))?;
    Ok(Json(MailboxPage { messages: page.messages.into_iter().map(Into::into).collect(), next: page.next }))
}

/// A message as it was delivered.
#[utoipa::path(
    get, path = "/sandbox/mailbox/{id}", tag = "sandbox",
    params(("id" = String, Path, description = "The message's id")),
    responses((status = 200, description = "The message", body = String, content_type = "message/rfc822")),
)]
async fn read(
    State(mailbox): State<Mailbox>,
    allowed: Allowed<can::SandboxRead>,
    Path(path): Path<MessagePath>,
) -> Result<Response, Problem> {
    let eml = mailbox.read(&allowed.tenant, path.id).await.map_err(|error| Problem::internal(&error))?;
    let eml = eml.ok_or_else(|| Problem::not_found("message"))?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("message/rfc822"))], eml).into_response())
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
