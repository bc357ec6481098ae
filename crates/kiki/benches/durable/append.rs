//! The bare group commit: an append, an fdatasync, an answer, for all that came while the last ones were written.

use std::fs::{File, OpenOptions};
use std::io::Write;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::load::peers::serve;

/// The argument that makes this program the group commit, before the file to append to.
pub(crate) const APPEND: &str = "--append";

/// About what the log holds for a spend.
const ENTRY_BYTES: usize = 512;
/// Appends that wait, and in one batch, at the most.
const QUEUE: usize = 16_384;
const BATCH: usize = 4096;

/// Answers once the disk has an entry for the request.
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
