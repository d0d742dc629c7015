//! Joins the pieces of a value; [`super::join_container`] does so item by item.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PySequence, PyString, PyTuple};

use super::blobs::{Checked, CheckpointError, find, hashes};
use super::classes::Classes;
use super::feed::Piece;
use super::held::Held;
use super::parts::{Cut, Seen};
use super::shadow::Shadow;
use super::template::Template;
use super::whole::{Large, Whole};
use crate::codec::{Codec, CollectorPause, Item as Read};

/// What to remember about joined values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembers {
    Nothing,
    /// Their parts, which are recognized when the values are put, and handed out again.
    Values,
    /// How to copy them: they are only read, and later values share their parts.
    Copies,
}

/// Joins the values of one state.
pub(super) struct Joiner<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) codec: &'a Codec,
    /// The blobs that entries refer to, by name.
    pub(super) blobs: &'a Bound<'py, PyDict>,
    /// Blobs checked when an earlier value was joined; the blobs are the same objects.
    pub(super) checked: Option<&'a Checked>,
    pub(super) classes: Classes<'py>,
    pub(super) remembers: Remembers,
    /// Whether a value that was to be copied cannot be, and its bytes were not read.
    pub(super) lacks: bool,
}

impl<'py> Joiner<'_, 'py> {
    /// Decode a value from its entry, and return how it was cut if that is to be remembered.
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
        self.join_whole(name, tag, entry, &pieces, held)
    }

    /// Read a value that is not cut between items.
    fn join_whole(
        &mut self,
        name: &str,
        tag: &str,
        entry: Bound<'py, PyTuple>,
        pieces: &[Piece<'py>],
        held: &Held,
    ) -> PyResult<(Bound<'py, PyAny>, Option<Cut>)> {
        let large = Large::of(pieces);
        // The same blob may be bytes in one state and the encoding of a value in the next.
        let before = (held.whole.as_ref())
            .filter(|(known, _)| tag == "msgpack" && Some(known) == large.as_ref());
        if let Some((_, seen)) = before
            && let Some(template) = &seen.template
            && let Some(value) = template.copy(self.py, &mut self.classes, &mut None)?
        {
            return Ok((value, self.cut_whole(entry, large, seen.clone())));
        }
        if pieces.iter().any(|piece| piece.data.is_none()) {
            self.lacks = true;
            return Err(CheckpointError::new_err(format!(
                "channel {name:?} must be read again: a class of its values was changed"
            )));
        }
        let whole;
        let data = match pieces {
            [piece] => piece.as_bytes(),
            _ => {
                whole = (pieces.iter().map(Piece::as_bytes).collect::<Vec<_>>()).concat();
                &whole
            }
        };
        if tag != "msgpack" {
            let value = self.decode(name, tag, data)?;
            return Ok((value, self.cut_whole(entry, large, Seen::default())));
        }
        let mut reader = self.codec.item_reader(self.py, data)?;
        let read = reader.value(None, 0)?;
        reader.finish()?;
        let seen = self.seen(&read, before.is_some())?;
        Ok((read.value, self.cut_whole(entry, large, seen)))
    }

    /// Returns what to remember about a value that is not cut between items.
    fn cut_whole(
        &self,
        entry: Bound<'py, PyTuple>,
        large: Option<Large>,
        seen: Seen,
    ) -> Option<Cut> {
        let large = Some(large?);
        let inline = 0;
        let whole = Whole {
            seen,
            large,
            inline,
        };
        self.cut(|| Cut::of_whole(entry.unbind(), whole))
    }

    /// Returns the pieces of an entry; those whose values are all available are not decoded.
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
                let blob = Some(hash);
                pieces.push(match held.size_of_copied(&hash) {
                    Some(size) => Piece {
                        data: None,
                        size,
                        blob,
                        start: None,
                    },
                    None => {
                        let data = find(name, hash, self.blobs, self.checked)?;
                        Piece {
                            size: data.as_bytes().len(),
                            data: Some(data),
                            blob,
                            start: Some(0),
                        }
                    }
                });
            }
        }
        Ok(pieces)
    }

    /// Returns what to remember about a decoded value. That includes how to copy it if being
    /// decoded again shows that copies are wanted.
    pub(super) fn seen(&mut self, read: &Read<'py>, is_known: bool) -> PyResult<Seen> {
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

    /// Returns how a value is cut, if that is to be remembered.
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
                "channel {name:?} was written as {tag:?}, which this serializer cannot read; open \
                 the thread with the serializer that wrote it"
            ))),
        }
    }
}
