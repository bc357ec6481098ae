//! SyncShield with its governor.

use std::sync::Arc;

use anyhow::Context as _;
use kiki_audit::Policy;
use kiki_kit::clock::Clock;
use kiki_kit::config::Config;
use kiki_kit::egress::Egress;
use kiki_kit::service::{Dependency, HttpService};
use kiki_shield::audit::Witnesses;
use kiki_shield::breach::BreachStore;
use kiki_shield::consent::ConsentStore;
use kiki_shield::consent::follow::{Follower, follow};
use kiki_shield::policy::{Policies, PolicyFolder};
use kiki_shield::subject::{self, DecisionStore, RemoteStores, RequestStore, Requests, WebhookStore};
use kiki_shield::webhooks::{self, Webhooks};
use kiki_shield::{Compliance, Pseudonyms, Seed, Shield};
use kiki_spend::{Owner, Settings};
use kiki_store::personal::{PersonalStore, Stores};
use kiki_types::IdSource;
use rand::TryRngCore as _;
use zeroize::Zeroizing;

use super::shipping::{self, Shipping};
use super::{compliance, database, keys, outbox, outside, reach, requests, retention};
use crate::VERSION;
use crate::process::Process;

/// SyncShield, running.
pub struct RunningShield {
    /// Whatever holds something about people, in this process.
    pub stores: Stores,
    /// Its router.
    pub http: HttpService,
    /// Its verbs, for what runs beside it.
    pub shield: Shield,
    owner: Owner,
}

impl RunningShield {
    /// Opens the log, starts the governor and shield's jobs.
    ///
    /// # Errors
    /// The log does not check, or another process has it.
    pub async fn start(process: &Process) -> anyhow::Result<Self> {
        let config = &process.config;
        let platform = &process.platform;
        let settings = governor_settings(config, platform.clock.clone(), platform.ids.clone());
        let retained = settings.clone();
        // Before the log's own key: where that one is, this one must be.
        let pseudonyms = keys::pseudonyms(config)?;
        let owner =
            tokio::task::spawn_blocking(|| Owner::start(settings)).await?.context("the governor cannot start")?;
        let shield = verbs(process, &owner, pseudonyms);
        shield.define_burst(config.max_burst_budget_micros, config.window_seconds).await?;
        let requests = requests::made(process, &shield)?;
        let local = local_stores(process, &shield, &requests)?;
        let stores = with_peers(process, &local)?;
        let follower = erased_again(process, &shield, &local).await?;
        let folder = followed(config, &shield).await?;
        let egress = Egress::new(reach(config), kiki_kit::egress::Limits::default());
        let hooks = Webhooks::new(shield.clone(), egress, secret_bytes);
        let stated = compliance::statements(config, process.store.dialect())?;
        let compliance = Compliance::new(&shield, stated);
        compliance.begin(&stores, &local, &process.tasks);
        let (governor, handle, verbs) = (shield.clone(), owner.handle(), shield.clone());
        let http = HttpService::builder("shield", VERSION, platform)
            .api(
                kiki_shield::routes(shield.clone())
                    .merge(webhooks::routes(hooks.clone()))
                    .merge(compliance.routes())
                    .merge(subject::routes(requests.clone())),
            )
            .grpc(kiki_shield::grpc::services(&shield))
            .depends_on(Dependency::required("governor", move || {
                let governor = governor.clone();
                async move { governor.ping().await }
            }))
            .depends_on(Dependency::optional("views", move || {
                let is_deriving = handle.is_deriving();
                async move { if is_deriving { Ok(()) } else { Err("tiles and views stay behind the log") } }
            }))
            .depends_on(database(process))
            .depends_on(outbox(process))
            .depends_on(keys::dependency(process));
        let http = match folder.clone() {
            Some(folder) => http.depends_on(Dependency::optional("policy", move || std::future::ready(folder.check()))),
            None => http,
        };
        let shelf = shipping::configured(config, &platform.shutdown)?;
        let http = match shipping::configured(config, &platform.shutdown)? {
            Some(shipper) => {
                let shipping = Shipping::default();
                let job = shipping::run(shipper, config.ship_pause, shipping.clone(), platform.shutdown.clone());
                process.tasks.spawn("shipping", job);
                http.depends_on(Dependency::optional("shelf", move || std::future::ready(shipping.check())))
            }
            None => http,
        };
        let http = match witnesses(process, &shield)? {
            Some(dependency) => http.depends_on(dependency),
            None => http,
        };
        let pruning = retention::run(retained, owner.handle(), shelf, platform.shutdown.clone());
        process.tasks.spawn("retention", pruning);
        if let Some(folder) = folder {
            process.tasks.spawn("policy folder", folder.follow(platform.shutdown.clone()));
        }

        requests::carry_out(process, &requests, stores.clone());
        process.tasks.spawn("shield outbox", kiki_shield::jobs::run(shield, platform.shutdown.clone()));
        process.tasks.spawn("consent register", follow(follower, platform.shutdown.clone()));
        process.tasks.spawn("webhook events", webhooks::jobs::follow(hooks.clone(), platform.shutdown.clone()));
        process.tasks.spawn("webhook deliveries", webhooks::jobs::deliver(hooks, process.tasks.clone()));
        Ok(Self { stores, http: http.build(), shield: verbs, owner })
    }

