//! What the steps need and cargo does not bring: found, else installed, else said exactly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::steps::{Line, Steps};
use crate::workspace::Workspace;

/// The oldest cargo-deny that reads our `deny.toml`; installed in this version where none is found.
const DENY_VERSION: &str = "0.20.2";

/// Keeps Debian's packages from creating and starting a cluster: tests start their own server. Removed after.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/kiki-tests.conf";

/// rustfmt and clippy, which a minimal toolchain lacks.
pub(crate) fn ensure_components(steps: &mut Steps<'_>, workspace: &Workspace) {
    let install = Line::new("rustup", &["component", "add", "rustfmt", "clippy"]);
    let mend = format!("{install}, or your system's packages of rustfmt and clippy");
    steps.check("rust tools", "cargo fmt --version, cargo clippy --version", &mend, || {
        if answers("cargo", &["fmt", "--version"]) && answers("cargo", &["clippy", "--version"]) {
            return Ok(());
        }
        println!("+ {install}");
        install.run(&workspace.root)
    });
}

/// cargo-deny from PATH if it is new enough, else from the target folder, where it is installed on first use. It is
/// built without optimisation: that takes a third of the time, and a check still ends within seconds.
pub(crate) fn ensure_deny(steps: &mut Steps<'_>, workspace: &Workspace) -> Option<PathBuf> {
    let in_path = PathBuf::from("cargo-deny");
    if is_new_enough(&in_path) {
        return Some(in_path);
    }
    let folder = workspace.target.join("tools");
    let installed = folder.join("bin").join("cargo-deny");
    if is_new_enough(&installed) {
        return Some(installed);
    }
    let build = folder.join("build");
    let install = Line::cargo("install cargo-deny --locked --force --debug --version")
        .and(&[DENY_VERSION, "--root", &folder.to_string_lossy(), "--target-dir", &build.to_string_lossy()])
        .with("CARGO_PROFILE_DEV_DEBUG", 0)
        .with("CARGO_INCREMENTAL", 0);
    let mend = format!("cargo install cargo-deny --locked --version {DENY_VERSION} (it needs the registry)");
    steps.run("cargo-deny", &install, &mend).then(|| {
        // Hundreds of megabytes that nothing reads again; where they stay, only space is lost.
        let _ = fs::remove_dir_all(&build);
        installed
    })
}

fn is_new_enough(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // An empty list of numbers, as when there is no such program, is less than any version.
    text.split_whitespace().nth(1).is_some_and(|version| numbers(version) >= numbers(DENY_VERSION))
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// The server programs of PostgreSQL. Tests that run on it fail without them; they are never skipped.
pub(crate) fn ensure_postgres(steps: &mut Steps<'_>, workspace: &Workspace) -> bool {
    let mend = "install PostgreSQL's server programs (initdb, pg_ctl, postgres) in PATH: Debian and Ubuntu `apt-get \
                install postgresql`, Fedora `dnf install postgresql-server`, macOS `brew install postgresql`";
    steps.check("postgresql", "initdb, pg_ctl, postgres", mend, || {
        if let Some(folder) = postgres() {
            println!("found in {}", folder.display());
            return Ok(());
        }
        if !answers("apt-get", &["--version"]) || !is_root() {
            return Err("PostgreSQL is not installed, and only root can install it, with apt-get".to_owned());
        }
        install_postgres(&workspace.root)?;
        postgres().map(|_| ()).ok_or_else(|| "installed, but its programs were not found".to_owned())
    })
}

/// In PATH, or where Debian keeps each version.
fn postgres() -> Option<PathBuf> {
    let is_complete = |folder: &PathBuf| ["initdb", "pg_ctl", "postgres"].iter().all(|it| folder.join(it).exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let packaged = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    std::env::split_paths(&path).chain(packaged).find(is_complete)
}

fn install_postgres(folder: &Path) -> Result<(), String> {
    let told = |error| format!("{NO_CLUSTER}: {error}");
    fs::create_dir_all(Path::new(NO_CLUSTER).with_file_name("")).map_err(told)?;
    fs::write(NO_CLUSTER, "create_main_cluster = false\n").map_err(told)?;
    let update = Line::new("apt-get", &["update"]);
    let install = Line::new("apt-get", &["install", "-y", "--no-install-recommends", "postgresql"])
        .with("DEBIAN_FRONTEND", "noninteractive");
    let result = [update, install].iter().try_for_each(|line| {
        println!("+ {line}");
        line.run(folder)
    });
    fs::remove_file(NO_CLUSTER).map_err(told)?;
    result
}

/// Go, by which verifiers of others look at the log. What is missing is said and fails nothing, unless
/// `KIKI_STRANGERS=required` is set: then the test that wants it fails.
pub(crate) fn ensure_go(steps: &mut Steps<'_>, workspace: &Workspace) {
    const HOW: &str = "install Go 1.24 or newer (https://go.dev/dl) and let it reach its module proxy once";
    let mut version = go_version();
    if version.is_none() && answers("apt-get", &["--version"]) && is_root() {
        let update = Line::new("apt-get", &["update"]);
        let install = Line::new("apt-get", &["install", "-y", "--no-install-recommends", "golang-go"])
            .with("DEBIAN_FRONTEND", "noninteractive");
        for line in [update, install] {
            println!("+ {line}");
            if let Err(reason) = line.run(&workspace.root) {
                println!("{reason}");
            }
        }
        version = go_version();
    }
    match version {
        None => steps.skip("go", &format!("no verifier of others looks at the log; {HOW}")),
        Some(version) if numbers(&version) < numbers("1.24") => {
            steps.skip("go", &format!("Go {version} is too old for Tessera's fsck; {HOW}"));
        }
        Some(version) => println!("\n==> go: {version} found"),
    }
}

/// Such as `1.26.8`.
fn go_version() -> Option<String> {
    let output = Command::new("go").args(["env", "GOVERSION"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().strip_prefix("go")?.to_owned())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let silent = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::{is_new_enough, numbers};
    use std::path::Path;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("0.9.3") < numbers("0.20.2"));
        assert!(numbers("0.20.10") > numbers("0.20.2"));
        assert!(numbers("1.0.0-rc.1") > numbers("0.20.2"));
    }

    #[test]
    fn a_program_that_is_not_there_is_not_new_enough() {
        assert!(!is_new_enough(Path::new("no-such-program-anywhere")));
        assert!(!is_new_enough(Path::new("true")));
    }
}
