//! How a value was cut, as far as that is remembered.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use swarmstate_engine::BlobHash;

use super::classes::Classes;
use super::pieces::Pieces;
use super::shadow::{Shadow, is_leaf};
use super::template::Template;
use super::whole::{Large, Whole};
use super::witness::Witness;
use crate::codec::DictCursor;

/// A value as it was last stored: its entry in the record, and how to recognize it.
pub(super) struct Cut {
    pub(super) entry: Py<PyTuple>,
    pub(super) body: Body,
}

pub(super) enum Body {
    Whole(Whole),
    Container(Container),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Dict,
}

pub(super) struct Container {
    pub(super) kind: Kind,
    pub(super) parts: Vec<Part>,
}

/// A run of items stored as one piece, or an entry whose value is itself cut.
pub(super) struct Part {
    pub(super) items: Items,
    pub(super) bytes: usize,
    pub(super) stored: Stored,
}

pub(super) enum Stored {
    Inline(Box<[u8]>),
    Blob(BlobHash),
    /// The encoded key of an entry, and its value.
    Nested(Box<[u8]>, Container),
    /// The encoded key of an entry, and where its value, which is cut by content, is stored.
    Chunked(Box<[u8]>, Large),
}

/// What a value was. Without a shadow it is never considered unchanged; without a template it is
/// decoded each time.
///
/// Templates come only from decoding, shadows also from values that were put: an item proven
/// unchanged keeps its template in whatever blob it is written next.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) shadow: Option<Shadow>,
    pub(super) template: Option<Arc<Template>>,
}

/// What an item was.
pub(super) struct Item {
    pub(super) key: Option<Py<PyAny>>,
    pub(super) seen: Seen,
}

/// A value made from an item for its last reader; None if it was not made here.
pub(super) type Made = Option<Py<PyAny>>;

/// The items of a part.
pub(super) struct Items {
    /// Shared between readers of the same part.
    pub(super) items: Arc<[Item]>,
    /// The last known address of the first item's value: where to look first.
    pub(super) first: usize,
    /// In the order of the items; there may be fewer.
    pub(super) made: Vec<Made>,
    /// What their values were when last proven unchanged.
    pub(super) witness: Option<Witness>,
    /// Approximate memory use, without the witness.
    cost: usize,
}

/// An item of the value being cut.
pub(super) struct Entry<'py> {
    pub(super) key: Option<Bound<'py, PyAny>>,
    pub(super) value: Bound<'py, PyAny>,
}

impl Cut {
    /// Returns what is known about a list or dict.
    pub(super) fn of_container(entry: Py<PyTuple>, container: Container) -> Self {
        let body = Body::Container(container);
        Self { entry, body }
    }

    /// Returns what is known about a value that is not cut between items.
    pub(super) fn of_whole(entry: Py<PyTuple>, whole: Whole) -> Self {
        let body = Body::Whole(whole);
        Self { entry, body }
    }

    /// Returns whether knowing it helps to recognize the value, or to find where it is stored.
    pub(super) fn is_recognizable(&self) -> bool {
        match &self.body {
            Body::Whole(whole) => whole.seen.shadow.is_some() || whole.large.is_some(),
            Body::Container(_) => true,
        }
    }

    pub(super) fn list_blobs(&self, blobs: &mut Vec<BlobHash>) {
        match &self.body {
            Body::Whole(whole) => blobs.extend(whole.blobs()),
            Body::Container(container) => container.list_blobs(blobs),
        }
    }

    /// Returns its approximate memory use, including everything that only it may keep alive.
    pub(super) fn bytes(&self) -> usize {
        match &self.body {
            Body::Whole(whole) => LEAF_BYTES * whole.size() + whole.seen.bytes(),
            Body::Container(container) => container.bytes(),
        }
    }
}

/// Memory per byte of an encoding: objects have headers.
const LEAF_BYTES: usize = 2;

impl Seen {
    /// Returns it for a value that was put: a text or bytes can be handed out as it is.
    pub(super) fn of_leaf_or(value: &Bound<'_, PyAny>, shadow: Option<Shadow>) -> Self {
        let leaf = is_leaf(value).then(|| Template::Leaf(value.clone().unbind()));
        let template = leaf.map(Arc::new);
        Self { shadow, template }
    }

    fn bytes(&self) -> usize {
        let shadow = self.shadow.as_ref().map_or(0, |shadow| shadow.bytes());
        let template = self
            .template
            .as_ref()
            .map_or(0, |template| template.bytes());
        size_of::<Item>() + shadow + template
    }
}

impl Item {
    pub(super) fn of(entry: &Entry<'_>, seen: Seen) -> Self {
        Self {
            key: entry.key.as_ref().map(|key| key.clone().unbind()),
            seen,
        }
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            key: self.key.as_ref().map(|key| key.clone_ref(py)),
            seen: self.seen.clone(),
        }
    }
}

impl Items {
    pub(super) fn new(items: Vec<Item>, first: usize, made: Vec<Made>) -> Self {
        let seen: usize = items.iter().map(|item| item.seen.bytes()).sum();
        let value = |(item, made): (&Item, &Made)| match (&item.seen.shadow, made) {
            (Some(shadow), Some(_)) => shadow.value_bytes(),
            _ => 0,
        };
        let values: usize = items.iter().zip(&made).map(value).sum();
        Self {
            items: items.into(),
            first,
            made,
            witness: None,
            cost: seen + values,
        }
    }

