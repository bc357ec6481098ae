//! `kiki up` and `kiki serve`.

use std::net::SocketAddr;
use std::process::ExitCode;

use kiki_growth::engage::endpoints::{shield_origin, value_origin};
use kiki_growth::engage::jobs;
use kiki_kit::config::Config;
use kiki_kit::shutdown::Ended;
use kiki_sandbox::mailbox::Faults;
use kiki_types::TenantId;

use crate::cli::{Listen, ServiceName};
use crate::process::Process;
use crate::services::{self, RunningShield, Services};

/// Where the services listen unless told otherwise.
#[derive(Clone, Copy, Debug)]
struct Ports {
    shield: u16,
    engage: u16,
    value: u16,
    value_grpc: u16,
}

impl Ports {
    fn new(listen: &Listen, port: Option<u16>) -> Self {
        if listen.free_ports {
            return Self { shield: 0, engage: 0, value: 0, value_grpc: 0 };
        }
        let or = |usual| port.unwrap_or(usual);
        Self { shield: or(8081), engage: or(8083), value: or(8084), value_grpc: 50051 }
    }
}

/// Starts one service and serves until a signal.
///
/// # Errors
/// It cannot start; nothing keeps running.
pub async fn one(config: Config, service: ServiceName, listen: &Listen) -> anyhow::Result<ExitCode> {
    let ports = Ports::new(listen, config.port);
    let process = Process::open(config).await?;
    process.heed_signals()?;
    let mut shield = None;
    match service {
        ServiceName::Shield => {
            let running = RunningShield::start(&process).await?;
            process.serve(&running.http, ports.shield)?;
            shield = Some(running);
        }
        ServiceName::Value => {
            process.erase_again().await?;
            let (_, http) = services::value(&process)?;
            process.serve(&http, ports.value_grpc)?;
            process.serve(&http, ports.value)?;
            relay(&process).await?;
        }
        ServiceName::Engage => {
            process.erase_again().await?;
            let to_shield = services::outside(&process, shield_origin(&process.config.shield_url.to_string())?)?;
            let to_value = services::outside(&process, value_origin(process.config.value_address.as_str())?)?;
            let http = services::engage(&process, to_shield, to_value, Faults::default())?;
            process.serve(&http, ports.engage)?;
            relay(&process).await?;
        }
    }
    let ended = process.ended().await;
    if let Some(shield) = shield {
        shield.stop().await?;
    }
    Ok(code(ended))
}

/// Hands the audit entries of a service without a log of its own to shield.
async fn relay(process: &Process) -> anyhow::Result<()> {
    let connect = services::outside(process, shield_origin(&process.config.shield_url.to_string())?)?;
    if let Some(shield) = connect(&TenantId::default_tenant()) {
        let key = services::keys::pseudonyms(&process.config)?.relay_key(process.store.source_id().await?);
        let relay = jobs::Relay::new(process.store.clone(), shield, key);
        process.tasks.spawn("audit relay", jobs::relay(relay, process.platform.shutdown.clone()));
    }
    Ok(())
}

/// Starts all services and serves until a signal.
///
/// # Errors
/// One of them cannot start; nothing keeps running.
pub async fn up(config: Config, listen: &Listen) -> anyhow::Result<ExitCode> {
    let process = Process::open(config).await?;
    process.heed_signals()?;
    let services = Services::start(&process, Faults::default()).await?;
    listen_all(&process, &services, listen)?;
    until_signalled(process, services).await
}

/// Listens for all services. Returns their names and addresses.
///
/// # Errors
/// A port is taken.
pub fn listen_all(
    process: &Process,
    services: &Services,
    listen: &Listen,
) -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
    // The one port of `PORT` cannot be that of several services.
    let ports = Ports::new(listen, None);
    let listeners = [
        (&services.shield.http, ports.shield),
        (&services.engage_http, ports.engage),
        (&services.value_http, ports.value),
        (&services.value_http, ports.value_grpc),
    ];
    listeners.into_iter().map(|(http, port)| Ok((http.name(), process.serve(http, port)?))).collect()
}

/// Serves until a signal, then ends in order.
///
/// # Errors
/// The runtime is gone.
pub async fn until_signalled(process: Process, services: Services) -> anyhow::Result<ExitCode> {
    let ended = process.ended().await;
    services.stop().await?;
    Ok(code(ended))
}

fn code(ended: Ended) -> ExitCode {
    match ended {
        Ended::Cleanly => ExitCode::SUCCESS,
        Ended::Unfinished(_) => ExitCode::FAILURE,
    }
}
