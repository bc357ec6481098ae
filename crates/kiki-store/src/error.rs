//! What can go wrong between a service and its database, sorted by what the caller can do about it.

use sqlx::error::ErrorKind;

/// A failed access to the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nobody can say more at the moment: the database is away, full or busy. Worth a 503 and another try.
    #[error("the database is away or busy")]
    Unavailable(#[source] sqlx::Error),
    /// A unique key is taken.
    #[error("a row with this key exists already")]
    Duplicate(#[source] sqlx::Error),
    /// The statement or the connection's set-up is wrong.
    #[error("the database refused a statement")]
    Sql(#[source] sqlx::Error),
    /// The address is neither a path, `sqlite:` nor `postgres://`.
    #[error("{0}")]
    Address(String),
    /// The database's file or its folder cannot be made.
    #[error("cannot create the database's file")]
    File(#[source] std::io::Error),
    /// The database's file is there and cannot be opened, or is none of a database.
    #[error("cannot open the database's file {path}")]
    Open {
        /// The file, as it was given.
        path: String,
        /// What the database says.
        source: sqlx::Error,
    },
    /// A stored value is not what its column promises.
    #[error("column {column} holds an unreadable value: {why}")]
    Unreadable {
        /// The column.
        column: String,
        /// What the reader said.
        why: String,
    },
    /// One transaction published more events than [`crate::outbox::EVENTS_PER_TX_MAX`].
    #[error("a transaction may publish at most {} events", crate::outbox::EVENTS_PER_TX_MAX)]
    TooManyEvents,
    /// The database was put back to an earlier state: it draws positions again that others know already.
    #[error(
        "the database was put back to an earlier state: position {last} of its outbox is in the log, and it stands at {position}; \
         nothing is handed over until `kiki audit outbox advance --beyond {last}`"
    )]
    PutBack {
        /// The last position that the receiver knows.
        last: i64,
        /// The last one that was drawn.
        position: i64,
    },
    /// Something sealed stays closed.
    #[error("what is sealed about a person cannot be read")]
    Personal(#[from] crate::personal::Unreadable),
    /// The keys of people are away, or changing.
    #[error("the keys of people are away")]
    Keys(#[source] Box<crate::personal::KeysError>),
    /// Another service did not do its part with what it keeps.
    #[error("{service} did not do its part: {why}")]
    Peer {
        /// Its name.
        service: &'static str,
        /// Whether it may do so later.
        is_away: bool,
        /// What went wrong, in words that quote nothing that it keeps.
        why: String,
    },
    /// Another service knows people by name alone, and somebody has none any more.
    #[error("{service} knows people by name alone, and there is none to tell it")]
    Unnamed {
        /// Its name.
        service: &'static str,
    },
    /// A store that holds rows about people does not say what becomes of them.
    #[error("the store {store} holds rows about people and has no {verb}")]
    Unsaid {
        /// Its name among all stores.
        store: &'static str,
        /// What it was asked to do.
        verb: &'static str,
    },
    /// The database was not migrated.
    #[error("the database has no tables of KIKI: run its migrations first")]
    NotMigrated,
}

impl StoreError {
    /// Whether the same call may work later.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Keys(_) | Self::Peer { is_away: true, .. })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(error),
            sqlx::Error::Database(inner) if inner.kind() == ErrorKind::UniqueViolation => Self::Duplicate(error),
            sqlx::Error::Database(inner) if inner.code().is_some_and(|code| is_passing(&code)) => {
                Self::Unavailable(error)
            }
            sqlx::Error::ColumnDecode { index, source } => {
                Self::Unreadable { column: index.clone(), why: source.to_string() }
            }
            _ => Self::Sql(error),
        }
    }
}

/// Whether a code tells of a condition that passes. SQLite's are numbers (the low byte is the primary code: 5 busy,
/// 6 locked, 10 I/O, 13 full); PostgreSQL's are SQLSTATE classes (08 connection, 40 rolled back for concurrency, 53
/// resources, 55P03 lock timeout, 57 shut down or cancelled).
fn is_passing(code: &str) -> bool {
    if code.len() == 5 {
        return code == "55P03" || ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|number| matches!(number & 0xff, 5 | 6 | 10 | 13))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_and_away_pass_and_mistakes_do_not() {
        for code in ["5", "261", "6", "13", "57P01", "40P01", "40001", "53300", "08006", "55P03"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["1", "19", "2067", "23505", "42601", "42P01", "22003"] {
            assert!(!is_passing(code), "{code}");
        }
    }

    #[test]
    fn an_exhausted_pool_is_unavailable() {
        assert!(StoreError::from(sqlx::Error::PoolTimedOut).is_unavailable());
        assert!(!StoreError::from(sqlx::Error::RowNotFound).is_unavailable());
    }
}
