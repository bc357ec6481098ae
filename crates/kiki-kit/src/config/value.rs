//! How each kind of value is read from its text.
//!
//! A reader answers `None` for what is not of its kind; the setting's declaration says what was expected.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use jiff::civil::Date;
use kiki_types::{Currency, money};

use super::secret::{Secret, SecretUrl};
use crate::server::Trust;
use crate::telemetry;

const SECRET_BYTES_MIN: usize = 16;
const DATES_MAX: usize = 1_000;
const SERVICES_MAX: usize = 16;

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

/// Which key is above the keys of people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterChoice {
    /// A file in the folder of keys, made at the first start.
    File,
    /// The setting `KIKI_MASTER_KEY`.
    Env,
    /// A key of Vault's transit engine.
    Vault {
        /// Where Vault answers, without a path.
        origin: Uri,
        /// Where the engine is mounted, such as `transit`.
        mount: String,
        /// The key's name.
        name: String,
    },
    /// A key of AWS KMS.
    AwsKms {
        /// Its region.
        region: String,
        /// Its id, alias or ARN.
        key: String,
    },
}

/// How somebody who makes a subject request proves who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityCheck {
    /// By a code that was mailed to them.
    Code,
    /// Not at all.
    None,
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

pub(super) fn epoch_days(text: &str) -> Option<u32> {
    text.parse().ok().filter(|days| (1..=14).contains(days))
}

pub(super) fn days_or_never(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&days| days <= 36_525)
}

/// A name that another system gave to one of its places.
pub(super) fn place(text: &str) -> Option<String> {
    let sane = (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    sane.then(|| text.to_owned())
}

/// A line that people read.
pub(super) fn line(text: &str) -> Option<String> {
    let sane = text.chars().count() <= 256 && !text.chars().any(char::is_control);
    sane.then(|| text.to_owned())
}

/// Dates, separated by commas, in order and each once.
pub(super) fn dates(text: &str) -> Option<Vec<Date>> {
    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    let mut dates = texts.map(|text| text.parse().ok()).collect::<Option<Vec<Date>>>()?;
    dates.sort_unstable();
    dates.dedup();
    (dates.len() <= DATES_MAX).then_some(dates)
}

/// Addresses of services, separated by commas, that name nobody.
pub(super) fn services(text: &str) -> Option<Vec<Uri>> {
    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    let all = texts.map(|text| service_url(text).filter(names_nobody)).collect::<Option<Vec<Uri>>>()?;
    (all.len() <= SERVICES_MAX).then_some(all)
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

impl FromStr for MasterChoice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "file" => Ok(Self::File),
            "env" => Ok(Self::Env),
            _ => match text.split_once(':') {
                Some(("vault", address)) => vault(address).ok_or(()),
                Some(("aws-kms", key)) => {
                    let (region_name, key) = key.split_once(':').ok_or(())?;
                    Ok(Self::AwsKms { region: region(region_name).ok_or(())?, key: place(key).ok_or(())? })
                }
                _ => Err(()),
            },
        }
    }
}

/// `https://host:8200/MOUNT/NAME`; the mount may have several parts.
fn vault(address: &str) -> Option<MasterChoice> {
    let address = service_url(address)?;
    let (mount, name) = address.path().trim_matches('/').rsplit_once('/')?;
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if address.query().is_some() || !is_name(name) || !mount.split('/').all(is_name) || !names_nobody(&address) {
        return None;
    }
    let origin = Uri::builder().scheme(address.scheme()?.clone()).authority(address.authority()?.clone());
    let origin = origin.path_and_query("/").build().ok()?;
    Some(MasterChoice::Vault { origin, mount: mount.to_owned(), name: name.to_owned() })
}

/// Whether an address names nobody: what is before an `@` would be shown.
fn names_nobody(address: &Uri) -> bool {
    address.authority().is_some_and(|authority| !authority.as_str().contains('@'))
}

impl FromStr for IdentityCheck {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "code" => Ok(Self::Code),
            "none" => Ok(Self::None),
            _ => Err(()),
        }
    }
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
    fn a_master_key_is_a_file_a_setting_or_a_place_elsewhere() {
        let vault: MasterChoice = "vault:https://vault.example:8200/team/transit/kiki".parse().unwrap();
        let MasterChoice::Vault { origin, mount, name } = vault else { unreachable!("it names Vault") };
        assert_eq!(
            (origin.to_string(), mount.as_str(), name.as_str()),
            ("https://vault.example:8200/".into(), "team/transit", "kiki")
        );
        let kms = "aws-kms:eu-central-1:alias/kiki".parse();
        assert_eq!(kms, Ok(MasterChoice::AwsKms { region: "eu-central-1".into(), key: "alias/kiki".into() }));
        for bad in [
            "",
            "File",
            "vault",
            "vault:",
            "vault:https://vault.example/kiki",
            "vault:https://me:pw@vault.example/t/k",
            "vault:https://vault.example/t/k?x=1",
            "vault:ftp://vault.example/t/k",
            "aws-kms:eu-central-1",
            "aws-kms::key",
            "aws-kms:eu-central-1:",
        ] {
            assert!(bad.parse::<MasterChoice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn holidays_are_sorted_and_each_counts_once() {
        let read: Vec<_> = dates("2026-12-25, 2026-01-01,2026-12-25,").unwrap().iter().map(Date::to_string).collect();
        assert_eq!(read, ["2026-01-01", "2026-12-25"]);
        assert_eq!(dates(""), Some(Vec::new()));
        for bad in ["2026-02-30", "25.12.2026", "2026-12-25;2026-01-01"] {
            assert!(dates(bad).is_none(), "{bad}");
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
