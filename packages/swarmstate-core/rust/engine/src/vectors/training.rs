//! Builds clusters while others read and write the index.

use std::sync::{Arc, PoisonError, TryLockError};
use std::thread;

use super::clusters::{Clusters, centres, clustering, number, sample, trials};
use super::index::Inner;
use super::matrix::Matrix;

/// Number of rows processed per hold of the lock.
const STEP: usize = 1024;

/// Builds clusters in the background, unless they are already being built.
pub(super) fn start(inner: &Arc<Inner>) {
    if !matches!(inner.training.try_lock(), Err(TryLockError::WouldBlock)) {
        let inner = Arc::clone(inner);
        // If no thread can be started, searches stay exact.
        let _ = thread::Builder::new()
            .name("swarmstate-clusters".to_owned())
            .spawn(move || {
                if let Ok(_held) = inner.training.try_lock() {
                    make(&inner);
                }
            });
    }
}

/// Builds clusters and waits for them.
pub(super) fn train(inner: &Inner) {
    let _held = inner
        .training
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    make(inner);
}

fn make(inner: &Inner) {
    let Some((vectors, rows)) = take_sample(inner) else {
        return;
    };
    let centres = centres(inner.metric, &vectors, number(rows));
    drop(vectors);
    let mut clusters = Clusters::new(centres, rows);
    let mut homes: Vec<Option<u32>> = Vec::new();
    // From here on, changed rows are recorded and reassigned at the end.
    inner.write().moved = Some(Vec::new());
    loop {
        let state = inner.read();
        let start = homes.len();
        let Some(matrix) = state.matrix.as_ref().filter(|matrix| start < matrix.len()) else {
            break;
        };
        for row in start..matrix.len().min(start + STEP) {
            let home = state
                .is_live(row)
                .then(|| clusters.nearest(matrix.vector(row)));
            homes.push(home);
        }
    }
    for (row, home) in homes.into_iter().enumerate() {
        if let Some(home) = home {
            clusters.put(row as u32, home);
        }
    }
    let mut places = Vec::new();
    for row in trials(rows) {
        let state = inner.read();
        if let Some(matrix) = state.matrix.as_ref().filter(|matrix| row < matrix.len())
            && state.is_live(row)
        {
            let live = |row| state.is_live(row);
            places.extend(clusters.trial(inner.metric, matrix, row, live));
        }
    }
    clusters.calibrate(places);
    let mut state = inner.write();
    let mut moved = state.moved.take().unwrap_or_default();
    moved.sort_unstable();
    moved.dedup();
    if let Some(matrix) = &state.matrix {
        for row in moved {
            clusters.remove(row);
            if state.is_live(row as usize) {
                clusters.add(row, matrix.vector(row as usize));
            }
        }
    }
    state.clusters = Some(clusters);
}

/// Copies the vectors used to compute centers; returns them with the total number of vectors.
fn take_sample(inner: &Inner) -> Option<(Matrix, usize)> {
    let state = inner.read();
    let matrix = state.matrix.as_ref()?;
    let rows = state.live();
    let mut vectors = Matrix::new(clustering(inner.metric), matrix.dimensions());
    for row in sample(matrix.len(), number(rows)) {
        if state.is_live(row) {
            vectors.put(vectors.len(), matrix.vector(row));
        }
    }
    (vectors.len() > 0).then_some((vectors, rows))
}
