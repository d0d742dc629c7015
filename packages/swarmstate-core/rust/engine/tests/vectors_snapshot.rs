//! An index that was saved and loaded equals the one that was saved.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use swarmstate_engine::vectors::snapshot::{Position, load, outcome, save};
use swarmstate_engine::vectors::{Index, Metric, Page, Record, Selection};

const ALL: Page = Page {
    limit: usize::MAX,
    offset: 0,
    embeddings: true,
};

fn position(first: u32, second: u32) -> Position {
    Position {
        namespace: "memories".to_owned(),
        cursors: vec![format!("{first:04}"), format!("{second:04}")],
    }
}

fn record(seed: u8, vectors: usize) -> Record {
    Record {
        scope: vec![format!("s{}", seed % 3), "x".to_owned()],
        categories: vec![format!("c{}", seed % 2)],
        value: vec![0x81, 0xa1, b'n', seed % 0x80],
        embeddings: (0..vectors)
            .map(|number| vec![f32::from(seed), number as f32, 1.5])
            .collect(),
    }
}

fn apply(index: &Index, changes: Vec<(String, Option<Record>)>) {
    for (id, record) in changes {
        let (ticket, _) = index.begin();
        index.apply(ticket, vec![(id.into(), record)]).unwrap();
        index.end(ticket);
    }
}

fn contents(index: &Index) -> BTreeMap<Arc<str>, Record> {
    let hits = index.list(&Selection::default(), None, false, ALL);
    hits.into_iter().map(|hit| (hit.id, hit.record)).collect()
}

fn found(index: &Index, query: &[f32]) -> Vec<(Arc<str>, f64)> {
    let hits = index.search(query, &Selection::default(), ALL, true);
    let hits = hits.unwrap().into_iter();
    hits.map(|hit| (hit.id, hit.score)).collect()
}

fn reload(path: &Path, metric: Metric) -> (Index, Position) {
    load(path, "memories", metric, usize::MAX).unwrap()
}

