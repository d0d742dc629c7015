//! Joining the pieces of a value again.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PySequence, PyString, PyTuple};

use super::blobs::{CheckpointError, find, hashes};
use super::classes::Classes;
use super::feed::{Feed, Piece, Target};
use super::held::Held;
use super::parts::{Container, Cut, Item, Items, Kind, Part, Seen, Stored, Whole};
use super::shadow::Shadow;
use super::template::Template;
use crate::codec::{Codec, CollectorPause, Item as Read};

/// How deeply containers are cut within one another, at most.
const MAX_NESTING: usize = 16;

/// What is remembered of the values that are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembers {
    Nothing,
    /// What they consist of: it is recognized when they are put, and handed out again.
    Values,
    /// How to copy them: they are only read, and others follow that share what they consist of.
    Copies,
}

/// Joins the values of one state.
pub(super) struct Joiner<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) codec: &'a Codec,
    /// The blobs that are referred to, by name.
    pub(super) blobs: &'a Bound<'py, PyDict>,
    pub(super) classes: Classes<'py>,
    pub(super) remembers: Remembers,
    /// Whether something that was to be copied cannot be, and was not read.
    pub(super) lacks: bool,
}

impl<'py> Joiner<'_, 'py> {
    /// Decode a value from its entry, and say how it was cut if that is to be remembered.
    pub(super) fn join(
        &mut self,
        name: &str,
        entry: &Bound<'py, PyAny>,
        held: &mut Held,
    ) -> PyResult<(Bound<'py, PyAny>, Option<Cut>)> {
        let entry = entry.cast::<PySequence>()?.to_tuple()?;
        let tag = entry.get_item(0)?;
        let tag = tag.cast::<PyString>()?.to_str()?;
        if entry.len() == 2
            && let Ok(data) = entry.get_item(1)?.cast::<PyBytes>()
        {
            return Ok((self.decode(name, tag, data.as_bytes())?, None));
        }
        let mut pieces = self.pieces(name, &entry, held)?;
        let size = pieces.iter().map(|piece| piece.size).sum();
        let _pause = CollectorPause::for_size(self.py, size);
        if tag == "msgpack"
            && pieces.len() > 1
            && let Some((value, container)) = self.join_container(&mut pieces, held)?
        {
            let cut = self.cut(|| Cut::of_container(entry.unbind(), container));
            return Ok((value, cut));
        }
        let single = match &*pieces {
            [piece] => piece.blob,
            _ => None,
        };
        let before = (held.whole.as_ref()).filter(|(known, ..)| Some(*known) == single);
        if let Some((blob, seen, size)) = before
            && let Some(template) = &seen.template
            && let Some(value) = template.copy(self.py, &mut self.classes)?
        {
            let cut = self.cut(|| {
                let seen = seen.clone();
                let blob = Some((*size, *blob));
                Cut::of_whole(entry.unbind(), Whole { seen, blob })
            });
            return Ok((value, cut));
        }
        if pieces.iter().any(|piece| piece.data.is_none()) {
            self.lacks = true;
            return Err(CheckpointError::new_err(format!(
                "channel {name:?} has to be read again: a class that its values have was changed"
            )));
        }
        let whole;
        let data = match &*pieces {
            [piece] => piece.as_bytes(),
            _ => {
                whole = (pieces.iter().flat_map(Piece::as_bytes).copied()).collect::<Vec<_>>();
                &whole
            }
        };
        let Some(blob) = single.filter(|_| tag == "msgpack") else {
            return Ok((self.decode(name, tag, data)?, None));
        };
        let mut reader = self.codec.item_reader(self.py, data)?;
        let read = reader.value(None, 0)?;
        reader.finish()?;
        let is_known = before.is_some();
        if self.remembers == Remembers::Nothing {
            return Ok((read.value, None));
        }
        let whole = Whole {
            seen: self.seen(&read, is_known)?,
            blob: Some((data.len(), blob)),
        };
        Ok((read.value, Some(Cut::of_whole(entry.unbind(), whole))))
    }

    /// The pieces of an entry; those of which all values are at hand are not decoded.
    fn pieces(
        &self,
        name: &str,
        entry: &Bound<'py, PyTuple>,
        held: &Held,
    ) -> PyResult<Vec<Piece<'py>>> {
        let mut pieces = Vec::with_capacity(entry.len());
        for piece in entry.iter_borrowed().skip(1) {
            if let Ok(data) = piece.cast::<PyBytes>() {
                pieces.push(Piece {
                    data: Some(data.to_owned()),
                    size: data.as_bytes().len(),
                    blob: None,
                    start: Some(0),
                });
                continue;
            }
            for hash in hashes(&piece)? {
                let (data, size, start) = match held.size_of_copied(&hash) {
                    Some(size) => (None, size, None),
                    None => {
                        let data = find(name, hash, self.blobs)?;
                        let size = data.as_bytes().len();
                        (Some(data), size, Some(0))
                    }
                };
                pieces.push(Piece {
                    data,
                    size,
                    blob: Some(hash),
                    start,
                });
            }
        }
        Ok(pieces)
    }

    /// Read a list or dict from its pieces; None if they are not cut between items.
    fn join_container(
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
        // What goes wrong here is said by decoding the value as a whole.
        match self.container(&mut feed, header, held, 0) {
            Ok(Some(read)) if feed.is_at_end() => Ok(Some(read)),
            Ok(_) => Ok(None),
            Err(error) if error.is_instance_of::<crate::codec::DecodeError>(self.py) => Ok(None),
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

    /// Hand out the items of a part that is known, or copy them; None if that cannot be done.
    fn copies(
        &mut self,
        known: &mut Items,
        kind: Kind,
        target: &mut Target<'py>,
    ) -> PyResult<Option<Items>> {
        let mut first = 0;
        let mut made = Vec::with_capacity(known.len());
        for index in 0..known.len() {
            let Some(value) = self.ready(known, index)? else {
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
        Ok(Some(known.with_values(first, made)))
    }

    /// The value of a known item without decoding it: the one that was handed out before, or a
    /// copy; None if there is neither.
    fn ready(&mut self, known: &mut Items, index: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(made) = known.take_made(index) {
            return Ok(Some(made.into_bound(self.py)));
        }
        match &known.items[index].seen.template {
            Some(template) => template.copy(self.py, &mut self.classes),
            None => Ok(None),
        }
    }

    /// Read a blob's run of at most `left` items; those that are known are not decoded.
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
                Some(known) if index < known.len() => match self.ready(known, index)? {
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
        Ok((!items.is_empty()).then(|| Items::new(items, first, made)))
    }

    /// Read one item that stands in the record itself, or an entry that is cut.
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
                return Ok(None);
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

    fn item(&mut self, read: &Read<'py>, is_known: bool) -> PyResult<Item> {
        Ok(Item {
            key: read.key.as_ref().map(|key| key.clone().unbind()),
            seen: self.seen(read, is_known)?,
        })
    }

    /// What is to be remembered of a value that was decoded. How to copy it too, if that it is
    /// decoded again shows that copies are wanted.
    fn seen(&mut self, read: &Read<'py>, is_known: bool) -> PyResult<Seen> {
        let is_copied = match self.remembers {
            Remembers::Nothing => return Ok(Seen::default()),
            Remembers::Values => is_known,
            Remembers::Copies => true,
        };
        let template = if is_copied && read.is_plain {
            Template::of(&mut self.classes, &read.value, 0)?.map(Arc::new)
        } else {
            None
        };
        let shadow = match self.remembers {
            Remembers::Values => Shadow::of(&mut self.classes, &read.value)?,
            _ => None,
        };
        Ok(Seen { shadow, template })
    }

    /// How a value is cut, if that is to be remembered.
    fn cut(&self, cut: impl FnOnce() -> Cut) -> Option<Cut> {
        (self.remembers != Remembers::Nothing).then(cut)
    }

    fn decode(&self, name: &str, tag: &str, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match tag {
            "msgpack" => self.codec.decode(self.py, data),
            "null" => Ok(self.py.None().into_bound(self.py)),
            "bytes" => Ok(PyBytes::new(self.py, data).into_any()),
            "bytearray" => Ok(PyByteArray::new(self.py, data).into_any()),
            _ => Err(CheckpointError::new_err(format!(
                "channel {name:?} was written as {tag:?}, which this serializer does not read; \
                 open the thread with the serializer that wrote it"
            ))),
        }
    }
}
