//! A process that serves: its configuration, clock, ids, tasks and database.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kiki_kit::clock::Clock;
use kiki_kit::config::Config;
use kiki_kit::server::Server;
use kiki_kit::service::{HttpService, Platform};
use kiki_kit::shutdown::{Ended, Shutdown, Tasks};
use kiki_store::personal::{Stores, Subjects};
use kiki_store::{Store, upkeep};
use kiki_types::IdSource;

use crate::services::mail::SandboxMail;
use crate::services::{keys, personal};

/// How long the database is left alone between two tidyings.
const UPKEEP_PAUSE: Duration = Duration::from_secs(60);

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
    /// The people of the database.
    pub subjects: Subjects,
    /// The mail provider of the sandbox.
    pub(crate) mail: SandboxMail,
    /// What holds something about people in this process's database and data folder, without shield's own.
    pub stores: Stores,
}

impl Process {
    /// Opens the database with the keys of its people and makes the rest. Nothing listens yet.
    ///
    /// # Errors
    /// The data folder, the database or the keys of people cannot be opened.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        make_private_folder(&config.data)?;
        let shutdown = Shutdown::new();
        let platform = Platform::of_process(&config, shutdown.clone());
        let store = open_store(&config, platform.clock.as_ref(), platform.ids.as_ref()).await?;
        let subjects = keys::open(&config, &store, &platform.clock).await?;
        let mail = SandboxMail::open(&config.data, subjects.clone())?;
        let stores = personal::stores(&store, &subjects, &mail)?;
        let tasks = Tasks::new(shutdown.clone());
        tasks.spawn("keys", subjects.clone().run(shutdown.draining()));
        tasks.spawn("upkeep", keep_up(store.clone(), platform.clock.clone(), shutdown));
        Ok(Self { config, platform, tasks, store, subjects, mail, stores })
    }

    /// Erases again whom the register tells of and a database that was put back still has: before a service without a log of
    /// its own is served. Shield does so itself, with what it keeps.
    ///
    /// # Errors
    /// A store, the database or the register does not do its part.
    pub async fn erase_again(&self) -> anyhow::Result<()> {
        self.subjects.replay(&self.stores).await.context("people could not be erased again")?;
        Ok(())
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

    /// From now on a signal begins the end in order. Call it before anything listens: whoever sees the process answer
    /// may end it.
    ///
    /// # Errors
    /// The operating system refuses to report signals.
    pub fn heed_signals(&self) -> anyhow::Result<()> {
        self.tasks.end_on_signals().context("cannot listen for signals")
    }

    /// Waits for a signal, then for what was begun.
    pub async fn ended(&self) -> Ended {
        self.tasks.ended(self.config.shutdown).await
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

/// Tidies the database up now and then: what has expired or was delivered long ago goes.
async fn keep_up(store: Store, clock: Arc<dyn Clock>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(UPKEEP_PAUSE) => {}
        }
        if let Err(error) = upkeep::run(&store, clock.now()).await {
            tracing::warn!(%error, "the database was not tidied up");
        }
    }
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
