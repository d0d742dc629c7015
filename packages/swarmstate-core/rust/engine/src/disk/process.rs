//! Which files this process, or the one it was forked from, has open, and whether they still are
//! where they were.
//!
//! SQLite keeps its file locks per process and does not notice a fork. In the child, a connection
//! of the parent would believe to hold locks that it has not, and so would a new one to the same
//! file; another process could then remove the log in which the child's writes are.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::{Duration, Instant};
use std::{process, thread};

use super::lock;
use crate::{Error, Result};

/// The process that used the table first; another one that finds it set is a fork of it.
static USER: OnceLock<u32> = OnceLock::new();

/// For each open file, the process that opened it and how many stores of it are open.
static OPEN: Mutex<BTreeMap<PathBuf, (u32, usize)>> = Mutex::new(BTreeMap::new());

/// How long a file that was seen in its place is taken to be there: many commits of a busy writer,
/// which would otherwise spend a tenth of their time on looking.
const MOMENT: Duration = Duration::from_millis(1);

/// A file that is open in one process, until released or dropped there.
///
/// Must outlive the process's connections to the file.
pub(super) struct OpenFile {
    path: PathBuf,
    process: u32,
    released: AtomicBool,
    /// What tells it from a file that takes its place; set once it exists.
    identity: OnceLock<u64>,
    /// When it was last seen in its place; nothing if it was not there since.
    seen: Mutex<Option<Instant>>,
}

impl OpenFile {
    /// Counts the file as open; `inspect` runs first unless this process has it open already.
    ///
    /// `inspect` may open the file without SQLite, which is forbidden otherwise: whoever closes
    /// a file gives up all locks that the process has on it.
    pub(super) fn register(path: &Path, inspect: impl FnOnce() -> Result<()>) -> Result<Self> {
        let process = process::id();
        with_open(|open| {
            match open.get_mut(path) {
                Some((owner, _)) if *owner != process => return Err(forked(path)),
                Some((_, count)) => *count += 1,
                None => {
                    inspect()?;
                    open.insert(path.to_owned(), (process, 1));
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

    /// Tells whether this process is a fork of the one that opened the file.
    pub(super) fn is_foreign(&self) -> bool {
        self.process != process::id()
    }

    /// Refuses to use the file in a fork of the process that opened it.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_foreign() {
            Err(forked(&self.path))
        } else {
            Ok(())
        }
    }

    /// Remembers which file it is, now that there is one.
    pub(super) fn identify(&self) {
        if let Ok(identity) = identity(&self.path) {
            let _ = self.identity.set(identity);
        }
    }

    /// Refuses a file that is no longer where it was opened.
    ///
    /// What is written to a removed file is lost when it is closed; of a replaced one, the log
    /// would be copied into the file that took its place.
    pub(super) fn check_place(&self) -> Result<()> {
        let Some(known) = self.identity.get() else {
            return Ok(());
        };
        match identity(&self.path) {
            Ok(found) if found != *known => Err(displaced(&self.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(displaced(&self.path)),
            // A place that may no longer be looked at; the file itself is open.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Refuses what [`check_place`](Self::check_place) does, a moment later at most.
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

    /// Counts the file as closed, in the process that opened it.
    pub(super) fn release(&self) {
        if self.is_foreign() || self.released.swap(true, Ordering::SeqCst) {
            return;
        }
        with_open(|open| {
            if let Some(entry) = open.get_mut(&self.path) {
                entry.1 -= 1;
                if entry.1 == 0 {
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
/// Returns nothing if its lock stays taken in a fork: a thread of the parent held it, and there
/// is no such thread here that could release it.
fn with_open<T>(change: impl FnOnce(&mut BTreeMap<PathBuf, (u32, usize)>) -> T) -> Option<T> {
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

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    path.metadata().map(|metadata| metadata.ino())
}

/// Where files that are open can neither be removed nor replaced, all are the same.
#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<u64> {
    path.metadata().map(|_| 0)
}

fn displaced(path: &Path) -> Error {
    Error::Unavailable(format!(
        "{} was removed, renamed or replaced while it was open, and what is written now would be \
         lost; nothing of this was: close the store, put the file back with its -wal file, or \
         remove the -wal and -shm files of the old one beside the new one, and open it again",
        path.display()
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
