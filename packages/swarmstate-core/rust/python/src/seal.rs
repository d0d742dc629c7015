//! Records that notice when their bytes are not those that were stored.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::codec::{DecodeError, decode_slice, dumps_to_vec};

/// The head of a msgpack array of two, and that of its second item, an int of 32 bits.
const HEAD: u8 = 0x92;
const CHECK_HEAD: u8 = 0xce;

/// Encode a value together with a check of its bytes: the msgpack array `[value, check]`.
///
/// The check is the CRC-32 (as in zlib) of the encoded value. It notices damage,
/// not intent: encrypt what others may write.
///
/// Raises:
///     EncodeError: As `dumps`.
#[pyfunction]
#[pyo3(signature = (obj, /))]
pub fn seal<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut data = vec![HEAD];
    dumps_to_vec(&mut data, obj)?;
    let check = crc32fast::hash(&data[1..]);
    data.push(CHECK_HEAD);
    data.extend_from_slice(&check.to_be_bytes());
    Ok(PyBytes::new(obj.py(), &data))
}

/// Decode what `seal` returned.
///
/// Raises:
///     DecodeError: Its bytes have changed.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn unseal<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let content = data
        .split_last_chunk()
        .and_then(|(rest, check)| Some((rest.strip_suffix(&[CHECK_HEAD])?, check)))
        .and_then(|(rest, check)| Some((rest.strip_prefix(&[HEAD])?, check)))
        .filter(|(content, check)| crc32fast::hash(content).to_be_bytes() == **check);
    match content {
        Some((content, _)) => decode_slice(py, content),
        None => Err(DecodeError::new_err(
            "its bytes are not those that were stored",
        )),
    }
}
