//! The records of an index, without their vectors: ids, values and attributes.

use std::collections::HashMap;
use std::sync::Arc;

use rmpv::ValueRef;

use super::column::Column;
use super::filter::{Filter, field};
use super::scope;

/// Which records are meant; the default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those whose scope begins with these segments.
    pub scope: Vec<String>,
    /// Those that have any of these categories, if there are any here.
    pub categories: Vec<String>,
    /// Those whose value meets this.
    pub filter: Option<Filter>,
}

impl Selection {
    pub(super) fn is_everything(&self) -> bool {
        self.scope.is_empty()
            && self.categories.is_empty()
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.fields.is_empty())
    }
}

pub(super) struct Entry {
    pub id: Arc<str>,
    pub value: Box<[u8]>,
    /// Rows of the matrix that hold its vectors.
    pub rows: Vec<u32>,
}

#[derive(Default)]
pub(super) struct Table {
    /// By record number; `None` where the number is free.
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_id: HashMap<Arc<str>, u32>,
    scopes: Column,
    categories: Column,
    /// By the name of a field; made when a filter first asks for it.
    fields: HashMap<String, Column>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn entry(&self, record: u32) -> Option<&Entry> {
        self.entries.get(record as usize)?.as_ref()
    }

    pub fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(record, entry)| Some((record as u32, entry.as_ref()?)))
    }

    pub fn scope(&self, record: u32) -> Vec<String> {
        self.scopes
            .get(record)
            .map_or_else(Vec::new, |value| scope::decode(&value.bytes))
    }

    pub fn categories(&self, record: u32) -> Vec<String> {
        self.categories
            .get(record)
            .map_or_else(Vec::new, |value| scope::decode(&value.bytes))
    }

    /// Adds a record under an id that is not there; returns its number.
    pub fn insert(&mut self, entry: Entry, scope: &[String], categories: &[String]) -> u32 {
        let record = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.scopes.set(record, &scope::encode(scope));
        self.categories.set(record, &scope::encode(categories));
        if !self.fields.is_empty() {
            let value = parse(&entry.value);
            for (name, column) in &mut self.fields {
                column.set(record, &field_bytes(&value, name));
            }
        }
        self.by_id.insert(Arc::clone(&entry.id), record);
        self.entries[record as usize] = Some(entry);
        record
    }

    pub fn remove(&mut self, id: &str) -> Option<Entry> {
        let record = self.by_id.remove(id)?;
        self.scopes.unset(record);
        self.categories.unset(record);
        for column in self.fields.values_mut() {
            column.unset(record);
        }
        self.free.push(record);
        self.entries[record as usize].take()
    }

    /// Tells whether the columns that a selection needs are there.
    pub fn is_ready(&self, selection: &Selection, order: Option<&str>) -> bool {
        names(selection, order).all(|name| self.fields.contains_key(name))
    }

    /// Makes the columns that a selection needs.
    pub fn prepare(&mut self, selection: &Selection, order: Option<&str>) {
        for name in names(selection, order) {
            if self.fields.contains_key(name) {
                continue;
            }
            let mut column = Column::default();
            for (record, entry) in self.entries() {
                column.set(record, &field_bytes(&parse(&entry.value), name));
            }
            self.fields.insert(name.to_owned(), column);
        }
    }

    /// Tells by record number which records are selected; the columns must be there.
    pub fn select(&self, selection: &Selection) -> Vec<bool> {
        let mut allowed: Vec<bool> = self.entries.iter().map(Option::is_some).collect();
        if !selection.scope.is_empty() {
            let prefix = scope::encode(&selection.scope);
            self.scopes
                .keep(&mut allowed, |value| value.bytes.starts_with(&prefix));
        }
        if !selection.categories.is_empty() {
            self.categories.keep(&mut allowed, |value| {
                scope::decode(&value.bytes)
                    .iter()
                    .any(|category| selection.categories.contains(category))
            });
        }
        for (name, condition) in selection.filter.iter().flat_map(|filter| &filter.fields) {
            let Some(column) = self.fields.get(name) else {
                continue;
            };
            column.keep(&mut allowed, |value| {
                // NaN is a number to no condition, and no number is NaN to `float`.
                let quick = (!value.number.is_nan())
                    .then(|| condition.holds_number(value.number))
                    .flatten();
                quick.unwrap_or_else(|| condition.holds(&parse(&value.bytes)))
            });
        }
        allowed
    }

    /// Returns the field of a record as encoded, and as a number; its column must be there.
    pub fn field(&self, record: u32, name: &str) -> Option<(&[u8], f64)> {
        let value = self.fields.get(name)?.get(record)?;
        Some((&value.bytes, value.number))
    }

    /// Returns the distinct scopes, and how many records have each.
    pub fn count_scopes(&self) -> impl Iterator<Item = (Vec<String>, usize)> {
        self.scopes
            .distinct()
            .map(|value| (scope::decode(&value.bytes), value.count))
    }
}

fn names<'a>(
    selection: &'a Selection,
    order: Option<&'a str>,
) -> impl Iterator<Item = &'a str> + use<'a> {
    selection
        .filter
        .iter()
        .flat_map(|filter| &filter.fields)
        .map(|(name, _)| name.as_str())
        .chain(order)
}

fn parse(bytes: &[u8]) -> ValueRef<'_> {
    // What is no msgpack was refused when it came; a value too deep to look at matches nothing.
    rmpv::decode::read_value_ref(&mut &*bytes).unwrap_or(ValueRef::Nil)
}

fn field_bytes(value: &ValueRef<'_>, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let found = match value {
        ValueRef::Map(entries) => field(entries, name),
        _ => &ValueRef::Nil,
    };
    // Writing to memory cannot fail.
    let _ = rmpv::encode::write_value_ref(&mut bytes, found);
    bytes
}
