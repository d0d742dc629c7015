//! Joins a list or dict from its pieces, item by item.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::feed::{Feed, Piece, Target};
use super::held::Held;
use super::join::{Joiner, Remembers};
use super::parts::{Container, Item, Items, Kind, Part, Seen, Stored};
use super::whole::Large;
use super::witness::{Notes, note};
use crate::codec::{DecodeError, Item as Read};

/// The maximum nesting of containers that are cut.
const MAX_NESTING: usize = 16;

impl<'py> Joiner<'_, 'py> {
    /// Read a list or dict from its pieces; None if they are not cut between items.
    pub(super) fn join_container(
        &mut self,
        pieces: &mut [Piece<'py>],
        held: &mut Held,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Container)>> {
        let mut buffer = Vec::new();
        for piece in &mut *pieces {
            if piece.start.is_some() {
                piece.start = Some(buffer.len());
                buffer.extend_from_slice(piece.as_bytes());
            }
        }
        let mut feed = Feed::new(self.codec.item_reader(self.py, &buffer)?, pieces);
        let Some(header) = feed.header() else {
            return Ok(None);
        };
        // Decoding the value as a whole reports what goes wrong here.
        match self.container(&mut feed, header, held, 0) {
            Ok(Some(read)) if feed.is_at_end() => Ok(Some(read)),
            Ok(_) => Ok(None),
            Err(error) if error.is_instance_of::<DecodeError>(self.py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Read the items of a container whose header has been read.
    fn container(
        &mut self,
        feed: &mut Feed<'_, '_, 'py>,
        (kind, len): (Kind, usize),
        held: &mut Held,
        depth: usize,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Container)>> {
        if depth == MAX_NESTING {
            return Ok(None);
        }
        let mut target = match kind {
            Kind::List => Target::List(Vec::with_capacity(len.min(feed.size()))),
            Kind::Dict => Target::Dict(PyDict::new(self.py)),
        };
        let mut parts = Vec::new();
        let mut left = len;
        while left > 0 {
            let Some(piece) = feed.piece() else {
                return Ok(None);
            };
            let part = match piece.blob {
                Some(blob) => {
                    let bytes = piece.size;
                    let known = held.parts.get_mut(&blob).map(|run| &mut run.items);
                    let items = match (known, piece.start) {
                        (Some(known), None) => self.copies(known, kind, &mut target)?,
                        (known, Some(_)) => {
                            self.run(feed, kind, depth, left, known, &mut target)?
                        }
                        (None, None) => None,
                    };
                    let Some(items) = items.filter(|items| items.len() <= left) else {
                        return Ok(None);
                    };
                    feed.leave_piece();
                    Part {
                        items,
                        bytes,
                        stored: Stored::Blob(blob),
                    }
                }
                None => match self.entry(feed, kind, held, depth, &mut target)? {
                    Some(part) => part,
                    None => return Ok(None),
                },
            };
            left -= part.items.len();
            parts.push(part);
        }
        Ok(Some((target.finish(self.py)?, Container { kind, parts })))
    }

    /// Hand out or copy the items of a known part; None if that is not possible.
    fn copies(
        &mut self,
        known: &mut Items,
        kind: Kind,
        target: &mut Target<'py>,
    ) -> PyResult<Option<Items>> {
        let mut first = 0;
        let mut made = Vec::with_capacity(known.len());
        let mut notes = self.notes();
        for index in 0..known.len() {
            let Some(value) = self.ready(known, index, &mut notes)? else {
                return Ok(None);
            };
            if index == 0 {
                first = value.as_ptr() as usize;
            }
            if self.remembers == Remembers::Values {
                made.push(Some(value.clone().unbind()));
            }
            match (kind, &known.items[index].key) {
                (Kind::List, None) => target.push(None, value)?,
                (Kind::Dict, Some(key)) => target.push(Some(key.bind(self.py).clone()), value)?,
                _ => return Ok(None),
            }
        }
        let mut items = known.with_values(first, made);
        if let Some(notes) = notes {
            items.witness = Some(notes.witness());
        }
        Ok(Some(items))
    }

    /// Returns notes on what values consist of while they are made, if the values may be put again:
    /// then the first put need not examine them.
    fn notes(&self) -> Option<Notes> {
        let versions = self.classes.versions;
        versions
            .filter(|_| self.remembers == Remembers::Values)
            .map(Notes::new)
    }

    /// Returns the value of a known item without decoding it, either the one handed out before or a
    /// copy; None if there is neither. Only copies are noted, and either all items or none.
    fn ready(
        &mut self,
        known: &mut Items,
        index: usize,
        notes: &mut Option<Notes>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(made) = known.take_made(index) {
            *notes = None;
            return Ok(Some(made.into_bound(self.py)));
        }
        let seen = &known.items[index].seen;
        let Some(template) = &seen.template else {
            return Ok(None);
        };
        let copy = template.copy(self.py, &mut self.classes, notes)?;
        // A witness of values must not outlive their shadows.
        if copy.is_none() || seen.shadow.is_none() {
            *notes = None;
        }
        if let (Some(notes), Some(copy)) = (notes, &copy) {
            notes.root(copy);
        }
        Ok(copy)
    }

    /// Read a blob's run of at most `left` items; known items are not decoded.
    fn run(
        &mut self,
        feed: &mut Feed<'_, '_, 'py>,
        kind: Kind,
        depth: usize,
        left: usize,
        mut known: Option<&mut Items>,
        target: &mut Target<'py>,
    ) -> PyResult<Option<Items>> {
        let mut items = Vec::new();
        let mut made = Vec::new();
        // Values requested for the first time may only be read.
        let mut notes = known.as_ref().and_then(|_| self.notes());
        let mut first = 0;
        while !feed.is_at_piece_end() {
            if items.len() == left {
                return Ok(None);
            }
            let key = match kind {
                Kind::List => None,
                Kind::Dict => match feed.key()? {
                    Some(key) => Some(key),
                    None => return Ok(None),
                },
            };
            let index = items.len();
            let before = match known.as_deref_mut() {
                Some(known) if index < known.len() => match self.ready(known, index, &mut notes)? {
                    Some(value) => Some((known.items[index].clone_ref(self.py), value)),
                    None => None,
                },
                _ => None,
            };
            let (item, key, value, is_plain) = match before {
                Some((item, value)) => {
                    feed.skip();
                    (item, key, value, true)
                }
                None => {
                    let read = feed.value(key, depth + 1)?;
                    let item = self.item(&read, known.is_some())?;
                    self.note(&read, &item, &mut notes);
                    (item, read.key, read.value, read.is_plain)
                }
            };
            if items.is_empty() {
                first = value.as_ptr() as usize;
            }
            items.push(item);
            if self.remembers == Remembers::Values {
                made.push(is_plain.then(|| value.clone().unbind()));
            }
            target.push(key, value)?;
        }
        if items.is_empty() {
            return Ok(None);
        }
        let mut items = Items::new(items, first, made);
        items.witness = notes.map(Notes::witness);
        Ok(Some(items))
    }

    /// Note what a decoded item consists of.
    fn note(&self, read: &Read<'py>, item: &Item, notes: &mut Option<Notes>) {
        note(notes, |notes| {
            if !read.is_plain || item.seen.shadow.is_none() {
                return None;
            }
            notes.value(&self.classes, &read.value)?;
            notes.root(&read.value);
            Some(())
        });
    }

    /// Read one item that is in the record itself, or an entry that is cut.
    fn entry(
        &mut self,
        feed: &mut Feed<'_, '_, 'py>,
        kind: Kind,
        held: &mut Held,
        depth: usize,
        target: &mut Target<'py>,
    ) -> PyResult<Option<Part>> {
        let start = feed.position();
        let key = match kind {
            Kind::List => None,
            Kind::Dict => match feed.key()? {
                Some(key) => Some(key),
                None => return Ok(None),
            },
        };
        if key.is_some() && !feed.holds_next() {
            let head = feed.since(start).into();
            let Some(header) = feed.header() else {
                return self.chunked(feed, (key, head), held, depth, target);
            };
            let Some((value, container)) = self.container(feed, header, held, depth + 1)? else {
                return Ok(None);
            };
            let item = Item {
                key: key.as_ref().map(|key| key.clone().unbind()),
                seen: Seen::default(),
            };
            let first = value.as_ptr() as usize;
            target.push(key, value)?;
            return Ok(Some(Part {
                items: Items::new(vec![item], first, Vec::new()),
                bytes: 0,
                stored: Stored::Nested(head, container),
            }));
        }
        let read = feed.value(key, depth + 1)?;
        let data = feed.since(start);
        let first = read.value.as_ptr() as usize;
        let items = Items::new(vec![self.item(&read, false)?], first, Vec::new());
        target.push(read.key, read.value)?;
        Ok(Some(Part {
            items,
            bytes: data.len(),
            stored: Stored::Inline(data.into()),
        }))
    }

    /// Read the value of an entry that is cut by content.
    fn chunked(
        &mut self,
        feed: &mut Feed<'_, '_, 'py>,
        (key, encoded_key): (Option<Bound<'py, PyAny>>, Box<[u8]>),
        held: &mut Held,
        depth: usize,
        target: &mut Target<'py>,
    ) -> PyResult<Option<Part>> {
        let (head, blobs) = feed.rest();
        let head: Box<[u8]> = head.into();
        let blobs: Vec<_> = blobs.collect();
        let known = blobs
            .first()
            .and_then(|(first, _)| held.chunked.get_mut(first))
            .filter(|known| known.large.begins(&head, &blobs));
        let is_known = known.is_some();
        let ready = match known {
            Some(known) => self.ready(&mut known.items, 0, &mut None)?.map(|value| {
                let item = known.items.items[0].clone_ref(self.py);
                (item, value, known.large.clone())
            }),
            None => None,
        };
        let (item, key, value, large, is_plain) = match ready {
            Some((item, value, large)) => {
                feed.leave_pieces(large.blobs().count());
                (item, key, value, large, true)
            }
            None => {
                let Some((read, count)) = feed.long_value(key, depth + 1)? else {
                    return Ok(None);
                };
                let large = Large::new(&head, &blobs[..count]);
                let item = self.item(&read, is_known)?;
                (item, read.key, read.value, large, read.is_plain)
            }
        };
        let first = value.as_ptr() as usize;
        let made = match self.remembers {
            Remembers::Values => vec![is_plain.then(|| value.clone().unbind())],
            _ => Vec::new(),
        };
        target.push(key, value)?;
        Ok(Some(Part {
            items: Items::new(vec![item], first, made),
            bytes: large.size(),
            stored: Stored::Chunked(encoded_key, large),
        }))
    }

    fn item(&mut self, read: &Read<'py>, is_known: bool) -> PyResult<Item> {
        Ok(Item {
            key: read.key.as_ref().map(|key| key.clone().unbind()),
            seen: self.seen(read, is_known)?,
        })
    }
}
