//! Snapshots, restores and copies share structure, and expired namespaces release their memory.
//!
//! The allocator counts memory per thread: an operation that built anything in proportion to the
//! records would have to allocate it.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use swarmstate_engine::{Batch, Expiry, MemoryStore, Value};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static FREED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to the system allocator; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.set(FREED.get() + layout.size());
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the result of `operation` and the number of bytes it allocated.
fn allocated<T>(operation: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.get();
    let outcome = operation();
    (outcome, ALLOCATED.get() - before)
}

fn in_use() -> isize {
    ALLOCATED.get().cast_signed() - FREED.get().cast_signed()
}

fn value() -> Value {
    Arc::from(&[7_u8; 100][..])
}

/// Creates a store of `namespaces` namespaces with `records` records each.
fn filled(namespaces: usize, records: usize) -> MemoryStore {
    let store = MemoryStore::new();
    for namespace in 0..namespaces {
        let namespace = format!("namespace{namespace}");
        let put = (0..records)
            .map(|key| (format!("key{key}"), value()))
            .collect();
        store
            .write(
                &[Batch {
                    namespace,
                    put,
                    ..Batch::default()
                }],
                0,
            )
            .unwrap();
    }
    store
}

#[test]
fn a_snapshot_costs_the_same_whatever_the_store_holds() {
    let costs: Vec<usize> = [(1, 1), (1, 50_000), (5_000, 10)]
        .into_iter()
        .map(|(namespaces, records)| {
            let store = filled(namespaces, records);
            allocated(|| store.snapshot(0).unwrap()).1
        })
        .collect();
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0], costs[2]);
}

#[test]
fn a_restore_costs_the_same_whatever_the_store_holds() {
    let costs: Vec<usize> = [10, 50_000]
        .into_iter()
        .map(|records| {
            let store = filled(1, records);
            let snapshot = store.snapshot(0).unwrap();
            store.delete("namespace0", "key3", 0).unwrap();
            allocated(|| store.restore(&snapshot).unwrap()).1
        })
        .collect();
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_copy_costs_the_same_whatever_the_namespace_holds() {
    let costs: Vec<usize> = [10, 50_000]
        .into_iter()
        .map(|records| {
            let store = filled(1, records);
            allocated(|| store.copy("namespace0", "the copy", 0).unwrap()).1
        })
        .collect();
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_write_after_a_snapshot_copies_one_path_only() {
    let store = filled(1, 50_000);
    let snapshot = store.snapshot(0).unwrap();
    let (_, cost) = allocated(|| store.put("namespace0", "key777", value(), None, 0).unwrap());
    assert!(cost < 10_000, "{cost} bytes for one record of 50,000");
    let later = store.snapshot(0).unwrap();
    let (difference, cost) = allocated(|| later.diff(&snapshot));
    assert!(difference.changed.is_empty(), "the same bytes were written");
    assert!(cost < 10_000, "{cost} bytes to compare");
}

#[test]
fn expired_namespaces_that_nobody_touches_give_their_memory_back() {
    let store = MemoryStore::new();
    store.put("busy", "key", value(), None, 0).unwrap();
    let before = in_use();
    for index in 0..5_000 {
        let namespace = format!("session{index}");
        store
            .put(&namespace, "key", value(), Some(Expiry::At(1_000)), 0)
            .unwrap();
    }
    let held = in_use() - before;
    for _ in 0..2_000 {
        store.put("busy", "key", value(), None, 2_000).unwrap();
    }
    let left = in_use() - before;
    assert!(left * 20 < held, "{left} of {held} bytes are still held");
}

#[test]
fn closing_gives_everything_back() {
    let before = in_use();
    let store = filled(100, 100);
    store.close();
    assert!(store.snapshot(0).is_err());
    drop(store);
    assert_eq!(in_use(), before);
}
