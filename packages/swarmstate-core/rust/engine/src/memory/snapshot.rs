//! Immutable states of a store.

use std::sync::Arc;

use imbl::ordmap::DiffItem;

use super::{Names, Records, SHARDS, shard_index};
use crate::plane::Value;

/// The address of a record: its namespace and its key.
pub type Address = (Arc<str>, Arc<str>);

/// The records of a whole store at one moment; shares all its structure with the store.
#[derive(Clone, Debug)]
pub struct Snapshot {
    id: u64,
    taken_at: i64,
    shards: [Names; SHARDS],
}

/// How one snapshot differs from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Records that only the newer snapshot holds.
    pub added: Vec<Address>,
    /// Records that only the older snapshot holds.
    pub removed: Vec<Address>,
    /// Records whose values differ.
    pub changed: Vec<Address>,
}

impl Snapshot {
    pub(super) fn new(id: u64, taken_at: i64, shards: [Names; SHARDS]) -> Self {
        Self {
            id,
            taken_at,
            shards,
        }
    }

    /// Returns a snapshot of records held by another store.
    ///
    /// `id` counts that store's snapshots from 1; `taken_at` is in milliseconds since the Unix
    /// epoch.
    pub fn of_records(
        id: u64,
        taken_at: i64,
        namespaces: impl IntoIterator<Item = (String, Vec<(String, Value)>)>,
    ) -> Self {
        let mut shards = std::array::from_fn(|_| Names::new());
        for (namespace, records) in namespaces {
            if records.is_empty() {
                continue;
            }
            let index = shard_index(&namespace);
            let records: Records = records.into_iter().collect();
            shards[index].insert(Arc::from(namespace), records);
        }
        Self::new(id, taken_at, shards)
    }

    pub(super) fn shards(&self) -> &[Names; SHARDS] {
        &self.shards
    }

    /// Returns the number of this snapshot in its store, counted from 1.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the id of the store's previous snapshot.
    #[must_use]
    pub fn parent(&self) -> Option<u64> {
        (self.id > 1).then(|| self.id - 1)
    }

    /// Returns when it was taken, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn taken_at(&self) -> i64 {
        self.taken_at
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.namespaces_unordered()
            .map(|(_, records)| records.len())
            .sum()
    }

    /// Returns whether it holds no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(Names::is_empty)
    }

    /// Returns the total length of all values in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.namespaces_unordered()
            .flat_map(|(_, records)| records.values())
            .map(|value| value.len())
            .sum()
    }

    /// Returns the namespaces in order.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self
            .namespaces_unordered()
            .map(|(name, _)| Arc::clone(name))
            .collect();
        names.sort_unstable();
        names
    }

    /// Returns the addresses of all records, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<Address> {
        let mut addresses = Vec::with_capacity(self.len());
        for (name, records) in self.namespaces_unordered() {
            addresses.extend(addresses_of(name, records));
        }
        addresses.sort_unstable();
        addresses
    }

    /// Returns the records of one namespace, in order of their keys.
    pub fn records(&self, namespace: &str) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.shards[shard_index(namespace)]
            .get(namespace)
            .into_iter()
            .flat_map(Records::iter)
    }

    /// Returns the changes from `base` to this snapshot, each list in order.
    ///
    /// Shared parts are skipped, not compared, so the cost is proportional to the changes in
    /// between.
    #[must_use]
    pub fn diff(&self, base: &Self) -> Difference {
        let mut difference = Difference::default();
        for (new, old) in self.shards.iter().zip(&base.shards) {
            for item in old.diff(new) {
                match item {
                    DiffItem::Add(name, records) => {
                        difference.added.extend(addresses_of(name, records));
                    }
                    DiffItem::Remove(name, records) => {
                        difference.removed.extend(addresses_of(name, records));
                    }
                    DiffItem::Update { old, new } => difference.compare(new.0, old.1, new.1),
                }
            }
        }
        difference.added.sort_unstable();
        difference.removed.sort_unstable();
        difference.changed.sort_unstable();
        difference
    }

    fn namespaces_unordered(&self) -> impl Iterator<Item = (&Arc<str>, &Records)> {
        self.shards.iter().flat_map(Names::iter)
    }
}

impl Difference {
    fn compare(&mut self, namespace: &Arc<str>, old: &Records, new: &Records) {
        for item in old.diff(new) {
            let (list, key) = match item {
                DiffItem::Add(key, _) => (&mut self.added, key),
                DiffItem::Remove(key, _) => (&mut self.removed, key),
                DiffItem::Update { new: (key, _), .. } => (&mut self.changed, key),
            };
            list.push((Arc::clone(namespace), Arc::clone(key)));
        }
    }
}

fn addresses_of(namespace: &Arc<str>, records: &Records) -> impl Iterator<Item = Address> {
    records
        .keys()
        .map(|key| (Arc::clone(namespace), Arc::clone(key)))
}
