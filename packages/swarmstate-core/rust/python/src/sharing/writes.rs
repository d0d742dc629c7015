//! Splitting pending writes, which hold what the value that follows them will hold.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use swarmstate_engine::BlobHome;

use super::classes::Classes;
use super::cut::{Cutter, INLINE_CONTAINER, INLINE_RUN};
use super::named;
use super::parts::{Before, Body, Container, Cut, Entry, entries, kind_of};
use super::pieces::Pieces;
use super::prior::Prior;
use super::source::Source;
use crate::codec::{Codec, Plans};
use crate::dict_version::DictVersions;

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

/// Split writes that follow a base, of which these values lie in blobs, and these are known.
///
/// Nothing lies in blobs if no value does: who reads the writes of such a base expects none.
pub(super) fn split<'py>(
    py: Python<'py>,
    codec: &Codec,
    versions: Option<DictVersions>,
    (base, large, known): (&str, &[String], &mut HashMap<String, Cut>),
    writes: &[(Bound<'py, PyString>, Bound<'py, PyAny>)],
) -> PyResult<(Vec<Py<PyTuple>>, Py<PyDict>, bool)> {
    let blobs = PyDict::new(py);
    let mut cutter = Cutter {
        py,
        codec,
        blobs: &blobs,
        relies: false,
        homes: Homes::All(BlobHome::of(base)),
        before: Before::default(),
        plans: Plans::new(),
        classes: Classes::new(versions),
    };
    let mut entries = Vec::with_capacity(writes.len());
    for (name, value) in writes {
        let name = name.to_string_lossy();
        let limit = if large.iter().any(|each| *each == name) {
            Some(INLINE_RUN)
        } else {
            (!large.is_empty()).then_some(INLINE_CONTAINER)
        };
        let before = match limit {
            Some(INLINE_RUN) => known.get_mut(&*name),
            _ => None,
        };
        let entry = cutter.cut_write(value, limit, before);
        entries.push(entry.map_err(|error| named(py, &name, error))?);
    }
    let relies = cutter.relies;
    Ok((entries, blobs.unbind(), relies))
}

impl<'py> Cutter<'_, 'py> {
    /// The entry of a pending write. With a limit, the items of one that is larger lie in blobs, as
    /// they will in the value that follows; what was in the value before is where it was.
    fn cut_write(
        &mut self,
        value: &Bound<'py, PyAny>,
        limit: Option<usize>,
        before: Option<&mut Cut>,
    ) -> PyResult<Py<PyTuple>> {
        self.before = Before::default();
        let mut pieces = Pieces::default();
        match before.map(|cut| (&cut.entry, &mut cut.body)) {
            Some((entry, Body::Whole(whole)))
                if (whole.seen.shadow.as_ref())
                    .is_some_and(|shadow| shadow.holds(&mut self.classes, value)) =>
            {
                self.relies |= whole.blob.is_some();
                return Ok(entry.clone_ref(self.py));
            }
            Some((_, Body::Whole(whole))) => self.before = Before::of_whole(whole),
            Some((_, Body::Container(container))) => {
                // Of fewer items it is rather what is added to the value than the next one.
                if let Some(entries) = entries(value, container.kind)
                    && entries.len() >= container.len() / 2
                {
                    return match self.cut_like(&entries, container, &mut pieces, 0) {
                        Ok(()) => pieces.entry(self.py, "msgpack"),
                        Err(error) => Err(self.described(value, error)),
                    };
                }
            }
            _ => {}
        }
        let (tag, data) = self.encode_whole(value)?;
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

    /// Append the pieces of a list or dict, given how it was cut before, which stays as it is.
    fn cut_like(
        &mut self,
        items: &[Entry<'py>],
        before: &mut Container,
        pieces: &mut Pieces,
        depth: usize,
    ) -> PyResult<()> {
        pieces.header(before.kind, items.len());
        let mut prior = Prior::new(std::mem::take(&mut before.parts));
        let result = self.cut_items(items, &mut prior, pieces, depth);
        before.parts = prior.into_parts();
        result
    }

    fn cut_items(
        &mut self,
        items: &[Entry<'py>],
        prior: &mut Prior,
        pieces: &mut Pieces,
        depth: usize,
    ) -> PyResult<()> {
        let mut next = 0;
        while next < items.len() {
            if let Some(part) = prior.part(self.py, &mut self.classes, &items[next..]) {
                self.relies |= part.has_blob();
                part.pieces(pieces);
                next += part.items.len();
                continue;
            }
            let item = &items[next];
            if let Some((head, container)) = prior.nested(item)
                && let Some(inside) = entries(&item.value, container.kind)
            {
                pieces.inline().extend_from_slice(head);
                self.cut_like(&inside, container, pieces, depth + 1)?;
            } else {
                self.cut_new(item, pieces, depth)?;
            }
            next += 1;
        }
        Ok(())
    }

    /// Append the pieces of an item that was not there before.
    fn cut_new(&mut self, entry: &Entry<'py>, pieces: &mut Pieces, depth: usize) -> PyResult<()> {
        let mut buffer = Vec::new();
        match self.source(entry, None, &mut buffer, depth)? {
            Source::Nested {
                head, container, ..
            } => {
                pieces.inline().extend_from_slice(&head);
                container.pieces(pieces);
            }
            _ if buffer.len() > INLINE_RUN => pieces.blob(self.store(&buffer, true)?),
            _ => pieces.inline().extend_from_slice(&buffer),
        }
        Ok(())
    }
}
