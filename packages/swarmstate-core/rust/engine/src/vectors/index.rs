//! The index: its public interface, and the lock that keeps its parts consistent.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::clusters::Clusters;
use super::matrix::Matrix;
use super::metric::Metric;
use super::order::SortKey;
use super::record::Record;
use super::snapshot::Saving;
use super::state::State;
use super::table::Selection;
use super::training;
use crate::error::Result;

/// A record that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its id.
    pub id: Arc<str>,
    /// How near it is; 0 without a query vector.
    pub score: f64,
    /// The record, without its embeddings unless requested.
    pub record: Record,
}

/// A page of results.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Maximum number of results.
    pub limit: usize,
    /// Number of results to skip.
    pub offset: usize,
    /// Whether to include embeddings.
    pub embeddings: bool,
}

/// An in-memory index over records with embeddings.
///
/// Any number of threads may use it at once.
///
/// To change it, a caller reads or writes records elsewhere and then applies what it saw; others
/// may do the same in between. So each change begins with a ticket. If another change of the same
/// record was applied after the ticket was issued, nobody knows which of the two is newer: the
/// record becomes *doubtful* and must be read again with a new ticket.
pub struct Index {
    inner: Arc<Inner>,
}

/// The part of the index that it shares with the thread that builds clusters.
pub(super) struct Inner {
    pub metric: Metric,
    /// Searches are approximate if they rank more vectors than this.
    pub approximate_above: usize,
    state: RwLock<State>,
    /// Held while clusters are built.
    pub training: Mutex<()>,
    pub saving: Saving,
}

impl Inner {
    // A panic during a change could leave it half done, but no change panics.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Returns an empty index.
    ///
    /// Searches are approximate if they rank more than `approximate_above` vectors. A background
    /// thread builds what they need; until then they are exact.
    #[must_use]
    pub fn new(metric: Metric, approximate_above: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                metric,
                approximate_above,
                state: RwLock::default(),
                training: Mutex::default(),
                saving: Saving::default(),
            }),
        }
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.inner.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.inner.write()
    }

    /// Builds the clusters for approximate searches, if there are enough vectors, and waits for
    /// them.
    pub fn optimise(&self) {
        if self.read().live() > self.inner.approximate_above {
            training::train(&self.inner);
        }
    }

    /// Returns a ticket for a change, and the ids of the doubtful records.
    pub fn begin(&self) -> (u64, Vec<Arc<str>>) {
        let mut state = self.write();
        state.clock += 1;
        let ticket = state.clock;
        state.tickets.insert(ticket);
        (ticket, state.doubtful.iter().cloned().collect())
    }

    /// Gives a ticket back, which is required for every ticket, even after a failed change.
    pub fn end(&self, ticket: u64) {
        let mut state = self.write();
        state.tickets.remove(&ticket);
        match state.tickets.iter().min().copied() {
            None => state.changed.clear(),
            Some(oldest) => state.changed.retain(|_, changed| *changed > oldest),
        }
    }

    /// Applies what the caller saw since the ticket was issued; `None` means that a record does not
    /// exist.
    ///
    /// Returns whether none of the records in `changes` is doubtful.
    ///
    /// # Errors
    ///
    /// [`Error::Dimensions`](crate::Error::Dimensions); the preceding changes are applied.
    pub fn apply(&self, ticket: u64, changes: Vec<(Arc<str>, Option<Record>)>) -> Result<bool> {
        let mut state = self.write();
        let mut certain = true;
        for (id, record) in changes {
            state.clock += 1;
            let now = state.clock;
            let overlaps = state
                .changed
                .get(&id)
                .is_some_and(|changed| *changed > ticket);
            if overlaps {
                state.doubtful.insert(Arc::clone(&id));
                certain = false;
            } else {
                state.doubtful.remove(&id);
                state.put(self.inner.metric, &id, record)?;
            }
            state.changed.insert(id, now);
        }
        Ok(certain)
    }

    /// Returns the dimension of the vectors, or `None` before the first one.
    #[must_use]
    pub fn dimensions(&self) -> Option<usize> {
        self.read().matrix.as_ref().map(Matrix::dimensions)
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().table.len()
    }

    /// Returns how many records changed since the index was saved or loaded; 0 if it never was.
    #[must_use]
    pub fn unsaved(&self) -> usize {
        self.read().unsaved.as_ref().map_or(0, HashSet::len)
    }

    /// Returns the number of clusters for approximate searches, if there are any.
    #[must_use]
    pub fn cluster_count(&self) -> Option<usize> {
        self.read().clusters.as_ref().map(Clusters::len)
    }

    /// Returns the number of vectors.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.read().live()
    }

    /// Returns whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the selected records, ordered by a field of their values or by id.
    ///
    /// Numbers come first, then texts, then all other values; ties are ordered by id.
    #[must_use]
    pub fn list(
        &self,
        selection: &Selection,
        order: Option<&str>,
        descending: bool,
        page: Page,
    ) -> Vec<Hit> {
        let state = self.ready(selection, order);
        let mut found: Vec<(SortKey<'_>, &Arc<str>, u32)> = state
            .selected(selection)
            .map(|(record, entry)| {
                let key = order.map_or(SortKey::Other, |name| {
                    SortKey::of(state.table.field(record, name))
                });
                (key, &entry.id, record)
            })
            .collect();
        found.sort_unstable_by(|a, b| {
            let order = a.0.compare(&b.0).then_with(|| a.1.cmp(b.1));
            if descending { order.reverse() } else { order }
        });
        found
            .into_iter()
            .skip(page.offset)
            .take(page.limit)
            .filter_map(|(_, _, record)| state.hit(record, 0.0, page.embeddings))
            .collect()
    }

    /// Returns the ids of the selected records, in any order.
    #[must_use]
    pub fn ids(&self, selection: &Selection) -> Vec<Arc<str>> {
        let state = self.ready(selection, None);
        state
            .selected(selection)
            .map(|(_, entry)| Arc::clone(&entry.id))
            .collect()
    }

    /// Returns the number of selected records.
    #[must_use]
    pub fn count(&self, selection: &Selection) -> usize {
        if selection.is_everything() {
            return self.len();
        }
        let state = self.ready(selection, None);
        state.selected(selection).count()
    }

    /// Returns the scopes of the selected records, with the number of records in each.
    #[must_use]
    pub fn scopes(&self, selection: &Selection) -> Vec<(Vec<String>, usize)> {
        let state = self.ready(selection, None);
        if selection.is_everything() {
            return state.table.count_scopes().collect();
        }
        let scopes = state
            .selected(selection)
            .map(|(record, _)| state.table.scope(record));
        count(scopes)
    }

    /// Returns the categories of the selected records, with the number of records in each.
    #[must_use]
    pub fn categories(&self, selection: &Selection) -> Vec<(String, usize)> {
        let state = self.ready(selection, None);
        let categories = state
            .selected(selection)
            .flat_map(|(record, _)| state.table.categories(record));
        count(categories)
    }

    /// Locks for reading, once the required columns exist.
    pub(super) fn ready(
        &self,
        selection: &Selection,
        order: Option<&str>,
    ) -> RwLockReadGuard<'_, State> {
        let mut may_forget = true;
        loop {
            let state = self.read();
            if state.table.is_ready(selection, order) {
                return state;
            }
            drop(state);
            let table = &mut self.write().table;
            // Only once: another thread may do the same and drop the columns made here before they
            // are read.
            if std::mem::take(&mut may_forget) {
                table.forget_fields(selection, order);
            }
            table.prepare(selection, order);
        }
    }
}

fn count<T: Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts.into_iter().collect()
}
