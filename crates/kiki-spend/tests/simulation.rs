//! The owner's work on a disk that fails: batches are decided, crashes fall on any write, the log is opened again, and
//! clients send again what they have no answer to. One thread, one seed.
//!
//! Expected after every recovery: what was answered is in the log in its order, with its outcome; beyond it at most
//! what was decided and not answered; the state is what these commands give, no limit overspent and nothing held that
//! should not be. `KIKI_SEED` sets the first seed, `KIKI_STORIES` how many.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kiki_audit::simulation::{Crash, SimDisk};
use kiki_audit::{DeriveOptions, Deriver, Disk, LogKey, Reader};
use kiki_spend::Settings;
use kiki_spend::shard::Shard;
use support::compare::{self, Pair, agrees, told};
use support::dice::Dice;
use support::generator::Generator;
use support::reference::{Command, Outcome, Reference};
use support::shard::{draft, settings};

const STORIES: u64 = 5;
const ROUNDS: usize = 16;
const BATCHES: usize = 10;

/// A decision that is to be an entry.
#[derive(Clone)]
struct Decided {
    at: i64,
    command: Command,
    outcome: Outcome,
}

struct World {
    seed: u64,
    dice: Dice,
    disk: SimDisk,
    settings: Settings,
    clock: Arc<AtomicI64>,
    generator: Generator,
    /// What the state must be: that of the entries, and of the batch that is being made.
    reference: Reference,
    /// What the log must hold, the first `answered` of them for certain.
    decided: Vec<Decided>,
    answered: usize,
    /// Commands whose senders have no answer.
    unanswered: Vec<Command>,
}

