//! Requests to services of others: the one way out of the process.
//!
//! Invariants:
//! - The address that was checked against [`Reach`] is the address that is connected to: a name is resolved once.
//! - Every wait has an end, and so has every answer: [`Limits`]. A redirect is an answer like any other.
//! - TLS is by rustls, against the authorities that the machine trusts. `http` stays on this machine.
//! - A connection serves one request: no state of one receiver reaches another.
//!
//! Start with [`Target::parse`], then [`Egress::post`].

mod reach;
mod target;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

pub use reach::Reach;
pub use target::{Target, TargetError, URL_BYTES_MAX};

/// Addresses of one name that are tried at the most.
const ADDRESSES_MAX: usize = 8;
/// Bytes of an answer's head at the most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bounds of requests to others.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests at the same time; others wait.
    pub requests_max: usize,
    /// How long a request may take from resolving the name to the last byte of the answer.
    pub time_max: Duration,
    /// Bytes of an answer's body that are kept.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_max: 64, time_max: Duration::from_secs(15), body_bytes_max: 64 << 10 }
    }
}

/// What somebody else answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, redirects included.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or as much of it as fits the limits.
    pub body: Bytes,
    /// Whether all of the body is there.
    pub is_whole: bool,
}

/// Why there is no answer. The texts hold nothing that the receiver said.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The name has no address.
    #[error("the name of the host cannot be resolved")]
    Resolve(#[source] io::Error),
    /// All addresses of the host are kept out.
    #[error("the host is at an address that may not be reached from here")]
    OutOfReach,
    /// No connection came about.
    #[error("no connection: {}", .0.kind())]
    Connect(#[source] io::Error),
    /// The other side is not who it should be, or speaks no TLS.
    #[error("no TLS connection: {0}")]
    Tls(#[source] io::Error),
    /// The machine names nobody who may vouch for others.
    #[error("this machine trusts no certificate authority: {0}")]
    NoAuthorities(String),
    /// The connection broke, or what came is not HTTP/1.1.
    #[error("the answer is not HTTP, or broke off")]
    Http(#[source] hyper::Error),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// The request itself cannot be sent.
    #[error("the request cannot be sent")]
    Request(#[source] http::Error),
}

/// Sends requests to services of others. Clones share their bounds.
#[derive(Clone)]
pub struct Egress {
    reach: Reach,
    limits: Limits,
    permits: Arc<Semaphore>,
    tls: Arc<OnceCell<TlsConnector>>,
}

impl Egress {
    /// Requests that may go as far as `reach`, within `limits`.
    #[must_use]
    pub fn new(reach: Reach, limits: Limits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.requests_max.max(1)));
        Self { reach, limits, permits, tls: Arc::default() }
    }

    /// As [`Egress::new`], with these certificate authorities in place of the machine's.
    ///
    /// # Errors
    /// One of them is none.
    pub fn trusting(
        reach: Reach,
        limits: Limits,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority)?;
        }
        let connector = connector(roots)?;
        Ok(Self { tls: Arc::new(OnceCell::new_with(Some(connector))), ..Self::new(reach, limits) })
    }

    /// How far requests may go.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        self.reach
    }

    /// Posts `body` to `target` with `headers`. Any status is an answer.
    ///
    /// # Errors
    /// See [`EgressError`]. After each but [`EgressError::Resolve`], [`EgressError::OutOfReach`],
    /// [`EgressError::Connect`] and [`EgressError::Tls`] the receiver may have got the request.
    pub async fn post(&self, target: &Target, headers: HeaderMap, body: Bytes) -> Result<Answer, EgressError> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            target.path_and_query().parse().map_err(|error| EgressError::Request(http::Error::from(error)))?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_str(target.authority());
        request.headers_mut().insert(HOST, host.map_err(|error| EgressError::Request(error.into()))?);
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        // Never closed, so there is always a permit in the end; waiting for it does not count as the receiver's time.
        let _permit = self.permits.acquire().await.ok();
        self.send(target, request, Instant::now() + self.limits.time_max).await
    }

    async fn send(&self, target: &Target, request: Request<Full<Bytes>>, end: Instant) -> Result<Answer, EgressError> {
        let stream = timeout_at(end, self.connect(target)).await.map_err(|_| EgressError::Timeout)??;
        if !target.is_encrypted() {
            return self.exchange(stream, request, end).await;
        }
        let connector = self.tls.get_or_try_init(machine_connector).await?;
        let invalid = |error| EgressError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error));
        let name = ServerName::try_from(target.host().to_owned()).map_err(invalid)?;
        let stream = timeout_at(end, connector.connect(name, stream)).await.map_err(|_| EgressError::Timeout)?;
        self.exchange(stream.map_err(EgressError::Tls)?, request, end).await
    }

    /// A connection to the first address of the host that may be reached and answers.
    async fn connect(&self, target: &Target) -> Result<TcpStream, EgressError> {
        let found = tokio::net::lookup_host((target.host(), target.port())).await.map_err(EgressError::Resolve)?;
        let may = |address: IpAddr| {
            self.reach.allows(address) && (target.is_encrypted() || address.to_canonical().is_loopback())
        };
        let mut last = None;
        for address in found.filter(|address| may(address.ip())).take(ADDRESSES_MAX) {
            match connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(EgressError::OutOfReach, EgressError::Connect))
    }

    async fn exchange<S>(&self, stream: S, request: Request<Full<Bytes>>, end: Instant) -> Result<Answer, EgressError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(EgressError::Http)?;
        let answer = pin!(async move {
            let sent = timeout_at(end, sender.send_request(request)).await.map_err(|_| EgressError::Timeout)?;
            Ok(self.read(sent.map_err(EgressError::Http)?, end).await)
        });
        // The connection moves bytes while the answer is awaited; where it ends first, what came is still to be read.
        match select(answer, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => answer.await,
        }
    }

    /// The answer with as much of its body as fits and comes in time.
    async fn read(&self, response: Response<Incoming>, end: Instant) -> Answer {
        let (head, mut body) = response.into_parts();
        let mut kept = BytesMut::new();
        let is_whole = loop {
            match timeout_at(end, body.frame()).await {
                Ok(None) => break true,
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let room = self.limits.body_bytes_max - kept.len();
                    kept.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        break false;
                    }
                }
                Ok(Some(Err(_))) | Err(_) => break false,
            }
        };
        Answer { status: head.status, headers: head.headers, body: kept.freeze(), is_whole }
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS with the authorities that the machine trusts, read when they are first needed.
async fn machine_connector() -> Result<TlsConnector, EgressError> {
    let none = |why: &dyn std::fmt::Display| EgressError::NoAuthorities(why.to_string());
    let found =
        tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(|error| none(&error))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(found.errors.first().map_or_else(|| none(&"none is installed"), |error| none(error)));
    }
    connector(roots).map_err(|error| none(&error))
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
