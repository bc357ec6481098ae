//! The names of files and folders: as processes see them, and on the disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Dice;
use crate::files;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    /// Its inode.
    File(usize),
}

/// A change of the names in one folder.
#[derive(Clone, Debug)]
enum Change {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// All names. Of the changes of a folder that are not synced, a power loss keeps the first so many, as file systems
/// with a journal do.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// By folder.
    changes: BTreeMap<PathBuf, Vec<Change>>,
}

fn do_change(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Put(path, node) => drop(names.insert(path.clone(), *node)),
        Change::Remove(path) => names.retain(|other, _| !other.starts_with(path)),
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

/// The folder of a path; what has none is in the root, which is always there.
fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn is_root(dir: &Path) -> bool {
    dir.parent().is_none() || dir == Path::new(".")
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        if is_root(path) { Some(Node::Dir) } else { self.seen.get(path).copied() }
    }

    /// The inodes that have a name.
    pub(super) fn files(&self) -> impl Iterator<Item = usize> {
        self.seen.values().filter_map(|node| if let Node::File(inode) = node { Some(*inode) } else { None })
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.seen.keys().cloned().collect()
    }

    fn change(&mut self, path: &Path, change: Change) {
        do_change(&mut self.seen, &change);
        self.changes.entry(folder(path)).or_default().push(change);
    }

    pub(super) fn put(&mut self, path: &Path, node: Node) -> io::Result<()> {
        match self.get(&folder(path)) {
            Some(Node::Dir) => {
                self.change(path, Change::Put(path.to_owned(), node));
                Ok(())
            }
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.change(path, Change::Remove(path.to_owned()));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.get(from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if folder(from) != folder(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        self.change(from, Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(super) fn within(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        match self.get(dir) {
            Some(Node::Dir) => Ok(self.seen.keys().filter(|path| files::folder_of(path) == dir).cloned().collect()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        let dir = if dir == Path::new(".") { Path::new("") } else { dir };
        for change in self.changes.remove(dir).unwrap_or_default() {
            do_change(&mut self.durable, &change);
        }
    }

    pub(super) fn lose(&mut self, dice: &mut Dice) {
        for changes in std::mem::take(&mut self.changes).into_values() {
            let kept = dice.up_to(changes.len());
            for change in &changes[..kept] {
                do_change(&mut self.durable, change);
            }
        }
        // What is in a folder that was lost is lost with it.
        let durable = &self.durable;
        let reached = |path: &Path| {
            path.ancestors().skip(1).all(|above| is_root(above) || durable.get(above) == Some(&Node::Dir))
        };
        self.seen =
            durable.iter().filter(|(path, _)| reached(path)).map(|(path, node)| (path.clone(), *node)).collect();
        self.durable.clone_from(&self.seen);
    }
}
