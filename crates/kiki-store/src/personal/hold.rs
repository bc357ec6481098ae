//! Legal holds: who is held is not erased, neither on request nor by retention, until the last hold is released.
//!
//! A hold is a row and a count in the person's row; both change in the caller's transaction, with the entry that tells of it.
//! It does not stand against an erasure that the register tells of: that one began before.

use kiki_types::{TenantId, UnixMillis};
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::repo::{self, Row, SUBJECT_COLUMNS};
use super::subject::{Subject, SubjectId};
use super::subjects::Subjects;
use crate::{Columns as _, StoreError, Tx};

/// Where it stands what a hold is about.
const MATTER_PLACE: &str = "legal_hold.matter";
/// Holds of one page at the most.
pub const HOLDS_PAGE_MAX: u32 = 500;

/// A legal hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: Uuid,
    /// Who is held.
    pub subject: SubjectId,
    /// What it is about; `None` if the person was erased, or their row does not open.
    pub matter: Option<String>,
    /// When it was placed.
    pub placed_at: UnixMillis,
    /// By whom, as a keyed hash.
    pub placed_by: String,
    /// When it was released, and by whom; `None` while it stands.
    pub released: Option<(UnixMillis, String)>,
}

/// The query for the holds of the tenant $1, each with the row of the person.
fn of_tenant() -> String {
    format!(
        "SELECT h.id AS hold, h.subject AS held, h.matter AS matter, h.placed_at AS placed_at, \
         h.placed_by AS placed_by, h.released_at AS released_at, h.released_by AS released_by, {SUBJECT_COLUMNS} \
         FROM legal_hold h LEFT JOIN subject s ON s.tenant = h.tenant AND s.id = h.subject WHERE h.tenant = $1"
    )
}

impl Subjects {
    /// Holds `who` for `matter` under the id `id`, in the name of `by` (a keyed hash). `false`: they are gone.
    ///
    /// # Errors
    /// The database does not answer; the id is taken.
    pub async fn hold(&self, tx: &mut Tx, who: &Subject, id: Uuid, matter: &str, by: &str) -> Result<bool, StoreError> {
        if !repo::count_hold(tx, &who.tenant, who.id, 1).await? {
            return Ok(false);
        }
        let sealed = who.seal(MATTER_PLACE, &id.to_string(), matter.as_bytes());
        sqlx::query(
            "INSERT INTO legal_hold (tenant, id, subject, matter, placed_at, placed_by) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(who.tenant.as_str())
        .bind(id.to_string())
        .bind(who.id.to_string())
        .bind(sealed)
        .bind(self.inner().entries.clock.now().0)
        .bind(by)
        .execute(tx.sql())
        .await?;
        Ok(true)
    }

    /// Releases the hold `id`, in the name of `by`. Answers who was held; `None`: no such hold stands.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn release(
        &self,
        tx: &mut Tx,
        tenant: &TenantId,
        id: Uuid,
        by: &str,
    ) -> Result<Option<SubjectId>, StoreError> {
        let released = sqlx::query(
            "UPDATE legal_hold SET released_at = $1, released_by = $2 WHERE tenant = $3 AND id = $4 AND released_at = 0 \
             RETURNING subject",
        )
        .bind(self.inner().entries.clock.now().0)
        .bind(by)
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(tx.sql())
        .await?;
        let Some(row) = released else { return Ok(None) };
        let subject = row.parsed("subject")?;
        repo::count_hold(tx, tenant, subject, -1).await?;
        Ok(Some(subject))
    }

    /// The holds of `tenant`, standing and released, in the order of their ids after `after`; at most
    /// [`HOLDS_PAGE_MAX`].
    ///
    /// # Errors
    /// The database or the keys are away.
    pub async fn holds(&self, tenant: &TenantId, after: Option<Uuid>, limit: u32) -> Result<Vec<Hold>, StoreError> {
        let sql = format!("{} AND h.id > $2 ORDER BY h.id LIMIT $3", of_tenant());
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(tenant.as_str())
            .bind(after.map(|id| id.to_string()).unwrap_or_default())
            .bind(i64::from(limit.min(HOLDS_PAGE_MAX)))
            .fetch_all(self.inner().store.pool())
            .await?;
        rows.iter().map(|row| self.hold_of(row)).collect()
    }

