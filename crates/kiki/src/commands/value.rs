//! `kiki value`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Fit,
}
pub fn run(_: Command, _: kiki_kit::config::Config) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("x")
}
