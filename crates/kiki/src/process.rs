//! A process that serves: its configuration, clock, ids, tasks and database.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use kiki_kit::authorisation::{ApiKey, Authenticator};
use kiki_kit::clock::{Clock, SystemClock};
use kiki_kit::config::{Config, Environment};
use kiki_kit::ids::SystemIds;
use kiki_kit::server::Server;
use kiki_kit::service::{HttpService, Limits, Platform};
use kiki_kit::shutdown::{Ended, Shutdown, Tasks};
use kiki_store::Store;
use kiki_types::{IdSource, Principal, TenantId};

/// What all services of a process share.
pub struct Process {
    /// The configuration in force.
    pub config: Config,
    /// Clock, ids, authentication, bounds.
    pub platform: Platform,
    /// Everything that runs.
    pub tasks: Tasks,
    /// The SQL database, migrated.
    pub store: Store,
}

impl Process {
    /// Opens the database and makes the rest. Nothing listens yet.
    ///
    /// # Errors
    /// The data folder or the database cannot be opened.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        make_private_folder(&config.data)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let ids: Arc<dyn IdSource> = Arc::new(SystemIds::new(clock.clone()));
        let shutdown = Shutdown::new();
        let store = open_store(&config, clock.as_ref(), ids.as_ref()).await?;
        let limits = Limits { body_bytes_max: config.body_limit_bytes, ..Limits::default() };
        let authenticator = authenticator(&config);
        let platform = Platform { clock, ids, authenticator, shutdown: shutdown.clone(), limits };
        Ok(Self { config, platform, tasks: Tasks::new(shutdown), store })
    }

    /// Listens on `port` of the configured address and serves `service` there. Returns the address.
    ///
    /// # Errors
    /// The address is taken, or others could reach it and nothing is encrypted.
    pub fn serve(&self, service: &HttpService, port: u16) -> anyhow::Result<SocketAddr> {
        let server = Server::bind(SocketAddr::new(self.config.host, port), self.config.trust)?;
        let address = server.address();
        server.serve(service.router(), &self.tasks);
        tracing::info!(service = service.name(), %address, "listening");
        Ok(address)
    }

    /// Waits for a signal, then for what was begun.
    ///
    /// # Errors
    /// The operating system refuses to report signals.
    pub async fn run_until_signalled(&self) -> anyhow::Result<Ended> {
        self.tasks.end_on_signals().context("cannot listen for signals")?;
        Ok(self.tasks.ended(self.config.shutdown).await)
    }
}

/// The database of `config`, migrated.
///
/// # Errors
/// It cannot be opened, or its migrations were edited.
pub async fn open_store(config: &Config, clock: &dyn Clock, ids: &dyn IdSource) -> anyhow::Result<Store> {
    make_private_folder(&config.data)?;
    let address = match &config.database_url {
        Some(url) => url.expose().to_owned(),
        None => config.data.join("kiki.db").to_string_lossy().into_owned(),
    };
    let store = Store::connect(&address, kiki_store::Options::default()).await.context("cannot open the database")?;
    store.migrate(ids, clock.now()).await.context("cannot migrate the database")?;
    Ok(store)
}

/// A folder that its owner alone can look into.
fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the data folder {}", path.display()))
}

/// In development on loopback who sits at the machine is the operator; everybody else shows the key.
fn authenticator(config: &Config) -> Authenticator {
    let system = Principal::service(TenantId::default_tenant(), "internal");
    let keys = config.internal_api_key.iter().map(|key| ApiKey::new(key.expose(), system.clone())).collect();
    let is_local = config.environment == Environment::Development && is_loopback(config.host);
    Authenticator::new(keys, is_local)
}

fn is_loopback(host: IpAddr) -> bool {
    host.to_canonical().is_loopback()
}
