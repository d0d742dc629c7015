//! The names and hashes under which blobs are stored.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use swarmstate_engine::{BlobHash, BlobHome};

use super::blobs::blobs_of;

/// Return the prefix of the names of an owner's blobs: four characters.
#[pyfunction]
#[pyo3(signature = (owner, /))]
pub fn blob_home(owner: &str) -> String {
    BlobHome::of(owner).prefix()
}

/// Return the hash under which bytes are stored, 18 bytes: three zeros, and the first 120 bits of
/// their BLAKE3 hash.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn blob_hash<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, BlobHash::of(data).as_bytes())
}

/// Return the names of the blobs that an entry refers to: homes and hashes in base64url.
///
/// Raises:
///     CheckpointError: The entry is damaged.
#[pyfunction]
#[pyo3(signature = (entry, /))]
pub fn blob_names(entry: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    Ok(blobs_of(entry)?.iter().map(BlobHash::name).collect())
}
