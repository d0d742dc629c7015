//! `Store`: the in-memory store.
//!
//! The GIL is held during single operations: they take less time than releasing and retaking it. No
//! engine lock is held while Python code runs, so waiting for one with the GIL held is always
//! short.

use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use swarmstate_engine::{Batch, MemoryStore, Value};

use crate::clock::Clock;
use crate::codec::Codec;
use crate::error::to_py;
use crate::plane::{self, Page};
use crate::snapshot::{Snapshot, names};

/// A write with at least this many changes releases the GIL.
const BULK: usize = 1024;

/// An in-memory store of records; see `swarmstate.Store`.
#[pyclass(frozen, subclass, module = "swarmstate._core")]
pub(crate) struct Store {
    engine: MemoryStore,
    clock: Clock,
    codec: Py<Codec>,
}

#[pymethods]
impl Store {
    #[new]
    fn new(codec: Py<Codec>, clock: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self {
            engine: MemoryStore::new(),
            clock: Clock::new(clock)?,
            codec,
        })
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
        // Finding records is a small part of a large read; most of it is creating Python objects.
        let answers = self.engine.read(&queries, now).map_err(to_py)?;
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
        let outcome = if batches.iter().map(changes).sum::<usize>() < BULK {
            self.engine.write(&batches, now)
        } else {
            py.detach(|| self.engine.write(&batches, now))
        };
        outcome.map_err(to_py)
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
    fn namespaces<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = plane::given)] prefix: Option<Bound<'py, PyAny>>,
        after: Option<&Bound<'py, PyAny>>,
        limit: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let page = Page::new(prefix.as_ref(), after, limit)?;
        let now = self.clock.now(py)?;
        let found = py
            .detach(|| {
                self.engine
                    .namespaces(page.prefix, page.after, page.limit, now)
            })
            .map_err(to_py)?;
        names(py, found)
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
        let source = plane::name(source, "source")?;
        let target = plane::name(target, "target")?;
        self.engine
            .copy(source, target, self.clock.now(py)?)
            .map_err(to_py)
    }

    /// Store `value`.
    ///
    /// Args:
    ///     namespace: The namespace, created with its first record.
    ///     key: The key; an existing value is replaced.
    ///     value: The value.
    ///     ttl: The whole namespace expires this many seconds from now (`math.inf`: never). None
    ///         leaves its expiry unchanged.
    ///
    /// Raises:
    ///     EncodeError: The codec does not support the value; nothing is stored.
    ///     InvalidNameError: The namespace or the key is empty or contains NUL or a
    ///         lone surrogate.
    #[pyo3(signature = (namespace, key, value, *, ttl=None))]
    fn set(
        &self,
        py: Python<'_>,
        namespace: &Bound<'_, PyAny>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let namespace = plane::name(namespace, "namespace")?;
        let key = plane::name(key, "key")?;
        let encoded = Arc::from(self.codec.get().encode(value)?);
        let (now, expiry) = match ttl {
            None => (self.now(py)?, None),
            Some(ttl) => {
                let now = self.clock.now(py)?;
                (now, plane::expiry(ttl, now)?)
            }
        };
        self.engine
            .put(namespace, key, encoded, expiry, now)
            .map_err(to_py)
    }

    /// Return a value, or `default` if there is none.
    ///
    /// Raises:
    ///     DecodeError: The stored bytes are not an encoded value.
    ///     TypeNotAllowedError: The value's class is outside `allow`.
    #[pyo3(signature = (namespace, key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        namespace: &Bound<'py, PyAny>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.find(py, namespace, key)? {
            Some(value) => self.codec.get().decode(py, &value).map(Some),
            None => Ok(default),
        }
    }

    /// Return whether a record exists.
    fn contains(
        &self,
        py: Python<'_>,
        namespace: &Bound<'_, PyAny>,
        key: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        self.find(py, namespace, key).map(|value| value.is_some())
    }

    /// Delete a record; return whether it existed.
    fn delete(
        &self,
        py: Python<'_>,
        namespace: &Bound<'_, PyAny>,
        key: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let namespace = plane::name(namespace, "namespace")?;
        let key = plane::name(key, "key")?;
        self.engine
            .delete(namespace, key, self.now(py)?)
            .map_err(to_py)
    }

    /// Delete a namespace, or every namespace if none is given.
    #[pyo3(signature = (namespace=None))]
    fn clear(&self, py: Python<'_>, namespace: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let Some(namespace) = namespace else {
            return py.detach(|| self.engine.clear()).map_err(to_py);
        };
        let namespace = plane::name(namespace, "namespace")?.to_owned();
        let batch = Batch {
            namespace,
            clear: true,
            ..Batch::default()
        };
        let now = self.clock.now(py)?;
        py.detach(|| self.engine.write(&[batch], now))
            .map_err(to_py)
    }

    /// Return all records as of one moment, as an immutable `Snapshot`.
    ///
    /// Takes the same time whatever the store holds. Expiry is not part of the snapshot.
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        self.engine
            .snapshot(self.clock.now(py)?)
            .map(Snapshot)
            .map_err(to_py)
    }

    /// Restore every namespace to its records in `snapshot`, all at one moment.
    ///
    /// Namespaces that are not in it are deleted; restored ones do not expire. The snapshot may
    /// come from another store.
    fn restore(&self, py: Python<'_>, snapshot: &Snapshot) -> PyResult<()> {
        py.detach(|| self.engine.restore(&snapshot.0))
            .map_err(to_py)
    }

    /// Release all records. After that, any other method raises `StoreClosedError`.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.engine.close());
    }

    /// A clock may refer to the store that uses it.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.clock.traverse(&visit)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let now = self.clock.now(py)?;
        py.detach(|| self.engine.len(now)).map_err(to_py)
    }
}

impl Store {
    /// Returns the time for an operation that sets no deadline, or 0 if it does not matter.
    fn now(&self, py: Python<'_>) -> PyResult<i64> {
        if self.engine.needs_time() {
            self.clock.now(py)
        } else {
            Ok(0)
        }
    }

    fn find(
        &self,
        py: Python<'_>,
        namespace: &Bound<'_, PyAny>,
        key: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Value>> {
        let namespace = plane::name(namespace, "namespace")?;
        let key = plane::name(key, "key")?;
        self.engine
            .get(namespace, key, self.now(py)?)
            .map_err(to_py)
    }
}

fn changes(batch: &Batch) -> usize {
    batch.put.len() + batch.put_if_absent.len() + batch.delete.len()
}
