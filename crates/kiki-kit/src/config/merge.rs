//! How the layers become one value per setting.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, nearest};
use super::settings::{SETTINGS, Setting};
use super::sources::{FILE_VARIABLE, Origin, Sources, Text};

/// A setting's text in force.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// One value per setting, in the order of [`SETTINGS`].
#[derive(Clone)]
pub(super) struct Values(Vec<Value>);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values")
    }
}

impl Values {
    pub(super) fn merge(sources: &Sources, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) -> Self {
        let default = |setting: &Setting| Value { text: setting.default.to_owned(), origin: Origin::Default };
        let mut values = Self(SETTINGS.iter().map(default).collect());
        if let Some(file) = &sources.file {
            values.take_file(file, mistakes);
        }
        if let Some(file) = &sources.dot_env {
            values.take_dot_env(file, mistakes, warnings);
        }
        for (name, value) in &sources.environment {
            values.take_variable(name, value, Origin::Environment, mistakes, warnings);
        }
        for flag in &sources.flags {
            values.set(|setting| setting.variable == flag.variable, flag.value.clone(), Origin::Flag(flag.flag));
        }
        values
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Value)> {
        SETTINGS.iter().zip(&self.0)
    }

    pub(super) fn find(&self, variable: &str) -> Option<&Value> {
        self.iter().find(|(setting, _)| setting.variable == variable).map(|(_, value)| value)
    }

    /// The value of `variable` as `parse` reads it.
    pub(super) fn parse<T>(
        &self,
        variable: &str,
        parse: impl Fn(&str) -> Option<T>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        let (setting, value) = self.iter().find(|(setting, _)| setting.variable == variable)?;
        let parsed = parse(&value.text);
        if parsed.is_none() {
            mistakes.push(Mistake::value(setting, value));
        }
        parsed
    }

    fn set(&mut self, wanted: impl Fn(&Setting) -> bool, text: String, origin: Origin) {
        let index = SETTINGS.iter().position(wanted);
        if let Some(value) = index.and_then(|index| self.0.get_mut(index)) {
            *value = Value { text, origin };
        }
    }

    fn take_file(&mut self, file: &Text, mistakes: &mut Vec<Mistake>) {
        let line_at = |offset: usize| 1 + file.text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
        match DeTable::parse(&file.text) {
            Ok(table) => self.take_table(
                "",
                table.get_ref(),
                &|offset| Origin::File(file.name.clone(), line_at(offset)),
                mistakes,
            ),
            Err(error) => {
                let line = line_at(error.span().map_or(0, |span| span.start));
                mistakes.push(Mistake(format!("{}:{line}: is not TOML: {}", file.name, error.message())));
            }
        }
    }

    fn take_table(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        origin: &dyn Fn(usize) -> Origin,
        mistakes: &mut Vec<Mistake>,
    ) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let origin_here = origin(name.span().start);
            let is_setting = SETTINGS.iter().any(|setting| setting.key == key);
            let is_section = SETTINGS.iter().any(|setting| setting.key.starts_with(&format!("{key}.")));
            match (value.get_ref(), scalar(value)) {
                (DeValue::Table(inner), _) if is_section => {
                    self.take_table(&format!("{key}."), inner, origin, mistakes);
                }
                (_, Some(text)) if is_setting => self.set(|setting| setting.key == key, text, origin_here),
                _ if is_setting => {
                    mistakes.push(Mistake(format!("{origin_here}: {key}: expected a text or a number")));
                }
                _ => mistakes.push(Mistake::unknown(&origin_here, &key, SETTINGS.iter().map(|setting| setting.key))),
            }
        }
    }

    fn take_dot_env(&mut self, file: &Text, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) {
        let mut read = 0;
        for pair in dotenvy::from_read_iter(file.text.as_bytes()) {
            let (name, value) = match pair {
                Ok(pair) => pair,
                Err(error) => {
                    // The parser's own message holds the line, and with it perhaps a secret.
                    let line = broken_line(&file.text, read, &error);
                    mistakes.push(Mistake(format!("{}:{line}: is not NAME=value", file.name)));
                    return;
                }
            };
            let sets = |line: &str| line.trim_start().trim_start_matches("export ").trim_start().starts_with(&name);
            let line = file.text.lines().position(sets).map_or(1, |index| index + 1);
            read = line;
            self.take_variable(&name, &value, Origin::DotEnv(file.name.clone(), line), mistakes, warnings);
        }
    }

    fn take_variable(
        &mut self,
        name: &str,
        value: &str,
        origin: Origin,
        mistakes: &mut Vec<Mistake>,
        warnings: &mut Vec<String>,
    ) {
        let is_known = SETTINGS.iter().any(|setting| setting.variable == name) || name == FILE_VARIABLE;
        if is_known && !value.is_empty() {
            self.set(|setting| setting.variable == name, value.to_owned(), origin);
        } else if !is_known && name.starts_with("KIKI_") {
            let variables = || SETTINGS.iter().map(|setting| setting.variable);
            let mistake = Mistake::unknown(&origin, name, variables());
            // One slip is a mistake. Others may be somebody else's: Kubernetes sets such names for each of its services.
            match nearest(name, variables()) {
                Some((_, 1)) => mistakes.push(mistake),
                _ => warnings.push(mistake.to_string()),
            }
        }
    }
}

/// The number of the line that `error` is about, after the first `read`: the parser gives only the line, or its value.
fn broken_line(text: &str, read: usize, error: &dotenvy::Error) -> usize {
    let broken = match error {
        dotenvy::Error::LineParse(broken, _) => broken.lines().next().unwrap_or_default().trim(),
        _ => "",
    };
    let is_it = |line: &str| !line.trim_start().starts_with('#') && !line.trim().is_empty() && line.contains(broken);
    text.lines().skip(read).position(is_it).map_or(read, |index| read + index) + 1
}

/// A value that is not composed, as it is written.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}
