//! Where a value lay before, for what is equal but cannot be recognized.

use std::collections::HashMap;

use swarmstate_engine::BlobHash;

use super::parts::Cut;

/// The blobs that a value lay in, in whatever home, to be found by what they hold.
#[derive(Default)]
pub(super) struct Before {
    blobs: Vec<BlobHash>,
    /// Made when it is first needed: mostly everything is recognized, or new.
    by_hash: Option<HashMap<BlobHash, BlobHash>>,
}

impl Before {
    pub(super) fn of(cut: &Cut) -> Self {
        let mut blobs = Vec::new();
        cut.list_blobs(&mut blobs);
        Self::from(blobs.into_iter())
    }

    /// These blobs.
    pub(super) fn from(blobs: impl Iterator<Item = BlobHash>) -> Self {
        Self {
            blobs: blobs.collect(),
            by_hash: None,
        }
    }

    /// Returns the blob with the bytes of this one.
    pub(super) fn find(&mut self, hash: &BlobHash) -> Option<BlobHash> {
        let blobs = &self.blobs;
        let by_hash = self
            .by_hash
            .get_or_insert_with(|| blobs.iter().map(|blob| (blob.homeless(), *blob)).collect());
        by_hash.get(&hash.homeless()).copied()
    }
}
