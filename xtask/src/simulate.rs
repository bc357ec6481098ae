//! Random histories, answered by the governor and by the reference: as many as one has time for.

use std::process::ExitCode;

use crate::steps::Line;
use crate::workspace::Workspace;

/// How much, and from which seed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) operations: u64,
    pub(crate) seed: u64,
}

impl Options {
    pub(crate) fn parse(mut arguments: &[String]) -> Result<Self, String> {
        let mut options = Self { operations: 1_000_000, seed: 1 };
        while let Some((name, rest)) = arguments.split_first() {
            let field = match name.as_str() {
                "--operations" => &mut options.operations,
                "--seed" => &mut options.seed,
                other => return Err(format!("simulate has no option {other}")),
            };
            let Some((value, rest)) = rest.split_first() else { return Err(format!("{name} wants a number")) };
            *field = value.replace('_', "").parse().map_err(|_| format!("{name} wants a number, not {value}"))?;
            arguments = rest;
        }
        Ok(options)
    }
}

pub(crate) fn run(workspace: &Workspace, options: Options) -> ExitCode {
    let line = Line::cargo("run --release --quiet -p kiki-spend --example simulate --")
        .and(&[&options.operations.to_string(), &options.seed.to_string()]);
    println!("{line}");
    match line.run(&workspace.root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("{reason}");
            ExitCode::FAILURE
        }
    }
}
