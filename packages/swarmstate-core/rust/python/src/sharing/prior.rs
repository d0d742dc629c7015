//! Finds the previous parts of a value in its current state.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use pyo3::prelude::*;

use super::classes::Classes;
use super::parts::{Container, Entry, Part, Stored, kind_of};

/// Usually one or two items are new, and building a map takes longer than searching for these.
const FEW_SEARCHES: usize = 4;

/// The previous parts of a value, to be found wherever they moved.
pub(super) struct Prior {
    parts: Vec<Option<Part>>,
    /// The part that comes next if nothing changed.
    expected: usize,
    /// How often a part was searched for elsewhere.
    searches: usize,
    /// Parts by the address of their first item's value; built if there are many searches.
    by_first: Option<HashMap<usize, usize>>,
    /// Entries that are themselves cut, by the hash of their key.
    apart: HashMap<isize, usize>,
    /// The hashes of the keys of everything not taken; built on first use.
    keys: OnceCell<HashSet<isize>>,
}

/// Returns the entries that are themselves cut, by the hash of their key.
fn apart(py: Python<'_>, parts: &[Part]) -> HashMap<isize, usize> {
    let apart = parts.iter().enumerate().filter(|(_, part)| part.is_apart());
    apart
        .filter_map(|(at, part)| {
            let key = part.items.items.first()?.key.as_ref()?;
            Some((key.bind(py).hash().ok()?, at))
        })
        .collect()
}

/// Returns whether an item is the next state of an entry that is itself cut.
///
/// Keys are compared by value, because a caller that replaces an entry creates a new key.
fn is_next_of(entry: &Entry<'_>, part: &Part) -> bool {
    if let Stored::Nested(_, container) = &part.stored
        && kind_of(&entry.value) != Some(container.kind)
    {
        return false;
    }
    let key = part.items.items.first().and_then(|item| item.key.as_ref());
    let (Some(before), Some(now)) = (key, &entry.key) else {
        return false;
    };
    now.is(before) || now.eq(before).unwrap_or(false)
}

/// Returns whether any of these items is the next state of an entry that is itself cut.
pub(super) fn has_apart(py: Python<'_>, parts: &[Part], items: &[Entry<'_>]) -> bool {
    let apart = apart(py, parts);
    !apart.is_empty()
        && items.iter().any(|item| {
            let hash = item.key.as_ref().and_then(|key| key.hash().ok());
            let at = hash.and_then(|hash| apart.get(&hash));
            at.is_some_and(|at| is_next_of(item, &parts[*at]))
        })
}

impl Prior {
    pub(super) fn new(py: Python<'_>, parts: Vec<Part>) -> Self {
        let apart = apart(py, &parts);
        let parts = parts.into_iter().map(Some).collect();
        Self {
            parts,
            expected: 0,
            searches: 0,
            by_first: None,
            apart,
            keys: OnceCell::new(),
        }
    }

    /// Returns the parts that were not taken.
    pub(super) fn into_parts(self) -> Vec<Part> {
        self.parts.into_iter().flatten().collect()
    }

    /// Take the part that holds exactly the next items, if there is one.
    pub(super) fn take<'py>(
        &mut self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        entries: &[Entry<'py>],
    ) -> Option<Part> {
        let position = self.find(py, classes, entries)?;
        self.parts[position].take()
    }

    /// Returns the part that holds exactly the next items, if there is one.
    pub(super) fn part<'py>(
        &mut self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        entries: &[Entry<'py>],
    ) -> Option<&Part> {
        let position = self.find(py, classes, entries)?;
        self.parts[position].as_ref()
    }

    fn find<'py>(
        &mut self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        entries: &[Entry<'py>],
    ) -> Option<usize> {
        let position = self.position(entries)?;
        if !self.parts[position].as_mut()?.holds(py, classes, entries) {
            return None;
        }
        self.expected = position + 1;
        Some(position)
    }

    fn position(&mut self, entries: &[Entry<'_>]) -> Option<usize> {
        let first = entries.first()?.value.as_ptr() as usize;
        let starts_here =
            |part: &Option<Part>| part.as_ref().map(|part| part.items.first) == Some(first);
        if self.parts.get(self.expected).is_some_and(starts_here) {
            return Some(self.expected);
        }
        self.searches += 1;
        let found = if self.searches <= FEW_SEARCHES {
            self.parts.iter().position(starts_here)
        } else {
            let by_first = self.by_first.get_or_insert_with(|| {
                let parts = self.parts.iter().enumerate();
                parts
                    .filter_map(|(position, part)| Some((part.as_ref()?.items.first, position)))
                    .collect()
            });
            by_first.get(&first).copied()
        };
        // A different object may hold the same items as the previous one.
        found.or_else(|| (self.expected < self.parts.len()).then_some(self.expected))
    }

    /// Take how the value of an entry was cut, if it was.
    pub(super) fn take_nested(&mut self, entry: &Entry<'_>) -> Option<Container> {
        let position = self.find_nested(entry)?;
        match self.parts[position].take()?.stored {
            Stored::Nested(_, container) => Some(container),
            _ => None,
        }
    }

    /// Returns the encoded key of an entry, and how its value was cut, if it was.
    pub(super) fn nested(&mut self, entry: &Entry<'_>) -> Option<(&[u8], &mut Container)> {
        let position = self.find_nested(entry)?;
        match &mut self.parts[position].as_mut()?.stored {
            Stored::Nested(head, container) => Some((head, container)),
            _ => None,
        }
    }

    fn find_nested(&self, entry: &Entry<'_>) -> Option<usize> {
        if self.apart.is_empty() {
            return None;
        }
        let key = entry.key.as_ref()?;
        let position = *self.apart.get(&key.hash().ok()?)?;
        let part = self.parts[position].as_ref()?;
        let is_nested = matches!(part.stored, Stored::Nested(..));
        (is_nested && is_next_of(entry, part)).then_some(position)
    }

    /// Returns whether there was an entry with this key that has changed; occasionally true if
    /// there was not.
    pub(super) fn had(&self, key: &Bound<'_, PyAny>) -> bool {
        let keys = self.keys.get_or_init(|| {
            let items = (self.parts.iter().flatten()).flat_map(|part| part.items.items.iter());
            let keys = items.filter_map(|item| item.key.as_ref()?.bind(key.py()).hash().ok());
            keys.collect()
        });
        key.hash().is_ok_and(|hash| keys.contains(&hash))
    }
}
