//! An answer leaves the owner after its entry is durable, and never before.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::any::Any;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use kiki_audit::disk::Access;
use kiki_audit::simulation::SimDisk;
use kiki_audit::{Disk, DiskFile};
use kiki_spend::{Authorize, Command, Digest, LimitKind, Outcome, Owner};
use support::shard::{draft, settings};

const START: i64 = 1_700_000_000_000;

fn clock() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(START))
}

fn authorize(n: u8) -> Command {
    Command::Authorize(Authorize::of(Digest([n; 16]), "default/a", 10, 60_000))
}

/// What happens in which order.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// The log's bytes are about to become durable, and stay so until the test lets them.
    Syncing,
    Answered(Outcome),
}

/// A disk whose log is synced only when the test says so.
#[derive(Debug)]
struct SlowDisk {
    disk: SimDisk,
    events: Mutex<Sender<Event>>,
    gate: Arc<Mutex<Receiver<()>>>,
}

struct SlowFile {
    file: Box<dyn DiskFile>,
    events: Sender<Event>,
    gate: Arc<Mutex<Receiver<()>>>,
}

impl Disk for SlowDisk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn paths_in(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.paths_in(dir)
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        self.disk.mode(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(path, access)?;
        // Views are opened otherwise: they may wait for nobody.
        if access != Access::Append {
            return Ok(file);
        }
        let events = self.events.lock().unwrap().clone();
        Ok(Box::new(SlowFile { file, events, gate: self.gate.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn sync_files(&self, files: &[PathBuf], dir: &Path) -> io::Result<()> {
        self.disk.sync_files(files, dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.disk.lock(path)
    }
}

impl Read for SlowFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for SlowFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for SlowFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl DiskFile for SlowFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // Once the test has ended nobody listens and nobody waits.
        if self.events.send(Event::Syncing).is_ok() {
            let _ = self.gate.lock().unwrap().recv();
        }
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn forget_cached(&self) {
        self.file.forget_cached();
    }
}

#[test]
fn nobody_is_answered_before_the_disk_has_it() {
    let data = tempfile::tempdir().unwrap();
    let (events, heard) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let slow = SlowDisk { disk: SimDisk::new(1), events: Mutex::new(events.clone()), gate: Arc::new(Mutex::new(gate)) };
    let clock = clock();
    let owner = Owner::start_on(Arc::new(slow), settings(data.path(), &clock)).unwrap();
    let commands = [
        (
            Command::Limit {
                id: "l".into(),
                path: "default".into(),
                kind: LimitKind::Total { amount: 10 },
                shadow: false,
            },
            Outcome::Defined,
        ),
        (authorize(1), Outcome::Held),
        (authorize(2), Outcome::Denied { refused_by: ["l".into()].into_iter().collect() }),
    ];
    for (command, outcome) in commands {
        clock.fetch_add(1, Ordering::Relaxed);
        let (handle, events) = (owner.handle(), events.clone());
        let asks = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let decision = runtime.block_on(handle.decide(command, draft())).unwrap();
            events.send(Event::Answered(decision.outcome)).unwrap();
        });
        assert_eq!(heard.recv().unwrap(), Event::Syncing);
        open.send(()).unwrap();
        assert_eq!(heard.recv().unwrap(), Event::Answered(outcome));
        asks.join().unwrap();
    }
    drop((open, heard));
    owner.stop();
}
