//! What must exist for references to blobs to be valid.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The bases whose blobs some values refer to, either directly or through values that were not yet
/// stored at that time.
///
/// Values are remembered before they are stored. If storing fails because a base is gone, they are
/// stored differently. Values that refer to them as remembered must notice: the same base is
/// missing for them.
#[derive(Clone, Default)]
pub(super) struct Reliance(Option<Arc<Pending>>);

struct Pending {
    bases: Vec<String>,
    is_stored: AtomicBool,
}

impl Reliance {
    /// Returns the reliance of values that refer to a base's values, which themselves have this
    /// reliance.
    pub(super) fn of_successor(&self, base: &str) -> Self {
        let bases = iter::once(base).chain(self.pending()).map(str::to_owned);
        Self(Some(Arc::new(Pending {
            bases: bases.collect(),
            is_stored: AtomicBool::new(false),
        })))
    }

    /// Returns the bases, newest first.
    pub(super) fn bases(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |pending| &pending.bases)
    }

    /// Record that the values are stored: if a base is deleted now, its blobs are kept for them.
    pub(super) fn confirm(&self) {
        if let Some(pending) = &self.0 {
            pending.is_stored.store(true, Ordering::Release);
        }
    }

    fn pending(&self) -> impl Iterator<Item = &str> {
        let pending = self.0.iter();
        pending
            .filter(|pending| !pending.is_stored.load(Ordering::Acquire))
            .flat_map(|pending| pending.bases.iter().map(String::as_str))
    }
}
