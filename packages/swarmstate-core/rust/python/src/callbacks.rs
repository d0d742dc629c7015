//! Calls into Python from threads that Python did not start.
//!
//! A thread that holds or takes the GIL while the interpreter is torn down aborts the process.
//! So each call that is still to be made is counted, until its thread let the GIL go, and the
//! interpreter's end waits for all of them: `swarmstate.disk` calls `end_callbacks` at exit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use swarmstate_engine::{Error, Result};

use crate::error::to_py;

/// Calls to be made. Atomic, not locked, because a fork could leave a lock taken for ever.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

/// Set when the interpreter ends; no call is expected from then on.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Counts one call as expected until dropped.
struct Expected;

impl Expected {
    fn new() -> PyResult<Self> {
        EXPECTED.fetch_add(1, Ordering::SeqCst);
        let expected = Self;
        // Looked at after counting: `end_callbacks` sets it before it looks at the count.
        if ENDED.load(Ordering::SeqCst) {
            return Err(to_py(Error::Closed));
        }
        Ok(expected)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        EXPECTED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns the engine's callback that calls `done(result, error)`, one of the two being None.
///
/// # Errors
/// `StoreClosedError` if the interpreter is ending.
pub(crate) fn callback<T: 'static>(
    done: Py<PyAny>,
    convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<impl FnOnce(Result<T>) + Send + 'static> {
    let expected = Expected::new()?;
    Ok(move |result: Result<T>| {
        Python::attach(move |py| {
            let converted = result.map_err(to_py).and_then(|value| convert(py, value));
            let called = match converted {
                Ok(value) => done.call1(py, (value, py.None())),
                Err(error) => done.call1(py, (py.None(), error)),
            };
            if let Err(error) = called {
                error.write_unraisable(py, Some(done.bind(py)));
            }
        });
        drop(expected);
    })
}

/// Waits for all calls that were promised; whoever wants another one gets an error.
#[pyfunction]
pub(crate) fn end_callbacks(py: Python<'_>) {
    ENDED.store(true, Ordering::SeqCst);
    py.detach(|| {
        while EXPECTED.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Forgets the calls of the process that this one was forked from, whose threads are not here.
#[pyfunction]
pub(crate) fn forget_callbacks() {
    EXPECTED.store(0, Ordering::SeqCst);
}
