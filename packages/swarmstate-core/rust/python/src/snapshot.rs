//! `Snapshot`: an immutable state of a store.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use swarmstate_engine as engine;

use crate::plane;

/// The records of a whole store, as returned by `snapshot()`.
///
/// It never changes and outlives its store. A memory store's snapshot shows a single moment and
/// shares its structure with the store, so taking it costs the same whatever it holds. For other
/// stores, each namespace is from a single moment.
#[pyclass(frozen, module = "swarmstate")]
pub(crate) struct Snapshot(pub(crate) engine::Snapshot);

#[pymethods]
impl Snapshot {
    /// Build a snapshot of the records of a store that has no native snapshots.
    #[staticmethod]
    fn of_records(id: u64, timestamp: f64, records: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut namespaces = Vec::with_capacity(records.len());
        for (namespace, records) in records {
            let name = plane::name(&namespace, "namespace")?.to_owned();
            namespaces.push((name, plane::records(&records, "records")?));
        }
        let taken_at = (timestamp * 1000.0).round() as i64;
        Ok(Self(engine::Snapshot::of_records(id, taken_at, namespaces)))
    }

    /// The number of this snapshot in its store, counted from 1.
    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    /// The id of the store's previous snapshot; None for the first.
    #[getter]
    fn parent(&self) -> Option<u64> {
        self.0.parent()
    }

    /// When it was taken, in seconds since the Unix epoch.
    #[getter]
    fn timestamp(&self) -> f64 {
        self.0.taken_at() as f64 / 1000.0
    }

    /// The total length of all encoded values in bytes; computed on each access.
    #[getter]
    fn size_bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.size_bytes())
    }

    /// The `(namespace, key)` of every record, in order.
    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        addresses(py, py.detach(|| self.0.keys()))
    }

    /// The namespaces, in order.
    #[getter]
    fn namespaces<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        names(py, py.detach(|| self.0.namespaces()))
    }

    /// Return the encoded records of one namespace, in order of their keys.
    fn records<'py>(
        &self,
        py: Python<'py>,
        namespace: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let records = PyDict::new(py);
        for (key, value) in self.0.records(plane::name(namespace, "namespace")?) {
            records.set_item(PyString::new(py, key), PyBytes::new(py, value))?;
        }
        Ok(records)
    }

    /// Return the changes from `base` to this snapshot.
    ///
    /// A dict of three lists of `(namespace, key)`, each in order: "added" and "removed" records,
    /// and those whose encoded values "changed". Shared parts are skipped.
    fn diff<'py>(&self, py: Python<'py>, base: &Self) -> PyResult<Bound<'py, PyDict>> {
        let difference = py.detach(|| self.0.diff(&base.0));
        let lists = PyDict::new(py);
        lists.set_item("added", addresses(py, difference.added)?)?;
        lists.set_item("removed", addresses(py, difference.removed)?)?;
        lists.set_item("changed", addresses(py, difference.changed)?)?;
        Ok(lists)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __repr__(&self) -> String {
        format!(
            "<swarmstate.Snapshot {} of {} records>",
            self.0.id(),
            self.0.len()
        )
    }
}

/// Converts names to a list of str.
pub(crate) fn names(py: Python<'_>, names: Vec<Arc<str>>) -> PyResult<Bound<'_, PyList>> {
    PyList::new(py, names.iter().map(|name| &**name))
}

fn addresses(py: Python<'_>, list: Vec<(Arc<str>, Arc<str>)>) -> PyResult<Bound<'_, PyList>> {
    PyList::new(
        py,
        list.iter().map(|(namespace, key)| (&**namespace, &**key)),
    )
}
