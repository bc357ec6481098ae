//! Spending over HTTP with the disk in the path, beside a bare echo of JSON.
//!
//! All load is on ONE budget, and each answer waits until the decision is on the disk. The peer is axum echoing a JSON
//! body of 300 bytes. Both run in a process of their own; the same client asks them in turn (A B A B …). The client and
//! both servers share the machine's cores.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and tells by printing"
)]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: [usize; 3] = [4, 32, 256];
const ECHO: &str = "--echo";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == ECHO) {
        runtime.block_on(echo());
    } else {
        runtime.block_on(compare());
    }
}

async fn echo() {
    let router = axum::Router::new().route("/echo", post(|body: axum::Json<Value>| async { body }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", json!({"message": "listening", "address": listener.local_addr().unwrap().to_string()}));
    axum::serve(listener, router).await.unwrap();
}

/// A child that says where it listens, and is killed at the end.
struct Server(Child, SocketAddr);

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line: Value = serde_json::from_str(&lines.next().expect("it listens").unwrap()).unwrap_or_default();
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn compare() {
    let folder = tempfile::tempdir().unwrap();
    let shield = Server::start(
        Command::new(env!("CARGO_BIN_EXE_kiki"))
            .args(["serve", "shield", "--free-ports"])
            .env("KIKI_DATA", folder.path())
            .env("KIKI_LOG_FORMAT", "json")
            .env("MAX_BURST_BUDGET", "9000000000000"),
    );
    let echo = Server::start(Command::new(std::env::current_exe().unwrap()).arg(ECHO));
    let spend = "POST /spend?amount=0.01 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n".to_owned();
    let body = json!({"text": "x".repeat(300 - 11)}).to_string();
    let same = format!(
        "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for connections in CONNECTIONS {
        // Warm both.
        rate(shield.1, &spend, connections).await;
        rate(echo.1, &same, connections).await;
        let (mut ratios, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (ours, peer) = (rate(shield.1, &spend, connections).await, rate(echo.1, &same, connections).await);
            ratios.push(ours / peer);
            rates.push(ours);
        }
        ratios.sort_by(f64::total_cmp);
        rates.sort_by(f64::total_cmp);
        record(&json!({
            "what": "spend over HTTP, fsync before the answer, one hot budget",
            "against": "axum JSON echo, 300 B",
            "ratio_median": ratios[ROUNDS / 2], "ratio_min": ratios[0], "ratio_max": ratios[ROUNDS - 1],
            "figure": rates[ROUNDS / 2], "unit": "requests/s", "size": format!("{connections} connections"),
        }));
    }
}

fn record(row: &Value) {
    println!("{row}");
    if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
        let path = std::path::Path::new(&folder).join("durable.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}

/// Requests a second, asked by so many connections that each wait for their answer.
async fn rate(address: SocketAddr, request: &str, connections: usize) -> f64 {
    let mut clients = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..connections {
        let request = request.to_owned();
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut answered, mut buffer) = (0_u32, Vec::with_capacity(4096));
            while begin.elapsed() < ROUND {
                stream.write_all(request.as_bytes()).await.unwrap();
                read_answer(&mut stream, &mut buffer).await;
                answered += 1;
            }
            answered
        });
    }
    let answered: u32 = clients.join_all().await.into_iter().sum();
    f64::from(answered) / begin.elapsed().as_secs_f64()
}

/// Reads one answer whole; it must be a 200.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server closed");
        let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if buffer.len() >= head + 4 + length.parse::<usize>().unwrap() {
            return;
        }
    }
}
