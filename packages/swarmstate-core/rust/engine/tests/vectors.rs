//! Tests the index against simple definitions of its behavior.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use rmpv::Value;
use swarmstate_engine::vectors::{Filter, Index, Metric, Page, Record, Selection, UNKNOWN};

const PAGE: Page = Page {
    limit: 10,
    offset: 0,
    embeddings: false,
};

fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn plain() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..4).prop_map(|number| Value::from(number as f64 / 2.0)),
        "[ab1 -]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec(("[xy]", inner), 0..3).prop_map(|entries| {
                let mut map: Vec<(Value, Value)> = Vec::new();
                for (key, value) in entries {
                    if map.iter().all(|(known, _)| known.as_str() != Some(&key)) {
                        map.push((key.into(), value));
                    }
                }
                Value::Map(map)
            }),
        ]
    })
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
    Value::Map(entries.collect())
}

fn matches(filter: Value, value: &Value) -> bool {
    let filter = Filter::parse(&encode(&map(vec![("f", filter)]))).unwrap();
    filter.matches(&encode(&map(vec![("f", value.clone())])))
}

fn selects(filter: Value, value: &Value) -> bool {
    let index = Index::new(Metric::Cosine, usize::MAX);
    let record = Record {
        value: encode(&map(vec![("f", value.clone())])),
        ..Record::default()
    };
    let (ticket, _) = index.begin();
    index
        .apply(ticket, vec![(Arc::from("id"), Some(record))])
        .unwrap();
    index.end(ticket);
    let filter = Filter::parse(&encode(&map(vec![("f", filter)]))).unwrap();
    let selection = Selection {
        filter: Some(filter),
        ..Selection::default()
    };
    index.count(&selection) == 1
}

/// Returns the result of Python's `float(value)` for the values that `plain` generates.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Boolean(value) => Some(f64::from(u8::from(*value))),
        Value::String(text) => text.as_str()?.trim().parse().ok(),
        other => other.as_f64(),
    }
}

