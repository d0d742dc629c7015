//! When namespaces expire; kept apart from the records because snapshots share those.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::plane::Expiry;

/// The deadlines of the namespaces of one shard, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_name: HashMap<Arc<str>, i64>,
    /// The same pairs inverted: the next to expire comes first.
    by_time: BTreeSet<(i64, Arc<str>)>,
}

impl Deadlines {
    /// Returns whether `now` has reached the deadline of a namespace.
    pub(super) fn is_past(&self, namespace: &str, now: i64) -> bool {
        !self.by_name.is_empty() && self.by_name.get(namespace).is_some_and(|&at| at <= now)
    }

    pub(super) fn get(&self, namespace: &str) -> Expiry {
        self.by_name
            .get(namespace)
            .map_or(Expiry::Never, |&at| Expiry::At(at))
    }

    pub(super) fn set(&mut self, namespace: &str, expiry: Expiry) {
        self.remove(namespace);
        if let Expiry::At(at) = expiry {
            let name: Arc<str> = Arc::from(namespace);
            self.by_time.insert((at, Arc::clone(&name)));
            self.by_name.insert(name, at);
        }
    }

    pub(super) fn remove(&mut self, namespace: &str) {
        if self.by_name.is_empty() {
            return;
        }
        if let Some((name, at)) = self.by_name.remove_entry(namespace) {
            self.by_time.remove(&(at, name));
        }
    }

    /// Removes and returns one namespace whose deadline `now` has reached.
    pub(super) fn pop_past(&mut self, now: i64) -> Option<Arc<str>> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, name) = self.by_time.pop_first()?;
        self.by_name.remove(&name);
        Some(name)
    }

    pub(super) fn clear(&mut self) {
        self.by_name.clear();
        self.by_time.clear();
    }
}
