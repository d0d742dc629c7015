//! Cuts a value into pieces that checkpoints share.
//!
//! The encoding of a list is a header followed by the encodings of its items; that of a dict
//! likewise. So any run of items can be stored on its own, and joining the pieces restores the
//! encoding of the whole value.

use std::collections::HashSet;
use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyString};
use swarmstate_engine::BlobHash;

use super::before::Before;
use super::classes::Classes;
use super::merging::Joining;
use super::parts::{
    Body, Container, Cut, Entry, Item, Items, Kind, Part, Seen, Stored, entries, kind_of,
};
use super::pieces::Pieces;
use super::prior::Prior;
use super::shadow::Shadow;
use super::source::Source;
use super::whole::{Large, Whole};
use super::writes::Homes;
use crate::codec::{Codec, Plans};
use crate::dict_version::DictVersions;

/// Values and runs of items up to these sizes are kept in the record itself. Small lists and dicts
/// change often: rewriting them takes less time than finding out what changed.
const INLINE_VALUE: usize = 2048;
pub(super) const INLINE_CONTAINER: usize = 8192;
pub(super) const INLINE_RUN: usize = 64;

/// A list or dict with more items is measured before it is encoded as a whole.
const MANY_ITEMS: usize = 32;

/// A dict entry that is itself a large list or dict is cut like a value.
const NESTED_VALUE: usize = 4096;
const MAX_NESTING: usize = 8;

pub(super) struct Cutter<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) codec: &'a Codec,
    /// Blobs to store, by name.
    pub(super) blobs: &'a Bound<'py, PyDict>,
    /// The same blobs by hash.
    pub(super) new: HashSet<BlobHash>,
    /// Whether there are references to blobs stored earlier.
    pub(super) relies: bool,
    pub(super) homes: Homes,
    /// The blobs of the previous value, to find parts that are equal but cannot be recognized.
    pub(super) before: Before,
    pub(super) plans: Plans<'py>,
    pub(super) classes: Classes<'py>,
}

impl<'a, 'py> Cutter<'a, 'py> {
    pub(super) fn new(
        codec: &'a Codec,
        versions: Option<DictVersions>,
        blobs: &'a Bound<'py, PyDict>,
        homes: Homes,
    ) -> Self {
        Self {
            py: blobs.py(),
            codec,
            blobs,
            new: HashSet::new(),
            relies: false,
            homes,
            before: Before::default(),
            plans: Plans::new(),
            classes: Classes::new(versions),
        }
    }
}

