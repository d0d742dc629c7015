//! Cutting a value into pieces that checkpoints share.
//!
//! The encoding of a list is a header and the encodings of its items, one after
//! another; that of a dict likewise. So any run of items can be stored on its
//! own, and joining the pieces gives the encoding of the whole value back.

use std::collections::HashMap;
use std::ops::Range;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyString, PyTuple};
use swarmstate_engine::blob_name;
use swarmstate_engine::segments::{Segment, merge_dict, merge_list};

use super::shadow::Shadow;
use crate::codec::{Codec, DictCursor, write_array_header, write_map_header};

/// Values and runs of items up to this size are kept in the record itself.
pub(super) const INLINE_VALUE: usize = 2048;
pub(super) const INLINE_RUN: usize = 64;

/// An entry of a dict that is a large list or dict itself is cut like a value.
const NESTED_VALUE: usize = 4096;
const MAX_NESTING: usize = 8;

/// A value as it was stored last: its entry in the record, and how to recognize it.
pub(super) struct Cut {
    pub(super) entry: Py<PyTuple>,
    body: Body,
}

enum Body {
    Whole {
        shadow: Option<Shadow>,
        in_blob: bool,
    },
    Container(Container),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Dict,
}

pub(super) struct Container {
    kind: Kind,
    parts: Vec<Part>,
}

/// A run of items that is stored as one piece, or an entry that is cut itself.
pub(super) struct Part {
    pub(super) items: Vec<Item>,
    pub(super) bytes: usize,
    pub(super) stored: Stored,
}

pub(super) enum Stored {
    Inline(Box<[u8]>),
    Blob(Py<PyString>),
    /// The encoded key of the entry, and its value.
    Nested(Box<[u8]>, Container),
}

/// What an item was; without a shadow it is never taken for unchanged.
pub(super) struct Item {
    pub(super) key: Option<Py<PyAny>>,
    pub(super) shadow: Option<Shadow>,
}

/// An item of the value that is being cut.
struct Entry<'py> {
    key: Option<Bound<'py, PyAny>>,
    value: Bound<'py, PyAny>,
}

/// A part of the new value: one that is still right, or an item to encode.
enum Source {
    Kept(Part),
    New {
        item: Item,
        encoded: Range<usize>,
    },
    Nested {
        item: Item,
        head: Box<[u8]>,
        container: Container,
    },
}

pub(super) struct Cutter<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) codec: &'a Codec,
    /// Blobs to store, by name.
    pub(super) blobs: &'a Bound<'py, PyDict>,
    /// Whether blobs are referred to that were stored before.
    pub(super) relies: bool,
}

