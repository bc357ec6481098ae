//! What a server is compared with. A peer runs in a process of its own, which is this program with an argument.

use std::process::Command;

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::server::Server;

/// The argument that makes this program the echo.
pub(crate) const ECHO: &str = "--echo";
/// What the echo is called among the figures.
pub(crate) const ECHO_NAME: &str = "axum JSON echo, 300 B";
const ECHO_BYTES: usize = 300;

/// Starts this program with `arguments`.
pub(crate) fn start(arguments: &[&str]) -> Server {
    Server::start(Command::new(std::env::current_exe().unwrap()).args(arguments))
}

/// Answers with the JSON it was sent.
pub(crate) async fn echo() {
    serve(Router::new().route("/echo", post(|body: axum::Json<Value>| async { body }))).await;
}

/// What the echo is asked.
pub(crate) fn echo_request() -> String {
    let body = json!({"text": "x".repeat(ECHO_BYTES - 11)}).to_string();
    super::client::post("/echo", &body)
}

/// Serves on a free port, and says which.
pub(crate) async fn serve(router: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", json!({"message": "listening", "address": listener.local_addr().unwrap().to_string()}));
    axum::serve(listener, router).await.unwrap();
}
