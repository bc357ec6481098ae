//! Tests of the rotation of keys: what is trusted afterwards, and that no crash loses the key or signs two histories.

use std::sync::Arc;

use super::*;
use crate::derive::{DeriveOptions, Deriver};
use crate::handover::Signer;
use crate::log::{Log, Options};
use crate::pruned;
use crate::simulation::{Crash, SimDisk};
use crate::testing::batch_of;

const ORIGIN: &str = "kiki.local/test";

fn keys() -> &'static Path {
    Path::new("/data/keys")
}

fn audit() -> &'static Path {
    Path::new("/data/audit")
}

fn seed(byte: u8) -> impl FnOnce() -> Zeroizing<[u8; 32]> {
    move || Zeroizing::new([byte; 32])
}

/// The public key of a seed.
fn vkey(byte: u8) -> VerifierKey {
    SignerKey::new(ORIGIN, Kind::Note, &[byte; 32]).unwrap().verifier().clone()
}

type Failed = Box<dyn std::error::Error>;

/// Opens the log as a service does at its start, appends up to `len` entries and derives them.
fn serve(disk: &SimDisk, len: u64) -> Result<(), Failed> {
    let key = LogKey::open_or_create_on(disk, keys(), ORIGIN, seed(1))?;
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = Options { key: Some(key.verifier().clone()), ..Options::default() };
    let derive = DeriveOptions { retention_days: 1, entries_per_step: 100 };
    // As at a start of the service: an empty log has its checkpoint before its first entry.
    let mut deriver = Deriver::open_on(shared.clone(), audit(), key, derive)?;
    let (mut log, opened) = Log::open_on(shared, audit(), &options)?;
    if opened.len < len {
        log.append(&mut batch_of(opened.len..len))?;
    }
    while !deriver.advance(log.len())?.caught_up() {}
    Ok(())
}

fn checkpoint_for(disk: &SimDisk, key: &VerifierKey) -> Result<Option<Checkpoint>, Error> {
    Checkpoint::load_on(disk, audit(), Some(key))
}

#[test]
fn whoever_trusts_an_old_key_follows_the_handovers_and_nobody_else_does() {
    let disk = SimDisk::new(1);
    serve(&disk, 3).unwrap();
    let kept = checkpoint_for(&disk, &vkey(1)).unwrap().unwrap();
    let first = LogKey::rotate_on(&disk, keys(), seed(2)).unwrap();
    assert_eq!((&first.from, &first.to, first.size, first.root), (&vkey(1), &vkey(2), 3, kept.root));
    serve(&disk, 5).unwrap();
    LogKey::rotate_on(&disk, keys(), seed(3)).unwrap();
    serve(&disk, 6).unwrap();
    for key in [1, 2, 3] {
        assert_eq!(checkpoint_for(&disk, &vkey(key)).unwrap().unwrap().size, 6, "key {key}");
    }
    assert!(checkpoint_for(&disk, &vkey(4)).is_err());
    let chain = handover::load_on(&disk, audit()).unwrap();
    assert_eq!(handover::following(&vkey(2), &chain), [vkey(2), vkey(3)]);
    assert_eq!(handover::all_keys(&vkey(3), &chain), [vkey(3), vkey(2), vkey(1)]);
    let listed = [3, 2, 1].map(|key| format!("{}\n", vkey(key))).concat();
    assert_eq!(disk.bytes(&keys().join(VERIFIERS_FILE)).unwrap(), listed.as_bytes());
    assert_eq!(disk.bytes(&keys().join(VERIFIER_FILE)).unwrap(), format!("{}\n", vkey(3)).as_bytes());
}

