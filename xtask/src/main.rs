//! `cargo xtask`: what everyone runs before a change goes in, and what `.ci/run` runs after.
//!
//! Start at `test.rs`, `lint.rs` or `bench/mod.rs`: each is a list of [`steps`]. A step prints its command before it runs
//! and its time after; a failed step says what to run to mend it, and the others still run, so that one run tells all.
//! Every other command waits for this crate to compile, so it takes no dependency beyond a reader of JSON.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;

mod bench;
mod faults;
mod fuzz;
mod links;
mod lint;
mod simulate;
mod snapshots;
mod soak;
mod steps;
mod test;
mod tools;
mod workspace;

use workspace::Workspace;

const HELP: &str = "\
Development tasks of KIKI.

Usage: cargo xtask COMMAND

Commands:
  test             Everything a change must pass: installs what tests need, then lint, then every test of the
                   workspace, then a look for snapshots that no test uses, then a minute of soak and every fault of the
                   governor. A first run takes tens of minutes on two cores, a repeated one a few.
  lint             Formatting, clippy, licences and sources of dependencies, documentation, links. No test is run.
  bench [NAME]...  Runs every benchmark and writes docs/benchmarks.md. With names of bench targets: runs only those,
                   prints their rows, and leaves the page alone, for its figures belong to one run.
  simulate [--operations N] [--seed S]
                   Random histories, answered by the governor and by a reference side by side, on all cores. Ends with
                   the seed of the first difference, or with how many were alike and how long it took.
  faults [--quick]
                   Turns on each fault that a spend governor can have, by itself, and requires a test to notice; writes
                   the table of docs/spend.md. With --quick as `test` does it: the first test that notices will do, and
                   the table is left alone.
  soak [--minutes N] [--seed S]
                   Real processes under load that are killed, paused and given a bad disk: a minute unless told
                   otherwise. A violation keeps its evidence and says where.
  fuzz [SECONDS] [TARGET]...
                   Inputs made by libFuzzer, guided by the code that they reach, for readers and models of value: a minute
                   for each target unless told otherwise. What fails is kept and named. `test` replays the seeds, what ever
                   failed and thousands of mutations of both; this is for who changes a reader or a model.

What each needs:
  test, lint       rustfmt and clippy (added by rustup if missing), cargo-deny (installed below the target folder).
  test             PostgreSQL's server programs. As root on Debian or Ubuntu they are installed; elsewhere you are told
                   what to install. Tests start a server of their own and stop it.
                   Go 1.24 or newer and, once, its module proxy: with them verifiers of others look at the log. As root
                   on Debian or Ubuntu it is installed; where it is missing or too old that test is left out and said so.
  fuzz             A C++ compiler and, once, the registry. Stable Rust will do.

While you work, one crate is quicker:
  cargo clippy -p kiki-shield --all-targets
  cargo test -p kiki-shield some_test_name

Environment:
  CARGO_TARGET_DIR  is respected; tools are kept in its folder `tools`.
  KIKI_STRANGERS    `required`: what wants Go fails where it cannot run, instead of being left out.
  KIKI_BENCH_DIR    is set for benchmarks: where one may write rows as JSON lines for docs/benchmarks.md, fields
                    what, against, ratio_median, ratio_min, ratio_max, figure, unit, size.
";

enum Command {
    Test,
    Lint,
    Bench(Vec<String>),
    Simulate(simulate::Options),
    Faults(faults::Gate),
    Soak(soak::Options),
    Fuzz(fuzz::Options),
    Help,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Ok(Command::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(command) => run(&command),
        Err(mistake) => {
            println!("{mistake}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> ExitCode {
    let workspace = match Workspace::find() {
        Ok(workspace) => workspace,
        Err(reason) => {
            println!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    match command {
        Command::Test => test::run(&workspace),
        Command::Lint => lint::run(&workspace),
        Command::Bench(names) => bench::run(&workspace, names),
        Command::Simulate(options) => simulate::run(&workspace, *options),
        Command::Faults(gate) => faults::run(&workspace, *gate),
        Command::Soak(options) => soak::run(&workspace, *options),
        Command::Fuzz(options) => fuzz::run(&workspace, options),
        Command::Help => ExitCode::SUCCESS,
    }
}

fn parse(arguments: &[String]) -> Result<Command, String> {
    let wants_help = |argument: &String| matches!(argument.as_str(), "-h" | "--help" | "help");
    let Some((name, rest)) = arguments.split_first() else { return Ok(Command::Help) };
    if arguments.iter().any(wants_help) {
        return Ok(Command::Help);
    }
    match (name.as_str(), rest) {
        ("test", []) => Ok(Command::Test),
        ("lint", []) => Ok(Command::Lint),
        ("bench", names) => match names.iter().find(|name| name.starts_with('-')) {
            Some(option) => Err(format!("bench has no option {option}")),
            None => Ok(Command::Bench(names.to_vec())),
        },
        ("simulate", options) => simulate::Options::parse(options).map(Command::Simulate),
        ("soak", options) => soak::Options::parse(options).map(Command::Soak),
        ("fuzz", options) => fuzz::Options::parse(options).map(Command::Fuzz),
        ("faults", []) => Ok(Command::Faults(faults::Gate::Full)),
        ("faults", [option]) if option == "--quick" => Ok(Command::Faults(faults::Gate::Quick)),
        ("faults", [extra, ..]) => Err(format!("faults takes --quick or nothing, but was given {extra}")),
        ("test" | "lint", [extra, ..]) => Err(format!("{name} takes no argument, but was given {extra}")),
        _ => Err(format!("there is no command {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, parse};
    use crate::faults::Gate;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_mistyped_command_is_named_instead_of_ignored() {
        assert_eq!(parsed("tset").err().unwrap(), "there is no command tset");
        assert_eq!(parsed("lint --fix").err().unwrap(), "lint takes no argument, but was given --fix");
        assert_eq!(parsed("bench --quick").err().unwrap(), "bench has no option --quick");
    }

    #[test]
    fn help_is_given_anywhere_and_never_runs_anything() {
        for line in ["", "--help", "test --help", "bench -h"] {
            assert!(matches!(parsed(line), Ok(Command::Help)), "{line}");
        }
    }

    #[test]
    fn simulate_takes_numbers() {
        let Ok(Command::Simulate(options)) = parsed("simulate --operations 100_000_000 --seed 7") else { panic!() };
        assert_eq!((options.operations, options.seed), (100_000_000, 7));
        assert_eq!(parsed("simulate --operations many").err().unwrap(), "--operations wants a number, not many");
        assert_eq!(parsed("simulate --seed").err().unwrap(), "--seed wants a number");
        assert_eq!(parsed("simulate 7").err().unwrap(), "simulate has no option 7");
    }

    #[test]
    fn faults_are_tried_quickly_only_on_demand() {
        let is_quick = |line| matches!(parsed(line), Ok(Command::Faults(Gate::Quick)));
        assert!(is_quick("faults --quick") && !is_quick("faults"));
        assert_eq!(parsed("faults quick").err().unwrap(), "faults takes --quick or nothing, but was given quick");
    }

    #[test]
    fn bench_takes_names() {
        let Ok(Command::Bench(names)) = parsed("bench decide load") else { panic!("not a bench") };
        assert_eq!(names, ["decide", "load"]);
    }
}
