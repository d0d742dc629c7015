//! From a path and options to the writer's connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ErrorCode;

use super::failure::{failure, is_out_of_files};
use super::process::OpenFile;
use super::writer::Writer;
use super::{connection, schema};
use crate::{Error, Result};

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    #[default]
    Full,
    /// The end of the process, even if killed; a power cut may lose the newest writes.
    Normal,
}

/// Options for opening a [`DiskStore`].
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// How long to wait for other processes that are writing to the file.
    pub timeout: Duration,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Returns the absolute path of a file; its directory must exist.
pub(super) fn locate(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::Unavailable(
            "the file path is empty; give one such as \"agents.db\"".to_owned(),
        ));
    }
    if path == Path::new(":memory:") {
        return Err(Error::Unavailable(
            "a DiskStore needs a file, not \":memory:\"; use Store() to keep records in memory"
                .to_owned(),
        ));
    }
    let fail = |error: std::io::Error| {
        Error::Unavailable(format!(
            "cannot open {}: {error}; check the path",
            path.display()
        ))
    };
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        found => return found.map_err(fail),
    }
    // SQLite follows a link to a missing file and creates that file.
    if let Ok(target) = path.read_link() {
        let folder = path.parent().unwrap_or(Path::new(""));
        return locate(&folder.join(target));
    }
    let absolute = std::path::absolute(path).map_err(fail)?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(fail(std::io::ErrorKind::IsADirectory.into()));
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(parent.join(name)),
        Err(error) => {
            let text = path.to_string_lossy();
            Err(Error::Unavailable(match text.split_once("://") {
                // The rest of the URL may contain a password.
                Some((scheme, _)) => format!(
                    "a DiskStore takes a path, found a URL starting with {scheme}://; use \
                     swarmstate.open() for a URL"
                ),
                None => format!(
                    "cannot create {}: its directory {} was not found ({error}); {}",
                    absolute.display(),
                    parent.display(),
                    advice_on(path)
                ),
            }))
        }
    }
}

/// Returns advice for a path whose directory does not exist.
fn advice_on(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    if text.starts_with('~') {
        "~ is not expanded: write out the home directory, or use os.path.expanduser()"
    } else {
        "create it first"
    }
}

/// Opens the writer's connection; returns None if the file can only be read.
pub(super) fn open_writer(
    path: &Path,
    options: &DiskOptions,
    file: Arc<OpenFile>,
) -> Result<Option<Writer>> {
    let fail = |error| failure(path, error);
    let mut connection = connection::open_writer(path, options.timeout).map_err(fail)?;
    if connection.is_readonly("main").map_err(fail)? {
        return Ok(None);
    }
    match schema::format_of(&connection) {
        Ok(_) => {}
        // The log cannot be created in a read-only directory.
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
            ) && !is_out_of_files(path) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(fail(error)),
    }
    schema::prepare(path, &mut connection)?;
    connection::configure_writer(path, &connection, options.durability, options.timeout)?;
    file.identify();
    Writer::new(path.to_owned(), connection, options.timeout, file)
        .map(Some)
        .map_err(fail)
}
