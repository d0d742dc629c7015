//! Where a value was stored before, for parts that are equal but cannot be recognized.

use std::collections::HashMap;

use swarmstate_engine::BlobHash;

use super::parts::Cut;

/// The blobs that a value was stored in, in any home, to be found by their contents.
#[derive(Default)]
pub(super) struct Before {
    blobs: Vec<BlobHash>,
    /// Built on first use: usually everything is recognized or new.
    by_hash: Option<HashMap<BlobHash, BlobHash>>,
}

impl Before {
    pub(super) fn of(cut: &Cut) -> Self {
        let mut blobs = Vec::new();
        cut.list_blobs(&mut blobs);
        Self::from(blobs.into_iter())
    }

    /// Creates it from these blobs.
    pub(super) fn from(blobs: impl Iterator<Item = BlobHash>) -> Self {
        Self {
            blobs: blobs.collect(),
            by_hash: None,
        }
    }

    /// Returns the known blob with the same bytes as `hash`.
    pub(super) fn find(&mut self, hash: &BlobHash) -> Option<BlobHash> {
        let blobs = &self.blobs;
        let by_hash = self
            .by_hash
            .get_or_insert_with(|| blobs.iter().map(|blob| (blob.homeless(), *blob)).collect());
        by_hash.get(&hash.homeless()).copied()
    }
}