#[test]
fn a_key_that_was_replaced_signs_nothing_more() {
    let disk = SimDisk::new(1);
    serve(&disk, 3).unwrap();
    let old = disk.bytes(&keys().join(SIGNER_FILE)).unwrap();
    LogKey::rotate_on(&disk, keys(), seed(2)).unwrap();
    let signed = LogKey(SignerKey::new(ORIGIN, Kind::Note, &[1; 32]).unwrap());
    let head = checkpoint_for(&disk, &vkey(2)).unwrap().unwrap();
    // By the old key: what it handed over may stand, for the new one has perhaps not signed yet; nothing else.
    signed.sign_checkpoint(&disk, audit(), &head).unwrap();
    assert!(checkpoint_for(&disk, &vkey(2)).is_ok());
    signed.sign_checkpoint(&disk, audit(), &Checkpoint { size: 2, ..head }).unwrap();
    assert!(checkpoint_for(&disk, &vkey(2)).is_err());
    files::replace(&disk, &keys().join(SIGNER_FILE), &old).unwrap();
    let opened = LogKey::open_or_create_on(&disk, keys(), ORIGIN, seed(9));
    assert!(matches!(opened, Err(KeyError::HandedOver { .. })));
}

#[test]
fn what_a_former_key_says_was_pruned_stays_so() {
    let disk = SimDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    serve(&disk, 3).unwrap();
    let key = LogKey::open_or_create_on(&disk, keys(), ORIGIN, seed(1)).unwrap();
    let (mut log, _) = Log::open_on(shared.clone(), audit(), &Options::default()).unwrap();
    log.seal();
    let mut batch = batch_of(3..300);
    let mut record = crate::testing::event(300);
    record.event_type = pruned::PRUNE_EVENT.to_owned();
    record.resource = pruned::resource(3);
    record.reason = pruned::reason(&pruned::root_at(&disk, audit(), 3).unwrap());
    batch.push(&record, None).unwrap();
    log.append(&mut batch).unwrap();
    drop(log);
    serve(&disk, 301).unwrap();
    pruned::prune_on(&shared, audit(), &key, 3, 300).unwrap();
    LogKey::rotate_on(&disk, keys(), seed(2)).unwrap();
    serve(&disk, 302).unwrap();
    assert_eq!(checkpoint_for(&disk, &vkey(1)).unwrap().unwrap().size, 302);
    let strangers = Options { key: Some(vkey(4)), ..Options::default() };
    assert!(Log::open_on(shared, audit(), &strangers).is_err());
}

#[test]
fn a_log_that_is_open_or_was_never_signed_keeps_its_key() {
    let disk = SimDisk::new(1);
    assert!(matches!(LogKey::rotate_on(&disk, keys(), seed(2)), Err(KeyError::NothingSigned { .. })));
    serve(&disk, 3).unwrap();
    let open = Log::open_on(Arc::new(disk.clone()), audit(), &Options::default()).unwrap();
    assert!(matches!(LogKey::rotate_on(&disk, keys(), seed(2)), Err(KeyError::InUse { .. })));
    drop(open);
    assert!(LogKey::rotate_on(&disk, keys(), seed(2)).is_ok());
}

#[test]
fn no_byte_of_a_handover_can_change() {
    let disk = SimDisk::new(1);
    serve(&disk, 3).unwrap();
    LogKey::rotate_on(&disk, keys(), seed(2)).unwrap();
    let note = String::from_utf8(disk.bytes(&audit().join("log/handover/0001")).unwrap()).unwrap();
    assert!(note.starts_with("kiki.local/test/handover\n"));
    assert!(Handover::parse(&note).is_some());
    for at in 0..note.len() {
        for flip in [1, 0x20, 0x80] {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= flip;
            let Ok(changed) = std::str::from_utf8(&bytes) else { continue };
            assert_eq!(Handover::parse(changed), None, "byte {at} ^ {flip}");
        }
    }
}

