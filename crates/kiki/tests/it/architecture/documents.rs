//! Documents name only files, crates and tests that exist, so that they cannot drift.

use std::collections::BTreeSet;

use super::{names, read, root, rust_files, workspace};

/// Documents whose names of files and crates must be true.
const DOCUMENTS: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "docs/audit.md"];
const NAMED_FOLDERS: [&str; 7] = ["crates/", "proto/", "docs/", "examples/", "xtask/", ".ci/", ".cargo/"];

#[test]
fn documents_name_only_what_exists() {
    let workspace = workspace();
    let crates = names(&workspace);
    let sources: String =
        ["crates", "xtask"].iter().flat_map(|folder| rust_files(&root().join(folder))).map(read).collect();
    let mut missing = Vec::new();
    for document in DOCUMENTS.iter().filter(|name| root().join(name).exists()) {
        let text = read(document);
        for span in code_spans(&text) {
            let path = span.split([':', '#', ' ']).next().unwrap_or(span);
            let is_path = NAMED_FOLDERS.iter().any(|folder| path.starts_with(folder));
            let is_crate = span.strip_prefix("kiki-").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()));
            let is_there = (!is_path || is_pattern(path) || root().join(path).exists())
                && (!is_crate || crates.contains(span))
                && (!is_test_name(span) || sources.contains(&format!("fn {span}(")));
            if !is_there {
                missing.push(format!("{document}: `{span}`"));
            }
        }
    }
    assert!(missing.is_empty(), "named, but not there:\n{}", missing.join("\n"));
}

#[test]
fn the_map_shows_every_crate() {
    let map = read("ARCHITECTURE.md");
    let shown: BTreeSet<&str> = code_spans(&map).collect();
    let workspace = workspace();
    let hidden: Vec<&str> = names(&workspace).into_iter().filter(|name| !shown.contains(name)).collect();
    assert!(hidden.is_empty(), "ARCHITECTURE.md does not mention {hidden:?}");
}

/// A path with a placeholder or a wildcard names a kind of file, not a file.
fn is_pattern(path: &str) -> bool {
    path.contains(['*', '<'])
}

/// A sentence in snake case: nothing else in our documents has that many words.
fn is_test_name(span: &str) -> bool {
    span.matches('_').count() >= 3 && span.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// What stands in single backticks, fenced blocks left out.
fn code_spans(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("```").step_by(2).flat_map(str::lines).flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn code_spans_are_what_stands_in_backticks_outside_fences() {
    let spans: Vec<&str> = code_spans("a `b` c `d`\n```\n`not`\n```\n| `e/f` |").collect();
    assert_eq!(spans, ["b", "d", "e/f"]);
}
