//! The same story of every master, told against services that really encrypt, and what is peculiar to those over HTTP.
//!
//! `KIKI_TEST_VAULT=https://host:8200/MOUNT/NAME#TOKEN` tells it of a real Vault too. Its key is rotated and trimmed.

use std::sync::Arc;

use http::Uri;
use kiki_kit::clock::SystemClock;
use kiki_kit::egress::Reach;

use super::*;
use crate::testing::masters::{KmsStandIn, VaultStandIn};
use crate::testing::secure_random;

const AAD: &str = "kiki/ring/0f6f6ad2-6c1c-4f6e-9c0e-2f5b0d9d5a11/epoch/7";
const SECRET: [u8; 32] = [7; 32];

fn vault_as(stand_in: &VaultStandIn, token: &str, namespace: Option<&str>) -> VaultTransit {
    let origin: Uri = format!("http://{}/", stand_in.address()).parse().unwrap();
    let settings = VaultSettings { origin: &origin, mount: "transit", key: "kiki", token, namespace };
    VaultTransit::new(settings, Reach::Loopback).unwrap()
}

fn vault(stand_in: &VaultStandIn) -> VaultTransit {
    vault_as(stand_in, VaultStandIn::TOKEN, None)
}

fn kms_as(stand_in: &KmsStandIn, secret: &str, session_token: Option<&str>) -> AwsKms {
    let endpoint: Uri = format!("http://{}", stand_in.address()).parse().unwrap();
    let settings = KmsSettings {
        region: KmsStandIn::REGION,
        key: KmsStandIn::KEY,
        endpoint: Some(&endpoint),
        access_key_id: KmsStandIn::ACCESS_KEY_ID,
        secret_access_key: secret,
        session_token,
    };
    AwsKms::new(settings, Reach::Loopback, Arc::new(SystemClock::new())).unwrap()
}

fn kms(stand_in: &KmsStandIn) -> AwsKms {
    kms_as(stand_in, KmsStandIn::SECRET_ACCESS_KEY, None)
}

fn is_refused<T>(answer: &Result<T, MasterError>) -> bool {
    matches!(answer, Err(MasterError::Refused { .. }))
}

fn is_unavailable<T>(answer: &Result<T, MasterError>) -> bool {
    matches!(answer, Err(MasterError::Unavailable { .. }))
}

/// What every master keeps.
async fn wraps_and_unwraps(master: &dyn MasterKey) {
    let wrapped = master.wrap(AAD, &SECRET).await.unwrap();
    assert_eq!(*master.unwrap(AAD, &wrapped).await.unwrap(), SECRET);
    assert!(is_refused(&master.unwrap("kiki/ring/x/epoch/7", &wrapped).await), "another context");
    let again = master.wrap(AAD, &SECRET).await.unwrap();
    assert_ne!(wrapped.blob, again.blob, "the same secret is never wrapped to the same text");
    let mut damaged = wrapped.clone();
    let last = damaged.blob.trim_end_matches('=').len() - 3;
    let other = if &damaged.blob[last..=last] == "A" { "B" } else { "A" };
    damaged.blob.replace_range(last..=last, other);
    assert!(is_refused(&master.unwrap(AAD, &damaged).await), "a damaged one");
    master.renew().await.unwrap();
    assert_eq!(*master.unwrap(AAD, &wrapped).await.unwrap(), SECRET, "after it was renewed");
}

#[tokio::test]
async fn every_master_gives_back_what_it_wrapped_in_its_context_alone() {
    let folder = tempfile::tempdir().unwrap();
    wraps_and_unwraps(&LocalMaster::in_file(folder.path(), secure_random()).unwrap()).await;
    let setting = "B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6A=";
    wraps_and_unwraps(&LocalMaster::in_setting(setting, secure_random()).unwrap()).await;
    wraps_and_unwraps(&vault(&VaultStandIn::start())).await;
    wraps_and_unwraps(&kms(&KmsStandIn::start(""))).await;
    let temporary = KmsStandIn::start("FwoGZXIvYXdzEXAMPLE//token==");
    wraps_and_unwraps(&kms_as(&temporary, KmsStandIn::SECRET_ACCESS_KEY, Some("FwoGZXIvYXdzEXAMPLE//token=="))).await;
}

#[tokio::test]
async fn who_asks_with_a_wrong_token_or_signature_is_refused() {
    let (vaults, kmss) = (VaultStandIn::start(), KmsStandIn::start(""));
    assert!(is_refused(&vault_as(&vaults, "s.other", None).wrap(AAD, &SECRET).await));
    vaults.want_namespace("team");
    assert!(is_refused(&vault(&vaults).wrap(AAD, &SECRET).await), "another namespace");
    wraps_and_unwraps(&vault_as(&vaults, VaultStandIn::TOKEN, Some("team"))).await;
    let wrong = kms_as(&kmss, "not the secret", None).wrap(AAD, &SECRET).await;
    assert!(wrong.unwrap_err().to_string().contains("InvalidSignatureException"));
    assert!(is_refused(&kms_as(&kmss, KmsStandIn::SECRET_ACCESS_KEY, Some("a token")).wrap(AAD, &SECRET).await));
}

