//! Opens and configures connections.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failure::failure;
use super::opening::Durability;
use crate::{Error, Result};

/// There are few distinct statements: about thirty, and eight forms of range.
const CACHED_STATEMENTS: usize = 64;

/// If a large value makes the log longer than this, it is truncated when it starts over.
const LOG_BYTES: u32 = 32 << 20;

/// Opens the connection that creates or migrates the file and then writes to it.
///
/// It may turn out to be read-only; check `Connection::is_readonly`.
pub(super) fn open_writer(path: &Path, timeout: Duration) -> rusqlite::Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    open(path, access, timeout)
}

/// Opens another connection to a prepared file, to copy the log into it.
pub(super) fn open_checkpointer(path: &Path, timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, timeout)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;")?;
    Ok(connection)
}

/// Opens a reading connection, which works alongside any number of writers.
pub(super) fn open_reader(path: &Path, timeout: Duration) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, timeout)
}

/// Opens a connection that takes no locks and assumes that the file never changes.
pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push_str("?immutable=1");
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    open(Path::new(&uri), access, Duration::ZERO)
}

fn open(path: &Path, access: OpenFlags, timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Plans must not depend on parameters: SQLite would recompile a cached statement whenever LIMIT
    // changes, which takes longer than running it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_handler(Some(patience(timeout)))?;
    Ok(connection)
}

/// Returns a busy handler that gives up after `timeout`.
///
/// SQLite's own handler sleeps for up to 100 ms at a time. Commits take a fraction of a
/// millisecond, so a writer that sleeps through hundreds of them starves.
fn patience(timeout: Duration) -> impl FnMut(i32) -> bool + Send + 'static {
    const SHORTEST: Duration = Duration::from_micros(50);
    const LONGEST: Duration = Duration::from_millis(4);
    let mut started = Instant::now();
    move |attempt| {
        if attempt == 0 {
            started = Instant::now();
        }
        let left = timeout.saturating_sub(started.elapsed());
        let pause = SHORTEST
            .saturating_mul(1 << attempt.clamp(0, 16))
            .min(LONGEST)
            .min(left);
        thread::sleep(pause);
        !left.is_zero()
    }
}

/// Turns on the write-ahead log once the schema exists, and sets how it is synced.
pub(super) fn configure_writer(
    path: &Path,
    connection: &Connection,
    durability: Durability,
    timeout: Duration,
) -> Result<()> {
    let fail = |error| failure(path, error);
    let started = Instant::now();
    let mode: String = loop {
        // Changing the mode needs exclusive access and does not call the busy handler.
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && started.elapsed() < timeout =>
            {
                thread::sleep(Duration::from_millis(1));
            }
            answer => break answer.map_err(fail)?,
        }
    };
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::Unavailable(format!(
            "{} is on a file system without shared memory, which the write-ahead log needs \
             (journal mode {mode}); put it on a local disk",
            path.display()
        )));
    }
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    // Only macOS has `fullfsync`; a plain fsync there leaves data in the drive's cache.
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA fullfsync = ON;
             PRAGMA journal_size_limit = {LOG_BYTES};"
        ))
        .map_err(fail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::schema;
    use super::*;

    /// No other test shows what a power cut would lose.
    #[test]
    fn commits_are_synced_as_the_durability_says_and_copies_of_the_log_always() {
        for (durability, expected) in [(Durability::Full, 2), (Durability::Normal, 1)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("state.db");
            let timeout = Duration::from_secs(1);
            let mut writer = open_writer(&path, timeout).unwrap();
            schema::prepare(&path, &mut writer).unwrap();
            configure_writer(&path, &writer, durability, timeout).unwrap();
            let checkpointer = open_checkpointer(&path, timeout).unwrap();
            for (connection, expected) in [(writer, expected), (checkpointer, 2)] {
                let found: i64 = connection
                    .pragma_query_value(None, "synchronous", |row| row.get(0))
                    .unwrap();
                assert_eq!(found, expected, "{durability:?}");
            }
        }
    }
}
