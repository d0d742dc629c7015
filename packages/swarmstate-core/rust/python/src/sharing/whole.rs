//! Values that are not cut between items: texts, bytes, models, tuples, whatever else there is.
//!
//! A large one lies in one blob. One that was large before and has changed may change again, so it
//! is cut by content, and what is the same in the next one is shared.

use pyo3::prelude::*;
use swarmstate_engine::BlobHash;
use swarmstate_engine::chunks::chunks;

use super::cut::Cutter;
use super::feed::Piece;
use super::parts::Seen;
use super::pieces::Pieces;

/// Smaller ones stay in one piece.
const CHUNKED: usize = 4096;

/// The beginning says how long a value is, and so changes with it: it stays in the record.
const HEAD: usize = 8;

/// A value that was not cut between items.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) seen: Seen,
    /// Where it lies, if that is not the record.
    pub(super) large: Option<Large>,
    /// Its size if it lies in the record.
    pub(super) inline: usize,
}

/// Where a large value lies.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Large {
    /// The bytes before the blobs, which stand in the record.
    head: Box<[u8]>,
    /// The blobs and their sizes, at least one.
    blobs: Vec<(BlobHash, usize)>,
}

impl Whole {
    pub(super) fn blobs(&self) -> impl Iterator<Item = BlobHash> {
        self.large.iter().flat_map(Large::blobs)
    }

    /// The size of its encoding.
    pub(super) fn size(&self) -> usize {
        self.large.as_ref().map_or(self.inline, Large::size)
    }
}

impl Large {
    /// Where the value lies that these pieces make, if they are as `store_whole` makes them.
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

    pub(super) fn blobs(&self) -> impl Iterator<Item = BlobHash> {
        self.blobs.iter().map(|(blob, _)| *blob)
    }

    /// The size of a blob, if it is one of these.
    pub(super) fn size_of(&self, blob: &BlobHash) -> Option<usize> {
        let found = self.blobs.iter().find(|(each, _)| each == blob);
        found.map(|(_, size)| *size)
    }

    /// Whether it is one blob, of these bytes.
    fn is_blob_of(&self, data: &[u8]) -> bool {
        matches!(&*self.blobs, [(blob, size)] if *size == data.len() && blob.is_of(data))
    }

    fn size(&self) -> usize {
        self.head.len() + self.blobs.iter().map(|(_, size)| size).sum::<usize>()
    }
}

impl Cutter<'_, '_> {
    /// Store a large value and append its pieces, given where it lay before, if it was large then.
    pub(super) fn store_whole(
        &mut self,
        data: &[u8],
        before: Option<&Large>,
        pieces: &mut Pieces,
    ) -> PyResult<Large> {
        let changed = before.is_some_and(|before| !before.is_blob_of(data));
        let (head, parts) = if changed && data.len() > CHUNKED {
            let (head, rest) = data.split_at(HEAD);
            pieces.inline().extend_from_slice(head);
            (head, chunks(rest).collect())
        } else {
            (&[][..], vec![data])
        };
        let mut blobs = Vec::with_capacity(parts.len());
        for part in parts {
            let blob = self.store(part, true)?;
            pieces.blob(blob);
            blobs.push((blob, part.len()));
        }
        let head = head.into();
        Ok(Large { head, blobs })
    }
}
