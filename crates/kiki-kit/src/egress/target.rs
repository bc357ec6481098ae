//! An address of somebody else's service, checked before anything is sent there.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use super::reach::Reach;

/// Bytes of a URL at the most.
pub const URL_BYTES_MAX: usize = 2_048;

/// A URL that may be asked: `https`, or `http` on this machine. It holds no user, no password and no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Uri,
    host: String,
    port: u16,
    is_encrypted: bool,
}

/// Why a URL may not be asked. Its text goes on from the name of a field, such as `must be https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no absolute URL, or too long.
    #[error("must be an absolute URL of at most {URL_BYTES_MAX} bytes, such as https://example.com/hooks")]
    NotAUrl,
    /// It names a user or a password.
    #[error("must not name a user or a password")]
    UserInfo,
    /// It ends with `#…`, which is not sent.
    #[error("must not have a fragment")]
    Fragment,
    /// It is neither `https` nor on this machine.
    #[error("must be https; http is for this machine alone")]
    NotEncrypted,
    /// Its address may not be reached.
    #[error("is at an address that may not be reached from here")]
    OutOfReach,
}

impl Target {
    /// Reads `url`. An address in it is checked against `reach`; a name is checked when it is resolved.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(url: &str, reach: Reach) -> Result<Self, TargetError> {
        if url.len() > URL_BYTES_MAX {
            return Err(TargetError::NotAUrl);
        }
        if url.contains('#') {
            return Err(TargetError::Fragment);
        }
        let url: Uri = url.parse().map_err(|_| TargetError::NotAUrl)?;
        let authority = url.authority().ok_or(TargetError::NotAUrl)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::UserInfo);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let is_encrypted = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(TargetError::NotAUrl),
        };
        let port = match (authority.port(), is_encrypted) {
            (Some(port), _) => port.as_u16(),
            (None, true) => 443,
            (None, false) => 80,
        };
        if host.is_empty() || port == 0 {
            return Err(TargetError::NotAUrl);
        }
        let address = host.parse::<IpAddr>().ok();
        let is_here = host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback());
        if !is_encrypted && !is_here {
            return Err(TargetError::NotEncrypted);
        }
        if (is_here && reach < Reach::Loopback) || address.is_some_and(|address| !reach.allows(address)) {
            return Err(TargetError::OutOfReach);
        }
        Ok(Self { host, port, is_encrypted, url })
    }

    /// The host without brackets, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where the URL names none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// What is asked for, as the request line has it.
    pub(super) fn path_and_query(&self) -> &str {
        self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// The value of the header `host`.
    pub(super) fn authority(&self) -> &str {
        self.url.authority().map_or("", http::uri::Authority::as_str)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_encrypted_or_on_this_machine() {
        let parse = |url| Target::parse(url, Reach::Loopback);
        for (url, host, port) in [
            ("https://example.com/hooks?a=b", "example.com", 443),
            ("https://EXAMPLE.com:8443", "example.com", 8443),
            ("http://localhost:9000/x", "localhost", 9000),
            ("http://127.0.0.1/x", "127.0.0.1", 80),
            ("http://[::1]:81/", "::1", 81),
            ("https://[2606:4700::1111]/", "2606:4700::1111", 443),
        ] {
            let target = parse(url).unwrap();
            assert_eq!((target.host(), target.port()), (host, port), "{url}");
        }
        for (url, error) in [
            ("http://example.com/", TargetError::NotEncrypted),
            ("http://localhost.example.com/", TargetError::NotEncrypted),
            ("http://10.0.0.1/", TargetError::NotEncrypted),
            ("https://10.0.0.1/", TargetError::OutOfReach),
            ("https://169.254.169.254/latest", TargetError::OutOfReach),
            ("https://[fe80::1]/", TargetError::OutOfReach),
            ("https://user@example.com/", TargetError::UserInfo),
            ("https://user:secret@example.com/", TargetError::UserInfo),
            ("https://example.com/#top", TargetError::Fragment),
            ("ftp://example.com/", TargetError::NotAUrl),
            ("/hooks", TargetError::NotAUrl),
            ("example.com", TargetError::NotAUrl),
            ("https://", TargetError::NotAUrl),
            ("https://example.com:0/", TargetError::NotAUrl),
            ("", TargetError::NotAUrl),
        ] {
            assert_eq!(parse(url), Err(error), "{url}");
        }
        assert_eq!(Target::parse("http://localhost/", Reach::Public), Err(TargetError::OutOfReach));
        assert!(Target::parse("https://10.0.0.1/", Reach::Private).is_ok());
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(parse(&long), Err(TargetError::NotAUrl));
    }
}
