//! Fuzzing under libFuzzer, guided by coverage, with stable Rust: the instrumentation is asked for by codegen options. What is
//! tried lives in the crates, behind their feature `fuzzing`; `fuzz/` gives each target a program. What libFuzzer finds worth
//! keeping stays in the target folder, so that the next run begins where this one ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::steps::{Line, Steps};
use crate::workspace::Workspace;

/// What LLVM is to count, for libFuzzer to read.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table";
/// Targets, and the bytes of an input at the most.
const TARGETS: [(&str, u32); 5] =
    [("logs", 8_192), ("fields", 512), ("questions", 2_048), ("predictions", 512), ("fits", 1_024)];
const SECONDS_DEFAULT: u64 = 60;
/// An input that takes longer is a finding, and so is one that takes more memory.
const SECONDS_PER_INPUT: u64 = 20;
const MEGABYTES_MAX: u64 = 2_048;

/// How long each of which targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    seconds: u64,
    /// All, where none is named.
    targets: Vec<String>,
}

impl Options {
    /// Reads a number of seconds and names of targets.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self { seconds: SECONDS_DEFAULT, targets: Vec::new() };
        for argument in arguments {
            if let Ok(seconds) = argument.parse() {
                options.seconds = seconds;
            } else if TARGETS.iter().any(|(name, _)| name == argument) {
                options.targets.push(argument.clone());
            } else {
                let names = TARGETS.map(|(name, _)| name).join(", ");
                return Err(format!("fuzz takes seconds and targets ({names}), but was given {argument}"));
            }
        }
        if options.seconds == 0 { Err("fuzz wants at least one second".to_owned()) } else { Ok(options) }
    }
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> ExitCode {
    let mut steps = Steps::new(&workspace.root);
    let folder = workspace.target.join("fuzz");
    if build(&mut steps, workspace, &folder) {
        let wanted = |name: &str| options.targets.is_empty() || options.targets.iter().any(|one| one == name);
        for (name, bytes_max) in TARGETS.into_iter().filter(|(name, _)| wanted(name)) {
            fuzz(&mut steps, workspace, &folder, (name, bytes_max, options.seconds));
        }
    }
    steps.finish()
}

fn build(steps: &mut Steps<'_>, workspace: &Workspace, folder: &Path) -> bool {
    let (ours, copy) = (workspace.root.join("Cargo.lock"), workspace.root.join("fuzz/Cargo.lock"));
    let what = "fuzz/Cargo.lock, a copy of the workspace's";
    let copied = steps.check("versions", what, "run this in a checkout that may be written to", || {
        fs::copy(&ours, &copy).map(|_| ()).map_err(|error| format!("{}: {error}", copy.display()))
    });
    // With a target named, programs that run during the build are not instrumented.
    let line = Line::cargo("build --release --manifest-path fuzz/Cargo.toml --target")
        .and(&[&host(), "--target-dir", &folder.to_string_lossy()])
        .with("RUSTFLAGS", COVERAGE);
    copied && steps.run("build", &line, "it takes a C++ compiler, and the registry once for libfuzzer-sys")
}

/// The triple of this machine, as rustc tells it.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned()
}

/// Runs one target over its seeds, what ever failed, and what earlier runs kept.
fn fuzz(steps: &mut Steps<'_>, workspace: &Workspace, folder: &Path, (name, bytes_max, seconds): (&str, u32, u64)) {
    let (corpus, found) = (folder.join("corpus").join(name), folder.join("found").join(name));
    let mend = format!(
        "mend it, and keep the input named above as a file of fuzz/found/{name}; alone it is tried by giving it to the program"
    );
    let program = folder.join(host()).join("release").join(name);
    let committed = ["seeds", "found"].map(|kind| workspace.root.join("fuzz").join(kind).join(name));
    let folders: Vec<PathBuf> =
        [corpus.clone()].into_iter().chain(committed.into_iter().filter(|committed| committed.is_dir())).collect();
    let folders: Vec<String> = folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={bytes_max}"),
        format!("-timeout={SECONDS_PER_INPUT}"),
        format!("-rss_limit_mb={MEGABYTES_MAX}"),
        format!("-dict={}", workspace.root.join("fuzz/words.dict").display()),
        format!("-artifact_prefix={}/", found.display()),
        "-print_final_stats=1".to_owned(),
    ];
    let arguments: Vec<&str> = options.iter().chain(&folders).map(String::as_str).collect();
    let line = Line::new(&program.to_string_lossy(), &arguments);
    steps.check(name, &line.to_string(), &mend, || {
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        line.run(&workspace.root)
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::{Options, TARGETS};

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn seconds_and_targets_are_read_and_mistakes_named() {
        assert_eq!(parsed(""), Ok(Options { seconds: 60, targets: Vec::new() }));
        assert_eq!(parsed("600 logs"), Ok(Options { seconds: 600, targets: vec!["logs".to_owned()] }));
        for (line, mistake) in [("log", "was given log"), ("--minutes", "was given --minutes"), ("0", "at least")] {
            assert!(parsed(line).unwrap_err().contains(mistake), "{line}");
        }
    }

    /// Nothing else compiles `fuzz/` before somebody fuzzes.
    #[test]
    fn every_target_has_a_program_and_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let names = |folder: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(fuzz.join(folder)).expect("a folder");
            let stem = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
            entries.map(|entry| stem(&entry.expect("an entry").path())).collect()
        };
        let targets = TARGETS.map(|(name, _)| name.to_owned()).into();
        assert_eq!(names("src/bin"), targets);
        assert_eq!(names("seeds"), targets);
    }
}
