//! The blobs that entries refer to.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PySequence};
use swarmstate_engine::BlobHash;

import_exception!(swarmstate.errors, CheckpointError);

/// Returns the blobs that an entry refers to.
pub(super) fn blobs_of(entry: &Bound<'_, PyAny>) -> PyResult<Vec<BlobHash>> {
    let mut blobs = Vec::new();
    for piece in entry.try_iter()?.skip(1) {
        let piece = piece?;
        if !piece.is_instance_of::<PyBytes>() {
            blobs.extend(hashes(&piece)?);
        }
    }
    Ok(blobs)
}

/// Returns the bytes in the record just before a blob, for each blob that such bytes precede.
pub(super) fn heads_of<'py>(
    entry: &Bound<'py, PyAny>,
) -> PyResult<HashMap<BlobHash, Bound<'py, PyBytes>>> {
    let mut heads = HashMap::new();
    let mut before = None;
    for piece in entry.try_iter()?.skip(1) {
        match piece?.cast_into::<PyBytes>() {
            Ok(data) => before = Some(data),
            Err(error) => {
                let first = hashes(&error.into_inner())?.first().copied();
                heads.extend(first.zip(before.take()));
            }
        }
    }
    Ok(heads)
}

/// Returns the blobs that a piece refers to: the only item of a list is their concatenated hashes.
pub(super) fn hashes(piece: &Bound<'_, PyAny>) -> PyResult<Vec<BlobHash>> {
    let hashes = piece.cast::<PySequence>()?.get_item(0)?;
    BlobHash::read_all(hashes.cast::<PyBytes>()?.as_bytes())
        .ok_or_else(|| CheckpointError::new_err("a reference to blobs is truncated"))
}

/// Blobs that were checked, with the addresses of their bytes. Valid as long as these bytes live.
pub(super) type Checked = Mutex<HashSet<(BlobHash, usize)>>;

/// Returns the bytes of a blob, checked against its hash.
pub(super) fn find<'py>(
    name: &str,
    hash: BlobHash,
    blobs: &Bound<'py, PyDict>,
    checked: Option<&Checked>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut checked = checked.map(|checked| checked.lock().unwrap_or_else(PoisonError::into_inner));
    let problem = match blobs.get_item(hash.name())? {
        Some(data) if !data.is_none() => {
            let data = data.cast_into::<PyBytes>()?;
            let place = (hash, data.as_ptr() as usize);
            if checked
                .as_ref()
                .is_some_and(|checked| checked.contains(&place))
            {
                return Ok(data);
            }
            if hash.is_of(data.as_bytes()) {
                if let Some(checked) = &mut checked {
                    checked.insert(place);
                }
                return Ok(data);
            }
            "whose bytes are damaged"
        }
        _ => "which is missing",
    };
    Err(CheckpointError::new_err(format!(
        "channel {name:?} refers to blob {:?}, {problem}",
        hash.name()
    )))
}
