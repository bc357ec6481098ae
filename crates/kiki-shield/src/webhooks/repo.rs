//! All SQL of webhooks.
//!
//! Deliveries are claimed by moving `due_at` to the end of a lease and counting the attempt; what came of an attempt is
//! kept only while no later one was begun.

use std::collections::HashMap;

use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::{DeliveryId, WebhookId};
use kiki_types::{TenantId, UnixMillis};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Executor};

use super::event::EventKind;
use super::model::{Attempt, Delivery, Disabled, Endpoint, Failures, State};
use super::secret::SigningSecret;

const ENDPOINT: &str = "id, url, description, events, secret, old_secret, old_secret_until, created_at, active_since, \
     disabled, failures, failing_since, dropped";
const DELIVERY: &str =
    "id, endpoint, event, body, created_at, state, attempts, due_at, last_status, last_error, ended_at";

/// Rows that one tidying removes at the most.
pub(crate) const PRUNED_MAX: i64 = 1_000;

pub(crate) async fn insert_endpoint(tx: &mut Tx, tenant: &TenantId, endpoint: &Endpoint) -> Result<(), StoreError> {
    let events: Vec<_> = endpoint.events.iter().map(|event| event.as_str()).collect();
    sqlx::query(
        "INSERT INTO webhook_endpoint (tenant, id, url, description, events, secret, created_at, active_since) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(tenant.as_str())
    .bind(endpoint.id.to_string())
    .bind(endpoint.url.as_str())
    .bind(endpoint.description.as_str())
    .bind(events.join(","))
    .bind(endpoint.secret.base64().as_str())
    .bind(endpoint.created_at.0)
    .bind(endpoint.active_since.0)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// The tenant's endpoints in the order in which they were made, at most `limit`.
pub(crate) async fn endpoints<'c>(
    sql: impl Executor<'c, Database = Any>,
    tenant: &TenantId,
    limit: usize,
) -> Result<Vec<Endpoint>, StoreError> {
    let query = format!("SELECT {ENDPOINT} FROM webhook_endpoint WHERE tenant = $1 ORDER BY created_at, id LIMIT $2");
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(sql)
        .await?;
    rows.iter().map(read_endpoint).collect()
}

pub(crate) async fn endpoint(store: &Store, tenant: &TenantId, id: WebhookId) -> Result<Option<Endpoint>, StoreError> {
    let query = format!("SELECT {ENDPOINT} FROM webhook_endpoint WHERE tenant = $1 AND id = $2");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(store.pool())
        .await?;
    row.as_ref().map(read_endpoint).transpose()
}

/// Whether anybody is told of anything.
pub(crate) async fn any_active(store: &Store) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT id FROM webhook_endpoint WHERE disabled = '' LIMIT 1");
    Ok(row.fetch_optional(store.pool()).await?.is_some())
}

/// Removes an endpoint and all that was for it. Returns whether it was there.
pub(crate) async fn delete_endpoint(tx: &mut Tx, tenant: &TenantId, id: WebhookId) -> Result<bool, StoreError> {
    for table in ["webhook_delivery WHERE tenant = $1 AND endpoint", "webhook_endpoint WHERE tenant = $1 AND id"] {
        let gone = sqlx::query(AssertSqlSafe(format!("DELETE FROM {table} = $2")))
            .bind(tenant.as_str())
            .bind(id.to_string())
            .execute(tx.sql())
            .await?;
        if table.starts_with("webhook_endpoint") {
            return Ok(gone.rows_affected() == 1);
        }
    }
    Ok(false)
}

