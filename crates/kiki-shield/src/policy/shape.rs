//! How large and how deep a rule may be, told before Cedar reads it: reading, checking and evaluating an expression take
//! stack for every level that it nests.

use super::error::PolicyError;

/// Bytes of a rule at the most, with its annotations and the comments before it.
pub const RULE_BYTES_MAX: usize = 16 * 1024;

/// Operators of a rule at the most, every dot and keyword among them; no expression nests deeper than it has operators
/// and brackets. Members of a list do not count.
pub const RULE_OPERATORS_MAX: usize = 100;

/// Brackets of all kinds that may be open at a time.
pub const RULE_NESTING_MAX: usize = 20;

const KEYWORDS: [&str; 7] = ["if", "then", "else", "has", "like", "in", "is"];

/// What one rule has so far.
#[derive(Default)]
struct Shape {
    begin: usize,
    operators: usize,
    nesting: usize,
}

/// How many rules a text has, each within its bounds; or the first that is too large or nests too deeply.
pub(crate) fn check(name: &str, text: &str) -> Result<usize, PolicyError> {
    let mut rules = 0;
    let mut rule = Shape::default();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let length = token(&text[at..]);
        match next {
            ';' => {
                rules += 1;
                rule = Shape { begin: at + length, ..Shape::default() };
            }
            '(' | '[' | '{' => rule.nesting += 1,
            ')' | ']' | '}' => rule.nesting = rule.nesting.saturating_sub(1),
            '+' | '-' | '*' | '!' | '&' | '|' | '<' | '>' | '=' | '.' | ':' => rule.operators += 1,
            _ if KEYWORDS.contains(&&text[at..at + length]) => rule.operators += 1,
            _ => {}
        }
        at += length;
        let passed = [
            (at - rule.begin > RULE_BYTES_MAX, RULE_BYTES_MAX, "bytes"),
            (rule.operators > RULE_OPERATORS_MAX, RULE_OPERATORS_MAX, "operators"),
            (rule.nesting > RULE_NESTING_MAX, RULE_NESTING_MAX, "brackets open at a time"),
        ];
        if let Some((_, most, what)) = passed.into_iter().find(|(is_passed, ..)| *is_passed) {
            let message = format!("a rule has at most {most} {what}, and here it has more");
            return Err(PolicyError::at(name, text, at - length, message, "make several rules of it"));
        }
    }
    Ok(rules)
}

/// The bytes of what a text begins with: a comment, a string, a word, an operator, or one other character.
fn token(text: &str) -> usize {
    let run = |belongs: fn(char) -> bool| text.find(|c| !belongs(c)).unwrap_or(text.len());
    match text.chars().next() {
        Some('/') if text.starts_with("//") => text.find('\n').unwrap_or(text.len()),
        Some('"') => string(text),
        Some(c) if is_word(c) => run(is_word),
        Some('&' | '|' | '<' | '>' | '=' | ':') => run(|c| "&|<>=:".contains(c)),
        Some(c) => c.len_utf8(),
        None => 0,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A string with its quotes, or all the rest if it does not end.
fn string(text: &str) -> usize {
    let mut is_escaped = true;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = (c == '\\' && !is_escaped) || at == 0 && c != '"',
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        check("a", text).map_or_else(|mistake| mistake.to_string(), |_| String::new())
    }

    #[test]
    fn what_stands_in_strings_and_comments_does_not_count() {
        let deep = "(".repeat(RULE_NESTING_MAX + 1);
        assert_eq!(told(&format!("// {deep}\n\"{deep} \\\" {deep}\"; {}", &deep[1..])), "");
        assert!(told(&format!("\"\\\\\"\n  {deep}")).starts_with("a.cedar:2:23: a rule has at most 20 brackets"));
        assert!(told(&format!("\"\"{deep}")).contains("brackets"));
    }

    #[test]
    fn each_rule_is_counted_by_itself() {
        let operators = "a.b && ".repeat(RULE_OPERATORS_MAX / 2);
        assert_eq!(check("a", &format!("{operators}; {operators};")), Ok(2));
        assert!(told(&format!("{operators} !a;")).contains("100 operators"));
        assert!(told(&"if ".repeat(RULE_OPERATORS_MAX + 1)).contains("100 operators"));
        let members = "\"ads\", ".repeat(1_000);
        assert_eq!(told(&format!("[{members}];[{members}];")), "");
        assert!(told(&format!("[{members}{members}{members}]")).contains("16384 bytes"));
    }
}
