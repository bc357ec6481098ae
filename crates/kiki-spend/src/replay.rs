//! Runs a file of commands and writes their outcomes, one line each, in the very form of the oracle: the way to
//! check the rules against it, and to try a set of limits on a history.
//!
//! A line is a JSON object `{"at": ms, "op": …, …}` with names as free text; amounts are millionths. The operations are
//! the oracle's: limit, authorize, capture, void, increase, record, refund, stop, resume, consent.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use kiki_types::Purpose;
use serde::{Deserialize, Serialize};

use crate::command::{Authorize, Command, Outcome, Record};
use crate::digest::Digest;
use crate::kind::LimitKind;
use crate::state::{Bounds, State};

/// Bytes in a line at the most.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The last millisecond of the year 9999.
const AT_MAX: i64 = 253_402_300_799_999;

/// Why a file could not be replayed to its end. Outcomes of the lines before it have been written.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line is not a command.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Deserialize)]
struct Timed {
    at: i64,
    #[serde(flatten)]
    command: Named,
}

/// A command with names as text.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Named {
    Limit {
        id: Arc<str>,
        path: Box<str>,
        #[serde(flatten)]
        kind: LimitKind,
        #[serde(default)]
        shadow: bool,
    },
    Authorize {
        id: String,
        key: String,
        path: Box<str>,
        amount: i64,
        ttl_ms: i64,
        subject: Option<String>,
        purpose: Option<Purpose>,
        category: Option<Box<str>>,
        payee: Option<Box<str>>,
    },
    Capture {
        id: String,
        amount: i64,
    },
    Void {
        id: String,
    },
    Increase {
        id: String,
        amount: i64,
    },
    Refund {
        id: String,
        amount: i64,
    },
    Record {
        path: Box<str>,
        amount: i64,
        category: Option<Box<str>>,
        payee: Option<Box<str>>,
    },
    Stop {
        path: Box<str>,
    },
    Resume {
        path: Box<str>,
    },
    Consent {
        subject: String,
        purpose: Purpose,
        granted: bool,
    },
}

impl Named {
    fn digested(self) -> Result<Command, String> {
        let id = |id: &str| Digest::of(&format!("id {id}"));
        Ok(match self {
            Self::Limit { id, path, kind, shadow } => Command::Limit { id, path, kind, shadow },
            Self::Authorize { id: name, key, path, amount, ttl_ms, subject, purpose, category, payee } => {
                let request =
                    Digest::of(&format!("request {path} {amount} {subject:?} {purpose:?} {category:?} {payee:?}"));
                let consent = match (subject, purpose) {
                    (Some(subject), Some(purpose)) => Some((Digest::of(&subject), purpose)),
                    (None, None) => None,
                    _ => return Err("subject and purpose go together".to_owned()),
                };
                let key = Some(Digest::of(&format!("key {key}")));
                let request = Some(request);
                let least = Authorize::of(id(&name), &path, amount, ttl_ms);
                Command::Authorize(Authorize { key, request, consent, category, payee, ..least })
            }
            Self::Capture { id: name, amount } => Command::Capture { id: id(&name), amount: Some(amount) },
            Self::Void { id: name } => Command::Void { id: id(&name) },
            Self::Increase { id: name, amount } => Command::Increase { id: id(&name), amount, key: None },
            Self::Refund { id: name, amount } => Command::Refund { id: id(&name), amount, key: None },
            Self::Record { path, amount, category, payee } => {
                Command::Record(Record { id: None, key: None, request: None, path, amount, category, payee })
            }
            Self::Stop { path } => Command::Stop { path },
            Self::Resume { path } => Command::Resume { path },
            Self::Consent { subject, purpose, granted } => {
                let subject = Digest::of(&subject);
                Command::Consent { subject, purpose, granted, channel: None, until: None, asked: None }
            }
        })
    }
}

#[derive(Serialize)]
struct Numbered<'a> {
    n: u64,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Replays `commands` on an empty state and writes a line to `outcomes` for each; blank lines are passed over.
/// Returns how many commands were replayed.
///
/// # Errors
/// [`ReplayError`], at the first line that is not a command.
pub fn replay(mut commands: impl BufRead, mut outcomes: impl Write) -> Result<u64, ReplayError> {
    let bounds = Bounds { authorizations_per_tenant: u32::MAX, holds_per_tenant: u32::MAX, ..Bounds::default() };
    let mut state = State::new(bounds);
    let mut line = Vec::new();
    let mut replayed = 0;
    for n in 1_u64.. {
        line.clear();
        if io::Read::take(&mut commands, LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let fail = |problem: String| ReplayError::Line { line: n, problem };
        if line.len() as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            return Err(fail(format!("is longer than {LINE_BYTES_MAX} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Timed { at, command } = serde_json::from_slice(&line).map_err(|error| fail(error.to_string()))?;
        if !(0..=AT_MAX).contains(&at) {
            return Err(fail(format!("`at` must be 0 to {AT_MAX}")));
        }
        let outcome = state.apply(&command.digested().map_err(fail)?, at).outcome;
        let mut serializer = serde_json::Serializer::with_formatter(&mut outcomes, PythonSpacing);
        Numbered { n, outcome: &outcome }.serialize(&mut serializer).map_err(io::Error::from)?;
        outcomes.write_all(b"\n")?;
        replayed += 1;
    }
    outcomes.flush()?;
    Ok(replayed)
}

/// Writes JSON as Python's `json.dumps` does: a space after `,` and `:`, and ASCII only.
struct PythonSpacing;

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => writer.write_all(&[byte])?,
                _ => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(commands: &str) -> Result<String, String> {
        let mut written = Vec::new();
        replay(commands.as_bytes(), &mut written).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(written).unwrap())
    }

    #[test]
    fn outcomes_are_written_as_the_oracle_writes_them() {
        let commands = r#"
{"at": 1, "op": "limit", "id": "täglich", "path": "t", "kind": "total", "amount": 5}
{"at": 2, "op": "authorize", "id": "a", "key": "k", "path": "t/x", "amount": 6, "ttl_ms": 10}"#;
        let expected = "{\"n\": 2, \"outcome\": \"defined\"}\n{\"n\": 3, \"outcome\": \"denied\", \"refused_by\": [\"t\\u00e4glich\"]}\n";
        assert_eq!(outcomes(commands).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_no_command_is_named() {
        for (line, problem) in [
            ("{", "line 2: EOF"),
            (r#"{"op": "void", "id": "a"}"#, "line 2: missing field `at`"),
            (r#"{"at": 9223372036854775806, "op": "void", "id": "a"}"#, "line 2: `at` must be"),
            (r#"{"at": 1, "op": "fly"}"#, "line 2: unknown variant `fly`"),
            (r#"{"at": 1, "op": "capture", "id": "a", "amount": 1.5}"#, "line 2: invalid type"),
            (
                r#"{"at": 1, "op": "limit", "id": "w", "path": "t", "kind": "window", "amount": 1}"#,
                "line 2: missing field",
            ),
        ] {
            let told = outcomes(&format!("\n{line}\n")).unwrap_err();
            assert!(told.starts_with(problem), "{told}");
        }
        assert!(outcomes(&"x".repeat(70_000)).unwrap_err().contains("longer than"));
    }
}
