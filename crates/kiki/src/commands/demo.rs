//! `kiki demo`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub listen: crate::cli::Listen,
}
pub async fn run(_: kiki_kit::config::Config, _: Options) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("x")
}
