//! How long it takes to erase many people: stated, not asserted.

use std::time::Duration;

use super::failing::{any, ask_for_all, erased};
use super::requests::World;
use crate::harness::{folder, succeed};

/// People who are erased unless `KIKI_PRIVACY_PEOPLE` says another number, such as 100000.
const PEOPLE: usize = 2_000;
/// People of whom a consent is known.
const AGREED_MAX: usize = 500;

#[tokio::test]
async fn many_people_are_erased_and_the_log_holds_every_one_of_them() {
    let people = std::env::var_os("KIKI_PRIVACY_PEOPLE").map_or(PEOPLE, |text| text.to_str().unwrap().parse().unwrap());
    let folder = folder();
    let world = World::start(folder.path());
    for n in 0..people.min(AGREED_MAX) {
        let agreed = serde_json::json!({"customer_id": format!("customer-{n}"), "consent_type": "marketing"});
        world.post("/consent/grant", agreed).await;
    }
    let asked = std::time::Instant::now();
    ask_for_all(&world, people).await;
    let (taken_in, carried_out) = (asked.elapsed(), std::time::Instant::now());
    while any(&world, "in_progress").await || any(&world, "identity_check").await {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(asked.elapsed() < Duration::from_secs(3_600), "it does not end");
    }
    let (whole, rest) = (asked.elapsed(), carried_out.elapsed());
    world.serving.terminate();
    let data = folder.path().join("data");
    let erased = erased(&data);
    assert_eq!(erased.len(), people, "each is told of once");
    let entries = kiki_audit::reader::entries(&data.join("audit")).unwrap();
    println!(
        "{people} people erased in {:.1} s ({:.0} a second): taken in after {:.1} s, carried out {:.1} s later; the log has {entries} entries",
        whole.as_secs_f64(),
        people as f64 / whole.as_secs_f64(),
        taken_in.as_secs_f64(),
        rest.as_secs_f64()
    );
    succeed(folder.path(), &["audit", "verify"]);
}
