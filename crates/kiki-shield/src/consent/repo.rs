//! All SQL of the register of consent.

use kiki_store::personal::{SUBJECT_COLUMNS, SubjectId};
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::{Bar, Channel, Purpose, TenantId, UnixMillis};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Executor};
use uuid::Uuid;

use super::model::{About, Record, State};
use super::texts::ConsentText;

/// The columns of a record, named so that a join tells them from a person's.
const RECORD: &str = "c.id AS c_id, c.purpose AS c_purpose, c.channel AS c_channel, c.act AS c_act, \
     c.state AS c_state, c.basis AS c_basis, c.text_version AS c_text_version, c.source AS c_source, \
     c.evidence AS c_evidence, c.at AS c_at, c.until AS c_until, c.entry AS c_entry, c.confirm_by AS c_confirm_by, c.asked AS c_asked";

/// What is sealed of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) evidence: Vec<u8>,
    pub(crate) token: Option<Vec<u8>>,
}

/// Writes a record, unless it is there: the same request with the same key has the same id each time.
pub(crate) async fn insert(
    tx: &mut Tx,
    (tenant, subject): (&TenantId, SubjectId),
    record: &Record,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    let (purpose, channel) = record.about.columns();
    sqlx::query(
        "INSERT INTO consent_record (tenant, id, subject, purpose, channel, act, state, basis, text_version, source, \
         evidence, token, at, until, entry, confirm_by, asked) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         ON CONFLICT (tenant, id) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(record.id.to_string())
    .bind(subject.to_string())
    .bind(purpose)
    .bind(channel)
    .bind(record.act.as_str())
    .bind(record.state.as_str())
    .bind(record.basis.as_str())
    .bind(record.text_version.as_str())
    .bind(record.source.as_str())
    .bind(sealed.evidence.as_slice())
    .bind(sealed.token.as_deref())
    .bind(record.at.0)
    .bind(record.until.0)
    .bind(record.entry.and_then(|entry| i64::try_from(entry).ok()))
    .bind(record.confirm_by.0)
    .bind(record.asked.and_then(|asked| i64::try_from(asked).ok()))
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// Moves a record on that does not stand yet; it waits again only for a confirmation that was not decided and not taken
/// back. Returns whether it was there.
pub(crate) async fn settle<'c>(
    sql: impl Executor<'c, Database = Any>,
    (tenant, id): (&TenantId, Uuid),
    state: State,
    entry: Option<u64>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE consent_record SET state = $3, entry = $4, token = CASE WHEN $3 = 'awaiting' THEN token ELSE NULL END \
         WHERE tenant = $1 AND id = $2 AND state IN ('noted', 'void', 'awaiting') \
         AND ($3 <> 'awaiting' OR (state = 'noted' AND token IS NOT NULL))",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(state.as_str())
    .bind(entry.and_then(|entry| i64::try_from(entry).ok()))
    .execute(sql)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a record was confirmed, unless that was decided. Its token stays until then.
pub(crate) async fn confirm(
    tx: &mut Tx,
    (tenant, id): (&TenantId, Uuid),
    now: UnixMillis,
    evidence: &[u8],
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE consent_record SET state = 'noted', evidence = $4, at = $3 WHERE tenant = $1 AND id = $2 \
         AND state IN ('awaiting', 'noted') AND token IS NOT NULL AND confirm_by >= $3",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(now.0)
    .bind(evidence)
    .execute(tx.sql())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What was asked for until `asked` and waits for a confirmation of `purpose` on `channel`, or on all, waits for nothing any
/// more: the governor would refuse it.
pub(crate) async fn void_awaiting(
    tx: &mut Tx,
    (tenant, subject): (&TenantId, SubjectId),
    (purpose, channel): (Purpose, Channel),
    asked: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE consent_record SET state = CASE state WHEN 'awaiting' THEN 'void' ELSE state END, token = NULL \
         WHERE tenant = $1 AND subject = $2 AND purpose = $3 AND state IN ('awaiting', 'noted') \
         AND ($4 = '' OR channel IN ($4, 'any')) \
         AND at <= $5",
    )
    .bind(tenant.as_str())
    .bind(subject.to_string())
    .bind(purpose.as_str())
    .bind(if channel == Channel::Any { "" } else { channel.as_str() })
    .bind(asked.0)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// What was noted before `before` and has no entry came to nothing: what may still be confirmed waits for that again.
/// Returns how many.
pub(crate) async fn void_noted(store: &Store, before: UnixMillis) -> Result<u64, StoreError> {
    // Looked at every second, and mostly there is none: nobody who writes should wait for that.
    let one = sqlx::query("SELECT id FROM consent_record WHERE state = 'noted' AND at < $1 LIMIT 1").bind(before.0);
    if one.fetch_optional(store.pool()).await?.is_none() {
        return Ok(0);
    }
    let mut tx = store.begin().await?;
    let done = sqlx::query(
        "UPDATE consent_record SET state = CASE WHEN token IS NOT NULL AND confirm_by >= $1 THEN 'awaiting' \
         ELSE 'void' END WHERE state = 'noted' AND at < $1",
    )
    .bind(before.0)
    .execute(tx.sql())
    .await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

/// A record, with its row, from which the person can be unlocked, and what is sealed.
pub(crate) async fn with_person(
    store: &Store,
    tenant: &TenantId,
    id: Uuid,
) -> Result<Option<(AnyRow, Record, Sealed)>, StoreError> {
    let query = format!(
        "SELECT {SUBJECT_COLUMNS}, {RECORD}, c.token AS c_token FROM consent_record c \
         JOIN subject s ON s.tenant = c.tenant AND s.id = c.subject \
         WHERE c.tenant = $1 AND c.id = $2",
    );
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(store.pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (record, evidence) = read(&row)?;
    let sealed = Sealed { evidence, token: row.bytes_opt("c_token")? };
    Ok(Some((row, record, sealed)))
}

fn read(row: &AnyRow) -> Result<(Record, Vec<u8>), StoreError> {
    let (name, channel) = (row.text("c_purpose")?, row.text("c_channel")?);
    let unreadable = || StoreError::Unreadable {
        column: "purpose".to_owned(),
        why: format!("{name:?} with the channel {channel:?}"),
    };
    let index = |column: &str| Ok::<_, StoreError>(row.int_opt(column)?.and_then(|entry| u64::try_from(entry).ok()));
    let record = Record {
        id: row.parsed("c_id")?,
        about: About::of_columns(&name, &channel).ok_or_else(unreadable)?,
        act: row.parsed("c_act")?,
        state: row.parsed("c_state")?,
        basis: row.parsed("c_basis")?,
        text_version: row.text("c_text_version")?,
        source: row.text("c_source")?,
        at: row.time("c_at")?,
        until: row.time("c_until")?,
        confirm_by: row.time("c_confirm_by")?,
        asked: index("c_asked")?,
        entry: index("c_entry")?,
    };
    Ok((record, row.bytes_opt("c_evidence")?.unwrap_or_default()))
}

/// At most `limit` records of a person after the record `after`, the oldest first, each with its sealed evidence.
pub(crate) async fn history(
    store: &Store,
    (tenant, subject): (&TenantId, SubjectId),
    after: Option<Uuid>,
    limit: usize,
) -> Result<Vec<(Record, Vec<u8>)>, StoreError> {
    let query = format!(
        "SELECT {RECORD} FROM consent_record c WHERE c.tenant = $1 AND c.subject = $2 AND ($3 = '' OR EXISTS \
         (SELECT 1 FROM consent_record b WHERE b.tenant = $1 AND b.subject = $2 AND b.id = $3 \
          AND (c.at > b.at OR (c.at = b.at AND c.id > b.id)))) ORDER BY c.at, c.id LIMIT $4",
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(subject.to_string())
        .bind(after.map_or_else(String::new, |after| after.to_string()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read).collect()
}

/// When `bar` was last set for a person.
pub(crate) async fn barred_at(
    store: &Store,
    (tenant, subject): (&TenantId, SubjectId),
    bar: Bar,
) -> Result<Option<UnixMillis>, StoreError> {
    let row = sqlx::query(
        "SELECT MAX(at) AS at FROM consent_record WHERE tenant = $1 AND subject = $2 AND act = 'bar' AND purpose = $3",
    )
    .bind(tenant.as_str())
    .bind(subject.to_string())
    .bind(bar.as_str())
    .fetch_one(store.pool())
    .await?;
    Ok(row.int_opt("at")?.map(UnixMillis))
}

/// A record, as it stands now.
pub(crate) async fn find(store: &Store, tenant: &TenantId, id: Uuid) -> Result<Option<Record>, StoreError> {
    let query = format!("SELECT {RECORD} FROM consent_record c WHERE c.tenant = $1 AND c.id = $2");
    let row = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(id.to_string());
    let row = row.fetch_optional(store.pool()).await?;
    row.map(|row| Ok(read(&row)?.0)).transpose()
}

/// Whether a record is there, and if so of whom, and whether it has its entry.
pub(crate) async fn has_entry(
    store: &Store,
    tenant: &TenantId,
    id: Uuid,
) -> Result<Option<(SubjectId, bool)>, StoreError> {
    let row = sqlx::query("SELECT subject, entry FROM consent_record WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(store.pool())
        .await?;
    row.map(|row| Ok((row.parsed("subject")?, row.int_opt("entry")?.is_some()))).transpose()
}

/// Removes the records of people. Returns how many.
pub(crate) async fn erase(tx: &mut Tx, tenant: &TenantId, who: &[SubjectId]) -> Result<u64, StoreError> {
    let places: Vec<String> = (2..2 + who.len()).map(|place| format!("${place}")).collect();
    let query = format!("DELETE FROM consent_record WHERE tenant = $1 AND subject IN ({})", places.join(", "));
    let mut erased = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str());
    for subject in who {
        erased = erased.bind(subject.to_string());
    }
    Ok(erased.execute(tx.sql()).await?.rows_affected())
}

/// What is over: what is about nobody any more; confirmations that never came and acts that came to nothing, before $2;
/// acts that were taken back or have ended, and those that took back, before $3.
const ENDED: &str = "tenant = $1 AND (NOT EXISTS \
     (SELECT 1 FROM subject s WHERE s.tenant = consent_record.tenant AND s.id = consent_record.subject) \
     OR (state IN ('awaiting', 'void') AND at < $2 AND confirm_by < $2) \
     OR (state = 'standing' AND at < $3 AND (act IN ('revoke', 'unbar') OR (until > 0 AND until < $3) OR EXISTS \
     (SELECT 1 FROM consent_record later WHERE later.tenant = consent_record.tenant \
      AND later.subject = consent_record.subject AND later.purpose = consent_record.purpose \
      AND later.state = 'standing' AND later.act = CASE consent_record.act WHEN 'bar' THEN 'unbar' ELSE 'revoke' END \
      AND later.channel IN (consent_record.channel, 'any') AND later.at >= consent_record.at AND later.at < $3))))";

/// How many records are over, and since when the oldest of them is there.
pub(crate) async fn ended(
    store: &Store,
    tenant: &TenantId,
    (sessions, customers): (UnixMillis, UnixMillis),
) -> Result<(u64, Option<UnixMillis>), StoreError> {
    let query = format!("SELECT COUNT(*) AS rows_, MIN(at) AS oldest FROM consent_record WHERE {ENDED}");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(sessions.0)
        .bind(customers.0)
        .fetch_one(store.pool())
        .await?;
    Ok((u64::try_from(row.int("rows_")?).unwrap_or(0), row.int_opt("oldest")?.map(UnixMillis)))
}

/// Removes at most `limit` records that are over; what took back goes after what it took back, so that nothing looks as
/// if it stood. Returns how many, and since when the oldest of them was there.
pub(crate) async fn remove_ended(
    store: &Store,
    tenant: &TenantId,
    (sessions, customers): (UnixMillis, UnixMillis),
    limit: u32,
) -> Result<(u64, Option<UnixMillis>), StoreError> {
    let query = format!(
        "DELETE FROM consent_record WHERE tenant = $1 AND id IN (SELECT id FROM consent_record WHERE {ENDED} \
         ORDER BY CASE WHEN act IN ('revoke', 'unbar') THEN 1 ELSE 0 END, at LIMIT $4) RETURNING at",
    );
    let mut tx = store.begin().await?;
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(sessions.0)
        .bind(customers.0)
        .bind(i64::from(limit))
        .fetch_all(tx.sql())
        .await?;
    tx.commit().await?;
    let times = rows.iter().map(|row| row.time("at")).collect::<Result<Vec<_>, _>>()?;
    Ok((times.len() as u64, times.into_iter().min()))
}

/// Where the follower of a log is.
pub(crate) async fn position(store: &Store, log: &str) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT position FROM personal_follower WHERE log = $1").bind(log);
    let row = row.fetch_optional(store.pool()).await?;
    Ok(row.map(|row| row.int("position")).transpose()?.and_then(|at| u64::try_from(at).ok()).unwrap_or(0))
}

pub(crate) async fn set_position(tx: &mut Tx, log: &str, position: u64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO personal_follower (log, position) VALUES ($1, $2) \
         ON CONFLICT (log) DO UPDATE SET position = excluded.position",
    )
    .bind(log)
    .bind(i64::try_from(position).unwrap_or(i64::MAX))
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// At most `limit` people of a tenant after `after`, in the order of their handles, each as a row to unlock.
pub(crate) async fn people(
    store: &Store,
    tenant: &TenantId,
    after: &str,
    limit: i64,
) -> Result<Vec<AnyRow>, StoreError> {
    let query =
        format!("SELECT {SUBJECT_COLUMNS} FROM subject s WHERE s.tenant = $1 AND s.id > $2 ORDER BY s.id LIMIT $3");
    let rows = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(after).bind(limit);
    Ok(rows.fetch_all(store.pool()).await?)
}

/// The handle of a row of [`people`].
pub(crate) fn handle(row: &AnyRow) -> Result<String, StoreError> {
    row.text("subject_id")
}

/// Keeps a text, unless its version is taken or the tenant has `most` of them. Returns whether it was kept.
pub(crate) async fn insert_text(
    tx: &mut Tx,
    tenant: &TenantId,
    text: &ConsentText,
    most: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO consent_text (tenant, version, purpose, sha256, text, created_at) \
         SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT COUNT(*) FROM consent_text WHERE tenant = $1) < $7 \
         ON CONFLICT (tenant, version) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(text.version.as_str())
    .bind(text.purpose.as_str())
    .bind(text.sha256.as_str())
    .bind(text.text.as_str())
    .bind(text.created_at.0)
    .bind(most)
    .execute(tx.sql())
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn text(store: &Store, tenant: &TenantId, version: &str) -> Result<Option<ConsentText>, StoreError> {
    let row = sqlx::query(
        "SELECT version, purpose, sha256, text, created_at FROM consent_text WHERE tenant = $1 AND version = $2",
    )
    .bind(tenant.as_str())
    .bind(version)
    .fetch_optional(store.pool())
    .await?;
    row.map(|row| {
        Ok(ConsentText {
            version: row.text("version")?,
            purpose: row.parsed("purpose")?,
            sha256: row.text("sha256")?,
            text: row.text("text")?,
            created_at: row.time("created_at")?,
        })
    })
    .transpose()
}
