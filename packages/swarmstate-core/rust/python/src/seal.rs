//! Sealed records, which detect that their bytes are not those that were stored.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::codec::{DecodeError, decode_slice, dumps_to_vec};

/// The head of a two-item msgpack array, and that of its second item, a 32-bit int.
const HEAD: u8 = 0x92;
const CHECK_HEAD: u8 = 0xce;

/// Encode a value together with a check of its bytes: the msgpack array `[value, check]`.
///
/// The check is the CRC-32 (as in zlib) of the encoded value and the UTF-8 of `key`. It detects
/// damage, and a record read under a different key than it was written for, but not tampering:
/// encrypt records that others could write.
///
/// Args:
///     obj: The value.
///     key: Where the record is stored; a surrogate in it counts as U+FFFD.
///
/// Raises:
///     EncodeError: As for `dumps`.
#[pyfunction]
#[pyo3(signature = (obj, /, key = None), text_signature = "(obj, /, key='')")]
pub fn seal<'py>(
    obj: &Bound<'py, PyAny>,
    key: Option<&Bound<'py, PyString>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut data = vec![HEAD];
    dumps_to_vec(&mut data, obj)?;
    let check = check(&data[1..], key.map(|key| key.to_string_lossy()).as_deref());
    data.push(CHECK_HEAD);
    data.extend_from_slice(&check.to_be_bytes());
    Ok(PyBytes::new(obj.py(), &data))
}

/// Decode the result of `seal` for the same `key`.
///
/// Raises:
///     DecodeError: The bytes have changed, or were sealed for another key.
#[pyfunction]
#[pyo3(signature = (data, /, key = None), text_signature = "(data, /, key='')")]
pub fn unseal<'py>(
    py: Python<'py>,
    data: &[u8],
    key: Option<&Bound<'py, PyString>>,
) -> PyResult<Bound<'py, PyAny>> {
    match content_of(data, key.map(|key| key.to_string_lossy()).as_deref()) {
        Some(content) => decode_slice(py, content),
        None => Err(DecodeError::new_err(
            "its bytes differ from those stored here",
        )),
    }
}

/// Returns the bytes of the value in a sealed record; None if they are not those that were stored.
pub fn content_of<'a>(data: &'a [u8], key: Option<&str>) -> Option<&'a [u8]> {
    let (rest, stored) = data.split_last_chunk()?;
    let content = rest.strip_suffix(&[CHECK_HEAD])?.strip_prefix(&[HEAD])?;
    (check(content, key).to_be_bytes() == *stored).then_some(content)
}

fn check(content: &[u8], key: Option<&str>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(content);
    if let Some(key) = key {
        hasher.update(key.as_bytes());
    }
    hasher.finalize()
}
