//! Approximate search: vectors are grouped into clusters, and a search scans only the nearest ones.
//!
//! An inverted file, as in "Searching in one billion vectors: re-rank with source coding" (Jégou et
//! al., 2011). Compared with a graph of neighbors, it is built in a fraction of the time and needs
//! four bytes per vector, and rows are added and removed for free. Rows that a search must skip are
//! skipped before ranking.

use std::io::{self, Read};
use std::num::NonZero;
use std::thread;

use super::matrix::Matrix;
use super::metric::Metric;
use super::scan::{Candidates, nearest, scan_all};
use super::snapshot::segment::{Input, invalid, put_numbers};

/// Vectors per cluster used to compute the centers.
const SAMPLE: usize = 32;
const ITERATIONS: usize = 8;

/// Number of vectors, and of true neighbors of each, used to determine how many clusters a search
/// must scan.
const TRIALS: usize = 100;
const NEIGHBOURS: usize = 10;

/// The share of those neighbors that a search must find, and a safety factor for other queries.
const RECALL: f64 = 0.99;
const MARGIN: f64 = 1.25;

/// Scanning more than this share of the clusters takes longer than scanning all rows.
const WORTHWHILE: f64 = 0.25;

const NOWHERE: (u32, u32) = (u32::MAX, u32::MAX);

/// Rows grouped by their nearest center.
pub(super) struct Clusters {
    centres: Matrix,
    members: Vec<Vec<u32>>,
    /// The cluster of each row and its position there.
    places: Vec<(u32, u32)>,
    /// The number of rows when the centers were computed.
    pub trained: usize,
    /// A random number that identifies these clusters.
    pub generation: u64,
    probes: usize,
}

impl Clusters {
    /// Returns clusters without members.
    pub fn new(centres: Matrix, trained: usize) -> Self {
        Self {
            members: vec![Vec::new(); centres.len()],
            probes: centres.len(),
            centres,
            places: Vec::new(),
            trained,
            generation: getrandom::u64().unwrap_or_default(),
        }
    }

    /// Returns the number of clusters.
    pub fn len(&self) -> usize {
        self.centres.len()
    }

    /// Returns the cluster that a row is in.
    pub fn home(&self, row: u32) -> Option<u32> {
        let (cluster, _) = *self.places.get(row as usize)?;
        (cluster != NOWHERE.0).then_some(cluster)
    }

    /// Writes the clusters without their members.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        buffer.extend((self.centres.len() as u32).to_le_bytes());
        buffer.push(self.centres.metric().code());
        buffer.extend((self.trained as u64).to_le_bytes());
        buffer.extend((self.probes as u64).to_le_bytes());
        for cluster in 0..self.centres.len() {
            put_numbers(buffer, self.centres.vector(cluster));
        }
    }

    /// Reads clusters written by `write`; `None` if there are none for this metric.
    pub fn read<R: Read>(
        input: &mut Input<R>,
        generation: u64,
        dimensions: usize,
        metric: Metric,
    ) -> io::Result<Option<Self>> {
        let count = input.u32()?;
        if count == 0 {
            return Ok(None);
        }
        if dimensions == 0 {
            return Err(invalid("its clusters have no dimensions"));
        }
        let code = input.byte()?;
        let (trained, probes) = (input.u64()? as usize, input.u64()? as usize);
        let mut centres = Matrix::new(clustering(metric), dimensions);
        let mut centre = Vec::new();
        for cluster in 0..count as usize {
            input.numbers(dimensions, &mut centre)?;
            centres.put(cluster, &centre);
        }
        let clusters = Self {
            generation,
            probes,
            ..Self::new(centres, trained)
        };
        Ok((code == clustering(metric).code()).then_some(clusters))
    }

    pub fn add(&mut self, row: u32, vector: &[f32]) {
        let cluster = self.nearest(vector);
        self.put(row, cluster);
    }

    /// Returns the cluster that a vector belongs to.
    pub fn nearest(&self, vector: &[f32]) -> u32 {
        nearest(&self.centres, &self.centres.query(vector))
    }

    /// Adds a row, which must not be in any cluster, to a cluster.
    pub fn put(&mut self, row: u32, cluster: u32) {
        let members = &mut self.members[cluster as usize];
        if row as usize >= self.places.len() {
            self.places.resize(row as usize + 1, NOWHERE);
        }
        self.places[row as usize] = (cluster, members.len() as u32);
        members.push(row);
    }

    pub fn remove(&mut self, row: u32) {
        let Some(place) = self.places.get_mut(row as usize) else {
            return;
        };
        let (cluster, position) = std::mem::replace(place, NOWHERE);
        if let Some(members) = self.members.get_mut(cluster as usize) {
            members.swap_remove(position as usize);
            if let Some(moved) = members.get(position as usize) {
                self.places[*moved as usize].1 = position;
            }
        }
    }

    /// Returns whether scanning only the nearest clusters saves time.
    pub fn worthwhile(&self) -> bool {
        self.probes as f64 <= self.centres.len() as f64 * WORTHWHILE
    }

    /// Returns the allowed rows of the clusters nearest to a query.
    ///
    /// Scans `effort` times as many clusters as usual, not counting those without allowed rows, and
    /// goes on until there are at least `fewest` rows or no clusters are left.
    pub fn rows(
        &self,
        metric: Metric,
        query: &[f32],
        effort: usize,
        fewest: usize,
        allowed: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        let enough = self.probes.saturating_mul(effort);
        let (mut rows, mut seen) = (Vec::new(), 0);
        for cluster in self.order(metric, query) {
            if seen >= enough && rows.len() >= fewest {
                break;
            }
            let before = rows.len();
            let members = &self.members[cluster as usize];
            rows.extend(members.iter().copied().filter(|row| allowed(*row)));
            seen += usize::from(rows.len() > before);
        }
        rows
    }

    /// Returns the clusters ordered by their centers, nearest first.
    fn order(&self, metric: Metric, query: &[f32]) -> Vec<u32> {
        let query = self.centres.query(query);
        let mut scores: Vec<(f64, u32)> = (0..self.centres.len())
            .map(|cluster| {
                (
                    self.centres.score_by(metric, &query, cluster),
                    cluster as u32,
                )
            })
            .collect();
        scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        scores.into_iter().map(|(_, cluster)| cluster).collect()
    }

    /// Returns the ranks of the clusters, in that order, that contain the true neighbors of a row.
    pub fn trial(
        &self,
        metric: Metric,
        matrix: &Matrix,
        row: usize,
        live: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let vector = matrix.vector(row);
        let query = matrix.query(vector);
        let mut candidates = Candidates::new(NEIGHBOURS + 1);
        scan_all(matrix, &query, live, &mut candidates);
        let mut near: Vec<(f64, u32)> = candidates
            .into_rows()
            .filter(|each| *each as usize != row)
            .map(|each| (matrix.score(&query, each as usize), each))
            .collect();
        near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut places = vec![0; self.centres.len()];
        for (place, cluster) in self.order(metric, vector).into_iter().enumerate() {
            places[cluster as usize] = place;
        }
        let clusters = near
            .iter()
            .take(NEIGHBOURS)
            .filter_map(|(_, row)| Some(self.places.get(*row as usize)?.0));
        clusters
            .filter_map(|cluster| places.get(cluster as usize).copied())
            .collect()
    }

    /// Sets how many clusters a search scans, based on the results of the trials.
    pub fn calibrate(&mut self, mut places: Vec<usize>) {
        places.sort_unstable();
        let last = (places.len() as f64 * RECALL) as usize;
        if let Some(place) = places.get(last.min(places.len().saturating_sub(1))) {
            self.probes = ((*place + 1) as f64 * MARGIN).ceil() as usize;
        }
    }
}

