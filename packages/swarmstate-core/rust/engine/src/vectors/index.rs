//! The index: what others call, and the lock that keeps its parts together.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::filter::float;
use super::matrix::Matrix;
use super::metric::Metric;
use super::record::Record;
use super::scan::{Candidates, scan_all, scan_rows};
use super::table::{Entry, Selection, Table};
use crate::error::{Error, Result};

/// A row that holds no vector.
const UNUSED: u32 = u32::MAX;

/// A record that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Its id.
    pub id: Arc<str>,
    /// How near it is; 0 if nothing was searched for.
    pub score: f64,
    /// The record; without its embeddings unless they were asked for.
    pub record: Record,
}

/// A part of a list of results.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// At most this many.
    pub limit: usize,
    /// Without so many of the first.
    pub offset: usize,
    /// With their embeddings.
    pub embeddings: bool,
}

/// An index over records with embeddings, kept in memory.
///
/// Any number of threads may use it at once.
///
/// Who changes it reads records, or writes them, somewhere else, and then applies
/// what it saw; others may do the same in between. So each change begins with a
/// ticket, and where another change of the same record was applied since, nobody
/// knows which of the two is newer: the record becomes *doubtful*, and must be
/// read again with a new ticket.
pub struct Index {
    metric: Metric,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    table: Table,
    /// Made with the first vector.
    matrix: Option<Matrix>,
    /// The record of each row of the matrix, or `UNUSED`.
    owners: Vec<u32>,
    free_rows: Vec<u32>,
    /// The most vectors that one record has had.
    vectors_per_record: usize,
    /// Counts tickets and changes; whatever happened later has a greater number.
    clock: u64,
    tickets: HashSet<u64>,
    /// When each id was last changed; forgotten when no ticket is older.
    changed: HashMap<Arc<str>, u64>,
    doubtful: HashSet<Arc<str>>,
}

impl Index {
    /// Returns an empty index.
    #[must_use]
    pub fn new(metric: Metric) -> Self {
        Self {
            metric,
            state: RwLock::default(),
        }
    }

    // A panic within a change could leave it half done, but nothing in one panics.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a ticket for a change, and the ids of the doubtful records.
    pub fn begin(&self) -> (u64, Vec<Arc<str>>) {
        let mut state = self.write();
        state.clock += 1;
        let ticket = state.clock;
        state.tickets.insert(ticket);
        (ticket, state.doubtful.iter().cloned().collect())
    }

    /// Gives a ticket back; every ticket must be, also that of a change that failed.
    pub fn end(&self, ticket: u64) {
        let mut state = self.write();
        state.tickets.remove(&ticket);
        match state.tickets.iter().min().copied() {
            None => state.changed.clear(),
            Some(oldest) => state.changed.retain(|_, changed| *changed > oldest),
        }
    }

