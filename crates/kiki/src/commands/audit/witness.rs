//! `kiki audit witness`: the protocol over HTTP. It has no authentication but the signatures of the logs, so everything
//! that a caller can cost is bounded.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Args;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use kiki_audit::witness::{Refusal, SUBMISSION_BYTES_MAX};
use kiki_audit::{Witness, disk};
use kiki_kit::clock::{Clock, SystemClock};
use kiki_kit::config::Config;
use kiki_kit::server::{Server, ServerLimits};
use kiki_kit::shutdown::{Ended, Shutdown, Tasks};
use tokio::sync::Semaphore;

use crate::cli::Listen;
use crate::services::secret_bytes;

const PORT: u16 = 8101;
/// Submissions at the same time: each waits for the disk.
const SUBMISSIONS_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 1024;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
const TEXT: &str = "text/plain; charset=utf-8";
const SIZE: &str = "text/x.tlog.size";

/// Which witness, of which logs, where.
#[derive(Args, Debug)]
pub struct Options {
    /// The folder of its key and of what it has seen; made if it is not there.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Its name, such as witness.example/w1.
    #[arg(long)]
    name: String,
    /// The verifier key of a log to follow, or the file that holds it. A log may have several.
    #[arg(long = "follow", required = true, value_name = "KEY|FILE")]
    logs: Vec<String>,
    /// The port.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    #[command(flatten)]
    pub(super) listen: Listen,
}

struct Served {
    witness: Witness,
    clock: SystemClock,
    turns: Arc<Semaphore>,
}

/// Serves until a signal.
///
/// # Errors
/// A key cannot be read, the folder is in use, or the address is taken.
pub(super) async fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let logs: Vec<_> = options.logs.iter().map(|log| super::verifier_key(log)).collect::<Result<_, _>>()?;
    let witness = Witness::open(disk::real(), &options.dir, &options.name, &logs, secret_bytes);
    let witness = witness.context("cannot open the witness")?;
    let tasks = Tasks::new(Shutdown::new());
    tasks.end_on_signals().context("cannot listen for signals")?;
    let port = if options.listen.free_ports { 0 } else { options.port };
    let server = Server::bind(SocketAddr::new(config.host, port), config.trust)?
        .with_limits(ServerLimits { connections_max: CONNECTIONS_MAX, ..ServerLimits::default() });
    let (address, key) = (server.address(), witness.verifier().to_string());
    server.serve(router(witness), &tasks);
    tracing::info!(service = "witness", %address, key, "listening");
    match tasks.ended(config.shutdown).await {
        Ended::Cleanly => Ok(ExitCode::SUCCESS),
        Ended::Unfinished(_) => Ok(ExitCode::FAILURE),
    }
}

fn router(witness: Witness) -> Router {
    let turns = Arc::new(Semaphore::new(SUBMISSIONS_MAX));
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin_hash}/checkpoint", get(checkpoint))
        .layer(DefaultBodyLimit::max(SUBMISSION_BYTES_MAX))
        .layer(middleware::from_fn(in_time))
        .with_state(Arc::new(Served { witness, clock: SystemClock::new(), turns }))
}

async fn in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await;
    answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

async fn add_checkpoint(State(served): State<Arc<Served>>, body: Bytes) -> Response {
    let now_s = u64::try_from(served.clock.now().0 / 1000).unwrap_or(0).max(1);
    let answer = in_turn(served, move |witness| witness.add_checkpoint(&body, now_s)).await;
    match answer {
        Some(Ok(cosignature)) => (StatusCode::OK, [(CONTENT_TYPE, TEXT)], cosignature).into_response(),
        Some(Err(refusal)) => refused(&refusal),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn checkpoint(State(served): State<Arc<Served>>, Path(origin_hash): Path<String>) -> Response {
    match in_turn(served, move |witness| witness.checkpoint(&origin_hash)).await {
        Some(Ok(Some(note))) => (StatusCode::OK, [(CONTENT_TYPE, TEXT)], note).into_response(),
        Some(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        Some(Err(error)) => failed(&error),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Does what touches the disk on a thread that may wait; `None` if too many do already.
async fn in_turn<T: Send + 'static>(
    served: Arc<Served>,
    work: impl FnOnce(&Witness) -> T + Send + 'static,
) -> Option<T> {
    let turn = served.turns.clone().try_acquire_owned().ok()?;
    let work = move || {
        let done = work(&served.witness);
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.ok()
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match refusal {
        Refusal::Disk(error) => failed(error),
        Refusal::Conflict { size } => (status, [(CONTENT_TYPE, SIZE)], format!("{size}\n")).into_response(),
        refusal => {
            if matches!(refusal, Refusal::Inconsistent) {
                tracing::warn!("a checkpoint that its log signed does not continue the last one; it is kept");
            }
            (status, [(CONTENT_TYPE, TEXT)], format!("{refusal}\n")).into_response()
        }
    }
}

/// What fails here is told here, not to whom asks.
fn failed(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::error!(error, "the witness cannot read or write what it must");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
