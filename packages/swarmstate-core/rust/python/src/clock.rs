//! The source of time for stores.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// The system's clock, or a Python callable that returns seconds since the Unix epoch.
pub(crate) enum Clock {
    System,
    Callable(Py<PyAny>),
}

impl Clock {
    pub(crate) fn new(clock: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        match clock {
            None => Ok(Self::System),
            Some(clock) if clock.is_callable() => Ok(Self::Callable(clock.unbind())),
            Some(other) => Err(PyTypeError::new_err(format!(
                "clock must be a callable that returns seconds, not {}",
                other.get_type().name()?
            ))),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::System => Ok(()),
            Self::Callable(clock) => visit.call(clock),
        }
    }

    /// Returns the time in milliseconds since the Unix epoch.
    ///
    /// May run Python code: never call it while holding a lock.
    pub(crate) fn now(&self, py: Python<'_>) -> PyResult<i64> {
        match self {
            // A system clock set before 1970 makes deadlines late, not wrong.
            Self::System => Ok(SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| elapsed.as_millis() as i64)),
            Self::Callable(clock) => {
                let seconds: f64 = clock.call0(py)?.extract(py)?;
                Ok((seconds * 1000.0).round() as i64)
            }
        }
    }
}
