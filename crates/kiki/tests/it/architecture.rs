//! The walls of the workspace: who may depend on whom.
//!
//! `DIRECTIONS` is the whole truth about edges between our crates. A crate without a row fails, so that a new crate is
//! placed on purpose; an edge outside its row fails, so that a new edge is argued for in the change that adds it.

mod documents;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package};

const TYPES: &str = "kiki-types";
const CLIENT: &str = "kiki-client";
const PROTO: &str = "kiki-proto";
const KIT: &str = "kiki-kit";
const STORE: &str = "kiki-store";
const AUDIT: &str = "kiki-audit";
const SPEND: &str = "kiki-spend";
const MODELS: &str = "kiki-models";
const SHIELD: &str = "kiki-shield";
const GROWTH: &str = "kiki-growth";
const SANDBOX: &str = "kiki-sandbox";
const BINARY: &str = "kiki";

/// Each crate, and the crates of ours that it may name in any kind of dependency. Lower layers come first.
const DIRECTIONS: &[(&str, &[&str])] = &[
    (TYPES, &[]),
    (CLIENT, &[TYPES]),
    (PROTO, &[]),
    (KIT, &[TYPES]),
    (STORE, &[KIT, TYPES]),
    (AUDIT, &[STORE, KIT, TYPES]),
    (SPEND, &[AUDIT, STORE, KIT, TYPES]),
    (MODELS, &[TYPES]),
    (SHIELD, &[SPEND, AUDIT, STORE, KIT, TYPES, PROTO]),
    (GROWTH, &[MODELS, STORE, KIT, TYPES, PROTO]),
    (SANDBOX, &[KIT, TYPES]),
    (BINARY, &[TYPES, CLIENT, PROTO, KIT, STORE, AUDIT, SPEND, MODELS, SHIELD, GROWTH, SANDBOX]),
    ("xtask", &[]),
];

const SERVICES: [&str; 3] = [SHIELD, GROWTH, SANDBOX];

/// Dependencies that only some crates may name themselves, and why the others may not.
const KEPT_APART: &[(&str, &[&str], &str)] = &[
    ("axum", &[KIT, SHIELD, GROWTH, SANDBOX, BINARY], "HTTP belongs to services; below them only the kit knows it"),
    ("utoipa-axum", &[KIT, SHIELD, GROWTH, SANDBOX, BINARY], "routes belong to services"),
    ("tonic", &[PROTO, KIT, SHIELD, GROWTH, BINARY], "transport belongs to services"),
    ("sqlx", &[STORE, SHIELD, GROWTH], "SQL belongs to the store and to a service's repo.rs"),
];

/// Crates that compute and never touch the world.
const PURE: [&str; 2] = [TYPES, MODELS];
const IMPURE: [&str; 8] = ["tokio", "futures", "hyper", "rustix", "socket2", "tempfile", "tracing", "reqwest"];

fn root() -> PathBuf {
    crate::harness::here("").ancestors().nth(2).expect("crates/kiki lies two folders deep").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn workspace() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().expect("cargo metadata")
}

/// The crates of this workspace that a package names, in any kind of dependency. Itself does not count: a crate's tests
/// may turn on one of its own features.
fn ours(package: &Package) -> BTreeSet<&str> {
    package
        .dependencies
        .iter()
        .filter(|d| d.path.is_some() && d.name != *package.name)
        .map(|d| d.name.as_str())
        .collect()
}

fn names(workspace: &Metadata) -> BTreeSet<&str> {
    workspace.packages.iter().map(|p| p.name.as_str()).collect()
}

#[test]
fn every_crate_depends_only_in_its_direction() {
    let workspace = workspace();
    for package in &workspace.packages {
        let name = package.name.as_str();
        let row = DIRECTIONS.iter().find(|(of, _)| *of == name);
        let (_, allowed) = row.unwrap_or_else(|| panic!("{name} has no row in DIRECTIONS: decide its layer there"));
        for dependency in ours(package) {
            assert!(allowed.contains(&dependency), "{name} may not depend on {dependency}: see ARCHITECTURE.md");
        }
    }
}

#[test]
fn the_directions_name_only_crates_that_exist() {
    let workspace = workspace();
    let listed: BTreeSet<&str> = DIRECTIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, names(&workspace), "left: rows of DIRECTIONS; right: crates");
}

#[test]
fn a_row_allows_only_rows_above_it_so_there_is_no_cycle() {
    for (at, (name, allowed)) in DIRECTIONS.iter().enumerate() {
        for lower in *allowed {
            assert!(DIRECTIONS[..at].iter().any(|(above, _)| above == lower), "{name} allows {lower}, not above it");
        }
    }
}

#[test]
fn services_never_import_each_other() {
    for package in workspace().packages.iter().filter(|p| SERVICES.contains(&p.name.as_str())) {
        for dependency in ours(package) {
            assert!(!SERVICES.contains(&dependency), "{} imports {dependency}: meet through kiki-proto", package.name);
        }
    }
}

