//! Exact searches scan quantized bytes, but quantization errors never affect the result.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use swarmstate_engine::vectors::{Index, Metric, Page, Record, Selection};

const PAGE: Page = Page {
    limit: 10,
    offset: 0,
    embeddings: false,
};

fn put(index: &Index, vectors: &[Vec<f32>]) {
    let (ticket, _) = index.begin();
    let changes = vectors.iter().enumerate().map(|(number, vector)| {
        let record = Record {
            scope: vec![(number % 2).to_string()],
            value: vec![0x80],
            embeddings: vec![vector.clone()],
            ..Record::default()
        };
        (Arc::from(format!("{:06}", number)), Some(record))
    });
    assert!(index.apply(ticket, changes.collect()).unwrap());
    index.end(ticket);
}

/// Computes a score by its definition, without an index.
fn defined(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    match metric {
        Metric::Dot => dot(query, row),
        Metric::Cosine => {
            let norms = (dot(query, query) * dot(row, row)).sqrt();
            if norms == 0.0 {
                0.0
            } else {
                dot(query, row) / norms
            }
        }
        Metric::L2 => {
            let squares = query.iter().zip(row).map(|(a, b)| {
                let difference = f64::from(*a) - f64::from(*b);
                difference * difference
            });
            -squares.sum::<f64>().sqrt()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Tests rows whose scores differ by less than bytes can resolve: a row excluded by its bound
    /// must not be among the best.
    #[test]
    fn nothing_stays_out_that_is_among_the_best(
        seed in any::<u64>(),
        dimensions in prop::sample::select(vec![1_usize, 3, 16, 65]),
        spread in prop::sample::select(vec![1e-6_f32, 1e-3, 3e-2, 1.0]),
        size in prop::sample::select(vec![1e-3_f32, 1.0, 1e4]),
        metric in prop::sample::select(vec![Metric::Cosine, Metric::Dot, Metric::L2]),
        halved in any::<bool>(),
    ) {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        let centre: Vec<f32> = (0..dimensions).map(|_| next() * size).collect();
        let near = |next: &mut dyn FnMut() -> f32| -> Vec<f32> {
            centre.iter().map(|item| item + next() * spread * size).collect()
        };
        let rows: Vec<Vec<f32>> = (0..700).map(|_| near(&mut next)).collect();
        let index = Index::new(metric, usize::MAX);
        put(&index, &rows);
        let query = near(&mut next);
        let selection = Selection {
            // Half of the records, so that rows are checked one by one or all at once.
            scope: if halved { vec!["1".to_owned()] } else { Vec::new() },
            ..Selection::default()
        };
        let mut expected: Vec<f64> = rows.iter().enumerate()
            .filter(|(number, _)| !halved || number % 2 == 1)
            .map(|(_, row)| defined(metric, &query, row))
            .collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        let hits = index.search(&query, &selection, PAGE, true).unwrap();
        for (hit, expected) in hits.iter().zip(&expected) {
            let tolerance = 1e-12 * expected.abs().max(f64::from(size) * f64::from(size) * 1e-3);
            prop_assert!((hit.score - expected).abs() <= tolerance, "{} {}", hit.score, expected);
        }
        prop_assert_eq!(hits.len(), 10);
    }
}

/// Returns the ten best rows and the ten best scores.
fn best(metric: Metric, rows: &[Vec<f32>], query: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let index = Index::new(metric, usize::MAX);
    put(&index, rows);
    let hits = index
        .search(query, &Selection::default(), PAGE, true)
        .unwrap();
    let mut expected: Vec<f64> = rows.iter().map(|row| defined(metric, query, row)).collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    expected.truncate(10);
    (hits.into_iter().map(|hit| hit.score).collect(), expected)
}

/// The best row is kept only by the bound of a single error, either the row's or the query's.
#[test]
fn each_error_has_its_bound() {
    for metric in [Metric::Dot, Metric::L2, Metric::Cosine] {
        // In bytes the first ten are (127, 2) times a scale, the last one is (127, 1).
        let mut rows = vec![vec![100.0, 1.185]; 10];
        rows.push(vec![127.0, 1.49]);
        let (found, expected) = best(metric, &rows, &[0.0, 1.0]);
        if metric == Metric::Dot {
            assert!((expected[0] - 1.49).abs() < 1e-6);
        }
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9);
        }
        // The same for distances, with vectors of nearly equal length.
        let mut rows = vec![vec![100.0, 1.185, 78.293]; 10];
        rows.push(vec![127.0, 1.49, 0.0]);
        let (found, expected) = best(metric, &rows, &[0.0, 1.0, 0.0]);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9);
        }
        // In bytes the query is (127, 0), which has nothing in common with the last row.
        let mut rows = vec![vec![0.3, 0.0]; 10];
        rows.push(vec![0.0, 127.0]);
        let (found, expected) = best(metric, &rows, &[127.0, 0.49]);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Vectors almost along an axis, where bytes leave out as much as they can.
    #[test]
    fn what_bytes_leave_out_decides_nothing(
        rows in prop::collection::vec((0.5_f32..1.0, -2.0_f32..2.0, -2.0_f32..2.0), 11..60),
        query in (prop::sample::select(vec![0.0_f32, 1.0, 127.0]), -2.0_f32..2.0, -2.0_f32..2.0),
        metric in prop::sample::select(vec![Metric::Cosine, Metric::Dot, Metric::L2]),
    ) {
        let rows: Vec<Vec<f32>> = rows
            .into_iter()
            .map(|(scale, x, y)| vec![127.0 * scale, x * scale, y * scale])
            .collect();
        let (found, expected) = best(metric, &rows, &[query.0, query.1, query.2]);
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
