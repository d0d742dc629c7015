//! The segments of a file: their heads, and the encoding of their payloads.
//!
//! All numbers are little-endian.

use std::io::{self, Read, Write};

use crc32fast::Hasher;

pub(super) type Lineage = [u8; 16];

/// Ends with the format version.
pub(super) const MAGIC: [u8; 8] = *b"SwStVec2";
pub(super) const HEAD: usize = 48;

pub(super) const END: u8 = 0;
pub(super) const RECORD: u8 = 1;
pub(super) const REMOVED: u8 = 2;
pub(super) const DOUBTFUL: u8 = 3;

/// The cluster number of a vector without a cluster.
pub(super) const NOWHERE: u32 = u32::MAX;

/// No text or value is longer; a greater length means damage.
const LONGEST: usize = u32::MAX as usize;

/// What precedes the payload of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Random, the same for a base and its deltas.
    pub lineage: Lineage,
    pub is_base: bool,
    /// The length of the payload in bytes, and its CRC-32.
    pub length: u64,
    pub check: u32,
}

impl Head {
    pub fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(&self.lineage);
        bytes[24] = u8::from(self.is_base);
        bytes[32..40].copy_from_slice(&self.length.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.check.to_le_bytes());
        let check = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads a head; `None` if the bytes are not a head.
    pub fn decode(bytes: &[u8; HEAD]) -> Option<Self> {
        let (fields, check) = bytes.split_at(44);
        if bytes[..8] != MAGIC || check != crc32fast::hash(fields).to_le_bytes() {
            return None;
        }
        Some(Self {
            lineage: bytes[8..24].try_into().ok()?,
            is_base: bytes[24] == 1,
            length: u64::from_le_bytes(bytes[32..40].try_into().ok()?),
            check: u32::from_le_bytes(bytes[40..44].try_into().ok()?),
        })
    }
}

/// Writes a payload, keeping track of its length and CRC-32.
pub(super) struct Output<W> {
    inner: W,
    hasher: Hasher,
    length: u64,
}

impl<W: Write> Output<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Hasher::new(),
            length: 0,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.inner.write_all(bytes)
    }

    /// Returns the inner writer, the length and the CRC-32.
    pub fn finish(self) -> (W, u64, u32) {
        (self.inner, self.length, self.hasher.finalize())
    }
}

pub(super) fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| invalid("a value is too long"))?;
    buffer.extend(length.to_le_bytes());
    buffer.extend(bytes);
    Ok(())
}

pub(in crate::vectors) fn put_numbers(buffer: &mut Vec<u8>, numbers: &[f32]) {
    buffer.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// Reads a payload, never beyond its end.
pub(in crate::vectors) struct Input<R> {
    inner: R,
    hasher: Hasher,
    left: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Input<R> {
    pub fn new(inner: R, length: u64) -> Self {
        Self {
            inner,
            hasher: Hasher::new(),
            left: length,
            buffer: Vec::new(),
        }
    }

    /// Returns the next `length` bytes.
    pub fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        // Checked before this much is allocated.
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| invalid("it is truncated"))?;
        self.buffer.resize(length, 0);
        self.inner.read_exact(&mut self.buffer)?;
        self.hasher.update(&self.buffer);
        Ok(&self.buffer)
    }

    pub fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn u32(&mut self) -> io::Result<u32> {
        let bytes = self.take(4)?.first_chunk().copied().unwrap_or_default();
        Ok(u32::from_le_bytes(bytes))
    }

    pub fn u64(&mut self) -> io::Result<u64> {
        let bytes = self.take(8)?.first_chunk().copied().unwrap_or_default();
        Ok(u64::from_le_bytes(bytes))
    }

    pub fn bytes(&mut self) -> io::Result<&[u8]> {
        let length = self.u32()? as usize;
        self.take(length.min(LONGEST))
    }

    pub fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| invalid("a string is not UTF-8"))
    }

    /// Replaces the contents of `numbers` with `count` numbers, which must be finite.
    pub fn numbers(&mut self, count: usize, numbers: &mut Vec<f32>) -> io::Result<()> {
        let (items, _) = self.take(count.saturating_mul(4))?.as_chunks::<4>();
        numbers.clear();
        numbers.extend(items.iter().map(|item| f32::from_le_bytes(*item)));
        if numbers.iter().all(|number| number.is_finite()) {
            Ok(())
        } else {
            Err(invalid("a number is not finite"))
        }
    }

    /// Checks that everything was read and matches the CRC-32.
    pub fn finish(self, check: u32) -> io::Result<R> {
        if self.left > 0 {
            return Err(invalid("a segment has trailing bytes"));
        }
        if self.hasher.finalize() != check {
            return Err(invalid("its checksum does not match"));
        }
        Ok(self.inner)
    }
}

pub(in crate::vectors) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
