//! Exact search for the nearest rows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pulp::{Arch, NullaryFnOnce};

use super::matrix::{CHUNK, Estimate, Matrix, Query};

/// Number of rows whose products are computed before they are compared; divides `CHUNK`.
const BLOCK: usize = CHUNK / 4;

/// The rows that may be among the `wanted` best of those seen so far.
///
/// A row is left out only if its score cannot be among the best, whatever the errors of the
/// estimates.
pub(super) struct Candidates {
    wanted: usize,
    /// The `wanted` greatest lower bounds of scores, with the least on top.
    floors: BinaryHeap<Reverse<Ordered>>,
    /// A lower bound for the worst of the best scores.
    threshold: f64,
    /// Upper bounds of scores, with their rows.
    rows: Vec<(f64, u32)>,
}

/// A number that is never NaN.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Ordered(pub f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Candidates {
    pub fn new(wanted: usize) -> Self {
        Self {
            wanted,
            floors: BinaryHeap::new(),
            threshold: f64::NEG_INFINITY,
            rows: Vec::new(),
        }
    }

    /// Offers a row; calls `allowed` only if the row may be among the best.
    #[inline(always)]
    fn offer(&mut self, row: u32, estimate: Estimate, allowed: impl FnOnce(usize) -> bool) {
        let ceiling = estimate.score + estimate.error;
        if ceiling >= self.threshold && allowed(row as usize) {
            self.take(row, ceiling, estimate.score - estimate.error);
        }
    }

    #[inline(never)]
    fn take(&mut self, row: u32, ceiling: f64, floor: f64) {
        self.rows.push((ceiling, row));
        if self.floors.len() < self.wanted {
            self.floors.push(Reverse(Ordered(floor)));
        } else if floor > self.threshold {
            self.floors.pop();
            self.floors.push(Reverse(Ordered(floor)));
        }
        if self.floors.len() == self.wanted
            && let Some(Reverse(least)) = self.floors.peek()
        {
            self.threshold = least.0;
        }
    }

    /// Returns the rows that may be among the best.
    pub fn into_rows(self) -> impl Iterator<Item = u32> {
        let threshold = self.threshold;
        self.rows
            .into_iter()
            .filter(move |(ceiling, _)| *ceiling >= threshold)
            .map(|(_, row)| row)
    }
}

/// Offers all allowed rows.
pub(super) fn scan_all(
    matrix: &Matrix,
    query: &Query<'_>,
    allowed: impl Fn(usize) -> bool,
    candidates: &mut Candidates,
) {
    let arch = Arch::new();
    let mut products = [0_i32; BLOCK];
    for start in (0..matrix.len()).step_by(BLOCK) {
        let stop = matrix.len().min(start + BLOCK);
        arch.dispatch(Adjacent {
            rows: matrix.block(start..stop),
            query: &query.codes,
            products: &mut products,
        });
        for (product, row) in products.iter().zip(start..stop) {
            let estimate = matrix.estimate(query, row, *product);
            candidates.offer(row as u32, estimate, &allowed);
        }
    }
}

/// Offers the given rows.
pub(super) fn scan_rows(
    matrix: &Matrix,
    query: &Query<'_>,
    rows: &[u32],
    candidates: &mut Candidates,
) {
    let arch = Arch::new();
    let mut products = [0_i32; BLOCK];
    for block in rows.chunks(BLOCK) {
        arch.dispatch(Scattered {
            matrix,
            rows: block,
            query: &query.codes,
            products: &mut products,
        });
        for (product, row) in products.iter().zip(block) {
            let estimate = matrix.estimate(query, *row as usize, *product);
            candidates.offer(*row, estimate, |_| true);
        }
    }
}

/// Returns the row with the greatest estimate, or 0 if the matrix is empty.
pub(super) fn nearest(matrix: &Matrix, query: &Query<'_>) -> u32 {
    let arch = Arch::new();
    let mut products = [0_i32; BLOCK];
    let mut best = (f64::NEG_INFINITY, 0);
    for start in (0..matrix.len()).step_by(BLOCK) {
        let stop = matrix.len().min(start + BLOCK);
        arch.dispatch(Adjacent {
            rows: matrix.block(start..stop),
            query: &query.codes,
            products: &mut products,
        });
        for (product, row) in products.iter().zip(start..stop) {
            let score = matrix.estimate(query, row, *product).score;
            if score > best.0 {
                best = (score, row as u32);
            }
        }
    }
    best.1
}

/// Inner products of a query with adjacent rows.
struct Adjacent<'a> {
    rows: &'a [i8],
    query: &'a [i8],
    products: &'a mut [i32],
}

impl NullaryFnOnce for Adjacent<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let rows = self.rows.chunks_exact(self.query.len());
        for (product, row) in self.products.iter_mut().zip(rows) {
            *product = dot(row, self.query);
        }
    }
}

/// Inner products of a query with arbitrary rows.
struct Scattered<'a> {
    matrix: &'a Matrix,
    rows: &'a [u32],
    query: &'a [i8],
    products: &'a mut [i32],
}

impl NullaryFnOnce for Scattered<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (product, row) in self.products.iter_mut().zip(self.rows) {
            *product = dot(self.matrix.codes(*row as usize), self.query);
        }
    }
}

/// Returns the inner product; it cannot overflow, as vectors have at most 65,536 dimensions.
///
/// Must be inlined into functions called by `Arch::dispatch`, to be compiled for each CPU type.
#[inline(always)]
pub(super) fn dot(a: &[i8], b: &[i8]) -> i32 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut sum = 0_i32;
    for index in 0..length {
        sum += i32::from(a[index]) * i32::from(b[index]);
    }
    sum
}
