//! All SQL of subject requests: here the requests themselves; [`codes`] has what people prove who they are by, [`work`]
//! what the runner needs, [`copies`] what is handed out, [`held`] what is kept of people here.
//!
//! A change names the states from which it may start, so that of two at the same time one finds nothing to change. What the
//! receipt of a letter moves meanwhile keeps nothing else from being done.

pub(crate) mod codes;
pub(crate) mod copies;
pub(crate) mod held;
pub(crate) mod rectification;
pub(crate) mod restriction;
mod statement;
pub(crate) mod work;

use std::collections::HashSet;

use kiki_store::personal::SubjectId;
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::SubjectRequestId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use statement::Statement;

use super::code::{ANSWER_MS, Sent};
use super::letters::MAIL_TASK;
use super::model::{Ground, Kind, Outcome, Regime, State, reminder};

const REQUEST: &str = "tenant, id, subject, kind, regime, state, outcome, ground, received_at, received_on, \
     acknowledge_by, due_at, extended_due_at, acknowledged_at, verified_at, verified_by, extended_at, ended_at, details, \
     code_until, codes, reminded, step, next_at, lease_until, waived_at";

/// A subject request. A time of 0 did not come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) tenant: TenantId,
    pub(crate) id: SubjectRequestId,
    pub(crate) subject: SubjectId,
    pub(crate) kind: Kind,
    pub(crate) regime: Regime,
    pub(crate) state: State,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) ground: Option<Ground>,
    pub(crate) received_at: UnixMillis,
    pub(crate) received_on: String,
    pub(crate) acknowledge_by: UnixMillis,
    pub(crate) due_at: UnixMillis,
    pub(crate) extended_due_at: UnixMillis,
    pub(crate) acknowledged_at: UnixMillis,
    pub(crate) verified_at: UnixMillis,
    pub(crate) verified_by: String,
    pub(crate) extended_at: UnixMillis,
    pub(crate) ended_at: UnixMillis,
    /// Sealed.
    pub(crate) details: Vec<u8>,
    pub(crate) sent: Sent,
    pub(crate) reminded: i64,
    pub(crate) step: i64,
    pub(crate) next_at: UnixMillis,
    pub(crate) lease_until: UnixMillis,
    /// When an officer said that a deletion waits for no copy.
    pub(crate) waived_at: UnixMillis,
}

impl Request {
    /// The last millisecond to answer in, with an extension if there is one.
    pub(crate) fn due(&self) -> UnixMillis {
        if self.extended_at.0 > 0 { self.extended_due_at } else { self.due_at }
    }

    pub(crate) const fn is_extended(&self) -> bool {
        self.extended_at.0 > 0
    }
}

/// Which requests are wanted, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) state: Option<State>,
    pub(crate) due_before: Option<UnixMillis>,
    pub(crate) after: Option<(UnixMillis, SubjectRequestId)>,
    pub(crate) limit: i64,
}

/// Requests of one type and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) count: i64,
}

/// Rows of one statement at the most: 26 values each, of the 32,766 that SQLite takes.
const ROWS_MAX: usize = 500;

pub(crate) async fn insert(tx: &mut Tx, requests: &[Request]) -> Result<(), StoreError> {
    for requests in requests.chunks(ROWS_MAX) {
        let mut query = Statement::new(format!("INSERT INTO subject_request ({REQUEST}) "));
        query.rows(requests, |row, request| {
            row.bind(request.tenant.as_str())
                .bind(request.id.to_string())
                .bind(request.subject.to_string())
                .bind(request.kind.as_str())
                .bind(request.regime.as_str())
                .bind(request.state.as_str())
                .bind(request.outcome.map_or("", Outcome::as_str))
                .bind(request.ground.map_or("", Ground::as_str))
                .bind(request.received_at.0)
                .bind(request.received_on.as_str())
                .bind(request.acknowledge_by.0)
                .bind(request.due_at.0)
                .bind(request.extended_due_at.0)
                .bind(request.acknowledged_at.0)
                .bind(request.verified_at.0)
                .bind(request.verified_by.as_str())
                .bind(request.extended_at.0)
                .bind(request.ended_at.0)
                .bind(request.details.as_slice())
                .bind(request.sent.until.0)
                .bind(request.sent.count)
                .bind(request.reminded)
                .bind(request.step)
                .bind(request.next_at.0)
                .bind(request.lease_until.0)
                .bind(request.waived_at.0);
        });
        query.query()?.execute(tx.sql()).await?;
    }
    Ok(())
}

