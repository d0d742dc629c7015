//! Values that are not cut between items: texts, bytes, models, tuples and anything else.
//!
//! A large one is stored in one blob. One that was large before and has changed may change again,
//! so it is cut by content, and chunks that stay the same are shared. The same goes for an entry of
//! a dict.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use swarmstate_engine::BlobHash;
use swarmstate_engine::chunks::chunks;

use super::cut::Cutter;
use super::feed::Piece;
use super::parts::Seen;
use super::pieces::Pieces;

/// Smaller values stay in one piece.
const CHUNKED: usize = 4096;

/// The beginning contains the length of a value, and so changes with it: it stays in the record.
const HEAD: usize = 8;

/// A value that was not cut between items.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) seen: Seen,
    /// Where it is stored, if not in the record.
    pub(super) large: Option<Large>,
    /// Its size if it is in the record.
    pub(super) inline: usize,
}

/// Where a large value is stored.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Large {
    /// The bytes before the blobs, which are in the record.
    head: Box<[u8]>,
    /// The blobs and their sizes; never empty.
    blobs: Vec<(BlobHash, usize)>,
}

impl Whole {
    pub(super) fn blobs(&self) -> impl Iterator<Item = BlobHash> {
        self.large.iter().flat_map(Large::blobs)
    }

    /// Returns the size of its encoding.
    pub(super) fn size(&self) -> usize {
        self.large.as_ref().map_or(self.inline, Large::size)
    }
}

impl Large {
    pub(super) fn new(head: &[u8], blobs: &[(BlobHash, usize)]) -> Self {
        Self {
            head: head.into(),
            blobs: blobs.into(),
        }
    }

    /// Returns whether it has this head, and `blobs` begins with its blobs.
    pub(super) fn begins(&self, head: &[u8], blobs: &[(BlobHash, usize)]) -> bool {
        *self.head == *head && blobs.starts_with(&self.blobs)
    }

    /// Returns whether it may be what an entry refers to, given the bytes just before its blobs.
    pub(super) fn may_follow(&self, heads: &HashMap<BlobHash, Bound<'_, PyBytes>>) -> bool {
        let before = self.blobs().next().and_then(|first| heads.get(&first));
        before
            .map_or(&[][..], |data| data.as_bytes())
            .ends_with(&self.head)
    }

    /// Returns where the value made of these pieces is stored, if they are as produced by
    /// [`pieces`](Self::pieces).
    pub(super) fn of(pieces: &[Piece<'_>]) -> Option<Self> {
        let (head, pieces) = match pieces {
            [first, rest @ ..] if first.blob.is_none() => (first.as_bytes(), rest),
            _ => (&[][..], pieces),
        };
        let blobs = pieces.iter().map(|piece| Some((piece.blob?, piece.size)));
        let blobs = blobs.collect::<Option<Vec<_>>>()?;
        let head = head.into();
        (!blobs.is_empty()).then_some(Self { head, blobs })
    }

    /// Append the pieces of the encoding.
    pub(super) fn pieces(&self, pieces: &mut Pieces) {
        if !self.head.is_empty() {
            pieces.inline().extend_from_slice(&self.head);
        }
        self.blobs().for_each(|blob| pieces.blob(blob));
    }

    pub(super) fn blobs(&self) -> impl Iterator<Item = BlobHash> {
        self.blobs.iter().map(|(blob, _)| *blob)
    }

    /// Returns the size of a blob, if it is one of these.
    pub(super) fn size_of(&self, blob: &BlobHash) -> Option<usize> {
        let found = self.blobs.iter().find(|(each, _)| each == blob);
        found.map(|(_, size)| *size)
    }

    /// Returns whether it is a single blob with these bytes.
    fn is_blob_of(&self, data: &[u8]) -> bool {
        matches!(&*self.blobs, [(blob, size)] if *size == data.len() && blob.is_of(data))
    }

    pub(super) fn size(&self) -> usize {
        self.head.len() + self.blobs.iter().map(|(_, size)| size).sum::<usize>()
    }
}

impl Cutter<'_, '_> {
    /// Store a large value, given where it was stored before, if it was large then.
    pub(super) fn store_whole(&mut self, data: &[u8], before: Option<&Large>) -> PyResult<Large> {
        let changed = before.is_some_and(|before| !before.is_blob_of(data));
        if changed && data.len() > CHUNKED {
            return self.store_chunks(data);
        }
        let head = Box::default();
        let blobs = vec![(self.store(data, true)?, data.len())];
        Ok(Large { head, blobs })
    }

    /// Store the value of an entry, after its key, if it is to be cut by content: it is large,
    /// existed before, and has changed.
    pub(super) fn store_changed(
        &mut self,
        encoded: &[u8],
        key: usize,
        was_there: impl FnOnce() -> bool,
    ) -> PyResult<Option<Large>> {
        let data = &encoded[key..];
        let is_container = matches!(data.first(), Some(0x80..=0x9f | 0xdc..=0xdf));
        // A reader of a list's or dict's pieces expects its items.
        if data.len() <= CHUNKED || is_container || !was_there() {
            return Ok(None);
        }
        if self.before.find(&BlobHash::of(encoded)).is_some() {
            return Ok(None);
        }
        self.store_chunks(data).map(Some)
    }

    fn store_chunks(&mut self, data: &[u8]) -> PyResult<Large> {
        let (head, rest) = data.split_at(HEAD);
        let stored = chunks(rest).map(|chunk| Ok((self.store(chunk, true)?, chunk.len())));
        let blobs = stored.collect::<PyResult<_>>()?;
        let head = head.into();
        Ok(Large { head, blobs })
    }
}
