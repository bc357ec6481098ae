//! Opening a pool: addresses, the embedded file, and the settings of each connection.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection as _};

use crate::{Dialect, Options, StoreError};

/// Tries to switch a file to write-ahead logging while another process does the same.
const WAL_TRIES_MAX: u32 = 100;
const WAL_PAUSE: Duration = Duration::from_millis(20);
/// Connections that were used since are taken to be there.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// A pool for `address`, with one connection tried.
pub(crate) async fn open(address: &str, options: Options) -> Result<(Dialect, AnyPool), StoreError> {
    sqlx::any::install_default_drivers();
    let (dialect, url) = resolve(address)?;
    let target: AnyConnectOptions =
        url.parse().map_err(|_| StoreError::Address("the database's address is not a URL".to_owned()))?;
    try_one(&target, dialect, options).await.map_err(|error| match error {
        StoreError::Sql(source) if dialect == Dialect::Sqlite => StoreError::Open { path: address.to_owned(), source },
        other => other,
    })?;
    let timeout = options.statement_timeout;
    let pool = AnyPoolOptions::new()
        .max_connections(options.connections_max.max(1))
        .acquire_timeout(options.acquire_timeout)
        .after_connect(move |connection, _| Box::pin(set_up(connection, dialect, timeout)))
        .test_before_acquire(false)
        .before_acquire(|connection, about| Box::pin(still_there(connection, about.idle_for)))
        .connect_with(target)
        .await?;
    if dialect == Dialect::Sqlite {
        log_ahead(&pool).await?;
    }
    Ok((dialect, pool))
}

/// Opens and closes one connection. A pool tries again for as long as it may whatever the cause is, and then says only
/// that its time was up. What the database itself calls passing, such as being busy, is left to the pool to wait for.
async fn try_one(target: &AnyConnectOptions, dialect: Dialect, options: Options) -> Result<(), StoreError> {
    let tried = async {
        let mut connection = AnyConnection::connect_with(target).await?;
        set_up(&mut connection, dialect, options.statement_timeout).await?;
        connection.close().await
    };
    match tokio::time::timeout(options.acquire_timeout, tried).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => match StoreError::from(error) {
            StoreError::Unavailable(sqlx::Error::Database(_)) => Ok(()),
            error => Err(error),
        },
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
    }
}

/// The kind of database and its URL; the file of an embedded one exists afterwards.
fn resolve(address: &str) -> Result<(Dialect, String), StoreError> {
    match Dialect::of_url(address) {
        Some(Dialect::Postgres) => Ok((Dialect::Postgres, address.to_owned())),
        Some(Dialect::Sqlite) => {
            let path = address.trim_start_matches("sqlite:").trim_start_matches("//");
            if path.contains('?') || path.contains(":memory:") || path.is_empty() {
                let why = "a sqlite: address is the path of a file, without parameters";
                return Err(StoreError::Address(why.to_owned()));
            }
            Ok((Dialect::Sqlite, file_url(Path::new(path))?))
        }
        None if address.contains("://") => {
            let why = "the database's address is none of a path, sqlite:PATH, postgres://...";
            Err(StoreError::Address(why.to_owned()))
        }
        None => Ok((Dialect::Sqlite, file_url(Path::new(address))?)),
    }
}

/// Creates the file, readable by its owner alone (SQLite gives its side files the same mode), and spells its URL.
fn file_url(path: &Path) -> Result<String, StoreError> {
    let path = std::path::absolute(path).map_err(StoreError::File)?;
    let named = |error: std::io::Error| {
        StoreError::File(std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(named)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(named(error)),
        _ => {}
    }
    let mut url = String::from("sqlite://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-') {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(url)
}

/// The settings of every connection.
async fn set_up(connection: &mut AnyConnection, dialect: Dialect, timeout: Duration) -> Result<(), sqlx::Error> {
    let ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    match dialect {
        Dialect::Sqlite => {
            // FULL: a commit is on the disk before it is answered.
            // secure_delete: what is deleted is overwritten in the file.
            for pragma in ["PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON", "PRAGMA secure_delete = ON"] {
                sqlx::query(pragma).execute(&mut *connection).await?;
            }
            let busy = sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {}", ms.min(i64::from(i32::MAX))));
            sqlx::query(busy).execute(connection).await?;
        }
        Dialect::Postgres => {
            sqlx::query(
                "SELECT set_config(name, $1, false) FROM (VALUES ('statement_timeout'), ('lock_timeout'), \
                 ('idle_in_transaction_session_timeout')) AS settings (name)",
            )
            .bind(ms.to_string())
            .execute(connection)
            .await?;
        }
    }
    Ok(())
}

/// Asks a connection that nobody used for a while whether it is still there. To ask each time would double the statements of
/// whoever needs one.
async fn still_there(connection: &mut AnyConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    if idle_for >= ASK_AFTER {
        connection.ping().await?;
    }
    Ok(true)
}

/// Write-ahead logging, so that readers and the writer do not wait for each other. The file remembers it. The switch
/// needs the file alone and does not wait for it, so it is tried again for a while.
async fn log_ahead(pool: &AnyPool) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match sqlx::query("PRAGMA journal_mode = WAL").execute(pool).await.map_err(StoreError::from) {
            Err(error) if error.is_unavailable() && tries < WAL_TRIES_MAX => tokio::time::sleep(WAL_PAUSE).await,
            result => return result.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_address_that_names_no_known_database_is_refused_without_repeating_it() {
        for address in ["mysql://root:secret@localhost/kiki", "sqlite::memory:", "sqlite:kiki.db?mode=ro", "sqlite:"] {
            let error = resolve(address).unwrap_err();
            assert!(matches!(error, StoreError::Address(_)), "{address}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    fn patient() -> Options {
        let long = Duration::from_secs(3_600);
        Options { acquire_timeout: long, ..Options::default() }
    }

    async fn chain(address: &str) -> String {
        let error = tokio::time::timeout(Duration::from_secs(60), open(address, patient())).await.unwrap().unwrap_err();
        format!("{error}: {}", error.source().unwrap())
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_told_at_once_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.db");
        std::fs::write(&path, "not a database, whatever its name says\n".repeat(100)).unwrap();
        let told = chain(path.to_str().unwrap()).await;
        assert!(told.contains("notes.db") && told.contains("file is not a database"), "{told}");
        let told = chain(folder.path().to_str().unwrap()).await;
        assert!(told.contains(folder.path().to_str().unwrap()) && told.contains("unable to open"), "{told}");
        let told = chain(path.join("kiki.db").to_str().unwrap()).await;
        assert!(told.contains("notes.db"), "{told}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_at_once_with_the_cause() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let told = chain(&format!("postgres://kiki:secret@127.0.0.1:{port}/kiki")).await;
        assert!(told.contains("refused") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn a_path_keeps_its_odd_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?#%.db");
        let url = file_url(&path).unwrap();
        assert!(url.ends_with("/a%20b%3F%23%25.db"), "{url}");
        assert!(path.exists());
    }
}
