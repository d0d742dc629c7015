//! Merges the items of a list or dict, both new ones and those of existing parts, into the parts
//! that are stored.

use pyo3::prelude::*;
use swarmstate_engine::segments::{Segment, merge_dict, merge_list};

use super::cut::Cutter;
use super::parts::{Entry, Item, Items, Kind, Made, Part};
use super::source::Source;

impl<'py> Cutter<'_, 'py> {
    /// Merge a run of parts that are not themselves cut, and store new ones.
    pub(super) fn join(
        &mut self,
        joining: &mut Joining<'_, 'py>,
        run: &mut Vec<Source>,
    ) -> PyResult<()> {
        let sizes: Vec<Segment> = run.iter().map(Source::size).collect();
        let merges = match joining.kind {
            Kind::List => merge_list(&sizes),
            Kind::Dict => merge_dict(&sizes),
        };
        let mut sources = run.drain(..);
        for merge in merges {
            if merge.len() > 1 {
                let (items, made, data) =
                    self.merge(joining, sources.by_ref().take(merge.len()))?;
                let part = self.part(joining.items(items, made), &data, false)?;
                joining.push(part);
                continue;
            }
            match sources.next() {
                Some(Source::New { item, encoded }) => {
                    let items = joining.items(vec![item], Vec::new());
                    let part = self.part(items, &joining.buffer[encoded], true)?;
                    joining.push(part);
                }
                Some(Source::Kept(part)) => {
                    self.relies |= part.has_blob();
                    joining.push(part);
                }
                Some(Source::Apart { .. }) | None => {}
            }
        }
        Ok(())
    }

    /// Returns the items of neighboring parts and their encoding; items of old parts are encoded
    /// again.
    fn merge(
        &mut self,
        joining: &Joining<'_, 'py>,
        sources: impl Iterator<Item = Source>,
    ) -> PyResult<(Vec<Item>, Vec<Made>, Vec<u8>)> {
        let mut items = Vec::new();
        let mut made = Vec::new();
        let mut data = Vec::new();
        let first = joining.done;
        for source in sources {
            match source {
                Source::New { item, encoded } => {
                    data.extend_from_slice(&joining.buffer[encoded]);
                    items.push(item);
                }
                Source::Kept(part) => {
                    let at = first + items.len();
                    for entry in &joining.entries[at..at + part.items.len()] {
                        if let Some(key) = &entry.key {
                            self.encode(&mut data, key, joining.depth + 1)?;
                        }
                        self.encode(&mut data, &entry.value, joining.depth + 1)?;
                    }
                    made.resize_with(items.len(), || None);
                    made.extend(part.items.made);
                    items.extend(part.items.items.iter().map(|item| item.clone_ref(self.py)));
                }
                Source::Apart { .. } => {}
            }
        }
        Ok((items, made, data))
    }
}

/// A list or dict whose parts are being joined.
pub(super) struct Joining<'a, 'py> {
    pub(super) kind: Kind,
    pub(super) entries: &'a [Entry<'py>],
    /// The encodings of the new items.
    pub(super) buffer: &'a [u8],
    pub(super) depth: usize,
    pub(super) parts: Vec<Part>,
    /// The number of items in the parts so far.
    pub(super) done: usize,
}

impl Joining<'_, '_> {
    /// Returns the next items.
    pub(super) fn items(&self, items: Vec<Item>, made: Vec<Made>) -> Items {
        let first = self.entries.get(self.done);
        Items::new(
            items,
            first.map_or(0, |entry| entry.value.as_ptr() as usize),
            made,
        )
    }

    pub(super) fn push(&mut self, part: Part) {
        self.done += part.items.len();
        self.parts.push(part);
    }
}
