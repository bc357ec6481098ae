//! Every verb from everywhere that a request can stand: where it leads, or with which code it is refused.

use std::sync::atomic::Ordering;

use kiki_kit::problem::Problem;
use kiki_store::testing::on_both;
use kiki_types::id::SubjectRequestId;
use serde_json::json;

use super::world::{World, officer, wanted};
use crate::subject::error::SubjectError;
use crate::subject::model::{Delay, Ground, Kind};
use crate::subject::repo::Request;
use crate::subject::service::NewRequest;

/// Where a request stands, with what states do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Received,
    Check,
    /// It is to be carried out.
    Due,
    /// As before, with more time.
    Extended,
    /// A store failed.
    Begun,
    /// The source is to be corrected.
    Awaits,
    Completed,
    Refused,
}

/// Verbs of every request.
const VERBS: [&str; 6] = ["code", "verify", "vouch", "extend", "refuse", "retry"];
const NO: &str = "wrong_state";

/// Where each of [`VERBS`] leads.
const EVERY: [(At, [&str; 6]); 8] = [
    (At::Received, ["received", "in_progress", "in_progress", "received", "refused", NO]),
    (At::Check, ["identity_check", "in_progress", "in_progress", "identity_check", "refused", NO]),
    (At::Due, [NO, NO, NO, "extended", "refused", "in_progress"]),
    (At::Extended, [NO, NO, NO, NO, "refused", "extended"]),
    (At::Begun, [NO, NO, NO, "extended", "request_running", "in_progress"]),
    (At::Awaits, [NO, NO, NO, "extended", "refused", "awaits_source"]),
    (At::Completed, [NO; 6]),
    (At::Refused, [NO; 6]),
];

/// A verb of one right, and where it leads from each place that such a request can stand at.
type OfOne = (&'static str, Kind, &'static [(At, &'static str)]);

const OF_ONE: [OfOne; 4] = [
    (
        "lift",
        Kind::Restriction,
        &[
            (At::Received, NO),
            (At::Check, NO),
            (At::Due, NO),
            (At::Extended, NO),
            (At::Begun, NO),
            (At::Completed, "completed"),
            (At::Refused, NO),
        ],
    ),
    (
        "corrected",
        Kind::Rectification,
        &[
            (At::Received, NO),
            (At::Check, NO),
            (At::Due, "too_early"),
            (At::Extended, "too_early"),
            (At::Begun, "too_early"),
            (At::Awaits, "completed"),
            (At::Completed, NO),
            (At::Refused, NO),
        ],
    ),
    (
        "destroy_key",
        Kind::Deletion,
        &[
            (At::Received, NO),
            (At::Check, NO),
            (At::Due, "too_early"),
            (At::Extended, "too_early"),
            (At::Begun, "in_progress"),
            (At::Completed, NO),
            (At::Refused, NO),
        ],
    ),
    (
        "export",
        Kind::Access,
        &[
            (At::Received, "not_found"),
            (At::Check, "not_found"),
            (At::Due, "not_found"),
            (At::Extended, "not_found"),
            (At::Begun, "not_found"),
            (At::Completed, "completed"),
            (At::Refused, "not_found"),
        ],
    ),
];

impl World {
    /// A request of `name`, of whom both stores hold what they compute, that stands there.
    async fn standing(&self, name: &str, kind: Kind, at: At) -> SubjectRequestId {
        self.person(name).await;
        for store in [&self.orders, &self.notes] {
            store.derives.store(true, Ordering::SeqCst);
        }
        let correction = (kind == Kind::Rectification).then(|| json!({"city": "Bonn"}).as_object().cloned().unwrap());
        let id = self.ask_with(NewRequest { correction, notify: true, ..wanted(name, kind) }).await;
        if at == At::Received {
            return id;
        }
        self.write().await;
        if matches!(at, At::Check | At::Refused) {
            if at == At::Refused {
                self.requests.refuse(&officer(), id, Ground::Unfounded).await.unwrap();
            }
            return id;
        }
        self.requests.vouch(&officer(), id).await.unwrap();
        if at == At::Extended {
            self.requests.extend(&officer(), id, Delay::Number).await.unwrap();
        }
        if matches!(at, At::Begun | At::Awaits | At::Completed) {
            self.orders.fails.store(at == At::Begun, Ordering::SeqCst);
            self.work().await;
            self.orders.fails.store(false, Ordering::SeqCst);
        }
        if at == At::Completed && kind == Kind::Rectification {
            self.verb("corrected", id).await.unwrap();
        }
        id
    }

    async fn verb(&self, verb: &str, id: SubjectRequestId) -> Result<Request, SubjectError> {
        let (requests, officer) = (&self.requests, officer());
        match verb {
            "code" => requests.send_code(&officer, id).await,
            "verify" => {
                let code = match requests.send_code(&officer, id).await {
                    Ok(_) => self.code_of(id).await,
                    Err(_) => "000000".to_owned(),
                };
                requests.verify(&officer, id, &code).await
            }
            "vouch" => requests.vouch(&officer, id).await,
            "extend" => requests.extend(&officer, id, Delay::Number).await,
            "refuse" => requests.refuse(&officer, id, Ground::Unfounded).await,
            "retry" => requests.retry(&officer, id, false).await,
            "lift" => requests.lift(&officer, id).await,
            "corrected" => requests.corrected(&officer, id, "the order log".to_owned()).await,
            "destroy_key" => requests.destroy_key(&officer, id, false).await,
            "export" => match requests.download(&officer, id).await {
                Ok(_) => Ok(self.see(id).await.request),
                Err(error) => Err(error),
            },
            _ => unreachable!("{verb}"),
        }
    }

    /// Does it, and compares where it led: what is refused changes nothing.
    async fn leads(&self, verb: &str, id: SubjectRequestId, expected: &str, what: &str) {
        let before = self.see(id).await.request;
        let answer = self.verb(verb, id).await;
        let after = self.see(id).await.request;
        match answer {
            Ok(answer) => {
                assert_eq!((answer.state.as_str(), after.state.as_str()), (expected, expected), "{what}");
            }
            Err(error) => {
                assert_eq!(Problem::from(error).code(), expected, "{what}");
                assert_eq!(after, before, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn every_verb_leads_from_everywhere_to_where_the_table_says() {
    on_both(async |db| {
        let world = World::new(db).await;
        for (at, row) in EVERY {
            for (verb, expected) in VERBS.iter().zip(row) {
                let what = format!("{verb} of what is {at:?}");
                let id = world.standing(&what, Kind::Rectification, at).await;
                world.leads(verb, id, expected, &what).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_verb_of_one_right_leads_nowhere_for_another() {
    on_both(async |db| {
        let world = World::new(db).await;
        for (verb, kind, row) in OF_ONE {
            for &(at, expected) in row {
                let what = format!("{verb} of what is {at:?}");
                let id = world.standing(&what, kind, at).await;
                world.leads(verb, id, expected, &what).await;
            }
            for &other in Kind::ALL.iter().filter(|other| **other != kind && verb != "export") {
                let what = format!("{verb} of {other}");
                let id = world.standing(&what, other, At::Received).await;
                world.leads(verb, id, "wrong_type", &what).await;
            }
        }
    })
    .await;
}
