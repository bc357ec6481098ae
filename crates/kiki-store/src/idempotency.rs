//! The memory of `Idempotency-Key`s: one key, one effect, one answer.
//!
//! [`begin`] before the effect, [`finish`] with the answer. Where the effect is SQL alone, both and the effect are
//! one transaction: a concurrent repeat waits for it and gets the answer. Where the effect reaches out, commit
//! after `begin`, act, then `finish` in the transaction that records the effect: a repeat meanwhile is told that it is
//! in progress, and after a crash the key is free again when its lease ends. [`abandon`] frees it at once.
//! [`claim`] in the place of [`begin`] ties the key to its life and to who took it, as such work needs it.
//!
//! A key's life lasts from its first taking until it expires. Whoever takes it over, or takes it after it was given back,
//! goes on in the same life; what comes later with the same text is another key.
//!
//! Keys and requests are kept as keyed hashes: callers put orders, addresses and names of people into them, and without the
//! key nobody can test a guess. They live until they expire; [`purge`] removes those in small batches.

use kiki_types::{TenantId, UnixMillis};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::{Columns as _, Store, StoreError, Tx};

/// Bytes of a key at the most.
pub const KEY_BYTES_MAX: usize = 255;

/// How long a key is remembered: 24 hours.
pub const LIFE_MS: i64 = 24 * 60 * 60 * 1_000;

/// How long a key without an answer stays in progress: 60 seconds.
pub const LEASE_MS: i64 = 60 * 1_000;

/// A key and the request that came with it. Holds keyed hashes only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    tenant: TenantId,
    scope: &'static str,
    key_hash: String,
    request_hash: String,
    /// When the life began that it was claimed in.
    life: Option<UnixMillis>,
    /// Until when it is whose who claimed it: no two have the same.
    lease: Option<UnixMillis>,
}

impl Key {
    /// `scope` names the operation, such as `campaigns.create`; `request` is the body, or what identifies it; `hash` makes
    /// a keyed hash of a text, the same one every time.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub fn new(
        tenant: &TenantId,
        scope: &'static str,
        key: &str,
        request: &[u8],
        hash: impl Fn(&str) -> String,
    ) -> Result<Self, NotAKey> {
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !visible {
            return Err(NotAKey);
        }
        // A scope holds no zero byte, so no key stands for the request of another one.
        let key_hash = hash(&format!("{scope}\0{key}"));
        let request_hash = hash(&format!("{scope}\0\0{:x}", Sha256::digest(request)));
        Ok(Self { tenant: tenant.clone(), scope, key_hash, request_hash, life: None, lease: None })
    }

    /// An id (UUIDv8) that this key and request give every time: for an effect that reaches out under an id of its own
    /// and is repeated after a crash. Of a key that was claimed, every time in its life.
    #[must_use]
    pub fn derived_id(&self) -> Uuid {
        let digest = Sha256::new()
            .chain_update(self.tenant.as_str())
            .chain_update([0])
            .chain_update(self.scope)
            .chain_update([0])
            .chain_update(&self.key_hash)
            .chain_update(&self.request_hash)
            .chain_update(self.life.map_or(0, |life| life.0).to_be_bytes())
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// The text cannot be an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not 1 to 255 visible ASCII characters")]
pub struct NotAKey;

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What a key means now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It is the caller's: act, then [`finish`].
    Fresh,
    /// The work was done; this was the answer.
    Replay(Response),
    /// The key came before with another request.
    Conflict,
    /// The same request is being worked on.
    InProgress,
}

/// Takes `key` for the caller unless it was taken.
///
/// # Errors
/// The database does not answer.
pub async fn begin(tx: &mut Tx, key: &Key, now: UnixMillis) -> Result<Begin, StoreError> {
    if take(tx, key, now).await?.is_some() { Ok(Begin::Fresh) } else { Ok(found(tx, key).await?.0) }
}

/// As [`begin`], and tells `key` its life, and if it is the caller's that it is: [`finish`] and [`abandon`] then leave it
/// alone once another has taken it over.
///
/// # Errors
/// The database does not answer.
pub async fn claim(tx: &mut Tx, key: &mut Key, now: UnixMillis) -> Result<Begin, StoreError> {
    if let Some(life) = take(tx, key, now).await? {
        (key.life, key.lease) = (Some(life), Some(now.plus(LEASE_MS)));
        return Ok(Begin::Fresh);
    }
    let (begun, life) = found(tx, key).await?;
    (key.life, key.lease) = (Some(life), None);
    Ok(begun)
}

