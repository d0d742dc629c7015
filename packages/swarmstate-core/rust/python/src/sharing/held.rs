//! What values can be made from without decoding them.
//!
//! A value that was decoded once and handed out is handed out again if meanwhile nobody has a
//! reference to it: a server lets go of a thread's state when it has answered. Who still has one
//! gets copies.

use std::collections::HashMap;

use pyo3::prelude::*;
use swarmstate_engine::BlobHash;

use super::classes::Classes;
use super::parts::{Body, Container, Cut, Items, Made, Seen, Stored};
use super::whole::Large;

/// What is known of values, by the blob that they lie in.
#[derive(Default)]
pub(super) struct Held {
    pub(super) parts: HashMap<BlobHash, Run>,
    /// Entries that are cut by content, by the first of their blobs.
    pub(super) chunked: HashMap<BlobHash, Chunked>,
    /// The first blobs of these, by each of them.
    chunks: HashMap<BlobHash, BlobHash>,
    pub(super) whole: Option<(Large, Seen)>,
}

/// The items that lie in one blob, and its size.
pub(super) struct Run {
    pub(super) items: Items,
    pub(super) bytes: usize,
}

/// The item that is an entry which is cut by content, and where its value lies.
pub(super) struct Chunked {
    pub(super) items: Items,
    pub(super) large: Large,
}

impl Held {
    /// Keep of what is cut by content that of which all is wanted, and nowhere else: what others
    /// share with it is of no use to them without its bytes.
    ///
    /// Args:
    ///     blobs: What is about to be read.
    ///     wanted: How often each of these is there.
    pub(super) fn keep_complete(&mut self, blobs: &[BlobHash], wanted: &Counts<'_>) {
        self.whole =
            (self.whole.take()).filter(|(known, _)| known.blobs().eq(blobs.iter().copied()));
        if self.chunked.is_empty() {
            return;
        }
        let is_wanted = |large: &Large| large.blobs().all(|blob| wanted.get(&blob) == Some(&1));
        self.chunked.retain(|_, known| is_wanted(&known.large));
        let chunks = (self.chunked.iter())
            .flat_map(|(first, known)| known.large.blobs().map(|blob| (blob, *first)));
        self.chunks = chunks.collect();
    }

    /// Keep of the values that were handed out before those that can be handed out once more: that
    /// nobody holds and nobody changed.
    ///
    /// Args:
    ///     wanted: How often each blob is about to be read. A value cannot be in two places, so of
    ///         a blob that is there twice none is kept.
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

    /// Keep none of the values that were handed out before.
    pub(super) fn drop_made(&mut self) {
        (self.parts.values_mut()).for_each(|run| run.items.made.clear());
        (self.chunked.values_mut()).for_each(|known| known.items.made.clear());
    }

    /// The size of a blob of which nothing has to be decoded, because values can be had of all
    /// that lies in it.
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
    /// What values can be had from; those that were handed out are taken away.
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
                // Once for a blob that is there twice. Nothing may be dropped here: that may run
                // any Python code, and the caller has a lock.
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

/// How often each of some blobs is there.
pub(super) type Counts<'a> = HashMap<&'a BlobHash, usize>;

pub(super) fn counts(blobs: &[BlobHash]) -> Counts<'_> {
    let mut counts = HashMap::with_capacity(blobs.len());
    for blob in blobs {
        *counts.entry(blob).or_default() += 1;
    }
    counts
}

impl Items {
    /// Whether values of all of them can be had.
    fn can_be_had(&self) -> bool {
        let is_made = |index: usize| matches!(self.made.get(index), Some(Some(_)));
        let mut all = self.items.iter().enumerate();
        all.all(|(index, item)| item.seen.template.is_some() || is_made(index))
    }

    /// Take the value that was made of an item, if it is still there.
    pub(super) fn take_made(&mut self, index: usize) -> Made {
        self.made.get_mut(index).and_then(Option::take)
    }

    fn keep_unheld<'py>(&mut self, py: Python<'py>, classes: &mut Classes<'py>) {
        if let Some(witness) = &self.witness
            && witness.holds::<true>(py, classes, self.made.iter().flatten().map(Py::as_ptr))
        {
            return;
        }
        // It would count among those who hold them.
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