#[test]
fn after_a_crash_at_any_point_of_a_rotation_the_log_goes_on_under_one_key() {
    let story = |disk: &SimDisk| -> Result<(), Failed> {
        serve(disk, 3)?;
        LogKey::rotate_on(disk, keys(), seed(2))?;
        serve(disk, 5)?;
        LogKey::rotate_on(disk, keys(), seed(3))?;
        serve(disk, 6)
    };
    let whole = SimDisk::new(0);
    story(&whole).unwrap();
    let unharmed = SimDisk::new(0);
    serve(&unharmed, 7).unwrap();
    let unharmed = checkpoint_for(&unharmed, &vkey(1)).unwrap();
    for crash in [Crash::Process, Crash::Power] {
        for point in 0..whole.operations() {
            let disk = SimDisk::new(point);
            disk.crash_after(point);
            let _ = story(&disk);
            assert!(disk.is_down());
            disk.restart(crash);
            let before =
                Checkpoint::load_on(&disk, audit(), None).ok().flatten().map_or(0, |checkpoint| checkpoint.size);
            // Without a new entry, too, the newest checkpoint is by the key that counts now.
            serve(&disk, 0).unwrap_or_else(|error| panic!("{crash:?} at {point}: {error}"));
            let key = LogKey::open_or_create_on(&disk, keys(), ORIGIN, seed(9)).unwrap();
            let signed = Checkpoint::load_signed(&disk, audit(), key.verifier()).unwrap();
            assert_eq!(signed.unwrap().1, Signer::Key, "{crash:?} at {point}");
            serve(&disk, 7).unwrap_or_else(|error| panic!("{crash:?} at {point}: {error}"));
            let chain = handover::load_on(&disk, audit()).unwrap();
            let current = SignerKey::parse(
                std::str::from_utf8(&disk.bytes(&keys().join(SIGNER_FILE)).unwrap()).unwrap().trim_end(),
            );
            let current = current.unwrap().verifier().clone();
            assert_eq!(chain.last().map_or(vkey(1), |last| last.to.clone()), current, "{crash:?} at {point}");
            assert_eq!(disk.bytes(&keys().join(NEXT_FILE)), None);
            for key in [&current, &vkey(1)] {
                let head = checkpoint_for(&disk, key).unwrap().unwrap();
                assert!(head.size == 7 && head.size >= before, "{crash:?} at {point}");
            }
            // It can be rotated again, and what was signed under all keys is one history.
            LogKey::rotate_on(&disk, keys(), seed(4)).unwrap();
            assert_eq!(checkpoint_for(&disk, &vkey(1)).unwrap(), unharmed);
        }
    }
}

#[test]
fn rotations_that_are_interrupted_one_after_the_other_leave_one_key_in_charge() {
    let rotated = |disk: &SimDisk, byte| LogKey::rotate_on(disk, keys(), seed(byte));
    let whole = SimDisk::new(0);
    serve(&whole, 3).unwrap();
    let before = whole.operations();
    rotated(&whole, 2).unwrap();
    let operations = whole.operations() - before;
    let points = (0..operations).step_by(2);
    for (point, second) in points.flat_map(|point| (0..operations).map(move |second| (point, second))) {
        let disk = SimDisk::new(0);
        serve(&disk, 3).unwrap();
        // No service is started in between.
        for (byte, operations) in [(2, point), (3, second)] {
            disk.crash_after(operations);
            let _ = rotated(&disk, byte);
            disk.restart(Crash::Process);
        }
        serve(&disk, 5).unwrap_or_else(|error| panic!("at {point}, {second}: {error}"));
        assert_eq!(checkpoint_for(&disk, &vkey(1)).unwrap().unwrap().size, 5);
    }
}

#[test]
fn a_log_with_many_former_keys_opens() {
    let disk = SimDisk::new(1);
    let origin = "k".repeat(4000);
    let open = || LogKey::open_or_create_on(&disk, keys(), &origin, seed(0));
    let derive = DeriveOptions { retention_days: 1, entries_per_step: 100 };
    Deriver::open_on(Arc::new(disk.clone()), audit(), open().unwrap(), derive).unwrap();
    for byte in 1..20 {
        LogKey::rotate_on(&disk, keys(), seed(byte)).unwrap();
    }
    assert!(disk.bytes(&keys().join(VERIFIERS_FILE)).unwrap().len() > NOTE_BYTES_MAX);
    open().unwrap();
}
