//! One shard: some of the namespaces, with the operations on them.

use std::ops::Bound;
use std::sync::Arc;

use super::deadlines::Deadlines;
use super::{Names, Records};
use crate::error::{Error, Result};
use crate::plane::{Answer, Batch, Expect, Expiry, Query, Range, Value, prefix_end};

/// Some of a store's namespaces.
///
/// A namespace is in `names` while it holds a record, and has a deadline only while it is in
/// `names`. An expired namespace may still be in both: it is invisible, and the next write to it or
/// the next sweep removes it.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) names: Names,
    pub(super) deadlines: Deadlines,
    /// Counts writes, to pace sweeps of other shards.
    pub(super) writes: u32,
}

impl Shard {
    /// Returns the records of a namespace that exists at `now`.
    pub(super) fn records(&self, namespace: &str, now: i64) -> Option<&Records> {
        if self.deadlines.is_past(namespace, now) {
            return None;
        }
        self.names.get(namespace)
    }

    /// Returns the records of the namespace a query reads, and its expiry if requested.
    pub(super) fn view(&self, query: &Query, now: i64) -> Option<(Records, Option<Expiry>)> {
        let records = self.records(&query.namespace, now)?.clone();
        let expiry = query
            .ask_expiry
            .then(|| self.deadlines.get(&query.namespace));
        Some((records, expiry))
    }

    /// Removes up to `limit` namespaces that have expired.
    pub(super) fn sweep(&mut self, now: i64, limit: usize) {
        for _ in 0..limit {
            match self.deadlines.pop_past(now) {
                Some(name) => self.names.remove(&name),
                None => return,
            };
        }
    }

    pub(super) fn remove(&mut self, namespace: &str) {
        self.names.remove(namespace);
        self.deadlines.remove(namespace);
    }

    /// Removes a namespace if it has expired; readers already treat it as absent.
    pub(super) fn settle(&mut self, namespace: &str, now: i64) {
        if self.deadlines.is_past(namespace, now) {
            self.remove(namespace);
        }
    }

    pub(super) fn set_expiry(&mut self, namespace: &str, expiry: Expiry, now: i64) {
        self.settle(namespace, now);
        if self.names.contains_key(namespace) {
            self.deadlines.set(namespace, expiry);
        }
    }

    /// Writes one record, like a batch with one put but without building the batch.
    pub(super) fn put(&mut self, namespace: &str, key: &str, value: Value, now: i64) {
        self.settle(namespace, now);
        match self.names.get_mut(namespace) {
            Some(records) => insert(records, key, value),
            None => {
                let records = Records::unit(Arc::from(key), value);
                self.names.insert(Arc::from(namespace), records);
            }
        }
    }

    /// Deletes one record and returns whether it existed.
    pub(super) fn delete(&mut self, namespace: &str, key: &str, now: i64) -> bool {
        self.settle(namespace, now);
        let Some(records) = self.names.get_mut(namespace) else {
            return false;
        };
        let found = records.remove(key).is_some();
        if records.is_empty() {
            self.remove(namespace);
        }
        found
    }

    /// Applies a batch; on an error nothing is changed.
    pub(super) fn apply(&mut self, batch: &Batch, now: i64) -> Result<()> {
        let namespace = batch.namespace.as_str();
        if let Some(expect) = &batch.expect {
            check(expect, self.records(namespace, now), namespace)?;
        }
        for (key, expected) in &batch.expect_values {
            let records = self.records(namespace, now);
            let found = records.and_then(|records| records.get(key.as_str()));
            if found != expected.as_ref() {
                let (expected, found) = (expected.is_some(), found.is_some());
                return Err(Error::value_conflict(namespace, key, expected, found));
            }
        }
        self.settle(namespace, now);
        if batch.clear {
            self.remove(namespace);
        }
        match self.names.get_mut(namespace) {
            Some(records) => {
                change(records, batch);
                if records.is_empty() {
                    self.remove(namespace);
                }
            }
            None => {
                let mut records = Records::new();
                change(&mut records, batch);
                if !records.is_empty() {
                    self.names.insert(Arc::from(namespace), records);
                }
            }
        }
        if let Some(expiry) = batch.expiry {
            self.set_expiry(namespace, expiry, now);
        }
        Ok(())
    }
}

/// Answers a query from the records of its namespace.
pub(super) fn answer(query: &Query, found: Option<(Records, Option<Expiry>)>) -> Answer {
    let Some((records, expiry)) = found else {
        return Answer {
            values: vec![None; query.keys.len()],
            ranges: vec![Vec::new(); query.ranges.len()],
            expiry: None,
        };
    };
    Answer {
        values: query
            .keys
            .iter()
            .map(|key| records.get(key.as_str()).cloned())
            .collect(),
        ranges: query
            .ranges
            .iter()
            .map(|range| read_range(&records, range))
            .collect(),
        expiry,
    }
}

fn read_range(records: &Records, range: &Range) -> Vec<(Arc<str>, Value)> {
    let limit = range.limit.unwrap_or(usize::MAX);
    if is_empty_range(&range.start, range.stop.as_deref()) || limit == 0 {
        return Vec::new();
    }
    let found = records.range::<_, str>(bounds(&range.start, range.stop.as_deref()));
    let nothing: Value = Arc::default();
    let record = |(key, value): (&Arc<str>, &Value)| {
        let value = if range.keys_only { &nothing } else { value };
        (Arc::clone(key), Arc::clone(value))
    };
    if range.reverse {
        found.rev().take(limit).map(record).collect()
    } else {
        found.take(limit).map(record).collect()
    }
}

/// Checks an expectation against the records as they are before the batch.
fn check(expect: &Expect, records: Option<&Records>, namespace: &str) -> Result<()> {
    let end = prefix_end(&expect.prefix);
    let last = records
        .and_then(|records| {
            records
                .range::<_, str>(bounds(&expect.prefix, end.as_deref()))
                .next_back()
        })
        .map(|(key, _)| &**key);
    if last == expect.last_key.as_deref() {
        return Ok(());
    }
    Err(Error::conflict(namespace, expect, last))
}

/// Makes the changes of a batch in their documented order.
fn change(records: &mut Records, batch: &Batch) {
    for (start, stop) in &batch.delete_ranges {
        if is_empty_range(start, stop.as_deref()) {
            continue;
        }
        let keys: Vec<Arc<str>> = records
            .range::<_, str>(bounds(start, stop.as_deref()))
            .map(|(key, _)| Arc::clone(key))
            .collect();
        for key in keys {
            records.remove(&key);
        }
    }
    for key in &batch.delete {
        records.remove(key.as_str());
    }
    for (key, value) in &batch.put_if_absent {
        if !records.contains_key(key.as_str()) {
            records.insert(Arc::from(key.as_str()), Arc::clone(value));
        }
    }
    for (key, value) in &batch.put {
        insert(records, key, Arc::clone(value));
    }
}

/// Inserts a record, reusing an existing key: replacing a value allocates no new key.
fn insert(records: &mut Records, key: &str, value: Value) {
    match records.get_mut(key) {
        Some(slot) => *slot = value,
        None => {
            records.insert(Arc::from(key), value);
        }
    }
}

fn bounds<'a>(start: &'a str, stop: Option<&'a str>) -> (Bound<&'a str>, Bound<&'a str>) {
    (
        Bound::Included(start),
        stop.map_or(Bound::Unbounded, Bound::Excluded),
    )
}

/// Returns whether a range cannot contain any key; the maps reject such bounds.
fn is_empty_range(start: &str, stop: Option<&str>) -> bool {
    stop.is_some_and(|stop| stop <= start)
}
