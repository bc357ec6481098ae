//! From a request's headers to a principal.
//!
//! Keys are kept as SHA-256 (they are random and long, so nothing slower is needed) and compared in constant time, all
//! of them each time. The local operator is assumed only for who plainly sits at this machine: the host that was
//! asked must be loopback by name (else a rebound DNS name could reach it), and a browser must not mark the request as
//! coming from another site.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use kiki_types::Principal;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The header that carries a key between KIKI's own services.
pub const API_KEY: HeaderName = HeaderName::from_static("x-internal-api-key");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A key and who presents it. Keeps the key's digest only.
#[derive(Clone)]
pub struct ApiKey {
    digest: [u8; 32],
    principal: Arc<Principal>,
}

impl ApiKey {
    /// Who presents `key` is `principal`.
    #[must_use]
    pub fn new(key: &str, principal: Principal) -> Self {
        Self { digest: Sha256::digest(key).into(), principal: Arc::new(principal) }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("principal", &self.principal.name).finish_non_exhaustive()
    }
}

/// Finds out who sent a request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    keys: Arc<[ApiKey]>,
    local_operator: Option<Arc<Principal>>,
}

/// Why nobody is known to have sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No key, and the local operator is not assumed here.
    Nobody,
    /// A key that nobody has.
    UnknownKey,
    /// The local operator's browser, on behalf of another site.
    CrossSite,
}

impl Authenticator {
    /// Knows who presents one of `keys`. With `local_operator` who presents none, from this machine, is
    /// [`Principal::local_operator`]: for development on a loopback listener, and nowhere else.
    #[must_use]
    pub fn new(keys: Vec<ApiKey>, local_operator: bool) -> Self {
        Self { keys: keys.into(), local_operator: local_operator.then(|| Arc::new(Principal::local_operator())) }
    }

    /// Who sent a request to `uri` with `headers`.
    pub(crate) fn authenticate(&self, uri: &Uri, headers: &HeaderMap) -> Result<Arc<Principal>, Refusal> {
        if let Some(key) = presented_key(headers) {
            return self.find(key).ok_or(Refusal::UnknownKey);
        }
        let operator = self.local_operator.as_ref().ok_or(Refusal::Nobody)?;
        if is_from_this_site(uri, headers) { Ok(Arc::clone(operator)) } else { Err(Refusal::CrossSite) }
    }

    fn find(&self, key: &[u8]) -> Option<Arc<Principal>> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let mut found = None;
        for known in self.keys.iter() {
            if bool::from(known.digest.ct_eq(&digest)) {
                found = Some(&known.principal);
            }
        }
        found.cloned()
    }
}

fn presented_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = || {
        let (scheme, key) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    };
    headers.get(API_KEY).map(HeaderValue::as_bytes).or_else(bearer)
}

fn is_from_this_site(uri: &Uri, headers: &HeaderMap) -> bool {
    // HTTP/2 names the host in the URI, HTTP/1.1 in the header; where both do, both count.
    let asked = || {
        headers
            .get_all(HOST)
            .iter()
            .map(HeaderValue::as_bytes)
            .chain(uri.authority().map(|host| host.as_str().as_bytes()))
    };
    let site = headers.get(SEC_FETCH_SITE).map_or(&b"none"[..], HeaderValue::as_bytes);
    let is_asked = |origin: &HeaderValue| {
        let origin = origin.as_bytes();
        let host = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        host.is_some_and(|host| asked().any(|asked| asked.eq_ignore_ascii_case(host)))
    };
    asked().next().is_some()
        && asked().all(is_loopback)
        && matches!(site, b"none" | b"same-origin")
        && headers.get_all(ORIGIN).iter().all(is_asked)
}

/// Whether `host`, with or without a port, names this machine.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    let address = || match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(inner) => inner.parse().map(IpAddr::V6),
        None => name.parse().map(IpAddr::V4),
    };
    name.eq_ignore_ascii_case("localhost") || address().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a-key-of-sixteen";

    fn asks(local_operator: bool, headers: &[(&'static str, &str)]) -> Result<String, Refusal> {
        asks_at("/spend", local_operator, headers)
    }

    fn asks_at(uri: &str, local_operator: bool, headers: &[(&'static str, &str)]) -> Result<String, Refusal> {
        let service = Principal::service(kiki_types::TenantId::default_tenant(), "engage");
        let authenticator =
            Authenticator::new(vec![ApiKey::new("other", service.clone()), ApiKey::new(KEY, service)], local_operator);
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        authenticator.authenticate(&uri.parse().unwrap(), &headers.collect()).map(|principal| principal.name.clone())
    }

    #[test]
    fn the_right_key_says_who_asks_and_a_wrong_one_says_nobody() {
        for local_operator in [false, true] {
            assert_eq!(asks(local_operator, &[("x-internal-api-key", KEY)]).unwrap(), "engage");
            assert_eq!(asks(local_operator, &[("authorization", &format!("bearer {KEY}"))]).unwrap(), "engage");
            for wrong in ["", "a-key-of-sixteeN", "a-key"] {
                let headers = [("x-internal-api-key", wrong), ("host", "localhost")];
                assert_eq!(asks(local_operator, &headers), Err(Refusal::UnknownKey), "{wrong:?}");
            }
        }
        assert_eq!(asks(false, &[("host", "localhost")]), Err(Refusal::Nobody));
    }

    #[test]
    fn who_asks_a_loopback_host_is_the_local_operator() {
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1:8081", "127.9.9.9", "[::1]:8081"] {
            assert_eq!(asks(true, &[("host", host)]).unwrap(), "operator", "{host}");
        }
        assert_eq!(asks_at("http://localhost:8081/spend", true, &[]).unwrap(), "operator");
    }

    #[test]
    fn a_rebound_name_is_refused() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8081",
            "192.168.1.2",
            "me@localhost",
            "::1",
            "a b",
            "",
        ] {
            assert_eq!(asks(true, &[("host", host)]), Err(Refusal::CrossSite), "{host}");
        }
        assert_eq!(asks(true, &[]), Err(Refusal::CrossSite));
        assert_eq!(asks_at("http://evil.example/", true, &[("host", "localhost")]), Err(Refusal::CrossSite));
    }

    #[test]
    fn a_browser_acts_for_its_own_site_only() {
        let host = ("host", "localhost:8081");
        for own in [("sec-fetch-site", "none"), ("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8081")]
        {
            assert_eq!(asks(true, &[host, own]).unwrap(), "operator", "{own:?}");
        }
        for other in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", ""),
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("origin", "https://evil.example"),
        ] {
            assert_eq!(asks(true, &[host, other]), Err(Refusal::CrossSite), "{other:?}");
        }
    }
}