proptest! {
    #[test]
    fn orders_are_those_of_floats_and_of_other_texts(a in plain(), b in plain()) {
        let order = match (float(&a), float(&b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => match (a.as_str(), b.as_str()) {
                (Some(a), Some(b)) => Some(a.cmp(b)),
                _ => None,
            },
        };
        let expected = [
            ("$gt", order.is_some_and(|order| order.is_gt())),
            ("$gte", order.is_some_and(|order| order.is_ge())),
            ("$lt", order.is_some_and(|order| order.is_lt())),
            ("$lte", order.is_some_and(|order| order.is_le())),
        ];
        for (operator, expected) in expected {
            let filter = map(vec![(operator, b.clone())]);
            prop_assert_eq!(matches(filter.clone(), &a), expected);
            prop_assert_eq!(selects(filter, &a), expected);
        }
    }

    #[test]
    fn equality_is_reflexive_and_symmetric_and_not_is_its_opposite(a in plain(), b in plain()) {
        let equals = |a: &Value, b: &Value| matches(map(vec![("$eq", b.clone())]), a);
        let is_nan = format!("{a:?}").contains("NaN");
        prop_assert!(equals(&a, &a) || is_nan);
        prop_assert_eq!(equals(&a, &b), equals(&b, &a));
        prop_assert_eq!(!equals(&a, &b), matches(map(vec![("$ne", b.clone())]), &a));
        prop_assert_eq!(equals(&a, &b), selects(map(vec![("$eq", b.clone())]), &a));
        // A filter with a plain value matches at least the equal values; only maps match more,
        // since they may have extra keys.
        prop_assert!(!equals(&a, &b) || matches(b.clone(), &a));
        if !format!("{b:?}").contains("Map") {
            prop_assert_eq!(equals(&a, &b), matches(b.clone(), &a));
        }
    }

    #[test]
    fn what_is_unknown_is_never_left_out(a in plain(), b in plain(), place in 0..4) {
        let unknown = Value::Ext(UNKNOWN, vec![0xc0]);
        let (value, operand) = match place {
            0 => (unknown, b),
            1 => (a, unknown),
            2 => (Value::Array(vec![a, unknown]), Value::Array(vec![b.clone(), b])),
            _ => (map(vec![("x", unknown), ("y", a.clone())]), map(vec![("x", b), ("y", a)])),
        };
        for operator in ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"] {
            if place < 2 || operator == "$eq" || operator == "$ne" {
                let filter = map(vec![(operator, operand.clone())]);
                if place < 2 || operator == "$ne" {
                    prop_assert!(matches(filter.clone(), &value));
                    prop_assert!(selects(filter, &value));
                }
            }
        }
        if place == 0 {
            prop_assert!(matches(operand.clone(), &value));
            prop_assert!(selects(operand, &value));
        }
    }

    #[test]
    fn fields_within_fields_are_compared_as_if_they_were_at_the_top(a in plain(), b in plain()) {
        let nested = |value: &Value| map(vec![("deep", map(vec![("er", value.clone())]))]);
        for operator in ["$eq", "$ne", "$gte", "$lt"] {
            let filter = map(vec![(operator, b.clone())]);
            prop_assert_eq!(selects(nested(&filter), &nested(&a)), selects(filter.clone(), &a));
            // Every value above the field must be a map, whatever the condition.
            prop_assert!(!selects(nested(&filter), &map(vec![("deep", Value::from(1))])));
        }
        prop_assert!(selects(map(vec![]), &nested(&a)));
        prop_assert!(!selects(map(vec![]), &Value::Nil));
    }

    #[test]
    fn a_selection_is_the_same_whichever_way_it_is_found(
        values in prop::collection::vec((plain(), 0_u8..4, 0_u8..4), 300..500),
        condition in plain(),
        operator in prop::sample::select(vec!["", "$ne", "$gt", "$lte"]),
        deleted in 0_usize..300,
    ) {
        let index = Index::new(Metric::Dot, usize::MAX);
        let (ticket, _) = index.begin();
        let vector = |number: usize| vec![(number % 97) as f32, 1.0];
        let changes = values.iter().enumerate().map(|(number, (value, scope, category))| {
            let record = Record {
                scope: vec![scope.to_string()],
                categories: vec![category.to_string()],
                value: encode(&map(vec![("f", value.clone())])),
                embeddings: vec![vector(number)],
            };
            (Arc::from(format!("{number:04}")), Some(record))
        }).collect();
        index.apply(ticket, changes).unwrap();
        index.end(ticket);
        let (ticket, _) = index.begin();
        let gone = (0..deleted).map(|number| (Arc::from(format!("{number:04}")), None));
        index.apply(ticket, gone.collect()).unwrap();
        index.end(ticket);
        let filter = if operator.is_empty() { condition } else { map(vec![(operator, condition)]) };
        let filter = Filter::parse(&encode(&map(vec![("f", filter)]))).unwrap();
        for (scope, categories) in [(None, vec![]), (Some("1"), vec![]), (None, vec!["0", "2", "3"])] {
            let selection = Selection {
                scope: scope.iter().map(ToString::to_string).collect(),
                categories: categories.iter().map(ToString::to_string).collect(),
                filter: Some(filter.clone()),
            };
            let mut expected: Vec<(f64, String)> = values.iter().enumerate().skip(deleted)
                .filter(|(_, (value, own, category))| {
                    filter.matches(&encode(&map(vec![("f", value.clone())])))
                        && scope.is_none_or(|scope| scope == own.to_string())
                        && (categories.is_empty() || categories.contains(&category.to_string().as_str()))
                })
                .map(|(number, _)| (-f64::from(vector(number)[0]) * 3.0 + 1.0, format!("{number:04}")))
                .collect();
            prop_assert_eq!(index.count(&selection), expected.len());
            expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let hits = index.search(&[3.0, -1.0], &selection, PAGE, false).unwrap();
            let found: Vec<(f64, String)> =
                hits.iter().map(|hit| (-hit.score, hit.id.to_string())).collect();
            prop_assert_eq!(&found[..], &expected[..expected.len().min(10)]);
        }
    }

    #[test]
    fn numbers_are_equal_by_their_value(number in -100_i64..100) {
        let float = Value::from(number as f64);
        prop_assert!(matches(map(vec![("$eq", float)]), &Value::from(number)));
        let half = Value::from(number as f64 + 0.5);
        prop_assert!(!matches(map(vec![("$eq", half)]), &Value::from(number)));
        prop_assert_eq!(matches(Value::from(true), &Value::from(number)), number == 1);
    }

    #[test]
    fn no_bytes_make_a_filter_or_a_record_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Filter::parse(&bytes);
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn records_come_back(
        scope in prop::collection::vec(".{0,4}", 0..4),
        mut categories in prop::collection::vec(".{0,4}", 0..4),
        value in plain(),
        embeddings in prop::collection::vec(prop::collection::vec(-1e9_f32..1e9, 3), 0..3),
    ) {
        categories.sort();
        categories.dedup();
        let record = Record { scope, categories, value: encode(&value), embeddings };
        prop_assert_eq!(Record::decode(&record.encode()).unwrap(), record);
    }
}

