//! `VectorIndex`: the index over records with embeddings.
//!
//! The GIL is released for searches and while waiting for the index's lock.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use swarmstate_engine::vectors::snapshot::{self, Position};
use swarmstate_engine::vectors::{Filter, Hit, Index, Metric, Page, Record, Selection};

use crate::embedding;
use crate::error::{record_error, to_py};

/// The prefix of records' keys, before their ids.
pub(crate) const PREFIX: &str = "item/";

/// The number of records decoded at a time before they are applied.
const DECODED_AT_ONCE: usize = 128;

/// What `search` and `select` return for one record; see `_core.pyi`.
type Found<'py> = (
    Bound<'py, PyString>,
    f64,
    Bound<'py, PyBytes>,
    Bound<'py, PyTuple>,
    Bound<'py, PyTuple>,
    Vec<Bound<'py, PyBytes>>,
);

/// An in-memory index over records; see `swarmstate.vectors.Collection`.
#[pyclass(frozen, module = "swarmstate._core")]
pub(crate) struct VectorIndex(Index);

#[pymethods]
impl VectorIndex {
    #[new]
    fn new(metric: &str, approximate_above: Option<usize>) -> PyResult<Self> {
        Ok(Self(Index::new(
            metric_of(metric)?,
            approximate_above.unwrap_or(usize::MAX),
        )))
    }

    #[getter]
    fn dimensions(&self, py: Python<'_>) -> Option<usize> {
        py.detach(|| self.0.dimensions())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.len())
    }

    fn optimise(&self, py: Python<'_>) {
        py.detach(|| self.0.optimise());
    }

    fn begin(&self, py: Python<'_>) -> (u64, Vec<String>) {
        let (ticket, doubtful) = py.detach(|| self.0.begin());
        let keys = doubtful.iter().map(|id| format!("{PREFIX}{id}"));
        (ticket, keys.collect())
    }

    fn end(&self, py: Python<'_>, ticket: u64) {
        py.detach(|| self.0.end(ticket));
    }

    fn apply(&self, py: Python<'_>, ticket: u64, changes: &Bound<'_, PyAny>) -> PyResult<bool> {
        let changes = changes
            .try_iter()?
            .map(|change| change?.extract::<(Bound<'_, PyString>, Option<Bound<'_, PyBytes>>)>())
            .collect::<PyResult<Vec<_>>>()?;
        let changes = changes
            .iter()
            .map(|(key, data)| {
                let id = key.to_str()?;
                let id = id.strip_prefix(PREFIX).unwrap_or(id);
                Ok((id, data.as_ref().map(|data| data.as_bytes())))
            })
            .collect::<PyResult<Vec<_>>>()?;
        py.detach(|| {
            let mut certain = true;
            // A few at a time, so that not all embeddings are in memory twice.
            for changes in changes.chunks(DECODED_AT_ONCE) {
                let changes = changes
                    .iter()
                    .map(|(id, data)| {
                        let record = data.map(Record::decode).transpose();
                        let record = record.map_err(|error| Failure::Record(id, error))?;
                        Ok((Arc::from(*id), record))
                    })
                    .collect::<Result<Vec<_>, Failure<'_>>>()?;
                certain &= self.0.apply(ticket, changes).map_err(Failure::Index)?;
            }
            Ok(certain)
        })
        .map_err(|failure| match failure {
            Failure::Record(id, error) => record_error(id, &error),
            Failure::Index(error) => to_py(error),
        })
    }

    /// Read an index from a file; see `_core.pyi`.
    #[staticmethod]
    #[allow(clippy::type_complexity, reason = "a tuple of what _core.pyi names")]
    fn load(
        py: Python<'_>,
        metric: &str,
        approximate_above: Option<usize>,
        path: PathBuf,
        namespace: &str,
    ) -> PyResult<(Option<(Self, Vec<String>)>, Option<String>)> {
        let metric = metric_of(metric)?;
        let above = approximate_above.unwrap_or(usize::MAX);
        let loaded = py.detach(|| snapshot::load(&path, namespace, metric, above));
        Ok(match loaded {
            Ok((index, position)) => (Some((Self(index), position.cursors)), None),
            Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
            Err(error) => (None, Some(error.to_string())),
        })
    }

    fn save(
        &self,
        py: Python<'_>,
        path: PathBuf,
        namespace: String,
        cursors: Vec<String>,
    ) -> PyResult<bool> {
        let position = Position { namespace, cursors };
        Ok(py.detach(|| snapshot::save(&self.0, &path, &position))?)
    }

    #[getter]
    fn saved(&self) -> (Option<u64>, Option<String>) {
        let outcome = snapshot::outcome(&self.0);
        (outcome.bytes, outcome.error)
    }

    #[getter]
    fn unsaved(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.unsaved())
    }

    #[getter]
    fn vectors(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.vectors())
    }

    #[getter]
    fn clusters(&self, py: Python<'_>) -> Option<usize> {
        py.detach(|| self.0.cluster_count())
    }

    #[pyo3(signature = (embedding, scope, categories, filter, limit, offset, embeddings, exact))]
    #[allow(clippy::too_many_arguments, reason = "what a search is made of")]
    fn search<'py>(
        &self,
        py: Python<'py>,
        embedding: &Bound<'py, PyAny>,
        scope: &Bound<'py, PyAny>,
        categories: &Bound<'py, PyAny>,
        filter: Option<&[u8]>,
        limit: Option<usize>,
        offset: usize,
        embeddings: bool,
        exact: bool,
    ) -> PyResult<Vec<Found<'py>>> {
        let vector = embedding::extract(embedding).map_err(embedding::Reason::of_query)?;
        let selection = selection(scope, categories, filter)?;
        let page = Page {
            limit: limit.unwrap_or(usize::MAX),
            offset,
            embeddings,
        };
        let hits = py
            .detach(|| self.0.search(&vector, &selection, page, exact))
            .map_err(to_py)?;
        found(py, hits)
    }

    #[pyo3(signature = (scope, categories, filter, order, descending, limit, offset, embeddings))]
    #[allow(clippy::too_many_arguments, reason = "what a selection is made of")]
    fn select<'py>(
        &self,
        py: Python<'py>,
        scope: &Bound<'py, PyAny>,
        categories: &Bound<'py, PyAny>,
        filter: Option<&[u8]>,
        order: Option<&str>,
        descending: bool,
        limit: Option<usize>,
        offset: usize,
        embeddings: bool,
    ) -> PyResult<Vec<Found<'py>>> {
        let selection = selection(scope, categories, filter)?;
        let page = Page {
            limit: limit.unwrap_or(usize::MAX),
            offset,
            embeddings,
        };
        found(
            py,
            py.detach(|| self.0.list(&selection, order, descending, page)),
        )
    }

    fn ids(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyAny>,
        categories: &Bound<'_, PyAny>,
        filter: Option<&[u8]>,
    ) -> PyResult<Vec<String>> {
        let selection = selection(scope, categories, filter)?;
        let ids = py.detach(|| self.0.ids(&selection));
        Ok(ids.iter().map(|id| id.to_string()).collect())
    }

    fn count(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyAny>,
        categories: &Bound<'_, PyAny>,
        filter: Option<&[u8]>,
    ) -> PyResult<usize> {
        let selection = selection(scope, categories, filter)?;
        Ok(py.detach(|| self.0.count(&selection)))
    }

    fn scopes<'py>(
        &self,
        py: Python<'py>,
        scope: &Bound<'_, PyAny>,
        categories: &Bound<'_, PyAny>,
        filter: Option<&[u8]>,
    ) -> PyResult<Vec<(Bound<'py, PyTuple>, usize)>> {
        let selection = selection(scope, categories, filter)?;
        py.detach(|| self.0.scopes(&selection))
            .into_iter()
            .map(|(scope, count)| Ok((PyTuple::new(py, scope)?, count)))
            .collect()
    }

    fn categories(
        &self,
        py: Python<'_>,
        scope: &Bound<'_, PyAny>,
        categories: &Bound<'_, PyAny>,
        filter: Option<&[u8]>,
    ) -> PyResult<Vec<(String, usize)>> {
        let selection = selection(scope, categories, filter)?;
        Ok(py.detach(|| self.0.categories(&selection)))
    }
}

