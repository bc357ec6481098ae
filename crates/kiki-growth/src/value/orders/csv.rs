//! Fields of CSV (RFC 4180): separated by one character, quoted where they hold it, a quote or a line break.

use std::borrow::Cow;

/// The fields of a record.
pub(super) fn split(record: &str, separator: char) -> Result<Vec<Cow<'_, str>>, String> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let after = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, after) = unquote(quoted)?;
                fields.push(field);
                after
            }
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                fields.push(Cow::Borrowed(&rest[..end]));
                &rest[end..]
            }
        };
        match after.strip_prefix(separator) {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("has text after a closing quote".to_owned()),
        }
    }
}

/// A field up to its closing quote, and what follows it.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut from = 0;
    while let Some(quote) = text[from..].find('"').map(|place| place + from) {
        if !text[quote + 1..].starts_with('"') {
            let (field, after) = (&text[..quote], &text[quote + 1..]);
            let doubled = field.contains('"');
            return Ok((if doubled { field.replace("\"\"", "\"").into() } else { field.into() }, after));
        }
        from = quote + 2;
    }
    Err("has a quote that is not closed".to_owned())
}

/// Whether a record goes on in the next line, found out a line at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// At the beginning of a field.
    Start,
    /// Within a field that is not quoted.
    Plain,
    /// Within a quoted field.
    Quoted,
    /// After a quote within a quoted field: the field's end, or the first half of a quote in it.
    Ended,
    /// There is text after a closing quote: no record.
    Broken,
}

impl Quotes {
    /// After `bytes` more.
    pub(super) fn after(self, bytes: &[u8], separator: u8) -> Self {
        bytes.iter().fold(self, |state, &byte| match (state, byte) {
            (Self::Start, b'"') | (Self::Ended, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Ended,
            (Self::Quoted, _) => Self::Quoted,
            (Self::Start | Self::Plain | Self::Ended, byte) if byte == separator => Self::Start,
            (Self::Ended, b'\r' | b'\n') => Self::Ended,
            (Self::Ended | Self::Broken, _) => Self::Broken,
            (Self::Start | Self::Plain, _) => Self::Plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_goes_on_while_a_field_is_open() {
        for (lines, end) in [
            (&["a,b\n"][..], Quotes::Plain),
            (&["a,\"b\"\r\n"], Quotes::Ended),
            (&["a,\"b\n"], Quotes::Quoted),
            (&["a,\"b\n", "c\",d\n"], Quotes::Plain),
            (&["a,\"b\n", "\"\"c\"\n"], Quotes::Ended),
            (&["a,5\" disk\n"], Quotes::Plain),
            (&["a,\"b\n", "\"c\",d\n"], Quotes::Broken),
        ] {
            let state = lines.iter().fold(Quotes::Start, |state, line| state.after(line.as_bytes(), b','));
            assert_eq!(state, end, "{lines:?}");
        }
    }

    #[test]
    fn fields_are_what_was_quoted() {
        let fields = split("a,\"b,\"\"c\"\"\nd\",", ',').unwrap();
        assert_eq!(fields, ["a", "b,\"c\"\nd", ""]);
        assert_eq!(split("\"a\"b", ',').unwrap_err(), "has text after a closing quote");
    }
}