fn changes() -> impl Strategy<Value = Vec<(String, Option<Record>)>> {
    let change = ("[a-e]{1,2}", prop::option::of((any::<u8>(), 0_usize..3)));
    prop::collection::vec(
        change.prop_map(|(id, new)| (id, new.map(|(seed, vectors)| record(seed, vectors)))),
        0..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_saved_is_loaded_whatever_changed_in_between(
        rounds in prop::collection::vec((changes(), any::<bool>()), 1..6),
        metric in prop::sample::select(vec![Metric::Cosine, Metric::Dot, Metric::L2]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index::new(metric, usize::MAX);
        for (number, (changes, reopens)) in rounds.into_iter().enumerate() {
            apply(&index, changes);
            let reached = position(number as u32, 0);
            prop_assert!(save(&index, &path, &reached).unwrap());
            prop_assert_eq!(index.unsaved(), 0);
            let (loaded, at) = reload(&path, metric);
            prop_assert_eq!(&at, &reached);
            prop_assert_eq!(contents(&loaded), contents(&index));
            prop_assert_eq!(found(&loaded, &[1.0, -2.0, 0.5]), found(&index, &[1.0, -2.0, 0.5]));
            if reopens {
                index = loaded;
            }
        }
    }

    #[test]
    fn damage_is_noticed(first in changes(), second in changes(), place in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let index = Index::new(Metric::Cosine, usize::MAX);
        apply(&index, first);
        save(&index, &path, &position(1, 1)).unwrap();
        let base = contents(&index);
        let base_length = fs::metadata(&path).unwrap().len() as usize;
        apply(&index, second);
        save(&index, &path, &position(2, 1)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1_u8 << bit;
        fs::write(&path, &bytes).unwrap();
        match load(&path, "memories", Metric::Cosine, usize::MAX) {
            // An invalid head counts as an incomplete segment.
            Ok((loaded, at)) => {
                prop_assert!((base_length..base_length + 48).contains(&place));
                prop_assert_eq!(at, position(1, 1));
                prop_assert_eq!(&contents(&loaded), &base);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        // Cut anywhere, the file yields what was complete, or nothing.
        bytes[place] ^= 1_u8 << bit;
        fs::write(&path, &bytes[..place]).unwrap();
        match load(&path, "memories", Metric::Cosine, usize::MAX) {
            Ok((loaded, at)) => {
                prop_assert_eq!(at, position(1, 1));
                prop_assert_eq!(contents(&loaded), base);
            }
            Err(_) => prop_assert!(place < base_length),
        }
    }

    #[test]
    fn no_bytes_make_loading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        fs::write(&path, bytes).unwrap();
        prop_assert!(load(&path, "memories", Metric::Cosine, usize::MAX).is_err());
    }
}

#[test]
fn several_who_save_never_undo_what_another_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let mine = Index::new(Metric::Cosine, usize::MAX);
    apply(&mine, vec![("a".to_owned(), Some(record(1, 1)))]);
    assert!(save(&mine, &path, &position(1, 1)).unwrap());
    let (other, _) = reload(&path, Metric::Cosine);
    // The other index gets ahead.
    let newer = vec![
        ("a".to_owned(), Some(record(2, 1))),
        ("b".to_owned(), Some(record(3, 1))),
    ];
    apply(&other, newer.clone());
    assert!(save(&other, &path, &position(3, 1)).unwrap());
    let size = fs::metadata(&path).unwrap().len();
    // An index that is behind writes nothing, and can go on once it has caught up.
    apply(&mine, vec![("a".to_owned(), Some(record(4, 1)))]);
    assert!(!save(&mine, &path, &position(2, 1)).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    apply(&mine, newer);
    apply(&mine, vec![("c".to_owned(), Some(record(5, 0)))]);
    assert!(save(&mine, &path, &position(3, 2)).unwrap());
    let (loaded, at) = reload(&path, Metric::Cosine);
    assert_eq!(at, position(3, 2));
    assert_eq!(contents(&loaded), contents(&mine));
    // An index that never saw the file rewrites it.
    let third = Index::new(Metric::Cosine, usize::MAX);
    assert!(save(&third, &path, &position(0, 0)).unwrap());
    assert_eq!(contents(&reload(&path, Metric::Cosine).0), BTreeMap::new());
    apply(&mine, vec![("d".to_owned(), Some(record(6, 2)))]);
    assert!(save(&mine, &path, &position(4, 2)).unwrap());
    assert_eq!(contents(&reload(&path, Metric::Cosine).0), contents(&mine));
}

#[test]
fn a_file_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let index = Index::new(Metric::Cosine, usize::MAX);
    let mut greatest = 0;
    for round in 0..200_u32 {
        let changes = (0..20).map(|number| (format!("{number}"), Some(record(round as u8, 2))));
        apply(&index, changes.collect());
        assert!(save(&index, &path, &position(round, 0)).unwrap());
        greatest = greatest.max(fs::metadata(&path).unwrap().len());
        assert_eq!(
            outcome(&index).bytes,
            Some(fs::metadata(&path).unwrap().len())
        );
    }
    assert!(greatest < 200_000, "it grew to {greatest} bytes");
    assert_eq!(contents(&reload(&path, Metric::Cosine).0), contents(&index));
}

#[test]
fn of_another_namespace_it_is_refused_and_what_fails_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let index = Index::new(Metric::Cosine, usize::MAX);
    apply(&index, vec![("a".to_owned(), Some(record(1, 1)))]);
    save(&index, &path, &position(1, 1)).unwrap();
    let refused = load(&path, "others", Metric::Cosine, usize::MAX)
        .err()
        .unwrap();
    assert_eq!(refused.to_string(), "it belongs to another namespace");
    let nowhere = path.join("below-a-file");
    assert!(save(&index, &nowhere, &position(1, 1)).is_err());
    assert!(outcome(&index).error.is_some());
    // Changes that could not be written are written by the next successful save.
    apply(&index, vec![("b".to_owned(), Some(record(2, 1)))]);
    assert!(save(&index, &nowhere, &position(2, 1)).is_err());
    save(&index, &path, &position(2, 1)).unwrap();
    assert_eq!(contents(&reload(&path, Metric::Cosine).0), contents(&index));
    assert!(outcome(&index).error.is_none());
}

#[test]
fn clusters_are_saved_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let index = Index::new(Metric::Cosine, 500);
    let vector = |number: usize| {
        let centre = (number % 40) as f32;
        vec![
            centre.sin() * 9.0,
            centre.cos() * 9.0,
            (number as f32 * 0.7).sin() * 0.2,
        ]
    };
    let put = |range: std::ops::Range<usize>| {
        let change = |number: usize| {
            let embeddings = vec![vector(number)];
            let value = vec![0x80];
            let record = Record {
                embeddings,
                value,
                ..Record::default()
            };
            (format!("{number:05}"), Some(record))
        };
        apply(&index, range.map(change).collect());
    };
    put(0..3000);
    save(&index, &path, &position(1, 1)).unwrap();
    // Only the clusters are new.
    index.optimise();
    let clusters = index.cluster_count();
    assert!(clusters.is_some());
    save(&index, &path, &position(1, 1)).unwrap();
    let size = fs::metadata(&path).unwrap().len();
    // Now nothing is new.
    save(&index, &path, &position(1, 1)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    put(2900..3100);
    save(&index, &path, &position(2, 1)).unwrap();
    let (loaded, _) = load(&path, "memories", Metric::Cosine, 500).unwrap();
    assert_eq!(loaded.cluster_count(), clusters);
    let page = Page { limit: 10, ..ALL };
    for number in (0..3100).step_by(37) {
        let ids = |index: &Index| {
            let hits = index.search(&vector(number), &Selection::default(), page, false);
            hits.unwrap()
                .into_iter()
                .map(|hit| hit.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&loaded), ids(&index));
    }
    // Clusters under another metric would differ.
    let (other, _) = load(&path, "memories", Metric::L2, 500).unwrap();
    assert_eq!(other.cluster_count(), None);
    assert_eq!(other.len(), 3100);
}
