//! Connections: plain, and with the feature `tls` encrypted where the address says https.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

/// How connections are made.
#[cfg(not(feature = "tls"))]
pub(crate) type Connector = HttpConnector;
/// How connections are made.
#[cfg(feature = "tls")]
pub(crate) type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

/// Connects within `timeout`.
fn tcp(timeout: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    tcp
}

/// What connects to `base` within `timeout`.
#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature `tls` it can fail")]
pub(crate) fn connector(_base: &str, timeout: Duration) -> Result<Connector, String> {
    Ok(tcp(timeout))
}

/// What connects to `base` within `timeout`. Certificates are those that the operating system trusts; they are read if
/// they are needed. The provider of cryptography is named, for a program may hold several.
#[cfg(feature = "tls")]
pub(crate) fn connector(base: &str, timeout: Duration) -> Result<Connector, String> {
    use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

    let told = |error: &dyn std::error::Error| error.to_string();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| told(&error))?;
    let config = if base.starts_with("https:") {
        config.with_native_roots().map_err(|error| told(&error))?
    } else {
        config.with_root_certificates(RootCertStore::empty())
    };
    let mut tcp = tcp(timeout);
    tcp.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth());
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}
