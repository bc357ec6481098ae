//! Links in the pages of the repository that point to files: each must be there.

use std::fs;
use std::path::{Path, PathBuf};

/// Checks `*.md` at the root and everywhere below `docs/`. The error lists every broken link with its file and line.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let mut pages = Vec::new();
    collect(root, false, &mut pages);
    collect(&root.join("docs"), true, &mut pages);
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
        let folder = page.parent().unwrap_or(root);
        let name = page.strip_prefix(root).unwrap_or(page).display();
        let missing = targets(&text).into_iter().filter(|(_, target)| !exists(root, folder, target));
        broken.extend(missing.map(|(line, target)| format!("{name}:{line}: no file {target}")));
    }
    println!("{} pages read", pages.len());
    if broken.is_empty() { Ok(()) } else { Err(format!("{} broken links\n{}", broken.len(), broken.join("\n"))) }
}

fn collect(folder: &Path, deep: bool, pages: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && deep {
            collect(&path, deep, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

fn exists(root: &Path, folder: &Path, target: &str) -> bool {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    let path = match path.strip_prefix('/') {
        Some(from_root) => root.join(from_root),
        None => folder.join(path),
    };
    path.exists()
}

/// The link targets that name a file, with their line numbers. Fenced blocks and code spans are not links.
fn targets(markdown: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(markdown.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let prose = line.split('`').step_by(2);
            found.extend(prose.flat_map(inline).chain(reference(line)).map(|target| (number, target)));
        }
    }
    found.retain(|(_, target)| is_file(target));
    found
}

/// `[text](target "title")`; the text may hold code, so only the closing `](` is looked for.
fn inline(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// `[name]: target`
fn reference(line: &str) -> Option<&str> {
    let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
    target.split_whitespace().next()
}

fn is_file(target: &str) -> bool {
    let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
    !target.is_empty() && !target.starts_with('#') && !is_elsewhere
}

#[cfg(test)]
mod tests {
    use super::{check, targets};

    #[test]
    fn only_links_to_files_are_looked_at() {
        let page = "[a](one.md#part) [b](https://x.org) ![c](img.png \"title\")\n`[d](code.md)` [e](#here)\n\
                    ```\n[f](fenced.md)\n```\n[`g`](two.md)\n[h]: three.md";
        assert_eq!(targets(page), [(1, "one.md#part"), (1, "img.png"), (6, "two.md"), (7, "three.md")]);
    }

    #[test]
    fn a_link_to_a_missing_file_is_named_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("docs/deep")).unwrap();
        std::fs::write(root.path().join("README.md"), "x\n[there](docs/deep/page.md) [gone](docs/gone.md)").unwrap();
        std::fs::write(root.path().join("docs/deep/page.md"), "[up](../../README.md) [root](/README.md)").unwrap();
        let error = check(root.path()).unwrap_err();
        assert_eq!(error, "1 broken links\nREADME.md:2: no file docs/gone.md");
    }
}
