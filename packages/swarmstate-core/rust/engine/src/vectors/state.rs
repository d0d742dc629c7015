//! The contents of an index: its records, their vectors, and which changes may overlap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::clusters::Clusters;
use super::index::Hit;
use super::matrix::Matrix;
use super::metric::Metric;
use super::record::Record;
use super::scope;
use super::table::{Entry, Selection, Table};
use crate::error::{Error, Result};

/// The owner of a row without a vector.
const UNUSED: u32 = u32::MAX;

/// The stored parts of a record.
pub(super) struct Parts<'a> {
    pub id: &'a Arc<str>,
    /// Encoded by `scope::encode`.
    pub scope: &'a [u8],
    pub categories: &'a [u8],
    pub value: Box<[u8]>,
    /// Rows of the matrix that hold its vectors; they have no owner yet.
    pub rows: Vec<u32>,
}

#[derive(Default)]
pub(super) struct State {
    pub table: Table,
    /// Created with the first vector.
    pub matrix: Option<Matrix>,
    /// The record of each row of the matrix, or `UNUSED`.
    pub owners: Vec<u32>,
    free_rows: Vec<u32>,
    /// Clusters of all rows that hold a vector; only if approximate searches need them.
    pub clusters: Option<Clusters>,
    /// While clusters are being built, the rows that change meanwhile.
    pub moved: Option<Vec<u32>>,
    /// The greatest number of vectors that any record has had.
    pub vectors_per_record: usize,
    /// Counts tickets and changes; later ones have greater numbers.
    pub clock: u64,
    pub tickets: HashSet<u64>,
    /// When each id was last changed; dropped when no ticket is older.
    pub changed: HashMap<Arc<str>, u64>,
    pub doubtful: HashSet<Arc<str>>,
    /// Ids changed since the index was saved or loaded; `None` if it never was.
    pub unsaved: Option<HashSet<Arc<str>>>,
}

impl State {
    pub fn put(&mut self, metric: Metric, id: &Arc<str>, record: Option<Record>) -> Result<()> {
        if let (Some(record), Some(matrix)) = (&record, &self.matrix)
            && let Some(vector) = record.embeddings.first()
            && vector.len() != matrix.dimensions()
        {
            return Err(Error::Dimensions {
                stored: matrix.dimensions(),
                given: vector.len(),
            });
        }
        self.remove(id);
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(Arc::clone(id));
        }
        let Some(record) = record else {
            return Ok(());
        };
        let rows = record
            .embeddings
            .iter()
            .filter_map(|vector| self.put_vector(metric, vector, None))
            .collect();
        self.put_entry(Parts {
            id,
            scope: &scope::encode(&record.scope),
            categories: &scope::encode(&record.categories),
            value: record.value.into_boxed_slice(),
            rows,
        });
        Ok(())
    }

    /// Removes a record if it exists.
    pub fn remove(&mut self, id: &str) {
        let Some(entry) = self.table.remove(id) else {
            return;
        };
        for row in entry.rows {
            self.owners[row as usize] = UNUSED;
            self.free_rows.push(row);
            if let Some(clusters) = &mut self.clusters {
                clusters.remove(row);
            }
            self.moved.iter_mut().for_each(|moved| moved.push(row));
        }
    }

    /// Adds a vector; returns its row, or `None` if its dimension differs.
    ///
    /// `home` is its cluster, if known.
    pub fn put_vector(&mut self, metric: Metric, vector: &[f32], home: Option<u32>) -> Option<u32> {
        let matrix = self
            .matrix
            .get_or_insert_with(|| Matrix::new(metric, vector.len()));
        if matrix.dimensions() != vector.len() || vector.is_empty() {
            return None;
        }
        let row = self.free_rows.pop().unwrap_or(matrix.len() as u32);
        matrix.put(row as usize, vector);
        if row as usize == self.owners.len() {
            self.owners.push(UNUSED);
        }
        if let Some(clusters) = &mut self.clusters {
            match home.filter(|home| (*home as usize) < clusters.len()) {
                Some(home) => clusters.put(row, home),
                None => clusters.add(row, vector),
            }
        }
        self.moved.iter_mut().for_each(|moved| moved.push(row));
        Some(row)
    }

    /// Adds a record with a new id; its vectors are already in place.
    pub fn put_entry(&mut self, parts: Parts<'_>) {
        self.vectors_per_record = self.vectors_per_record.max(parts.rows.len());
        let entry = Entry {
            id: Arc::clone(parts.id),
            value: parts.value,
            rows: parts.rows.clone(),
        };
        let number = self.table.insert(entry, parts.scope, parts.categories);
        for row in parts.rows {
            self.owners[row as usize] = number;
        }
    }

    /// Returns the generation that identifies the clusters, if there are any.
    pub fn generation(&self) -> Option<u64> {
        self.clusters.as_ref().map(|clusters| clusters.generation)
    }

    /// Returns whether a row holds a vector.
    pub fn is_live(&self, row: usize) -> bool {
        self.owners[row] != UNUSED
    }

    /// Returns the number of rows that hold a vector.
    pub fn live(&self) -> usize {
        self.owners.len() - self.free_rows.len()
    }

    pub fn selected(&self, selection: &Selection) -> impl Iterator<Item = (u32, &Entry)> {
        let allowed = self.table.predicate(selection).mask();
        self.table
            .entries()
            .filter(move |(record, _)| allowed[*record as usize])
    }

    /// Returns the rows of the allowed records; `allowed` is indexed by record number.
    pub fn rows(&self, allowed: &[bool]) -> Vec<u32> {
        self.owners
            .iter()
            .enumerate()
            .filter(|(_, owner)| allowed.get(**owner as usize).copied().unwrap_or(false))
            .map(|(row, _)| row as u32)
            .collect()
    }

    pub fn hit(&self, record: u32, score: f64, embeddings: bool) -> Option<Hit> {
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
