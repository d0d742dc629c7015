//! Pydantic models that are no more than their fields.

use pyo3::prelude::*;
use pyo3::types::PyType;

/// Whether the encoding of an instance follows from its fields and extra fields alone.
pub fn is_plain_model(class: &Bound<'_, PyType>) -> PyResult<bool> {
    Ok(class
        .module()?
        .to_str()?
        .starts_with("langchain_core.messages."))
}
