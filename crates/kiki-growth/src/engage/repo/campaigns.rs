//! Campaigns and who runs them.

use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::CampaignId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::engage::campaign::{Audience, Campaign, Offer, RunId, Status};
use crate::engage::template::Text;

const COLUMNS: &str = "id, name, account, audience, subject, body, cost_micros, budget_micros, currency, created_at, \
     status, runs, run_until";

/// Keeps a campaign; one that is there already stays as it is.
pub(in crate::engage) async fn insert(tx: &mut Tx, tenant: &TenantId, campaign: &Campaign) -> Result<(), StoreError> {
    let audience = serde_json::to_string(&campaign.audience)
        .map_err(|error| StoreError::Unreadable { column: "audience".to_owned(), why: error.to_string() })?;
    sqlx::query(
        "INSERT INTO engage_campaign (tenant, id, name, account, audience, subject, body, cost_micros, budget_micros, \
         currency, created_at, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (tenant, id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(campaign.id().to_string())
    .bind(campaign.name.as_str())
    .bind(campaign.offer.account.as_str())
    .bind(audience)
    .bind(campaign.offer.subject.source())
    .bind(campaign.offer.body.source())
    .bind(campaign.offer.cost.micros)
    .bind(campaign.budget.micros)
    .bind(campaign.budget.currency.as_str())
    .bind(campaign.created_at.0)
    .bind(campaign.status.as_str())
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// A campaign of `tenant`.
pub(in crate::engage) async fn find(
    store: &Store,
    tenant: &TenantId,
    id: CampaignId,
) -> Result<Option<Campaign>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM engage_campaign WHERE tenant = $1 AND id = $2");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(store.pool())
        .await?;
    row.as_ref().map(read).transpose()
}

/// At most `limit` campaigns that were created after the campaign `after`, oldest first.
pub(in crate::engage) async fn list(
    store: &Store,
    tenant: &TenantId,
    after: Option<CampaignId>,
    limit: i64,
) -> Result<Vec<Campaign>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM engage_campaign WHERE tenant = $1 AND ($2 = '' OR (created_at, id) > \
         (SELECT created_at, id FROM engage_campaign WHERE tenant = $1 AND id = $2)) ORDER BY created_at, id LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read).collect()
}

/// Makes `run` the campaign's run until `until`, unless another one is under way. Returns whether it did.
pub(in crate::engage) async fn start(
    tx: &mut Tx,
    tenant: &TenantId,
    id: CampaignId,
    run: RunId,
    now: UnixMillis,
    until: UnixMillis,
) -> Result<bool, StoreError> {
    let started = sqlx::query(
        "UPDATE engage_campaign SET status = 'running', run = $3, run_until = $5, runs = runs + 1 \
         WHERE tenant = $1 AND id = $2 AND (status <> 'running' OR run_until <= $4)",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(run.to_string())
    .bind(now.0)
    .bind(until.0)
    .execute(tx.sql())
    .await?;
    Ok(started.rows_affected() == 1)
}

/// Says that `run` is still there. Returns whether it is still the campaign's run.
pub(in crate::engage) async fn extend(
    tx: &mut Tx,
    tenant: &TenantId,
    id: CampaignId,
    run: RunId,
    until: UnixMillis,
) -> Result<bool, StoreError> {
    let extended = sqlx::query(
        "UPDATE engage_campaign SET run_until = $4 \
         WHERE tenant = $1 AND id = $2 AND run = $3 AND status = 'running'",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(run.to_string())
    .bind(until.0)
    .execute(tx.sql())
    .await?;
    Ok(extended.rows_affected() == 1)
}

/// Ends `run` with `status`. Returns whether it was still the campaign's run.
pub(in crate::engage) async fn end(
    tx: &mut Tx,
    tenant: &TenantId,
    id: CampaignId,
    run: RunId,
    status: Status,
) -> Result<bool, StoreError> {
    let ended = sqlx::query(
        "UPDATE engage_campaign SET status = $4 WHERE tenant = $1 AND id = $2 AND run = $3 AND status = 'running'",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(run.to_string())
    .bind(status.as_str())
    .execute(tx.sql())
    .await?;
    Ok(ended.rows_affected() == 1)
}

fn read(row: &AnyRow) -> Result<Campaign, StoreError> {
    let unreadable = |column: &str, why: String| StoreError::Unreadable { column: column.to_owned(), why };
    let text = |column: &str| -> Result<Text, StoreError> {
        Text::parse(&row.text(column)?).map_err(|error| unreadable(column, error.to_string()))
    };
    let audience: Audience =
        serde_json::from_str(&row.text("audience")?).map_err(|error| unreadable("audience", error.to_string()))?;
    Ok(Campaign {
        offer: Offer {
            campaign: row.parsed("id")?,
            account: row.text("account")?,
            cost: row.money("cost_micros", "currency")?,
            subject: text("subject")?,
            body: text("body")?,
        },
        name: row.text("name")?,
        audience,
        budget: row.money("budget_micros", "currency")?,
        created_at: row.time("created_at")?,
        status: row.parsed("status")?,
        runs: row.int("runs")?,
        run_until: row.time("run_until")?,
    })
}