impl<'py> Cutter<'_, 'py> {
    /// Cut a value, given how it was cut before.
    pub(super) fn cut(&mut self, value: &Bound<'py, PyAny>, prior: Option<Cut>) -> PyResult<Cut> {
        match prior.map(|prior| (prior.entry, prior.body)) {
            Some((
                entry,
                Body::Whole {
                    shadow: Some(shadow),
                    in_blob,
                },
            )) if shadow.holds(value)? => {
                self.relies |= in_blob;
                Ok(Cut {
                    entry,
                    body: Body::Whole {
                        shadow: Some(shadow),
                        in_blob,
                    },
                })
            }
            Some((_, Body::Container(container))) => match entries(value, container.kind) {
                Some(entries) if !entries.is_empty() => {
                    self.cut_container(value, container.kind, &entries, container.parts)
                }
                _ => self.cut_fresh(value, false),
            },
            Some((_, Body::Whole { in_blob, .. })) => self.cut_fresh(value, in_blob),
            None => self.cut_fresh(value, false),
        }
    }

    /// Cut a value without knowing anything of it, save whether it was large before.
    fn cut_fresh(&mut self, value: &Bound<'py, PyAny>, was_large: bool) -> PyResult<Cut> {
        let py = self.py;
        // Taken before encoding: what changes in between is then seen as a change later. Small
        // values are cheaper to encode again than to recognize.
        let shadow = if was_large || value.is_instance_of::<PyString>() {
            Shadow::of(value)?
        } else {
            None
        };
        let mut data = Vec::new();
        let mut tag = "msgpack";
        if value.is_none() {
            tag = "null";
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            tag = "bytes";
            data.extend_from_slice(bytes.as_bytes());
        } else if let Ok(bytes) = value.cast::<PyByteArray>() {
            tag = "bytearray";
            data = bytes.to_vec();
        } else {
            self.codec.encode_into(&mut data, value, 0)?;
            if data.len() > INLINE_VALUE
                && let Some(kind) = kind_of(value)
                && let Some(entries) = entries(value, kind)
            {
                return self.cut_container(value, kind, &entries, Vec::new());
            }
        }
        let in_blob = data.len() > INLINE_VALUE;
        let piece = if in_blob {
            self.store(&data)?.into_any()
        } else {
            PyBytes::new(py, &data).into_any()
        };
        let entry = PyTuple::new(py, [PyString::intern(py, tag).into_any(), piece])?.unbind();
        Ok(Cut {
            entry,
            body: Body::Whole { shadow, in_blob },
        })
    }

    fn cut_container(
        &mut self,
        value: &Bound<'py, PyAny>,
        kind: Kind,
        entries: &[Entry<'py>],
        parts: Vec<Part>,
    ) -> PyResult<Cut> {
        let container = match self.container(kind, entries, parts, 0) {
            Ok(container) => container,
            // The path in the message begins at the item; that of the whole value says more.
            Err(error) => {
                self.codec.encode_into(&mut Vec::new(), value, 0)?;
                return Err(error);
            }
        };
        let entry = self.entry_of(&container)?;
        Ok(Cut {
            entry,
            body: Body::Container(container),
        })
    }

    /// Cut a list or dict; `parts` are those it had before.
    fn container(
        &mut self,
        kind: Kind,
        entries: &[Entry<'py>],
        parts: Vec<Part>,
        depth: usize,
    ) -> PyResult<Container> {
        let mut buffer = Vec::new();
        let mut sources = Vec::new();
        let mut prior = Prior::new(parts);
        let mut next = 0;
        while next < entries.len() {
            if let Some(part) = prior.take(&entries[next..])? {
                next += part.items.len();
                sources.push(Source::Kept(part));
            } else {
                let nested = prior.take_nested(&entries[next]);
                sources.push(self.encode(&entries[next], nested, &mut buffer, depth)?);
                next += 1;
            }
        }
        let mut joining = Joining {
            kind,
            entries,
            buffer: &buffer,
            depth,
            parts: Vec::new(),
        };
        let mut run = Vec::new();
        for source in sources {
            match source {
                Source::Nested {
                    item,
                    head,
                    container,
                } => {
                    self.join(&mut joining, &mut run)?;
                    let bytes = head.len();
                    let stored = Stored::Nested(head, container);
                    joining.push(Part {
                        items: vec![item],
                        bytes,
                        stored,
                    });
                }
                Source::Kept(part) if matches!(part.stored, Stored::Nested(..)) => {
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

    /// Encode one item; a large container inside a dict is cut instead.
    fn encode(
        &mut self,
        entry: &Entry<'py>,
        nested: Option<Container>,
        buffer: &mut Vec<u8>,
        depth: usize,
    ) -> PyResult<Source> {
        let item = Item {
            key: entry.key.as_ref().map(|key| key.clone().unbind()),
            shadow: Shadow::of(&entry.value)?,
        };
        let start = buffer.len();
        if let Some(key) = &entry.key {
            self.codec.encode_into(buffer, key, depth + 1)?;
        }
        let head = buffer.len();
        let was_nested = nested.is_some();
        if !was_nested {
            self.codec.encode_into(buffer, &entry.value, depth + 1)?;
        }
        if entry.key.is_some()
            && depth < MAX_NESTING
            && (was_nested || buffer.len() - head > NESTED_VALUE)
            && let Some(kind) = kind_of(&entry.value)
            && let Some(items) = entries(&entry.value, kind)
        {
            let parts = nested.map_or_else(Vec::new, |container| container.parts);
            let container = self.container(kind, &items, parts, depth + 1)?;
            let head = buffer[start..head].into();
            buffer.truncate(start);
            return Ok(Source::Nested {
                item,
                head,
                container,
            });
        }
        if was_nested {
            self.codec.encode_into(buffer, &entry.value, depth + 1)?;
        }
        Ok(Source::New {
            item,
            encoded: start..buffer.len(),
        })
    }

    /// Merge a run of parts that are not cut themselves, and store those that are new.
    fn join(&mut self, joining: &mut Joining<'_, 'py>, run: &mut Vec<Source>) -> PyResult<()> {
        let sizes: Vec<Segment> = run.iter().map(Source::size).collect();
        let merges = match joining.kind {
            Kind::List => merge_list(&sizes),
            Kind::Dict => merge_dict(&sizes),
        };
        let mut sources = run.drain(..);
        for merge in merges {
            if merge.len() > 1 {
                let (items, data) = self.merge(joining, sources.by_ref().take(merge.len()))?;
                let part = self.part(items, &data)?;
                joining.push(part);
                continue;
            }
            match sources.next() {
                Some(Source::New { item, encoded }) => {
                    let part = self.part(vec![item], &joining.buffer[encoded])?;
                    joining.push(part);
                }
                Some(Source::Kept(part)) => {
                    self.relies |= part.has_blob();
                    joining.push(part);
                }
                Some(Source::Nested { .. }) | None => {}
            }
        }
        Ok(())
    }

    /// The items of neighbouring parts and their encoding; those of old parts are encoded again.
    fn merge(
        &self,
        joining: &Joining<'_, 'py>,
        sources: impl Iterator<Item = Source>,
    ) -> PyResult<(Vec<Item>, Vec<u8>)> {
        let mut items = Vec::new();
        let mut data = Vec::new();
        let first = joining.done();
        for source in sources {
            match source {
                Source::New { item, encoded } => {
                    data.extend_from_slice(&joining.buffer[encoded]);
                    items.push(item);
                }
                Source::Kept(part) => {
                    let at = first + items.len();
                    for entry in &joining.entries[at..at + part.items.len()] {
                        if let Some(key) = &entry.key {
                            self.codec.encode_into(&mut data, key, joining.depth + 1)?;
                        }
                        self.codec
                            .encode_into(&mut data, &entry.value, joining.depth + 1)?;
                    }
                    items.extend(part.items);
                }
                Source::Nested { .. } => {}
            }
        }
        Ok((items, data))
    }

    fn part(&mut self, items: Vec<Item>, data: &[u8]) -> PyResult<Part> {
        let stored = if data.len() > INLINE_RUN {
            Stored::Blob(self.store(data)?.unbind())
        } else {
            Stored::Inline(data.into())
        };
        Ok(Part {
            items,
            bytes: data.len(),
            stored,
        })
    }

    fn store(&mut self, data: &[u8]) -> PyResult<Bound<'py, PyString>> {
        let name = PyString::new(self.py, &blob_name(data));
        if !self.blobs.contains(&name)? {
            self.blobs.set_item(&name, PyBytes::new(self.py, data))?;
        }
        Ok(name)
    }

    fn entry_of(&self, container: &Container) -> PyResult<Py<PyTuple>> {
        let py = self.py;
        let mut pieces = vec![PyString::intern(py, "msgpack").into_any()];
        let mut inline = Vec::new();
        container.pieces(py, &mut pieces, &mut inline);
        if !inline.is_empty() {
            pieces.push(PyBytes::new(py, &inline).into_any());
        }
        Ok(PyTuple::new(py, pieces)?.unbind())
    }
}

/// A list or dict whose parts are being joined.
struct Joining<'a, 'py> {
    kind: Kind,
    entries: &'a [Entry<'py>],
    /// The encodings of the new items.
    buffer: &'a [u8],
    depth: usize,
    parts: Vec<Part>,
}

impl Joining<'_, '_> {
    fn push(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// How many items the parts so far hold.
    fn done(&self) -> usize {
        self.parts.iter().map(|part| part.items.len()).sum()
    }
}

impl Cut {
    /// What is known of a list or dict that was just read.
    pub(super) fn of_parts(entry: Py<PyTuple>, kind: Kind, parts: Vec<Part>) -> Self {
        Self {
            entry,
            body: Body::Container(Container { kind, parts }),
        }
    }

    /// What is known of a value that was just read from one blob.
    pub(super) fn of_whole(entry: Py<PyTuple>, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let body = Body::Whole {
            shadow: Shadow::of(value)?,
            in_blob: true,
        };
        Ok(Self { entry, body })
    }

    /// How many objects it holds on to.
    pub(super) fn size(&self) -> usize {
        match &self.body {
            Body::Whole { shadow, .. } => shadow.as_ref().map_or(0, Shadow::size),
            Body::Container(container) => container.objects(),
        }
    }
}

impl Container {
    fn objects(&self) -> usize {
        let items = |part: &Part| -> usize {
            let shadows = part.items.iter().filter_map(|item| item.shadow.as_ref());
            let nested = match &part.stored {
                Stored::Nested(_, container) => container.objects(),
                _ => 0,
            };
            nested + shadows.map(|shadow| 1 + shadow.size()).sum::<usize>()
        };
        self.parts.iter().map(items).sum()
    }

    fn pieces<'py>(
        &self,
        py: Python<'py>,
        pieces: &mut Vec<Bound<'py, PyAny>>,
        inline: &mut Vec<u8>,
    ) {
        let len = self.parts.iter().map(|part| part.items.len()).sum();
        // A length that msgpack cannot hold was refused when the value was encoded.
        let _ = match self.kind {
            Kind::List => write_array_header(inline, len),
            Kind::Dict => write_map_header(inline, len),
        };
        for part in &self.parts {
            match &part.stored {
                Stored::Inline(data) => inline.extend_from_slice(data),
                Stored::Blob(name) => {
                    if !inline.is_empty() {
                        pieces.push(PyBytes::new(py, inline).into_any());
                        inline.clear();
                    }
                    pieces.push(name.bind(py).clone().into_any());
                }
                Stored::Nested(head, container) => {
                    inline.extend_from_slice(head);
                    container.pieces(py, pieces, inline);
                }
            }
        }
    }
}

impl Part {
    fn has_blob(&self) -> bool {
        match &self.stored {
            Stored::Inline(_) => false,
            Stored::Blob(_) => true,
            Stored::Nested(_, container) => container.parts.iter().any(Self::has_blob),
        }
    }

    /// Whether the items from the first of `entries` on are those of this part.
    fn holds(&self, entries: &[Entry<'_>]) -> PyResult<bool> {
        if self.items.len() > entries.len() {
            return Ok(false);
        }
        for (item, entry) in self.items.iter().zip(entries) {
            let same_key = match (&item.key, &entry.key) {
                (Some(before), Some(now)) => now.is(before),
                (None, None) => true,
                _ => false,
            };
            match &item.shadow {
                Some(shadow) if same_key && shadow.holds(&entry.value)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn first(&self) -> Option<*mut ffi::PyObject> {
        let shadow = self.items.first()?.shadow.as_ref()?;
        Some(shadow.object().as_ptr())
    }
}

impl Source {
    fn size(&self) -> Segment {
        match self {
            Self::Kept(part) => Segment {
                items: part.items.len(),
                bytes: part.bytes,
            },
            Self::New { encoded, .. } => Segment {
                items: 1,
                bytes: encoded.len(),
            },
            Self::Nested { head, .. } => Segment {
                items: 1,
                bytes: head.len(),
            },
        }
    }
}

/// The parts that a value had before, to be found again wherever they went.
struct Prior {
    parts: Vec<Option<Part>>,
    /// The part that is next if nothing changed.
    expected: usize,
    /// Parts by the address of their first item's value; made when first needed.
    by_first: Option<HashMap<*mut ffi::PyObject, usize>>,
    /// Parts that are cut themselves, by the address of their key.
    nested: HashMap<*mut ffi::PyObject, usize>,
}

impl Prior {
    fn new(parts: Vec<Part>) -> Self {
        let is_nested = |part: &Part| matches!(part.stored, Stored::Nested(..));
        let nested = parts.iter().enumerate().filter(|(_, part)| is_nested(part));
        let nested = nested
            .filter_map(|(at, part)| Some((part.items.first()?.key.as_ref()?.as_ptr(), at)))
            .collect();
        let parts = parts.into_iter().map(Some).collect();
        Self {
            parts,
            expected: 0,
            by_first: None,
            nested,
        }
    }

    /// Take the part that holds exactly the next items, if there is one.
    fn take(&mut self, entries: &[Entry<'_>]) -> PyResult<Option<Part>> {
        let Some(position) = self.position(entries) else {
            return Ok(None);
        };
        if let Some(part) = &self.parts[position]
            && part.holds(entries)?
        {
            self.expected = position + 1;
            return Ok(self.parts[position].take());
        }
        Ok(None)
    }

    fn position(&mut self, entries: &[Entry<'_>]) -> Option<usize> {
        let first = entries.first()?.value.as_ptr();
        let starts_here = |part: &Option<Part>| part.as_ref().and_then(Part::first) == Some(first);
        if self.parts.get(self.expected).is_some_and(starts_here) {
            return Some(self.expected);
        }
        if self.parts.is_empty() {
            return None;
        }
        let by_first = self.by_first.get_or_insert_with(|| {
            let parts = self.parts.iter().enumerate();
            parts
                .filter_map(|(position, part)| Some((part.as_ref()?.first()?, position)))
                .collect()
        });
        by_first.get(&first).copied()
    }

    /// Take how the value of an entry was cut, if it was.
    fn take_nested(&mut self, entry: &Entry<'_>) -> Option<Container> {
        let key = entry.key.as_ref()?.as_ptr();
        let kind = kind_of(&entry.value)?;
        let position = *self.nested.get(&key)?;
        if !matches!(&self.parts[position], Some(Part { stored: Stored::Nested(_, container), .. })
            if container.kind == kind)
        {
            return None;
        }
        match self.parts[position].take()?.stored {
            Stored::Nested(_, container) => Some(container),
            _ => None,
        }
    }
}

fn kind_of(value: &Bound<'_, PyAny>) -> Option<Kind> {
    if value.is_exact_instance_of::<PyList>() {
        Some(Kind::List)
    } else if value.is_exact_instance_of::<PyDict>() {
        Some(Kind::Dict)
    } else {
        None
    }
}

/// The items of a value of this kind, if it can be cut.
fn entries<'py>(value: &Bound<'py, PyAny>, kind: Kind) -> Option<Vec<Entry<'py>>> {
    if kind == Kind::List {
        let list = value.cast_exact::<PyList>().ok()?;
        return Some(
            list.iter()
                .map(|value| Entry { key: None, value })
                .collect(),
        );
    }
    let dict = value.cast_exact::<PyDict>().ok()?;
    let mut entries = Vec::with_capacity(dict.len());
    let mut cursor = DictCursor::new(dict.clone());
    while let Some((key, value)) = cursor.next() {
        // Other keys are not always written as keys of a map.
        key.cast_exact::<PyString>().ok()?.to_str().ok()?;
        entries.push(Entry {
            key: Some(key),
            value,
        });
    }
    Some(entries)
}
