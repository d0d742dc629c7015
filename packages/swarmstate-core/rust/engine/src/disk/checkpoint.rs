//! Copies the log into the file beside the commits, not within them.
//!
//! A commit starts the log over, and so keeps it short and its syncs cheap, only if all of it was
//! copied. Beside a busy writer there is always some more of it, so what is copied in the
//! background is the bulk, and the few pages that came meanwhile are copied by a commit.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;

use super::connection::open_checkpointer;
use super::failure::failure;
use super::lock;
use super::process::OpenFile;
use super::workers::Workers;
use crate::{Error, Result};

/// From this many pages on, about 4 MB, the log is copied.
///
/// A longer log makes no difference to the mean, and a shorter one is copied more often.
const LOG_PAGES: u32 = 500;

/// From this many pages on, commits do not leave the background behind any further.
const LONGEST_LOG_PAGES: u32 = 4 * LOG_PAGES;

/// The log is shorter than that.
const SHORT: u8 = 0;
/// The bulk is being copied in the background.
const COPYING: u8 = 1;
/// The bulk was copied; the next commit copies the rest.
const COPIED: u8 = 2;

/// The connection that copies.
enum Link {
    /// It is opened when first needed.
    Unopened,
    Open(Connection),
    Closed,
}

pub(super) struct Checkpointer {
    path: PathBuf,
    timeout: Duration,
    /// Of the log after the last commit on the watched connection.
    pages: Arc<AtomicU32>,
    state: AtomicU8,
    /// Locked while it copies.
    link: Mutex<Link>,
    background: Workers,
    /// Last, to be dropped after the connection.
    file: Arc<OpenFile>,
}

impl Checkpointer {
    /// Watches the log of the connection that writes, on which SQLite then copies nothing itself.
    pub(super) fn watch(
        path: PathBuf,
        timeout: Duration,
        connection: &mut Connection,
        file: Arc<OpenFile>,
    ) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            counted.store(u32::try_from(count).unwrap_or_default(), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            path,
            timeout,
            pages,
            state: AtomicU8::new(SHORT),
            link: Mutex::new(Link::Unopened),
            background: Workers::new("swarmstate-checkpoint", 1),
            file,
        })
    }

    /// Sees to the log after a commit on `connection`.
    ///
    /// Errors are left to later commits, which try again: the records are safe in the log.
    pub(super) fn after_commit(self: &Arc<Self>, connection: &Connection) {
        match self.state.load(Ordering::Acquire) {
            SHORT if self.pages.load(Ordering::Relaxed) >= LOG_PAGES => {
                self.state.store(COPYING, Ordering::Release);
                let checkpointer = Arc::clone(self);
                self.background.run(Box::new(move || {
                    checkpointer.copy_bulk();
                    checkpointer.state.store(COPIED, Ordering::Release);
                }));
            }
            COPYING if self.pages.load(Ordering::Relaxed) >= LONGEST_LOG_PAGES => {
                let _copying = lock(&self.link);
                let _ = copy_log(connection);
            }
            COPIED => {
                let _ = copy_log(connection);
                self.state.store(SHORT, Ordering::Release);
            }
            _ => {}
        }
    }

    /// Copies the log until little was added meanwhile; what is copied faster than a busy writer
    /// adds to it gets less each time.
    fn copy_bulk(&self) {
        const PASSES: usize = 8;
        const LITTLE: u32 = 100;
        for _ in 0..PASSES {
            match self.run() {
                Ok(copied) if self.pages.load(Ordering::Relaxed) > copied + LITTLE => {}
                _ => return,
            }
        }
    }

    /// Copies what is in the log now, as far as readers allow.
    ///
    /// Returns how many pages of the log are in the file.
    pub(super) fn run(&self) -> Result<u32> {
        let fail = |error| failure(&self.path, error);
        let mut link = lock(&self.link);
        if matches!(*link, Link::Unopened) {
            self.file.check_place()?;
            *link = Link::Open(open_checkpointer(&self.path, self.timeout).map_err(fail)?);
        }
        match &*link {
            Link::Open(connection) => copy_log(connection).map_err(fail),
            Link::Unopened | Link::Closed => Err(Error::Closed),
        }
    }

    /// Ends the thread and closes the connection; the one that writes copies what is left.
    pub(super) fn close(&self) {
        self.background.join();
        *lock(&self.link) = Link::Closed;
    }
}

fn copy_log(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        // Negative if there is no log.
        Ok(u32::try_from(row.get::<_, i64>(2)?).unwrap_or_default())
    })
}
