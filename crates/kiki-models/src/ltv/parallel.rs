//! Work shared out to the processors. Results come in the order of the input whatever ran where, so sums over them are the
//! same numbers on every machine.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads than this are not started.
const THREADS_MAX: usize = 16;

/// What `of` makes of consecutive parts of `items` of `chunk` each (the last may be shorter), one after the other; `of`
/// gives as many results as it likes for each.
pub(super) fn map_chunks<T: Sync, R: Send>(items: &[T], chunk: usize, of: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    let parts: Vec<&[T]> = items.chunks(chunk.max(1)).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX).min(parts.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        // Ends when the parts do.
        while let Some((index, part)) = take(&next, &parts) {
            done.push((index, of(part)));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        // A machine out of threads computes here; what a thread took it brings back, or its panic ends the scope.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let started: Vec<_> = (1..threads).filter_map(start).collect();
        let mut done = work();
        for thread in started {
            match thread.join() {
                Ok(others) => done.extend(others),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

fn take<'a, T>(next: &AtomicUsize, parts: &[&'a [T]]) -> Option<(usize, &'a [T])> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    parts.get(index).map(|part| (index, *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_input() {
        for (count, chunk) in [(0_u32, 1), (1, 1), (7, 3), (1_000, 1), (1_000, 64), (1_001, 1_000)] {
            let items: Vec<u32> = (0..count).collect();
            let doubled = map_chunks(&items, chunk, |part| part.iter().map(|item| item * 2).collect());
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<u32>>(), "{count} {chunk}");
        }
    }
}
