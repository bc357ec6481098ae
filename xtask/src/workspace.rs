//! Where things are: the root, the target folder and the bench targets, as `cargo metadata` tells them.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// A bench target of a package.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BenchTarget {
    pub(crate) package: String,
    pub(crate) name: String,
}

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Respects `CARGO_TARGET_DIR` and the configuration of cargo.
    pub(crate) target: PathBuf,
    /// Sorted by package and name.
    pub(crate) benches: Vec<BenchTarget>,
}

impl Workspace {
    /// Asks cargo from the folder of this crate, so that the working directory does not matter: the folder that `cargo
    /// run` names, since checkouts that share a target folder may share this program too.
    pub(crate) fn find() -> Result<Self, String> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("start this by `cargo xtask`")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(here)
            .output()
            .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let metadata = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
        Self::from_metadata(&metadata).ok_or_else(|| "cargo metadata answered in an unknown shape".to_owned())
    }

    fn from_metadata(metadata: &Value) -> Option<Self> {
        let mut benches = Vec::new();
        for package in metadata["packages"].as_array()? {
            for target in package["targets"].as_array()? {
                if target["kind"].as_array()?.iter().any(|kind| kind == "bench") {
                    let (package, name) = (package["name"].as_str()?.into(), target["name"].as_str()?.into());
                    benches.push(BenchTarget { package, name });
                }
            }
        }
        benches.sort();
        let folder = |key: &str| metadata[key].as_str().map(PathBuf::from);
        Some(Self { root: folder("workspace_root")?, target: folder("target_directory")?, benches })
    }
}

#[cfg(test)]
mod tests {
    use super::{BenchTarget, Workspace};
    use serde_json::json;

    #[test]
    fn bench_targets_are_found_by_their_kind() {
        let metadata = json!({
            "workspace_root": "/w", "target_directory": "/elsewhere",
            "packages": [{ "name": "p", "targets": [
                { "name": "p", "kind": ["lib"] }, { "name": "speed", "kind": ["bench"] } ] }],
        });
        let workspace = Workspace::from_metadata(&metadata).unwrap();
        assert_eq!(workspace.benches, [BenchTarget { package: "p".into(), name: "speed".into() }]);
        assert_eq!(workspace.target.to_str(), Some("/elsewhere"));
    }

    #[test]
    fn an_unknown_shape_is_refused() {
        assert!(Workspace::from_metadata(&json!({ "packages": 3 })).is_none());
    }
}
