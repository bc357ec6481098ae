//! The services and how they reach each other.

mod compliance;
pub(crate) mod keys;
pub(crate) mod mail;
pub(crate) mod personal;
mod requests;
pub(crate) mod retention;
mod shield;
pub(crate) mod shipping;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::Uri;
use kiki_growth::engage::{self, AUDIT_TOPIC, Connect, Engage};
use kiki_growth::value::{self, Value};
use kiki_kit::config::{Config, Environment};
use kiki_kit::egress::Reach;
use kiki_kit::inprocess::{Transport, in_process, over_network};
use kiki_kit::service::{Dependency, HttpService};
use kiki_sandbox::mailbox::{self, Faults};
use kiki_types::{Principal, TenantId};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tower::ServiceExt as _;

use crate::VERSION;
use crate::process::Process;
pub use shield::RunningShield;
pub(crate) use shield::{governor_settings, secret_bytes};

/// The address that the sandbox's messages come from.
const MAIL_FROM: &str = "hello@kiki.invalid";
/// How long a connection to another service may take to come about.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// How far requests to others may go.
fn reach(config: &Config) -> Reach {
    let is_production = config.environment == Environment::Production;
    config.egress_reach.unwrap_or(if is_production { Reach::Public } else { Reach::Loopback })
}

/// The database as a dependency.
fn database(process: &Process) -> Dependency {
    let store = process.store.clone();
    Dependency::required("database", move || {
        let store = store.clone();
        async move { store.ping().await }
    })
}

/// How long an audit entry may wait in the outbox before the service says that it is not well.
const OUTBOX_WAIT_MS_MAX: i64 = 60_000;

/// The outbox as a dependency: what was done must reach the log.
fn outbox(process: &Process) -> Dependency {
    let (store, clock) = (process.store.clone(), process.platform.clock.clone());
    Dependency::optional("outbox", move || {
        let (store, clock) = (store.clone(), clock.clone());
        async move {
            let since =
                kiki_store::outbox::waiting_since(&store, AUDIT_TOPIC).await.map_err(|error| error.to_string())?;
            match since {
                Some(since) if since < clock.now().plus(-OUTBOX_WAIT_MS_MAX) => {
                    Err("audit entries wait to be handed over to the log".to_owned())
                }
                _ => Ok(()),
            }
        }
    })
}

/// Another service as a dependency. A service that is away degrades those that ask it: they say so and go on.
fn peer(name: &'static str, transport: Transport) -> Dependency {
    Dependency::optional(name, move || {
        let transport = transport.clone();
        async move {
            let alive = http::Request::get("/health/live").body(Body::empty()).map_err(|error| error.to_string())?;
            let response = transport.oneshot(alive).await.map_err(|error| error.message().to_owned())?;
            if response.status().is_success() { Ok(()) } else { Err(response.status().to_string()) }
        }
    })
}

/// SyncValue, and its watch for drift.
///
/// # Errors
/// The key of the pseudonyms cannot be read.
pub fn value(process: &Process) -> anyhow::Result<(Value, HttpService)> {
    let pseudonyms = keys::pseudonyms(&process.config)?;
    let value = Value::new(value::Needs {
        store: process.store.clone(),
        clock: process.platform.clock.clone(),
        ids: process.platform.ids.clone(),
        tasks: process.tasks.clone(),
        currency: process.config.currency,
        subjects: process.subjects.clone(),
        request_key: Arc::new({
            let pseudonyms = pseudonyms.clone();
            move |tenant, text| pseudonyms.request_key(tenant, text).to_string()
        }),
        pseudonym: Arc::new(move |tenant, name| pseudonyms.actor(tenant, name).to_string()),
    });
    let http = HttpService::builder("value", VERSION, &process.platform)
        .api(value::routes(value.clone()))
        .grpc(value::services(&value).add_service(personal::service(process)))
        .depends_on(database(process))
        .depends_on(outbox(process))
        .depends_on(keys::dependency(process))
        .build();
    process.tasks.spawn("value drift", value::watch(value.clone(), process.platform.shutdown.clone()));
    Ok((value, http))
}

