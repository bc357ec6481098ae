//! The keys of people: which master key is above them, and opening them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use kiki_kit::clock::Clock;
use kiki_kit::config::{Config, MasterChoice, Secret};
use kiki_kit::service::Dependency;
use kiki_shield::Pseudonyms;
use kiki_store::Store;
use kiki_store::personal::master::{AwsKms, KmsSettings, LocalMaster, VaultSettings, VaultTransit};
use kiki_store::personal::{MasterKey, Needs, Random, Subjects};

use super::reach;
use crate::process::Process;

/// The folder of all keys but those that sign the log.
pub(crate) fn folder(config: &Config) -> PathBuf {
    config.keys.clone().unwrap_or_else(|| config.data.join("keys"))
}

/// The keyed hashes of this installation. A service on a machine of its own has a key of its own, so its hashes of a name
/// are not those of another.
///
/// # Errors
/// The key cannot be read or made, or is gone where a log was kept.
pub(crate) fn pseudonyms(config: &Config) -> anyhow::Result<Pseudonyms> {
    let keys = folder(config);
    // The log's own key stays beside the log; where that one is, this one must be.
    let is_kept = config.data.join("keys/log.vkey").exists();
    anyhow::ensure!(
        !is_kept || keys.join("pseudonym.key").exists(),
        "pseudonym.key is not in {} although a log was kept; put it there, or no consent and no idempotency key is found again",
        keys.display()
    );
    Pseudonyms::open_or_create(&keys, &mut rand::rng()).context("the key of the pseudonyms")
}

/// The people of the database `store`.
///
/// # Errors
/// The keys are not those of the database, are damaged, or the master key does not open them.
pub(crate) async fn open(config: &Config, store: &Store, clock: &Arc<dyn Clock>) -> anyhow::Result<Subjects> {
    let (keys, master) = (folder(config), master(config, &config.master, clock).await?);
    let needs = Needs {
        store: store.clone(),
        keys,
        master,
        clock: clock.clone(),
        random: random(),
        epoch_days: config.epoch_days,
    };
    Subjects::open(needs).await.context("the keys of people")
}

/// The master key that `choice` names.
///
/// # Errors
/// It cannot be used as it is configured.
pub(crate) async fn master(
    config: &Config,
    choice: &MasterChoice,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn MasterKey>> {
    let exposed = |secret: &'static str, value: &Option<Secret>| {
        let text = value.as_ref().map(|secret| secret.expose().to_owned());
        text.with_context(|| format!("{secret} is not set"))
    };
    Ok(match choice {
        MasterChoice::File => {
            let keys = folder(config);
            Arc::new(tokio::task::spawn_blocking(move || LocalMaster::in_file(&keys, random())).await??)
        }
        MasterChoice::Env => {
            let key = exposed("KIKI_MASTER_KEY", &config.master_key)?;
            Arc::new(LocalMaster::in_setting(&key, random())?)
        }
        MasterChoice::Vault { origin, mount, name } => {
            let token = exposed("VAULT_TOKEN", &config.vault_token)?;
            let namespace = config.vault_namespace.as_deref();
            let settings = VaultSettings { origin, mount, key: name, token: &token, namespace };
            Arc::new(VaultTransit::new(settings, reach(config))?)
        }
        MasterChoice::AwsKms { region, key } => {
            let id = exposed("AWS_ACCESS_KEY_ID", &config.aws_access_key_id)?;
            let secret = exposed("AWS_SECRET_ACCESS_KEY", &config.aws_secret_access_key)?;
            let settings = KmsSettings {
                region,
                key,
                endpoint: config.kms_endpoint.as_ref(),
                access_key_id: &id,
                secret_access_key: &secret,
                session_token: config.aws_session_token.as_ref().map(Secret::expose),
            };
            Arc::new(AwsKms::new(settings, reach(config), clock.clone())?)
        }
    })
}

/// The keys as a dependency: work goes on while they are not renewed, but not for ever.
pub(super) fn dependency(process: &Process) -> Dependency {
    let subjects = process.subjects.clone();
    Dependency::optional("keys", move || {
        let trouble = subjects.status().trouble;
        async move { trouble.map_or(Ok(()), Err) }
    })
}

/// Randomness of the operating system.
#[expect(clippy::expect_used, reason = "without the system's randomness no key can be made, and none must")]
fn random() -> Random {
    use rand::TryRngCore as _;
    Arc::new(|bytes| rand::rngs::OsRng.try_fill_bytes(bytes).expect("the operating system gives randomness"))
}
