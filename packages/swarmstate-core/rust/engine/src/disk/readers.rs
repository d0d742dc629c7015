//! A pool of reading connections; each read gets one consistent view.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::connection::{open_immutable, open_reader};
use super::failure::{failure, is_out_of_files};
use super::lock;
use super::process::OpenFile;
use super::transaction::Transaction;
use crate::{Error, Result};

/// More connections exist only while that many threads read at once.
const KEPT: usize = 8;

pub(super) struct Readers {
    path: PathBuf,
    file: Arc<OpenFile>,
    timeout: Duration,
    /// Whether the file is writable, so that the files beside it can be created.
    writable: bool,
    state: Mutex<State>,
    /// Notified when a read ends.
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// Reads in progress.
    active: usize,
    closed: bool,
}

impl Readers {
    pub(super) fn new(path: &Path, file: Arc<OpenFile>, timeout: Duration, writable: bool) -> Self {
        let path = path.to_owned();
        Self {
            path,
            file,
            timeout,
            writable,
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs `read` in a read transaction; may run it again if the file changed.
    pub(super) fn read<T>(
        &self,
        mut read: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Error::Closed);
        }
        state.active += 1;
        let kept = state.idle.pop();
        drop(state);
        let _active = Active(self);
        if !self.writable {
            return self.read_frozen(&mut read);
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                self.file.check_place()?;
                open_reader(&self.path, self.timeout).map_err(|e| failure(&self.path, e))?
            }
        };
        let answer = in_transaction(&mut connection, &mut read);
        if answer.is_ok() {
            let mut state = lock(&self.state);
            if state.idle.len() < KEPT && !state.closed {
                state.idle.push(connection);
            }
        }
        answer.map_err(|error| failure(&self.path, error))
    }

    /// Reads a file that this process cannot write.
    ///
    /// Without a log, the file itself is complete, and reading it needs no files beside it, which
    /// perhaps cannot be created. But others may be able to write it. They would create a log
    /// first, and change the file's modification time when they copy the log into it, so a view is
    /// valid only if neither happened. With a log, its index must be shared with the writers.
    fn read_frozen<T>(
        &self,
        read: &mut impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        const ATTEMPTS: usize = 3;
        let fail = |error| failure(&self.path, error);
        for _ in 0..ATTEMPTS {
            let Some(before) = self.stamp() else { break };
            let mut connection = open_immutable(&self.path).map_err(fail)?;
            let answer = in_transaction(&mut connection, read);
            if self.stamp() == Some(before) {
                return answer.map_err(fail);
            }
        }
        let mut connection = open_reader(&self.path, self.timeout).map_err(fail)?;
        in_transaction(&mut connection, read).map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
                if !is_out_of_files(&self.path) =>
            {
                Error::Unavailable(format!(
                    "{} was not closed cleanly: its newest records are in the -wal file beside \
                     it, which cannot be read without write permission on the directory \
                     ({error}); open it once with write permission and close it",
                    self.path.display()
                ))
            }
            _ => fail(error),
        })
    }

    /// Returns a stamp that changes with the file, or None if the file has a log.
    fn stamp(&self) -> Option<(u64, SystemTime)> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        if std::fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            return None;
        }
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    /// Waits for reads in progress, then closes all connections.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        while state.active > 0 {
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle.clear();
    }

    /// Leaks the connections without closing them; see [`super::process`].
    pub(super) fn abandon(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.idle)
            .into_iter()
            .for_each(std::mem::forget);
    }
}

/// Counts a read as in progress until dropped.
struct Active<'a>(&'a Readers);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.active -= 1;
        if state.closed {
            self.0.returned.notify_all();
        }
    }
}

/// Runs `read` in a read transaction.
pub(super) fn in_transaction<T>(
    connection: &mut Connection,
    read: &mut impl FnMut(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = Transaction::read(connection)?;
    let answer = read(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}