/// Why changes could not be applied.
enum Failure<'a> {
    Record(&'a str, swarmstate_engine::Error),
    Index(swarmstate_engine::Error),
}

fn metric_of(name: &str) -> PyResult<Metric> {
    Ok(match name {
        "cosine" => Metric::Cosine,
        "dot" => Metric::Dot,
        "l2" => Metric::L2,
        _ => {
            return Err(PyValueError::new_err(format!(
                "metric must be 'cosine', 'dot' or 'l2', not {name:?}"
            )));
        }
    })
}

fn selection(
    scope: &Bound<'_, PyAny>,
    categories: &Bound<'_, PyAny>,
    filter: Option<&[u8]>,
) -> PyResult<Selection> {
    Ok(Selection {
        scope: texts(scope, "scope")?,
        categories: texts(categories, "categories")?,
        filter: filter.map(Filter::parse).transpose().map_err(to_py)?,
    })
}

/// Extracts a sequence of texts.
pub(crate) fn texts(items: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<String>> {
    let wrong = |found: &Bound<'_, PyAny>| match found.get_type().name() {
        Ok(name) => PyTypeError::new_err(format!("{what} must be a sequence of str, not {name}")),
        Err(error) => error,
    };
    // A str would be read letter by letter.
    if items.is_instance_of::<PyString>() {
        return Err(wrong(items));
    }
    let Ok(iterator) = items.try_iter() else {
        return Err(wrong(items));
    };
    iterator
        .map(|item| {
            let item = item?;
            let text = item.cast::<PyString>().map_err(|_| wrong(&item))?;
            match text.to_str() {
                Ok(text) => Ok(text.to_owned()),
                Err(_) => Err(PyValueError::new_err(format!(
                    "{what} must not contain lone surrogates, but {} does",
                    text.repr()?
                ))),
            }
        })
        .collect()
}

fn found(py: Python<'_>, hits: Vec<Hit>) -> PyResult<Vec<Found<'_>>> {
    hits.into_iter()
        .map(|hit| {
            let record = hit.record;
            Ok((
                PyString::new(py, &hit.id),
                hit.score,
                PyBytes::new(py, &record.value),
                PyTuple::new(py, record.scope)?,
                PyTuple::new(py, record.categories)?,
                record
                    .embeddings
                    .iter()
                    .map(|vector| embedding::to_bytes(py, vector))
                    .collect(),
            ))
        })
        .collect()
}