#[test]
fn only_shield_and_the_binary_reach_the_governor() {
    let workspace = workspace();
    let users: BTreeSet<&str> =
        workspace.packages.iter().filter(|p| ours(p).contains(SPEND)).map(|p| p.name.as_str()).collect();
    assert!(users.is_subset(&BTreeSet::from([SHIELD, BINARY])), "{users:?}");
}

#[test]
fn what_is_kept_apart_stays_apart() {
    for package in &workspace().packages {
        for (dependency, allowed, why) in KEPT_APART {
            let named = package.dependencies.iter().any(|d| d.name == *dependency);
            assert!(!named || allowed.contains(&package.name.as_str()), "{} names {dependency}: {why}", package.name);
        }
    }
}

#[test]
fn the_sql_of_a_service_is_all_in_its_repo() {
    for service in SERVICES {
        for file in rust_files(&root().join("crates").join(service).join("src")) {
            let is_repo = file.iter().any(|part| part == "repo" || part == "repo.rs");
            assert!(is_repo || !read(&file).contains("sqlx::"), "{}: SQL belongs to a repo", file.display());
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let of = |path: PathBuf| if path.is_dir() { rust_files(&path) } else { vec![path] };
    paths.flat_map(of).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn pure_crates_name_nothing_that_touches_the_world() {
    for package in workspace().packages.iter().filter(|p| PURE.contains(&p.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|d| d.kind == cargo_metadata::DependencyKind::Normal) {
            assert!(!IMPURE.contains(&dependency.name.as_str()), "{} names {}", package.name, dependency.name);
        }
    }
}

#[test]
fn a_folder_is_named_as_its_crate() {
    for package in &workspace().packages {
        let folder = package.manifest_path.parent().and_then(|p| p.file_name());
        assert_eq!(folder, Some(package.name.as_str()));
    }
}

#[test]
fn every_crate_takes_its_lints_and_dependencies_from_the_workspace() {
    for package in &workspace().packages {
        let manifest = read(&package.manifest_path);
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}: [lints] workspace = true is missing",
            package.name
        );
        for line in entries(&manifest, |section| section.ends_with("dependencies")) {
            let itself = line.split([' ', '.', '=']).next() == Some(package.name.as_str());
            let shared = line.contains("workspace = true");
            assert!(shared || itself, "{}: take `{line}` from the root Cargo.toml", package.name);
        }
    }
}

#[test]
fn every_dependency_of_the_workspace_is_used() {
    let workspace = workspace();
    let used: BTreeSet<&str> = workspace
        .packages
        .iter()
        .flat_map(|p| &p.dependencies)
        .map(|d| d.rename.as_deref().unwrap_or(&d.name))
        .collect();
    let manifest = read("Cargo.toml");
    let unused: Vec<&str> = entries(&manifest, |section| section == "workspace.dependencies")
        .filter_map(|line| line.split([' ', '=']).next())
        .filter(|name| !used.contains(name))
        .collect();
    assert!(unused.is_empty(), "in the root Cargo.toml, used by no crate: {unused:?}");
}

/// The `key = value` lines of the sections of a manifest that `wanted` picks. Our manifests keep one entry on a line.
fn entries(manifest: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().map(str::trim).filter(move |line| {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = wanted(section);
            return false;
        }
        inside && !line.is_empty() && !line.starts_with('#')
    })
}

#[test]
fn entries_are_the_lines_of_the_wanted_sections() {
    let manifest = "[a]\nx = 1\n[dev-dependencies]\n# why\ny.workspace = true\n\n[b]\nz = 1\n";
    assert_eq!(entries(manifest, |s| s.ends_with("dependencies")).collect::<Vec<_>>(), ["y.workspace = true"]);
}

/// Features that only tests may turn on: with one, the governor can be made wrong, its disk is none, or there is code that panics.
const FOR_TESTS: [&str; 3] = ["faults", "fuzzing", "simulation"];

#[test]
fn what_is_for_tests_is_never_in_the_program() {
    let workspace = workspace();
    for package in &workspace.packages {
        for dependency in package.dependencies.iter().filter(|d| d.kind != cargo_metadata::DependencyKind::Development)
        {
            let on = dependency.features.iter().find(|feature| FOR_TESTS.contains(&feature.as_str()));
            assert_eq!(on, None, "{} turns it on in {}, and not only for tests", package.name, dependency.name);
        }
        for (feature, turns_on) in &package.features {
            let on = turns_on.iter().find(|on| FOR_TESTS.contains(&on.rsplit('/').next().unwrap_or(on)));
            assert_eq!(on, None, "the feature {feature} of {} turns it on", package.name);
        }
    }
    for feature in FOR_TESTS {
        let is_there = workspace.packages.iter().any(|package| package.features.contains_key(feature));
        assert!(is_there, "no crate has a feature {feature}: is it called otherwise?");
    }
}
