//! Records that notice when their bytes are not those that were stored.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use swarmstate_engine::BlobHash;

use crate::codec::{DecodeError, decode_slice, dumps_to_vec};

/// The head of a msgpack array of two, and that of its second item, 16 bytes of bin.
const HEAD: u8 = 0x92;
const CHECK_HEAD: [u8; 2] = [0xc4, BlobHash::BYTES as u8];

/// Encode a value together with a check of its bytes: the msgpack array `[value, hash]`.
///
/// The hash is that of `blob_hash`, of the encoded value.
///
/// Raises:
///     EncodeError: As `dumps`.
#[pyfunction]
#[pyo3(signature = (obj, /))]
pub fn seal<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut data = vec![HEAD];
    dumps_to_vec(&mut data, obj)?;
    let hash = BlobHash::of(&data[1..]);
    data.extend_from_slice(&CHECK_HEAD);
    data.extend_from_slice(hash.as_bytes());
    Ok(PyBytes::new(obj.py(), &data))
}

/// Decode what `seal` returned.
///
/// Raises:
///     DecodeError: Some bit of it has changed.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn unseal<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let content = data
        .split_last_chunk::<{ BlobHash::BYTES }>()
        .and_then(|(rest, check)| Some((rest.strip_suffix(&CHECK_HEAD)?, check)))
        .and_then(|(rest, check)| Some((rest.strip_prefix(&[HEAD])?, check)))
        .filter(|(content, check)| BlobHash::of(content).as_bytes() == *check);
    match content {
        Some((content, _)) => decode_slice(py, content),
        None => Err(DecodeError::new_err(
            "its bytes are not those that were stored",
        )),
    }
}
