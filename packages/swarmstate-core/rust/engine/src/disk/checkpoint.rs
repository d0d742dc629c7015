//! Copies the log into the file alongside commits rather than within them.
//!
//! A commit starts the log over, which keeps it short and its syncs cheap, only if all of it was
//! copied. With a busy writer there is always a bit more. So the bulk is copied in the background,
//! and the few pages added meanwhile are copied by a commit.

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

/// The log is copied once it has this many pages, about 4 MB.
///
/// A longer log does not change the mean cost, and a shorter one is copied more often.
const LOG_PAGES: u32 = 500;

/// From this many pages on, commits wait for the background instead of getting further ahead.
const LONGEST_LOG_PAGES: u32 = 4 * LOG_PAGES;

/// The log is shorter than `LOG_PAGES`.
const SHORT: u8 = 0;
/// The bulk is being copied in the background.
const COPYING: u8 = 1;
/// The bulk was copied; the next commit copies the rest.
const COPIED: u8 = 2;

/// The connection used for copying.
enum Link {
    /// Not opened before it is needed.
    Unopened,
    Open(Connection),
    Closed,
}

pub(super) struct Checkpointer {
    path: PathBuf,
    timeout: Duration,
    /// Pages in the log after the last commit on the watched connection.
    pages: Arc<AtomicU32>,
    state: AtomicU8,
    /// Locked while copying.
    link: Mutex<Link>,
    background: Workers,
    /// The last field, so that it is dropped after the connection.
    file: Arc<OpenFile>,
}

impl Checkpointer {
    /// Watches the log of the writer's connection, and turns off SQLite's automatic checkpoints
    /// there.
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

    /// Starts or finishes a copy of the log, if due, after a commit on `connection`.
    ///
    /// Errors are ignored, since later commits try again: the records are safe in the log.
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

    /// Copies the log until little is added meanwhile. If copying is faster than a busy writer,
    /// each pass has less to copy.
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

    /// Copies the current log, as far as readers allow.
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

    /// Ends the thread and closes the connection; the writer's connection copies the rest.
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
