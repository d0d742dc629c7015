//! Tracks which files are open in this process or in the one it was forked from, and whether they
//! are still in place.
//!
//! SQLite keeps its file locks per process and does not notice a fork. In the child, a connection
//! of the parent, and even a new one to the same file, would assume locks that the child does not
//! have. Another process could then remove the log that holds the child's writes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::{Duration, Instant};
use std::{process, thread};

use super::lock;
use crate::{Error, Result};

/// The first process to use the table. If another process finds this set, it is a fork of the
/// first.
static USER: OnceLock<u32> = OnceLock::new();

/// The open files by path.
type Table = BTreeMap<PathBuf, Entry>;

static OPEN: Mutex<Table> = Mutex::new(BTreeMap::new());

/// An open file.
struct Entry {
    /// The process that opened it.
    owner: u32,
    /// How many stores have it open.
    stores: usize,
    /// Identifies the file, once it exists.
    file: Option<FileId>,
}

/// How long a file seen in place is assumed to be there: long enough for many commits of a busy
/// writer, which would otherwise spend a tenth of their time checking.
const MOMENT: Duration = Duration::from_millis(1);

/// A file that is open in one process, until released or dropped there.
///
/// Must outlive the process's connections to the file.
pub(super) struct OpenFile {
    path: PathBuf,
    process: u32,
    released: AtomicBool,
    /// Distinguishes the file from one that takes its place; set once it exists.
    identity: OnceLock<Option<FileId>>,
    /// When it was last seen in place; None if the last check failed.
    seen: Mutex<Option<Instant>>,
}

impl OpenFile {
    /// Counts the file as open. Runs `inspect` first, unless this process already has the file open
    /// under any name.
    ///
    /// Only `inspect` may open the file without SQLite: closing a file releases all locks that the
    /// process has on it.
    pub(super) fn register(path: &Path, inspect: impl FnOnce() -> Result<()>) -> Result<Self> {
        let process = process::id();
        with_open(|open| {
            match open.get_mut(path) {
                Some(entry) if entry.owner != process => return Err(forked(path)),
                Some(entry) => entry.stores += 1,
                None => {
                    match other_name(open, path) {
                        Some(other) if !has_log_of(path, other) => {
                            return Err(named_twice(path, other));
                        }
                        Some(_) => {}
                        None => inspect()?,
                    }
                    let entry = Entry {
                        owner: process,
                        stores: 1,
                        file: file_id(path).ok().flatten(),
                    };
                    open.insert(path.to_owned(), entry);
                }
            }
            Ok(Self {
                path: path.to_owned(),
                process,
                released: AtomicBool::new(false),
                identity: OnceLock::new(),
                seen: Mutex::default(),
            })
        })
        .unwrap_or_else(|| Err(forked(path)))
    }

    /// Returns whether this process is a fork of the one that opened the file.
    pub(super) fn is_foreign(&self) -> bool {
        self.process != process::id()
    }

