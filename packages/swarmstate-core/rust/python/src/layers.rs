//! Encrypts and compresses values for layers over a store.
//!
//! Values come in lists, for the answer to one query or the changes of one batch, so that the GIL
//! is released once for all of them, and not at all if they are small.

use std::fmt::Display;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use swarmstate_engine::{Compression as Engine, KeyRing as Keys, Result};

use crate::error::to_py;
use crate::plane;

/// From this many bytes on, releasing the GIL gains others more than it costs.
const BULK_BYTES: usize = 32 * 1024;

/// Keys by id; see `swarmstate.layers.KeyRing`.
#[pyclass(frozen, module = "swarmstate._core")]
pub(crate) struct KeyRing(Keys);

#[pymethods]
impl KeyRing {
    #[new]
    fn new(keys: &Bound<'_, PyDict>, active: &str) -> PyResult<Self> {
        let keys = keys
            .iter()
            .map(|(id, key)| {
                let id: String = id.extract()?;
                let key: &[u8] = key.extract()?;
                match key.try_into() {
                    Ok(key) => Ok((id, key)),
                    Err(_) => Err(PyValueError::new_err(format!(
                        "key {id:?} must have {} bytes, not {}",
                        Keys::KEY_BYTES,
                        key.len()
                    ))),
                }
            })
            .collect::<PyResult<_>>()?;
        Keys::new(keys, active).map(Self).map_err(unfit)
    }

    fn encode<'py>(
        &self,
        py: Python<'py>,
        namespace: &str,
        keys: &Bound<'py, PyList>,
        values: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyList>> {
        each(py, keys, values, |key, value| {
            self.0.encrypt(namespace, key, value)
        })
    }

    fn decode<'py>(
        &self,
        py: Python<'py>,
        namespace: &str,
        keys: &Bound<'py, PyList>,
        values: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyList>> {
        each(py, keys, values, |key, value| {
            self.0.decrypt(namespace, key, value)
        })
    }

    /// Return whether a value is encrypted under the active key, without decrypting it.
    fn is_current(&self, value: &[u8]) -> bool {
        self.0.is_current(value)
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Compresses values; see `swarmstate.layers.CompressedStore`.
#[pyclass(frozen, module = "swarmstate._core")]
pub(crate) struct Compression(Engine);

#[pymethods]
impl Compression {
    #[new]
    fn new(
        level: i32,
        min_size: usize,
        max_size: usize,
        dictionaries: Vec<Vec<u8>>,
    ) -> PyResult<Self> {
        if !Engine::levels().contains(&level) {
            return Err(PyValueError::new_err(format!(
                "level must be from {} to {}, not {level}",
                Engine::levels().start(),
                Engine::levels().end()
            )));
        }
        Engine::new(level, min_size, max_size, dictionaries)
            .map(Self)
            .map_err(unfit)
    }

    /// Train a dictionary of at most `size` bytes on typical values.
    #[staticmethod]
    fn train<'py>(
        py: Python<'py>,
        samples: &Bound<'py, PyList>,
        size: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let samples = samples
            .iter()
            .map(|sample| Ok(sample.cast_into::<PyBytes>()?))
            .collect::<PyResult<Vec<_>>>()?;
        let samples: Vec<&[u8]> = samples.iter().map(|sample| sample.as_bytes()).collect();
        let dictionary = py.detach(|| Engine::train(&samples, size)).map_err(unfit)?;
        Ok(PyBytes::new(py, &dictionary))
    }

    fn encode<'py>(
        &self,
        py: Python<'py>,
        namespace: &str,
        keys: &Bound<'py, PyList>,
        values: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyList>> {
        each(py, keys, values, |key, value| {
            self.0.compress(namespace, key, value)
        })
    }

    fn decode<'py>(
        &self,
        py: Python<'py>,
        namespace: &str,
        keys: &Bound<'py, PyList>,
        values: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyList>> {
        each(py, keys, values, |key, value| {
            self.0.decompress(namespace, key, value)
        })
    }
}

/// Returns a ValueError about invalid arguments.
fn unfit(error: impl Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Converts each value, given its key.
fn each<'py>(
    py: Python<'py>,
    keys: &Bound<'py, PyList>,
    values: &Bound<'py, PyList>,
    convert: impl Fn(&str, &[u8]) -> Result<Vec<u8>> + Send + Sync,
) -> PyResult<Bound<'py, PyList>> {
    // The lists may change while others run; their items are kept alive.
    let keys: Vec<Bound<'py, PyAny>> = keys.iter().collect();
    let values = values
        .iter()
        .map(|value| Ok(value.cast_into::<PyBytes>()?))
        .collect::<PyResult<Vec<_>>>()?;
    if keys.len() != values.len() {
        return Err(PyValueError::new_err(format!(
            "expected one value per key, found {} keys and {} values",
            keys.len(),
            values.len()
        )));
    }
    let records = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| Ok((plane::name(key, "key")?, value.as_bytes())))
        .collect::<PyResult<Vec<_>>>()?;
    let size: usize = records.iter().map(|(_, value)| value.len()).sum();
    let all = || {
        let converted = records.iter().map(|&(key, value)| convert(key, value));
        converted.collect::<Result<Vec<_>>>()
    };
    let converted = if size < BULK_BYTES {
        all()
    } else {
        py.detach(all)
    };
    let converted = converted.map_err(to_py)?;
    PyList::new(py, converted.iter().map(|value| PyBytes::new(py, value)))
}
