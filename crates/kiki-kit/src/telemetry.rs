//! The log: an object a line for machines, or a line for people. Each event within a request carries its ids.
//!
//! Services log to standard output; commands log to standard error, because their output is on the other. Query strings
//! are not logged: the service layer tells the route's template only, and the libraries that tell more are kept
//! at `info` unless the filter names them. A caller's own request id is logged where it is a UUID and shown as `-` otherwise.

mod format;

use std::io::{IsTerminal as _, stderr, stdout};
use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::clock::Clock;
use crate::config::LogFormat;
use format::Format;

/// Libraries whose lower levels tell headers and addresses.
const QUIET: &str = "h2=info,hyper=info,hyper_util=info,tonic=info,tower=info";

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output: a service.
    Stdout,
    /// Standard error: a command.
    Stderr,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("{0:?} is not a log filter")]
    Filter(String),
    /// There is a log already.
    #[error("the log is set up already")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sets up the log of the process, with the times of `clock`.
///
/// # Errors
/// The filter is wrong, or the log is set up already.
pub fn init(filter: &str, format: LogFormat, output: Output, clock: Arc<dyn Clock>) -> Result<(), TelemetryError> {
    let is_terminal = match output {
        Output::Stdout => stdout().is_terminal(),
        Output::Stderr => stderr().is_terminal(),
    };
    let filter = parse_filter(filter).ok_or_else(|| TelemetryError::Filter(filter.to_owned()))?;
    let format = match format {
        LogFormat::Json => Format::Json,
        LogFormat::Auto if !is_terminal => Format::Json,
        LogFormat::Auto | LogFormat::Pretty => Format::Pretty { colours: is_terminal },
    };
    match output {
        Output::Stdout => tracing::subscriber::set_global_default(subscriber(filter, format, stdout, clock))?,
        Output::Stderr => tracing::subscriber::set_global_default(subscriber(filter, format, stderr, clock))?,
    }
    Ok(())
}

/// The filter that `text` says, such as `kiki=debug, info`; `None` if it says none.
pub(crate) fn parse_filter(text: &str) -> Option<EnvFilter> {
    // The parser loses its place after spaces, and panics where it then lands within a character.
    let text: String = text.split_whitespace().collect();
    if !text.is_ascii() {
        return None;
    }
    // A later directive for the same target replaces an earlier one: the operator's word is the last.
    EnvFilter::try_new(format!("{QUIET},{text}")).ok()
}

fn subscriber<W>(filter: EnvFilter, format: Format, writer: W, clock: Arc<dyn Clock>) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let formatter = format::Formatter { format, clock };
    tracing_subscriber::fmt().with_env_filter(filter).event_format(formatter).with_writer(writer).finish()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Mutex;

    use kiki_types::UnixMillis;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::ManualClock;
    use crate::context::RequestContext;
    use crate::ids::CountingIds;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: Format, work: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let clock = Arc::new(ManualClock::at(UnixMillis(1_770_287_400_000)));
        let filter = parse_filter(filter).unwrap();
        let subscriber = subscriber(filter, format, move || writer.clone(), clock);
        tracing::subscriber::with_default(subscriber, work);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn an_event_is_one_object_with_the_ids_of_its_request() {
        let context = RequestContext::fresh(&CountingIds::default());
        let trace_id = context.trace_id().to_owned();
        let error = io::Error::other("a \"quoted\"\nline");
        let work = || tracing::info!(amount = 5, share = 0.5, paid = true, error = %error, name = "x", "spent {}", 1);
        let log = context.scope(async { logged("info", Format::Json, work) }).await;
        assert_eq!(log.lines().count(), 1, "{log}");
        assert_eq!(
            serde_json::from_str::<Value>(&log).unwrap(),
            json!({
                "timestamp": "2026-02-05T10:30:00.000Z", "level": "INFO", "target": "kiki_kit::telemetry::tests",
                "message": "spent 1", "amount": 5, "share": 0.5, "paid": true, "error": "a \"quoted\"\nline", "name": "x",
                "request_id": "00000000-0000-7000-8000-000000000001", "trace_id": trace_id,
            })
        );
    }

    #[tokio::test]
    async fn what_a_caller_calls_its_request_is_not_logged_unless_it_is_a_uuid() {
        let given = [(crate::context::REQUEST_ID, "ann.miller@example.com".parse().unwrap())];
        let context = RequestContext::from_headers(&given.into_iter().collect(), &CountingIds::default());
        for format in [Format::Json, Format::Pretty { colours: false }] {
            let log = context.clone().scope(async { logged("info", format, || tracing::info!("said")) }).await;
            assert!(log.contains("said") && !log.contains("ann.miller"), "{log}");
        }
    }

    #[test]
    fn a_field_cannot_take_the_place_of_a_standard_one() {
        let log = logged("info", Format::Json, || tracing::info!(level = "none", timestamp = 1, "said"));
        let line: Value = serde_json::from_str(&log).unwrap();
        assert_eq!((&line["level"], &line["timestamp"]), (&json!("INFO"), &json!("2026-02-05T10:30:00.000Z")));
    }

    #[test]
    fn people_read_a_line() {
        let log = logged("info", Format::Pretty { colours: false }, || {
            tracing::warn!(port = 8081, name = "a b\n", "listens");
        });
        assert_eq!(log, "10:30:00.000  WARN listens port=8081 name=\"a b\\n\" kiki_kit::telemetry::tests\n");
    }

    #[test]
    fn what_tells_addresses_is_quiet_unless_it_is_named() {
        let work = || {
            tracing::debug!(target: "hyper::proto", "GET /spend?secret=1");
            tracing::debug!("ours");
        };
        let log = logged("debug", Format::Json, work);
        assert!(log.contains("ours") && !log.contains("secret"), "{log}");
        assert!(logged("debug,hyper=debug", Format::Json, work).contains("secret"));
    }

    #[test]
    fn a_filter_may_have_spaces_and_must_be_one() {
        let work = || tracing::debug!(target: "kiki::spend", "said");
        assert!(logged("info, kiki=debug", Format::Json, work).contains("said"));
        for bad in ["kiki=loud", " \u{a7d1}=", "[", "info,,=x"] {
            assert!(parse_filter(bad).is_none(), "{bad}");
        }
    }
}
