//! What is wrong with a configuration, told so that it can be put right without looking anything up.

use std::fmt;

use super::merge::Value;
use super::secret::without_password;
use super::settings::{Secrecy, Setting};
use super::sources::Origin;

/// One mistake: one line, which names the place, the value and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake(pub String);

/// Every mistake of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistake {
    pub(super) fn value(setting: &Setting, value: &Value) -> Self {
        let name = value.origin.name_of(setting);
        let shown = shown(setting.secrecy, &value.text);
        Self(format!("{}: {name} = {shown}: expected {}", value.origin, setting.expected))
    }

    pub(super) fn unknown(origin: &Origin, name: &str, known: impl Iterator<Item = &'static str>) -> Self {
        let suggestion = nearest(name, known).map(|(name, _)| format!("; did you mean {name}?"));
        Self(format!("{origin}: {name} is no setting{}", suggestion.unwrap_or_default()))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} mistake{}", self.0.len(), if self.0.len() == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// What may be shown of a value.
pub(super) fn shown(secrecy: Secrecy, text: &str) -> String {
    match secrecy {
        Secrecy::Shown => format!("{text:?}"),
        Secrecy::Password if text.is_empty() || text.contains(':') => format!("{:?}", without_password(text)),
        Secrecy::Password | Secrecy::Hidden if !text.is_empty() => "(hidden)".to_owned(),
        Secrecy::Password | Secrecy::Hidden => "\"\"".to_owned(),
    }
}

/// How many slips of the finger may lie between a name and the one that was meant.
const SLIPS_MAX: usize = 3;

/// The name that is nearest to `name`, if one is near, and how far it is.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<(&'static str, usize)> {
    let name = name.to_ascii_lowercase();
    let distances = known.map(|other| (other, slips(&name, &other.to_ascii_lowercase())));
    distances.min_by_key(|&(_, distance)| distance).filter(|&(_, distance)| distance <= SLIPS_MAX)
}

/// The optimal string alignment distance: letters put in, left out, exchanged, or swapped with their neighbour.
fn slips(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let exchanged = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                let swaps = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                let swapped = if swaps { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                exchanged.min(swapped).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (one, other, count) in [("", "abc", 3), ("trust", "turst", 1), ("host", "port", 2), ("same", "same", 0)] {
            assert_eq!(slips(one, other), count, "{one} {other}");
        }
    }
}