pub(crate) async fn find(
    store: &Store,
    tenant: &TenantId,
    id: SubjectRequestId,
) -> Result<Option<Request>, StoreError> {
    let query = format!("SELECT {REQUEST} FROM subject_request WHERE tenant = $1 AND id = $2");
    let row = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(id.to_string());
    row.fetch_optional(store.pool()).await?.as_ref().map(read).transpose()
}

/// Those of `ids` that there are, in no order.
pub(crate) async fn find_all(
    store: &Store,
    tenant: &TenantId,
    ids: &[SubjectRequestId],
) -> Result<Vec<Request>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Statement::new(format!("SELECT {REQUEST} FROM subject_request WHERE tenant = "));
    query.bind(tenant.as_str());
    query.among("id", ids.iter());
    query.query()?.fetch_all(store.pool()).await?.iter().map(read).collect()
}

pub(crate) async fn list(store: &Store, tenant: &TenantId, wanted: &Wanted) -> Result<Vec<Request>, StoreError> {
    let mut query = Statement::new(format!("SELECT {REQUEST} FROM subject_request WHERE tenant = "));
    query.bind(tenant.as_str());
    if let Some(state) = wanted.state {
        query.push(" AND state = ").bind(state.as_str());
    }
    if let Some(before) = wanted.due_before {
        query.push(" AND ended_at = 0 AND CASE WHEN extended_at > 0 THEN extended_due_at ELSE due_at END < ");
        query.bind(before.0);
    }
    if let Some((at, id)) = wanted.after {
        query.push(" AND (received_at > ").bind(at.0).push(" OR (received_at = ").bind(at.0);
        query.push(" AND id > ").bind(id.to_string()).push("))");
    }
    query.push(" ORDER BY received_at, id LIMIT ").bind(wanted.limit);
    query.query()?.fetch_all(store.pool()).await?.iter().map(read).collect()
}

/// What came in from `from` to before `to`, by type and state.
pub(crate) async fn tallies(
    store: &Store,
    tenant: &TenantId,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<Tally>, StoreError> {
    let rows = sqlx::query(
        "SELECT kind, state, COUNT(*) AS requests FROM subject_request \
         WHERE tenant = $1 AND received_at >= $2 AND received_at < $3 GROUP BY kind, state ORDER BY kind, state",
    )
    .bind(tenant.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch_all(store.pool())
    .await?;
    let tally =
        |row: &AnyRow| Ok(Tally { kind: row.text("kind")?, state: row.text("state")?, count: row.int("requests")? });
    rows.iter().map(tally).collect()
}

/// Requests that have not ended although they were due before `now`.
pub(crate) async fn overdue(store: &Store, tenant: &TenantId, now: UnixMillis) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS requests FROM subject_request WHERE tenant = $1 AND ended_at = 0 \
         AND CASE WHEN extended_at > 0 THEN extended_due_at ELSE due_at END < $2",
    );
    row.bind(tenant.as_str()).bind(now.0).fetch_one(store.pool()).await?.int("requests")
}

