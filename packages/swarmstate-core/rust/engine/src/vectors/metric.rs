//! Exact similarity scores of two vectors.

/// How similarity is measured; a greater score is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The cosine of the angle, in [-1, 1]; 0 if either vector is zero.
    Cosine,
    /// The inner product.
    Dot,
    /// The negative Euclidean distance.
    L2,
}

impl Metric {
    /// Returns the metric's code in a file.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Cosine => 0,
            Self::Dot => 1,
            Self::L2 => 2,
        }
    }

    /// Returns the score of `row`, computed in double precision.
    ///
    /// The norms are those returned by `norm`; only the cosine uses them.
    #[must_use]
    pub fn score(self, query: &[f32], query_norm: f64, row: &[f32], row_norm: f64) -> f64 {
        match self {
            Self::Cosine if query_norm == 0.0 || row_norm == 0.0 => 0.0,
            Self::Cosine => (dot(query, row) / (query_norm * row_norm)).clamp(-1.0, 1.0),
            Self::Dot => dot(query, row),
            Self::L2 => -squared_distance(query, row).sqrt(),
        }
    }
}

/// Returns the Euclidean norm.
#[inline(always)]
pub(super) fn norm(vector: &[f32]) -> f64 {
    dot(vector, vector).sqrt()
}

const LANES: usize = 16;

#[inline(always)]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    // Independent sums let the compiler use vector instructions.
    let mut sums = [0.0_f64; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += term(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    let rest: f64 = a_rest
        .iter()
        .zip(b_rest)
        .map(|(a, b)| term(f64::from(*a), f64::from(*b)))
        .sum();
    sums.iter().sum::<f64>() + rest
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| a * b)
}

#[inline(always)]
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| (a - b) * (a - b))
}
