//! Keys of calls: equal exactly for calls with equal arguments.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::codec::{EncodeError, Levels, class_name, write_held, write_key, write_tuple};

/// A str or bytes of at least this length is held by reference, not copied: Python caches its hash,
/// and a call with the same object need not look at its contents. Counted in characters or bytes.
///
/// Stores find results by `CallKey.encoded`, which depends on this constant.
const LONG: usize = 32;

/// The key of a call. Whether a text is copied or held depends only on its value.
#[pyclass(frozen, module = "swarmstate._core")]
#[derive(Default, PartialEq, Eq, Hash)]
pub(crate) struct CallKey {
    /// The concatenated keys of the arguments, with only the kind of each held text.
    bytes: Vec<u8>,
    /// The held texts, in order.
    held: Vec<Held>,
}

/// An exact str or bytes, and its hash in this process.
struct Held {
    text: Py<PyAny>,
    hash: isize,
}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Eq for Held {}

impl PartialEq for Held {
    /// Runs no Python code: the keys' bytes are equal, so both texts are of the same kind.
    fn eq(&self, other: &Self) -> bool {
        self.text.is(&other.text)
            || (self.hash == other.hash
                && Python::attach(|py| self.text.bind(py).eq(other.text.bind(py)).unwrap_or(false)))
    }
}

impl CallKey {
    /// Append the key of an argument.
    ///
    /// # Errors
    /// `EncodeError` if it cannot be a key.
    #[inline]
    pub(crate) fn push(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.write(value, Levels::ALL)
            .map_err(|error| no_key(value, error))
    }

    fn write(&mut self, value: &Bound<'_, PyAny>, levels: Levels) -> PyResult<()> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            if length(text) >= LONG {
                return self.hold(value);
            }
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            if bytes.as_bytes().len() >= LONG {
                return self.hold(value);
            }
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            let levels = levels.deeper()?;
            write_tuple(&mut self.bytes, tuple.len());
            return tuple.iter().try_for_each(|each| self.write(&each, levels));
        }
        write_key(&mut self.bytes, value, levels)
    }

    fn hold(&mut self, text: &Bound<'_, PyAny>) -> PyResult<()> {
        write_held(&mut self.bytes, text);
        self.held.push(Held {
            hash: text.hash()?,
            text: text.clone().unbind(),
        });
        Ok(())
    }

    /// Append bytes that are not the key of a value.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Append another key.
    pub(crate) fn extend(&mut self, py: Python<'_>, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.held
            .extend(other.held.iter().map(|each| each.clone_ref(py)));
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        let mut key = Self::default();
        key.extend(py, self);
        key
    }

    /// Clear the key, keeping its allocation up to `room` bytes.
    pub(crate) fn clear(&mut self, room: usize) {
        self.held.clear();
        self.bytes.clear();
        self.bytes.shrink_to(room);
    }
}

impl Held {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            text: self.text.clone_ref(py),
            hash: self.hash,
        }
    }
}

#[pymethods]
impl CallKey {
    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self == other
    }

    /// Return bytes that are equal, in any process, if the keys are.
    fn encoded<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = self.bytes.clone();
        for each in &self.held {
            write_key(&mut bytes, each.text.bind(py), Levels::ALL)?;
        }
        Ok(PyBytes::new(py, &bytes))
    }
}

fn length(text: &Bound<'_, PyString>) -> usize {
    // SAFETY: a live str, whose length is an O(1) query that cannot fail.
    unsafe { ffi::PyUnicode_GetLength(text.as_ptr()) }.cast_unsigned()
}

#[cold]
fn no_key(value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = value.py();
    if !error.is_instance_of::<PyException>(py) || error.is_instance_of::<PyMemoryError>(py) {
        return error;
    }
    let class = class_name(value.get_type().as_any());
    let reason = error.value(py).to_string();
    let refused = EncodeError::new_err(format!(
        "an argument of type {class} cannot be part of a cache key: {reason}; pass key= to compute \
         one from the arguments"
    ));
    refused.set_cause(py, Some(error));
    refused
}
