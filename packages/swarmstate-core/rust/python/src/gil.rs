//! Whether Python has its lock.

use pyo3::prelude::*;

/// Whether one thread at a time runs Python code.
pub fn has_gil(py: Python<'_>) -> PyResult<bool> {
    // Older interpreters have no such function, and a GIL. Once enabled it stays so.
    match py.import("sys")?.getattr_opt("_is_gil_enabled")? {
        Some(is_enabled) => is_enabled.call0()?.extract(),
        None => Ok(true),
    }
}
