//! Translates SQLite's errors for users of a store.

use std::fs::File;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::Error;

/// Returns the engine's error for an SQLite error about the file at `path`.
pub(super) fn failure(path: &Path, error: rusqlite::Error) -> Error {
    let shown = path.display();
    let code = error.sqlite_error_code();
    match code {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => Error::Unavailable(format!(
            "{shown} stayed locked by another process until the timeout ({error}); nothing was \
             written: find the process holding the lock, or set a longer timeout"
        )),
        Some(ErrorCode::ReadOnly) => read_only(path),
        _ if is_damage(&error) => damaged(path, &error),
        Some(ErrorCode::DiskFull) => Error::Unavailable(format!(
            "cannot write {shown}: the disk is full ({error}); none of this write was stored: free \
             some space and retry. Deleting records takes space too, at most the size of the -wal \
             file beside it"
        )),
        Some(ErrorCode::SystemIoFailure)
            if error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
        {
            Error::Unavailable(format!(
                "cannot open {shown}: the disk is full or a file size limit was reached, and even \
                 reading needs a file of about 32 kB beside it, whose name ends with -shm ({}); \
                 free some space and retry",
                described(&error)
            ))
        }
        Some(ErrorCode::SystemIoFailure) => Error::Unavailable(format!(
            "reading or writing {shown} failed: {}; check the disk, its free space and file size \
             limits",
            described(&error)
        )),
        Some(ErrorCode::CannotOpen) if is_out_of_files(path) => Error::Unavailable(format!(
            "cannot open {shown} or create files beside it: this process or the machine has too \
             many open files ({}); close some or raise the limit (ulimit -n), and retry",
            described(&error)
        )),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Error::Unavailable(format!(
            "cannot open {shown} or create files beside it: {}; check the permissions of the file \
             and of its directory",
            described(&error)
        )),
        Some(ErrorCode::TooBig) => Error::Unavailable(format!(
            "cannot write {shown}: a record exceeds the limit of 1,000,000,000 bytes; none of this \
             write was stored"
        )),
        _ => Error::Unavailable(format!("using {shown} failed: {}", described(&error))),
    }
}

fn damaged(path: &Path, error: &rusqlite::Error) -> Error {
    Error::Format(format!(
        "{} is damaged ({error}); restore it from a backup, or recover what remains with the \
         .recover command of the sqlite3 shell",
        path.display()
    ))
}

/// Returns the error of a vacuum that could not delete a damaged namespace.
pub(super) fn undeletable(path: &Path) -> Error {
    Error::Format(format!(
        "{} is damaged in records of something deleted or expired, so they cannot be removed; all \
         other space was reclaimed: copy what remains to a new file with the command \"swarmstate \
         copy\", or restore a backup",
        path.display()
    ))
}

/// Returns whether the file does not hold what was written to it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            // No write violates the schema's constraints, unless ids are not what was written.
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch,
        ) => true,
        Some(ErrorCode::SystemIoFailure) => is_cut(error),
        Some(_) => false,
        None => is_unreadable(error),
    }
}

/// Returns whether there was no room for a write, on the disk or within a quota.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_WRITE)
}

/// Returns whether the file is a database to SQLite, but holds data that no store writes.
fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as Sql;
    matches!(
        error,
        Sql::InvalidColumnType(..)
            | Sql::FromSqlConversionFailure(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::Utf8Error(..)
            | Sql::StatementChangedRows(_)
    )
}

/// Returns whether the file ends before a page that it should have.
fn is_cut(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}

/// Returns whether no more files can be opened right now, which SQLite reports only as a file that
/// could not be opened.
pub(super) fn is_out_of_files(path: &Path) -> bool {
    /// `ENFILE` and `EMFILE`, on every system that has such limits.
    const LIMITS: [i32; 2] = [23, 24];
    // Not the file itself: closing it would release the locks that the process has on it.
    let probe = File::open(path.parent().unwrap_or(Path::new("/")));
    let code = probe.err().and_then(|error| error.raw_os_error());
    cfg!(unix) && code.is_some_and(|code| LIMITS.contains(&code))
}

/// Returns whether an error may come from a single one of several writes, such as one that is too
/// large or one that replaces a damaged value.
pub(super) fn may_spare_others(error: &rusqlite::Error) -> bool {
    is_damage(error)
        || matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::TooBig
                    | ErrorCode::OutOfMemory
            )
        )
}

/// Returns the error for a write to a read-only store.
pub(super) fn read_only(path: &Path) -> Error {
    Error::ReadOnly(format!(
        "{} is read-only; to write, give this user write permission on the file and its directory",
        path.display()
    ))
}

/// Returns the error for a write that was stopped by a bug.
pub(super) fn panicked(path: &Path) -> Error {
    Error::Unavailable(format!(
        "writing {} failed because of a bug in swarmstate, printed to standard error; none of this \
         write was stored: please report it",
        path.display()
    ))
}

/// Returns SQLite's message with the extended code, which alone distinguishes I/O errors.
fn described(error: &rusqlite::Error) -> String {
    match error.sqlite_extended_error_code() {
        Some(code) => format!("{error} (SQLite error {code})"),
        None => error.to_string(),
    }
}
