//! What is still known about a state once the next one exists: a pending write may come late.

use std::collections::{HashMap, HashSet};

use swarmstate_engine::BlobHash;

use super::parts::Cut;
use super::reliance::Reliance;

/// What is left of a base's values once the next state exists.
pub(super) struct Past {
    /// The reliance of anything that refers to the base's values; its first base is this one.
    pub(super) reliance: Reliance,
    /// The values that no longer exist.
    pub(super) gone: HashMap<String, Cut>,
    /// The blobs that the remaining values have but the base's did not. They may not be stored yet,
    /// and may be deleted before the write is.
    pub(super) new: HashSet<BlobHash>,
}

/// Approximate memory for one new blob.
const NEW_BYTES: usize = 64;

impl Past {
    pub(super) fn new(
        reliance: Reliance,
        mut gone: HashMap<String, Cut>,
        mut new: HashSet<BlobHash>,
    ) -> Self {
        for cut in gone.values_mut() {
            // Drop the values, so that a reader of the next state can be handed items that only the
            // saver holds.
            drop(cut.held());
            let mut blobs = Vec::new();
            cut.list_blobs(&mut blobs);
            for blob in blobs {
                new.remove(&blob);
            }
        }
        Self {
            reliance,
            gone,
            new,
        }
    }

    pub(super) fn is_of(&self, base: &str) -> bool {
        self.reliance
            .bases()
            .first()
            .is_some_and(|each| each == base)
    }

    /// Returns its approximate memory use.
    pub(super) fn bytes(&self) -> usize {
        let gone = self.gone.values().map(Cut::bytes).sum::<usize>();
        gone + self.new.len() * NEW_BYTES
    }
}
