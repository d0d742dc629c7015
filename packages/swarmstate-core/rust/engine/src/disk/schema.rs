//! The file format: how it is recognized, created and migrated.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::failure::{failure, read_only};
use crate::{Error, Result};

/// Marks an SQLite file as ours: "SwSt" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x5377_5374;

/// The format this code writes; kept in `user_version`.
pub(super) const FORMAT: i32 = MIGRATIONS.len() as i32;

/// `MIGRATIONS[n]` takes a file from format `n` to `n + 1`. Append only: files of every format
/// exist, and all must end up with the same schema.
///
/// Values are in a table ordered by id, so the values of one commit are written side by side
/// whatever their keys; keys are in a table ordered by key, and nowhere else. A small value (a
/// blob) is stored beside its key; a larger one is represented there by its id (an integer). A
/// namespace whose name is NULL is deleted: later commits reclaim its records.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE namespace (
        id INTEGER PRIMARY KEY,
        name TEXT UNIQUE,
        expires_at INTEGER
    ) STRICT;
    CREATE INDEX namespace_expiry ON namespace (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE record (
        namespace_id INTEGER NOT NULL,
        key TEXT NOT NULL,
        value ANY NOT NULL,
        PRIMARY KEY (namespace_id, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE large_value (
        id INTEGER PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT;
"];

const HEADER_LENGTH: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Rejects a file that is not ours, without SQLite, which could modify it.
///
/// A missing or empty file is fine. So is an SQLite database without tables, which is the state of
/// a file while another process creates a store in it.
pub(super) fn inspect(path: &Path) -> Result<()> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Error::Unavailable(format!(
            "cannot read {shown}: {error}; check its permissions"
        ))
    };
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error)),
        Ok(metadata) if metadata.is_dir() => {
            return Err(Error::Unavailable(format!(
                "{shown} is a directory; give the path of a file in it, such as {}",
                path.join("state.db").display()
            )));
        }
        Ok(metadata) if !metadata.is_file() => {
            return Err(Error::Unavailable(format!(
                "{shown} is not a regular file; give the path of a file"
            )));
        }
        Ok(_) => {}
    }
    let mut header = Vec::with_capacity(HEADER_LENGTH);
    File::open(path)
        .and_then(|file| file.take(HEADER_LENGTH as u64).read_to_end(&mut header))
        .map_err(unreadable)?;
    if header.is_empty() {
        return Ok(());
    }
    if header.len() < HEADER_LENGTH || !header.starts_with(MAGIC) {
        return Err(Error::Format(format!(
            "{shown} is some other file, not a swarmstate database; it was left unchanged: choose \
             another path"
        )));
    }
    let number = |at: usize| i32::from_be_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
    let (pages, schema_version) = (number(28), number(40));
    let (application_id, format) = (number(68), number(60));
    if (pages, schema_version, application_id, format) == (1, 0, 0, 0) {
        return Ok(());
    }
    check(path, application_id, format)
}

/// Checks the application id and format of a database, however they were read.
fn check(path: &Path, application_id: i32, format: i32) -> Result<()> {
    let shown = path.display();
    if application_id != APPLICATION_ID {
        return Err(Error::Format(format!(
            "{shown} is an SQLite database of another program (application_id {application_id:#x}, \
             expected {APPLICATION_ID:#x}); it was left unchanged: choose another path"
        )));
    }
    if format > FORMAT {
        return Err(Error::Format(format!(
            "{shown} has format {format}, but this version of swarmstate reads formats up to \
             {FORMAT}; upgrade swarmstate-core"
        )));
    }
    Ok(())
}

/// Checks a read-only database.
pub(super) fn check_readable(path: &Path, connection: &Connection) -> rusqlite::Result<Result<()>> {
    let format = format_of(connection)?;
    if format >= FORMAT {
        return Ok(check(path, application_id_of(connection)?, format));
    }
    if format == 0 {
        return Ok(Err(read_only(path)));
    }
    Ok(Err(Error::ReadOnly(format!(
        "{} has the older format {format} and must be migrated to format {FORMAT}, but it is \
         read-only; open it once with write permission",
        path.display()
    ))))
}

/// Creates or migrates the schema of a writable database.
pub(super) fn prepare(path: &Path, connection: &mut Connection) -> Result<()> {
    let fail = |error| failure(path, error);
    let format = format_of(connection).map_err(fail)?;
    if format >= FORMAT {
        return check(path, application_id_of(connection).map_err(fail)?, format);
    }
    // These only take effect on an empty file.
    connection
        .execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;")
        .map_err(fail)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    // Read again under the lock: another process may have been faster.
    let format = format_of(&transaction).map_err(fail)?;
    let application_id = application_id_of(&transaction).map_err(fail)?;
    let tables: u32 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fail)?;
    if (tables, application_id, format) != (0, 0, 0) {
        check(path, application_id, format)?;
    }
    for migration in MIGRATIONS
        .iter()
        .skip(usize::try_from(format).unwrap_or_default())
    {
        transaction.execute_batch(migration).map_err(fail)?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(fail)?;
    transaction
        .pragma_update(None, "user_version", FORMAT)
        .map_err(fail)?;
    transaction.commit().map_err(fail)
}

/// Reads the format of a database; an empty one has format 0.
pub(super) fn format_of(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn application_id_of(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}
