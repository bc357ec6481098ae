//! Runs the benchmarks and writes `docs/benchmarks.md`.
//!
//! Bench targets are found by their kind, so that none is forgotten. A benchmark tells its figures in one of two ways:
//! through criterion, whose estimates are read from its folder, or as JSON lines in the folder that `KIKI_BENCH_DIR`
//! names, for what compares two things by rounds. The page holds figures of one run on one machine only.

mod page;
mod rows;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::steps::{Line, Steps};
use crate::workspace::{BenchTarget, Workspace};

/// Runs the named bench targets, or all of them and then writes the page.
pub(crate) fn run(workspace: &Workspace, names: &[String]) -> ExitCode {
    let unknown: Vec<_> =
        names.iter().filter(|name| workspace.benches.iter().all(|bench| bench.name != **name)).collect();
    if !unknown.is_empty() {
        let known: Vec<_> = workspace.benches.iter().map(|bench| bench.name.as_str()).collect();
        println!("no bench target {unknown:?}; there are {known:?}");
        return ExitCode::from(2);
    }
    let mut steps = Steps::new(&workspace.root);
    let criterion = workspace.target.join("criterion");
    let lines = workspace.target.join("kiki-bench");
    steps.check("fresh start", "forget the figures of earlier runs", "remove these folders by hand", || {
        [&criterion, &lines].iter().try_for_each(|folder| forget(folder))?;
        fs::create_dir_all(&lines).map_err(|error| format!("{}: {error}", lines.display()))
    });
    let chosen = |bench: &&BenchTarget| names.is_empty() || names.contains(&bench.name);
    let mut all_ran = true;
    for BenchTarget { package, name } in workspace.benches.iter().filter(chosen) {
        let line = Line::cargo("bench --package")
            .and(&[package, "--bench", name])
            .with("CRITERION_HOME", criterion.display())
            .with("KIKI_BENCH_DIR", lines.display());
        all_ran &= steps.run(&format!("bench {name}"), &line, "run the command above by itself and read its output");
    }
    let mend = "correct the row named above where its benchmark writes it";
    steps.check("figures", "collect them", mend, || {
        let rows = rows::collect(&criterion, &lines)?;
        let table = page::table(&rows);
        println!("{table}");
        if !names.is_empty() || !all_ran {
            println!("docs/benchmarks.md is left as it is: it is written after a run of all benchmarks.");
            return Ok(());
        }
        let page = page::page(&table, &today()?, &machine()?);
        let path = workspace.root.join("docs").join("benchmarks.md");
        fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))
    });
    steps.finish()
}

fn forget(folder: &Path) -> Result<(), String> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn today() -> Result<String, String> {
    output("date", &["-u", "+%Y-%m-%d"])
}

/// Such as `2 × Some CPU, 24 GiB, Linux 6.1.0, rustc 1.95.0`.
fn machine() -> Result<String, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let about = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = page::field(&about("/proc/cpuinfo"), "model name").unwrap_or_else(|| "CPU of unknown model".to_owned());
    let memory = page::field(&about("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(|| "memory unknown".to_owned(), |kib| format!("{} GiB", kib.div_ceil(1 << 20)));
    let kernel = output("uname", &["-sr"])?;
    // What follows the number says who built it, and nothing about speed.
    let kernel = kernel.split('-').next().unwrap_or(&kernel);
    let rustc = output("rustc", &["--version"])?;
    let rustc = rustc.split(" (").next().unwrap_or(&rustc);
    Ok(format!("{cores} × {cpu}, {memory}, {kernel}, {rustc}"))
}

fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
