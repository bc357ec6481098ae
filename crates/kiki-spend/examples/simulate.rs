//! Random histories, answered by the governor and by the reference side by side, on all cores: `cargo xtask simulate`.
//!
//!     simulate OPERATIONS FIRST_SEED
//!
//! Prints how far it is and how long it took, or the first difference and its seed (exit code 1).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the terminal, which fails by panicking")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::compare::Checks;

/// Short, so that the reference, which counts everything anew, stays fast.
const HISTORY: u64 = 100;
/// Of so many histories one is also checked sum by sum after each command.
const CHECKED: u64 = 16;
const REPORT_EVERY: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Some(Ok(operations)), Some(Ok(first)), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        println!("simulate OPERATIONS FIRST_SEED");
        return ExitCode::from(2);
    };
    let histories = operations.div_ceil(HISTORY);
    let next = AtomicU64::new(0);
    let problem: Mutex<Option<String>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (next, problem) = (&next, &problem);
            scope.spawn(move || work(thread == 0, first, histories, next, problem, begun));
        }
    });
    let took = begun.elapsed().as_secs_f64();
    if let Some(problem) = problem.into_inner().unwrap() {
        println!("\n{problem}");
        return ExitCode::FAILURE;
    }
    let done = histories * HISTORY;
    println!(
        "\r{done} operations in {histories} histories, seeds {first} to {}: no difference, no overspend, no leaked hold, \
         {took:.1} s on {threads} threads",
        first + histories - 1
    );
    ExitCode::SUCCESS
}

fn work(tells: bool, first: u64, histories: u64, next: &AtomicU64, problem: &Mutex<Option<String>>, begun: Instant) {
    let mut told = Instant::now();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= histories || problem.lock().unwrap().is_some() {
            return;
        }
        let seed = first + number;
        let operations = usize::try_from(HISTORY).unwrap();
        let checks = if seed.is_multiple_of(CHECKED) { Checks::Sums } else { Checks::Answers };
        if let Err(found) = support::compare::run(seed, operations, &checks) {
            problem.lock().unwrap().get_or_insert(found);
        }
        if tells && told.elapsed() >= REPORT_EVERY {
            told = Instant::now();
            let percent = number * 100 / histories;
            print!("\r{percent} %, {:.0} s", begun.elapsed().as_secs_f64());
            std::io::stdout().flush().unwrap();
        }
    }
}
