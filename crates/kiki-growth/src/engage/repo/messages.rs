//! Messages: one row for each customer of a campaign.

use kiki_store::personal::{SUBJECT_COLUMNS, Subject, Subjects};
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::{CampaignId, MessageId};
use kiki_types::{TenantId, UnixMillis};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::engage::campaign::RunId;
use crate::engage::message::{Message, MessageState};

pub(super) const COLUMNS: &str =
    "m.id AS message_id, m.state, m.attempt, m.authorization_id, m.reasons, m.sealed, m.updated_at";
const PERSON: &str = "subject s ON s.tenant = m.tenant AND s.id = m.subject";
const SEALED: &str = "engage_message.sealed";

/// What is sealed of a message: what a template shows of a prediction.
#[derive(Serialize, Deserialize)]
struct Shown {
    value: String,
    probability_alive: String,
}

/// What became of a message, and to whom as long as somebody may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engage) struct Outcome {
    pub(in crate::engage) id: MessageId,
    /// Where it stands among the outcomes of its campaign.
    pub(in crate::engage) place: String,
    pub(in crate::engage) customer_id: Option<String>,
    pub(in crate::engage) state: MessageState,
    pub(in crate::engage) reasons: Vec<String>,
    pub(in crate::engage) attempt: i64,
    pub(in crate::engage) updated_at: UnixMillis,
}

/// So many messages ended in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engage) struct Count {
    pub(in crate::engage) state: MessageState,
    pub(in crate::engage) reasons: Vec<String>,
    pub(in crate::engage) messages: i64,
}

/// Kinds of ends that are counted apart at the most.
const COUNTS_MAX: i64 = 1_000;

/// Keeps a new message to `subject`. Returns whether it is new: a customer has one message of a campaign.
pub(in crate::engage) async fn claim(
    tx: &mut Tx,
    subject: &Subject,
    campaign: CampaignId,
    run: RunId,
    message: &Message,
) -> Result<bool, StoreError> {
    let id = message.id.to_string();
    let shown = Shown { value: message.value.clone(), probability_alive: message.probability_alive.clone() };
    let shown = serde_json::to_vec(&shown).map_err(|_| unreadable())?;
    let claimed = sqlx::query(
        "INSERT INTO engage_message (tenant, campaign, subject, id, state, attempt, authorization_id, reasons, sealed, \
         run, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (tenant, campaign, subject) DO NOTHING",
    )
    .bind(subject.tenant.as_str())
    .bind(campaign.to_string())
    .bind(subject.id.to_string())
    .bind(id.as_str())
    .bind(message.state.as_str())
    .bind(message.attempt)
    .bind(message.authorization.clone())
    .bind(message.reasons.join(","))
    .bind(subject.seal(SEALED, &id, &shown))
    .bind(run.to_string())
    .bind(message.updated_at.0)
    .execute(tx.sql())
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Keeps what became of a message, by its id: its person may have been erased meanwhile. What was captured stays so.
pub(in crate::engage) async fn record(
    tx: &mut Tx,
    tenant: &TenantId,
    run: RunId,
    message: &Message,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE engage_message SET state = $3, attempt = $4, authorization_id = $5, reasons = $6, run = $7, \
         updated_at = $8 WHERE tenant = $1 AND id = $2 AND state <> 'captured'",
    )
    .bind(tenant.as_str())
    .bind(message.id.to_string())
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

/// At most `limit` messages that are not at their end ([`Message::is_final`]) and that `run` has not had in hand. Those whose
/// person was erased are nobody's any more.
pub(in crate::engage) async fn unfinished(
    store: &Store,
    subjects: &Subjects,
    tenant: &TenantId,
    campaign: CampaignId,
    run: RunId,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS}, {SUBJECT_COLUMNS} FROM engage_message m JOIN {PERSON} \
         WHERE m.tenant = $1 AND m.campaign = $2 AND m.run <> $3 AND m.state <> 'captured' \
         AND NOT (m.state = 'failed' AND m.reasons IN ('send_rejected', 'shield_rejected')) \
         ORDER BY m.subject LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(campaign.to_string())
        .bind(run.to_string())
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(|row| read(row, &subjects.unlock(row)?)).collect()
}

/// The message of a campaign to `subject`.
pub(in crate::engage) async fn find(
    store: &Store,
    subject: &Subject,
    campaign: CampaignId,
) -> Result<Option<Message>, StoreError> {
    let query =
        format!("SELECT {COLUMNS} FROM engage_message m WHERE m.tenant = $1 AND m.campaign = $2 AND m.subject = $3");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(subject.tenant.as_str())
        .bind(campaign.to_string())
        .bind(subject.id.to_string())
        .fetch_optional(store.pool())
        .await?;
    row.map(|row| read(&row, subject)).transpose()
}

/// At most `limit` outcomes after the place `after`, in the order of the handles.
pub(in crate::engage) async fn page(
    store: &Store,
    subjects: &Subjects,
    tenant: &TenantId,
    campaign: CampaignId,
    after: &str,
    limit: i64,
) -> Result<Vec<Outcome>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS}, m.subject AS place, {SUBJECT_COLUMNS} FROM engage_message m LEFT JOIN {PERSON} \
         WHERE m.tenant = $1 AND m.campaign = $2 AND m.subject > $3 ORDER BY m.subject LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(campaign.to_string())
        .bind(after)
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    let outcome = |row: &AnyRow| {
        let customer_id = match subjects.unlock(row) {
            Ok(subject) => Some(subject.name().to_owned()),
            Err(StoreError::Personal(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Outcome {
            id: row.parsed("message_id")?,
            place: row.text("place")?,
            customer_id,
            state: row.parsed("state")?,
            reasons: reasons(row)?,
            attempt: row.int("attempt")?,
            updated_at: row.time("updated_at")?,
        })
    };
    rows.iter().map(outcome).collect()
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

pub(super) fn read(row: &AnyRow, subject: &Subject) -> Result<Message, StoreError> {
    let id: MessageId = row.parsed("message_id")?;
    let shown = subject.open(SEALED, &id.to_string(), &row.bytes_opt("sealed")?.unwrap_or_default())?;
    let shown: Shown = serde_json::from_slice(&shown).map_err(|_| unreadable())?;
    Ok(Message {
        id,
        to: subject.into(),
        state: row.parsed("state")?,
        attempt: row.int("attempt")?,
        authorization: row.text_opt("authorization_id")?,
        reasons: reasons(row)?,
        value: shown.value,
        probability_alive: shown.probability_alive,
        updated_at: row.time("updated_at")?,
    })
}

/// In no words of what was sealed.
fn unreadable() -> StoreError {
    StoreError::Unreadable { column: SEALED.to_owned(), why: "is not what is sealed here".to_owned() }
}

fn reasons(row: &AnyRow) -> Result<Vec<String>, StoreError> {
    let text = row.text("reasons")?;
    Ok(text.split(',').filter(|reason| !reason.is_empty()).map(str::to_owned).collect())
}
