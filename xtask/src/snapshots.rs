//! Snapshots that no test uses: what remains when a test is renamed or removed, and would be trusted for ever.
//!
//! insta notes each snapshot file that a test asks for in the file that `INSTA_SNAPSHOT_REFERENCES_FILE` names. What
//! lies in the repository and is not noted after a full run is an orphan.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Looks at every `*.snap` below `crates/`. `references` is the file of notes; absent means that no test noted any.
pub(crate) fn check(root: &Path, references: &Path) -> Result<(), String> {
    let noted = fs::read_to_string(references).unwrap_or_default();
    let used: BTreeSet<PathBuf> = noted.lines().filter_map(|line| fs::canonicalize(line).ok()).collect();
    let mut found = Vec::new();
    collect(&root.join("crates"), &mut found);
    let orphans: Vec<String> = found
        .iter()
        .filter(|path| !fs::canonicalize(path).is_ok_and(|path| used.contains(&path)))
        .map(|path| path.strip_prefix(root).unwrap_or(path).display().to_string())
        .collect();
    println!("{} snapshots found, {} used", found.len(), found.len() - orphans.len());
    if orphans.is_empty() { Ok(()) } else { Err(format!("snapshots that no test uses:\n{}", orphans.join("\n"))) }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "snap") {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_snapshot_that_no_test_asked_for_is_an_orphan() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("crates/a/snapshots");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["kept.snap", "left.snap", "left.snap.new"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let references = root.path().join("references");
        // As insta writes it: with a detour, and more than once.
        let line = format!("{}/../snapshots/kept.snap\n", folder.display());
        std::fs::write(&references, line.repeat(2)).unwrap();
        let error = check(root.path(), &references).unwrap_err();
        assert_eq!(error, "snapshots that no test uses:\ncrates/a/snapshots/left.snap");
    }

    #[test]
    fn without_snapshots_nothing_is_missing() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(check(root.path(), &root.path().join("none")), Ok(()));
    }
}
