//! Saves an index to a file, so that it need not be rebuilt from all records.
//!
//! A file is a *base*, with a whole index, followed by *deltas*, each with what changed since.
//! Every segment says up to which position the index had read the log of its collection when the
//! segment was begun. Later changes may or may not be in the segment: a process that loads the file
//! reads them again, because the log names them.
//!
//! The file is derived data and never required. A reader that finds anything wrong with it ignores
//! it. `docs/formats.md` describes the format.

mod file;
mod read;
pub(super) mod segment;
mod write;

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::index::{Index, Inner};
use super::metric::Metric;

/// What an index contains, and how much of the log it has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The namespace of the collection.
    pub namespace: String,
    /// The last entry read from each lane of the log; the entries of a lane are in order.
    pub cursors: Vec<String>,
}

impl Position {
    /// Returns whether this is not behind `other` in any lane.
    fn is_at_least(&self, other: &Self) -> bool {
        self.namespace == other.namespace
            && self.cursors.len() == other.cursors.len()
            && self.cursors.iter().zip(&other.cursors).all(|(a, b)| a >= b)
    }
}

/// What an index knows about its file.
#[derive(Default)]
pub(super) struct Saving {
    /// Held while the file is written.
    turn: Mutex<Option<Known>>,
    outcome: Mutex<Outcome>,
}

/// What was last written to or read from the file.
#[derive(Clone, Debug)]
struct Known {
    lineage: segment::Lineage,
    position: Position,
    /// The generation of its clusters, if it has any.
    clusters: Option<u64>,
}

/// The outcome of the last attempt to write the file.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The size of the file in bytes, if it was written or read.
    pub bytes: Option<u64>,
    /// Why it could not be written.
    pub error: Option<String>,
}

/// Reads an index from a file; returns it with its position.
///
/// # Errors
///
/// The file does not exist, cannot be read, is damaged, or has another format or namespace.
pub fn load(
    path: &Path,
    namespace: &str,
    metric: Metric,
    approximate_above: usize,
) -> io::Result<(Index, Position)> {
    let loaded = read::load(path, namespace, metric)?;
    let index = Index::new(metric, approximate_above);
    let inner = index.inner();
    let clusters = loaded.state.generation();
    *inner.write() = loaded.state;
    *turn_of(inner) = Some(Known {
        lineage: loaded.lineage,
        position: loaded.position.clone(),
        clusters,
    });
    note(inner, Ok(loaded.bytes));
    Ok((index, loaded.position))
}

/// Writes what changed since the index was last saved or loaded, or all of it, to a file.
///
/// `position` is one that the index had reached before this call. Returns false, and writes
/// nothing, if another process is writing the file or has written newer data.
///
/// # Errors
///
/// The file cannot be written.
pub fn save(index: &Index, path: &Path, position: &Position) -> io::Result<bool> {
    let inner = index.inner();
    let mut turn = turn_of(inner);
    let written = file::save(inner, path, position, &mut turn);
    let outcome = match &written {
        Ok(Some(bytes)) => Ok(*bytes),
        Ok(None) => return Ok(false),
        Err(error) => Err(error.to_string()),
    };
    note(inner, outcome);
    written.map(|_| true)
}

/// Returns the outcome of the last attempt to write the file.
#[must_use]
pub fn outcome(index: &Index) -> Outcome {
    let outcome = &index.inner().saving.outcome;
    outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn turn_of(inner: &Inner) -> std::sync::MutexGuard<'_, Option<Known>> {
    inner
        .saving
        .turn
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn note(inner: &Inner, result: Result<u64, String>) {
    let mut outcome = inner
        .saving
        .outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match result {
        Ok(bytes) => {
            *outcome = Outcome {
                bytes: Some(bytes),
                error: None,
            };
        }
        Err(error) => outcome.error = Some(error),
    }
}
