//! Finding the parts that a value had before in the value as it is now.

use std::collections::HashMap;

use pyo3::ffi;
use pyo3::prelude::*;

use super::parts::{Container, Entry, Part, Stored, kind_of};

/// The parts that a value had before, to be found again wherever they went.
pub(super) struct Prior {
    parts: Vec<Option<Part>>,
    /// The part that is next if nothing changed.
    expected: usize,
    /// Parts by the address of their first item's value; made when first needed.
    by_first: Option<HashMap<*mut ffi::PyObject, usize>>,
    /// Parts that are cut themselves, by the address of their key.
    nested: HashMap<*mut ffi::PyObject, usize>,
}

impl Prior {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        let is_nested = |part: &Part| matches!(part.stored, Stored::Nested(..));
        let nested = parts.iter().enumerate().filter(|(_, part)| is_nested(part));
        let nested = nested
            .filter_map(|(at, part)| Some((part.items.first()?.key.as_ref()?.as_ptr(), at)))
            .collect();
        let parts = parts.into_iter().map(Some).collect();
        Self {
            parts,
            expected: 0,
            by_first: None,
            nested,
        }
    }

    /// Take the part that holds exactly the next items, if there is one.
    pub(super) fn take(&mut self, entries: &[Entry<'_>]) -> PyResult<Option<Part>> {
        let Some(position) = self.position(entries) else {
            return Ok(None);
        };
        if let Some(part) = &self.parts[position]
            && part.holds(entries)?
        {
            self.expected = position + 1;
            return Ok(self.parts[position].take());
        }
        Ok(None)
    }

    fn position(&mut self, entries: &[Entry<'_>]) -> Option<usize> {
        let first = entries.first()?.value.as_ptr();
        let starts_here = |part: &Option<Part>| part.as_ref().and_then(Part::first) == Some(first);
        if self.parts.get(self.expected).is_some_and(starts_here) {
            return Some(self.expected);
        }
        if self.parts.is_empty() {
            return None;
        }
        let by_first = self.by_first.get_or_insert_with(|| {
            let parts = self.parts.iter().enumerate();
            parts
                .filter_map(|(position, part)| Some((part.as_ref()?.first()?, position)))
                .collect()
        });
        by_first.get(&first).copied()
    }

    /// Take how the value of an entry was cut, if it was.
    pub(super) fn take_nested(&mut self, entry: &Entry<'_>) -> Option<Container> {
        let key = entry.key.as_ref()?.as_ptr();
        let kind = kind_of(&entry.value)?;
        let position = *self.nested.get(&key)?;
        if !matches!(&self.parts[position], Some(Part { stored: Stored::Nested(_, container), .. })
            if container.kind == kind)
        {
            return None;
        }
        match self.parts[position].take()?.stored {
            Stored::Nested(_, container) => Some(container),
            _ => None,
        }
    }
}