/// Keeps that the person was told of the receipt; a request that still stands where it was read moves to `to`.
pub(crate) async fn acknowledge(tx: &mut Tx, request: &Request, to: State, now: UnixMillis) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE subject_request SET acknowledged_at = $4, state = CASE WHEN state = $3 THEN $5 ELSE state END \
         WHERE tenant = $1 AND id = $2 AND acknowledged_at = 0",
    )
    .bind(request.tenant.as_str())
    .bind(request.id.to_string())
    .bind(request.state.as_str())
    .bind(now.0)
    .bind(to.as_str())
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// Keeps who proved or vouched for the person's identity. The code is used up.
pub(crate) async fn prove(tx: &mut Tx, request: &Request, by: &str, now: UnixMillis) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE subject_request SET state = CASE WHEN extended_at > 0 THEN 'extended' ELSE 'in_progress' END, \
         verified_at = $3, verified_by = $4, code = NULL, next_at = $3 \
         WHERE tenant = $1 AND id = $2 AND state IN ('received', 'identity_check')",
    );
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(now.0).bind(by);
    Ok(changed.execute(tx.sql()).await?.rows_affected() == 1)
}

/// As [`prove`], of those of `requests` that nobody proved yet. Returns which.
pub(crate) async fn prove_all(
    tx: &mut Tx,
    tenant: &TenantId,
    requests: &[SubjectRequestId],
    by: &str,
    now: UnixMillis,
) -> Result<HashSet<SubjectRequestId>, StoreError> {
    let mut query = Statement::new(
        "UPDATE subject_request SET state = CASE WHEN extended_at > 0 THEN 'extended' ELSE 'in_progress' END, \
         code = NULL, verified_at = ",
    );
    query.bind(now.0).push(", next_at = ").bind(now.0).push(", verified_by = ").bind(by);
    query.push(" WHERE state IN ('received', 'identity_check') AND tenant = ").bind(tenant.as_str());
    query.among("id", requests).push(" RETURNING id");
    query.query()?.fetch_all(tx.sql()).await?.iter().map(|row| row.parsed("id")).collect()
}

/// Takes more time. Reminders come again.
pub(crate) async fn extend(tx: &mut Tx, request: &Request, now: UnixMillis) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE subject_request SET state = CASE WHEN state = 'in_progress' THEN 'extended' ELSE state END, \
         extended_at = $3, reminded = $4 WHERE tenant = $1 AND id = $2 AND extended_at = 0 AND ended_at = 0",
    );
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(now.0);
    let reminded = request.reminded & !reminder::OF_DUE;
    Ok(changed.bind(reminded).execute(tx.sql()).await?.rows_affected() == 1)
}

/// Ends a request of which nothing was carried out, or that waits for its source; one that was not proven as it was read,
/// only if it still is not.
pub(crate) async fn refuse(
    tx: &mut Tx,
    request: &Request,
    ground: Ground,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    let (from, or_from) = match request.state {
        State::Received | State::IdentityCheck => (State::Received, State::IdentityCheck),
        _ => (State::InProgress, State::Extended),
    };
    let changed = sqlx::query(
        "UPDATE subject_request SET state = 'refused', ground = $5, ended_at = $6, code = NULL, worker = '', \
         lease_until = 0 WHERE tenant = $1 AND id = $2 AND state IN ($3, $4) \
         AND (step = 0 OR (kind = 'RECTIFICATION' AND step = $7)) AND lease_until <= $6",
    );
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string());
    let changed = changed.bind(from.as_str()).bind(or_from.as_str());
    let changed = changed.bind(ground.as_str()).bind(now.0).bind(rectification::AWAITS_SOURCE);
    Ok(changed.execute(tx.sql()).await?.rows_affected() == 1)
}

/// Carries a request on at once. Returns whether it is being carried out, and by nobody at the moment.
pub(crate) async fn hasten(tx: &mut Tx, request: &Request, now: UnixMillis) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE subject_request SET next_at = $3 WHERE tenant = $1 AND id = $2 \
         AND state IN ('in_progress', 'extended') AND lease_until <= $3",
    );
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(now.0);
    Ok(changed.execute(tx.sql()).await?.rows_affected() == 1)
}

