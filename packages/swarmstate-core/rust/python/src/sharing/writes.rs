//! Splits pending writes, which hold parts of the value that will follow them.

use std::collections::{HashMap, HashSet};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use swarmstate_engine::segments::{Segment, merge_list};
use swarmstate_engine::{BlobHash, BlobHome};

use super::before::Before;
use super::classes::Classes;
use super::cut::{Cutter, INLINE_CONTAINER, INLINE_RUN};
use super::memory::{Place, Values};
use super::parts::{Body, Container, Cut, Entry, Kind, Stored, entries, kind_of};
use super::pieces::Pieces;
use super::prior::{Prior, has_apart};
use super::reliance::Reliance;
use super::source::Source;
use super::split::named;
use crate::codec::Codec;
use crate::dict_version::DictVersions;

/// The entries of pending writes, their blobs by name, and the bases that they rely on.
pub(super) type SplitWrites = (Vec<Py<PyTuple>>, Py<PyDict>, Vec<String>);

/// Returns the names of the values that are stored in blobs.
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

/// Which blobs belong to the state that the value follows: its pending writes may contain them too.
#[derive(Clone, Copy)]
pub(super) enum Homes {
    None,
    /// Values and items stored on their own.
    Single(BlobHome),
    All(BlobHome),
}

/// What a write may share.
struct Known<'a> {
    /// Values by name; no name is in two of these.
    cuts: Vec<&'a mut HashMap<String, Cut>>,
    /// Blobs of theirs that the write must not use: see `Past.new`.
    later: Option<&'a HashSet<BlobHash>>,
}

/// Split writes that follow a base, given the names of its values that are in blobs, and known
/// values.
///
/// If no value is in blobs, neither are the writes: a reader of that base's writes expects none.
pub(super) fn split<'py>(
    py: Python<'py>,
    codec: &Codec,
    versions: Option<DictVersions>,
    (base, large): (&str, &[String]),
    (values, place): (&mut Values, Place),
    writes: &[(Bound<'py, PyString>, Bound<'py, PyAny>)],
) -> PyResult<SplitWrites> {
    let blobs = PyDict::new(py);
    let mut known = Known {
        cuts: vec![&mut values.cuts],
        later: None,
    };
    if place == Place::Next
        && let Some(past) = &mut values.past
    {
        known.cuts.push(&mut past.gone);
        known.later = Some(&past.new);
    }
    let mut cutter = Cutter::new(codec, versions, &blobs, Homes::All(BlobHome::of(base)));
    let mut entries = Vec::with_capacity(writes.len());
    for (name, value) in writes {
        let name = name.to_string_lossy();
        let limit = if large.iter().any(|each| *each == name) {
            Some(INLINE_RUN)
        } else {
            (!large.is_empty()).then_some(INLINE_CONTAINER)
        };
        let entry = cutter.cut_write(value, limit, (&name, &mut known));
        entries.push(entry.map_err(|error| named(py, &name, error))?);
    }
    let reliance = match (cutter.relies, place) {
        (false, _) => Reliance::default(),
        (true, Place::Here) => values.reliance.of_successor(base),
        (true, Place::Before(older)) => values.reliance.of_successor(&older),
        (true, Place::Next) => values
            .past
            .as_ref()
            .map(|past| past.reliance.clone())
            .unwrap_or_default(),
    };
    Ok((entries, blobs.unbind(), reliance.bases().to_vec()))
}

