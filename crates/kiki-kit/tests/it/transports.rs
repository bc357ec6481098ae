//! One gRPC client over both transports: inside the process, and over a socket.

use axum::Router;
use axum::body::Body;
use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request};
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::context::{REQUEST_ID, RequestContext};
use kiki_kit::ids::CountingIds;
use kiki_kit::inprocess::{Transport, in_process, over_network};
use kiki_kit::problem::{GRPC_CODE_KEY, Problem};
use kiki_kit::server::{Server, Trust};
use kiki_kit::service::HttpService;
use kiki_kit::shutdown::Tasks;
use kiki_types::principal::PermissionSet;
use kiki_types::{Principal, TenantId};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use crate::support::{KEY, READER, World};

/// Text as it is.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(String::from_utf8(bytes.to_vec()).unwrap()))
    }
}

/// Answers who asked and within which request; `panic` and `problem` do as they say.
async fn greet(request: tonic::Request<String>) -> Result<tonic::Response<String>, Status> {
    let who = Allowed::<can::SpendWrite>::from_grpc(&request)?;
    match request.get_ref().as_str() {
        "panic" => panic!("on purpose"),
        "problem" => Err(Problem::denied("no_consent", "not agreed").into()),
        _ => Ok(tonic::Response::new(format!("{} in {}", who.name, RequestContext::current().unwrap()))),
    }
}

fn service(world: &World) -> HttpService {
    let handle = async |request: Request<Body>| {
        let handler = tower::service_fn(greet);
        tonic::server::Grpc::new(Text).unary(handler, request).await
    };
    let routes = Router::new().route_service(
        "/kiki.Sample/{*rest}",
        tower::service_fn(move |request| async move { Ok(handle(request).await) }),
    );
    world.builder().grpc(routes.into()).build()
}

async fn call(transport: Transport, path: &'static str, text: &str) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(transport);
    client.ready().await?;
    let request = tonic::Request::new(text.to_owned());
    Ok(client.unary(request, PathAndQuery::from_static(path), Text).await?.into_inner())
}

async fn holds(transport: Transport, forbidden: Transport) {
    let greet = "/kiki.Sample/Greet";
    let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static("order-17"))]);
    let context = RequestContext::from_headers(&headers, &CountingIds::default());
    let greeted = context.scope(call(transport.clone(), greet, "")).await.unwrap();
    assert_eq!(greeted, "engage in order-17");

    let refused = call(transport.clone(), greet, "problem").await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "not agreed"));
    assert_eq!(refused.metadata().get(GRPC_CODE_KEY).unwrap(), "no_consent");
    assert_eq!(call(transport.clone(), greet, "panic").await.unwrap_err().code(), Code::Internal);
    assert_eq!(call(transport.clone(), "/kiki.Other/Greet", "").await.unwrap_err().code(), Code::Unimplemented);
    let large = "x".repeat(11 << 20);
    // Over a socket tonic learns the length first and refuses it by a bound of its own.
    let too_large = call(transport, greet, &large).await.unwrap_err().code();
    assert!(matches!(too_large, Code::ResourceExhausted | Code::OutOfRange), "{too_large:?}");
    assert_eq!(call(forbidden, greet, "").await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_client_calls_inside_the_process() {
    let router = service(&World::new()).router();
    let may = Principal::service(TenantId::default_tenant(), "engage");
    let may_not = Principal { permissions: PermissionSet::NONE, ..may.clone() };
    holds(in_process(router.clone(), may), in_process(router, may_not)).await;
}

#[tokio::test]
async fn the_same_client_calls_over_the_network() {
    let world = World::new();
    let tasks = Tasks::new(world.platform.shutdown.clone());
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Trust::None).unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", server.address())).unwrap().connect_lazy();
    server.serve(service(&world).router(), &tasks);
    let with = |key| over_network(channel.clone(), key).unwrap();
    holds(with(Some(KEY)), with(Some(READER))).await;
    let nobody = call(with(None), "/kiki.Sample/Greet", "").await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_peer_that_is_away_is_unavailable() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Trust::None).unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", server.address())).unwrap().connect_lazy();
    drop(server);
    let away = call(over_network(channel, None).unwrap(), "/kiki.Sample/Greet", "").await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_grpc_failure_counts_as_what_it_means() {
    let world = World::new();
    let service = service(&world);
    let transport = in_process(service.router(), Principal::service(TenantId::default_tenant(), "engage"));
    call(transport, "/kiki.Sample/Greet", "problem").await.unwrap_err();
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let metrics = crate::support::text(service.router().oneshot(request).await.unwrap()).await;
    let line = "route=\"/kiki.Sample/{*rest}\",method=\"POST\",status=\"403\"";
    assert!(metrics.contains(line), "{metrics}");
}
