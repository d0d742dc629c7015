//! Detects whether Python has its global lock.

use pyo3::prelude::*;

/// Returns whether only one thread at a time runs Python code.
pub fn has_gil(py: Python<'_>) -> PyResult<bool> {
    // Older interpreters have no such function, but have a GIL. Once enabled it stays enabled.
    match py.import("sys")?.getattr_opt("_is_gil_enabled")? {
        Some(is_enabled) => is_enabled.call0()?.extract(),
        None => Ok(true),
    }
}