impl<'py> Cutter<'_, 'py> {
    /// Returns the entry of a pending write. With a limit, the items of a larger one are stored in
    /// blobs, as they will be in the following value; anything from a previous value stays where it
    /// is.
    fn cut_write(
        &mut self,
        value: &Bound<'py, PyAny>,
        limit: Option<usize>,
        (name, known): (&str, &mut Known<'_>),
    ) -> PyResult<Py<PyTuple>> {
        self.before = Before::default();
        let mut large = None;
        if limit.is_some()
            && let Some(kind) = kind_of(value)
            && let Some(entries) = entries(value, kind)
            && let Some(container) = self.container_like(kind, &entries, (name, &mut known.cuts))
        {
            let mut blobs = Vec::new();
            container.list_blobs(&mut blobs);
            let later = known.later;
            blobs.retain(|blob| !later.is_some_and(|later| later.contains(blob)));
            self.before = Before::from(blobs.into_iter());
            let mut pieces = Pieces::default();
            let before = (container, later);
            return match self.cut_like(&entries, before, &mut pieces, 0) {
                Ok(()) => pieces.entry(self.py, "msgpack"),
                Err(error) => Err(self.described(value, error)),
            };
        }
        if limit == Some(INLINE_RUN)
            && let Some(cut) = known.cuts.iter().find_map(|cuts| cuts.get(name))
            && let Body::Whole(whole) = &cut.body
        {
            let shadow = whole.seen.shadow.as_ref();
            if !whole.blobs().any(|blob| known.is_later(&blob))
                && shadow.is_some_and(|shadow| shadow.holds(&mut self.classes, value))
            {
                self.relies |= whole.large.is_some();
                return Ok(cut.entry.clone_ref(self.py));
            }
            large = whole.large.clone();
            self.before = Before::from(whole.blobs().filter(|blob| !known.is_later(blob)));
        }
        let mut pieces = Pieces::default();
        let (tag, data) = self.encode_whole(value)?;
        if limit.is_none_or(|limit| data.len() <= limit) {
            pieces.inline().extend_from_slice(&data);
        } else if let Some(kind) = kind_of(value)
            && let Some(entries) = entries(value, kind)
        {
            return Ok(self.cut_container(value, kind, &entries, Vec::new())?.entry);
        } else {
            (self.store_whole(&data, large.as_ref())?).pieces(&mut pieces);
        }
        pieces.entry(self.py, tag)
    }

    /// Returns the list or dict whose next state this probably is.
    ///
    /// That is one that begins with the same items. Usually it is the value under the name of the
    /// write, but a task may also pass on another value's items. The first task of a run writes
    /// parts of the input, which in a subgraph may be the parent's whole history, and a function
    /// returns its input and more.
    fn container_like<'a>(
        &mut self,
        kind: Kind,
        items: &[Entry<'py>],
        (name, known): (&str, &'a mut [&mut HashMap<String, Cut>]),
    ) -> Option<&'a mut Container> {
        let own = get_mut(known, name).and_then(|cut| cut.container(kind));
        if !own.is_some_and(|own| own.begins(self.py, &mut self.classes, items))
            && let Some((other, nested)) = self.place_of(kind, items, known)
        {
            let Body::Container(container) = &mut get_mut(known, &other)?.body else {
                return None;
            };
            return match nested {
                None => Some(container),
                Some(at) => (container.nested().find(|(each, _)| *each == at)).map(|(_, it)| it),
            };
        }
        // With fewer items, it is more likely an addition to the value than its next state.
        let own = get_mut(known, name)?.container(kind)?;
        (items.len() >= own.len() / 2 || has_apart(self.py, &own.parts, items)).then_some(own)
    }

    /// Returns the name of the value that begins with these items, or has an entry that does, and
    /// where.
    fn place_of(
        &mut self,
        kind: Kind,
        items: &[Entry<'py>],
        known: &mut [&mut HashMap<String, Cut>],
    ) -> Option<(String, Option<usize>)> {
        let (py, classes) = (self.py, &mut self.classes);
        let mut place = None;
        // Of several pick the longest, regardless of their order.
        let mut longest = 0;
        let mut is_better = |container: &mut Container| {
            let is_better = container.kind == kind
                && container.len() > longest
                && container.len() / 2 <= items.len()
                && container.begins(py, classes, items);
            if is_better {
                longest = container.len();
            }
            is_better
        };
        for (name, cut) in known.iter_mut().flat_map(|cuts| cuts.iter_mut()) {
            let Body::Container(container) = &mut cut.body else {
                continue;
            };
            if is_better(container) {
                place = Some((name.clone(), None));
            }
            for (at, nested) in container.nested() {
                if is_better(nested) {
                    place = Some((name.clone(), Some(at)));
                }
            }
        }
        place
    }

    /// Append the pieces of a list or dict, given how it was cut before, which is left unchanged.
    fn cut_like(
        &mut self,
        items: &[Entry<'py>],
        (before, later): (&mut Container, Option<&HashSet<BlobHash>>),
        pieces: &mut Pieces,
        depth: usize,
    ) -> PyResult<()> {
        pieces.header(before.kind, items.len());
        let mut prior = Prior::new(self.py, std::mem::take(&mut before.parts));
        let result = self.cut_items(items, (&mut prior, later), pieces, depth);
        before.parts = prior.into_parts();
        result
    }

    fn cut_items(
        &mut self,
        items: &[Entry<'py>],
        (prior, later): (&mut Prior, Option<&HashSet<BlobHash>>),
        pieces: &mut Pieces,
        depth: usize,
    ) -> PyResult<()> {
        let mut new = NewItems::default();
        let mut next = 0;
        while next < items.len() {
            if let Some(part) = prior.part(self.py, &mut self.classes, &items[next..])
                && !later.is_some_and(|later| part.has_any(&|blob| later.contains(blob)))
            {
                self.store_new(&mut new, pieces)?;
                self.relies |= part.has_blob();
                part.stored.pieces(pieces);
                next += part.items.len();
                continue;
            }
            let item = &items[next];
            if let Some((head, container)) = prior.nested(item)
                && let Some(inside) = entries(&item.value, container.kind)
            {
                self.store_new(&mut new, pieces)?;
                pieces.inline().extend_from_slice(head);
                self.cut_like(&inside, (container, later), pieces, depth + 1)?;
            } else {
                self.cut_new(item, prior, &mut new, pieces, depth)?;
            }
            next += 1;
        }
        self.store_new(&mut new, pieces)
    }

    /// Encode a new item; one that is itself cut is appended directly.
    fn cut_new(
        &mut self,
        entry: &Entry<'py>,
        prior: &Prior,
        new: &mut NewItems,
        pieces: &mut Pieces,
        depth: usize,
    ) -> PyResult<()> {
        let start = new.buffer.len();
        if let Source::Apart { stored, .. } =
            self.source(entry, None, prior, &mut new.buffer, depth)?
        {
            self.store_new(new, pieces)?;
            stored.pieces(pieces);
        } else {
            new.sizes.push(Segment {
                items: 1,
                bytes: new.buffer.len() - start,
                is_new: true,
            });
        }
        Ok(())
    }

    /// Append the pieces of new items.
    ///
    /// A few are stored individually, as in the following value. Many are mostly merged, as they
    /// are there.
    fn store_new(&mut self, new: &mut NewItems, pieces: &mut Pieces) -> PyResult<()> {
        let mut start = 0;
        for run in merge_list(&new.sizes) {
            let bytes: usize = new.sizes[run].iter().map(|size| size.bytes).sum();
            let data = &new.buffer[start..start + bytes];
            start += bytes;
            if bytes > INLINE_RUN {
                pieces.blob(self.store(data, true)?);
            } else {
                pieces.inline().extend_from_slice(data);
            }
        }
        new.buffer.clear();
        new.sizes.clear();
        Ok(())
    }
}

fn get_mut<'a>(cuts: &'a mut [&mut HashMap<String, Cut>], name: &str) -> Option<&'a mut Cut> {
    cuts.iter_mut().find_map(|cuts| cuts.get_mut(name))
}

impl Known<'_> {
    fn is_later(&self, blob: &BlobHash) -> bool {
        self.later.is_some_and(|later| later.contains(blob))
    }
}

