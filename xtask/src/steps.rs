//! Steps: run in order, told before and after, all of them even when one fails.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// A command line that can be shown as one would type it.
pub(crate) struct Line {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Line {
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { program: program.to_owned(), arguments, environment: Vec::new() }
    }

    /// `cargo` with arguments separated by spaces.
    pub(crate) fn cargo(arguments: &str) -> Self {
        Self::new("cargo", &arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn and(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub(crate) fn with(mut self, variable: &str, value: impl fmt::Display) -> Self {
        self.environment.push((variable.to_owned(), value.to_string()));
        self
    }

    /// Runs in a folder with the terminal's output and no input.
    pub(crate) fn run(&self, folder: &Path) -> Result<(), String> {
        // The cargo that runs this program, so that `cargo +nightly xtask` stays on one toolchain.
        let cargo = || std::env::var_os("CARGO");
        let program = (self.program == "cargo").then(cargo).flatten().unwrap_or_else(|| OsString::from(&self.program));
        let status = Command::new(program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .status()
            .map_err(|error| format!("cannot run {}: {error}", self.program))?;
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.program)) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |word: &str| if word.contains(' ') { format!("\"{word}\"") } else { word.to_owned() };
        for (key, value) in &self.environment {
            write!(out, "{key}={} ", quoted(value))?;
        }
        write!(out, "{}", self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(out, " {}", quoted(argument)))
    }
}

struct Outcome {
    name: String,
    took: Duration,
    failure: Option<Failure>,
    /// What was left out, and why.
    skipped: Option<String>,
}

struct Failure {
    reason: String,
    mend: String,
}

/// The steps run so far in one folder.
pub(crate) struct Steps<'a> {
    folder: &'a Path,
    outcomes: Vec<Outcome>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self { folder, outcomes: Vec::new() }
    }

    /// Runs a command. `mend` says what to do when it fails. True if it passed.
    pub(crate) fn run(&mut self, name: &str, line: &Line, mend: &str) -> bool {
        let folder = self.folder;
        self.check(name, &line.to_string(), mend, || line.run(folder))
    }

    /// Does something of this program's own, told as `what`. True if it passed.
    pub(crate) fn check(
        &mut self,
        name: &str,
        what: &str,
        mend: &str,
        work: impl FnOnce() -> Result<(), String>,
    ) -> bool {
        println!("\n==> {name}: {what}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let passed = result.is_ok();
        let failure = result.err().map(|reason| {
            println!("{reason}");
            Failure { reason: reason.lines().next().unwrap_or_default().to_owned(), mend: mend.to_owned() }
        });
        println!("<== {name}: {} after {}", if passed { "passed" } else { "FAILED" }, seconds(took));
        self.outcomes.push(Outcome { name: name.to_owned(), took, failure, skipped: None });
        passed
    }

    /// Says that something is left out because this machine cannot do it. Nothing fails by that, and the summary shows it.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        println!("\n==> {name}: LEFT OUT: {reason}");
        let skipped = Some(reason.to_owned());
        self.outcomes.push(Outcome { name: name.to_owned(), took: Duration::ZERO, failure: None, skipped });
    }

    /// Prints the summary and turns it into the exit code.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n{}", self.summary());
        if self.outcomes.iter().any(|outcome| outcome.failure.is_some()) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn summary(&self) -> String {
        let mut text = String::from("Summary\n");
        for Outcome { name, took, failure, skipped } in &self.outcomes {
            if let Some(reason) = skipped {
                text.push_str(&format!("  LEFT OUT {name}\n          {reason}\n"));
                continue;
            }
            let verdict = if failure.is_none() { "passed" } else { "FAILED" };
            text.push_str(&format!("  {verdict}  {name:<16} {:>9}\n", seconds(*took)));
            if let Some(Failure { reason, mend }) = failure {
                text.push_str(&format!("          {reason}\n          to mend: {mend}\n"));
            }
        }
        let failed = self.outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
        let total: Duration = self.outcomes.iter().map(|outcome| outcome.took).sum();
        let verdict = if failed == 0 { "all passed".to_owned() } else { format!("{failed} FAILED") };
        let skipped = self.outcomes.iter().filter(|outcome| outcome.skipped.is_some()).count();
        let left_out = if skipped == 0 { String::new() } else { format!(", {skipped} LEFT OUT") };
        text + &format!("{} steps, {verdict}{left_out}, {}", self.outcomes.len() - skipped, seconds(total))
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{Line, Steps};
    use std::path::Path;

    #[test]
    fn a_line_is_shown_as_one_would_type_it() {
        let line = Line::cargo("doc --workspace").with("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(line.to_string(), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --workspace");
    }

    #[test]
    fn a_failed_command_fails_the_step_and_the_summary_says_how_to_mend_it() {
        let mut steps = Steps::new(Path::new("/"));
        assert!(steps.run("fine", &Line::new("true", &[]), "nothing"));
        assert!(!steps.run("broken", &Line::new("false", &[]), "run something"));
        assert!(!steps.run("absent", &Line::new("no-such-program-anywhere", &[]), "install it"));
        let summary = steps.summary();
        assert!(summary.contains("passed  fine"), "{summary}");
        assert!(summary.contains("FAILED  broken"), "{summary}");
        assert!(summary.contains("to mend: run something"), "{summary}");
        assert!(summary.contains("3 steps, 2 FAILED"), "{summary}");
    }

    #[test]
    fn what_is_left_out_fails_nothing_and_is_told() {
        let mut steps = Steps::new(Path::new("/"));
        assert!(steps.run("fine", &Line::new("true", &[]), "nothing"));
        steps.skip("strangers", "there is no Go here");
        let summary = steps.summary();
        assert!(summary.contains("LEFT OUT strangers\n          there is no Go here"), "{summary}");
        assert!(summary.contains("1 steps, all passed, 1 LEFT OUT"), "{summary}");
    }
}
