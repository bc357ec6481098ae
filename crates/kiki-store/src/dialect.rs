//! Everything in which SQLite and PostgreSQL differ and that a query may need. No other module asks which
//! database it talks to.

/// The kind of database behind a [`crate::Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// One file, one writer at a time.
    Sqlite,
    /// A server.
    Postgres,
}

/// Names the lock that keeps two migrations of one PostgreSQL database apart: "kikimigr" as bytes.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(7739843219246278002)";

impl Dialect {
    /// The kind that a URL's scheme names.
    pub(crate) fn of_url(url: &str) -> Option<Self> {
        match url.split_once(':')?.0 {
            "sqlite" => Some(Self::Sqlite),
            "postgres" | "postgresql" => Some(Self::Postgres),
            _ => None,
        }
    }

    /// Begins a transaction that will write. SQLite takes the write lock at once: a later upgrade from reading
    /// could fail in the middle of the work.
    pub(crate) const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Ends a `SELECT` that claims rows for the caller's transaction: rows that another one holds are passed over.
    /// Under SQLite the writer is alone, so there is nothing to pass over.
    #[must_use]
    pub const fn claim(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// What overwrites deleted rows that are still in side files, without waiting long for who reads them.
    pub(crate) const fn overwrite_deleted(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Sqlite => Some(["PRAGMA busy_timeout = 100", "PRAGMA wal_checkpoint(TRUNCATE)"]),
            Self::Postgres => None,
        }
    }

    /// Replaces the tokens of a migration's text: `{{BYTES}}` is the type of a column of bytes.
    pub(crate) fn ddl(self, text: &str) -> String {
        let bytes = match self {
            Self::Sqlite => "BLOB",
            Self::Postgres => "BYTEA",
        };
        text.replace("{{BYTES}}", bytes)
    }

    /// Keeps other migrations out until the transaction ends; SQLite's write lock does so already.
    pub(crate) const fn migration_lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(MIGRATION_LOCK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_names_its_database() {
        assert_eq!(Dialect::of_url("postgresql://localhost/kiki"), Some(Dialect::Postgres));
        assert_eq!(Dialect::of_url("postgres://localhost/kiki"), Some(Dialect::Postgres));
        assert_eq!(Dialect::of_url("sqlite:///tmp/kiki.db"), Some(Dialect::Sqlite));
        assert_eq!(Dialect::of_url("mysql://localhost/kiki"), None);
        assert_eq!(Dialect::of_url("/var/lib/kiki.db"), None);
    }
}
