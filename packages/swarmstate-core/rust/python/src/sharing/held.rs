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
    pub(super) whole: Option<(Large, Seen)>,
}

/// The items that lie in one blob, and its size.
pub(super) struct Run {
    pub(super) items: Items,
    pub(super) bytes: usize,
}

impl Held {
    /// Keep what is known of a value that is not cut between items, if it lies in these blobs.
    ///
    /// Those that the next one shares with it are of no use without the others.
    pub(super) fn keep_whole(&mut self, blobs: &[BlobHash]) {
        self.whole =
            (self.whole.take()).filter(|(known, _)| known.blobs().eq(blobs.iter().copied()));
    }

    /// Keep of the values that were handed out before those that can be handed out once more: that
    /// nobody holds and nobody changed.
    ///
    /// Args:
    ///     blobs: What is about to be read. A value cannot be in two places, so of a blob that is
    ///         there twice none is kept.
    pub(super) fn keep_unheld<'py>(
        &mut self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        blobs: &[BlobHash],
    ) {
        let mut wanted: HashMap<&BlobHash, usize> = HashMap::with_capacity(blobs.len());
        for blob in blobs {
            *wanted.entry(blob).or_default() += 1;
        }
        for (blob, run) in &mut self.parts {
            if wanted.get(blob) == Some(&1) {
                run.items.keep_unheld(py, classes);
            } else {
                run.items.made.clear();
                run.items.witness = None;
            }
        }
    }

    /// Keep none of the values that were handed out before.
    pub(super) fn drop_made(&mut self) {
        (self.parts.values_mut()).for_each(|run| run.items.made.clear());
    }

    /// The size of a blob of which nothing has to be decoded, because values can be had of all
    /// that lies in it.
    pub(super) fn size_of_copied(&self, blob: &BlobHash) -> Option<usize> {
        if let Some(run) = self.parts.get(blob) {
            let items = &run.items;
            let is_made = |index: usize| matches!(items.made.get(index), Some(Some(_)));
            let mut all = items.items.iter().enumerate();
            return all
                .all(|(index, item)| item.seen.template.is_some() || is_made(index))
                .then_some(run.bytes);
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
            }
        }
    }
}

impl Items {
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
