//! Embeddings across the language boundary.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyList, PyMemoryView, PyTuple};
use swarmstate_engine::vectors::MAX_DIMENSIONS;

use crate::error::EmbeddingError;

/// Why something is not an embedding.
pub(crate) enum Reason {
    Unfit(String),
    Python(PyErr),
}

impl From<PyErr> for Reason {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Reason {
    pub(crate) fn of_query(self) -> PyErr {
        self.of("the embedding to search for")
    }

    pub(crate) fn of_record(self, id: &str, position: usize) -> PyErr {
        self.of(&format!("embedding {position} of record {id:?}"))
    }

    fn of(self, what: &str) -> PyErr {
        match self {
            Self::Unfit(reason) => EmbeddingError::new_err(format!(
                "{what} {reason}; an embedding is a sequence of finite numbers, an array of them, \
                 or their bytes as little-endian float32"
            )),
            Self::Python(error) => error,
        }
    }
}

/// Extracts an embedding: numbers, a buffer of floats, or bytes of little-endian float32.
pub(crate) fn extract(value: &Bound<'_, PyAny>) -> Result<Vec<f32>, Reason> {
    let vector = if let Ok(bytes) = value.cast::<PyBytes>() {
        from_bytes(bytes.as_bytes())?
    } else if let Ok(list) = value.cast::<PyList>() {
        list.iter()
            .map(|item| number(&item))
            .collect::<Result<_, _>>()?
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        tuple
            .iter_borrowed()
            .map(|item| number(&item))
            .collect::<Result<_, _>>()?
    } else {
        from_buffer(value)?
    };
    check(&vector)?;
    Ok(vector)
}

/// Returns an embedding as bytes of little-endian float32.
pub(crate) fn to_bytes<'py>(py: Python<'py>, vector: &[f32]) -> Bound<'py, PyBytes> {
    let bytes: Vec<u8> = vector.iter().flat_map(|item| item.to_le_bytes()).collect();
    PyBytes::new(py, &bytes)
}

fn check(vector: &[f32]) -> Result<(), Reason> {
    if vector.is_empty() || vector.len() > MAX_DIMENSIONS {
        return Err(Reason::Unfit(format!(
            "has {} dimensions, but must have 1 to {MAX_DIMENSIONS}",
            vector.len()
        )));
    }
    match vector.iter().position(|item| !item.is_finite()) {
        Some(position) => Err(Reason::Unfit(format!(
            "has {} at position {position} as float32",
            vector[position]
        ))),
        None => Ok(()),
    }
}

#[inline]
fn number(item: &Bound<'_, PyAny>) -> Result<f32, Reason> {
    if let Ok(float) = item.cast_exact::<PyFloat>() {
        return Ok(float.value() as f32);
    }
    match item.extract::<f64>() {
        Ok(number) => Ok(number as f32),
        Err(_) => Err(Reason::Unfit(format!(
            "contains {} instead of a number",
            item.get_type().name()?
        ))),
    }
}

fn from_bytes(bytes: &[u8]) -> Result<Vec<f32>, Reason> {
    let (items, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Reason::Unfit(format!(
            "has {} bytes, which is not a multiple of 4",
            bytes.len()
        )));
    }
    Ok(items.iter().map(|item| f32::from_le_bytes(*item)).collect())
}

/// Reads objects with a buffer, such as arrays; the stable ABI has no buffers before Python 3.11.
fn from_buffer(value: &Bound<'_, PyAny>) -> Result<Vec<f32>, Reason> {
    let Ok(view) = PyMemoryView::from(value) else {
        return Err(Reason::Unfit(format!(
            "is of type {}",
            value.get_type().name()?
        )));
    };
    if view.getattr("ndim")?.extract::<usize>()? != 1 {
        return Err(Reason::Unfit("has more than one axis".to_owned()));
    }
    let format = view.getattr("format")?.extract::<String>()?;
    let bytes = || {
        let bytes = view.call_method0("tobytes")?;
        Ok::<_, PyErr>(bytes.cast_into::<PyBytes>()?)
    };
    let native = cfg!(target_endian = "little");
    match format.trim_start_matches(['@', '=', '<']) {
        "f" if native => from_bytes(bytes()?.as_bytes()),
        "B" | "c" => from_bytes(bytes()?.as_bytes()),
        "d" if native => {
            let bytes = bytes()?;
            let (items, _) = bytes.as_bytes().as_chunks::<8>();
            let numbers = items.iter().map(|item| f64::from_le_bytes(*item) as f32);
            Ok(numbers.collect())
        }
        // Half precision, integers and so on: the array itself can convert its items to numbers.
        _ => {
            let list = value.call_method0("tolist")?;
            let items = list.try_iter()?;
            items.map(|item| number(&item?)).collect()
        }
    }
}
