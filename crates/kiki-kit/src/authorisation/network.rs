//! Where a request came from, coarse enough to be written down.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::Extensions;
use http::request::Parts;

/// The network of the peer: its address with all but the first 24 bits (IPv4) or 48 bits (IPv6) zeroed, such as
/// `203.0.113.0`; empty for a call inside the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteNetwork(pub String);

impl RemoteNetwork {
    /// The network of who sent the request that `extensions` belong to.
    #[must_use]
    pub fn from_extensions(extensions: &Extensions) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        Self(peer.map(|ConnectInfo(peer)| truncated(peer.ip()).to_string()).unwrap_or_default())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RemoteNetwork {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::from_extensions(&parts.extensions))
    }
}

fn truncated(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_cut_to_its_network() {
        for (address, network) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ] {
            assert_eq!(truncated(address.parse().unwrap()).to_string(), network);
        }
        assert_eq!(RemoteNetwork::from_extensions(&Extensions::new()), RemoteNetwork::default());
    }
}
