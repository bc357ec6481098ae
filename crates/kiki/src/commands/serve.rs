//! `kiki up` and `kiki serve`.

use std::process::ExitCode;

use kiki_kit::config::Config;
use kiki_kit::shutdown::Ended;

use crate::cli::{Listen, ServiceName};
use crate::process::Process;
use crate::services::RunningShield;

const SHIELD_PORT: u16 = 8081;

/// Starts one service and serves until a signal.
///
/// # Errors
/// It cannot start; nothing keeps running.
pub async fn one(config: Config, service: ServiceName, listen: &Listen) -> anyhow::Result<ExitCode> {
    let process = Process::open(config).await?;
    let port = |usual: u16| if listen.free_ports { 0 } else { process.config.port.unwrap_or(usual) };
    match service {
        ServiceName::Shield => {
            let shield = RunningShield::start(&process).await?;
            process.serve(&shield.http, port(SHIELD_PORT))?;
            let ended = process.run_until_signalled().await?;
            shield.stop().await?;
            Ok(code(ended))
        }
        ServiceName::Engage | ServiceName::Value => anyhow::bail!("not there"),
    }
}

/// Starts all services and serves until a signal.
///
/// # Errors
/// One of them cannot start; nothing keeps running.
pub async fn up(config: Config, listen: &Listen) -> anyhow::Result<ExitCode> {
    one(config, ServiceName::Shield, listen).await
}

fn code(ended: Ended) -> ExitCode {
    match ended {
        Ended::Cleanly => ExitCode::SUCCESS,
        Ended::Unfinished(_) => ExitCode::FAILURE,
    }
}
