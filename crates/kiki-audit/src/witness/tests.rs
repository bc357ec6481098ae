//! What a witness answers, and that no crash makes it cosign two histories.

use super::*;
use crate::disk::Disk;
use crate::proof::{DiskTiles, consistency};
use crate::simulation::{Crash, SimDisk};
use crate::tiles::TileWriter;
use crate::tree::{Edge, leaf_hash};

const ORIGIN: &str = "log.example/one";
const NAME: &str = "witness.example/w1";
const NOW_S: u64 = 1_770_287_400;

fn log_key() -> SignerKey {
    SignerKey::new(ORIGIN, Kind::Note, &[7; 32]).unwrap()
}

fn dir() -> &'static Path {
    Path::new("/w")
}

fn witness(disk: &SimDisk) -> Result<Witness, KeyError> {
    let logs = [log_key().verifier().clone()];
    Witness::open(Arc::new(disk.clone()), dir(), NAME, &logs, || Zeroizing::new([9; 32]))
}

/// A history of a log: its tiles in memory, and its checkpoints. Histories differ from entry `fork` on.
struct History {
    disk: SimDisk,
    edges: Vec<Edge>,
}

impl History {
    fn new(size: u64, fork: u64, branch: u8) -> Self {
        let disk = SimDisk::new(1);
        disk.create_dir(Path::new("/log")).unwrap();
        let (mut edges, mut edge) = (vec![Edge::default()], Edge::default());
        for index in 0..size {
            let branch = if index < fork { 0 } else { branch };
            edge.push(leaf_hash(&[&index.to_le_bytes()[..], &[branch]].concat()), &mut Vec::new());
            edges.push(edge.clone());
        }
        let log = crate::checkpoint::log_dir(Path::new("/log"));
        let mut writer = TileWriter::new(&disk, &log);
        edge.partials().for_each(|(tile, hashes)| writer.prepare(tile, hashes).unwrap());
        writer.publish().unwrap();
        Self { disk, edges }
    }

    fn at(&self, size: u64) -> &Edge {
        &self.edges[usize::try_from(size).unwrap()]
    }

    fn note(&self, size: u64) -> String {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: self.at(size).root() };
        log_key().sign(&checkpoint.text())
    }

    fn submission(&self, old: u64, size: u64) -> Submission {
        let newest = u64::try_from(self.edges.len() - 1).unwrap();
        let proof = consistency(&DiskTiles::new(&self.disk, Path::new("/log"), newest), old, size).unwrap();
        Submission { old, proof, note: self.note(size) }
    }

    fn submit(&self, witness: &Witness, old: u64, size: u64) -> Result<String, Refusal> {
        witness.add_checkpoint(self.submission(old, size).to_string().as_bytes(), NOW_S)
    }
}

/// The status that the protocol has for an answer.
fn status(answer: &Result<String, Refusal>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(refusal) => refusal.status(),
    }
}

#[test]
fn a_submission_is_written_as_the_specification_shows_it() {
    let history = History::new(7, 7, 0);
    let submission = history.submission(3, 7);
    let text = submission.to_string();
    assert!(text.starts_with("old 3\n"), "{text}");
    assert_eq!(text.lines().position(str::is_empty), Some(1 + submission.proof.len()));
    assert!(text.ends_with(&format!("\n\n{}", history.note(7))));
    assert_eq!(text.parse::<Submission>().unwrap(), submission);
}

#[test]
fn each_checkpoint_that_continues_the_last_is_cosigned() {
    let (disk, history) = (SimDisk::new(1), History::new(20, 20, 0));
    let witness = witness(&disk).unwrap();
    let mut last = 0;
    for size in [0, 1, 1, 4, 5, 16, 20, 20] {
        let line = history.submit(&witness, last, size).unwrap();
        let note = format!("{}{line}", history.note(size));
        let signed = Note::parse(&note).unwrap().signed_by(std::slice::from_ref(witness.verifier())).unwrap();
        assert_eq!(signed[0].time_s, Some(NOW_S));
        assert_eq!(witness.checkpoint(&hash_of_origin(ORIGIN)).unwrap(), Some(note.clone()));
        last = size;
    }
    assert_eq!(witness.checkpoint(&hash_of_origin("log.example/two")).unwrap(), None);
}

