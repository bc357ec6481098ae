//! Asking a witness for the last checkpoint that it cosigned.

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use axum::body::Body;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kiki_audit::witness::hash_of_origin;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring;

/// How long an answer may take.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of it.
const NOTE_BYTES_MAX: usize = 64 << 10;

/// The note that the witness at `url` shows of the log with this origin. No signature is checked.
///
/// # Errors
/// The witness is not reached, or has cosigned nothing of this log.
pub(super) async fn checkpoint(url: &str, origin: &str) -> anyhow::Result<String> {
    let uri: Uri = format!("{}/{}/checkpoint", url.trim_end_matches('/'), hash_of_origin(origin)).parse()?;
    let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_native_roots()?
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    let ask = async {
        let (head, body) = client.get(uri).await?.into_parts();
        ensure!(head.status != StatusCode::NOT_FOUND, "it has cosigned no checkpoint of {origin}");
        ensure!(head.status == StatusCode::OK, "it answers {}", head.status);
        let body = Limited::new(body, NOTE_BYTES_MAX).collect().await.map_err(|error| anyhow!(error))?;
        Ok(String::from_utf8(body.to_bytes().into())?)
    };
    tokio::time::timeout(TIME_MAX, ask).await.context("it does not answer in time")?
}
