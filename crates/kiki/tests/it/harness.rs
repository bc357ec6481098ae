//! Runs the `kiki` executable as its users do, and talks HTTP to it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long anything may take before a test gives up waiting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A path below `crates/kiki` of the checkout that is being tested, which need not be the one this was compiled in.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join(path)
}

/// The executable, in a folder and an environment of its own.
pub(crate) fn kiki(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiki"));
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("KIKI_DATA", folder.join("data")).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    kiki(folder).args(arguments).output().expect("kiki runs")
}

/// The text of a command that must succeed.
pub(crate) fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What a command that must fail complains about.
pub(crate) fn fail(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// A serving process. It is killed when dropped.
pub(crate) struct Serving {
    child: Child,
    addresses: Vec<(String, SocketAddr)>,
}

impl Serving {
    /// Starts `command` and waits until `listeners` addresses are served.
    pub(crate) fn start(mut command: Command, listeners: usize) -> Self {
        command.stderr(Stdio::inherit());
        Self::start_kept(command, listeners, |_| ())
    }

    /// As [`Serving::start`], with `keep` called for each line that it writes to its standard output.
    pub(crate) fn start_kept(
        mut command: Command,
        listeners: usize,
        mut keep: impl FnMut(&str) + Send + 'static,
    ) -> Self {
        let mut child = command.env("KIKI_LOG_FORMAT", "json").stdout(Stdio::piped()).spawn().expect("kiki starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (found, addresses) = mpsc::channel();
        // Reads on to the end, so that the process never waits for a reader.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                keep(&line);
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                if entry["message"] == "listening" {
                    let text = |key: &str| entry[key].as_str().unwrap().to_owned();
                    let _ = found.send((text("service"), text("address").parse().unwrap()));
                } else if entry["level"] == "ERROR" {
                    eprintln!("{line}");
                }
            }
        });
        let next = || addresses.recv_timeout(PATIENCE).expect("it listens");
        Self { addresses: (0..listeners).map(|_| next()).collect(), child }
    }

    /// Shield alone, on a free port, with these variables.
    pub(crate) fn shield(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = kiki(folder);
        command.args(["serve", "shield", "--free-ports"]).envs(variables.iter().copied());
        Self::start(command, 1)
    }

    /// The address of a service.
    pub(crate) fn address(&self, service: &str) -> SocketAddr {
        self.addresses.iter().find(|(name, _)| name == service).expect("it is served").1
    }

    /// `http://…` and `path` at a service.
    pub(crate) fn url(&self, service: &str, path: &str) -> String {
        format!("http://{}{path}", self.address(service))
    }

    /// The process, to send it signals.
    pub(crate) fn process(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Ends it as Kubernetes does, and waits until it has ended well.
    pub(crate) fn terminate(mut self) {
        rustix::process::kill_process(self.process(), rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "a clean end");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client that keeps its connections.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// A client whose connections come from `address`.
    pub(crate) fn from(address: std::net::IpAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address));
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    pub(crate) async fn try_send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let response = self.0.request(request).await.ok()?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Answer { status: head.status, headers: head.headers, body })
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let sent = tokio::time::timeout(PATIENCE, self.try_send(request)).await;
        sent.expect("an answer in time").expect("an answer")
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(request(Method::GET, url, None)).await
    }

    pub(crate) async fn post(&self, url: &str, body: &Value) -> Answer {
        self.send(request(Method::POST, url, Some(body))).await
    }
}

/// A request with a JSON body, or without one.
pub(crate) fn request(method: Method, url: &str, body: Option<&Value>) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(url);
    match body {
        Some(body) => builder.header("content-type", "application/json").body(Full::from(body.to_string())),
        None => builder.body(Full::default()),
    }
    .unwrap()
}

/// A folder that is removed afterwards.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
