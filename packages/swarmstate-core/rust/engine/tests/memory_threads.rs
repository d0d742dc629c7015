//! Many threads on one memory store: nothing deadlocks, and nothing is seen half done.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::thread;

use swarmstate_engine::{Batch, MemoryStore, Query, Range, Value};

const NAMESPACES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const KEYS: [&str; 3] = ["x", "y", "z"];

/// Writes the same value to every key of a namespace.
fn write(store: &MemoryStore, namespace: &str, value: &str) {
    let value: Value = Arc::from(value.as_bytes());
    let put = KEYS
        .map(|key| (key.to_owned(), Arc::clone(&value)))
        .to_vec();
    let batch = Batch {
        namespace: namespace.to_owned(),
        put,
        ..Batch::default()
    };
    store.write(&[batch], 0).unwrap();
}

fn check_whole(values: &[&Value]) {
    assert!(
        values.is_empty() || values.len() == KEYS.len(),
        "{} of the records",
        values.len()
    );
    assert!(
        values.iter().all(|value| *value == values[0]),
        "records of two batches"
    );
}

/// Copies in both directions compete with each other and with snapshots and restores, which lock
/// everything. With any other lock order than the documented one, this test would hang.
#[test]
fn copies_snapshots_and_restores_do_not_block_each_other() {
    let store = MemoryStore::new();
    for namespace in NAMESPACES {
        write(&store, namespace, "start");
    }
    let start = store.snapshot(0).unwrap();
    thread::scope(|scope| {
        for thread in 0..4_usize {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                for round in 0..2_000_usize {
                    let one = NAMESPACES[(thread + round) % NAMESPACES.len()];
                    let other = NAMESPACES[(thread + round * 5 + 1) % NAMESPACES.len()];
                    match (thread + round) % 4 {
                        0 => write(store, one, &format!("{thread} {round}")),
                        1 => store.copy(one, other, 0).unwrap(),
                        2 => {
                            let snapshot = store.snapshot(0).unwrap();
                            for namespace in snapshot.namespaces() {
                                let records: Vec<_> = snapshot.records(&namespace).collect();
                                check_whole(
                                    &records.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
                                );
                            }
                        }
                        _ if round % 50 == 0 => store.restore(start).unwrap(),
                        _ => {
                            let ranges = vec![Range::default()];
                            let query = Query {
                                namespace: one.to_owned(),
                                ranges,
                                ..Query::default()
                            };
                            let answers = store.read(&[query], 0).unwrap();
                            let records = &answers[0].ranges[0];
                            check_whole(
                                &records.iter().map(|(_, value)| value).collect::<Vec<_>>(),
                            );
                        }
                    }
                }
            });
        }
    });
    store.restore(&start).unwrap();
    assert_eq!(
        store.snapshot(0).unwrap().diff(&start),
        swarmstate_engine::Difference::default()
    );
}

#[test]
fn nothing_is_left_in_a_store_that_is_closed_while_it_is_written() {
    let store = MemoryStore::new();
    let value: Value = Arc::from(&[1_u8; 8][..]);
    thread::scope(|scope| {
        for thread in 0..3 {
            let (store, value) = (&store, &value);
            scope.spawn(move || {
                for round in 0.. {
                    let namespace = format!("{thread} {round}");
                    if store
                        .put(&namespace, "key", Arc::clone(value), None, 0)
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
        while store.len(0).unwrap() < 100 {
            thread::yield_now();
        }
        store.close();
    });
    assert_eq!(Arc::strong_count(&value), 1, "records are left behind");
}
