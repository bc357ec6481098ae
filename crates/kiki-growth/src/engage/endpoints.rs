//! Where the services are that engage needs, as the variables of the seeds say it: `SHIELD_URL` is the address of
//! shield's `/check`, whose port speaks gRPC too; `LTV_GRPC_ADDR` is a host and a port.

use http::Uri;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};

/// An address that cannot be used. The text begins with the variable's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {why}")]
pub struct BadEndpoint {
    variable: &'static str,
    why: String,
}

/// The origin of shield in `SHIELD_URL`: `http://localhost:8081/check` is `http://localhost:8081/`.
///
/// # Errors
/// It is not an `http://` URL with a host.
pub fn shield_origin(shield_url: &str) -> Result<Uri, BadEndpoint> {
    let bad = |why: &str| BadEndpoint { variable: "SHIELD_URL", why: why.to_owned() };
    let uri: Uri = shield_url.trim().parse().map_err(|_| bad("is not a URL such as http://localhost:8081/check"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => origin(authority.clone()).ok_or_else(|| bad("has no usable host")),
        (Some("https"), _) => Err(bad("must be http://: the network between services carries the encryption")),
        _ => Err(bad("is not a URL such as http://localhost:8081/check")),
    }
}

/// The origin of the value service in `LTV_GRPC_ADDR`: `localhost:50051` is `http://localhost:50051/`.
///
/// # Errors
/// It is not a host and a port.
pub fn value_origin(ltv_grpc_addr: &str) -> Result<Uri, BadEndpoint> {
    let bad = |why: &str| BadEndpoint { variable: "LTV_GRPC_ADDR", why: why.to_owned() };
    let form = "is not a host and a port such as localhost:50051";
    let authority: Authority = ltv_grpc_addr.trim().parse().map_err(|_| bad(form))?;
    if authority.port_u16().is_none() || authority.as_str().contains('@') {
        return Err(bad(form));
    }
    origin(authority).ok_or_else(|| bad(form))
}

fn origin(authority: Authority) -> Option<Uri> {
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return None;
    }
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_addresses_become_origins() {
        assert_eq!(shield_origin("http://localhost:8081/check").unwrap(), "http://localhost:8081/");
        assert_eq!(shield_origin("http://syncshield:80/check").unwrap(), "http://syncshield:80/");
        assert_eq!(value_origin("syncvalue:50051").unwrap(), "http://syncvalue:50051/");
        assert_eq!(value_origin("[::1]:50051").unwrap(), "http://[::1]:50051/");
    }

    #[test]
    fn a_bad_address_names_its_variable() {
        for bad in ["", "localhost:8081", "ftp://localhost", "https://shield/check", "http://", "/check", "http://a@b/"]
        {
            assert!(shield_origin(bad).unwrap_err().to_string().starts_with("SHIELD_URL: "), "{bad}");
        }
        for bad in ["", "localhost", "http://localhost:50051", "localhost:http", "a b:1", "user@host:1"] {
            assert!(value_origin(bad).unwrap_err().to_string().starts_with("LTV_GRPC_ADDR: "), "{bad}");
        }
    }
}