/// Requests of all tenants for which a reminder is due that was not published, or whose time to prove who asks is over.
pub(crate) async fn to_remind(store: &Store, now: UnixMillis, limit: i64) -> Result<Vec<Request>, StoreError> {
    const DAY_MS: i64 = 86_400_000;
    let query = format!(
        "SELECT {REQUEST} FROM (SELECT r.*, CASE WHEN extended_at > 0 THEN extended_due_at ELSE due_at END AS last \
         FROM subject_request r WHERE ended_at = 0) open_requests WHERE \
         (reminded & {half} = 0 AND received_at + (last - received_at) / 2 <= $1) \
         OR (reminded & {week} = 0 AND last - {week_ms} <= $1) OR (reminded & {three} = 0 AND last - {three_ms} <= $1) \
         OR (reminded & {day} = 0 AND last - {day_ms} <= $1) OR (reminded & {over} = 0 AND last < $1) \
         OR (reminded & {receipt} = 0 AND acknowledged_at = 0 AND acknowledge_by > 0 AND acknowledge_by - {two_ms} <= $1) \
         OR (last < $1 AND state IN ('received', 'identity_check') AND codes > 0 AND code_until + {answer_ms} <= $1 \
         AND NOT EXISTS (SELECT 1 FROM subject_task t WHERE t.tenant = open_requests.tenant \
         AND t.request = open_requests.id AND t.store = '{MAIL_TASK}')) LIMIT $2",
        half = reminder::HALF,
        week = reminder::WEEK,
        three = reminder::THREE_DAYS,
        day = reminder::DAY,
        over = reminder::OVERDUE,
        receipt = reminder::ACKNOWLEDGE,
        answer_ms = ANSWER_MS,
        week_ms = 7 * DAY_MS,
        three_ms = 3 * DAY_MS,
        two_ms = 2 * DAY_MS,
        day_ms = DAY_MS,
    );
    let rows = sqlx::query(AssertSqlSafe(query)).bind(now.0).bind(limit).fetch_all(store.pool()).await?;
    rows.iter().map(read).collect()
}

/// Keeps which reminders were published, unless another process did so before.
pub(crate) async fn reminded(tx: &mut Tx, request: &Request, bits: i64) -> Result<bool, StoreError> {
    let changed =
        sqlx::query("UPDATE subject_request SET reminded = $4 WHERE tenant = $1 AND id = $2 AND reminded = $3");
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(request.reminded).bind(bits);
    Ok(changed.execute(tx.sql()).await?.rows_affected() == 1)
}

pub(super) fn read(row: &AnyRow) -> Result<Request, StoreError> {
    let word = |column: &str| Ok::<_, StoreError>(Some(row.text(column)?).filter(|word| !word.is_empty()));
    let unreadable = |column: &str, why: String| StoreError::Unreadable { column: column.to_owned(), why };
    Ok(Request {
        tenant: row.tenant("tenant")?,
        id: row.parsed("id")?,
        subject: row.parsed("subject")?,
        kind: row.parsed("kind")?,
        regime: row.parsed("regime")?,
        state: row.parsed("state")?,
        outcome: word("outcome")?.map(|word| word.parse()).transpose().map_err(|why| unreadable("outcome", why))?,
        ground: word("ground")?.map(|word| word.parse()).transpose().map_err(|why| unreadable("ground", why))?,
        received_at: row.time("received_at")?,
        received_on: row.text("received_on")?,
        acknowledge_by: row.time("acknowledge_by")?,
        due_at: row.time("due_at")?,
        extended_due_at: row.time("extended_due_at")?,
        acknowledged_at: row.time("acknowledged_at")?,
        verified_at: row.time("verified_at")?,
        verified_by: row.text("verified_by")?,
        extended_at: row.time("extended_at")?,
        ended_at: row.time("ended_at")?,
        details: row.bytes_opt("details")?.unwrap_or_default(),
        sent: Sent { until: row.time("code_until")?, count: row.int("codes")? },
        reminded: row.int("reminded")?,
        step: row.int("step")?,
        next_at: row.time("next_at")?,
        lease_until: row.time("lease_until")?,
        waived_at: row.time("waived_at")?,
    })
}

#[cfg(test)]
pub(super) mod tests;
