//! What the store itself holds about people, and stores that hold nothing about anybody.

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use kiki_types::{TenantId, UnixMillis};
use serde_json::{Map, Value, json};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{Class, Cutoffs, Declared, Document, Expired, Form, PersonalStore, Subject, SubjectId, Subjects, Table};
use crate::{Columns as _, Store, StoreError};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Holds of one person that an export tells of at the most: the oldest.
const HOLDS_TOLD_MAX: i64 = 1_000;
/// Why somebody is held, as they are told.
const GROUND_OF_HOLDS: &str = "a legal matter is open, and the data may not be erased until it is closed";

/// The keys of idempotent requests: keyed hashes, and answers that name no person. They end after a day by themselves.
pub const IDEMPOTENCY: Declared = Declared {
    name: "idempotency",
    service: "store",
    tables: &[Table {
        name: "idempotency",
        owner: None,
        holds: &[("key_hash", Form::Pseudonym), ("request_hash", Form::Pseudonym), ("body", Form::Business)],
        categories: &[],
        class: Class::Sessions,
    }],
    files: &[],
};

/// Events on their way: audit entries, which name people by pseudonyms, and ids. They end after a week by themselves.
pub const OUTBOX: Declared = Declared {
    name: "outbox",
    service: "store",
    tables: &[Table {
        name: "outbox",
        owner: None,
        holds: &[("payload", Form::Pseudonym)],
        categories: &[],
        class: Class::Sessions,
    }],
    files: &[],
};

const SUBJECTS: Declared = Declared {
    name: "subjects",
    service: "store",
    tables: &[
        Table {
            name: "subject",
            owner: Some("id"),
            holds: &[("id", Form::Handle), ("locator", Form::Pseudonym), ("name", Form::Sealed)],
            categories: &["customer id"],
            class: Class::Customers,
        },
        Table {
            name: "legal_hold",
            owner: Some("subject"),
            holds: &[("subject", Form::Handle), ("matter", Form::Sealed), ("placed_by", Form::Pseudonym)],
            categories: &["legal holds"],
            class: Class::Audit,
        },
        Table {
            name: "erasure",
            owner: Some("subject"),
            holds: &[("subject", Form::Handle)],
            categories: &["that somebody was erased"],
            class: Class::Audit,
        },
    ],
    files: &["keys/erasures"],
};

/// Who the people are. A customer id is a name that the business gave, and is not corrected: another one is somebody else.
/// Their keys are destroyed when everything else about them is gone: [`Subjects::destroy`].
#[derive(Clone, Debug)]
pub struct People {
    /// The database.
    pub store: Store,
    /// Its people.
    pub subjects: Subjects,
}

impl PersonalStore for People {
    fn declared(&self) -> &'static Declared {
        &SUBJECTS
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let found = sqlx::query("SELECT created_on, used_on FROM subject WHERE tenant = $1 AND id = $2")
                .bind(who.tenant.as_str())
                .bind(who.id.to_string())
                .fetch_optional(self.store.pool())
                .await?;
            let Some(found) = found else { return Ok(Vec::new()) };
            // Days are all that is kept.
            let day =
                |days: i64| UnixMillis(days.saturating_mul(DAY_MS)).rfc3339().chars().take(10).collect::<String>();
            let row = [
                ("customer_id", json!(who.name())),
                ("handle", json!(who.id)),
                ("known_since", json!(day(found.int("created_on")?))),
                ("last_used", json!(day(found.int("used_on")?))),
                ("restricted", json!(who.restricted)),
                ("objected", json!(who.objected)),
            ];
            let row = row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let identity = Document { name: "identity".to_owned(), provided: true, rows: vec![row] };
            let holds = self.holds_on(who).await?;
            let holds =
                (!holds.is_empty()).then(|| Document { name: "holds".to_owned(), provided: false, rows: holds });
            Ok([identity].into_iter().chain(holds).collect())
        }
        .boxed()
    }

    /// Nothing yet: without the key nothing else could be told or proven to be gone.
    fn erase<'a>(&'a self, _: &'a TenantId, _: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        ready(Ok(0)).boxed()
    }

    fn restrict<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.subjects.restrict(&who.tenant, &[who.id], on).await.map(|_| ()) }.boxed()
    }

    fn object<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.subjects.object(&who.tenant, &[who.id], on).await.map(|_| ()) }.boxed()
    }

    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        async move {
            let holds = expire(&self.store, tenant, HOLDS, cutoffs.audit, limit, dry).await?;
            let erasures = expire(&self.store, tenant, ERASURES, cutoffs.audit, limit, dry).await?;
            let oldest = holds.oldest.into_iter().chain(erasures.oldest).min();
            Ok(Expired { rows: holds.rows + erasures.rows, oldest })
        }
        .boxed()
    }
}