/// Returns vectors clustered around centers, like those of real texts.
fn clustered(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let mut state = 1_u64;
    let mut next = move || {
        // Steele and Vigna's SplitMix64; the sum of four is nearly normal.
        let mut sum = 0.0;
        for _ in 0..4 {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            sum += (z ^ (z >> 31)) as f64 / u64::MAX as f64 - 0.5;
        }
        sum as f32
    };
    let centres: Vec<Vec<f32>> = (0..50)
        .map(|_| (0..dimensions).map(|_| next()).collect())
        .collect();
    (0..count)
        .map(|index| {
            let centre = &centres[index * 7 % centres.len()];
            centre.iter().map(|item| item + next() * 0.4).collect()
        })
        .collect()
}

fn put(index: &Index, first: usize, vectors: &[Vec<f32>]) {
    let (ticket, _) = index.begin();
    let changes = vectors.iter().enumerate().map(|(number, vector)| {
        let record = Record {
            scope: vec![(number % 2).to_string()],
            value: vec![0x80],
            embeddings: vec![vector.clone()],
            ..Record::default()
        };
        (Arc::from(format!("{:06}", first + number)), Some(record))
    });
    assert!(index.apply(ticket, changes.collect()).unwrap());
    index.end(ticket);
}

fn check_recall(index: &Index, queries: &[Vec<f32>], selection: &Selection) {
    let mut found = 0;
    for query in queries {
        let names = |exact| {
            let hits = index.search(query, selection, PAGE, exact).unwrap();
            hits.into_iter().map(|hit| hit.id).collect::<Vec<_>>()
        };
        let exact = names(true);
        found += names(false).iter().filter(|id| exact.contains(id)).count();
    }
    let recall = found as f64 / (queries.len() * 10) as f64;
    assert!(recall > 0.95, "only {recall} was found");
}

#[test]
fn approximate_searches_find_nearly_all_and_follow_changes() {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let vectors = clustered(6200, 24);
        let (queries, vectors) = vectors.split_at(200);
        let index = Index::new(metric, 1000);
        put(&index, 0, &vectors[..4000]);
        index.optimise();
        let everything = Selection::default();
        check_recall(&index, queries, &everything);
        // Half of them change, and half as many are new.
        put(&index, 2000, &vectors[2000..]);
        check_recall(&index, queries, &everything);
        let half = Selection {
            scope: vec!["1".to_owned()],
            ..Selection::default()
        };
        check_recall(&index, queries, &half);
        // Deleted records are not found, remaining ones are.
        let (ticket, _) = index.begin();
        let gone = (0..5000).map(|number| (Arc::from(format!("{number:06}")), None));
        index.apply(ticket, gone.collect()).unwrap();
        index.end(ticket);
        assert_eq!(index.len(), 1000);
        for query in queries {
            let hits = index.search(query, &everything, PAGE, false).unwrap();
            assert_eq!(hits.len(), 10);
            assert!(hits.iter().all(|hit| *hit.id >= *"005000"));
        }
    }
}

#[test]
fn what_overlaps_with_another_change_is_read_again() {
    let index = Index::new(Metric::Cosine, usize::MAX);
    let record = |byte: u8| {
        Some(Record {
            value: vec![byte],
            ..Record::default()
        })
    };
    let id: Arc<str> = Arc::from("id");
    let (first, _) = index.begin();
    let (second, _) = index.begin();
    assert!(
        index
            .apply(second, vec![(Arc::clone(&id), record(2))])
            .unwrap()
    );
    assert!(
        !index
            .apply(first, vec![(Arc::clone(&id), record(1))])
            .unwrap()
    );
    index.end(first);
    index.end(second);
    let (third, doubtful) = index.begin();
    assert_eq!(doubtful, [Arc::clone(&id)]);
    assert!(index.apply(third, vec![(id, record(3))]).unwrap());
    index.end(third);
    let (fourth, doubtful) = index.begin();
    assert!(doubtful.is_empty());
    index.end(fourth);
    let everything = Page { limit: 1, ..PAGE };
    let hits = index.list(&Selection::default(), None, false, everything);
    assert_eq!(hits[0].record.value, [3]);
}