    /// Returns the same items with other values.
    pub(super) fn with_values(&mut self, first: usize, made: Vec<Made>) -> Self {
        Self {
            items: self.items.clone(),
            first,
            made,
            // It concerns the previous values, which may be handed out again.
            witness: self.witness.take(),
            cost: self.cost,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether these values are, by their shadows, what the items were.
    fn are<'a, 'py: 'a>(
        &self,
        classes: &mut Classes<'py>,
        values: impl Iterator<Item = &'a Bound<'py, PyAny>>,
    ) -> bool {
        self.items.iter().zip(values).all(|(item, value)| {
            (item.seen.shadow.as_ref()).is_some_and(|shadow| shadow.holds(classes, value))
        })
    }

    /// Returns the memory used by the values of those items that have none made here.
    fn unmade_bytes(&self) -> usize {
        let is_made = |index: usize| matches!(self.made.get(index), Some(Some(_)));
        let unmade = self.items.iter().enumerate();
        unmade
            .filter(|(index, _)| !is_made(*index))
            .filter_map(|(_, item)| item.seen.shadow.as_ref())
            .map(Shadow::value_bytes)
            .sum()
    }

    fn bytes(&self) -> usize {
        self.cost + self.witness.as_ref().map_or(0, Witness::bytes)
    }
}

impl Container {
    /// Returns the number of items.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.items.len()).sum()
    }

    pub(super) fn list_blobs(&self, blobs: &mut Vec<BlobHash>) {
        for part in &self.parts {
            match &part.stored {
                Stored::Inline(_) => {}
                Stored::Blob(blob) => blobs.push(*blob),
                Stored::Nested(_, container) => container.list_blobs(blobs),
                Stored::Chunked(_, large) => blobs.extend(large.blobs()),
            }
        }
    }

    fn bytes(&self) -> usize {
        let part = |part: &Part| -> usize {
            let nested = match &part.stored {
                Stored::Nested(_, container) => container.bytes(),
                _ => 0,
            };
            LEAF_BYTES * part.bytes + nested + part.items.bytes()
        };
        self.parts.iter().map(part).sum()
    }

    /// Append the pieces of the encoding.
    pub(super) fn pieces(&self, pieces: &mut Pieces) {
        pieces.header(self.kind, self.len());
        self.parts
            .iter()
            .for_each(|part| part.stored.pieces(pieces));
    }
}

impl Stored {
    /// Append the pieces of its items' encoding.
    pub(super) fn pieces(&self, pieces: &mut Pieces) {
        match self {
            Self::Inline(data) => pieces.inline().extend_from_slice(data),
            Self::Blob(hash) => pieces.blob(*hash),
            Self::Nested(head, container) => {
                pieces.inline().extend_from_slice(head);
                container.pieces(pieces);
            }
            Self::Chunked(head, large) => {
                pieces.inline().extend_from_slice(head);
                large.pieces(pieces);
            }
        }
    }
}

impl Part {
    /// Returns whether it is a single entry that is itself cut: it is never merged with others.
    pub(super) fn is_apart(&self) -> bool {
        matches!(self.stored, Stored::Nested(..) | Stored::Chunked(..))
    }

    pub(super) fn has_blob(&self) -> bool {
        self.has_any(&|_| true)
    }

    /// Returns whether any blob that it is stored in satisfies `is_one`.
    pub(super) fn has_any(&self, is_one: &impl Fn(&BlobHash) -> bool) -> bool {
        match &self.stored {
            Stored::Inline(_) => false,
            Stored::Blob(blob) => is_one(blob),
            Stored::Nested(_, container) => {
                let mut parts = container.parts.iter();
                parts.any(|part| part.has_any(is_one))
            }
            Stored::Chunked(_, large) => large.blobs().any(|blob| is_one(&blob)),
        }
    }

    /// Returns whether `entries` begins with the items of this part.
    pub(super) fn holds<'py>(
        &mut self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        entries: &[Entry<'py>],
    ) -> bool {
        let Some(entries) = entries.get(..self.items.len()) else {
            return false;
        };
        let same_keys = self.items.items.iter().zip(entries).all(|(item, entry)| {
            match (&item.key, &entry.key) {
                (Some(before), Some(now)) => now.is(before),
                (None, None) => true,
                _ => false,
            }
        });
        if !same_keys {
            return false;
        }
        let values = || entries.iter().map(|entry| &entry.value);
        let met = classes.count();
        if let Some(witness) = &self.items.witness
            && witness.holds::<false>(py, classes, values().map(Bound::as_ptr))
        {
            return true;
        }
        if !self.items.are(classes, values()) {
            return false;
        }
        let Some(versions) = classes.versions else {
            return true;
        };
        // Examining a class for the first time may run Python code, which may change what was
        // already proven. The second pass runs none, nor does taking the witness.
        if classes.count() > met && !self.items.are(classes, values()) {
            return false;
        }
        let held_bytes = || self.items.unmade_bytes();
        self.items.witness = Witness::of(versions, classes, values(), held_bytes);
        true
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

/// Returns the items of a value of this kind, if it can be cut.
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
