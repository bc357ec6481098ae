//! Message templates: text with `{customer_id}`, `{value}` and `{probability_alive}` in it. `{{` and `}}` are the braces
//! themselves.
//!
//! A template is checked when a campaign is created, so that rendering cannot fail. What is put in comes on one line:
//! a customer's id cannot add lines to a message or headers to a mail.

use std::fmt;

/// The placeholders that a template may have.
const KNOWN: &str = "{customer_id}, {value}, {probability_alive}";

/// What is put into a template for one customer.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Who it goes to.
    pub customer_id: &'a str,
    /// What the customer is worth, such as `42.17`.
    pub value: &'a str,
    /// The probability that the customer is still one, such as `0.31`.
    pub probability_alive: &'a str,
}

/// Checked text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    CustomerId,
    Value,
    ProbabilityAlive,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATemplate {
    /// A placeholder that does not exist.
    #[error("has the unknown placeholder {{{0}}}; there are {KNOWN}")]
    Unknown(String),
    /// A brace without its other half.
    #[error("has a single brace; write {{{{ and }}}} for braces")]
    Unbalanced,
}

impl Text {
    /// Reads `source`.
    ///
    /// # Errors
    /// See [`NotATemplate`].
    pub fn parse(source: &str) -> Result<Self, NotATemplate> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = rest.split_once('}').filter(|_| brace == "{").ok_or(NotATemplate::Unbalanced)?;
            rest = after;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::named(name)?);
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The text as it was given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether a customer's prediction appears in it.
    #[must_use]
    pub fn needs_prediction(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value | Part::ProbabilityAlive))
    }

    /// The text for one customer.
    #[must_use]
    pub fn render(&self, values: Values<'_>) -> String {
        let mut text = String::with_capacity(self.source.len() + 32);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::CustomerId => push_line(&mut text, values.customer_id),
                Part::Value => push_line(&mut text, values.value),
                Part::ProbabilityAlive => push_line(&mut text, values.probability_alive),
            }
        }
        text
    }
}

impl Part {
    fn named(name: &str) -> Result<Self, NotATemplate> {
        match name {
            "customer_id" => Ok(Self::CustomerId),
            "value" => Ok(Self::Value),
            "probability_alive" => Ok(Self::ProbabilityAlive),
            _ => Err(NotATemplate::Unknown(name.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn push_line(text: &mut String, value: &str) {
    text.extend(value.chars().map(|character| if character.is_control() { ' ' } else { character }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUES: Values<'_> = Values { customer_id: "00042", value: "42.17", probability_alive: "0.31" };

    #[test]
    fn placeholders_are_filled_and_doubled_braces_are_braces() {
        let text = Text::parse("{{Dear}} {customer_id}, {value} at {probability_alive}{value}").unwrap();
        assert_eq!(text.render(VALUES), "{Dear} 00042, 42.17 at 0.3142.17");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        let error = Text::parse("Hello {first_name}").unwrap_err().to_string();
        assert_eq!(
            error,
            "has the unknown placeholder {first_name}; there are {customer_id}, {value}, {probability_alive}"
        );
        for bad in ["{", "}", "a { b", "{value", "value}", "{{}", "{}}"] {
            assert!(Text::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_put_in_stays_on_its_line() {
        let values = Values { customer_id: "7\r\nBcc: all@example.com", ..VALUES };
        assert_eq!(Text::parse("{customer_id}").unwrap().render(values), "7  Bcc: all@example.com");
    }

    #[test]
    fn only_predictions_need_a_prediction() {
        assert!(Text::parse("{value}").unwrap().needs_prediction());
        assert!(!Text::parse("{customer_id} {{value}}").unwrap().needs_prediction());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_text_without_braces_is_itself(text in "\\PC*") {
            match Text::parse(&text) {
                Ok(parsed) if !text.contains(['{', '}']) => prop_assert_eq!(parsed.render(VALUES), text),
                _ => {}
            }
        }
    }
}