/// Returns how many clusters to make for this many rows.
pub(super) fn number(rows: usize) -> usize {
    ((rows as f64).sqrt() * 2.0) as usize + 1
}

/// Returns which of `rows` rows to compute the centers of `clusters` clusters from.
pub(super) fn sample(rows: usize, clusters: usize) -> impl Iterator<Item = usize> {
    some(rows / 2, clusters * SAMPLE).map(|row| row * 2)
}

/// Returns which of `rows` rows to use for trials.
///
/// None of them is in a sample: a center is nearer to the rows it was computed from than to others.
pub(super) fn trials(rows: usize) -> impl Iterator<Item = usize> {
    some(rows / 2, TRIALS).map(|row| row * 2 + 1)
}

/// Returns `wanted` of the numbers below `all`: always the same, without a pattern that data may
/// share.
fn some(all: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let step = (all as f64 / wanted as f64).max(1.0);
    let count = (all as f64 / step) as usize;
    (0..count).map(move |index| {
        // One from each stretch; the multiplier is that of Fibonacci hashing.
        let random = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let within = random as f64 / f64::from(u32::MAX) * (step - 1.0);
        ((index as f64 * step + within) as usize).min(all - 1)
    })
}

/// Returns the metric for comparing vectors with centers.
pub(super) fn clustering(metric: Metric) -> Metric {
    match metric {
        Metric::Cosine => Metric::Cosine,
        // The inner product has no nearest center: a longer one would attract everything.
        Metric::Dot | Metric::L2 => Metric::L2,
    }
}

/// Computes centers by Lloyd's iteration.
pub(super) fn centres(metric: Metric, vectors: &Matrix, clusters: usize) -> Matrix {
    let metric = clustering(metric);
    let dimensions = vectors.dimensions();
    let mut centres = Matrix::new(metric, dimensions);
    for row in some(vectors.len(), clusters) {
        centres.put(centres.len(), vectors.vector(row));
    }
    for _ in 0..ITERATIONS {
        let homes = homes(&centres, vectors);
        let mut sums = vec![0.0_f64; centres.len() * dimensions];
        let mut counts = vec![0_usize; centres.len()];
        for (row, home) in homes.into_iter().enumerate() {
            let home = home as usize;
            let vector = vectors.vector(row);
            let length = match metric {
                Metric::Cosine => super::metric::norm(vector).max(f64::MIN_POSITIVE),
                _ => 1.0,
            };
            let sum = &mut sums[home * dimensions..(home + 1) * dimensions];
            for (sum, item) in sum.iter_mut().zip(vector) {
                *sum += f64::from(*item) / length;
            }
            counts[home] += 1;
        }
        for (cluster, count) in counts.into_iter().enumerate() {
            // A center without members stays where it is.
            if count > 0 {
                let sum = &sums[cluster * dimensions..(cluster + 1) * dimensions];
                let centre: Vec<f32> = sum.iter().map(|sum| (sum / count as f64) as f32).collect();
                centres.put(cluster, &centre);
            }
        }
    }
    centres
}

/// Returns the nearest center of every row.
fn homes(centres: &Matrix, vectors: &Matrix) -> Vec<u32> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut homes = vec![0; vectors.len()];
    let share = vectors.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        for (index, homes) in homes.chunks_mut(share).enumerate() {
            scope.spawn(move || {
                for (row, home) in (index * share..).zip(homes) {
                    *home = nearest(centres, &centres.query(vectors.vector(row)));
                }
            });
        }
    });
    homes
}
