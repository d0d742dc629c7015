//! Names of content-addressed bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The first 128 bits of the BLAKE3 hash of some bytes, by which they are stored.
///
/// Equal hashes mean equal bytes, also for bytes that somebody chose to collide:
/// the hash is cryptographic, and a collision takes about 2^64 attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobHash([u8; Self::BYTES]);

impl BlobHash {
    /// The size of a hash.
    pub const BYTES: usize = 16;

    /// Returns the hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; Self::BYTES];
        hash.copy_from_slice(&blake3::hash(bytes).as_bytes()[..Self::BYTES]);
        Self(hash)
    }

    /// Returns the hashes that stand one after another, or None if one is cut short.
    pub fn read_all(hashes: &[u8]) -> Option<Vec<Self>> {
        let (hashes, rest) = hashes.as_chunks();
        rest.is_empty()
            .then(|| hashes.iter().copied().map(Self).collect())
    }

    /// Returns the hash itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the name that the bytes are stored under: the hash in base64url.
    pub fn name(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_the_published_hash() {
        // BLAKE3 of nothing begins with af1349b9f5f9a1a6a0404dea36dcc949.
        assert_eq!(BlobHash::of(b"").name(), "rxNJufX5oaagQE3qNtzJSQ");
    }

    #[test]
    fn a_flipped_bit_changes_the_hash() {
        assert_ne!(BlobHash::of(b"swarm\x00"), BlobHash::of(b"swarm\x01"));
    }

    #[test]
    fn hashes_are_read_back() {
        let hashes = [BlobHash::of(b"a"), BlobHash::of(b"b")];
        let bytes: Vec<u8> = hashes
            .iter()
            .flat_map(BlobHash::as_bytes)
            .copied()
            .collect();
        assert_eq!(BlobHash::read_all(&bytes).unwrap(), hashes);
        assert_eq!(BlobHash::read_all(&bytes[1..]), None);
    }
}
