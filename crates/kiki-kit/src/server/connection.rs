//! One connection: which protocol it speaks, how long it may stay silent, how it ends.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::ConnectInfo;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tower::Service as _;

use super::ServerLimits;
use crate::shutdown::Tasks;

const STREAMS_MAX: u32 = 256;
const HEADER_LIST_BYTES_MAX: u32 = 32 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Serves the connections of one listener.
#[derive(Clone)]
pub(super) struct Connections {
    router: Router,
    limits: ServerLimits,
    tasks: Tasks,
    builder: auto::Builder<Streams>,
}

/// Runs the streams of HTTP/2 connections as tasks of the process.
#[derive(Clone)]
struct Streams(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn("stream", stream);
    }
}

impl Connections {
    pub(super) fn new(router: Router, limits: ServerLimits, tasks: Tasks) -> Self {
        let mut builder = auto::Builder::new(Streams(tasks.clone()));
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle_time_max).max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        Self { router, limits, tasks, builder }
    }

    /// Serves `stream`, which keeps its `place` until it ends.
    pub(super) fn spawn(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let serve = self.clone().serve(stream, peer);
        self.tasks.spawn_heedful("connection", async move {
            serve.await;
            drop(place);
        });
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot turn off delay");
        }
        let spoke = Arc::new(AtomicBool::new(false));
        let service = service_fn(|mut request: Request<Incoming>| {
            spoke.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            self.router.clone().call(request)
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut signals = self.signals();
        loop {
            let signal = tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection broke off");
                    }
                    return;
                }
                // Never exhausted: who is let go returns.
                Some(signal) = signals.next() => signal,
            };
            match signal {
                Signal::Draining => connection.as_mut().graceful_shutdown(),
                Signal::LetGo => return,
                Signal::Late if spoke.load(Ordering::Relaxed) => {}
                Signal::Late => {
                    tracing::debug!("connection sent no request in time");
                    return;
                }
            }
        }
    }

    /// What happens to a connection from outside, each once. Polled when one of them was woken, not whenever the
    /// connection is: waiting for the end of the process takes locks at each poll.
    fn signals(&self) -> FuturesUnordered<BoxFuture<'static, Signal>> {
        let shutdown = self.tasks.shutdown();
        FuturesUnordered::from_iter([
            shutdown.draining().map(|()| Signal::Draining).boxed(),
            shutdown.aborted().map(|()| Signal::LetGo).boxed(),
            tokio::time::sleep(self.limits.first_request_time_max).map(|()| Signal::Late).boxed(),
        ])
    }
}

/// What happens to a connection from outside.
enum Signal {
    /// The end has begun: what was begun is finished.
    Draining,
    /// What is not finished is let go.
    LetGo,
    /// The time for the first request is over.
    Late,
}
