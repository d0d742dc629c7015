//! What must be there for references to blobs to be good.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The bases whose blobs some values refer to, directly or through values that were not stored yet
/// when they were referred to.
///
/// Values are remembered before they are stored. If storing fails because a base has gone, they are
/// stored in another way, and who has referred to them the way they were remembered must notice:
/// the same base is missing for them, too.
#[derive(Clone, Default)]
pub(super) struct Reliance(Option<Arc<Pending>>);

struct Pending {
    bases: Vec<String>,
    is_stored: AtomicBool,
}

impl Reliance {
    /// That of what refers to the values of a base, which themselves have this one.
    pub(super) fn of_successor(&self, base: &str) -> Self {
        let bases = iter::once(base).chain(self.pending()).map(str::to_owned);
        Self(Some(Arc::new(Pending {
            bases: bases.collect(),
            is_stored: AtomicBool::new(false),
        })))
    }

    /// The bases, the youngest first.
    pub(super) fn bases(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |pending| &pending.bases)
    }

    /// Take note that the values are stored: a base that goes now keeps its blobs for them.
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
