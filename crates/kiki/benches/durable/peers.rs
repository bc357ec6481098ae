//! What spending is compared with. Each runs in a process of its own, which is this program with an argument.

use std::fs::{File, OpenOptions};
use std::io::Write;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// The argument that makes this program the echo.
pub(crate) const ECHO: &str = "--echo";
/// The argument that makes it the group commit, before the file to append to.
pub(crate) const APPEND: &str = "--append";

/// About what the log holds for a spend.
const ENTRY_BYTES: usize = 512;
/// Appends that wait, and in one batch, at the most.
const QUEUE: usize = 16_384;
const BATCH: usize = 4096;

/// Answers with the JSON it was sent.
pub(crate) async fn echo() {
    serve(Router::new().route("/echo", post(|body: axum::Json<Value>| async { body }))).await;
}

/// Answers once the disk has an entry for the request; whatever came while the last ones were written is written next.
pub(crate) async fn append(path: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let (sender, queue) = mpsc::channel(QUEUE);
    std::thread::spawn(move || commit(file, queue));
    serve(Router::new().route("/spend", post(appended)).with_state(sender)).await;
}

async fn appended(State(queue): State<mpsc::Sender<oneshot::Sender<()>>>) -> axum::Json<Value> {
    let (reply, answer) = oneshot::channel();
    queue.try_send(reply).unwrap();
    answer.await.unwrap();
    axum::Json(json!({"status": "appended"}))
}

fn commit(mut file: File, mut queue: mpsc::Receiver<oneshot::Sender<()>>) {
    let (mut batch, mut waiting) = (Vec::new(), Vec::new());
    while queue.blocking_recv_many(&mut waiting, BATCH) > 0 {
        batch.resize(waiting.len() * ENTRY_BYTES, b'x');
        file.write_all(&batch).unwrap();
        file.sync_data().unwrap();
        waiting.drain(..).for_each(|reply: oneshot::Sender<()>| reply.send(()).unwrap());
    }
}

async fn serve(router: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", json!({"message": "listening", "address": listener.local_addr().unwrap().to_string()}));
    axum::serve(listener, router).await.unwrap();
}
