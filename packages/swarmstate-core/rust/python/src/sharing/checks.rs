//! Checks whether a record's entries are well formed.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use swarmstate_engine::BlobHash;

use super::blobs::CheckpointError;

/// Check that something read from a store is a dict of entries by name.
///
/// Raises:
///     CheckpointError: It is not; the message names the value.
#[pyfunction]
#[pyo3(signature = (entries, /))]
pub fn check_entries(entries: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(entries) = entries.cast_exact::<PyDict>() else {
        return Err(CheckpointError::new_err(format!(
            "expected its values to be a map, found {}",
            kind(entries)?
        )));
    };
    for (name, entry) in entries.iter() {
        check_entry(&name, &entry)?;
    }
    Ok(())
}

/// Check that something read from a store is an entry with a str as its name.
///
/// Raises:
///     CheckpointError: It is not.
#[pyfunction]
#[pyo3(signature = (name, entry, /))]
pub fn check_entry(name: &Bound<'_, PyAny>, entry: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(name) = name.cast::<PyString>() else {
        return Err(CheckpointError::new_err(format!(
            "expected a channel name to be a str, found {}",
            kind(name)?
        )));
    };
    if is_entry(entry) {
        return Ok(());
    }
    let found = entry.repr()?;
    let found: String = found.to_string_lossy().chars().take(80).collect();
    Err(CheckpointError::new_err(format!(
        "expected channel {:?} to be a type and pieces, found {found}",
        name.to_string_lossy()
    )))
}

fn is_entry(entry: &Bound<'_, PyAny>) -> bool {
    let mut parts = match entry.cast::<PyTuple>() {
        Ok(parts) => parts.to_owned(),
        Err(_) => match entry.cast::<PyList>() {
            Ok(parts) => parts.to_tuple(),
            Err(_) => return false,
        },
    }
    .into_iter();
    parts.len() > 1
        && (parts.next()).is_some_and(|tag| tag.is_instance_of::<PyString>())
        && parts.all(|piece| is_piece(&piece))
}

/// Returns whether this is bytes, or a list with nothing but the hashes of blobs.
fn is_piece(piece: &Bound<'_, PyAny>) -> bool {
    let hashes = if let Ok(piece) = piece.cast::<PyList>() {
        (piece.len() == 1).then(|| piece.get_item(0))
    } else if let Ok(piece) = piece.cast::<PyTuple>() {
        (piece.len() == 1).then(|| piece.get_item(0))
    } else {
        return piece.is_instance_of::<PyBytes>();
    };
    matches!(hashes, Some(Ok(hashes)) if hashes.cast::<PyBytes>().is_ok_and(|hashes| {
        hashes.as_bytes().len().is_multiple_of(BlobHash::BYTES)
    }))
}

fn kind(object: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(object.get_type().name()?.to_string())
}
