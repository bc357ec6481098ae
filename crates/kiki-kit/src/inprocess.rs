//! One client, two transports: [`in_process`] calls a router without a socket, [`over_network`] calls a channel.
//!
//! Both are a [`Transport`], so that what is generated for a contract is written once
//! (`ShieldClient::new(transport)`). Both carry the current request's id and trace on.

use std::sync::Arc;

use axum::Router;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use kiki_types::Principal;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use crate::authorisation::API_KEY;
use crate::context::RequestContext;

/// The transport of a tonic client, whichever way it goes.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, tonic::Status>;

/// Calls `router` inside the process as `principal`. Authentication is thereby done; permissions are still checked.
#[must_use]
pub fn in_process(router: Router, principal: Principal) -> Transport {
    let principal = Arc::new(principal);
    let call = move |mut request: Request<Body>| -> BoxFuture<'static, Result<Response<Body>, tonic::Status>> {
        carry_context(&mut request);
        request.extensions_mut().insert(Arc::clone(&principal));
        let answer = router.clone().oneshot(request.map(axum::body::Body::new));
        async { answer.await.map(|response| response.map(Body::new)).map_err(|never| match never {}) }.boxed()
    };
    BoxCloneSyncService::new(tower::service_fn(call))
}

/// Calls over `channel`, presenting `api_key` if there is one.
///
/// # Errors
/// The key cannot be sent in a header.
pub fn over_network(channel: Channel, api_key: Option<&str>) -> Result<Transport, http::header::InvalidHeaderValue> {
    let api_key = api_key.map(HeaderValue::from_str).transpose()?.map(|mut key| {
        key.set_sensitive(true);
        key
    });
    let add_headers = move |mut request: Request<Body>| {
        carry_context(&mut request);
        if let Some(key) = &api_key {
            request.headers_mut().insert(API_KEY, key.clone());
        }
        request
    };
    let unreachable = |error: tonic::transport::Error| tonic::Status::from_error(error.into());
    Ok(BoxCloneSyncService::new(channel.map_request(add_headers).map_err(unreachable)))
}

fn carry_context(request: &mut Request<Body>) {
    if let Some(context) = RequestContext::current() {
        context.write_to(request.headers_mut());
    }
}
