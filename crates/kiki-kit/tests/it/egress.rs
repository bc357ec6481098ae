//! Requests to others, against receivers that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use kiki_kit::egress::{Answer, Egress, EgressError, Limits, Reach, Target};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

const LIMITS: Limits = Limits { requests_max: 4, time_max: Duration::from_secs(20), body_bytes_max: 8 };

/// Reads a request to the end of its body and answers with `answer`. Returns the request.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"<end>") {
        let read = stream.read_buf(&mut request).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&request));
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    let _ = stream.shutdown().await;
    String::from_utf8(request).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn post(egress: &Egress, url: &str) -> Result<Answer, EgressError> {
    let target = Target::parse(url, Reach::Private).unwrap();
    let headers = HeaderMap::from_iter([("x-test".parse().unwrap(), HeaderValue::from_static("1"))]);
    egress.post(&target, headers, "<end>".into()).await
}

/// What comes of a request that is answered with `answer`, and the request.
async fn answered(limits: Limits, answer: &str) -> (Result<Answer, EgressError>, String) {
    let (listener, address) = listen().await;
    let served = async {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, answer).await
    };
    let url = format!("http://{address}/hooks?a=b");
    let egress = Egress::new(Reach::Loopback, limits);
    tokio::join!(post(&egress, &url), served)
}

#[tokio::test]
async fn a_request_arrives_and_its_answer_comes_back() {
    let (answer, request) = answered(LIMITS, "HTTP/1.1 201 Created\r\nx-a: b\r\ncontent-length: 2\r\n\r\nok").await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, &answer.body[..], answer.is_whole), (StatusCode::CREATED, &b"ok"[..], true));
    assert_eq!(answer.headers["x-a"], "b");
    let request = request.to_ascii_lowercase();
    assert!(request.starts_with("post /hooks?a=b http/1.1\r\n"), "{request}");
    assert!(request.contains("host: 127.0.0.1:") && request.contains("content-length: 5\r\n"), "{request}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (answer, _) =
        answered(LIMITS, "HTTP/1.1 307 T\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(answer.unwrap().status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn of_a_long_or_broken_answer_as_much_is_kept_as_fits() {
    for body in
        ["content-length: 20\r\n\r\n12345678901234567890", "content-length: 20\r\n\r\n12345678", "\r\n12345678901"]
    {
        let (answer, _) = answered(LIMITS, &format!("HTTP/1.1 200 OK\r\n{body}")).await;
        let answer = answer.unwrap();
        assert_eq!((&answer.body[..], answer.is_whole), (&b"12345678"[..], false), "{body}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_no_answer() {
    let endless = format!("HTTP/1.1 200 OK\r\nx-a: {}", "a".repeat(1 << 20));
    for text in ["220 mail.example.com ESMTP\r\n", "", &endless] {
        let (listener, address) = listen().await;
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            // The client may hang up in the middle of it.
            let _ = stream.write_all(text.as_bytes()).await;
        };
        let url = format!("http://{address}/");
        let egress = Egress::new(Reach::Loopback, LIMITS);
        let (answer, ()) = tokio::join!(post(&egress, &url), served);
        assert!(matches!(answer, Err(EgressError::Http(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn who_is_silent_is_given_up() {
    let (listener, address) = listen().await;
    let egress = Egress::new(Reach::Loopback, Limits { time_max: Duration::from_millis(100), ..LIMITS });
    let answer = post(&egress, &format!("http://{address}/")).await;
    assert!(matches!(answer, Err(EgressError::Timeout)), "{answer:?}");
    drop(listener);
}

#[tokio::test]
async fn a_name_that_leads_out_of_reach_is_not_connected_to() {
    let (listener, address) = listen().await;
    let egress = Egress::new(Reach::Public, LIMITS);
    // Parsed for a wider reach: what counts is where the name leads when it is resolved.
    for url in [format!("https://localhost:{}/", address.port()), format!("http://localhost:{}/", address.port())] {
        let answer = post(&egress, &url).await;
        assert!(matches!(answer, Err(EgressError::OutOfReach)), "{answer:?}");
    }
    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "nobody connected");
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_connection() {
    let (listener, address) = listen().await;
    drop(listener);
    let answer = post(&Egress::new(Reach::Loopback, LIMITS), &format!("http://{address}/")).await;
    assert!(matches!(answer, Err(EgressError::Connect(_))), "{answer:?}");
}

/// A server certificate for `name`, which vouches for itself, and an acceptor that shows it.
fn certified(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (made.cert.der().clone(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn over_tls_the_receiver_must_be_who_it_should_be() {
    let (trusted, acceptor) = certified("localhost");
    let (_, stranger) = certified("localhost");
    let (elsewhere, misnamed) = certified("example.com");
    let egress = Egress::trusting(Reach::Loopback, LIMITS, vec![trusted, elsewhere]).unwrap();
    for (acceptor, is_right) in [(acceptor, true), (stranger, false), (misnamed, false)] {
        let (listener, address) = listen().await;
        let served = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, "HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        };
        let url = format!("https://localhost:{}/", address.port());
        let (answer, ()) = tokio::join!(post(&egress, &url), served);
        match answer {
            Ok(answer) => assert!(is_right && answer.status == StatusCode::NO_CONTENT),
            Err(error) => assert!(!is_right && matches!(error, EgressError::Tls(_)), "{error:?}"),
        }
    }
}
