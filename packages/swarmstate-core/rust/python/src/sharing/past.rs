//! What is still known of a state when the next one is: a pending write may come late.

use std::collections::{HashMap, HashSet};

use swarmstate_engine::BlobHash;

use super::parts::Cut;
use super::reliance::Reliance;

/// What the next state's values leave of those of a base.
pub(super) struct Past {
    /// That of what refers to the base's values; the first of its bases is this one.
    pub(super) reliance: Reliance,
    /// The values that are not there any more.
    pub(super) gone: HashMap<String, Cut>,
    /// The blobs of those that are there which the base's values did not have. They may not be
    /// stored yet, and may go before the write does.
    pub(super) new: HashSet<BlobHash>,
}

/// What remembering one new blob takes, about.
const NEW_BYTES: usize = 64;

impl Past {
    pub(super) fn new(
        reliance: Reliance,
        mut gone: HashMap<String, Cut>,
        mut new: HashSet<BlobHash>,
    ) -> Self {
        for cut in gone.values_mut() {
            // Who reads the next state may get items again that only the saver has.
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

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let gone = self.gone.values().map(Cut::bytes).sum::<usize>();
        gone + self.new.len() * NEW_BYTES
    }
}
