//! Global Privacy Control: a header by which a browser says that its user's data must not be sold or shared
//! (W3C, "Global Privacy Control"; 11 CCR § 7025).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

const SEC_GPC: &str = "sec-gpc";

/// Whether the request carries the signal: one line `Sec-GPC` that is exactly `1`. Anything else says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gpc(pub(crate) bool);

impl Gpc {
    fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(SEC_GPC).iter();
        Self(lines.next().is_some_and(|line| line == "1") && lines.next().is_none())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Gpc {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_is_exactly_1_is_the_signal() {
        let signal = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(SEC_GPC, line.parse().unwrap());
            }
            Gpc::of(&headers).0
        };
        assert!(signal(&["1"]));
        for none in [&[][..], &["0"], &[""], &["1, 1"], &["1;a"], &["true"], &["1", "1"], &["1", "0"], &["0", "1"]] {
            assert!(!signal(none), "{none:?}");
        }
    }
}
