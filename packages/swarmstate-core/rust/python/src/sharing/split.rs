//! Splits values, and tracks whether they are stored.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use swarmstate_engine::BlobHome;

use super::cut::Cutter;
use super::memory::Values;
use super::past::Past;
use super::reliance::Reliance;
use super::writes::Homes;
use crate::codec::{Codec, EncodeError};
use crate::dict_version::DictVersions;

/// Split values: what to store.
#[pyclass(frozen, module = "swarmstate._core")]
pub struct Split {
    /// The entries, by the names of their values.
    #[pyo3(get)]
    entries: Py<PyDict>,
    /// Blobs that the entries refer to, by name, if they may not be stored yet.
    #[pyo3(get)]
    blobs: Py<PyDict>,
    reliance: Reliance,
    is_doubtful: Arc<AtomicBool>,
    codec: u64,
    values: Mutex<Option<Values>>,
}

impl Split {
    /// Split values that follow a base, given what is known about the base's values.
    ///
    /// # Errors
    /// `EncodeError` if a value cannot be encoded.
    pub(super) fn of<'py>(
        codec: &Codec,
        versions: Option<DictVersions>,
        (base, known): (Option<&str>, Option<Values>),
        values: &Bound<'py, PyDict>,
        input: (Bound<'py, PyString>, Bound<'py, PyString>),
    ) -> PyResult<Self> {
        let py = values.py();
        let is_known = known.is_some();
        let mut known = known.unwrap_or_default();
        let blobs = PyDict::new(py);
        let entries = PyDict::new(py);
        let mut cuts = HashMap::with_capacity(values.len());
        // Only for remembered values: the blobs of others must be found by their contents.
        let homes = match base {
            Some(base) if is_known => Homes::Single(BlobHome::of(base)),
            _ => Homes::None,
        };
        let mut cutter = Cutter::new(codec, versions, &blobs, homes);
        for (name, value) in values.iter() {
            let text: String = name.extract()?;
            cutter.homes = if text == input.0.to_string_lossy() {
                Homes::Single(BlobHome::of(&input.1.to_string_lossy()))
            } else {
                homes
            };
            let cut = cutter
                .cut(&value, known.cuts.remove(&text))
                .map_err(|error| named(py, &text, error))?;
            entries.set_item(name, cut.entry.bind(py))?;
            cuts.insert(text, cut);
        }
        let past = base.filter(|_| cutter.relies || !known.cuts.is_empty());
        let past =
            past.map(|base| Past::new(known.reliance.of_successor(base), known.cuts, cutter.new));
        let reliance = match &past {
            Some(past) if cutter.relies => past.reliance.clone(),
            _ => Reliance::default(),
        };
        let is_doubtful = Arc::default();
        let values = Values {
            cuts,
            reliance: reliance.clone(),
            past,
            is_doubtful: Arc::clone(&is_doubtful),
        };
        Ok(Self {
            reliance,
            is_doubtful,
            codec: codec.id(),
            entries: entries.unbind(),
            blobs: blobs.unbind(),
            values: Mutex::new(Some(values)),
        })
    }

    /// Returns the id of the codec that encoded the values.
    pub(super) fn codec(&self) -> u64 {
        self.codec
    }

    /// Takes what to remember about the values; works once.
    pub(super) fn take(&self) -> Option<Values> {
        self.values
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

#[pymethods]
impl Split {
    /// The bases that must exist when the split values are stored, newest first: the one whose
    /// blobs the entries also refer to, and the bases that it relies on itself if it is not known
    /// to be stored. Empty if all blobs are in `blobs`.
    #[getter]
    fn relies_on(&self) -> &[String] {
        self.reliance.bases()
    }

    /// Record that the values are stored: whatever refers to them need not rely on more.
    fn confirm(&self) {
        self.reliance.confirm();
    }

    /// Record that it is unknown whether the values are stored: nothing may rely on them.
    fn doubt(&self) {
        self.is_doubtful.store(true, Ordering::Release);
    }
}

/// Prefix an error with the name of its value.
pub(super) fn named(py: Python<'_>, name: &str, error: PyErr) -> PyErr {
    if !error.is_instance_of::<EncodeError>(py) {
        return error;
    }
    let named = EncodeError::new_err(format!("{name:?}: {}", error.value(py)));
    named.set_cause(py, Some(error));
    named
}
