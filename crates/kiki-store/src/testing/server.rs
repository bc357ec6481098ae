//! One private PostgreSQL a process.
//!
//! A small shell process starts it and then reads its standard input, which is a pipe that this process holds. When
//! this process ends, even by SIGKILL, the pipe closes, and the shell stops the server and removes its folder. The
//! shell is in a process group of its own, so that an interrupt from the keyboard does not reach it first.
//! `initdb` refuses root; for root everything runs as the user `postgres`.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::any::AnyConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

const MISSING: &str = "PostgreSQL is not installed: run `apt-get install postgresql` (or your system's way), or \
     `cargo xtask test`, which says what is missing";

/// `$1` folder with the binaries (a trailing slash, or empty for PATH), `$2` folder to own.
const SCRIPT: &str = r#"
umask 077
cd "$2" || exit 1
"$1"initdb -D data -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions >log 2>&1 &&
"$1"pg_ctl -D data -l server.log -w -t 60 -o "-k '$2' -c listen_addresses='' -c fsync=off -c synchronous_commit=off \
 -c full_page_writes=off -c max_connections=300 -c shared_buffers=32MB -c wal_level=minimal -c max_wal_senders=0 \
 -c autovacuum=off" start >>log 2>&1 </dev/null && echo ready || { cat log server.log 2>/dev/null; }
cat >/dev/null
"$1"pg_ctl -D data -m immediate -w stop >/dev/null 2>&1
cd / && rm -rf "$2"
"#;

/// The running server. Lives until the process ends.
struct Server {
    folder: PathBuf,
    // Its end is the watching shell's sign.
    _held: ChildStdin,
    _shell: Child,
}

static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database.
pub(super) async fn fresh_database() -> Result<String, String> {
    let started = tokio::task::spawn_blocking(|| SERVER.get_or_init(start).as_ref());
    let server = started.await.map_err(|error| error.to_string())??;
    let name = format!("kiki_test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    create(server, &name).await.map_err(|error| format!("cannot create {name}: {error}"))?;
    Ok(server.url(&name))
}

async fn create(server: &Server, name: &str) -> Result<(), sqlx::Error> {
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = server.url("postgres").parse()?;
    let mut connection = options.connect().await?;
    // The template's connections would stand in the way of a copy, and template0 has none.
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).execute(&mut connection).await?;
    connection.close().await
}

impl Server {
    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.display())
    }
}

fn start() -> Result<Server, String> {
    let binaries = binaries().ok_or(MISSING)?;
    // Kept: the shell, which outlives this process, removes it.
    let folder = tempfile::Builder::new().prefix("kiki-pg-").tempdir().map_err(|error| error.to_string())?.keep();
    let mut command = command(&folder)?;
    let child = command
        .args(["sh", "-c", SCRIPT, "kiki-test-postgres"])
        .arg(&binaries)
        .arg(&folder)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut shell = child.map_err(|error| format!("cannot start PostgreSQL: {error}"))?;
    let (Some(held), Some(said)) = (shell.stdin.take(), shell.stdout.take()) else {
        return Err("the shell has no pipes".to_owned());
    };
    let mut first = String::new();
    let mut said = BufReader::new(said);
    said.read_line(&mut first).map_err(|error| error.to_string())?;
    if first.trim() == "ready" {
        return Ok(Server { folder, _held: held, _shell: shell });
    }
    drop(held);
    let rest: Vec<String> = said.lines().map_while(Result::ok).collect();
    let _ = shell.wait();
    Err(format!("PostgreSQL did not start:\n{first}{}", rest.join("\n")))
}

/// Runs what follows as the user who may run a server: oneself, or `postgres` for root, who then owns `folder`.
fn command(folder: &Path) -> Result<Command, String> {
    if number("id", &["-u"])? != 0 {
        return Ok(Command::new("env"));
    }
    let user = number("id", &["-u", "postgres"])?;
    let group = number("id", &["-g", "postgres"])?;
    std::os::unix::fs::chown(folder, Some(user), Some(group)).map_err(|error| error.to_string())?;
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
    Ok(command)
}

fn number(program: &str, arguments: &[&str]) -> Result<u32, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("there is no user `postgres` to run PostgreSQL as. {MISSING}"))
}

/// The folder of `initdb` with a trailing slash: in PATH, or the newest where Debian keeps it.
fn binaries() -> Option<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|folder| is_complete(folder));
    let folder = in_path.or_else(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        folders.filter(|folder| is_complete(folder)).max_by_key(|folder| version(folder))
    })?;
    let mut folder = folder.into_os_string();
    folder.push("/");
    Some(folder)
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).exists())
}

fn version(folder: &Path) -> Option<u32> {
    folder.parent()?.file_name()?.to_str()?.parse().ok()
}
