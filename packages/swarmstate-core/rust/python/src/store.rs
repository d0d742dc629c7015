//! `Store`: the in-memory store.
//!
//! The GIL stays held around single operations: they take less time than
//! giving it up and waiting for it. No lock of the engine is held while Python
//! code runs, so waiting for one while holding the GIL is always short.

use pyo3::prelude::*;
use pyo3::types::PyList;
use swarmstate_engine::{Batch, MemoryStore};

use crate::clock::Clock;
use crate::error::to_py;
use crate::plane;
use crate::snapshot::{Snapshot, names};

/// A write of at least this many changes gives up the GIL.
const BULK: usize = 1024;

/// A store of records in memory; see `swarmstate.Store`.
#[pyclass(frozen, subclass, module = "swarmstate._core")]
pub(crate) struct Store {
    engine: MemoryStore,
    clock: Clock,
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (*, clock=None))]
    fn new(clock: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self {
            engine: MemoryStore::new(),
            clock: Clock::new(clock)?,
        })
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let now = self.clock.now(py)?;
        let queries = plane::queries(queries, now)?;
        // Finding records is a small part of a big read; making Python objects of them is the rest.
        let answers = self.engine.read(&queries, now).map_err(to_py)?;
        plane::results(py, answers)
    }

    fn write(&self, py: Python<'_>, batches: &Bound<'_, PyAny>) -> PyResult<()> {
        let now = self.clock.now(py)?;
        let batches = plane::batches(batches, now)?;
        let outcome = if batches.iter().map(changes).sum::<usize>() < BULK {
            self.engine.write(&batches, now)
        } else {
            py.detach(|| self.engine.write(&batches, now))
        };
        outcome.map_err(to_py)
    }

    #[pyo3(signature = (prefix=None, *, after=None, limit=None))]
    fn namespaces<'py>(
        &self,
        py: Python<'py>,
        prefix: Option<&Bound<'py, PyAny>>,
        after: Option<&Bound<'py, PyAny>>,
        limit: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let prefix = prefix.map_or(Ok(""), |prefix| plane::bound(prefix, "prefix"))?;
        let after = after
            .map(|after| plane::bound(after, "after"))
            .transpose()?;
        let limit = limit.map_or(Ok(None), plane::limit)?;
        let now = self.clock.now(py)?;
        let found = py
            .detach(|| self.engine.namespaces(prefix, after, limit, now))
            .map_err(to_py)?;
        names(py, found)
    }

    fn copy(
        &self,
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        target: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let source = plane::name(source, "source")?;
        let target = plane::name(target, "target")?;
        self.engine
            .copy(source, target, self.clock.now(py)?)
            .map_err(to_py)
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.engine
            .snapshot(self.clock.now(py)?)
            .map(Snapshot)
            .map_err(to_py)
    }

    fn restore(&self, py: Python<'_>, snapshot: &Snapshot) -> PyResult<()> {
        py.detach(|| self.engine.restore(&snapshot.0))
            .map_err(to_py)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.engine.close());
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let now = self.clock.now(py)?;
        py.detach(|| self.engine.len(now)).map_err(to_py)
    }
}

fn changes(batch: &Batch) -> usize {
    batch.put.len() + batch.put_if_absent.len() + batch.delete.len()
}
