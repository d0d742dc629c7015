//! Finds the nearest records: scans for rows that may be among the best, then ranks them exactly.

use std::collections::HashMap;
use std::sync::Arc;

use super::clusters::Clusters;
use super::index::{Hit, Index, Page};
use super::matrix::{Matrix, Query};
use super::scan::{Candidates, scan_all, scan_rows};
use super::state::State;
use super::table::Selection;
use super::training;
use crate::error::{Error, Result};

/// If at least this share of the records is selected, a search scans all rows and checks the
/// selection only for those that may be among the best.
const MANY: f64 = 0.5;

/// Approximate searches scan at least this many vectors per wanted record, because the nearest
/// vectors are only part of their clusters.
const SPREAD: usize = 4;

impl Index {
    /// Returns the records with the greatest scores, best first; ties are ordered by id.
    ///
    /// A record with several vectors gets the score of the nearest one; a record without any is
    /// never found.
    ///
    /// # Errors
    ///
    /// [`Error::Dimensions`] if the stored vectors have another dimension.
    pub fn search(
        &self,
        vector: &[f32],
        selection: &Selection,
        page: Page,
        exact: bool,
    ) -> Result<Vec<Hit>> {
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
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        let wanted = page.limit.saturating_add(page.offset);
        let query = matrix.query(vector);
        let candidates = self.candidates(&state, matrix, &query, selection, wanted, exact);
        Ok(ranked(&state, matrix, &query, candidates, wanted)
            .into_iter()
            .skip(page.offset)
            .filter_map(|(score, _, record)| state.hit(record, score, page.embeddings))
            .collect())
    }

    /// Returns the rows that may belong to the `wanted` best selected records.
    fn candidates(
        &self,
        state: &State,
        matrix: &Matrix,
        query: &Query<'_>,
        selection: &Selection,
        wanted: usize,
        exact: bool,
    ) -> Candidates {
        let metric = self.inner().metric;
        let most = wanted.min(state.table.len());
        let vectors = most.saturating_mul(state.vectors_per_record).max(1);
        let mut candidates = Candidates::new(vectors);
        // All vectors near the query may belong to one record.
        let fewest = vectors.max(most.saturating_mul(SPREAD));
        let live = state.live();
        if selection.is_everything() {
            match self.clusters(state, live, exact) {
                Some(clusters) => {
                    let rows = clusters.rows(metric, query.vector, 1, fewest, |_| true);
                    scan_rows(matrix, query, &rows, &mut candidates);
                }
                None => scan_all(matrix, query, |row| state.is_live(row), &mut candidates),
            }
            return candidates;
        }
        let predicate = state.table.predicate(selection);
        let may_approximate = !exact && live > self.inner().approximate_above;
        if !may_approximate && predicate.share() >= MANY {
            // No record has the number of an unused row's owner, so such a row is never selected.
            let allowed = |row: usize| predicate.allows(state.owners[row]);
            scan_all(matrix, query, allowed, &mut candidates);
            return candidates;
        }
        let allowed = predicate.mask();
        let mut rows = state.rows(&allowed);
        if let Some(clusters) = self.clusters(state, rows.len(), exact) {
            // Selected rows may be farther from the query than the rest.
            rows = clusters.rows(metric, query.vector, 2, fewest, |row| {
                allowed[state.owners[row as usize] as usize]
            });
        }
        scan_rows(matrix, query, &rows, &mut candidates);
        candidates
    }

    /// Returns the clusters if this many vectors are to be ranked approximately.
    fn clusters<'a>(&self, state: &'a State, rows: usize, exact: bool) -> Option<&'a Clusters> {
        if exact || rows <= self.inner().approximate_above {
            return None;
        }
        if state
            .clusters
            .as_ref()
            .is_none_or(|clusters| clusters.trained < state.live() / 2)
        {
            training::start(self.inner());
        }
        state
            .clusters
            .as_ref()
            .filter(|clusters| clusters.worthwhile())
    }
}

/// Returns the `wanted` best records among the candidates, with their scores and ids.
fn ranked<'a>(
    state: &'a State,
    matrix: &Matrix,
    query: &Query<'_>,
    candidates: Candidates,
    wanted: usize,
) -> Vec<(f64, &'a Arc<str>, u32)> {
    let mut best: HashMap<u32, f64> = HashMap::new();
    for row in candidates.into_rows() {
        let score = matrix.score(query, row as usize);
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
    found
}
