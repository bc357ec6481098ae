//! Messages: one row for each customer of a campaign.

use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::TenantId;
use kiki_types::id::CampaignId;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::engage::campaign::RunId;
use crate::engage::message::{Message, MessageState};

const COLUMNS: &str =
    "id, customer_id, state, attempt, authorization_id, reasons, value, probability_alive, updated_at";

/// So many messages ended in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engage) struct Count {
    pub(in crate::engage) state: MessageState,
    pub(in crate::engage) reasons: Vec<String>,
    pub(in crate::engage) messages: i64,
}

/// Kinds of ends that are counted apart at the most.
const COUNTS_MAX: i64 = 1_000;

/// Keeps a new message. Returns whether it is new: a customer has one message of a campaign.
pub(in crate::engage) async fn claim(
    tx: &mut Tx,
    tenant: &TenantId,
    campaign: CampaignId,
    run: RunId,
    message: &Message,
) -> Result<bool, StoreError> {
    let claimed = sqlx::query(
        "INSERT INTO engage_message (tenant, campaign, customer_id, id, state, attempt, authorization_id, reasons, \
         value, probability_alive, run, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (tenant, campaign, customer_id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(campaign.to_string())
    .bind(message.customer_id.as_str())
    .bind(message.id.to_string())
    .bind(message.state.as_str())
    .bind(message.attempt)
    .bind(message.authorization.clone())
    .bind(message.reasons.join(","))
    .bind(message.value.as_str())
    .bind(message.probability_alive.as_str())
    .bind(run.to_string())
    .bind(message.updated_at.0)
    .execute(tx.sql())
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Keeps what became of a message. What was captured stays so.
pub(in crate::engage) async fn record(
    tx: &mut Tx,
    tenant: &TenantId,
    campaign: CampaignId,
    run: RunId,
    message: &Message,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE engage_message SET state = $4, attempt = $5, authorization_id = $6, reasons = $7, run = $8, \
         updated_at = $9 WHERE tenant = $1 AND campaign = $2 AND customer_id = $3 AND state <> 'captured'",
    )
    .bind(tenant.as_str())
    .bind(campaign.to_string())
    .bind(message.customer_id.as_str())
    .bind(message.state.as_str())
    .bind(message.attempt)
    .bind(message.authorization.clone())
    .bind(message.reasons.join(","))
    .bind(run.to_string())
    .bind(message.updated_at.0)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// At most `limit` messages that are not at their end ([`Message::is_final`]) and that `run` has not had in hand.
pub(in crate::engage) async fn unfinished(
    store: &Store,
    tenant: &TenantId,
    campaign: CampaignId,
    run: RunId,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM engage_message WHERE tenant = $1 AND campaign = $2 AND run <> $3 \
         AND state <> 'captured' AND NOT (state = 'failed' AND reasons IN ('send_rejected', 'shield_rejected')) \
         ORDER BY customer_id LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(campaign.to_string())
        .bind(run.to_string())
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read).collect()
}

/// The message of a campaign to one customer.
pub(in crate::engage) async fn find(
    store: &Store,
    tenant: &TenantId,
    campaign: CampaignId,
    customer_id: &str,
) -> Result<Option<Message>, StoreError> {
    let query =
        format!("SELECT {COLUMNS} FROM engage_message WHERE tenant = $1 AND campaign = $2 AND customer_id = $3");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(campaign.to_string())
        .bind(customer_id)
        .fetch_optional(store.pool())
        .await?;
    row.as_ref().map(read).transpose()
}

/// At most `limit` messages to customers after `after`, in the order of their ids.
pub(in crate::engage) async fn page(
    store: &Store,
    tenant: &TenantId,
    campaign: CampaignId,
    after: &str,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM engage_message WHERE tenant = $1 AND campaign = $2 AND customer_id > $3 \
         ORDER BY customer_id LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(campaign.to_string())
        .bind(after)
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read).collect()
}

/// How many messages ended how.
pub(in crate::engage) async fn counts(
    store: &Store,
    tenant: &TenantId,
    campaign: CampaignId,
) -> Result<Vec<Count>, StoreError> {
    let rows = sqlx::query(
        "SELECT state, reasons, count(*) AS messages FROM engage_message WHERE tenant = $1 AND campaign = $2 \
         GROUP BY state, reasons ORDER BY state, reasons LIMIT $3",
    )
    .bind(tenant.as_str())
    .bind(campaign.to_string())
    .bind(COUNTS_MAX)
    .fetch_all(store.pool())
    .await?;
    let count = |row: &AnyRow| {
        Ok(Count { state: row.parsed("state")?, reasons: reasons(row)?, messages: row.int("messages")? })
    };
    rows.iter().map(count).collect()
}

fn read(row: &AnyRow) -> Result<Message, StoreError> {
    Ok(Message {
        id: row.parsed("id")?,
        customer_id: row.text("customer_id")?,
        state: row.parsed("state")?,
        attempt: row.int("attempt")?,
        authorization: row.text_opt("authorization_id")?,
        reasons: reasons(row)?,
        value: row.text("value")?,
        probability_alive: row.text("probability_alive")?,
        updated_at: row.time("updated_at")?,
    })
}

fn reasons(row: &AnyRow) -> Result<Vec<String>, StoreError> {
    let text = row.text("reasons")?;
    Ok(text.split(',').filter(|reason| !reason.is_empty()).map(str::to_owned).collect())
}