    /// The hold `id`, standing or released.
    ///
    /// # Errors
    /// The database or the keys are away.
    pub async fn one_hold(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Hold>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{} AND h.id = $2", of_tenant())))
            .bind(tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(self.inner().store.pool())
            .await?;
        row.map(|row| self.hold_of(&row)).transpose()
    }

    fn matter_of(&self, row: &Row, hold: Uuid, sealed: &[u8]) -> Result<String, StoreError> {
        let matter = self.unlocked(row)?.open(MATTER_PLACE, &hold.to_string(), sealed)?;
        Ok(String::from_utf8_lossy(&matter).into_owned())
    }

    fn hold_of(&self, row: &AnyRow) -> Result<Hold, StoreError> {
        let id: Uuid = row.parsed("hold")?;
        let sealed = row.bytes_opt("matter")?.unwrap_or_default();
        let matter = match Row::read(row)? {
            None => None,
            Some(person) => match self.matter_of(&person, id, &sealed) {
                Ok(matter) => Some(matter),
                Err(StoreError::Personal(why)) => {
                    tracing::error!(hold = %id, %why, "what a hold is about cannot be read");
                    None
                }
                Err(error) => return Err(error),
            },
        };
        let released_at = row.int("released_at")?;
        Ok(Hold {
            id,
            subject: row.parsed("held")?,
            matter,
            placed_at: row.time("placed_at")?,
            placed_by: row.text("placed_by")?,
            released: (released_at > 0).then_some((UnixMillis(released_at), row.text("released_by")?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use kiki_types::IdSource as _;

    use super::*;
    use crate::personal::{Cause, Mint};
    use crate::testing::{People, RandomIds, on_both};

    #[tokio::test]
    async fn who_is_held_is_erased_only_after_the_last_hold_is_released() {
        on_both(async |db| {
            let people = People::of(&db.store).await;
            let acme: TenantId = "acme".parse().unwrap();
            let ann = people.resolve(&acme, "ann", Mint::Yes).await.unwrap().unwrap();
            let ids = [RandomIds.uuid(), RandomIds.uuid()];
            for (id, matter) in ids.iter().zip(["Ann v. Acme", "tax"]) {
                let mut tx = db.store.begin().await.unwrap();
                assert!(people.hold(&mut tx, &ann, *id, matter, "officer").await.unwrap());
                tx.commit().await.unwrap();
            }
            let erase = async || people.destroy(&acme, &[ann.id], Cause::Retention, "").await.unwrap();
            let release = async |id| {
                let mut tx = db.store.begin().await.unwrap();
                let released = people.release(&mut tx, &acme, id, "officer").await.unwrap();
                tx.commit().await.unwrap();
                released
            };
            assert_eq!(erase().await.held, [ann.id]);
            assert_eq!(release(ids[0]).await, Some(ann.id));
            assert_eq!(release(ids[0]).await, None, "once");
            assert_eq!(erase().await.held, [ann.id]);
            let holds = people.holds(&acme, None, 10).await.unwrap();
            let told: Vec<_> = holds.iter().map(|hold| (hold.matter.as_deref(), hold.released.is_some())).collect();
            assert!(told.contains(&(Some("Ann v. Acme"), true)) && told.contains(&(Some("tax"), false)), "{told:?}");
            assert!(people.holds(&"b".parse().unwrap(), None, 10).await.unwrap().is_empty(), "another tenant's");
            assert_eq!(people.one_hold(&acme, ids[0]).await.unwrap().unwrap().matter.as_deref(), Some("Ann v. Acme"));
            assert_eq!(people.one_hold(&"b".parse().unwrap(), ids[0]).await.unwrap(), None, "another tenant's");
            assert_eq!(release(ids[1]).await, Some(ann.id));
            assert_eq!(erase().await.gone, [ann.id]);
            let mut tx = db.store.begin().await.unwrap();
            assert!(!people.hold(&mut tx, &ann, RandomIds.uuid(), "late", "officer").await.unwrap(), "gone is gone");
        })
        .await;
    }
}
