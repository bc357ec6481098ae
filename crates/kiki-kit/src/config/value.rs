//! How each kind of value is read from its text.
//!
//! A reader answers `None` for what is not of its kind; the setting's declaration says what was expected.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use kiki_types::{Currency, money};

use super::secret::{Secret, SecretUrl};
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

/// The name of a log, as a signed note can carry it.
pub(super) fn origin(text: &str) -> Option<String> {
    let is_name = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    is_name.then(|| text.to_owned())
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
    sane.then(|| Secret::new(text))
}

/// What another service gave out, whatever its length.
pub(super) fn credential(text: &str) -> Option<Secret> {
    let sane = (1..=8_192).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    sane.then(|| Secret::new(text))
}

/// A region, or an account in a cloud.
pub(super) fn region(text: &str) -> Option<String> {
    let sane = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    sane.then(|| text.to_owned())
}

/// A path, or a place in an object store.
pub(super) fn shelf(text: &str) -> Option<String> {
    let place = text
        .split_once("://")
        .map_or(text, |(scheme, place)| if matches!(scheme, "file" | "s3" | "gs" | "az") { place } else { "" });
    let sane = !place.is_empty() && text.len() <= 1_024 && !text.contains(|c: char| c.is_control() || c == '?');
    // An address that holds a password would be shown.
    (sane && (!text.contains("://") || !text.contains('@'))).then(|| text.to_owned())
}

/// A number in international form (E.164).
pub(super) fn phone(text: &str) -> Option<Secret> {
    let digits = text.strip_prefix('+')?;
    let sane = (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    sane.then(|| Secret::new(text))
}

pub(super) fn filter(text: &str) -> Option<String> {
    telemetry::parse_filter(text).map(|_| text.to_owned())
}

pub(super) fn secret_url(text: &str) -> Option<SecretUrl> {
    let sane = text.len() <= 4_096 && text.bytes().all(|byte| byte.is_ascii_graphic()) && text.contains(':');
    sane.then(|| SecretUrl::new(text))
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
