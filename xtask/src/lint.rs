//! Everything that can be said about a change without running it.

use std::process::ExitCode;

use crate::steps::{Line, Steps};
use crate::workspace::Workspace;
use crate::{links, tools};

pub(crate) fn run(workspace: &Workspace) -> ExitCode {
    let mut steps = Steps::new(&workspace.root);
    add(&mut steps, workspace);
    steps.finish()
}

/// Adds the steps of lint to a run. Private items are documented too, and may be linked to: no crate is published, and a
/// broken link misleads us before anyone else.
pub(crate) fn add(steps: &mut Steps<'_>, workspace: &Workspace) {
    tools::ensure_components(steps, workspace);
    steps.run("format", &Line::cargo("fmt --all --check"), "cargo fmt --all");
    steps.check("links", "links to files in *.md and docs/", "correct the links listed above", || {
        links::check(&workspace.root)
    });
    // Advisories are left out: they change from day to day, and with them the verdict on an unchanged commit.
    if let Some(deny) = tools::ensure_deny(steps, workspace) {
        let line =
            Line::new(&deny.to_string_lossy(), &["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
        let mend = "take another dependency, or argue for an exception in deny.toml";
        steps.run("dependencies", &line, mend);
    }
    let clippy = Line::cargo("clippy --workspace --all-targets -- -D warnings");
    steps.run("clippy", &clippy, "correct what clippy lists above; `cargo clippy --fix` mends some of it");
    let doc = Line::cargo("doc --workspace --no-deps --document-private-items")
        .with("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    steps.run("documentation", &doc, "correct the doc comments listed above");
}