    /// Applies what was seen since the ticket was given; `None` is a record that does not exist.
    ///
    /// Returns whether no record that is in `changes` is doubtful.
    ///
    /// # Errors
    ///
    /// [`Error::Dimensions`]; the changes before it are applied.
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
                state.put(self.metric, &id, record)?;
            }
            state.changed.insert(id, now);
        }
        Ok(certain)
    }

    /// Returns the dimension of the vectors, once there was one.
    #[must_use]
    pub fn dimensions(&self) -> Option<usize> {
        self.read().matrix.as_ref().map(Matrix::dimensions)
    }

    /// Returns how many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().table.len()
    }

    /// Tells whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the records with the greatest scores, best first, equal ones by their ids.
    ///
    /// A record with several vectors counts with the nearest; one without any is never found.
    ///
    /// # Errors
    ///
    /// [`Error::Dimensions`] if the stored vectors have another dimension.
    pub fn search(&self, vector: &[f32], selection: &Selection, page: Page) -> Result<Vec<Hit>> {
        let state = self.ready(selection, None);
        let Some(matrix) = &state.matrix else {
            return Ok(Vec::new());
        };
        if vector.len() != matrix.dimensions() {
            return Err(Error::Dimensions {
                stored: matrix.dimensions(),
                given: vector.len(),
            });
        }
        let wanted = page.limit.saturating_add(page.offset);
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        let query = matrix.query(vector);
        let most = wanted.min(state.table.len());
        let mut candidates = Candidates::new(most.saturating_mul(state.vectors_per_record).max(1));
        if selection.is_everything() {
            let owners = &state.owners;
            scan_all(matrix, &query, |row| owners[row] != UNUSED, &mut candidates);
        } else {
            scan_rows(matrix, &query, &state.rows(selection), &mut candidates);
        }
        let mut best: HashMap<u32, f64> = HashMap::new();
        for row in candidates.into_rows() {
            let score = matrix.score(&query, row as usize);
            best.entry(state.owners[row as usize])
                .and_modify(|best| *best = best.max(score))
                .or_insert(score);
        }
        let mut found: Vec<(f64, &Arc<str>, u32)> = best
            .into_iter()
            .filter_map(|(record, score)| Some((score, &state.table.entry(record)?.id, record)))
            .collect();
        let order = |a: &(f64, &Arc<str>, u32), b: &(f64, &Arc<str>, u32)| {
            b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1))
        };
        if wanted < found.len() {
            found.select_nth_unstable_by(wanted, order);
            found.truncate(wanted);
        }
        found.sort_unstable_by(order);
        Ok(found
            .into_iter()
            .skip(page.offset)
            .filter_map(|(score, _, record)| state.hit(record, score, page.embeddings))
            .collect())
    }

    /// Returns the selected records, ordered by a field of their values, or by their ids.
    ///
    /// Numbers come before texts, and these before all else; equal ones are ordered by their ids.
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

    /// Returns the ids of the selected records, in no order.
    #[must_use]
    pub fn ids(&self, selection: &Selection) -> Vec<Arc<str>> {
        let state = self.ready(selection, None);
        state
            .selected(selection)
            .map(|(_, entry)| Arc::clone(&entry.id))
            .collect()
    }

    /// Returns how many records are selected.
    #[must_use]
    pub fn count(&self, selection: &Selection) -> usize {
        if selection.is_everything() {
            return self.len();
        }
        let state = self.ready(selection, None);
        state.selected(selection).count()
    }

    /// Returns the scopes of the selected records, and how many have each.
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

    /// Returns the categories of the selected records, and how many have each.
    #[must_use]
    pub fn categories(&self, selection: &Selection) -> Vec<(String, usize)> {
        let state = self.ready(selection, None);
        let categories = state
            .selected(selection)
            .flat_map(|(record, _)| state.table.categories(record));
        count(categories)
    }

    /// Locks for reading, with the columns that are needed.
    fn ready(&self, selection: &Selection, order: Option<&str>) -> RwLockReadGuard<'_, State> {
        loop {
            let state = self.read();
            if state.table.is_ready(selection, order) {
                return state;
            }
            drop(state);
            self.write().table.prepare(selection, order);
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

impl State {
    fn put(&mut self, metric: Metric, id: &Arc<str>, record: Option<Record>) -> Result<()> {
        if let (Some(record), Some(matrix)) = (&record, &self.matrix)
            && let Some(vector) = record.embeddings.first()
            && vector.len() != matrix.dimensions()
        {
            return Err(Error::Dimensions {
                stored: matrix.dimensions(),
                given: vector.len(),
            });
        }
        if let Some(entry) = self.table.remove(id) {
            for row in entry.rows {
                self.owners[row as usize] = UNUSED;
                self.free_rows.push(row);
            }
        }
        let Some(record) = record else {
            return Ok(());
        };
        let mut rows = Vec::with_capacity(record.embeddings.len());
        for vector in &record.embeddings {
            let matrix = self
                .matrix
                .get_or_insert_with(|| Matrix::new(metric, vector.len()));
            let row = self.free_rows.pop().unwrap_or(matrix.len() as u32);
            matrix.put(row as usize, vector);
            rows.push(row);
        }
        self.vectors_per_record = self.vectors_per_record.max(rows.len());
        let entry = Entry {
            id: Arc::clone(id),
            value: record.value.into_boxed_slice(),
            rows: rows.clone(),
        };
        let number = self.table.insert(entry, &record.scope, &record.categories);
        for row in rows {
            if row as usize == self.owners.len() {
                self.owners.push(number);
            } else {
                self.owners[row as usize] = number;
            }
        }
        Ok(())
    }

    fn selected(&self, selection: &Selection) -> impl Iterator<Item = (u32, &Entry)> {
        let allowed = self.table.select(selection);
        self.table
            .entries()
            .filter(move |(record, _)| allowed[*record as usize])
    }

    /// Returns the rows of the selected records.
    fn rows(&self, selection: &Selection) -> Vec<u32> {
        let allowed = self.table.select(selection);
        self.owners
            .iter()
            .enumerate()
            .filter(|(_, owner)| allowed.get(**owner as usize).copied().unwrap_or(false))
            .map(|(row, _)| row as u32)
            .collect()
    }

    fn hit(&self, record: u32, score: f64, embeddings: bool) -> Option<Hit> {
        let entry = self.table.entry(record)?;
        let vectors = match &self.matrix {
            Some(matrix) if embeddings => entry
                .rows
                .iter()
                .map(|row| matrix.vector(*row as usize).to_vec())
                .collect(),
            _ => Vec::new(),
        };
        Some(Hit {
            id: Arc::clone(&entry.id),
            score,
            record: Record {
                scope: self.table.scope(record),
                categories: self.table.categories(record),
                value: entry.value.to_vec(),
                embeddings: vectors,
            },
        })
    }
}

/// What records are ordered by.
enum SortKey<'a> {
    Number(f64),
    Text(&'a [u8]),
    Other,
}

impl<'a> SortKey<'a> {
    fn of(field: Option<(&'a [u8], f64)>) -> Self {
        let Some((mut bytes, number)) = field else {
            return Self::Other;
        };
        if !number.is_nan() {
            return Self::Number(number);
        }
        match rmpv::decode::read_value_ref(&mut bytes) {
            Ok(rmpv::ValueRef::String(text)) => {
                Self::Text(text.into_str().unwrap_or_default().as_bytes())
            }
            Ok(value @ rmpv::ValueRef::Boolean(_)) => {
                Self::Number(float(&value).unwrap_or_default())
            }
            _ => Self::Other,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Other => 2,
        }
    }
}
