//! How a value was cut: what is remembered of it.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use swarmstate_engine::BlobHash;

use super::shadow::Shadow;
use crate::codec::{DictCursor, write_array_header, write_map_header};

/// A value as it was stored last: its entry in the record, and how to recognize it.
pub(super) struct Cut {
    pub(super) entry: Py<PyTuple>,
    pub(super) body: Body,
}

pub(super) enum Body {
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
    pub(super) kind: Kind,
    pub(super) parts: Vec<Part>,
}

/// A run of items that is stored as one piece, or an entry that is cut itself.
pub(super) struct Part {
    pub(super) items: Vec<Item>,
    pub(super) bytes: usize,
    pub(super) stored: Stored,
}

pub(super) enum Stored {
    Inline(Box<[u8]>),
    Blob(BlobHash),
    /// The encoded key of the entry, and its value.
    Nested(Box<[u8]>, Container),
}

/// What an item was; without a shadow it is never taken for unchanged.
pub(super) struct Item {
    pub(super) key: Option<Py<PyAny>>,
    pub(super) shadow: Option<Shadow>,
}

/// An item of the value that is being cut.
pub(super) struct Entry<'py> {
    pub(super) key: Option<Bound<'py, PyAny>>,
    pub(super) value: Bound<'py, PyAny>,
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
    pub(super) fn of_whole(entry: Py<PyTuple>, shadow: Option<Shadow>) -> Self {
        let in_blob = true;
        Self {
            entry,
            body: Body::Whole { shadow, in_blob },
        }
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

    /// Append the pieces that make the encoding.
    pub(super) fn pieces(&self, pieces: &mut Pieces) {
        let len = self.parts.iter().map(|part| part.items.len()).sum();
        // A length that msgpack cannot hold was refused when the value was encoded.
        let _ = match self.kind {
            Kind::List => write_array_header(pieces.inline(), len),
            Kind::Dict => write_map_header(pieces.inline(), len),
        };
        for part in &self.parts {
            match &part.stored {
                Stored::Inline(data) => pieces.inline().extend_from_slice(data),
                Stored::Blob(hash) => pieces.blob(*hash),
                Stored::Nested(head, container) => {
                    pieces.inline().extend_from_slice(head);
                    container.pieces(pieces);
                }
            }
        }
    }
}

/// The pieces of an entry that is being made.
#[derive(Default)]
pub(super) struct Pieces {
    complete: Vec<Piece>,
    /// What comes next; at most one of the two holds anything.
    inline: Vec<u8>,
    hashes: Vec<u8>,
}

enum Piece {
    /// Bytes that stand in the record itself.
    Inline(Vec<u8>),
    /// The hashes of blobs, one after another.
    Hashes(Vec<u8>),
}

impl Pieces {
    /// Where bytes are appended that stand in the record itself.
    pub(super) fn inline(&mut self) -> &mut Vec<u8> {
        if !self.hashes.is_empty() {
            let hashes = std::mem::take(&mut self.hashes);
            self.complete.push(Piece::Hashes(hashes));
        }
        &mut self.inline
    }

    /// Append a blob.
    pub(super) fn blob(&mut self, hash: BlobHash) {
        if !self.inline.is_empty() {
            let inline = std::mem::take(&mut self.inline);
            self.complete.push(Piece::Inline(inline));
        }
        self.hashes.extend_from_slice(hash.as_bytes());
    }

    /// The entry of the pieces, for a record.
    pub(super) fn entry(mut self, py: Python<'_>, tag: &str) -> PyResult<Py<PyTuple>> {
        self.complete.push(if self.hashes.is_empty() {
            Piece::Inline(self.inline)
        } else {
            Piece::Hashes(self.hashes)
        });
        let mut entry = vec![PyString::intern(py, tag).into_any()];
        for piece in self.complete {
            entry.push(match piece {
                Piece::Inline(data) => PyBytes::new(py, &data).into_any(),
                Piece::Hashes(hashes) => PyTuple::new(py, [PyBytes::new(py, &hashes)])?.into_any(),
            });
        }
        Ok(PyTuple::new(py, entry)?.unbind())
    }
}

impl Part {
    pub(super) fn has_blob(&self) -> bool {
        match &self.stored {
            Stored::Inline(_) => false,
            Stored::Blob(_) => true,
            Stored::Nested(_, container) => container.parts.iter().any(Self::has_blob),
        }
    }

    /// Whether the items from the first of `entries` on are those of this part.
    pub(super) fn holds(&self, entries: &[Entry<'_>]) -> PyResult<bool> {
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

    pub(super) fn first(&self) -> Option<*mut ffi::PyObject> {
        let shadow = self.items.first()?.shadow.as_ref()?;
        Some(shadow.address())
    }
}

pub(super) fn kind_of(value: &Bound<'_, PyAny>) -> Option<Kind> {
    if value.is_exact_instance_of::<PyList>() {
        Some(Kind::List)
    } else if value.is_exact_instance_of::<PyDict>() {
        Some(Kind::Dict)
    } else {
        None
    }
}

/// The items of a value of this kind, if it can be cut.
pub(super) fn entries<'py>(value: &Bound<'py, PyAny>, kind: Kind) -> Option<Vec<Entry<'py>>> {
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
