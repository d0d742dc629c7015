//! Vectors in rows, both in full and quantized to bytes with a known error.
//!
//! A scan reads only the bytes, a quarter of the memory, and gets each score with a bound on its
//! error. Candidates for the best are then scored with the full vectors, so the result is exact.

use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};

use super::metric::{Metric, norm};

/// Rows per allocation: growing never moves existing rows.
pub(super) const CHUNK: usize = 1024;

/// Codes range from -LEVELS to LEVELS.
const LEVELS: f64 = 127.0;

/// How much rounding of the numbers in `Row` and `Query` can add to a bound, relative to the norms.
const SLACK: f64 = 1e-6;

/// Data about a row besides its vector and codes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    /// Norm of the vector.
    pub norm: f64,
    /// The value of one code step in the scaled vector.
    scale: f32,
    /// Norm of the part of the scaled vector that the codes leave out.
    error: f32,
}

/// Vectors of one dimension; an unused row keeps its place.
pub(super) struct Matrix {
    metric: Metric,
    dimensions: usize,
    vectors: Vec<Vec<f32>>,
    codes: Vec<Vec<i8>>,
    rows: Vec<Row>,
}

/// A query, prepared for scanning.
pub(super) struct Query<'a> {
    pub vector: &'a [f32],
    pub norm: f64,
    pub codes: Vec<i8>,
    scale: f64,
    /// Norm of the part that the codes leave out.
    error: f64,
    /// Norm of the scaled vector: 1 for the cosine.
    length: f64,
}

/// An estimated score: the true score is within `error` of it.
///
/// Only useful for comparisons: for L2 it stands for the negative squared distance plus a constant.
#[derive(Clone, Copy)]
pub(super) struct Estimate {
    pub score: f64,
    pub error: f64,
}

impl Matrix {
    pub fn new(metric: Metric, dimensions: usize) -> Self {
        Self {
            metric,
            dimensions,
            vectors: Vec::new(),
            codes: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub fn metric(&self) -> Metric {
        self.metric
    }

    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Writes a row; `row` is an existing row or the next new one.
    pub fn put(&mut self, row: usize, vector: &[f32]) {
        let (chunk, start) = (row / CHUNK, row % CHUNK * self.dimensions);
        if chunk == self.vectors.len() {
            // The first chunk may stay small; later ones will fill up, so allocate them in full.
            let room = if chunk == 0 {
                0
            } else {
                CHUNK * self.dimensions
            };
            self.vectors.push(Vec::with_capacity(room));
            self.codes.push(Vec::with_capacity(room));
        }
        let end = start + self.dimensions;
        if row == self.rows.len() {
            self.rows.push(Row::default());
            self.vectors[chunk].resize(end, 0.0);
            self.codes[chunk].resize(end, 0);
        }
        self.vectors[chunk][start..end].copy_from_slice(vector);
        let (info, _) = quantise(self.metric, vector, &mut self.codes[chunk][start..end]);
        self.rows[row] = info;
    }

    pub fn vector(&self, row: usize) -> &[f32] {
        let start = row % CHUNK * self.dimensions;
        &self.vectors[row / CHUNK][start..start + self.dimensions]
    }

    #[inline(always)]
    pub fn codes(&self, row: usize) -> &[i8] {
        let start = row % CHUNK * self.dimensions;
        &self.codes[row / CHUNK][start..start + self.dimensions]
    }

    /// Returns the codes of rows within one chunk.
    pub fn block(&self, rows: Range<usize>) -> &[i8] {
        let start = rows.start % CHUNK * self.dimensions;
        &self.codes[rows.start / CHUNK][start..start + rows.len() * self.dimensions]
    }

    pub fn query<'a>(&self, vector: &'a [f32]) -> Query<'a> {
        let mut codes = vec![0; self.dimensions];
        let (info, length) = quantise(self.metric, vector, &mut codes);
        Query {
            vector,
            norm: info.norm,
            codes,
            scale: f64::from(info.scale),
            error: f64::from(info.error),
            length,
        }
    }

    /// Returns the exact score of a row.
    pub fn score(&self, query: &Query<'_>, row: usize) -> f64 {
        self.score_by(self.metric, query, row)
    }

    /// Returns the exact score of a row under another metric.
    pub fn score_by(&self, metric: Metric, query: &Query<'_>, row: usize) -> f64 {
        metric.score(
            query.vector,
            query.norm,
            self.vector(row),
            self.rows[row].norm,
        )
    }

    /// Returns the estimate for a row from the inner product of the codes.
    #[inline(always)]
    pub fn estimate(&self, query: &Query<'_>, row: usize, product: i32) -> Estimate {
        let info = &self.rows[row];
        let (scale, error) = (f64::from(info.scale), f64::from(info.error));
        let product = query.scale * scale * f64::from(product);
        // |q.p - q'.p'| = |(q - q').p + q'.(p - p')|; bound each term by Cauchy-Schwarz.
        let length = match self.metric {
            Metric::Cosine => 1.0,
            Metric::Dot | Metric::L2 => info.norm,
        };
        let bound = query.error * length
            + (query.length + query.error) * error
            + SLACK * query.length * length;
        match self.metric {
            Metric::Cosine | Metric::Dot => Estimate {
                score: product,
                error: bound,
            },
            Metric::L2 => Estimate {
                score: 2.0 * product - info.norm * info.norm,
                error: 2.0 * bound + SLACK * info.norm * info.norm,
            },
        }
    }
}

/// Writes the codes of a vector; returns its data and its norm after scaling.
fn quantise(metric: Metric, vector: &[f32], codes: &mut [i8]) -> (Row, f64) {
    Arch::new().dispatch(Quantise {
        metric,
        vector,
        codes,
    })
}

struct Quantise<'a> {
    metric: Metric,
    vector: &'a [f32],
    codes: &'a mut [i8],
}

impl NullaryFnOnce for Quantise<'_> {
    type Output = (Row, f64);

    #[inline(always)]
    fn call(self) -> (Row, f64) {
        let norm = norm(self.vector);
        // The cosine is the inner product of vectors of length 1.
        let unit = match self.metric {
            Metric::Cosine if norm > 0.0 => norm.recip(),
            _ => 1.0,
        };
        let greatest = self
            .vector
            .iter()
            .fold(0.0_f32, |greatest, item| greatest.max(item.abs()));
        // Rounded to f32 first, so that the error is measured with the scale that will be used.
        let scale = (f64::from(greatest) * unit / LEVELS) as f32;
        let step = f64::from(scale);
        let mut left_out = 0.0;
        if step > 0.0 {
            let per_step = step.recip();
            for (code, item) in self.codes.iter_mut().zip(self.vector) {
                let item = f64::from(*item) * unit;
                let rounded = (item * per_step).round_ties_even().clamp(-LEVELS, LEVELS);
                *code = rounded as i8;
                left_out += (item - rounded * step) * (item - rounded * step);
            }
        } else {
            self.codes.fill(0);
            left_out = (norm * unit) * (norm * unit);
        }
        let row = Row {
            norm,
            scale,
            error: (left_out.sqrt() * (1.0 + SLACK)) as f32,
        };
        (row, norm * unit)
    }
}
