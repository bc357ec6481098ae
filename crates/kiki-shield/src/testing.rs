//! A shield for the tests of this crate: a governor with a log of its own, the keys of people, a clock that is turned.

use std::sync::Arc;

use kiki_kit::clock::{Clock as _, ManualClock};
use kiki_kit::shutdown::Tasks;
use kiki_spend::{Owner, Settings};
use kiki_store::Store;
use kiki_store::personal::Subjects;
use kiki_store::testing::{People, RandomIds, TestDb};
use kiki_types::{Principal, UnixMillis};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::{Caller, Pseudonyms, Seed, Shield};

/// When the clock stands still at first.
pub(crate) const NOW: UnixMillis = UnixMillis(1_770_287_400_000);

/// All of it.
pub(crate) struct World {
    pub(crate) shield: Shield,
    pub(crate) store: Store,
    pub(crate) subjects: Subjects,
    pub(crate) clock: Arc<ManualClock>,
    // The governor's thread, and the folders of the log and of the keys.
    _owner: Owner,
    _people: People,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn new(db: &TestDb) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let people = People::with_clock(&db.store, clock.clone()).await;
        let subjects = Subjects::clone(&people);
        let time = clock.clone();
        let settings = Settings {
            data: folder.path().to_owned(),
            origin: "kiki.local/test".to_owned(),
            retention_days: 2555,
            clock: Arc::new(move || time.now()),
            ids: Arc::new(RandomIds),
            key_seed: random,
        };
        let owner = Owner::start(settings).unwrap();
        let shield = Shield::new(Seed {
            governor: owner.handle(),
            store: db.store.clone(),
            subjects: subjects.clone(),
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
        let store = db.store.clone();
        Self { shield, store, subjects, clock, _owner: owner, _people: people, _folder: folder }
    }
}

impl World {
    /// What the clock shows.
    pub(crate) fn clock_now(&self) -> UnixMillis {
        self.clock.now()
    }
}

fn random() -> Zeroizing<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::Rng::fill(&mut rand::rng(), &mut bytes);
    bytes.into()
}

/// The operator of `tenant`.
pub(crate) fn caller(tenant: &str) -> Caller {
    let tenant = tenant.parse().unwrap();
    Caller { principal: Arc::new(Principal { tenant, ..Principal::local_operator() }), network: String::new() }
}
