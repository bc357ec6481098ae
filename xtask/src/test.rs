//! Everything a change must pass.

use std::fs;
use std::process::ExitCode;

use crate::faults::Gate;
use crate::steps::{Line, Steps};
use crate::workspace::Workspace;
use crate::{faults, lint, snapshots, soak, tools};

pub(crate) fn run(workspace: &Workspace) -> ExitCode {
    let mut steps = Steps::new(&workspace.root);
    let has_postgres = tools::ensure_postgres(&mut steps, workspace);
    tools::ensure_go(&mut steps, workspace);
    lint::add(&mut steps, workspace);
    if has_postgres && run_tests(&mut steps, workspace) {
        let mend = "remove the files listed above, or give the test back its name";
        let references = references(workspace);
        steps
            .check("snapshots", "snapshots that no test uses", mend, || snapshots::check(&workspace.root, &references));
        soak::add(&mut steps, soak::Options::short());
        faults::add(&mut steps, workspace, Gate::Quick);
    }
    steps.finish()
}

/// Only after all tests passed is it known which snapshots they use.
fn run_tests(steps: &mut Steps<'_>, workspace: &Workspace) -> bool {
    let references = references(workspace);
    // insta appends to it; absent on a first run.
    let _ = fs::remove_file(&references);
    let line = Line::cargo("test --workspace --no-fail-fast")
        .with("INSTA_UPDATE", "no")
        .with("INSTA_SNAPSHOT_REFERENCES_FILE", references.display());
    steps.run("tests", &line, "cargo test -p CRATE NAME shows one; accept a changed snapshot with `cargo insta review`")
}

fn references(workspace: &Workspace) -> std::path::PathBuf {
    workspace.target.join("snapshot-references.txt")
}
