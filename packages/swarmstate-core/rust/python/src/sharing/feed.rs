//! Reading a container from its pieces, one after another.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use swarmstate_engine::BlobHash;

use super::parts::Kind;
use crate::codec::{Item as Read, ItemReader, end_of};

/// A piece of an encoding.
pub(super) struct Piece<'py> {
    /// None if it was not read, since all of it is copied.
    pub(super) data: Option<Bound<'py, PyBytes>>,
    pub(super) size: usize,
    pub(super) blob: Option<BlobHash>,
    /// Where it stands in the buffer of those that are decoded, at least in part; None if all of it
    /// is copied.
    pub(super) start: Option<usize>,
}

impl Piece<'_> {
    /// Its bytes; none if it was not read.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.data.as_ref().map_or(&[], |data| data.as_bytes())
    }
}

/// The list or dict that items go to.
pub(super) enum Target<'py> {
    List(Vec<Bound<'py, PyAny>>),
    Dict(Bound<'py, PyDict>),
}

impl<'py> Target<'py> {
    pub(super) fn push(
        &mut self,
        key: Option<Bound<'py, PyAny>>,
        value: Bound<'py, PyAny>,
    ) -> PyResult<()> {
        match (self, key) {
            (Self::Dict(dict), Some(key)) => dict.set_item(key, value),
            (Self::List(items), _) => {
                items.push(value);
                Ok(())
            }
            (Self::Dict(_), None) => Ok(()),
        }
    }

    pub(super) fn finish(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self {
            Self::List(items) => PyList::new(py, items)?.into_any(),
            Self::Dict(dict) => dict.into_any(),
        })
    }
}

/// Goes through the pieces of a container.
pub(super) struct Feed<'a, 'b, 'py> {
    reader: ItemReader<'b, 'py>,
    pieces: &'a [Piece<'py>],
    /// The piece after the one that is being read.
    next: usize,
    /// The position in that piece.
    pos: usize,
}

impl<'a, 'b, 'py> Feed<'a, 'b, 'py> {
    pub(super) fn new(reader: ItemReader<'b, 'py>, pieces: &'a [Piece<'py>]) -> Self {
        Self {
            reader,
            pieces,
            next: 0,
            pos: 0,
        }
    }

    /// The position in the piece that is being read.
    pub(super) fn position(&self) -> usize {
        self.pos
    }

    /// The piece that is being read; None after the last one.
    pub(super) fn piece(&mut self) -> Option<&Piece<'py>> {
        while self.is_at_piece_end() {
            if self.next == self.pieces.len() {
                return None;
            }
            self.next += 1;
            self.pos = 0;
            let piece = &self.pieces[self.next - 1];
            if let Some(start) = piece.start {
                self.reader.go_to(start, start + piece.size);
            }
        }
        self.pieces.get(self.next - 1)
    }

    fn current(&self) -> &[u8] {
        let piece = self.next.checked_sub(1).map(|index| &self.pieces[index]);
        piece.map_or(&[], Piece::as_bytes)
    }

    fn current_size(&self) -> usize {
        let piece = self.next.checked_sub(1).map(|index| &self.pieces[index]);
        piece.map_or(0, |piece| piece.size)
    }

    pub(super) fn is_at_piece_end(&self) -> bool {
        self.pos == self.current_size()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_piece_end() && self.next == self.pieces.len()
    }

    pub(super) fn leave_piece(&mut self) {
        self.pos = self.current_size();
    }

    /// The size of all pieces; no container has more items.
    pub(super) fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.size).sum()
    }

    pub(super) fn since(&self, start: usize) -> &[u8] {
        &self.current()[start..self.pos]
    }

    /// Whether the value that comes next ends in this piece.
    pub(super) fn holds_next(&self) -> bool {
        end_of(self.current(), self.pos).is_some()
    }

    pub(super) fn key(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let start = self.reader.position();
        let key = self.reader.key()?;
        self.pos += self.reader.position() - start;
        Ok(key)
    }

    /// Go to the end of the value that comes next, or of the piece if it does not end before.
    pub(super) fn skip(&mut self) {
        let end = end_of(self.current(), self.pos).unwrap_or_else(|| self.current().len());
        let start = self.reader.position();
        self.reader.skip(end - self.pos);
        self.pos += self.reader.position() - start;
    }

    pub(super) fn value(
        &mut self,
        key: Option<Bound<'py, PyAny>>,
        depth: usize,
    ) -> PyResult<Read<'py>> {
        let start = self.reader.position();
        let read = self.reader.value(key, depth)?;
        self.pos += self.reader.position() - start;
        Ok(read)
    }

    /// What is left of the piece that is being read, and the blobs that follow it.
    pub(super) fn rest(&self) -> (&[u8], impl Iterator<Item = (BlobHash, usize)>) {
        let following = self.pieces[self.next..].iter();
        let blobs = following.map_while(|piece| Some((piece.blob?, piece.size)));
        (&self.current()[self.pos..], blobs)
    }

    /// Go to the end of that many pieces more.
    pub(super) fn leave_pieces(&mut self, count: usize) {
        self.next += count;
        self.leave_piece();
    }

    /// Read a value that goes on in the blobs that follow, and ends where one does; returns it and
    /// their number.
    pub(super) fn long_value(
        &mut self,
        key: Option<Bound<'py, PyAny>>,
        depth: usize,
    ) -> PyResult<Option<(Read<'py>, usize)>> {
        let current = self.next.checked_sub(1).map(|index| &self.pieces[index]);
        let Some((start, size)) = current.and_then(|piece| Some((piece.start?, piece.size))) else {
            return Ok(None);
        };
        // Those that were read stand one after another.
        let mut end = start + size;
        let mut ends = Vec::new();
        for piece in &self.pieces[self.next..] {
            if piece.blob.is_none() || piece.start != Some(end) {
                break;
            }
            end += piece.size;
            ends.push(end);
        }
        self.reader.go_to(start + self.pos, end);
        let read = self.reader.value(key, depth)?;
        let last = ends.iter().position(|end| *end == self.reader.position());
        let Some(last) = last else {
            return Ok(None);
        };
        self.leave_pieces(last + 1);
        Ok(Some((read, last + 1)))
    }

    /// Read the header of a list or dict that stands in the record itself.
    pub(super) fn header(&mut self) -> Option<(Kind, usize)> {
        if self.piece()?.blob.is_some() {
            return None;
        }
        let data = &self.current()[self.pos..];
        let (kind, width) = match data.first()? {
            0x90..=0x9f => (Kind::List, 0),
            0xdc => (Kind::List, 2),
            0xdd => (Kind::List, 4),
            0x80..=0x8f => (Kind::Dict, 0),
            0xde => (Kind::Dict, 2),
            0xdf => (Kind::Dict, 4),
            _ => return None,
        };
        let len = match width {
            0 => usize::from(data[0] & 0x0f),
            _ => (data.get(1..=width)?.iter()).fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        self.pos += 1 + width;
        let start = self.pieces[self.next - 1].start?;
        let end = start + self.current().len();
        self.reader.go_to(start + self.pos, end);
        Some((kind, len))
    }
}