/// Takes the key, if it is free. Returns when its life began.
async fn take(tx: &mut Tx, key: &Key, now: UnixMillis) -> Result<Option<UnixMillis>, StoreError> {
    let row = sqlx::query(
        "INSERT INTO idempotency (tenant, scope, key_hash, request_hash, created_at, lease_until, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, scope, key_hash) DO UPDATE SET \
         request_hash = excluded.request_hash, status = NULL, body = CASE WHEN idempotency.expires_at <= excluded.created_at \
         OR idempotency.request_hash <> excluded.request_hash THEN NULL ELSE idempotency.body END, created_at = CASE \
         WHEN idempotency.expires_at <= excluded.created_at THEN excluded.created_at ELSE idempotency.created_at END, \
         lease_until = excluded.lease_until, expires_at = excluded.expires_at \
         WHERE idempotency.expires_at <= excluded.created_at OR (idempotency.status IS NULL AND \
         idempotency.lease_until <= excluded.created_at AND \
         (idempotency.lease_until = 0 OR idempotency.request_hash = excluded.request_hash)) RETURNING created_at",
    )
    .bind(key.tenant.as_str())
    .bind(key.scope)
    .bind(key.key_hash.as_str())
    .bind(key.request_hash.as_str())
    .bind(now.0)
    .bind(now.plus(LEASE_MS).0)
    .bind(now.plus(LIFE_MS).0)
    .fetch_optional(tx.sql())
    .await?;
    row.map(|row| row.time("created_at")).transpose()
}

/// What the key means that was taken, and when its life began.
async fn found(tx: &mut Tx, key: &Key) -> Result<(Begin, UnixMillis), StoreError> {
    let row = sqlx::query(
        "SELECT request_hash, status, body, created_at FROM idempotency \
         WHERE tenant = $1 AND scope = $2 AND key_hash = $3",
    )
    .bind(key.tenant.as_str())
    .bind(key.scope)
    .bind(key.key_hash.as_str())
    .fetch_one(tx.sql())
    .await?;
    let life = row.time("created_at")?;
    if row.text("request_hash")? != key.request_hash {
        return Ok((Begin::Conflict, life));
    }
    let Some(status) = row.int_opt("status")? else { return Ok((Begin::InProgress, life)) };
    let status = u16::try_from(status)
        .map_err(|error| StoreError::Unreadable { column: "status".to_owned(), why: error.to_string() })?;
    Ok((Begin::Replay(Response { status, body: row.bytes_opt("body")?.unwrap_or_default() }), life))
}

/// Remembers the answer to a key that [`begin`] called [`Begin::Fresh`]. `false`: its lease ended, and whoever took it over
/// has finished it. An effect in the same transaction must be rolled back then.
///
/// # Errors
/// The database does not answer.
pub async fn finish(tx: &mut Tx, key: &Key, response: &Response) -> Result<bool, StoreError> {
    let finished = sqlx::query(
        "UPDATE idempotency SET status = $6, body = $7 WHERE tenant = $1 AND scope = $2 AND key_hash = $3 \
         AND request_hash = $4 AND status IS NULL AND ($5 = 0 OR lease_until = $5)",
    )
    .bind(key.tenant.as_str())
    .bind(key.scope)
    .bind(key.key_hash.as_str())
    .bind(key.request_hash.as_str())
    .bind(key.lease.map_or(0, |lease| lease.0))
    .bind(i64::from(response.status))
    .bind(response.body.clone())
    .execute(tx.sql())
    .await?;
    Ok(finished.rows_affected() == 1)
}

/// Keeps what the work on a claimed `key` is to start from, unless an earlier try of the same request did so. Returns what
/// that first said; `None`: another has taken the key over.
///
/// # Errors
/// The database does not answer.
pub async fn start_from(tx: &mut Tx, key: &Key, said: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query(
        "UPDATE idempotency SET body = COALESCE(body, $6) WHERE tenant = $1 AND scope = $2 AND key_hash = $3 \
         AND request_hash = $4 AND status IS NULL AND lease_until = $5 RETURNING body",
    )
    .bind(key.tenant.as_str())
    .bind(key.scope)
    .bind(key.key_hash.as_str())
    .bind(key.request_hash.as_str())
    .bind(key.lease.map_or(0, |lease| lease.0))
    .bind(said)
    .fetch_optional(tx.sql())
    .await?;
    row.map(|row| Ok(row.bytes_opt("body")?.unwrap_or_default())).transpose()
}

/// Gives back a key whose work did not happen: any request may take it. Its row keeps its life.
///
/// # Errors
/// The database does not answer.
pub async fn abandon(tx: &mut Tx, key: &Key) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE idempotency SET lease_until = 0 WHERE tenant = $1 AND scope = $2 AND key_hash = $3 \
         AND request_hash = $4 AND status IS NULL AND ($5 = 0 OR lease_until = $5)",
    )
    .bind(key.tenant.as_str())
    .bind(key.scope)
    .bind(key.key_hash.as_str())
    .bind(key.request_hash.as_str())
    .bind(key.lease.map_or(0, |lease| lease.0))
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// Removes at most `limit` keys that expired by `now`. Returns how many.
///
/// # Errors
/// The database does not answer.
pub async fn purge(store: &Store, now: UnixMillis, limit: u32) -> Result<u64, StoreError> {
    let mut tx = store.begin().await?;
    let gone = sqlx::query(
        "DELETE FROM idempotency WHERE expires_at <= $1 AND (tenant, scope, key_hash) IN \
         (SELECT tenant, scope, key_hash FROM idempotency WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
    )
    .bind(now.0)
    .bind(i64::from(limit))
    .execute(tx.sql())
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(gone)
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
