//! How each kind of value is read from its text, and the types that hold secrets.
//!
//! A reader answers `None` for what is not of its kind; the setting's declaration says what was expected.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use kiki_types::{Currency, money};
use zeroize::Zeroizing;

use crate::server::Trust;
use crate::telemetry;

const SECRET_BYTES_MIN: usize = 16;

/// What an installation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Trying and building.
    Development,
    /// Real money.
    Production,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// An object a line.
    Json,
    /// For people.
    Pretty,
}

/// A text that is in nothing that can be printed, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself: to be handed on, never to be kept or shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// An address that may hold a password, which is in nothing that can be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Zeroizing<String>);

impl SecretUrl {
    /// The address with its password: to be handed on, never to be kept or shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `url` with `***` for its password, whether it is before the host or among the parameters.
pub(super) fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (place, parameters) = rest.split_once('?').map_or((rest, None), |(place, rest)| (place, Some(rest)));
    let place = match place.rsplit_once('@') {
        Some((user, host)) => format!("{}:***@{host}", user.split(':').next().unwrap_or_default()),
        None => place.to_owned(),
    };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret_name(name) => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    let parameters = parameters.map(|all| format!("?{}", all.split('&').map(hide).collect::<Vec<_>>().join("&")));
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{place}{}", parameters.unwrap_or_default())
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key"].into_iter().any(|part| name.contains(part))
}

/// Reads with `parse` what is not empty.
pub(super) fn optional<T>(parse: impl Fn(&str) -> Option<T>) -> impl Fn(&str) -> Option<Option<T>> {
    move |text| if text.is_empty() { Some(None) } else { parse(text).map(Some) }
}

/// One of the names of a type that has few values.
pub(super) fn spelled<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

pub(super) fn host(text: &str) -> Option<IpAddr> {
    if text == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { text.parse().ok() }
}

pub(super) fn port(text: &str) -> Option<u16> {
    text.parse().ok()
}

pub(super) fn bytes(text: &str) -> Option<u64> {
    text.parse().ok().filter(|bytes| (1 << 10..=1 << 30).contains(bytes))
}

pub(super) fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|&seconds| seconds <= 600).map(Duration::from_secs)
}

pub(super) fn secret(text: &str) -> Option<Secret> {
    let sane = text.len() >= SECRET_BYTES_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
    sane.then(|| Secret(text.to_owned().into()))
}

/// A number in international form (E.164).
pub(super) fn phone(text: &str) -> Option<Secret> {
    let digits = text.strip_prefix('+')?;
    let sane = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    sane.then(|| Secret(text.to_owned().into()))
}

pub(super) fn filter(text: &str) -> Option<String> {
    telemetry::parse_filter(text).map(|_| text.to_owned())
}

pub(super) fn secret_url(text: &str) -> Option<SecretUrl> {
    let sane = text.len() <= 4_096 && text.bytes().all(|byte| byte.is_ascii_graphic()) && text.contains(':');
    sane.then(|| SecretUrl(text.to_owned().into()))
}

pub(super) fn amount(text: &str) -> Option<i64> {
    money::parse_micros(text).ok().filter(|&micros| micros > 0)
}

/// Whole seconds, also written as `60.0`.
pub(super) fn window(text: &str) -> Option<u32> {
    let micros = money::parse_micros(text).ok().filter(|micros| micros % money::MICROS_PER_UNIT == 0)?;
    let seconds = u32::try_from(micros / money::MICROS_PER_UNIT).ok()?;
    (1..=31_622_400).contains(&seconds).then_some(seconds)
}

pub(super) fn currency(text: &str) -> Option<Currency> {
    text.parse().ok()
}

pub(super) fn whole_days(text: &str) -> Option<u32> {
    text.parse().ok().filter(|days| (1..=36_525).contains(days))
}

pub(super) fn service_url(text: &str) -> Option<Uri> {
    let url: Uri = text.parse().ok()?;
    (matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty()))
        .then_some(url)
}

pub(super) fn address(text: &str) -> Option<Authority> {
    let address: Authority = text.parse().ok()?;
    (address.port_u16().is_some() && !address.host().is_empty() && !text.contains('@')).then_some(address)
}

impl FromStr for Environment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err(()),
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            _ => Err(()),
        }
    }
}

impl FromStr for Trust {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "none" => Ok(Self::None),
            "network" => Ok(Self::Network),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://kiki:hunter2@db:5432/kiki", "postgres://kiki:***@db:5432/kiki"),
            ("postgres://kiki:hun@ter2@db/kiki", "postgres://kiki:***@db/kiki"),
            ("postgres://db/kiki?user=kiki&password=hunter2", "postgres://db/kiki?user=kiki&password=***"),
            ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
            ("kiki:hunter2@cache:6379", "kiki:***@cache:6379"),
            ("sqlite://kiki.db?mode=rwc", "sqlite://kiki.db?mode=rwc"),
        ] {
            assert_eq!(secret_url(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_window_is_whole_seconds_however_they_are_written() {
        for (text, seconds) in
            [("60", Some(60)), ("60.0", Some(60)), ("60.5", None), ("0", None), ("31622400", Some(31_622_400))]
        {
            assert_eq!(window(text), seconds, "{text}");
        }
        for text in ["31622401", "-1", "1e3", "NaN", ""] {
            assert_eq!(window(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_of_a_service_has_a_host_and_a_port() {
        assert!(address("localhost:50051").is_some() && address("[::1]:50051").is_some());
        for bad in ["localhost", "http://localhost:50051", ":50051", "me@localhost:1", "localhost:99999"] {
            assert!(address(bad).is_none(), "{bad}");
        }
        assert!(service_url("http://localhost:8081/check").is_some());
        for bad in ["localhost:8081", "ftp://localhost", "/check", "http://"] {
            assert!(service_url(bad).is_none(), "{bad}");
        }
    }
}
