//! Small logs, what is in them, and a tamperer's tools.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use kiki_audit::{
    Batch, DeriveOptions, Deriver, Difference, Error, Log, LogKey, OpenError, Opened, Options, Place, Verified,
    VerifierKey, VerifyOptions, verify,
};
use kiki_types::event::{AuditEvent, Level, Outcome};
use kiki_types::{TenantId, UnixMillis};
use tempfile::TempDir;
use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) const ORIGIN: &str = "kiki.local/test";

pub(crate) fn event(number: u64) -> AuditEvent {
    AuditEvent {
        id: Uuid::from_u128(u128::from(number) << 64),
        at: UnixMillis(1_770_287_400_000 + i64::try_from(number).unwrap()),
        tenant: TenantId::default_tenant(),
        level: if number.is_multiple_of(3) { Level::Warning } else { Level::Info },
        event_type: "t".to_owned(),
        actor: "a1b2".to_owned(),
        customer: String::new(),
        action: "authorize".to_owned(),
        resource: format!("r/{number}"),
        outcome: if number.is_multiple_of(3) { Outcome::Denied } else { Outcome::Allowed },
        reason: if number.is_multiple_of(3) { "=limit, \"burst\"".to_owned() } else { String::new() },
        ip: String::new(),
        data: String::new(),
        request: String::new(),
    }
}

pub(crate) fn batch_of(numbers: Range<u64>) -> Batch {
    let mut batch = Batch::new();
    for number in numbers {
        batch.push_with(&event(number), &serde_json::json!({"n": number})).unwrap();
    }
    batch
}

/// The entries that [`batch_of`] makes.
pub(crate) fn entries(numbers: Range<u64>) -> Vec<Vec<u8>> {
    batch_of(numbers).entries().map(<[u8]>::to_vec).collect()
}

pub(crate) fn key_in(dir: &Path, seed: u8) -> LogKey {
    LogKey::open_or_create(dir, ORIGIN, || Zeroizing::new([seed; 32])).unwrap()
}

/// A log in a directory of its own, with its key beside it.
pub(crate) struct TestLog {
    _root: TempDir,
    pub(crate) dir: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) segment_bytes_max: u64,
    /// How often.
    verified: AtomicU32,
}

impl TestLog {
    pub(crate) fn new(segment_bytes_max: u64) -> Self {
        // Memory where there is some: these tests sync thousands of times, and none depends on the disk.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let (dir, keys) = (root.path().join("audit"), root.path().join("keys"));
        Self { _root: root, dir, keys, segment_bytes_max, verified: AtomicU32::new(0) }
    }

    /// A log of `len` entries in batches of two, two batches a segment, the first `derived` of them derived.
    pub(crate) fn with(len: u64, derived: u64) -> Self {
        Self::new(600).filled(len, derived)
    }

    /// With `len` entries in batches of two, the first `derived` of them derived.
    pub(crate) fn filled(self, len: u64, derived: u64) -> Self {
        let test = self;
        let (mut log, _) = test.open().unwrap();
        let mut deriver = test.deriver();
        for from in (0..len).step_by(2) {
            log.append(&mut batch_of(from..len.min(from + 2))).unwrap();
        }
        deriver.advance(derived).unwrap();
        test
    }

    pub(crate) fn options(&self) -> Options {
        Options { segment_bytes_max: self.segment_bytes_max, ..Options::default() }
    }

    pub(crate) fn open(&self) -> Result<(Log, Opened), OpenError> {
        Log::open(&self.dir, &self.options())
    }

    pub(crate) fn open_difference(&self, options: &Options) -> Difference {
        match Log::open(&self.dir, options) {
            Err(OpenError::Failed(Error::Different(difference))) => *difference,
            other => panic!("opened: {:?}", other.map(|(_, opened)| opened)),
        }
    }

    pub(crate) fn vkey(&self) -> VerifierKey {
        key_in(&self.keys, 7).verifier().clone()
    }

    pub(crate) fn deriver(&self) -> Deriver {
        self.deriver_with(DeriveOptions { retention_days: 30, entries_per_step: 1000 })
    }

    pub(crate) fn deriver_with(&self, options: DeriveOptions) -> Deriver {
        Deriver::open(&self.dir, key_in(&self.keys, 7), options).unwrap()
    }

    /// By one thread, and now and then by four, which must find the same.
    pub(crate) fn verify_options(&self, options: &VerifyOptions) -> Result<Verified, Error> {
        let threads = if self.verified.fetch_add(1, Ordering::Relaxed).is_multiple_of(8) { 4 } else { 1 };
        let options = VerifyOptions { threads, ..options.clone() };
        verify(&self.dir, &options, &mut |_, _, _| Ok(()), &mut |_| ())
    }

    pub(crate) fn verify_with(&self, key: Option<VerifierKey>) -> Result<Verified, Error> {
        self.verify_options(&VerifyOptions { key, views: true, ..VerifyOptions::default() })
    }

    pub(crate) fn verify(&self) -> Result<Verified, Error> {
        self.verify_with(None)
    }

    pub(crate) fn difference(&self) -> Difference {
        different(self.verify())
    }

    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            fs::read_dir(self.dir.join("segments")).unwrap().map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Every record: where it is, and its length.
    pub(crate) fn records(&self) -> Vec<(Place, u64)> {
        let mut records = Vec::new();
        for path in self.segments() {
            let bytes = fs::read(&path).unwrap();
            let mut offset = 16;
            while offset < bytes.len() {
                let len = 8 + u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
                let place = Place {
                    file: path.clone(),
                    offset: u64::try_from(offset).unwrap(),
                    entry: Some(u64::try_from(records.len()).unwrap()),
                };
                records.push((place, u64::from(len)));
                offset += usize::try_from(len).unwrap();
            }
        }
        records
    }

    /// The first entry of each segment.
    pub(crate) fn starts(&self) -> Vec<usize> {
        let start = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        self.segments().iter().map(start).collect()
    }

    /// Writes the segments anew with these entries and right checksums, the segments starting at `starts`.
    pub(crate) fn forge(&self, starts: &[usize], entries: &[Vec<u8>]) {
        let starts: Vec<usize> = starts.iter().copied().filter(|start| *start < entries.len()).collect();
        for path in self.segments() {
            fs::remove_file(path).unwrap();
        }
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(entries.len());
            let first = u64::try_from(*start).unwrap();
            let mut bytes = [b"KIKI".as_slice(), &1_u32.to_le_bytes(), &first.to_le_bytes()].concat();
            for (index, entry) in (first..).zip(&entries[*start..end]) {
                let sum = crc32c::crc32c_append(crc32c::crc32c(&index.to_le_bytes()), entry);
                bytes.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
                bytes.extend(sum.to_le_bytes());
                bytes.extend(entry);
            }
            fs::write(self.dir.join(format!("segments/{first:020}.seg")), bytes).unwrap();
        }
    }
}

pub(crate) fn different<T: std::fmt::Debug>(result: Result<T, Error>) -> Difference {
    match result {
        Err(Error::Different(difference)) => *difference,
        other => panic!("no difference: {other:?}"),
    }
}

/// Calls `see` with the file changed by `change`, then puts it back as it was.
pub(crate) fn with_changed<T>(path: &Path, change: impl FnOnce(&mut Vec<u8>), see: impl FnOnce() -> T) -> T {
    let before = fs::read(path).unwrap();
    let mut after = before.clone();
    change(&mut after);
    fs::write(path, after).unwrap();
    let seen = see();
    fs::write(path, before).unwrap();
    seen
}
