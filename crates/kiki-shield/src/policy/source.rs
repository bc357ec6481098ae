//! Rule sets in files.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::{PolicyError, PolicyErrors};
use super::{RULE_SETS_MAX, RuleSetText, TEXT_BYTES_MAX};

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// The files `*.cedar` of a folder, or one such file.
pub(crate) fn read(path: &Path) -> Result<Vec<RuleSetText>, PolicyErrors> {
    let files = if path.is_dir() { listed(path, ".cedar")? } else { vec![path.to_owned()] };
    if files.is_empty() {
        return Err(of(path, "no rule set: no file of this folder ends in .cedar").into());
    }
    if files.len() > RULE_SETS_MAX {
        let message = format!("a policy has at most {RULE_SETS_MAX} rule sets, here are {}", files.len());
        return Err(of(path, message).into());
    }
    let pair = |file: &PathBuf| {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok((name, bounded(file, TEXT_BYTES_MAX)?))
    };
    files.iter().map(pair).collect()
}

/// The files of a folder whose name ends so, sorted.
pub(crate) fn listed(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, PolicyError> {
    let entries = fs::read_dir(folder).map_err(|error| of(folder, error.to_string()))?;
    let mut files = Vec::new();
    for entry in entries.take(ENTRIES_MAX) {
        let path = entry.map_err(|error| of(folder, error.to_string()))?.path();
        if path.is_file() && path.to_string_lossy().ends_with(ending) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The text of a file that has at most so many bytes.
pub(crate) fn bounded(file: &Path, bytes_max: usize) -> Result<String, PolicyError> {
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| of(file, error.to_string()))?;
    let read = opened.take(bytes_max as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| of(file, error.to_string()))?;
    if text.len() > bytes_max {
        return Err(of(file, format!("has more than {bytes_max} bytes")));
    }
    Ok(text)
}

fn of(path: &Path, message: impl Into<String>) -> PolicyError {
    PolicyError::about(&path.display().to_string(), message, "")
}