impl<'py> Cutter<'_, 'py> {
    /// Cut a value, given how it was cut before.
    pub(super) fn cut(&mut self, value: &Bound<'py, PyAny>, prior: Option<Cut>) -> PyResult<Cut> {
        self.before = prior.as_ref().map(Before::of).unwrap_or_default();
        match prior.map(|prior| (prior.entry, prior.body)) {
            Some((entry, Body::Whole(whole)))
                if (whole.seen.shadow.as_ref())
                    .is_some_and(|shadow| shadow.holds(&mut self.classes, value)) =>
            {
                self.relies |= whole.large.is_some();
                Ok(Cut::of_whole(entry, whole))
            }
            Some((_, Body::Container(container))) => match entries(value, container.kind) {
                Some(entries) if !entries.is_empty() => {
                    self.cut_container(value, container.kind, &entries, container.parts)
                }
                _ => self.cut_fresh(value, None),
            },
            Some((_, Body::Whole(whole))) => self.cut_fresh(value, whole.large.as_ref()),
            None => self.cut_fresh(value, None),
        }
    }

    /// Cut a value without previous knowledge, except where it was stored if it was large.
    fn cut_fresh(&mut self, value: &Bound<'py, PyAny>, before: Option<&Large>) -> PyResult<Cut> {
        let kind = kind_of(value);
        if let Some(kind) = kind
            && let Some(entries) = entries(value, kind)
            && entries.len() > MANY_ITEMS
            && self.is_large(&entries)
        {
            return self.cut_container(value, kind, &entries, Vec::new());
        }
        // Taken before encoding, so that a change in between is seen as a change later. Small
        // values are cheaper to encode again than to recognize.
        let shadow = if before.is_some() || value.is_instance_of::<PyString>() {
            Shadow::of(&mut self.classes, value)?
        } else {
            None
        };
        let (tag, data) = self.encode_whole(value)?;
        if data.len() > INLINE_CONTAINER
            && let Some(kind) = kind
            && let Some(entries) = entries(value, kind)
        {
            return self.cut_container(value, kind, &entries, Vec::new());
        }
        let limit = match kind {
            Some(_) => INLINE_CONTAINER,
            None => INLINE_VALUE,
        };
        let seen = match tag {
            "msgpack" => Seen::of_leaf_or(value, shadow),
            _ => Seen {
                shadow,
                template: None,
            },
        };
        let mut whole = Whole {
            seen,
            ..Whole::default()
        };
        let mut pieces = Pieces::default();
        if data.len() > limit {
            let large = self.store_whole(&data, before)?;
            large.pieces(&mut pieces);
            whole.large = Some(large);
        } else {
            whole.inline = data.len();
            pieces.inline().extend_from_slice(&data);
        }
        let entry = pieces.entry(self.py, tag)?;
        Ok(Cut::of_whole(entry, whole))
    }

    /// Returns whether the first of many items already show that they are too large for the record.
    ///
    /// This avoids encoding all of them once to learn their size and again one by one. Errors are
    /// ignored here: they come up again later, and are described with their path.
    fn is_large(&mut self, entries: &[Entry<'py>]) -> bool {
        let mut data = Vec::with_capacity(INLINE_CONTAINER * 2);
        for entry in entries {
            if self.encode(&mut data, &entry.value, 1).is_err() {
                return false;
            }
            if data.len() > INLINE_CONTAINER {
                return true;
            }
        }
        false
    }

    pub(super) fn cut_container(
        &mut self,
        value: &Bound<'py, PyAny>,
        kind: Kind,
        entries: &[Entry<'py>],
        parts: Vec<Part>,
    ) -> PyResult<Cut> {
        let container = match self.container(kind, entries, parts, 0) {
            Ok(container) => container,
            Err(error) => return Err(self.described(value, error)),
        };
        let mut pieces = Pieces::default();
        container.pieces(&mut pieces);
        let entry = pieces.entry(self.py, "msgpack")?;
        Ok(Cut::of_container(entry, container))
    }

    /// Returns an error with the path from the whole value, for one whose path begins at an item.
    pub(super) fn described(&mut self, value: &Bound<'py, PyAny>, error: PyErr) -> PyErr {
        (self.encode(&mut Vec::new(), value, 0).err()).unwrap_or(error)
    }

    /// Cut a list or dict; `parts` are its previous parts.
    fn container(
        &mut self,
        kind: Kind,
        entries: &[Entry<'py>],
        parts: Vec<Part>,
        depth: usize,
    ) -> PyResult<Container> {
        let mut buffer = Vec::new();
        let mut sources = Vec::new();
        let mut prior = Prior::new(self.py, parts);
        let mut next = 0;
        while next < entries.len() {
            if let Some(part) = prior.take(self.py, &mut self.classes, &entries[next..]) {
                next += part.items.len();
                sources.push(Source::Kept(part));
            } else {
                let nested = prior.take_nested(&entries[next]);
                sources.push(self.source(&entries[next], nested, &prior, &mut buffer, depth)?);
                next += 1;
            }
        }
        let mut joining = Joining {
            kind,
            entries,
            buffer: &buffer,
            depth,
            parts: Vec::new(),
            done: 0,
        };
        let mut run = Vec::new();
        for source in sources {
            match source {
                Source::Apart {
                    item,
                    bytes,
                    stored,
                } => {
                    self.join(&mut joining, &mut run)?;
                    let items = joining.items(vec![item], Vec::new());
                    joining.push(Part {
                        items,
                        bytes,
                        stored,
                    });
                }
                Source::Kept(part) if part.is_apart() => {
                    self.join(&mut joining, &mut run)?;
                    self.relies |= part.has_blob();
                    joining.push(part);
                }
                other => run.push(other),
            }
        }
        self.join(&mut joining, &mut run)?;
        Ok(Container {
            kind,
            parts: joining.parts,
        })
    }

    pub(super) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        value: &Bound<'py, PyAny>,
        depth: usize,
    ) -> PyResult<()> {
        self.codec.encode_into(out, value, depth, &mut self.plans)
    }

    /// Encode one item. A large container inside a dict is cut instead, and so is a large value
    /// that replaces an existing one.
    pub(super) fn source(
        &mut self,
        entry: &Entry<'py>,
        nested: Option<Container>,
        prior: &Prior,
        buffer: &mut Vec<u8>,
        depth: usize,
    ) -> PyResult<Source> {
        let start = buffer.len();
        if let Some(key) = &entry.key {
            self.encode(buffer, key, depth + 1)?;
        }
        let head = start..buffer.len();
        if let Some(container) = nested
            && let Some(items) = entries(&entry.value, container.kind)
        {
            return self.nested(entry, buffer, head, &items, container, depth);
        }
        // Taken before encoding, as above.
        let shadow = Shadow::of(&mut self.classes, &entry.value)?;
        self.encode(buffer, &entry.value, depth + 1)?;
        if entry.key.is_some()
            && depth < MAX_NESTING
            && buffer.len() - head.end > NESTED_VALUE
            && let Some(kind) = kind_of(&entry.value)
            && let Some(items) = entries(&entry.value, kind)
        {
            let parts = Vec::new();
            return self.nested(
                entry,
                buffer,
                head,
                &items,
                Container { kind, parts },
                depth,
            );
        }
        if let Some(key) = &entry.key
            && let Some(large) =
                self.store_changed(&buffer[start..], head.len(), || prior.had(key))?
        {
            let key = buffer[head].into();
            buffer.truncate(start);
            return Ok(Source::Apart {
                item: Item::of(entry, Seen::of_leaf_or(&entry.value, shadow)),
                bytes: large.size(),
                stored: Stored::Chunked(key, large),
            });
        }
        let template = None;
        Ok(Source::New {
            item: Item::of(entry, Seen { shadow, template }),
            encoded: start..buffer.len(),
        })
    }

    /// Cut the value of an entry, given how it was cut before.
    ///
    /// It is recognized by its items. A shadow of the container would prove the same a second time,
    /// and a witness of it would prevent its items from being handed out again.
    fn nested(
        &mut self,
        entry: &Entry<'py>,
        buffer: &mut Vec<u8>,
        head: Range<usize>,
        items: &[Entry<'py>],
        before: Container,
        depth: usize,
    ) -> PyResult<Source> {
        let container = self.container(before.kind, items, before.parts, depth + 1)?;
        let key: Box<[u8]> = buffer[head.clone()].into();
        buffer.truncate(head.start);
        Ok(Source::Apart {
            item: Item::of(entry, Seen::default()),
            bytes: key.len(),
            stored: Stored::Nested(key, container),
        })
    }

    pub(super) fn part(&mut self, items: Items, data: &[u8], alone: bool) -> PyResult<Part> {
        let stored = if data.len() > INLINE_RUN {
            Stored::Blob(self.store(data, alone)?)
        } else {
            Stored::Inline(data.into())
        };
        Ok(Part {
            items,
            bytes: data.len(),
            stored,
        })
    }

    pub(super) fn store(&mut self, data: &[u8], alone: bool) -> PyResult<BlobHash> {
        let mut hash = BlobHash::of(data);
        let home = match self.homes {
            Homes::Single(home) if alone => Some(home),
            Homes::All(home) => Some(home),
            _ => None,
        };
        if let Some(home) = home {
            if let Some(known) = self.before.find(&hash) {
                self.relies = true;
                return Ok(known);
            }
            hash = hash.at(home);
        }
        if self.new.insert(hash) {
            let data = PyBytes::new(self.py, data);
            self.blobs.set_item(hash.name(), data)?;
        }
        Ok(hash)
    }

    /// Returns the type and the encoding of a value.
    pub(super) fn encode_whole(
        &mut self,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<(&'static str, Vec<u8>)> {
        if value.is_none() {
            return Ok(("null", Vec::new()));
        }
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(("bytes", bytes.as_bytes().to_vec()));
        }
        if let Ok(bytes) = value.cast::<PyByteArray>() {
            return Ok(("bytearray", bytes.to_vec()));
        }
        let mut data = Vec::new();
        self.encode(&mut data, value, 0)?;
        Ok(("msgpack", data))
    }
}
