//! All SQL of policies: the texts of each version. What is in force is not here, but in the log.

use kiki_spend::Digest;
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::{TenantId, UnixMillis};

use super::RuleSetText;

/// Versions that are kept of a tenant, besides the one in force.
pub(crate) const VERSIONS_MAX: usize = 100;

/// A version that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) version: String,
    pub(crate) rules: i64,
    pub(crate) created_at: UnixMillis,
    /// Who put it first, as a keyed hash.
    pub(crate) created_by: String,
}

/// Keeps the texts of a version; one that is there already stays as it is.
pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    kept: &Kept,
    texts: &[RuleSetText],
) -> Result<(), StoreError> {
    // Names and texts always have a JSON.
    let texts = serde_json::to_string(texts).unwrap_or_default();
    sqlx::query(
        "INSERT INTO policy_version (tenant, version, texts, rules, created_at, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, version) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(kept.version.as_str())
    .bind(texts)
    .bind(kept.rules)
    .bind(kept.created_at.0)
    .bind(kept.created_by.as_str())
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// Removes all versions but the newest ones and those `needed`.
pub(crate) async fn prune(tx: &mut Tx, tenant: &TenantId, needed: [&str; 2]) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM policy_version WHERE tenant = $1 AND version <> $2 AND version <> $3 AND version NOT IN \
         (SELECT version FROM policy_version WHERE tenant = $1 ORDER BY created_at DESC, version LIMIT $4)",
    )
    .bind(tenant.as_str())
    .bind(needed[0])
    .bind(needed[1])
    .bind(i64::try_from(VERSIONS_MAX).unwrap_or(i64::MAX))
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// The texts of a version, if it is kept. `None` as well for what is not the JSON of texts.
pub(crate) async fn texts(
    store: &Store,
    tenant: &TenantId,
    version: Digest,
) -> Result<Option<Vec<RuleSetText>>, StoreError> {
    let row = sqlx::query("SELECT texts FROM policy_version WHERE tenant = $1 AND version = $2")
        .bind(tenant.as_str())
        .bind(version.to_string())
        .fetch_optional(store.pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(serde_json::from_str(&row.text("texts")?).ok())
}

/// The versions that are kept, the newest first.
pub(crate) async fn versions(store: &Store, tenant: &TenantId) -> Result<Vec<Kept>, StoreError> {
    let rows = sqlx::query(
        "SELECT version, rules, created_at, created_by FROM policy_version WHERE tenant = $1 \
         ORDER BY created_at DESC, version LIMIT $2",
    )
    .bind(tenant.as_str())
    .bind(i64::try_from(VERSIONS_MAX + 2).unwrap_or(i64::MAX))
    .fetch_all(store.pool())
    .await?;
    let kept = |row: &sqlx::any::AnyRow| {
        Ok(Kept {
            version: row.text("version")?,
            rules: row.int("rules")?,
            created_at: UnixMillis(row.int("created_at")?),
            created_by: row.text("created_by")?,
        })
    };
    rows.iter().map(kept).collect()
}

#[cfg(test)]
mod tests {
    use kiki_store::testing::on_both;

    use super::*;

    fn kept(version: u128, created_at: i64) -> Kept {
        Kept {
            version: Digest(version.to_be_bytes()).to_string(),
            rules: 1,
            created_at: UnixMillis(created_at),
            created_by: "somebody".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_newest_versions_are_kept_and_those_that_are_needed() {
        on_both(async |db| {
            let tenants = ["a", "b"].map(|name| name.parse::<TenantId>().unwrap());
            let text = |n: u128| vec![("money".to_owned(), format!("text {n}"))];
            let mut tx = db.store.begin().await.unwrap();
            insert(&mut tx, &tenants[1], &kept(1, 1), &text(7)).await.unwrap();
            for n in 1..=VERSIONS_MAX as u128 + 4 {
                insert(&mut tx, &tenants[0], &kept(n, i64::try_from(n).unwrap()), &text(n)).await.unwrap();
            }
            insert(&mut tx, &tenants[0], &kept(1, 999), &text(8)).await.unwrap();
            prune(&mut tx, &tenants[0], [&kept(2, 0).version, &kept(3, 0).version]).await.unwrap();
            tx.commit().await.unwrap();
            let there = versions(&db.store, &tenants[0]).await.unwrap();
            assert_eq!(there.len(), VERSIONS_MAX + 2);
            assert_eq!(there[0], kept(VERSIONS_MAX as u128 + 4, 104), "the newest is the first");
            let text_of =
                async |tenant: &TenantId, n: u128| texts(&db.store, tenant, Digest(n.to_be_bytes())).await.unwrap();
            for (n, is_there) in [(1, false), (2, true), (3, true), (4, false), (5, true)] {
                assert_eq!(text_of(&tenants[0], n).await, is_there.then(|| text(n)), "{n}");
            }
            assert_eq!(text_of(&tenants[1], 1).await, Some(text(7)));
            assert_eq!(text_of(&tenants[1], 2).await, None, "it is another tenant's");
        })
        .await;
    }
}