#[tokio::test]
async fn a_master_that_is_away_or_sealed_is_unavailable_and_answers_again() {
    let (vaults, kmss) = (VaultStandIn::start(), KmsStandIn::start(""));
    let (vault, kms) = (vault(&vaults), kms(&kmss));
    let in_vault = vault.wrap(AAD, &SECRET).await.unwrap();
    let in_kms = kms.wrap(AAD, &SECRET).await.unwrap();
    vaults.set_away(true);
    kmss.set_away(true);
    assert!(is_unavailable(&vault.unwrap(AAD, &in_vault).await) && is_unavailable(&vault.renew().await));
    assert!(is_unavailable(&kms.unwrap(AAD, &in_kms).await));
    vaults.set_away(false);
    kmss.set_away(false);
    vaults.set_sealed(true);
    let sealed = vault.unwrap(AAD, &in_vault).await;
    assert!(is_unavailable(&sealed) && sealed.unwrap_err().to_string().contains("Vault is sealed"));
    vaults.set_sealed(false);
    assert_eq!(*vault.unwrap(AAD, &in_vault).await.unwrap(), SECRET);
    assert_eq!(*kms.unwrap(AAD, &in_kms).await.unwrap(), SECRET);
}

#[tokio::test]
async fn what_a_trimmed_version_wrapped_is_gone_and_what_later_ones_wrapped_is_not() {
    let stand_in = VaultStandIn::start();
    let master = vault(&stand_in);
    assert!(!master.destroy_below(1).await.unwrap(), "there is nothing to forget");
    let old = master.wrap(AAD, &SECRET).await.unwrap();
    master.renew().await.unwrap();
    let new = master.wrap(AAD, &SECRET).await.unwrap();
    assert_eq!((old.key_version, new.key_version), (1, 2));
    for _ in 0..2 {
        assert!(master.destroy_below(new.key_version).await.unwrap(), "as often as it is asked");
        assert_eq!(stand_in.versions(), [2]);
    }
    assert!(is_refused(&master.unwrap(AAD, &old).await));
    assert_eq!(*master.unwrap(AAD, &new).await.unwrap(), SECRET);
    master.renew().await.unwrap();
    assert_eq!(master.wrap(AAD, &SECRET).await.unwrap().key_version, 3);
}

#[tokio::test]
async fn kms_forgets_no_version_and_says_so() {
    let stand_in = KmsStandIn::start("");
    let master = kms(&stand_in);
    let wrapped = master.wrap(AAD, &SECRET).await.unwrap();
    assert!(!master.destroy_below(9).await.unwrap());
    assert_eq!(*master.unwrap(AAD, &wrapped).await.unwrap(), SECRET);
}

#[tokio::test]
async fn a_vault_that_binds_nothing_to_its_context_is_refused() {
    let stand_in = VaultStandIn::start();
    stand_in.bind_nothing();
    let refused = vault(&stand_in).wrap(AAD, &SECRET).await;
    assert!(refused.unwrap_err().to_string().contains("binds what it wraps to no context"));
}

#[test]
fn a_master_beyond_reach_is_refused_with_the_setting_that_opens_it_and_shows_no_secret() {
    let origin: Uri = "https://10.0.0.7:8200/".parse().unwrap();
    let settings =
        VaultSettings { origin: &origin, mount: "transit", key: "kiki", token: "s.secret", namespace: Some("n") };
    let error = VaultTransit::new(settings, Reach::Loopback).unwrap_err().to_string();
    assert!(error.contains("KIKI_EGRESS_REACH"), "{error}");
    let shown = format!("{:?}", VaultTransit::new(settings, Reach::Private).unwrap());
    assert_eq!(shown, "VaultTransit(\"vault:transit/kiki\")");
    let wrong = VaultSettings { token: "line\nbreak", ..settings };
    assert!(VaultTransit::new(wrong, Reach::Private).is_err());
}

#[tokio::test]
async fn a_real_vault_does_the_same() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the test alone")]
    let Ok(place) = std::env::var("KIKI_TEST_VAULT") else { return };
    let (url, token) = place.split_once('#').expect("url#token");
    let url: Uri = url.parse().expect("a URL");
    let (mount, key) = url.path().trim_matches('/').rsplit_once('/').expect("a mount and a key");
    let authority = url.authority().expect("an absolute URL");
    let origin = format!("{}://{authority}/", url.scheme_str().unwrap_or("https")).parse().unwrap();
    let settings = VaultSettings { origin: &origin, mount, key, token, namespace: None };
    let master = VaultTransit::new(settings, Reach::Private).unwrap();
    wraps_and_unwraps(&master).await;
    let old = master.wrap(AAD, &SECRET).await.unwrap();
    master.renew().await.unwrap();
    let new = master.wrap(AAD, &SECRET).await.unwrap();
    assert!(master.destroy_below(new.key_version).await.unwrap());
    assert!(is_refused(&master.unwrap(AAD, &old).await));
    assert_eq!(*master.unwrap(AAD, &new).await.unwrap(), SECRET);
}
