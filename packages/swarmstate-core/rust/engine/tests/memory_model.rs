//! The memory store behaves like a naive model under random operations.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use swarmstate_engine::{
    Answer, Batch, Error, Expect, Expiry, MemoryStore, Query, Range, Snapshot, Value,
};

type Records = BTreeMap<String, Vec<u8>>;

/// Every record of a store, by namespace and key.
type Contents = BTreeMap<(String, String), Vec<u8>>;

/// The simplest possible store: whole copies, everything recomputed.
#[derive(Clone, Default)]
struct Model {
    namespaces: BTreeMap<String, (Records, Option<i64>)>,
}

impl Model {
    fn expire(&mut self, now: i64) {
        self.namespaces
            .retain(|_, (records, at)| !records.is_empty() && at.is_none_or(|at| at > now));
    }

    fn set_expiry(&mut self, namespace: &str, expiry: Option<Expiry>) {
        if let (Some(expiry), Some((_, at))) = (expiry, self.namespaces.get_mut(namespace)) {
            *at = match expiry {
                Expiry::Never => None,
                Expiry::At(at) => Some(at),
            };
        }
    }

    fn records(&self, namespace: &str) -> Records {
        self.namespaces
            .get(namespace)
            .map(|(records, _)| records.clone())
            .unwrap_or_default()
    }

    fn write(&mut self, batch: &Batch) -> bool {
        let before = self.records(&batch.namespace);
        if let Some(expect) = &batch.expect {
            let last = before.keys().rfind(|key| key.starts_with(&expect.prefix));
            if last != expect.last_key.as_ref() {
                return false;
            }
        }
        for (key, expected) in &batch.expect_values {
            if before.get(key).map(Vec::as_slice) != expected.as_deref() {
                return false;
            }
        }
        if batch.clear {
            self.namespaces.remove(&batch.namespace);
        }
        let (records, _) = self.namespaces.entry(batch.namespace.clone()).or_default();
        for (start, stop) in &batch.delete_ranges {
            records.retain(|key, _| key < start || stop.as_ref().is_some_and(|stop| key >= stop));
        }
        for key in &batch.delete {
            records.remove(key);
        }
        for (key, value) in &batch.put_if_absent {
            records.entry(key.clone()).or_insert_with(|| value.to_vec());
        }
        for (key, value) in &batch.put {
            records.insert(key.clone(), value.to_vec());
        }
        let exists = !records.is_empty();
        if exists {
            self.set_expiry(&batch.namespace, batch.expiry);
        } else {
            self.namespaces.remove(&batch.namespace);
        }
        true
    }

    fn range(&self, namespace: &str, range: &Range) -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<_> = self
            .records(namespace)
            .into_iter()
            .filter(|(key, _)| *key >= range.start)
            .filter(|(key, _)| range.stop.as_ref().is_none_or(|stop| key < stop))
            .map(|(key, value)| (key, if range.keys_only { Vec::new() } else { value }))
            .collect();
        if range.reverse {
            found.reverse();
        }
        found.truncate(range.limit.unwrap_or(usize::MAX));
        found
    }

    fn everything(&self) -> Contents {
        self.namespaces
            .iter()
            .flat_map(|(name, (records, _))| {
                records
                    .iter()
                    .map(|(key, value)| ((name.clone(), key.clone()), value.clone()))
            })
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Write(Batch),
    Put(String, String, Value, Option<Expiry>),
    Delete(String, String),
    Read(Query),
    Copy(String, String),
    Wait(i64),
    Snapshot,
    Restore(usize),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{1,3}",
        Just("\u{FFFF}".to_owned()),
        Just("a\u{10FFFF}".to_owned()),
        Just("a\u{1F600}".to_owned()),
    ]
}

fn namespace() -> impl Strategy<Value = String> {
    "[nm][xyz]?"
}

fn value() -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 0..3).prop_map(Arc::from)
}

/// Relative to the time of the operation; made absolute when it runs.
fn expiry() -> impl Strategy<Value = Option<Expiry>> {
    option::weighted(
        0.3,
        prop_oneof![Just(Expiry::Never), (1..20_i64).prop_map(Expiry::At)],
    )
}

fn bound() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), name()]
}

