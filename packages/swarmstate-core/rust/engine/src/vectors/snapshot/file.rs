//! The file: which segments it has, who may write it, and when it is rewritten.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use super::super::index::Inner;
use super::read::{next_head, read_position};
use super::segment::{HEAD, Head, Input, Lineage, Output, invalid};
use super::write::{What, write};
use super::{Known, Position};

/// A file is not rewritten while its deltas have fewer bytes than this.
const FEW: u64 = 1 << 20;
const MOST_DELTAS: usize = 64;

/// What the heads of a file say about it.
struct Found {
    lineage: Lineage,
    position: Position,
    base: u64,
    deltas: usize,
    /// The end of the last complete segment.
    end: u64,
}

/// Writes changes, or everything; returns the size of the file, or `None` if nothing was written.
pub(super) fn save(
    inner: &Inner,
    path: &Path,
    position: &Position,
    known: &mut Option<Known>,
) -> io::Result<Option<u64>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
        .open(path.with_extension("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let found = inspect(path).ok();
    let clusters = inner.read().generation();
    if let (Some(found), Some(last)) = (&found, &*known)
        && found.lineage == last.lineage
        && found.position.is_at_least(&last.position)
        && last.clusters == clusters
    {
        let is_saved = inner.read().unsaved.as_ref().is_some_and(HashSet::is_empty);
        if is_saved && *position == found.position {
            return Ok(Some(found.end));
        }
        if !position.is_at_least(&found.position) {
            // Others have saved data that this index has not read yet.
            return Ok(None);
        }
        let deltas = found.end - found.base;
        if found.deltas < MOST_DELTAS && deltas <= found.base.max(FEW) {
            let end = append(inner, path, found, position)?;
            *known = Some(Known {
                lineage: found.lineage,
                position: position.clone(),
                clusters,
            });
            return Ok(Some(end));
        }
    }
    let (lineage, end) = rewrite(inner, path, position)?;
    *known = Some(Known {
        lineage,
        position: position.clone(),
        clusters,
    });
    Ok(Some(end))
}

/// Appends a delta; returns its end.
fn append(inner: &Inner, path: &Path, found: &Found, position: &Position) -> io::Result<u64> {
    let changed = take_unsaved(inner);
    let mut file = OpenOptions::new().write(true).open(path)?;
    let written: io::Result<u64> = (|| {
        // Anything after this is an incomplete segment.
        file.set_len(found.end)?;
        file.seek(SeekFrom::Start(found.end))?;
        segment(
            inner,
            &mut file,
            found.lineage,
            position,
            &What::These(&changed),
        )
    })();
    match written {
        Ok(length) => Ok(found.end + length),
        Err(error) => {
            let mut state = inner.write();
            state.unsaved.get_or_insert_default().extend(changed);
            Err(error)
        }
    }
}

/// Writes a new file; returns its lineage and size.
fn rewrite(inner: &Inner, path: &Path, position: &Position) -> io::Result<(Lineage, u64)> {
    let mut lineage = Lineage::default();
    getrandom::fill(&mut lineage).map_err(|_| invalid("no random bytes are available"))?;
    let changed = take_unsaved(inner);
    // Only the holder of the lock writes this file; leftovers of a killed process are overwritten.
    let new = path.with_extension("new");
    let written: io::Result<u64> = (|| {
        let mut file =
            private(OpenOptions::new().write(true).create(true).truncate(true)).open(&new)?;
        let end = segment(inner, &mut file, lineage, position, &What::Everything)?;
        drop(file);
        fs::rename(&new, path)?;
        Ok(end)
    })();
    if written.is_err() {
        let mut state = inner.write();
        state.unsaved.get_or_insert_default().extend(changed);
        drop(state);
        // It may not exist.
        let _ = fs::remove_file(&new);
    }
    Ok((lineage, written?))
}

/// Writes a segment at the file's position; returns its length.
fn segment(
    inner: &Inner,
    file: &mut File,
    lineage: Lineage,
    position: &Position,
    what: &What<'_>,
) -> io::Result<u64> {
    let start = file.stream_position()?;
    // The head is written last: without one, an incomplete segment is never taken for a segment.
    file.write_all(&[0; HEAD])?;
    let mut output = Output::new(BufWriter::with_capacity(1 << 20, &mut *file));
    write(inner, position, what, &mut output)?;
    let (mut writer, length, check) = output.finish();
    writer.flush()?;
    drop(writer);
    let head = Head {
        lineage,
        is_base: matches!(what, What::Everything),
        length,
        check,
    };
    file.seek(SeekFrom::Start(start))?;
    file.write_all(&head.encode())?;
    Ok(HEAD as u64 + length)
}

fn inspect(path: &Path) -> io::Result<Found> {
    let mut file = BufReader::new(File::open(path)?);
    let size = file.get_ref().metadata()?.len();
    let mut found: Option<Found> = None;
    let mut end = 0;
    while let Some(head) = next_head(&mut file, size - end)? {
        let mut input = Input::new(&mut file, head.length);
        let position = read_position(&mut input)?;
        end += HEAD as u64 + head.length;
        file.seek(SeekFrom::Start(end))?;
        found = Some(match found {
            None => Found {
                lineage: head.lineage,
                position,
                base: end,
                deltas: 0,
                end,
            },
            Some(before) => Found {
                position,
                deltas: before.deltas + 1,
                end,
                ..before
            },
        });
    }
    found.ok_or_else(|| invalid("it has no complete segment"))
}

fn take_unsaved(inner: &Inner) -> HashSet<std::sync::Arc<str>> {
    let mut state = inner.write();
    std::mem::take(state.unsaved.get_or_insert_default())
}

/// Makes created files private: they hold the same data as the records.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
