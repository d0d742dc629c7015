//! `DiskStore`: the store in one SQLite file.
//!
//! Every call that may touch the file releases the GIL. The `submit_` methods only queue work,
//! holding the GIL; `done(result, error)` is called on another thread, with one of the two being
//! None.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use swarmstate_engine::{DiskOptions, DiskStore as Engine, Durability, Error};

use crate::callbacks::Announcer;
use crate::clock::Clock;
use crate::error::to_py;
use crate::plane::{self, Page};

/// A store of records in one SQLite file; see `swarmstate.DiskStore`.
#[pyclass(frozen, subclass, module = "swarmstate._core")]
pub(crate) struct DiskStore {
    engine: Engine,
    clock: Clock,
    announcer: Announcer,
}

#[pymethods]
impl DiskStore {
    #[new]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        durability: &str,
        timeout: f64,
        clock: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let options = DiskOptions {
            durability: durability_of(durability)?,
            timeout: timeout_of(timeout)?,
        };
        let clock = Clock::new(clock)?;
        let engine = py
            .detach(|| Engine::open(&path, &options))
            .map_err(|error| failed(py, error))?;
        let announcer = Announcer::new();
        Ok(Self {
            engine,
            clock,
            announcer,
        })
    }

    /// The path of the file.
    #[getter]
    fn path(&self) -> PathBuf {
        self.engine.path().to_owned()
    }

    /// Answer `queries` in order, in one round trip, with one `Result` each.
    ///
    /// Each is answered before the next one sets an expiry.
    fn read<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let now = self.clock.now(py)?;
        let queries = plane::queries(queries, now)?;
        let answers = py
            .detach(|| self.engine.read(&queries, now))
            .map_err(|error| failed(py, error))?;
        plane::results(py, answers, now)
    }

    /// Apply `batches` in order, in one round trip, each atomically.
    ///
    /// Names, values, limits and times are checked first: if one is invalid, nothing is applied.
    ///
    /// Raises:
    ///     ConflictError: An expectation did not hold. That batch and those after it were not
    ///         applied; those before it were.
    fn write(&self, py: Python<'_>, batches: &Bound<'_, PyAny>) -> PyResult<()> {
        let now = self.clock.now(py)?;
        let batches = plane::batches(batches, now)?;
        py.detach(|| self.engine.write(batches, now))
            .map_err(|error| failed(py, error))
    }

    /// Return the namespaces that start with `prefix`, in UTF-8 byte order.
    ///
    /// Args:
    ///     prefix: The prefix of the namespaces.
    ///     after: Return only namespaces greater than this one; for paging.
    ///     limit: Maximum number of namespaces.
    #[pyo3(
        signature = (prefix=None, *, after=None, limit=None),
        text_signature = "($self, prefix='', *, after=None, limit=None)"
    )]
    fn namespaces(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = plane::given)] prefix: Option<Bound<'_, PyAny>>,
        after: Option<&Bound<'_, PyAny>>,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<String>> {
        let page = Page::new(prefix.as_ref(), after, limit)?;
        let now = self.clock.now(py)?;
        py.detach(|| {
            self.engine
                .namespaces(page.prefix, page.after, page.limit, now)
        })
        .map_err(|error| failed(py, error))
    }

    /// Make `target` hold exactly the records of `source`, atomically.
    ///
    /// The records of `target` are replaced; its expiry becomes that of `source`. Copying a
    /// namespace onto itself changes nothing; copying an absent source leaves `target` empty.
    fn copy(
        &self,
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let source = plane::name(source, "source")?.to_owned();
        let target = plane::name(target, "target")?.to_owned();
        let now = self.clock.now(py)?;
        py.detach(|| self.engine.copy(source, target, now))
            .map_err(|error| failed(py, error))
    }

    /// Return free space in the file to the file system; return how many bytes the file shrank.
    #[pyo3(signature = (max_pages=None))]
    fn vacuum(&self, py: Python<'_>, max_pages: Option<u32>) -> PyResult<u64> {
        let now = self.clock.now(py)?;
        py.detach(|| self.engine.vacuum(max_pages, now))
            .map_err(|error| failed(py, error))
    }

    /// Returns how many writes were committed, and in how many transactions.
    fn commits(&self) -> (u64, u64) {
        let statistics = self.engine.statistics();
        (statistics.writes, statistics.commits)
    }

    /// Finish pending operations, end all threads and close the file.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            let closed = self.engine.close();
            self.announcer.close();
            closed
        })
        .map_err(|error| failed(py, error))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        self.clock.traverse(&visit)
    }

    /// Like `read`, but call `done(results, error)` on another thread.
    fn submit_read(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        done: Py<PyAny>,
    ) -> PyResult<()> {
        let now = self.clock.now(py)?;
        let queries = plane::queries(queries, now)?;
        let done = self.announcer.callback(done, move |py, answers| {
            Ok(plane::results(py, answers, now)?.into_any().unbind())
        })?;
        self.engine.submit_read(queries, now, done);
        Ok(())
    }

    /// Like `write`, but call `done(None, error)` on another thread.
    fn submit_write(
        &self,
        py: Python<'_>,
        batches: &Bound<'_, PyAny>,
        done: Py<PyAny>,
    ) -> PyResult<()> {
        let now = self.clock.now(py)?;
        let batches = plane::batches(batches, now)?;
        let done = self.announcer.callback(done, |py, ()| Ok(py.None()))?;
        self.engine.submit_write(batches, now, done);
        Ok(())
    }

    /// Like `namespaces`, but call `done(names, error)` on another thread.
    fn submit_namespaces(
        &self,
        py: Python<'_>,
        prefix: &Bound<'_, PyAny>,
        after: Option<&Bound<'_, PyAny>>,
        limit: Option<&Bound<'_, PyAny>>,
        done: Py<PyAny>,
    ) -> PyResult<()> {
        let page = Page::new(Some(prefix), after, limit)?;
        let (prefix, after) = (page.prefix.to_owned(), page.after.map(str::to_owned));
        let now = self.clock.now(py)?;
        let done = self.announcer.callback(done, |py, names: Vec<String>| {
            Ok(PyList::new(py, names)?.into_any().unbind())
        })?;
        self.engine
            .submit_namespaces(prefix, after, page.limit, now, done);
        Ok(())
    }

    /// Like `copy`, but call `done(None, error)` on another thread.
    fn submit_copy(
        &self,
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
        done: Py<PyAny>,
    ) -> PyResult<()> {
        let source = plane::name(source, "source")?.to_owned();
        let target = plane::name(target, "target")?.to_owned();
        let now = self.clock.now(py)?;
        let done = self.announcer.callback(done, |py, ()| Ok(py.None()))?;
        self.engine.submit_copy(source, target, now, done);
        Ok(())
    }
}

/// Converts an error. If a signal such as Ctrl-C arrived while waiting for the file, its exception
/// comes first: otherwise it would be raised while the error is handled.
fn failed(py: Python<'_>, error: Error) -> PyErr {
    match error {
        Error::Unavailable(_) => py.check_signals().err().unwrap_or_else(|| to_py(error)),
        _ => to_py(error),
    }
}

fn durability_of(name: &str) -> PyResult<Durability> {
    match name {
        "full" => Ok(Durability::Full),
        "normal" => Ok(Durability::Normal),
        other => Err(PyValueError::new_err(format!(
            "durability must be 'full' or 'normal', not {other:?}"
        ))),
    }
}

fn timeout_of(seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err(format!(
            "timeout must be 0 or more seconds, not {seconds}"
        )));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
