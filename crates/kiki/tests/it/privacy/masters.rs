//! Master keys as operators meet them: a process whose keys are under Vault or KMS, and one that goes over from a file while
//! it serves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use kiki_store::testing::masters::{KmsStandIn, VaultStandIn};
use serde_json::{Value, json};

use crate::harness::{Http, Serving, folder, kiki};

const MARK: &str = "somebody looked into the wrong mailbox";

type Variables = Vec<(&'static str, String)>;

fn vault_of(vault: &VaultStandIn) -> (String, Variables) {
    let master = format!("vault:http://{}/transit/kiki", vault.address());
    let variables = vec![("KIKI_MASTER", master.clone()), ("VAULT_TOKEN", VaultStandIn::TOKEN.to_owned())];
    (master, variables)
}

fn kms_of(kms: &KmsStandIn) -> Variables {
    vec![
        ("KIKI_MASTER", format!("aws-kms:{}:{}", KmsStandIn::REGION, KmsStandIn::KEY)),
        ("KIKI_KMS_ENDPOINT", format!("http://{}", kms.address())),
        ("AWS_ACCESS_KEY_ID", KmsStandIn::ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", KmsStandIn::SECRET_ACCESS_KEY.to_owned()),
    ]
}

fn serve(folder: &Path, variables: &Variables) -> Serving {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Serving::shield(folder, &variables)
}

/// What a command says, and whether it succeeded.
fn run(folder: &Path, arguments: &[&str], variables: &Variables) -> (bool, String) {
    let output = kiki(folder).args(arguments).envs(variables.iter().cloned()).output().expect("kiki runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Why it does not start.
fn refused(folder: &Path, variables: &Variables) -> String {
    let (is_well, text) = run(folder, &["serve", "shield", "--free-ports"], variables);
    assert!(!is_well, "it started: {text}");
    text
}

async fn is_consenting(serving: &Serving, http: &Http) -> bool {
    let status = http.get(&serving.url("shield", "/consent/status?customer_id=ann")).await;
    status.json()["consents"]["marketing"] == true
}

async fn tell(serving: &Serving, http: &Http, path: &str, body: Value) {
    let answer = http.post(&serving.url("shield", path), &body).await;
    assert!(answer.status.is_success(), "{path}: {:?}", answer.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_known_again_only_with_the_master_that_their_keys_are_under() {
    let (vault, kms) = (VaultStandIn::start(), KmsStandIn::start(""));
    let away = |is_away: bool| {
        vault.set_away(is_away);
        kms.set_away(is_away);
    };
    for (variables, wrong) in [
        (vault_of(&vault).1, ("VAULT_TOKEN", "s.another".to_owned())),
        (kms_of(&kms), ("AWS_SECRET_ACCESS_KEY", "another".to_owned())),
    ] {
        let (folder, http) = (folder(), Http::new());
        let serving = serve(folder.path(), &variables);
        tell(&serving, &http, "/consent/grant", json!({"customer_id": "ann", "consent_type": "marketing"})).await;
        away(true);
        tell(&serving, &http, "/consent/grant", json!({"customer_id": "bob", "consent_type": "marketing"})).await;
        assert!(is_consenting(&serving, &http).await, "what is in memory goes on");
        serving.terminate();
        assert!(refused(folder.path(), &variables).contains("does not answer"));
        away(false);
        let with_wrong = variables.iter().cloned().chain([wrong]).collect();
        assert!(refused(folder.path(), &with_wrong).contains("refuses"));
        assert!(refused(folder.path(), &Vec::new()).contains("personal data cannot be read"));
        let serving = serve(folder.path(), &variables);
        assert!(is_consenting(&serving, &http).await);
        serving.terminate();
    }
}

/// Asks about people again and again; whether each answer was right.
fn traffic(serving: &Serving, http: &Http, is_over: &Arc<AtomicBool>) -> tokio::task::JoinHandle<(u32, u32)> {
    let (known, new) =
        (serving.url("shield", "/consent/status?customer_id=ann"), serving.url("shield", "/consent/grant"));
    let (http, is_over) = (http.clone(), is_over.clone());
    tokio::spawn(async move {
        let (mut asked, mut failed) = (0, 0);
        while !is_over.load(Ordering::SeqCst) {
            let status = http.get(&known).await;
            let body = json!({"customer_id": format!("person-{asked}"), "consent_type": "analytics"});
            let granted = http.post(&new, &body).await;
            let is_right = status.json()["consents"]["marketing"] == true && granted.status == StatusCode::OK;
            asked += 1;
            failed += u32::from(!is_right);
        }
        (asked, failed)
    })
}

/// Does `work` under traffic, none of which may fail.
async fn under_traffic<T>(serving: &Serving, http: &Http, work: impl FnOnce() -> T) -> T {
    let is_over = Arc::<AtomicBool>::default();
    let asking = traffic(serving, http, &is_over);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let done = tokio::task::block_in_place(work);
    tokio::time::sleep(Duration::from_millis(300)).await;
    is_over.store(true, Ordering::SeqCst);
    let (asked, failed) = asking.await.unwrap();
    assert!(asked > 0 && failed == 0, "{failed} of {asked} failed");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_over_from_a_file_to_vault_while_requests_are_answered() {
    let (folder, http, vault) = (folder(), Http::new(), VaultStandIn::start());
    let (to, with_vault) = vault_of(&vault);
    // The command reaches Vault while the file is still what is configured.
    let token = with_vault[1..].to_vec();
    let serving = serve(folder.path(), &Vec::new());
    tell(&serving, &http, "/consent/grant", json!({"customer_id": "ann", "consent_type": "marketing"})).await;
    let breach = json!({"nature": ["confidentiality"], "risk": "unlikely", "facts": MARK});
    tell(&serving, &http, "/v1/breaches", breach).await;
    let go = |variables: &Variables| run(folder.path(), &["keys", "move", "--to", &to], variables);
    let (is_well, told) = under_traffic(&serving, &http, || go(&token)).await;
    assert!(is_well, "{told}");
    serving.terminate();

    let serving = serve(folder.path(), &with_vault);
    let (is_well, told) = under_traffic(&serving, &http, || go(&with_vault)).await;
    assert!(is_well && told.contains("only vault:transit/kiki"), "{told}");
    let rotated = under_traffic(&serving, &http, || {
        (0..2).map(|_| run(folder.path(), &["keys", "rotate", "--now"], &with_vault)).collect::<Vec<_>>()
    });
    for (is_well, told) in rotated.await {
        assert!(is_well, "{told}");
    }
    serving.terminate();

    std::fs::remove_file(folder.path().join("data/keys/master.key")).unwrap();
    assert!(refused(folder.path(), &Vec::new()).contains("personal data cannot be read"));
    let serving = serve(folder.path(), &with_vault);
    assert!(is_consenting(&serving, &http).await);
    let breaches = http.get(&serving.url("shield", "/v1/breaches")).await.json();
    assert_eq!(breaches["breaches"][0]["facts"], MARK);
    serving.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn vault_forgets_what_a_destroyed_epoch_was_under() {
    let (folder, http, vault) = (folder(), Http::new(), VaultStandIn::start());
    let (_, variables) = vault_of(&vault);
    let serving = serve(folder.path(), &variables);
    tell(&serving, &http, "/consent/grant", json!({"customer_id": "ann", "consent_type": "marketing"})).await;
    serving.terminate();
    let ring = folder.path().join("data/keys/ring.json");
    let first: Value = serde_json::from_slice(&std::fs::read(&ring).unwrap()).unwrap();
    let versions = vault.versions();
    for _ in 0..2 {
        let (is_well, told) = run(folder.path(), &["keys", "rotate", "--now"], &variables);
        assert!(is_well, "{told}");
    }
    let (is_well, told) = run(folder.path(), &["keys", "status"], &variables);
    assert!(is_well && told.contains("vault:transit/kiki"), "{told}");
    let oldest = first["epochs"][0]["n"].as_u64().unwrap().to_string();
    let (is_well, told) = run(folder.path(), &["keys", "destroy", "--epoch", &oldest], &variables);
    assert!(is_well, "{told}");
    assert!(vault.versions().iter().all(|version| !versions.contains(version)), "{:?}", vault.versions());
    let serving = serve(folder.path(), &variables);
    assert!(is_consenting(&serving, &http).await, "who lives was put into a later epoch");
    serving.terminate();
}