    /// Answers what waits, writes a snapshot, brings tiles and views up to the log.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn stop(self) -> anyhow::Result<()> {
        Ok(tokio::task::spawn_blocking(|| self.owner.stop()).await?)
    }
}

/// Shield over this governor.
fn verbs(process: &Process, owner: &Owner, pseudonyms: Pseudonyms) -> Shield {
    let (config, platform) = (&process.config, &process.platform);
    Shield::new(Seed {
        governor: owner.handle(),
        store: process.store.clone(),
        subjects: process.subjects.clone(),
        pseudonyms,
        clock: platform.clock.clone(),
        ids: platform.ids.clone(),
        currency: config.currency,
        audit: config.data.join("audit"),
        keys: config.data.join("keys"),
        origin: config.log_origin.as_str().into(),
        policies: Policies::default(),
        consent_days: config.consent_days,
        random: secret_bytes,
        tasks: process.tasks.clone(),
    })
}

/// Erases again whom the register and the log tell of and a database that was put back still has. Before anything is
/// served, and in this process alone: a service with a database of its own restores its own, and may be away.
async fn erased_again(process: &Process, shield: &Shield, local: &Stores) -> anyhow::Result<Follower> {
    process.subjects.replay(local).await.context("people could not be erased again")?;
    let mut follower = Follower::open(shield.clone(), local.clone()).await?;
    follower.catch_up().await.context("the log's word on people could not be heeded")?;
    Ok(follower)
}

/// Whatever holds something about people here: what the process has, and what shield keeps.
fn local_stores(process: &Process, shield: &Shield, requests: &Requests) -> anyhow::Result<Stores> {
    let own: [Arc<dyn PersonalStore>; 5] = [
        Arc::new(RequestStore(requests.clone())),
        Arc::new(ConsentStore::new(process.store.clone())),
        BreachStore::new(process.store.clone()),
        Arc::new(DecisionStore(shield.clone())),
        Arc::new(WebhookStore(shield.clone())),
    ];
    Ok(Stores::new(process.stores.iter().cloned().chain(own).collect())?)
}

/// `local`, and what the services that are named in the configuration have.
fn with_peers(process: &Process, local: &Stores) -> anyhow::Result<Stores> {
    let mut all: Vec<_> = local.iter().cloned().collect();
    for peer in &process.config.peers {
        let name = compliance::peer_name(peer);
        let (way, subjects) = (outside(process, peer.clone())?, process.subjects.clone());
        all.push(Arc::new(RemoteStores::new(&name, way, subjects, process.store.clone())));
    }
    Ok(Stores::new(all)?)
}

/// What the governor of this configuration is made with.
pub(crate) fn governor_settings(config: &Config, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Settings {
    Settings {
        data: config.data.clone(),
        origin: config.log_origin.clone(),
        retention_days: config.retention_days,
        clock: Arc::new(move || clock.now()),
        ids,
        key_seed: secret_bytes,
    }
}

/// The folder of the policy, if one is configured, with its policy in force.
async fn followed(config: &Config, shield: &Shield) -> anyhow::Result<Option<PolicyFolder>> {
    let Some(path) = &config.policy_dir else { return Ok(None) };
    let opened = PolicyFolder::open(shield.clone(), path.clone()).await;
    Ok(Some(opened.with_context(|| format!("the policy in {} (POLICY_DIR)", path.display()))?))
}

/// Asks witnesses to cosign checkpoints, if a policy names them; how they stand as a dependency.
fn witnesses(process: &Process, shield: &Shield) -> anyhow::Result<Option<Dependency>> {
    let Some(path) = &process.config.log_policy else { return Ok(None) };
    let named = || format!("the witnesses in {} (KIKI_LOG_POLICY)", path.display());
    let text = std::fs::read_to_string(path).with_context(named)?;
    let policy = Policy::parse(&text).with_context(named)?;
    let egress = Egress::new(reach(&process.config), kiki_kit::egress::Limits::default());
    let witnesses = Witnesses::new(shield.clone(), policy, egress).with_context(named)?;
    let standing = witnesses.standing();
    process.tasks.spawn("witnesses", witnesses.run(process.platform.shutdown.clone()));
    Ok(Some(Dependency::optional("witnesses", move || std::future::ready(standing.check()))))
}

/// Randomness of the operating system for what nobody may guess.
#[expect(clippy::expect_used, reason = "without the system's randomness no key can be made, and none must")]
pub(crate) fn secret_bytes() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::rngs::OsRng.try_fill_bytes(&mut *seed).expect("the operating system gives randomness");
    seed
}