/// Gives an endpoint another secret; the one it had signs as well until `until`. Returns whether it is there.
pub(crate) async fn rotate(
    tx: &mut Tx,
    tenant: &TenantId,
    id: WebhookId,
    secret: &SigningSecret,
    until: UnixMillis,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE webhook_endpoint SET old_secret = secret, old_secret_until = $4, secret = $3 \
         WHERE tenant = $1 AND id = $2",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(secret.base64().as_str())
    .bind(until.0)
    .execute(tx.sql())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Tells an endpoint of what happens from `now` on, if nothing was sent to it. Returns whether it is there.
pub(crate) async fn enable(tx: &mut Tx, tenant: &TenantId, id: WebhookId, now: UnixMillis) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE webhook_endpoint SET active_since = CASE WHEN disabled = '' THEN active_since ELSE $3 END, \
         disabled = '', failures = 0, failing_since = 0 WHERE tenant = $1 AND id = $2",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(now.0)
    .execute(tx.sql())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Keeps how often an endpoint failed since its last success.
pub(crate) async fn set_failures(
    tx: &mut Tx,
    tenant: &TenantId,
    id: WebhookId,
    failures: Failures,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_endpoint SET failures = $3, failing_since = $4 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(failures.count)
        .bind(failures.since.0)
        .execute(tx.sql())
        .await?;
    Ok(())
}

/// Sends nothing more to an endpoint; what waits for it has failed.
pub(crate) async fn disable(
    tx: &mut Tx,
    tenant: &TenantId,
    id: WebhookId,
    why: Disabled,
    now: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_endpoint SET disabled = $3 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(why.as_str())
        .execute(tx.sql())
        .await?;
    sqlx::query(
        "UPDATE webhook_delivery SET state = 'failed', ended_at = $3, last_status = 0, \
         last_error = 'the webhook was disabled' WHERE tenant = $1 AND endpoint = $2 AND state = 'pending'",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(now.0)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// Counts events that an endpoint is not told of.
pub(crate) async fn add_dropped(tx: &mut Tx, tenant: &TenantId, id: WebhookId, events: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_endpoint SET dropped = dropped + $3 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(events)
        .execute(tx.sql())
        .await?;
    Ok(())
}

/// How many deliveries wait for each of the tenant's endpoints; those for which none waits are left out.
pub(crate) async fn waiting(tx: &mut Tx, tenant: &TenantId) -> Result<HashMap<WebhookId, i64>, StoreError> {
    let rows = sqlx::query(
        "SELECT endpoint, COUNT(*) AS waiting FROM webhook_delivery WHERE tenant = $1 AND state = 'pending' \
         GROUP BY endpoint",
    )
    .bind(tenant.as_str())
    .fetch_all(tx.sql())
    .await?;
    rows.iter().map(|row| Ok((row.parsed("endpoint")?, row.int("waiting")?))).collect()
}

/// Keeps a new delivery; one that is there already stays as it is.
pub(crate) async fn insert_delivery(tx: &mut Tx, tenant: &TenantId, delivery: &Delivery) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO webhook_delivery (tenant, endpoint, id, event, body, created_at, state, attempts, due_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, endpoint, id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(delivery.endpoint.to_string())
    .bind(delivery.id.to_string())
    .bind(delivery.event.as_str())
    .bind(delivery.body.as_str())
    .bind(delivery.created_at.0)
    .bind(delivery.state.as_str())
    .bind(delivery.attempts)
    .bind(delivery.due_at.0)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// At most `limit` deliveries of an endpoint, the newest first: those before `after`, or the first ones.
pub(crate) async fn deliveries(
    store: &Store,
    tenant: &TenantId,
    endpoint: WebhookId,
    after: Option<&Delivery>,
    limit: i64,
) -> Result<Vec<Delivery>, StoreError> {
    let (at, id) = after.map_or((i64::MAX, String::new()), |after| (after.created_at.0, after.id.to_string()));
    let query = format!(
        "SELECT {DELIVERY} FROM webhook_delivery WHERE tenant = $1 AND endpoint = $2 \
         AND (created_at < $3 OR (created_at = $3 AND id < $4)) ORDER BY created_at DESC, id DESC LIMIT $5"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(endpoint.to_string())
        .bind(at)
        .bind(id)
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read_delivery).collect()
}

pub(crate) async fn delivery(
    store: &Store,
    tenant: &TenantId,
    endpoint: WebhookId,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    let query = format!("SELECT {DELIVERY} FROM webhook_delivery WHERE tenant = $1 AND endpoint = $2 AND id = $3");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(endpoint.to_string())
        .bind(id.to_string())
        .fetch_optional(store.pool())
        .await?;
    row.as_ref().map(read_delivery).transpose()
}

/// Makes a delivery due now, with all its attempts again if it has ended. Returns whether it is there.
pub(crate) async fn retry(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: WebhookId,
    id: DeliveryId,
    now: UnixMillis,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE webhook_delivery SET attempts = CASE WHEN state = 'pending' THEN attempts ELSE 0 END, \
         state = 'pending', due_at = $4, ended_at = 0 WHERE tenant = $1 AND endpoint = $2 AND id = $3",
    )
    .bind(tenant.as_str())
    .bind(endpoint.to_string())
    .bind(id.to_string())
    .bind(now.0)
    .execute(tx.sql())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Whether a delivery of any tenant is due.
pub(crate) async fn any_due(store: &Store, now: UnixMillis) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT id FROM webhook_delivery WHERE state = 'pending' AND due_at <= $1 LIMIT 1");
    Ok(row.bind(now.0).fetch_optional(store.pool()).await?.is_some())
}

/// Whose deliveries wait while others are sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Busy {
    pub(crate) endpoints: Vec<WebhookId>,
    pub(crate) tenants: Vec<TenantId>,
}

/// Takes the delivery of any tenant that is due the longest, until `lease_until`, and counts the attempt. Those of who is
/// `busy` are passed over, as are those that another process is taking.
pub(crate) async fn claim(
    store: &Store,
    now: UnixMillis,
    lease_until: UnixMillis,
    busy: &Busy,
) -> Result<Option<(TenantId, Delivery)>, StoreError> {
    let busy: Vec<_> = (busy.endpoints.iter().map(|endpoint| ("endpoint", endpoint.to_string())))
        .chain(busy.tenants.iter().map(|tenant| ("tenant", tenant.to_string())))
        .collect();
    let others: String =
        busy.iter().enumerate().map(|(at, (column, _))| format!(" AND {column} <> ${}", at + 2)).collect();
    let query = format!(
        "SELECT tenant, {DELIVERY} FROM webhook_delivery WHERE state = 'pending' AND due_at <= $1{others} \
         ORDER BY due_at LIMIT 1{}",
        store.dialect().claim()
    );
    let mut tx = store.begin().await?;
    let mut select = sqlx::query(AssertSqlSafe(query)).bind(now.0);
    for (_, name) in busy {
        select = select.bind(name);
    }
    let Some(row) = select.fetch_optional(tx.sql()).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    let tenant = row.tenant("tenant")?;
    let mut delivery = read_delivery(&row)?;
    (delivery.attempts, delivery.due_at) = (delivery.attempts + 1, lease_until);
    sqlx::query(
        "UPDATE webhook_delivery SET attempts = $4, due_at = $5 WHERE tenant = $1 AND endpoint = $2 AND id = $3",
    )
    .bind(tenant.as_str())
    .bind(delivery.endpoint.to_string())
    .bind(delivery.id.to_string())
    .bind(delivery.attempts)
    .bind(lease_until.0)
    .execute(tx.sql())
    .await?;
    tx.commit().await?;
    Ok(Some((tenant, delivery)))
}

/// Keeps what came of the attempt that `delivery` counts last, unless a later one was begun or it has ended. Returns
/// whether it was kept.
pub(crate) async fn record(tx: &mut Tx, tenant: &TenantId, delivery: &Delivery) -> Result<bool, StoreError> {
    let (status, error) = match &delivery.last {
        Some(Attempt::Answered { status, .. }) => (i64::from(*status), ""),
        Some(Attempt::Unanswered(why)) => (0, why.as_str()),
        None => (0, ""),
    };
    let kept = sqlx::query(
        "UPDATE webhook_delivery SET state = $5, due_at = $6, last_status = $7, last_error = $8, ended_at = $9 \
         WHERE tenant = $1 AND endpoint = $2 AND id = $3 AND attempts = $4 AND state = 'pending'",
    )
    .bind(tenant.as_str())
    .bind(delivery.endpoint.to_string())
    .bind(delivery.id.to_string())
    .bind(delivery.attempts)
    .bind(delivery.state.as_str())
    .bind(delivery.due_at.0)
    .bind(status)
    .bind(error)
    .bind(delivery.ended_at.0)
    .execute(tx.sql())
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Removes deliveries of all tenants that ended in `state` before `before`, at most [`PRUNED_MAX`].
pub(crate) async fn prune(store: &Store, state: State, before: UnixMillis) -> Result<u64, StoreError> {
    let mut tx = store.begin().await?;
    let gone = sqlx::query(
        "DELETE FROM webhook_delivery WHERE (tenant, endpoint, id) IN (SELECT tenant, endpoint, id \
         FROM webhook_delivery WHERE state = $1 AND state <> 'pending' AND ended_at < $2 ORDER BY ended_at LIMIT $3)",
    )
    .bind(state.as_str())
    .bind(before.0)
    .bind(PRUNED_MAX)
    .execute(tx.sql())
    .await?;
    tx.commit().await?;
    Ok(gone.rows_affected())
}

/// How many entries of `log` were turned into deliveries.
pub(crate) async fn position(store: &Store, log: &str) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT position FROM webhook_follower WHERE log = $1");
    let row = row.bind(log).fetch_optional(store.pool()).await?;
    row.map_or(Ok(0), |row| Ok(u64::try_from(row.int("position")?).unwrap_or(0)))
}

pub(crate) async fn set_position(tx: &mut Tx, log: &str, position: u64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO webhook_follower (log, position) VALUES ($1, $2) \
         ON CONFLICT (log) DO UPDATE SET position = excluded.position",
    )
    .bind(log)
    .bind(i64::try_from(position).unwrap_or(i64::MAX))
    .execute(tx.sql())
    .await?;
    Ok(())
}

fn read_endpoint(row: &AnyRow) -> Result<Endpoint, StoreError> {
    let unreadable =
        |column: &str, why: &str| StoreError::Unreadable { column: column.to_owned(), why: why.to_owned() };
    let secret = |column: &str| {
        let text = zeroize::Zeroizing::new(row.text(column)?);
        SigningSecret::from_base64(&text).ok_or_else(|| unreadable(column, "is no secret"))
    };
    let has_old = !zeroize::Zeroizing::new(row.text("old_secret")?).is_empty();
    let old_secret = has_old.then(|| Ok::<_, StoreError>((secret("old_secret")?, row.time("old_secret_until")?)));
    let events = row.text("events")?;
    let events = events.split(',').filter(|name| !name.is_empty()).map(str::parse::<EventKind>);
    let disabled = row.text("disabled")?;
    let disabled = (!disabled.is_empty()).then(|| disabled.parse::<Disabled>());
    Ok(Endpoint {
        id: row.parsed("id")?,
        url: row.text("url")?,
        description: row.text("description")?,
        events: events.collect::<Result<_, _>>().map_err(|why| unreadable("events", &why))?,
        secret: secret("secret")?,
        old_secret: old_secret.transpose()?,
        created_at: row.time("created_at")?,
        active_since: row.time("active_since")?,
        disabled: disabled.transpose().map_err(|why| unreadable("disabled", why))?,
        failures: Failures { count: row.int("failures")?, since: row.time("failing_since")? },
        dropped: row.int("dropped")?,
    })
}

fn read_delivery(row: &AnyRow) -> Result<Delivery, StoreError> {
    let (status, error) = (row.int("last_status")?, row.text("last_error")?);
    let last = match (u16::try_from(status), error.is_empty()) {
        (Ok(0) | Err(_), true) => None,
        (Ok(0) | Err(_), false) => Some(Attempt::Unanswered(error)),
        (Ok(status), _) => Some(Attempt::Answered { status, retry_after_ms: None }),
    };
    Ok(Delivery {
        id: row.parsed("id")?,
        endpoint: row.parsed("endpoint")?,
        event: row.parsed("event")?,
        body: row.text("body")?,
        created_at: row.time("created_at")?,
        state: row.parsed("state")?,
        attempts: row.int("attempts")?,
        due_at: row.time("due_at")?,
        last,
        ended_at: row.time("ended_at")?,
    })
}