/// SyncEngage, with the sandbox mailbox beside it. `faults` are what the mailbox does wrong on purpose.
///
/// # Errors
/// The key of the pseudonyms cannot be opened.
pub fn engage(process: &Process, shield: Connect, value: Connect, faults: Faults) -> anyhow::Result<HttpService> {
    let sandbox = process.mail.clone().with_faults(faults);
    let pseudonyms = keys::pseudonyms(&process.config)?;
    let (mailbox, mail) = (sandbox.mailbox.clone(), Arc::new(sandbox));
    let mut http =
        HttpService::builder("engage", VERSION, &process.platform).grpc(Routes::new(personal::service(process)));
    http = http.depends_on(database(process)).depends_on(outbox(process)).depends_on(keys::dependency(process));
    let tenant = TenantId::default_tenant();
    for (name, connect) in [("shield", &shield), ("value", &value)] {
        if let Some(transport) = connect(&tenant) {
            http = http.depends_on(peer(name, transport));
        }
    }
    let engage = Engage::new(engage::Needs {
        store: process.store.clone(),
        clock: process.platform.clock.clone(),
        ids: process.platform.ids.clone(),
        tasks: process.tasks.clone(),
        shield,
        value,
        mail,
        subjects: process.subjects.clone(),
        pseudonyms: engage::Pseudonyms {
            request_id: Arc::new({
                let pseudonyms = pseudonyms.clone();
                move |_, id| pseudonyms.request_id(id)
            }),
            request_key: Arc::new({
                let pseudonyms = pseudonyms.clone();
                move |tenant, text| pseudonyms.request_key(tenant, text).to_string()
            }),
            actor: Arc::new(move |tenant, name| pseudonyms.actor(tenant, name).to_string()),
        },
        mail_from: MAIL_FROM.to_owned(),
    });
    Ok(http.api(engage::api::api(engage).merge(mailbox::api::api(mailbox))).build())
}

/// The way to a service in this process, for any tenant.
fn inside(http: &HttpService, name: &'static str) -> Connect {
    let router = http.router();
    Arc::new(move |tenant| Some(in_process(router.clone(), Principal::service(tenant.clone(), name))))
}

/// The way to the service at `origin`, for the one tenant that the internal key stands for.
///
/// # Errors
/// The key cannot be sent in a header.
pub fn outside(process: &Process, origin: Uri) -> anyhow::Result<Connect> {
    let channel = Endpoint::from(origin).connect_timeout(CONNECT_TIME_MAX).connect_lazy();
    let key = process.config.internal_api_key.as_ref().map(kiki_kit::config::Secret::expose);
    let transport = over_network(channel, key).context("INTERNAL_API_KEY")?;
    Ok(Arc::new(move |tenant| (*tenant == TenantId::default_tenant()).then(|| transport.clone())))
}

/// All services of a process that has them all.
pub struct Services {
    /// SyncShield.
    pub shield: RunningShield,
    /// SyncValue.
    pub value: Value,
    /// SyncValue's router.
    pub value_http: HttpService,
    /// SyncEngage's router.
    pub engage_http: HttpService,
}

impl Services {
    /// Starts them; each reaches the others inside the process.
    ///
    /// # Errors
    /// One of them cannot start.
    pub async fn start(process: &Process, faults: Faults) -> anyhow::Result<Self> {
        let shield = RunningShield::start(process).await?;
        let (value, value_http) = value(process)?;
        let to_shield = inside(&shield.http, "kiki-engage");
        let to_value = inside(&value_http, "kiki-engage");
        let engage_http = engage(process, to_shield, to_value, faults)?;
        Ok(Self { shield, value, value_http, engage_http })
    }

    /// Their routers.
    #[must_use]
    pub fn http(&self) -> Vec<&HttpService> {
        vec![&self.shield.http, &self.value_http, &self.engage_http]
    }

    /// Ends what the tasks of the process do not end.
    ///
    /// # Errors
    /// As [`RunningShield::stop`].
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shield.stop().await
    }
}
