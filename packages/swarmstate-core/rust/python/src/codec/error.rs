//! The codec's exceptions and their messages.

use std::fmt;

use pyo3::prelude::*;
use pyo3::types::PyAnyMethods;

mod classes {
    #![allow(missing_docs)]
    pyo3::import_exception!(swarmstate.errors, DecodeError);
    pyo3::import_exception!(swarmstate.errors, EncodeError);
    pyo3::import_exception!(swarmstate.errors, TypeNotAllowedError);
}

pub use classes::{DecodeError, EncodeError, TypeNotAllowedError};

/// Return a `DecodeError` that says what is wrong at `offset`.
#[cold]
pub fn damaged(offset: usize, what: fmt::Arguments<'_>) -> PyErr {
    DecodeError::new_err(format!("at byte {offset}: {what}"))
}

/// Return the name of a class as users write it.
pub fn class_name(class: &Bound<'_, PyAny>) -> String {
    let part = |name| {
        class
            .getattr(name)
            .and_then(|part| part.extract::<String>())
    };
    match (part("__module__"), part("__qualname__")) {
        (Ok(module), Ok(name)) if module == "builtins" => name,
        (Ok(module), Ok(name)) => format!("{module}.{name}"),
        _ => "an object of an unnamed class".to_owned(),
    }
}

/// Return whether LangGraph's `except Exception` would catch the error.
pub fn is_ordinary(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<pyo3::exceptions::PyException>(py)
}
