//! Preparing chunks on several threads, and giving them back in their order.
//!
//! The reader puts a place for each chunk into a queue of bounded length, in order; whoever prepares a chunk fills its
//! place. The taker waits for the first place. When the taker ends early the queues close and the threads end.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::Audit;
use super::chunk::{Chunk, Chunks, Prepared, prepare};
use crate::error::Error;
use crate::log::Torn;

/// Chunks on their way, for each thread.
const CHUNKS_PER_THREAD: usize = 4;
/// More would wait for one another.
const THREADS_MAX: usize = 256;

/// Takes prepared chunks in their order.
pub(super) type Take<'a, T> = dyn FnMut(Prepared<T>) -> Result<ControlFlow<Option<Torn>>, Error> + 'a;

type Place<T> = SyncSender<Prepared<T>>;
type Work<T> = (Chunk, Place<T>);

/// Gives all chunks to `take`, until it breaks off; prepared by so many threads.
pub(super) fn run<A: Audit>(
    chunks: Chunks<'_>,
    threads: usize,
    covered: u64,
    retention_days: Option<u32>,
    take: &mut Take<'_, A::Prepared>,
) -> Result<Option<Torn>, Error> {
    let threads = threads.min(THREADS_MAX);
    if threads <= 1 {
        return all(chunks.map(|chunk| prepare::<A>(chunk, covered, retention_days)), take);
    }
    let (work, works) = sync_channel::<Work<A::Prepared>>(threads * CHUNKS_PER_THREAD);
    let (place, places) = sync_channel::<Receiver<Prepared<A::Prepared>>>(threads * CHUNKS_PER_THREAD);
    let works = Mutex::new(works);
    thread::scope(|scope| {
        scope.spawn(move || read(chunks, &work, &place));
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((chunk, place)) = next(&works) {
                    // Nobody waits any more: the queue is about to close.
                    let _ = place.send(prepare::<A>(chunk, covered, retention_days));
                }
            });
        }
        // Dropped when this ends, which lets the reader end, and with it the others.
        all(places.into_iter().map_while(|place| place.recv().ok()), take)
    })
}

fn all<T>(chunks: impl Iterator<Item = Prepared<T>>, take: &mut Take<'_, T>) -> Result<Option<Torn>, Error> {
    for chunk in chunks {
        if let ControlFlow::Break(torn) = take(chunk)? {
            return Ok(torn);
        }
    }
    Ok(None)
}

fn read<T>(chunks: Chunks<'_>, work: &SyncSender<Work<T>>, places: &SyncSender<Receiver<Prepared<T>>>) {
    for chunk in chunks {
        let (filled, place) = sync_channel(1);
        if places.send(place).is_err() || work.send((chunk, filled)).is_err() {
            return;
        }
    }
}

fn next<T>(works: &Mutex<Receiver<Work<T>>>) -> Option<Work<T>> {
    works.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
