//! Reads a container from its pieces in sequence.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use swarmstate_engine::BlobHash;

use super::parts::Kind;
use crate::codec::{Item as Read, ItemReader, end_of};

/// A piece of an encoding.
pub(super) struct Piece<'py> {
    /// None if it was not read, because all of it is copied.
    pub(super) data: Option<Bound<'py, PyBytes>>,
    pub(super) size: usize,
    pub(super) blob: Option<BlobHash>,
    /// Its position in the buffer of pieces to decode at least in part; None if all of it is
    /// copied.
    pub(super) start: Option<usize>,
}

impl Piece<'_> {
    /// Returns its bytes; empty if it was not read.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.data.as_ref().map_or(&[], |data| data.as_bytes())
    }
}

/// The list or dict that receives the items.
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

/// Iterates over the pieces of a container.
pub(super) struct Feed<'a, 'b, 'py> {
    reader: ItemReader<'b, 'py>,
    pieces: &'a [Piece<'py>],
    /// The index of the piece after the current one.
    next: usize,
    /// The position in the current piece.
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

    /// Returns the position in the current piece.
    pub(super) fn position(&self) -> usize {
        self.pos
    }

    /// Returns the current piece; None after the last one.
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

    /// Returns the total size of the pieces, an upper bound for the number of items.
    pub(super) fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.size).sum()
    }

    pub(super) fn since(&self, start: usize) -> &[u8] {
        &self.current()[start..self.pos]
    }

    /// Returns whether the next value ends in this piece.
    pub(super) fn holds_next(&self) -> bool {
        end_of(self.current(), self.pos).is_some()
    }

    pub(super) fn key(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let start = self.reader.position();
        let key = self.reader.key()?;
        self.pos += self.reader.position() - start;
        Ok(key)
    }

    /// Skip the next value, or the rest of the piece if the value does not end in it.
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

    /// Returns the rest of the current piece and the blobs that follow it.
    pub(super) fn rest(&self) -> (&[u8], impl Iterator<Item = (BlobHash, usize)>) {
        let following = self.pieces[self.next..].iter();
        let blobs = following.map_while(|piece| Some((piece.blob?, piece.size)));
        (&self.current()[self.pos..], blobs)
    }

    /// Skip to the end of the piece that is `count` pieces ahead.
    pub(super) fn leave_pieces(&mut self, count: usize) {
        self.next += count;
        self.leave_piece();
    }

    /// Read a value that continues in the following blobs and ends at the end of one; returns it
    /// and the number of blobs.
    pub(super) fn long_value(
        &mut self,
        key: Option<Bound<'py, PyAny>>,
        depth: usize,
    ) -> PyResult<Option<(Read<'py>, usize)>> {
        let current = self.next.checked_sub(1).map(|index| &self.pieces[index]);
        let Some((start, size)) = current.and_then(|piece| Some((piece.start?, piece.size))) else {
            return Ok(None);
        };
        // Pieces that were read are adjacent in the buffer.
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

    /// Read the header of a list or dict that is in the record itself.
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
