//! The types that hold secrets, and what of them may be shown.

use std::fmt;

use zeroize::Zeroizing;

/// A text that is in nothing that can be printed, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned().into())
    }

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
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned().into())
    }

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
            assert_eq!(SecretUrl::new(url).to_string(), shown);
        }
    }
}