    /// Fails in a fork of the process that opened the file.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_foreign() {
            Err(forked(&self.path))
        } else {
            Ok(())
        }
    }

    /// Remembers the identity of the file, now that it exists.
    pub(super) fn identify(&self) {
        let Ok(file) = file_id(&self.path) else {
            return;
        };
        let _ = self.identity.set(file);
        with_open(|open| {
            if let Some(entry) = open.get_mut(&self.path) {
                entry.file = file;
            }
        });
    }

    /// Fails if the file is no longer where it was opened.
    ///
    /// Data written to a removed file is lost when the file is closed. If the file was replaced,
    /// its log would be copied into the replacement.
    pub(super) fn check_place(&self) -> Result<()> {
        let Some(known) = self.identity.get() else {
            return Ok(());
        };
        match file_id(&self.path) {
            Ok(found) if found != *known => Err(displaced(&self.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(displaced(&self.path)),
            // The path may no longer be accessible, but the file itself is open.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Like [`check_place`](Self::check_place), but may notice a change a moment later.
    pub(super) fn check_place_soon(&self) -> Result<()> {
        let mut seen = lock(&self.seen);
        if seen.is_some_and(|at| at.elapsed() < MOMENT) {
            return Ok(());
        }
        *seen = None;
        self.check_place()?;
        *seen = Some(Instant::now());
        Ok(())
    }

    /// Counts the file as closed, if this process opened it.
    pub(super) fn release(&self) {
        if self.is_foreign() || self.released.swap(true, Ordering::SeqCst) {
            return;
        }
        with_open(|open| {
            if let Some(entry) = open.get_mut(&self.path) {
                entry.stores -= 1;
                if entry.stores == 0 {
                    open.remove(&self.path);
                }
            }
        });
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.release();
    }
}

/// Runs `change` on the table.
///
/// Returns None if the lock stays taken in a fork: it was held by a thread of the parent, and no
/// such thread exists here to release it.
fn with_open<T>(change: impl FnOnce(&mut Table) -> T) -> Option<T> {
    const ATTEMPTS: usize = 1000;
    let process = process::id();
    let user = *USER.get_or_init(|| process);
    if user == process {
        return Some(change(&mut lock(&OPEN)));
    }
    for _ in 0..ATTEMPTS {
        match OPEN.try_lock() {
            Ok(mut open) => return Some(change(&mut open)),
            Err(TryLockError::Poisoned(error)) => return Some(change(&mut error.into_inner())),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    }
    None
}

/// The device of a file and its inode number.
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(path: &Path) -> io::Result<Option<FileId>> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata()?;
    Ok(Some((metadata.dev(), metadata.ino())))
}

/// Here open files cannot be removed or replaced, and locks belong to handles, so files need no
/// identity.
#[cfg(not(unix))]
fn file_id(path: &Path) -> io::Result<Option<FileId>> {
    path.metadata().map(|_| None)
}

/// Returns another path under which this process has the file open.
fn other_name<'a>(open: &'a Table, path: &Path) -> Option<&'a Path> {
    let file = file_id(path).ok().flatten()?;
    let is_it = |entry: &Entry| entry.owner == process::id() && entry.file == Some(file);
    let found = open.iter().find(|(_, entry)| is_it(entry));
    found.map(|(other, _)| other.as_path())
}

/// Returns whether two paths of a file share its log, because they differ only in where its
/// directory is mounted.
fn has_log_of(path: &Path, other: &Path) -> bool {
    let folder = |path: &Path| file_id(path.parent()?).ok().flatten();
    path.file_name() == other.file_name() && folder(path) == folder(other)
}

fn displaced(path: &Path) -> Error {
    Error::Unavailable(format!(
        "{} was removed, renamed or replaced while it was open, and anything written now would be \
         lost; nothing was written: close the store, put the file back with its -wal file, or \
         remove the old file's -wal and -shm files beside the new one, and open it again",
        path.display()
    ))
}

fn named_twice(path: &Path, other: &Path) -> Error {
    Error::Unavailable(format!(
        "{} is the same file as {}, which this process has open, and each name would have its own \
         log; use only one name, or close the other store first",
        path.display(),
        other.display()
    ))
}

fn forked(path: &Path) -> Error {
    Error::Unavailable(format!(
        "{} was opened before this process was forked from another, and SQLite files cannot be \
         used across a fork; close the store before forking and open it afterwards in each \
         process, or start processes with the \"spawn\" or \"forkserver\" method",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_counts_as_open_until_its_last_store_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        // Inspecting an open file would release the locks that its stores have.
        let open_again = || OpenFile::register(&path, || Err(Error::Closed));
        let first = OpenFile::register(&path, || Ok(())).unwrap();
        let second = open_again().unwrap();
        drop(first);
        let third = open_again().unwrap();
        drop((second, third));
        assert!(open_again().is_err());
    }
}