impl World {
    fn new(seed: u64, data: &Path) -> Self {
        let clock = Arc::new(AtomicI64::new(0));
        let settings = settings(data, &clock);
        Self {
            seed,
            dice: Dice(seed ^ 0xd15c),
            disk: SimDisk::new(seed),
            settings,
            clock,
            generator: Generator::new(seed),
            reference: Reference::default(),
            decided: Vec::new(),
            answered: 0,
            unanswered: Vec::new(),
        }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    /// Opens the shard as its owner does: the deriver signs before the first entry is appended.
    fn open(&mut self) -> Option<(Shard, Deriver)> {
        let audit = self.settings.data.join("audit");
        let shard = Shard::open_on(&self.disk(), &self.settings);
        let shard = shard.map_err(|error| self.allow(&format!("{error:?}"))).ok()?;
        let key =
            LogKey::open_or_create(&self.settings.data.join("keys"), &self.settings.origin, self.settings.key_seed)
                .unwrap();
        let options = DeriveOptions { retention_days: 1, entries_per_step: 100 };
        let deriver = Deriver::open_on(self.disk(), &audit, key, options);
        let deriver = deriver.map_err(|error| self.allow(&format!("{error:?}"))).ok()?;
        self.recover(shard.entries())?;
        Some((shard, deriver))
    }

    /// A disk that fails is no difference.
    fn allow(&self, error: &str) {
        assert!(!error.contains("Different") && !error.contains("Fold"), "seed {}: {error}", self.seed);
    }

    /// The log holds what was answered, and the reference follows it again.
    fn recover(&mut self, len: u64) -> Option<()> {
        let found = usize::try_from(len).unwrap();
        let seed = self.seed;
        assert!(found >= self.answered, "seed {seed}: {found} entries, {} were answered", self.answered);
        assert!(found <= self.decided.len(), "seed {seed}: {found} entries, {} were decided", self.decided.len());
        let mut reader = Reader::open_on(&self.disk(), &self.settings.data.join("audit"), 0, len).ok()?;
        let mut reference = Reference::default();
        for decided in &self.decided[..found] {
            let entry = reader.next_record().ok()??.entry().unwrap();
            let body: serde_json::Value = serde_json::from_str(entry.body.unwrap().get()).unwrap();
            assert_eq!(body["cmd"], serde_json::to_value(told(&decided.command)).unwrap(), "seed {seed}");
            let outcome: kiki_spend::Outcome = serde_json::from_value(body["out"].clone()).unwrap();
            assert!(agrees(&outcome, &decided.outcome), "seed {seed}: {outcome:?}, answered {:?}", decided.outcome);
            assert_eq!(reference.apply(decided.at, &decided.command), decided.outcome, "seed {seed}");
        }
        // What was decided and did not reach the disk never was.
        self.decided.truncate(found);
        self.answered = found;
        self.reference = reference;
        Some(())
    }

    fn next(&mut self) -> Command {
        if !self.unanswered.is_empty() && self.dice.one_in(2) {
            let at = self.dice.below(self.unanswered.len());
            return self.unanswered.swap_remove(at);
        }
        let (at, command) = self.generator.next();
        self.clock.store(at, Ordering::Relaxed);
        command
    }

    /// Decides and writes batches until the disk fails; whether it did not.
    fn serve(&mut self, shard: &mut Shard, deriver: Deriver) -> bool {
        let mut deriver = Some(deriver);
        for _ in 0..BATCHES {
            let mut sent = Vec::new();
            for _ in 0..=self.dice.below(6) {
                let command = self.next();
                self.decide(shard, &command);
                sent.push(command);
            }
            if shard.commit().is_err() {
                self.unanswered.append(&mut sent);
                return false;
            }
            self.answered = self.decided.len();
            if self.dice.one_in(6) {
                deriver = deriver.and_then(|mut deriver| match deriver.advance(shard.entries()) {
                    Ok(_) => Some(deriver),
                    Err(error) => {
                        self.allow(&format!("{error:?}"));
                        None
                    }
                });
            }
        }
        true
    }

    fn decide(&mut self, shard: &mut Shard, command: &Command) {
        let at = shard.now();
        let expected = self.reference.apply(at, command);
        let (applied, index) = shard.decide(&told(command), draft()).unwrap();
        let seed = self.seed;
        assert!(agrees(&applied.outcome, &expected), "seed {seed}: {command:?}: {:?}, {expected:?}", applied.outcome);
        self.generator.heard(command, &expected);
        if let Some(index) = index {
            assert_eq!(usize::try_from(index).unwrap(), self.decided.len(), "seed {seed}");
            self.decided.push(Decided { at, command: command.clone(), outcome: expected });
        }
    }

    fn plan_fault(&mut self) {
        match self.dice.below(8) {
            0 => {}
            1 => self.disk.leave_room(self.dice.below(6_000)),
            2 => self.disk.fail_syncs(1),
            _ => self.disk.crash_after(self.dice.next() % 40),
        }
    }

    fn restart(&mut self) {
        let crash = if self.dice.one_in(4) { Crash::Process } else { Crash::Power };
        self.disk.restart(crash);
        self.disk.leave_room(1 << 30);
    }

    /// The sums of the state are those of the reference, and in the end nothing is held.
    fn finish(mut self, shard: Shard) {
        let mut pair = Pair::of(shard.state, std::mem::take(&mut self.reference));
        let seed = self.seed;
        pair.check_sums(None).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        pair.check_leaks().unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

fn story(seed: u64, data: &Path) {
    let mut world = World::new(seed, data);
    for _ in 0..ROUNDS {
        world.plan_fault();
        if let Some((mut shard, deriver)) = world.open() {
            world.serve(&mut shard, deriver);
        }
        world.restart();
    }
    let (mut shard, deriver) = world.open().unwrap_or_else(|| panic!("seed {seed}: nothing fails any more"));
    assert!(world.serve(&mut shard, deriver), "seed {seed}: nothing fails any more");
    drop(shard);
    let (shard, _) = world.open().unwrap();
    world.finish(shard);
}

#[test]
fn what_was_answered_stands_after_any_crash() {
    let first = compare::given("KIKI_SEED", 1);
    let data = tempfile::tempdir().unwrap();
    for seed in first..first + compare::given("KIKI_STORIES", STORIES) {
        story(seed, data.path());
    }
}

#[test]
fn a_crash_at_any_operation_leaves_what_was_answered() {
    let data = tempfile::tempdir().unwrap();
    for point in 0.. {
        let mut world = World::new(7, data.path());
        world.disk.crash_after(point);
        if let Some((mut shard, deriver)) = world.open() {
            world.serve(&mut shard, deriver);
        }
        let has_crashed = world.disk.is_down();
        world.disk.restart(Crash::Power);
        let (mut shard, deriver) = world.open().unwrap();
        assert!(world.serve(&mut shard, deriver), "operation {point}");
        drop(shard);
        let (shard, _) = world.open().unwrap();
        world.finish(shard);
        if !has_crashed {
            assert!(point > 30);
            break;
        }
    }
}