impl People {
    /// The legal holds on `who`, with what they mean. What a hold is about may tell of others, or of what is not for the
    /// person to know yet, and stays with whoever placed it.
    async fn holds_on(&self, who: &Subject) -> Result<Vec<Map<String, Value>>, StoreError> {
        let found = sqlx::query(
            "SELECT placed_at, released_at FROM legal_hold WHERE tenant = $1 AND subject = $2 \
             ORDER BY placed_at, id LIMIT $3",
        );
        let found = found.bind(who.tenant.as_str()).bind(who.id.to_string()).bind(HOLDS_TOLD_MAX);
        let row = |row: &AnyRow| {
            let released = row.time("released_at")?;
            let told = [
                ("held_since", json!(row.time("placed_at")?.rfc3339())),
                ("held_until", json!((released.0 > 0).then(|| released.rfc3339()))),
                ("ground", json!(GROUND_OF_HOLDS)),
            ];
            Ok(told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        found.fetch_all(self.store.pool()).await?.iter().map(row).collect()
    }
}

/// Rows that end by time: the table, the time that counts, the column that identifies a row within the tenant, and which
/// rows stay whatever their age.
struct Ending {
    table: &'static str,
    at: &'static str,
    key: &'static str,
    only: &'static str,
}

const HOLDS: Ending = Ending { table: "legal_hold", at: "released_at", key: "id", only: "released_at > 0" };
/// The newest stays: it says how far the register was followed.
const ERASURES: Ending =
    Ending { table: "erasure", at: "at", key: "subject", only: "seq < (SELECT MAX(seq) FROM erasure)" };

async fn expire(
    store: &Store,
    tenant: &TenantId,
    ending: Ending,
    before: UnixMillis,
    limit: u32,
    dry: bool,
) -> Result<Expired, StoreError> {
    let Ending { table, at, key, only } = ending;
    let past = format!("FROM {table} WHERE tenant = $1 AND {at} < $2 AND {only}");
    if dry {
        let sql = format!("SELECT count(*) AS rows, MIN({at}) AS oldest {past}");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(before.0).fetch_one(store.pool()).await?;
        let rows = u64::try_from(row.int("rows")?).unwrap_or(0);
        return Ok(Expired { rows, oldest: row.int_opt("oldest")?.map(UnixMillis) });
    }
    let sql = format!(
        "DELETE FROM {table} WHERE tenant = $1 AND {key} IN (SELECT {key} {past} ORDER BY {at} LIMIT $3) \
         RETURNING {at} AS at"
    );
    let mut tx = store.begin().await?;
    let gone = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(before.0)
        .bind(i64::from(limit))
        .fetch_all(tx.sql())
        .await?;
    tx.commit().await?;
    let times = gone.iter().map(|row| row.time("at")).collect::<Result<Vec<_>, _>>()?;
    Ok(Expired { rows: u64::try_from(times.len()).unwrap_or(0), oldest: times.into_iter().min() })
}

/// A store that says what it keeps, and that none of it is about a person. What ends, ends by itself ([`crate::upkeep`]).
#[derive(Clone, Copy, Debug)]
pub struct AboutNobody(pub &'static Declared);

impl PersonalStore for AboutNobody {
    fn declared(&self) -> &'static Declared {
        self.0
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
