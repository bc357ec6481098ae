//! How one event is written.

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::context::RequestContext;

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// An object a line.
    Json,
    /// A line for people.
    Pretty {
        /// Whether the level has its colour.
        colours: bool,
    },
}

/// Writes events with the times of a clock.
pub(super) struct Formatter {
    pub(super) format: Format,
    pub(super) clock: Arc<dyn Clock>,
}

impl<S, N> FormatEvent<S, N> for Formatter
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = self.clock.now().rfc3339();
        match self.format {
            Format::Json => json(writer, &time, event, fields),
            Format::Pretty { colours } => pretty(writer, &time, event, &fields, colours),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    target: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

const STANDARD: [&str; 6] = ["timestamp", "level", "target", "message", "request_id", "trace_id"];

fn json(mut writer: Writer<'_>, time: &str, event: &Event<'_>, fields: Fields) -> fmt::Result {
    let context = RequestContext::current();
    let line = Line {
        timestamp: time,
        level: event.metadata().level().as_str(),
        target: event.metadata().target(),
        message: &fields.message,
        request_id: context.as_ref().map(RequestContext::logged_id),
        trace_id: context.as_ref().map(RequestContext::trace_id),
        others: fields.others.into_iter().filter(|(name, _)| !STANDARD.contains(&name.as_str())).collect(),
    };
    let text = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
    writeln!(writer, "{text}")
}

fn pretty(mut writer: Writer<'_>, time: &str, event: &Event<'_>, fields: &Fields, colours: bool) -> fmt::Result {
    let level = event.metadata().level();
    let clock = time.get(11..23).unwrap_or(time);
    let (start, end) = if colours { (colour(level), "\x1b[0m") } else { ("", "") };
    write!(writer, "{clock} {start}{level:>5}{end} {}", fields.message)?;
    for (name, value) in &fields.others {
        write!(writer, " {name}={value}")?;
    }
    if let Some(context) = RequestContext::current() {
        write!(writer, " request_id={}", context.logged_id())?;
    }
    writeln!(writer, " {}", event.metadata().target())
}

fn colour(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[90m",
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