fn range() -> impl Strategy<Value = Range> {
    (
        bound(),
        option::of(bound()),
        any::<bool>(),
        option::of(0..4_usize),
        any::<bool>(),
    )
        .prop_map(|(start, stop, reverse, limit, keys_only)| Range {
            start,
            stop,
            reverse,
            limit,
            keys_only,
        })
}

fn batch() -> impl Strategy<Value = Batch> {
    let expect =
        (bound(), option::of(name())).prop_map(|(prefix, last_key)| Expect { prefix, last_key });
    (
        (
            namespace(),
            option::weighted(0.2, expect),
            vec((name(), option::of(value())), 0..2),
            proptest::bool::weighted(0.1),
        ),
        vec((bound(), option::of(bound())), 0..2),
        vec(name(), 0..3),
        vec((name(), value()), 0..3),
        vec((name(), value()), 0..20),
        expiry(),
    )
        .prop_map(
            |(
                (namespace, expect, expect_values, clear),
                delete_ranges,
                delete,
                put_if_absent,
                put,
                expiry,
            )| {
                Batch {
                    namespace,
                    expect,
                    expect_values,
                    clear,
                    delete_ranges,
                    delete,
                    put_if_absent,
                    put,
                    expiry,
                }
            },
        )
}

fn query() -> impl Strategy<Value = Query> {
    (namespace(), vec(name(), 0..4), vec(range(), 0..3), expiry()).prop_map(
        |(namespace, keys, ranges, expiry)| Query {
            namespace,
            keys,
            ranges,
            expiry,
            ask_expiry: true,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => batch().prop_map(Operation::Write),
        6 => query().prop_map(Operation::Read),
        3 => (namespace(), name(), value(), expiry())
            .prop_map(|(namespace, key, value, expiry)| Operation::Put(namespace, key, value, expiry)),
        3 => (namespace(), name()).prop_map(|(namespace, key)| Operation::Delete(namespace, key)),
        1 => (namespace(), namespace()).prop_map(|(from, to)| Operation::Copy(from, to)),
        2 => (1..15_i64).prop_map(Operation::Wait),
        1 => Just(Operation::Snapshot),
        1 => any::<usize>().prop_map(Operation::Restore),
    ]
}

fn absolute(expiry: Option<Expiry>, now: i64) -> Option<Expiry> {
    expiry.map(|expiry| match expiry {
        Expiry::Never => Expiry::Never,
        Expiry::At(ttl) => Expiry::At(now + ttl),
    })
}

fn contents(snapshot: &Snapshot) -> Contents {
    let mut all = BTreeMap::new();
    for name in snapshot.namespaces() {
        for (key, value) in snapshot.records(&name) {
            all.insert((name.to_string(), key.to_string()), value.to_vec());
        }
    }
    all
}

fn check_diff(newer: &Snapshot, older: &Snapshot) {
    let (new, old) = (contents(newer), contents(older));
    let owned = |list: Vec<(Arc<str>, Arc<str>)>| -> Vec<(String, String)> {
        list.into_iter()
            .map(|(name, key)| (name.to_string(), key.to_string()))
            .collect()
    };
    let difference = newer.diff(older);
    let added: Vec<_> = new
        .keys()
        .filter(|key| !old.contains_key(*key))
        .cloned()
        .collect();
    let removed: Vec<_> = old
        .keys()
        .filter(|key| !new.contains_key(*key))
        .cloned()
        .collect();
    let changed: Vec<_> = new
        .iter()
        .filter(|(key, value)| old.get(*key).is_some_and(|before| before != *value))
        .map(|(key, _)| key.clone())
        .collect();
    assert_eq!(owned(difference.added), added);
    assert_eq!(owned(difference.removed), removed);
    assert_eq!(owned(difference.changed), changed);
}

fn check_records(store: &MemoryStore, model: &Model, query: &Query, answer: &Answer, now: i64) {
    let records = model.records(&query.namespace);
    for (key, value) in query.keys.iter().zip(&answer.values) {
        assert_eq!(records.get(key).map(Vec::as_slice), value.as_deref());
        assert_eq!(&store.get(&query.namespace, key, now).unwrap(), value);
    }
    for (range, found) in query.ranges.iter().zip(&answer.ranges) {
        let found: Vec<_> = found
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_vec()))
            .collect();
        assert_eq!(model.range(&query.namespace, range), found);
    }
}

