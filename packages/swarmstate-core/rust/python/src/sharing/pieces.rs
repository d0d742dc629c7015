//! The pieces that make up an entry in a record.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use swarmstate_engine::BlobHash;

use super::parts::Kind;
use crate::codec::{write_array_header, write_map_header};

/// The pieces of an entry that is being built.
#[derive(Default)]
pub(super) struct Pieces {
    complete: Vec<Piece>,
    /// The next piece; at most one of the two is nonempty.
    inline: Vec<u8>,
    hashes: Vec<u8>,
}

enum Piece {
    /// Bytes in the record itself.
    Inline(Vec<u8>),
    /// Concatenated hashes of blobs.
    Hashes(Vec<u8>),
}

impl Pieces {
    /// Append the header of a list or dict.
    pub(super) fn header(&mut self, kind: Kind, len: usize) {
        // A length that msgpack cannot hold is rejected when the value is encoded.
        let _ = match kind {
            Kind::List => write_array_header(self.inline(), len),
            Kind::Dict => write_map_header(self.inline(), len),
        };
    }

    /// Returns the buffer for bytes in the record itself.
    pub(super) fn inline(&mut self) -> &mut Vec<u8> {
        if !self.hashes.is_empty() {
            let hashes = std::mem::take(&mut self.hashes);
            self.complete.push(Piece::Hashes(hashes));
        }
        &mut self.inline
    }

    /// Append a blob.
    pub(super) fn blob(&mut self, hash: BlobHash) {
        if !self.inline.is_empty() {
            let inline = std::mem::take(&mut self.inline);
            self.complete.push(Piece::Inline(inline));
        }
        self.hashes.extend_from_slice(hash.as_bytes());
    }

    /// Returns the entry with these pieces, for a record.
    pub(super) fn entry(mut self, py: Python<'_>, tag: &str) -> PyResult<Py<PyTuple>> {
        self.complete.push(if self.hashes.is_empty() {
            Piece::Inline(self.inline)
        } else {
            Piece::Hashes(self.hashes)
        });
        let mut entry = vec![PyString::intern(py, tag).into_any()];
        for piece in self.complete {
            entry.push(match piece {
                Piece::Inline(data) => PyBytes::new(py, &data).into_any(),
                Piece::Hashes(hashes) => PyTuple::new(py, [PyBytes::new(py, &hashes)])?.into_any(),
            });
        }
        Ok(PyTuple::new(py, entry)?.unbind())
    }
}
