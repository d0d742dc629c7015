//! What an index holds: its records, their vectors, and which changes may overlap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::clusters::Clusters;
use super::index::Hit;
use super::matrix::Matrix;
use super::metric::Metric;
use super::record::Record;
use super::table::{Entry, Selection, Table};
use crate::error::{Error, Result};

/// A row that holds no vector.
const UNUSED: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct State {
    pub table: Table,
    /// Made with the first vector.
    pub matrix: Option<Matrix>,
    /// The record of each row of the matrix, or `UNUSED`.
    pub owners: Vec<u32>,
    free_rows: Vec<u32>,
    /// Of all rows that hold a vector; only if an approximate search needs them.
    pub clusters: Option<Clusters>,
    /// While clusters are being made, the rows that change meanwhile.
    pub moved: Option<Vec<u32>>,
    /// The most vectors that one record has had.
    pub vectors_per_record: usize,
    /// Counts tickets and changes; whatever happened later has a greater number.
    pub clock: u64,
    pub tickets: HashSet<u64>,
    /// When each id was last changed; forgotten when no ticket is older.
    pub changed: HashMap<Arc<str>, u64>,
    pub doubtful: HashSet<Arc<str>>,
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
        if let Some(entry) = self.table.remove(id) {
            for row in entry.rows {
                self.owners[row as usize] = UNUSED;
                self.free_rows.push(row);
                if let Some(clusters) = &mut self.clusters {
                    clusters.remove(row);
                }
                self.moved.iter_mut().for_each(|moved| moved.push(row));
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
            if let Some(clusters) = &mut self.clusters {
                clusters.add(row, vector);
            }
            self.moved.iter_mut().for_each(|moved| moved.push(row));
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

    /// Tells whether a row holds a vector.
    pub fn is_live(&self, row: usize) -> bool {
        self.owners[row] != UNUSED
    }

    /// Returns how many rows hold a vector.
    pub fn live(&self) -> usize {
        self.owners.len() - self.free_rows.len()
    }

    pub fn selected(&self, selection: &Selection) -> impl Iterator<Item = (u32, &Entry)> {
        let allowed = self.table.predicate(selection).mask();
        self.table
            .entries()
            .filter(move |(record, _)| allowed[*record as usize])
    }

    /// Returns the rows of the records that `allowed` says, by record number.
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