#[test]
fn what_is_refused_is_refused_as_the_protocol_says() {
    let (disk, history, other) = (SimDisk::new(1), History::new(20, 20, 0), History::new(20, 10, 1));
    let witness = witness(&disk).unwrap();
    assert_eq!(status(&history.submit(&witness, 1, 5)), 409, "it knows none yet");
    history.submit(&witness, 0, 12).unwrap();
    let good = history.submission(12, 15);
    let with = |change: &dyn Fn(&mut Submission)| {
        let mut changed = good.clone();
        change(&mut changed);
        witness.add_checkpoint(changed.to_string().as_bytes(), NOW_S)
    };
    let signed =
        |origin: &str, seed: u8, text: &str| SignerKey::new(origin, Kind::Note, &[seed; 32]).unwrap().sign(text);
    let text = Note::parse(&good.note).unwrap().text.to_owned();
    assert_eq!(status(&with(&|it| it.old = 16)), 400, "old beyond the checkpoint");
    assert_eq!(status(&with(&|it| it.proof = vec![[0; 32]; 64])), 400, "64 hashes");
    assert_eq!(status(&with(&|it| it.note = signed(ORIGIN, 7, "no checkpoint\n"))), 400);
    assert_eq!(status(&with(&|it| it.note.push_str("no line"))), 400);
    assert_eq!(status(&witness.add_checkpoint(b"old 012\n\n\n", NOW_S)), 400);
    assert_eq!(status(&witness.add_checkpoint(b"\xff", NOW_S)), 400);
    let foreign = text.replace(ORIGIN, "log.example/two");
    assert_eq!(status(&with(&|it| it.note = signed("log.example/two", 7, &foreign))), 404);
    assert_eq!(status(&with(&|it| it.note = signed(ORIGIN, 8, &text))), 403, "an unknown key");
    assert_eq!(status(&with(&|it| it.note = it.note.replace("\n15\n", "\n16\n"))), 403, "a forged signature");
    let conflict = with(&|it| it.old = 11);
    assert!(matches!(conflict, Err(Refusal::Conflict { size: 12 })), "{conflict:?}");
    assert_eq!(status(&with(&|it| it.proof.push([0; 32]))), 422);
    assert_eq!(status(&with(&|it| it.proof.clear())), 422);
    assert_eq!(status(&other.submit(&witness, 12, 12)), 422, "the same size and another root");
    assert_eq!(status(&other.submit(&witness, 12, 15)), 422, "another history");
    let evidence = disk.paths_in(&dir().join("logs").join(hash_of_origin(ORIGIN)).join("evidence")).unwrap();
    assert_eq!(evidence.iter().filter(|path| path.to_str().unwrap().contains("/fork-")).count(), 1);
    assert_eq!(evidence.len(), 3, "each refused checkpoint once: {evidence:?}");
    // Nothing of it was in the way of the honest one.
    assert_eq!(status(&with(&|_| ())), 200);
}

#[test]
fn an_empty_checkpoint_has_the_empty_root_and_a_first_one_no_proof() {
    let (disk, history) = (SimDisk::new(1), History::new(3, 3, 0));
    let witness = witness(&disk).unwrap();
    let wrong = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: [1; 32] };
    let wrong = Submission { old: 0, proof: Vec::new(), note: log_key().sign(&wrong.text()) };
    assert_eq!(status(&witness.add_checkpoint(wrong.to_string().as_bytes(), NOW_S)), 422);
    let proven = Submission { proof: vec![[1; 32]], ..history.submission(0, 3) };
    assert_eq!(status(&witness.add_checkpoint(proven.to_string().as_bytes(), NOW_S)), 422);
    assert_eq!(status(&history.submit(&witness, 0, 3)), 200);
}

#[test]
fn of_those_that_come_at_once_one_is_cosigned_and_the_others_are_told() {
    let (disk, history) = (SimDisk::new(1), History::new(9, 9, 0));
    let witness = witness(&disk).unwrap();
    let bodies: Vec<String> = (1..=9).map(|size| history.submission(0, size).to_string()).collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let submit = |body: &String| {
            let (witness, body) = (&witness, body.clone());
            scope.spawn(move || witness.add_checkpoint(body.as_bytes(), NOW_S))
        };
        let submitted: Vec<_> = bodies.iter().map(submit).collect();
        submitted.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let cosigned: Vec<u64> = (1..).zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(size, _)| size).collect();
    let [size] = cosigned[..] else { panic!("{cosigned:?} were cosigned") };
    let told =
        |answer: &Result<String, Refusal>| matches!(answer, Err(Refusal::Conflict { size: told }) if *told == size);
    assert_eq!(answers.iter().filter(|answer| told(answer)).count(), 8);
    assert!(witness.checkpoint(&hash_of_origin(ORIGIN)).unwrap().unwrap().contains(&format!("\n{size}\n")));
}

