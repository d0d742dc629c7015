//! Values that are available without decoding.
//!
//! A value that was decoded and handed out can be handed out again once nobody holds a reference to
//! it: a server drops a thread's state when it has answered. While a reference is still held,
//! readers get copies.

use std::collections::HashMap;

use pyo3::prelude::*;
use swarmstate_engine::BlobHash;

use super::blobs::heads_of;
use super::classes::Classes;
use super::parts::{Body, Container, Cut, Items, Made, Seen, Stored};
use super::whole::Large;

/// What is known about values, by the blobs that they are stored in.
#[derive(Default)]
pub(super) struct Held {
    pub(super) parts: HashMap<BlobHash, Run>,
    /// Entries cut by content, by their first blob.
    pub(super) chunked: HashMap<BlobHash, Chunked>,
    /// Maps each of their blobs to the first one.
    chunks: HashMap<BlobHash, BlobHash>,
    pub(super) whole: Option<(Large, Seen)>,
}

/// The items stored in one blob, and the blob's size.
pub(super) struct Run {
    pub(super) items: Items,
    pub(super) bytes: usize,
}

/// The item for an entry that is cut by content, and where its value is stored.
pub(super) struct Chunked {
    pub(super) items: Items,
    pub(super) large: Large,
}

impl Held {
    /// Of values cut by content, keep those whose blobs are all wanted and used nowhere else:
    /// another value that shares a blob needs its bytes. So does one that differs only in the
    /// bytes before its blobs.
    ///
    /// Args:
    ///     entry: What is about to be read.
    ///     blobs: Its blobs.
    ///     wanted: How often each of them occurs.
    pub(super) fn keep_complete(
        &mut self,
        entry: &Bound<'_, PyAny>,
        blobs: &[BlobHash],
        wanted: &Counts<'_>,
    ) -> PyResult<()> {
        if self.whole.is_none() && self.chunked.is_empty() {
            return Ok(());
        }
        let heads = heads_of(entry)?;
        self.whole = (self.whole.take()).filter(|(known, _)| {
            known.blobs().eq(blobs.iter().copied()) && known.may_follow(&heads)
        });
        let is_wanted = |large: &Large| {
            large.blobs().all(|blob| wanted.get(&blob) == Some(&1)) && large.may_follow(&heads)
        };
        self.chunked.retain(|_, known| is_wanted(&known.large));
        let chunks = (self.chunked.iter())
            .flat_map(|(first, known)| known.large.blobs().map(|blob| (blob, *first)));
        self.chunks = chunks.collect();
        Ok(())
    }

    /// Of values handed out before, keep those that can be handed out again because nobody holds
    /// them and nobody changed them.
    ///
    /// Args:
    ///     wanted: How often each blob is about to be read. A value cannot be in two places, so
    ///         nothing is kept of a blob that occurs twice.
    pub(super) fn keep_unheld<'py>(
        &mut self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        wanted: &Counts<'_>,
    ) {
        for (blob, run) in &mut self.parts {
            if wanted.get(blob) == Some(&1) {
                run.items.keep_unheld(py, classes);
            } else {
                run.items.made.clear();
                run.items.witness = None;
            }
        }
        for known in self.chunked.values_mut() {
            known.items.keep_unheld(py, classes);
        }
    }

    /// Discard all values handed out before.
    pub(super) fn drop_made(&mut self) {
        (self.parts.values_mut()).for_each(|run| run.items.made.clear());
        (self.chunked.values_mut()).for_each(|known| known.items.made.clear());
    }

    /// Returns the size of a blob if nothing in it has to be decoded, because all its values are
    /// available.
    pub(super) fn size_of_copied(&self, blob: &BlobHash) -> Option<usize> {
        if let Some(run) = self.parts.get(blob) {
            return run.items.can_be_had().then_some(run.bytes);
        }
        if let Some(known) = self
            .chunks
            .get(blob)
            .and_then(|first| self.chunked.get(first))
        {
            let size = known.large.size_of(blob);
            return size.filter(|_| known.items.can_be_had());
        }
        match &self.whole {
            Some((known, seen)) if seen.template.is_some() => known.size_of(blob),
            _ => None,
        }
    }
}

impl Cut {
    /// Returns what makes values available; values that were handed out are moved into it.
    pub(super) fn held(&mut self) -> Held {
        let mut held = Held::default();
        match &mut self.body {
            Body::Whole(whole) => {
                let large = whole.large.clone();
                held.whole = large.map(|large| (large, whole.seen.clone()));
            }
            Body::Container(container) => container.hold(&mut held),
        }
        held
    }
}

impl Container {
    fn hold(&mut self, held: &mut Held) {
        for part in &mut self.parts {
            match &mut part.stored {
                Stored::Inline(_) => {}
                // The entry API handles a blob that occurs twice. Nothing may be dropped here: that
                // may run any Python code, and the caller holds a lock.
                Stored::Blob(blob) => {
                    held.parts.entry(*blob).or_insert_with(|| {
                        let made = std::mem::take(&mut part.items.made);
                        Run {
                            items: part.items.with_values(0, made),
                            bytes: part.bytes,
                        }
                    });
                }
                Stored::Nested(_, container) => container.hold(held),
                Stored::Chunked(_, large) => {
                    let Some(first) = large.blobs().next() else {
                        continue;
                    };
                    held.chunked.entry(first).or_insert_with(|| {
                        let made = std::mem::take(&mut part.items.made);
                        let items = part.items.with_values(0, made);
                        let large = large.clone();
                        Chunked { items, large }
                    });
                }
            }
        }
    }
}

/// How often each blob occurs.
pub(super) type Counts<'a> = HashMap<&'a BlobHash, usize>;

pub(super) fn counts(blobs: &[BlobHash]) -> Counts<'_> {
    let mut counts = HashMap::with_capacity(blobs.len());
    for blob in blobs {
        *counts.entry(blob).or_default() += 1;
    }
    counts
}

impl Items {
    /// Returns whether values for all items are available.
    fn can_be_had(&self) -> bool {
        let is_made = |index: usize| matches!(self.made.get(index), Some(Some(_)));
        let mut all = self.items.iter().enumerate();
        all.all(|(index, item)| item.seen.template.is_some() || is_made(index))
    }

    /// Take the value made from an item, if it is still there.
    pub(super) fn take_made(&mut self, index: usize) -> Made {
        self.made.get_mut(index).and_then(Option::take)
    }

    fn keep_unheld<'py>(&mut self, py: Python<'py>, classes: &mut Classes<'py>) {
        if let Some(witness) = &self.witness
            && witness.holds::<true>(py, classes, self.made.iter().flatten().map(Py::as_ptr))
        {
            return;
        }
        // It would count as a holder of the values.
        self.witness = None;
        for (item, made) in self.items.iter().zip(&mut self.made) {
            let is_unheld = match (&item.seen.shadow, &*made) {
                (Some(shadow), Some(value)) => shadow.holds_alone(classes, value.bind(py)),
                _ => false,
            };
            if !is_unheld {
                *made = None;
            }
        }
    }
}
