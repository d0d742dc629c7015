//! The records of an index, without their vectors: ids, values and attributes.

use std::collections::HashMap;
use std::sync::Arc;

use rmpv::ValueRef;

use super::column::Column;
use super::filter::{Filter, field_at};
use super::predicate::Predicate;
use super::scope;

/// Which records to select; all by default.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Records whose scope begins with these segments.
    pub scope: Vec<String>,
    /// Records with any of these categories; no restriction if empty.
    pub categories: Vec<String>,
    /// Records whose value meets this filter.
    pub filter: Option<Filter>,
}

impl Selection {
    pub(super) fn is_everything(&self) -> bool {
        self.scope.is_empty()
            && self.categories.is_empty()
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.terms.is_empty())
    }
}

/// If there are more columns of fields than this, those that a new filter does not need are
/// dropped. Each costs memory and part of every write, and callers may filter by fields that no
/// record has.
const MOST_FIELDS: usize = 256;

pub(super) struct Entry {
    pub id: Arc<str>,
    pub value: Box<[u8]>,
    /// Rows of the matrix that hold its vectors.
    pub rows: Vec<u32>,
}

#[derive(Default)]
pub(super) struct Table {
    /// By record number; `None` if the number is free.
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_id: HashMap<Arc<str>, u32>,
    pub scopes: Column,
    pub categories: Column,
    /// By path of the field; created when a filter first needs it.
    pub fields: HashMap<Vec<String>, Column>,
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
        scope::decode(encoded(&self.scopes, record))
    }

    pub fn categories(&self, record: u32) -> Vec<String> {
        scope::decode(encoded(&self.categories, record))
    }

    /// Returns a record with its number.
    pub fn find(&self, id: &str) -> Option<(u32, &Entry)> {
        let record = *self.by_id.get(id)?;
        Some((record, self.entry(record)?))
    }

    /// Returns the scope and categories of a record, encoded by `scope::encode`.
    pub fn labels(&self, record: u32) -> (&[u8], &[u8]) {
        (
            encoded(&self.scopes, record),
            encoded(&self.categories, record),
        )
    }

    /// Adds a record with a new id; returns its number.
    ///
    /// Scope and categories are encoded by `scope::encode`.
    pub fn insert(&mut self, entry: Entry, scope: &[u8], categories: &[u8]) -> u32 {
        let record = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.scopes.set(record, scope);
        self.categories.set(record, categories);
        if !self.fields.is_empty() {
            let value = parse(&entry.value);
            for (path, column) in &mut self.fields {
                set_field(column, record, &value, path);
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

    /// Returns whether the columns that a selection needs exist.
    pub fn is_ready(&self, selection: &Selection, order: Option<&str>) -> bool {
        paths(selection, order).all(|path| self.fields.contains_key(&path))
    }

    /// Drops columns that a selection does not need, if there are many.
    pub fn forget_fields(&mut self, selection: &Selection, order: Option<&str>) {
        let needed: Vec<_> = paths(selection, order).collect();
        let new = (needed.iter()).filter(|path| !self.fields.contains_key(*path));
        if self.fields.len() + new.count() > MOST_FIELDS {
            self.fields.retain(|path, _| needed.contains(path));
        }
    }

    /// Creates the columns that a selection needs.
    pub fn prepare(&mut self, selection: &Selection, order: Option<&str>) {
        for path in paths(selection, order) {
            if self.fields.contains_key(&path) {
                continue;
            }
            let mut column = Column::default();
            for (record, entry) in self.entries() {
                set_field(&mut column, record, &parse(&entry.value), &path);
            }
            self.fields.insert(path, column);
        }
    }

    /// Returns the predicate for a selection; its columns must exist.
    pub fn predicate<'a>(&'a self, selection: &'a Selection) -> Predicate<'a> {
        Predicate::new(self, selection)
    }

    /// Returns whether each record exists, by record number.
    pub fn exists(&self) -> impl Iterator<Item = bool> {
        self.entries.iter().map(Option::is_some)
    }

    /// Returns the number of record numbers, including free ones.
    pub fn numbers(&self) -> usize {
        self.entries.len()
    }

    /// Returns a field of a record, encoded and as a number; its column must exist.
    pub fn field(&self, record: u32, name: &str) -> Option<(&[u8], f64)> {
        let column = self.fields.get(std::slice::from_ref(&name.to_owned()))?;
        Some(column.value(column.code(record)?))
    }

    /// Returns the distinct scopes, with the number of records in each.
    pub fn count_scopes(&self) -> impl Iterator<Item = (Vec<String>, usize)> {
        self.scopes
            .distinct()
            .map(|(value, count)| (scope::decode(value), count))
    }
}

fn encoded(column: &Column, record: u32) -> &[u8] {
    column.code(record).map_or(&[], |code| column.value(code).0)
}

fn paths(selection: &Selection, order: Option<&str>) -> impl Iterator<Item = Vec<String>> {
    selection
        .filter
        .iter()
        .flat_map(|filter| &filter.terms)
        .map(|term| term.path.clone())
        .chain(order.map(|name| vec![name.to_owned()]))
}

pub(super) fn parse(bytes: &[u8]) -> ValueRef<'_> {
    // Invalid msgpack was rejected on arrival; a value nested too deeply to parse matches nothing.
    rmpv::decode::read_value_ref(&mut &*bytes).unwrap_or(ValueRef::Nil)
}

/// Sets a column from the field at a path; if a value above it is not a map, the record gets no
/// value.
fn set_field(column: &mut Column, record: u32, value: &ValueRef<'_>, path: &[String]) {
    if let Some(found) = field_at(value, path) {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = rmpv::encode::write_value_ref(&mut bytes, found);
        column.set(record, &bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Index, Metric, Page, Record};
    use super::*;

    fn encode(name: &str, value: u64) -> Vec<u8> {
        let value = rmpv::Value::Map(vec![(name.into(), value.into())]);
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &value).unwrap();
        bytes
    }

    #[test]
    fn filters_that_name_ever_new_fields_leave_no_more_columns_than_a_few() {
        let index = Index::new(Metric::Cosine, usize::MAX);
        let (ticket, _) = index.begin();
        let record = Record {
            value: encode("there", 1),
            ..Record::default()
        };
        index
            .apply(ticket, vec![("id".into(), Some(record))])
            .unwrap();
        index.end(ticket);
        let found = |name: &str| {
            let selection = Selection {
                filter: Some(Filter::parse(&encode(name, 1)).unwrap()),
                ..Selection::default()
            };
            let page = Page {
                limit: 10,
                offset: 0,
                embeddings: false,
            };
            index.list(&selection, None, false, page).len()
        };
        for number in 0..3 * MOST_FIELDS {
            assert_eq!(found(&format!("not there {number}")), 0);
            assert_eq!(found("there"), 1);
        }
        let columns = index.inner().read().table.fields.len();
        assert!((1..=MOST_FIELDS).contains(&columns), "{columns} columns");
    }
}