#[test]
fn a_folder_has_one_witness_of_one_name() {
    let disk = SimDisk::new(1);
    let first = witness(&disk).unwrap();
    assert!(matches!(witness(&disk), Err(KeyError::InUse { .. })));
    drop(first);
    let renamed = Witness::open(Arc::new(disk.clone()), dir(), "witness.example/w2", &[], || panic!("there is a key"));
    assert!(matches!(renamed, Err(KeyError::Origin { .. })));
    assert!(witness(&disk).is_ok());
}

/// Submits as a log does that was told to go to `size`: a conflict below it says where to go on.
fn push(witness: &Witness, history: &History, known: &mut u64, size: u64) -> Result<String, Refusal> {
    match history.submit(witness, *known, size) {
        Err(Refusal::Conflict { size: other }) if other <= size => {
            *known = other;
            history.submit(witness, other, size)
        }
        answer => answer,
    }
}

#[test]
fn after_a_crash_at_any_point_nothing_older_and_no_other_history_is_cosigned() {
    let (history, other) = (History::new(9, 9, 0), History::new(9, 4, 1));
    let story = |disk: &SimDisk| -> Result<u64, (u64, Option<KeyError>)> {
        let witness = witness(disk).map_err(|error| (0, Some(error)))?;
        let (mut known, mut cosigned) = (0, 0);
        for size in [2, 5, 8] {
            push(&witness, &history, &mut known, size).map_err(|_| (cosigned, None))?;
            (known, cosigned) = (size, size);
        }
        Ok(cosigned)
    };
    let whole = SimDisk::new(0);
    story(&whole).unwrap();
    for crash in [Crash::Process, Crash::Power] {
        for point in 0..whole.operations() {
            for seed in 0..2 {
                let disk = SimDisk::new(seed * 1000 + point);
                disk.crash_after(point);
                let cosigned = match story(&disk) {
                    Ok(cosigned) | Err((cosigned, _)) => cosigned,
                };
                disk.restart(crash);
                let witness = witness(&disk).unwrap();
                let told = match history.submit(&witness, 1, 9) {
                    Err(Refusal::Conflict { size }) => size,
                    answer => panic!("{answer:?}"),
                };
                assert!(told >= cosigned, "{crash:?} at {point}: it forgot {cosigned} and knows {told}");
                if told > 4 {
                    assert_eq!(status(&other.submit(&witness, told, 9)), 422, "{crash:?} at {point}");
                }
                assert_eq!(status(&push(&witness, &history, &mut 0, 9)), 200, "{crash:?} at {point}");
            }
        }
    }
}

#[test]
fn no_submission_of_what_everybody_can_see_stops_the_witness_or_accuses_the_log() {
    let (disk, history) = (SimDisk::new(1), History::new(20, 20, 0));
    let witness = witness(&disk).unwrap();
    let honest = history.submission(0, 12);
    let line = honest.note.lines().last().unwrap();
    // As many signatures as a note may have, all of them right.
    let room = (NOTE_BYTES_MAX - honest.note.len()) / (line.len() + 1);
    let full = Submission { note: format!("{}{}", honest.note, format!("{line}\n").repeat(room)), ..honest };
    let cosignature = witness.add_checkpoint(full.to_string().as_bytes(), NOW_S).unwrap();
    let kept = witness.checkpoint(&hash_of_origin(ORIGIN)).unwrap();
    assert_eq!(kept, Some(format!("{}{cosignature}", history.note(12))), "each signature once");
    let needless = Submission { proof: vec![[0; 32]], ..history.submission(12, 12) };
    assert_eq!(status(&witness.add_checkpoint(needless.to_string().as_bytes(), NOW_S)), 422);
    assert!(!disk.exists(&dir().join("logs").join(hash_of_origin(ORIGIN)).join("evidence")).unwrap());
    // The log itself may write lines behind the root; with the cosignature they must still be a note.
    let text = Checkpoint { origin: ORIGIN.to_owned(), size: 20, root: history.at(20).root() }.text();
    let long = log_key().sign(&format!("{text}{}\n", "x".repeat(NOTE_BYTES_MAX - text.len() - line.len() - 10)));
    assert!(Note::parse(&long).is_ok());
    let long = Submission { note: long, ..history.submission(12, 20) };
    assert_eq!(status(&witness.add_checkpoint(long.to_string().as_bytes(), NOW_S)), 400);
    history.submit(&witness, 12, 20).unwrap();
}
