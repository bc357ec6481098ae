//! Real processes under load and under faults, for minutes. The work is an ignored test of the integration binary, so that
//! it shares its harness. It is built as all tests are, for another choice of packages would choose other features and compile
//! most of the workspace once more.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::ExitCode;

use crate::steps::{Line, Steps};
use crate::workspace::Workspace;

const TEST: &str = "soak::nothing_is_lost_or_overspent_however_processes_and_disks_fail";
const MEND: &str =
    "read violations.txt in the folder named above; run it again with `cargo xtask soak --seed` and the seed above";

/// How long, and with which plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) minutes: u64,
    pub(crate) seed: u64,
}

impl Options {
    /// A minute, with another plan each time.
    pub(crate) fn short() -> Self {
        Self { minutes: 1, seed: RandomState::new().build_hasher().finish() >> 32 }
    }

    /// Reads `--minutes N` and `--seed S`.
    pub(crate) fn parse(mut arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::short();
        while let Some((name, rest)) = arguments.split_first() {
            let field = match name.as_str() {
                "--minutes" => &mut options.minutes,
                "--seed" => &mut options.seed,
                other => return Err(format!("soak has no option {other}")),
            };
            let Some((value, rest)) = rest.split_first() else { return Err(format!("{name} wants a number")) };
            *field = value.parse().map_err(|_| format!("{name} wants a number, not {value}"))?;
            arguments = rest;
        }
        if options.minutes == 0 { Err("soak wants at least one minute".to_owned()) } else { Ok(options) }
    }
}

pub(crate) fn run(workspace: &Workspace, options: Options) -> ExitCode {
    let mut steps = Steps::new(&workspace.root);
    add(&mut steps, options);
    steps.finish()
}

/// Adds it to the steps.
pub(crate) fn add(steps: &mut Steps<'_>, Options { minutes, seed }: Options) -> bool {
    let line = Line::cargo("test --workspace --test it -- --ignored --exact --nocapture")
        .and(&[TEST])
        .with("KIKI_SOAK_MINUTES", minutes)
        .with("KIKI_SOAK_SEED", seed);
    steps.run("soak", &line, MEND)
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn minutes_and_seed_are_read_and_mistakes_named() {
        assert_eq!(parsed("").unwrap().minutes, 1);
        assert_eq!(parsed("--seed 7 --minutes 20"), Ok(Options { minutes: 20, seed: 7 }));
        for (line, mistake) in [
            ("--minutes", "wants a number"),
            ("--minutes ten", "not ten"),
            ("--minutes 0", "at least"),
            ("--hours 1", "no option --hours"),
        ] {
            assert!(parsed(line).unwrap_err().contains(mistake), "{line}");
        }
    }
}