fn check_snapshots(snapshots: &[(Snapshot, Model)]) {
    for (snapshot, then) in snapshots {
        let then = then.everything();
        assert_eq!(contents(snapshot), then, "a later write changed a snapshot");
        assert_eq!(
            snapshot.size_bytes(),
            then.values().map(Vec::len).sum::<usize>()
        );
        assert_eq!(snapshot.keys().len(), then.len());
    }
}

fn run(operations: Vec<Operation>) {
    let store = MemoryStore::new();
    let mut model = Model::default();
    let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
    let mut now = 1_000;
    for operation in operations {
        model.expire(now);
        match operation {
            Operation::Write(mut batch) => {
                batch.expiry = absolute(batch.expiry, now);
                match store.write(std::slice::from_ref(&batch), now) {
                    Ok(()) => assert!(model.write(&batch)),
                    Err(Error::Conflict(_)) => assert!(!model.write(&batch)),
                    Err(other) => panic!("{other}"),
                }
            }
            Operation::Put(namespace, key, value, expiry) => {
                let expiry = absolute(expiry, now);
                store
                    .put(&namespace, &key, value.clone(), expiry, now)
                    .unwrap();
                let put = vec![(key, value)];
                model.write(&Batch {
                    namespace,
                    put,
                    expiry,
                    ..Batch::default()
                });
            }
            Operation::Delete(namespace, key) => {
                let found = store.delete(&namespace, &key, now).unwrap();
                assert_eq!(found, model.records(&namespace).contains_key(&key));
                model.write(&Batch {
                    namespace,
                    delete: vec![key],
                    ..Batch::default()
                });
            }
            Operation::Read(mut query) => {
                query.expiry = absolute(query.expiry, now);
                model.set_expiry(&query.namespace, query.expiry);
                let answers = store.read(std::slice::from_ref(&query), now).unwrap();
                let expiry = model
                    .namespaces
                    .get(&query.namespace)
                    .map(|(_, at)| at.map_or(Expiry::Never, Expiry::At));
                assert_eq!(answers[0].expiry, expiry);
                check_records(&store, &model, &query, &answers[0], now);
            }
            Operation::Copy(source, target) => {
                store.copy(&source, &target, now).unwrap();
                if source != target {
                    match model.namespaces.get(&source).cloned() {
                        Some(copied) => model.namespaces.insert(target, copied),
                        None => model.namespaces.remove(&target),
                    };
                }
            }
            Operation::Wait(time) => now += time,
            Operation::Snapshot => {
                let snapshot = store.snapshot(now).unwrap();
                assert_eq!(contents(&snapshot), model.everything());
                if let Some((earlier, _)) = snapshots.last() {
                    assert_eq!(snapshot.parent(), Some(earlier.id()));
                    check_diff(&snapshot, earlier);
                    check_diff(earlier, &snapshot);
                }
                snapshots.push((snapshot, model.clone()));
            }
            Operation::Restore(index) if !snapshots.is_empty() => {
                let (snapshot, then) = &snapshots[index % snapshots.len()];
                store.restore(snapshot).unwrap();
                model = then.clone();
                for (_, at) in model.namespaces.values_mut() {
                    *at = None;
                }
            }
            Operation::Restore(_) => {}
        }
        model.expire(now);
        let names: Vec<String> = store
            .namespaces("", None, None, now)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, model.namespaces.keys().cloned().collect::<Vec<_>>());
        assert_eq!(store.len(now).unwrap(), model.everything().len());
    }
    check_snapshots(&snapshots);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn does_what_the_model_does(operations in vec(operation(), 1..60)) {
        run(operations);
    }

    #[test]
    fn pages_of_namespaces_join_to_the_whole(
        names in proptest::collection::btree_set(name(), 0..30),
        prefix in bound(),
        limit in 1..5_usize,
    ) {
        let store = MemoryStore::new();
        for name in &names {
            store.put(name, "key", Arc::from(&b"value"[..]), None, 0).unwrap();
        }
        let mut found: Vec<Arc<str>> = Vec::new();
        loop {
            let after = found.last().cloned();
            let page = store.namespaces(&prefix, after.as_deref(), Some(limit), 0).unwrap();
            prop_assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        let wanted: Vec<_> = names.iter().filter(|name| name.starts_with(&prefix)).collect();
        prop_assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), wanted);
    }
}
