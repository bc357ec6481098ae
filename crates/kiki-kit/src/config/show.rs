//! The configuration as text: what is in force, and the file that says what could be.

use std::fmt::Write as _;

use super::merge::Values;
use super::mistake::shown;
use super::settings::{SETTINGS, Setting};

/// A line per setting: its variable, what may be shown of its value, where it came from.
pub(super) fn describe(values: &Values) -> String {
    let rows: Vec<[String; 3]> = values
        .iter()
        .map(|(setting, value)| {
            let shown =
                if value.text.is_empty() { "(not set)".to_owned() } else { shown(setting.secrecy, &value.text) };
            [setting.variable.to_owned(), shown, value.origin.to_string()]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    rows.iter().fold(String::new(), |mut text, [variable, value, origin]| {
        // Writing to a string does not fail.
        _ = writeln!(text, "{variable:first$}  {value:second$}  {origin}");
        text
    })
}

/// A `kiki.toml` with every setting, its default and what it is for, all commented out.
#[must_use]
pub fn default_toml() -> String {
    let mut text = "# Defaults. The environment and flags override what is set here.\n".to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let (table, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if table != section {
            _ = write!(text, "\n[{table}]\n");
            section = table;
        }
        _ = write!(
            text,
            "\n# {}\n# Expected: {}. Variable: {}.\n# {name} = {}\n",
            setting.doc,
            setting.expected,
            setting.variable,
            toml_default(setting)
        );
    }
    text
}

fn toml_default(setting: &Setting) -> String {
    // The seeds write amounts as floats; their text is kept as it is, so nothing is lost.
    let is_number = setting.default.parse::<f64>().is_ok();
    if is_number { setting.default.to_owned() } else { format!("{:?}", setting.default) }
}
