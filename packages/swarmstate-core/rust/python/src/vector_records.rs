//! Encodes and decodes the records of a collection.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use swarmstate_engine::vectors::Record;

use crate::codec::Codec;
use crate::embedding;
use crate::error::to_py;
use crate::plane;
use crate::vectors::{PREFIX, texts};

/// Encode records of a collection.
///
/// `records` holds tuples `(id, value, embeddings, scope, categories)`. Returns
/// `{key: bytes}` and the dimension of the embeddings, None if there are none.
#[pyfunction]
pub(crate) fn encode_records<'py>(
    codec: &Bound<'py, Codec>,
    records: &Bound<'py, PyAny>,
    dimensions: Option<usize>,
) -> PyResult<(Bound<'py, PyDict>, Option<usize>)> {
    let py = codec.py();
    let put = PyDict::new(py);
    let mut dimensions = dimensions;
    for item in records.try_iter()? {
        let item = item?;
        let fields = plane::fields(&item, "a Record", 5)?;
        let id_object = fields.get_item(0)?;
        let id = plane::name(&id_object, "id")?;
        let value = fields.get_item(1)?;
        if !value.is_instance_of::<PyDict>() {
            return Err(PyTypeError::new_err(format!(
                "the value of record {id:?} must be a dict, not {}",
                value.get_type().name()?
            )));
        }
        let mut embeddings = Vec::new();
        for (position, vector) in fields.get_item(2)?.try_iter()?.enumerate() {
            let vector =
                embedding::extract(&vector?).map_err(|reason| reason.of_record(id, position))?;
            match dimensions {
                None => dimensions = Some(vector.len()),
                Some(stored) if stored != vector.len() => {
                    return Err(dimension_error(stored, vector.len()));
                }
                Some(_) => {}
            }
            embeddings.push(vector);
        }
        let mut categories = texts(&fields.get_item(4)?, "categories")?;
        categories.sort_unstable();
        categories.dedup();
        let record = Record {
            scope: texts(&fields.get_item(3)?, "scope")?,
            categories,
            value: codec.get().encode(&value)?,
            embeddings,
        };
        put.set_item(format!("{PREFIX}{id}"), PyBytes::new(py, &record.encode()))?;
    }
    Ok((put, dimensions))
}

/// Decode a stored record to `(value, embeddings, scope, categories)`, with everything but texts as
/// bytes.
#[pyfunction]
#[allow(clippy::type_complexity, reason = "a tuple of what _core.pyi names")]
pub(crate) fn decode_record<'py>(
    py: Python<'py>,
    data: &[u8],
) -> PyResult<(
    Bound<'py, PyBytes>,
    Vec<Bound<'py, PyBytes>>,
    Bound<'py, PyTuple>,
    Bound<'py, PyTuple>,
)> {
    let record = Record::decode(data).map_err(to_py)?;
    Ok((
        PyBytes::new(py, &record.value),
        record
            .embeddings
            .iter()
            .map(|vector| embedding::to_bytes(py, vector))
            .collect(),
        PyTuple::new(py, &record.scope)?,
        PyTuple::new(py, &record.categories)?,
    ))
}

fn dimension_error(stored: usize, given: usize) -> PyErr {
    to_py(swarmstate_engine::Error::Dimensions { stored, given })
}
