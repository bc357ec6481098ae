//! Stories of consent on both databases, with a clock that is turned.

mod confirming;
mod following;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kiki_kit::clock::{Clock as _, ManualClock};
use kiki_kit::problem::Problem;
use kiki_kit::shutdown::Tasks;
use kiki_spend::{Command, Digest, Outcome, Owner, OwnerError, Settings};
use kiki_store::outbox;
use kiki_store::personal::{Cause, Cutoffs, Mint, PersonalStore as _, Stores};
use kiki_store::testing::{People, RandomIds, TestDb, on_both};
use kiki_types::event::AuditEvent;
use kiki_types::{Bar, Channel, Money, Principal, Purpose, TenantId, UnixMillis};
use tempfile::TempDir;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::confirm::MAIL_TOPIC;
use super::gpc::Gpc;
use super::model::{Act, CONFIRM_MS, OPT_OUT_MS, State};
use super::service::{Lift, Made, Wanted};
use super::{ConsentStore, repo};
use crate::error::ShieldError;
use crate::service::Ask;
use crate::{Caller, Pseudonyms, Seed, Shield};

const NOW: UnixMillis = UnixMillis(1_770_287_400_000);
const NO: Gpc = Gpc(false);
const YES: Gpc = Gpc(true);
const DAY: Duration = Duration::from_secs(86_400);

struct World {
    shield: Shield,
    clock: Arc<ManualClock>,
    // The governor's thread, and the folders of the log and of the keys.
    _owner: Owner,
    _folder: TempDir,
    _people: People,
}

fn random() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(rand::random())
}

fn caller(tenant: &str) -> Caller {
    Caller { principal: Arc::new(Principal::service(tenant.parse().unwrap(), "tester")), network: String::new() }
}

fn wanted(customer: &str) -> Wanted {
    Wanted::of(customer.to_owned(), Purpose::Marketing, Channel::Any)
}

fn sharing(customer: &str) -> Wanted {
    Wanted::of(customer.to_owned(), Purpose::DataSharing, Channel::Any)
}

impl World {
    async fn new(db: &TestDb) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let people = People::with_clock(&db.store, clock.clone()).await;
        let wall = clock.clone();
        let settings = Settings {
            data: folder.path().to_owned(),
            origin: "kiki.local/test".to_owned(),
            retention_days: 30,
            clock: Arc::new(move || wall.now()),
            ids: Arc::new(RandomIds),
            key_seed: random,
        };
        let owner = tokio::task::spawn_blocking(|| Owner::start(settings)).await.unwrap().unwrap();
        let shield = Shield::new(Seed {
            governor: owner.handle(),
            store: db.store.clone(),
            subjects: people.clone(),
            pseudonyms: Pseudonyms::new(b"key"),
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            currency: "USD".parse().unwrap(),
            audit: folder.path().join("audit"),
            keys: folder.path().join("keys"),
            origin: "kiki.local/test".into(),
            policies: crate::policy::Policies::default(),
            consent_days: 0,
            random,
            tasks: Tasks::default(),
        });
        Self { shield, clock, _owner: owner, _folder: folder, _people: people }
    }

    /// Each act has a time of its own.
    async fn give(&self, wanted: Wanted) -> Result<Made, ShieldError> {
        self.clock.advance(Duration::from_millis(1));
        self.shield.give_consent(&caller("a"), wanted, NO).await
    }

    async fn revoke(&self, wanted: Wanted) -> Made {
        self.clock.advance(Duration::from_millis(1));
        self.shield.revoke_consent(&caller("a"), wanted, NO).await.unwrap()
    }

    async fn stands(&self, customer: &str, purpose: Purpose, channel: Channel) -> bool {
        self.shield.stands(&"a".parse().unwrap(), customer, purpose, channel).await.unwrap().0
    }

    async fn acts(&self, customer: &str) -> Vec<(Act, State)> {
        let history = self.shield.consent_history(&"a".parse().unwrap(), customer, None, 100).await.unwrap();
        history.into_iter().map(|(record, _)| (record.act, record.state)).collect()
    }

    /// The token that was mailed for a record.
    async fn token(&self, id: Uuid) -> String {
        let mail = self.shield.confirmation(&"a".parse().unwrap(), id).await.unwrap().unwrap();
        assert_eq!(mail.who.name(), "ann");
        mail.token.to_string()
    }

    async fn confirm(&self, tenant: &str, token: &str) -> Result<Made, ShieldError> {
        self.shield.confirm_consent(&caller(tenant), token, None, NO).await
    }
}

