//! Splitting pending writes, which hold what the value that follows them will hold.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use swarmstate_engine::BlobHome;

use super::classes::Classes;
use super::cut::{Cutter, INLINE_CONTAINER, INLINE_RUN};
use super::named;
use super::parts::{Before, entries, kind_of};
use super::pieces::Pieces;
use crate::codec::{Codec, Plans};

/// The names of the values that lie in blobs.
pub(super) fn large<'a>(
    py: Python<'_>,
    entries: impl Iterator<Item = (&'a String, &'a Py<PyTuple>)>,
) -> Vec<&'a String> {
    let in_blobs = |entry: &Py<PyTuple>| {
        let mut pieces = entry.bind(py).iter_borrowed().skip(1);
        pieces.any(|piece| !piece.is_instance_of::<PyBytes>())
    };
    let large = entries.filter(|(_, entry)| in_blobs(entry));
    large.map(|(name, _)| name).collect()
}

/// Which blobs belong to what the value follows: those that its pending writes may hold as well.
#[derive(Clone, Copy)]
pub(super) enum Homes {
    None,
    /// Values and items that stand alone.
    Single(BlobHome),
    All(BlobHome),
}

/// Split writes that follow a base, of which these values lie in blobs.
///
/// Nothing lies in blobs if no value does: who reads the writes of such a base expects none.
pub(super) fn split<'py>(
    py: Python<'py>,
    codec: &Codec,
    base: &str,
    large: &[String],
    writes: &[(Bound<'py, PyString>, Bound<'py, PyAny>)],
) -> PyResult<(Vec<Py<PyTuple>>, Py<PyDict>)> {
    let blobs = PyDict::new(py);
    let mut cutter = Cutter {
        py,
        codec,
        blobs: &blobs,
        relies: false,
        homes: Homes::All(BlobHome::of(base)),
        before: Before::default(),
        plans: Plans::new(),
        classes: Classes::default(),
    };
    let mut entries = Vec::with_capacity(writes.len());
    for (name, value) in writes {
        let name = name.to_string_lossy();
        let limit = if large.iter().any(|each| *each == name) {
            Some(INLINE_RUN)
        } else {
            (!large.is_empty()).then_some(INLINE_CONTAINER)
        };
        let entry = cutter.cut_write(value, limit);
        entries.push(entry.map_err(|error| named(py, &name, error))?);
    }
    Ok((entries, blobs.unbind()))
}

impl<'py> Cutter<'_, 'py> {
    /// The entry of a pending write. With a limit, the items of one that is larger lie in blobs, as
    /// they will in the value that follows.
    fn cut_write(
        &mut self,
        value: &Bound<'py, PyAny>,
        limit: Option<usize>,
    ) -> PyResult<Py<PyTuple>> {
        let (tag, data) = self.encode_whole(value)?;
        let mut pieces = Pieces::default();
        if limit.is_none_or(|limit| data.len() <= limit) {
            pieces.inline().extend_from_slice(&data);
        } else if let Some(kind) = kind_of(value)
            && let Some(entries) = entries(value, kind)
        {
            return Ok(self.cut_container(value, kind, &entries, Vec::new())?.entry);
        } else {
            pieces.blob(self.store(&data, true)?);
        }
        pieces.entry(self.py, tag)
    }
}
