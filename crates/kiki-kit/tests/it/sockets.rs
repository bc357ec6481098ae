//! The server over real sockets on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiki_kit::server::{Server, ServerLimits, Trust};
use kiki_kit::shutdown::{Ended, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{KEY, World};

/// Less than any bound of the server that would end a test's wait by itself.
const LONG: Duration = Duration::from_secs(8);

struct Served {
    world: World,
    tasks: Tasks,
    address: SocketAddr,
}

impl Served {
    fn new(limits: ServerLimits) -> Self {
        let world = World::new();
        let tasks = Tasks::new(world.platform.shutdown.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::from_listener(listener, Trust::None).unwrap().with_limits(limits);
        let address = server.address();
        server.serve(world.service().router(), &tasks);
        Self { world, tasks, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, version: Version, request: Request<Body>) -> Response<Incoming> {
        let io = TokioIo::new(self.connect().await);
        if version == Version::HTTP_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            self.tasks.spawn("client", connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            self.tasks.spawn("client", connection);
            sender.send_request(request).await.unwrap()
        }
    }

    fn request(&self, method: &str, path: &str, body: Body) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("host", self.address.to_string())
            .header("x-internal-api-key", KEY)
            .header("content-type", "application/json")
            .body(body)
            .unwrap()
    }
}

async fn json(response: Response<Incoming>) -> serde_json::Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn one_port_speaks_both_versions_and_knows_its_peer() {
    let served = Served::new(ServerLimits::default());
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let response = served.ask(version, served.request("GET", "/around", Body::empty())).await;
        assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
        assert_eq!(json(response).await["network"], "127.0.0.0");
    }
}

#[tokio::test]
async fn eleven_megabytes_are_refused_and_who_sends_them_all_hears_it() {
    let served = Served::new(ServerLimits::default());
    let length = 11 << 20;
    let announced = [format!("content-length: {length}\r\n\r\n").into_bytes(), vec![b' '; length]].concat();
    // Twice as much, so that what is left unread does not fit into the buffers between the two.
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let chunked =
        [b"transfer-encoding: chunked\r\n\r\n".to_vec(), chunk.repeat(22 * 16), b"0\r\n\r\n".to_vec()].concat();
    for rest in [announced, chunked] {
        let mut stream = served.connect().await;
        let head = "POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&rest).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"body_too_large\""), "{answer}");
    }
    let bytes = Bytes::from(vec![b' '; length]);
    let chunks: Vec<_> =
        bytes.chunks(60_000).map(|c| Ok::<_, std::io::Error>(Frame::data(bytes.slice_ref(c)))).collect();
    for body in [Body::new(Full::new(bytes.clone())), Body::new(StreamBody::new(futures::stream::iter(chunks)))] {
        let response = served.ask(Version::HTTP_2, served.request("POST", "/json", body)).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(json(response).await["code"], "body_too_large");
    }
}

#[tokio::test]
async fn who_asks_before_sending_is_refused_before_sending() {
    let served = Served::new(ServerLimits::default());
    let mut stream = served.connect().await;
    let head = "POST /json HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer).unwrap(), "HTTP/1.1 413");
}

#[tokio::test]
async fn a_connection_that_sends_no_whole_request_is_closed() {
    let limits = ServerLimits { first_request_time_max: Duration::from_millis(20), ..ServerLimits::default() };
    let served = Served::new(limits);
    for start in ["", "GET /items/1 HTTP/1.1\r\nhost: loc", "PRI * HTTP/2.0\r\n\r"] {
        let mut stream = served.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.unwrap();
        assert!(read.is_err() || rest.is_empty(), "{start:?}: {rest:?}");
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let served = Served::new(ServerLimits { connections_max: 1, ..ServerLimits::default() });
    let mut first = served.connect().await;
    let mut second = served.connect().await;
    let request = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut answer = [0; 12];
    first.write_all(request.as_bytes()).await.unwrap();
    first.read_exact(&mut answer).await.unwrap();
    second.write_all(request.as_bytes()).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(20), second.read_exact(&mut answer)).await;
    assert!(waits.is_err(), "the only place is taken");
    drop(first);
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(std::str::from_utf8(&answer).unwrap(), "HTTP/1.1 200");
}

#[tokio::test]
async fn a_request_that_was_begun_is_answered_before_the_end() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let served = Served::new(ServerLimits::default());
        let shutdown = served.tasks.shutdown().clone();
        let (answer, ()) = tokio::join!(served.ask(version, served.request("GET", "/gate", Body::empty())), async {
            served.world.gate.entered.notified().await;
            shutdown.begin();
            while TcpStream::connect(served.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            served.world.gate.open.notify_one();
        });
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "through");
        assert_eq!(served.tasks.ended(LONG).await, Ended::Cleanly, "{version:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let served = Served::new(ServerLimits::default());
    let mut idle = served.connect().await;
    let silent = served.connect().await;
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    served.tasks.shutdown().begin();
    assert_eq!(served.tasks.ended(LONG).await, Ended::Cleanly);
    drop(silent);
}