#[tokio::test]
async fn what_is_to_be_confirmed_stands_once_its_token_came_back_in_time() {
    on_both(async |db| {
        let world = World::new(db).await;
        let ask = || Wanted { double_opt_in: true, ..wanted("ann") };
        let made = world.give(ask()).await.unwrap();
        assert_eq!((made.record.state, made.record.entry), (State::Awaiting, None));
        let stands = async || world.stands("ann", Purpose::Marketing, Channel::Email).await;
        assert!(!stands().await);
        let mails = outbox::pending(&db.store, MAIL_TOPIC, 10).await.unwrap();
        assert_eq!(mails[0].event.payload, format!(r#"{{"kind":"consent_confirm","record":"{}"}}"#, made.record.id));

        let token = world.token(made.record.id).await;
        let mut guess = token.clone().into_bytes();
        guess[30] ^= 1;
        let guess = String::from_utf8(guess).unwrap();
        for (tenant, token) in [("b", token.as_str()), ("a", &guess), ("a", ""), ("a", "x"), ("a", &token[1..])] {
            let refused = world.confirm(tenant, token).await;
            assert!(matches!(refused, Err(ShieldError::NotFound(_))), "{tenant} {token}: {refused:?}");
        }
        assert!(!stands().await);
        let confirmed = world.confirm("a", &token).await.unwrap();
        assert_eq!(confirmed.record.state, State::Standing);
        assert!(confirmed.record.entry.is_some() && stands().await);
        assert!(matches!(world.confirm("a", &token).await, Err(ShieldError::NotFound(_))), "it is used up");

        world.revoke(wanted("ann")).await;
        let late = world.give(ask()).await.unwrap().record.id;
        let token = world.token(late).await;
        world.clock.advance(Duration::from_millis(CONFIRM_MS as u64 + 1));
        assert!(matches!(world.confirm("a", &token).await, Err(ShieldError::NotFound(_))));
        let taken_back = world.give(ask()).await.unwrap().record.id;
        let token = world.token(taken_back).await;
        world.revoke(wanted("ann")).await;
        assert!(matches!(world.confirm("a", &token).await, Err(ShieldError::NotFound(_))));
        assert!(!stands().await);
    })
    .await;
}

#[tokio::test]
async fn the_latest_word_about_a_channel_or_about_all_counts_until_it_ends() {
    on_both(async |db| {
        let world = World::new(db).await;
        let stands = async |channel| world.stands("ann", Purpose::Marketing, channel).await;
        let by = |channel| Wanted { channel, ..wanted("ann") };
        world.give(by(Channel::Email)).await.unwrap();
        assert!(stands(Channel::Email).await && !stands(Channel::Sms).await && !stands(Channel::Any).await);
        world.give(by(Channel::Any)).await.unwrap();
        world.revoke(by(Channel::Sms)).await;
        assert!(stands(Channel::Email).await && !stands(Channel::Sms).await && stands(Channel::Any).await);
        world.revoke(by(Channel::Any)).await;
        assert!(!stands(Channel::Email).await);
        world.give(Wanted { until: Some(NOW.plus(10_000)), ..by(Channel::Email) }).await.unwrap();
        world.clock.advance(Duration::from_secs(9));
        assert!(stands(Channel::Email).await);
        world.clock.advance(Duration::from_secs(1));
        assert!(!stands(Channel::Email).await, "it ended by itself");
        let past = Wanted { until: Some(NOW), ..by(Channel::Email) };
        assert!(matches!(world.give(past).await, Err(ShieldError::Invalid { field: "expires_at", .. })));
        let tenant: TenantId = "b".parse().unwrap();
        assert!(!world.shield.stands(&tenant, "ann", Purpose::Marketing, Channel::Email).await.unwrap().0);
        assert_eq!(world.shield.consent_history(&tenant, "ann", None, 9).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_signal_bars_sale_until_the_customer_asks_otherwise() {
    on_both(async |db| {
        let world = World::new(db).await;
        let a = caller("a");
        world.give(sharing("ann")).await.unwrap();
        let (entry, bars) = world.shield.heed_signal(&a, "ann", YES).await.unwrap();
        assert_eq!((entry.is_some(), bars), (true, vec![Bar::DoNotSell]));
        assert_eq!(world.shield.heed_signal(&a, "ann", YES).await.unwrap().0, None, "it stands already");
        assert!(!world.stands("ann", Purpose::DataSharing, Channel::Any).await);
        let refused = |answer: Result<Made, ShieldError>, what: &str| {
            let is = match &answer {
                Err(ShieldError::Barred(Bar::DoNotSell)) => "barred",
                Err(ShieldError::Invalid { field, .. }) => *field,
                _ => "taken",
            };
            assert_eq!(is, what, "{answer:?}");
        };
        world.give(wanted("ann")).await.unwrap();
        refused(world.give(sharing("ann")).await, "barred");
        assert_eq!(
            world.shield.heed_signal(&a, "ann", NO).await.unwrap().1,
            [Bar::DoNotSell],
            "silence takes nothing back"
        );
        let lift = Lift { wanted: true, at_their_request: false };
        refused(world.give(Wanted { lift, ..sharing("ann") }).await, "evidence");
        let evidence = Some("asked by phone".to_owned());
        refused(world.give(Wanted { lift, evidence: evidence.clone(), ..sharing("ann") }).await, "at_their_request");
        let asked = Lift { at_their_request: true, ..lift };
        let with_signal = Wanted { lift: asked, evidence: evidence.clone(), ..sharing("ann") };
        refused(world.shield.give_consent(&a, with_signal.clone(), YES).await, "barred");
        let unconfirmed = Wanted { double_opt_in: true, ..with_signal.clone() };
        let answer = world.give(unconfirmed).await;
        assert!(matches!(answer, Err(ShieldError::Invalid { field: "lift", .. })), "{answer:?}");
        let (_, bars) = world.shield.heed_signal(&a, "ann", NO).await.unwrap();
        assert_eq!(bars, [Bar::DoNotSell], "nobody has confirmed");
        world.give(with_signal).await.unwrap();
        assert!(world.stands("ann", Purpose::DataSharing, Channel::Any).await);

        world.shield.heed_signal(&a, "ann", YES).await.unwrap();
        world.clock.advance(Duration::from_millis(OPT_OUT_MS as u64 + 1));
        world.give(Wanted { lift, evidence, ..sharing("ann") }).await.unwrap();
        assert!(world.stands("ann", Purpose::DataSharing, Channel::Any).await, "after a year they may be asked");

        world.shield.heed_signal(&a, "ann", YES).await.unwrap();
        let who = world.shield.somebody(&a.principal.tenant, "ann").await.unwrap();
        world.shield.bar(&a, &who, Bar::Restricted, true).await.unwrap();
        let also = Wanted { lift: asked, evidence: Some("x".to_owned()), ..sharing("ann") };
        assert!(matches!(world.give(also).await, Err(ShieldError::Barred(Bar::Restricted))));
        let standing = world.shield.standing(&a.principal.tenant, "ann").await.unwrap();
        assert!(standing.bars.contains(&Bar::DoNotSell), "who is refused has lost nothing: {standing:?}");
        let lifted = Wanted { lift: asked, evidence: Some("x".to_owned()), ..wanted("ann") };
        assert!(matches!(world.give(lifted).await, Err(ShieldError::Barred(Bar::Restricted))));
        world.shield.forget(&a, &[Digest(who.pseudonym)]).await.unwrap();
        assert!(!world.stands("ann", Purpose::Marketing, Channel::Any).await);
        let subject = Digest(who.pseudonym);
        assert_eq!(world.shield.0.governor.read(move |state| state.bars(subject)).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_counts_what_a_run_removes_and_what_stands_stays() {
    on_both(async |db| {
        let world = World::new(db).await;
        let tenant: TenantId = "a".parse().unwrap();
        world.give(Wanted { evidence: Some("form 7".to_owned()), ..wanted("ann") }).await.unwrap();
        world.give(Wanted { until: Some(NOW.plus(1_000)), ..sharing("ann") }).await.unwrap();
        world.give(wanted("bob")).await.unwrap();
        world.clock.advance(DAY);
        world.revoke(wanted("bob")).await;
        world.give(Wanted { double_opt_in: true, ..wanted("eve") }).await.unwrap();
        world.clock.advance(10 * DAY);
        let now = world.clock.now();
        let store = ConsentStore::new(db.store.clone());
        let who = world.shield.somebody(&tenant, "ann").await.unwrap();
        let exported = store.export(&who).await.unwrap();
        assert_eq!((exported[0].rows.len(), &exported[0].rows[0]["evidence"]), (2, &"form 7".into()));
        for (cutoff, over) in [(NOW, 0), (NOW.plus(500), 0), (now, 4)] {
            let cutoffs = Cutoffs { now, sessions: cutoff, marketing: cutoff, customers: cutoff, audit: cutoff };
            let dry = store.expire(&tenant, &cutoffs, 1, true).await.unwrap();
            assert_eq!(dry.rows, over, "{cutoff:?}");
            let mut removed = 0;
            while let 1.. = {
                let one = store.expire(&tenant, &cutoffs, 1, false).await.unwrap().rows;
                removed += one;
                one
            } {}
            assert_eq!(removed, over);
        }
        assert_eq!(world.acts("ann").await, [(Act::Grant, State::Standing)]);
        assert_eq!((world.acts("bob").await, world.acts("eve").await), (vec![], vec![]));
        world.shield.0.subjects.destroy(&tenant, &[who.id], Cause::Request, "").await.unwrap();
        let cutoffs = Cutoffs { now, sessions: NOW, marketing: NOW, customers: NOW, audit: NOW };
        assert_eq!(store.expire(&tenant, &cutoffs, 9, true).await.unwrap().rows, 1, "it is about nobody now");
        assert_eq!(store.expire(&tenant, &cutoffs, 9, false).await.unwrap().rows, 1);
    })
    .await;
}

/// What names a customer who was asked about within the last minute is decided without SQL; nothing is decided about one
/// who would have to be looked up.
#[tokio::test]
async fn a_known_customer_is_decided_about_while_the_database_is_away() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db).await;
    world.give(wanted("ann")).await.unwrap();
    let ask = |customer: &str| Ask {
        customer_id: Some(customer.to_owned()),
        purpose: Some(Purpose::Marketing),
        ..Ask::of("growth".to_owned(), Money::new(1, "USD".parse().unwrap()))
    };
    let outcome = async |customer| {
        let decided = world.shield.judge_and_authorize(&caller("a"), &ask(customer)).await;
        decided.map(|decided| decided.decision.outcome)
    };
    assert_eq!(outcome("ann").await.unwrap(), Outcome::Held);
    db.store.close().await;
    assert_eq!(outcome("ann").await.unwrap(), Outcome::Held);
    let revoked = world.shield.revoke_consent(&caller("a"), wanted("ann"), NO).await.unwrap();
    assert!(revoked.record.entry.is_some(), "taken back, whatever SQL does");
    assert!(matches!(outcome("ann").await.unwrap(), Outcome::Denied { .. }));
    let unknown = outcome("bob").await;
    assert!(matches!(unknown, Err(ShieldError::Store(_))), "{unknown:?}");
    assert_eq!(Problem::from(unknown.unwrap_err()).status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_text_is_kept_word_by_word_and_named_by_what_was_agreed_to() {
    on_both(async |db| {
        let world = World::new(db).await;
        let a = caller("a");
        let put = async |text: &str| world.shield.put_consent_text(&a, "v1", Purpose::Marketing, text.to_owned()).await;
        let kept = put("We write to you.").await.unwrap();
        assert_eq!(put("We write to you.").await.unwrap(), kept);
        assert!(matches!(put("We write to you daily.").await, Err(ShieldError::TextDiffers)));
        let other: TenantId = "b".parse().unwrap();
        assert!(world.shield.consent_text(&other, "v1").await.is_err(), "it is another tenant's");
        let on = |version: &str| Wanted { text_version: version.to_owned(), ..wanted("ann") };
        world.give(on("v1")).await.unwrap();
        for (wanted, field) in
            [(on("v2"), "text_version"), (Wanted { text_version: "v1".to_owned(), ..sharing("ann") }, "text_version")]
        {
            assert!(matches!(world.give(wanted).await, Err(ShieldError::Invalid { field: is, .. }) if is == field));
        }
    })
    .await;
}