impl Cut {
    /// Returns how it was cut, if it is a list or dict of this kind.
    fn container(&mut self, kind: Kind) -> Option<&mut Container> {
        match &mut self.body {
            Body::Container(container) if container.kind == kind => Some(container),
            _ => None,
        }
    }
}

impl Container {
    /// Returns whether these items begin with those of its first part, or with the identical value
    /// of an entry that is itself cut.
    fn begins<'py>(
        &mut self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        items: &[Entry<'py>],
    ) -> bool {
        let (Some(part), Some(first)) = (self.parts.first_mut(), items.first()) else {
            return false;
        };
        part.items.first == first.value.as_ptr() as usize
            && (matches!(part.stored, Stored::Nested(..)) || part.holds(py, classes, items))
    }

    /// Returns the containers in its entries, with the positions of their parts.
    fn nested(&mut self) -> impl Iterator<Item = (usize, &mut Container)> {
        let parts = self.parts.iter_mut().enumerate();
        parts.filter_map(|(at, part)| match &mut part.stored {
            Stored::Nested(_, container) => Some((at, container)),
            _ => None,
        })
    }
}

/// Consecutive new items.
#[derive(Default)]
struct NewItems {
    /// Their concatenated encodings.
    buffer: Vec<u8>,
    sizes: Vec<Segment>,
}
