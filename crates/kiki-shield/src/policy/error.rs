//! What is wrong with a policy, and where.

use std::fmt;

use miette::Diagnostic;

/// Mistakes that are told at once; more are counted.
pub const MISTAKES_MAX: usize = 50;

/// One mistake in a rule set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The name of the rule set, or the folder; empty if the policy as a whole is meant.
    pub rule_set: String,
    /// From 1; 0 if no place is known.
    pub line: usize,
    /// In characters, from 1; 0 if no place is known.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Every mistake that was found; the policy before stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(pub Vec<PolicyError>);

impl PolicyError {
    /// A mistake that has no place in a text.
    pub(crate) fn about(rule_set: &str, message: impl Into<String>, help: &str) -> Self {
        let help = Some(help.to_owned()).filter(|help| !help.is_empty());
        Self { rule_set: rule_set.to_owned(), line: 0, column: 0, message: message.into(), help }
    }

    /// A mistake at a byte of a rule set's text.
    pub(crate) fn at(rule_set: &str, text: &str, byte: usize, message: impl Into<String>, help: &str) -> Self {
        let (line, column) = place(text, byte);
        Self { line, column, ..Self::about(rule_set, message, help) }
    }

    /// A mistake that Cedar found.
    pub(crate) fn of_cedar(rule_set: &str, text: &str, mistake: &dyn Diagnostic, help: &str) -> Self {
        let label = mistake.labels().and_then(|mut labels| labels.next());
        let hint = label.as_ref().and_then(|label| label.label()).map(|hint| format!(" ({hint})"));
        let message = format!("{mistake}{}", hint.unwrap_or_default());
        let help = mistake.help().map_or_else(|| help.to_owned(), |help| help.to_string());
        match label {
            Some(label) => Self::at(rule_set, text, label.offset(), message, &help),
            None => Self::about(rule_set, message, &help),
        }
    }
}

/// The line and the column of a byte, both from 1.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte.min(text.len())).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or(before);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rule_set.is_empty() {
            write!(f, "{}", self.rule_set)?;
            if self.line > 0 {
                write!(f, ".cedar:{}:{}", self.line, self.column)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().take(MISTAKES_MAX).enumerate() {
            write!(f, "{}{mistake}", if at > 0 { "\n" } else { "" })?;
        }
        match self.0.len().checked_sub(MISTAKES_MAX) {
            Some(more @ 1..) => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for PolicyErrors {}

impl From<PolicyError> for PolicyErrors {
    fn from(mistake: PolicyError) -> Self {
        Self(vec![mistake])
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        assert_eq!(place("ab", 0), (1, 1));
        assert_eq!(place("é\nxü?", "é\nxü".len()), (2, 3));
        assert_eq!(place("a", 9), (1, 2));
    }
}
