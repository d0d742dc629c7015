//! Names of content-addressed blobs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The address of a blob: its home and the first 120 bits of its BLAKE3 hash.
///
/// Equal hashes mean equal bytes, even against deliberate collisions: the hash is cryptographic,
/// and finding a collision takes about 2^60 attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobHash([u8; Self::BYTES]);

/// A prefix shared by blobs that are read together; all zeros for blobs without a home.
///
/// Different owners may share a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHome([u8; Self::BYTES]);

impl BlobHome {
    /// The size of a home, which is four characters of a name.
    pub const BYTES: usize = 3;

    /// Returns the home of an owner's blobs, never the all-zero one.
    pub fn of(owner: &str) -> Self {
        let mut home = [0; Self::BYTES];
        home.copy_from_slice(&blake3::hash(owner.as_bytes()).as_bytes()[..Self::BYTES]);
        if home == [0; Self::BYTES] {
            home[0] = 1;
        }
        Self(home)
    }

    /// Returns the prefix of the names of this home's blobs.
    pub fn prefix(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl BlobHash {
    /// The size of a home plus a hash.
    pub const BYTES: usize = 18;

    /// Returns the hash of bytes without a home.
    pub fn of(bytes: &[u8]) -> Self {
        const TAKEN: usize = BlobHash::BYTES - BlobHome::BYTES;
        let mut hash = [0; Self::BYTES];
        hash[BlobHome::BYTES..].copy_from_slice(&blake3::hash(bytes).as_bytes()[..TAKEN]);
        Self(hash)
    }

    /// Returns the hash of the same bytes in another home.
    #[must_use]
    pub fn at(mut self, home: BlobHome) -> Self {
        self.0[..BlobHome::BYTES].copy_from_slice(&home.0);
        self
    }

    /// Returns the hash of the same bytes without a home.
    #[must_use]
    pub fn homeless(mut self) -> Self {
        self.0[..BlobHome::BYTES].fill(0);
        self
    }

    /// Returns whether this is the hash of `bytes`, in any home.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        self.is_same(&Self::of(bytes))
    }

    /// Returns whether `other` is the hash of the same bytes, in any home.
    fn is_same(&self, other: &Self) -> bool {
        self.homeless() == other.homeless()
    }

    /// Splits concatenated hashes; returns None if the last one is truncated.
    pub fn read_all(hashes: &[u8]) -> Option<Vec<Self>> {
        let (hashes, rest) = hashes.as_chunks();
        rest.is_empty()
            .then(|| hashes.iter().copied().map(Self).collect())
    }

    /// Returns the hash itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the name under which the bytes are stored: the hash in base64url.
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
        // BLAKE3 of the empty string begins with af1349b9f5f9a1a6a0404dea36dcc949.
        assert_eq!(BlobHash::of(b"").name(), "AAAArxNJufX5oaagQE3qNtzJ");
    }

    #[test]
    fn a_flipped_bit_changes_the_hash() {
        assert_ne!(BlobHash::of(b"swarm\x00"), BlobHash::of(b"swarm\x01"));
    }

    #[test]
    fn names_begin_with_the_home_and_end_with_the_hash() {
        let home = BlobHome::of("owner");
        let blob = BlobHash::of(b"");
        let name = blob.at(home).name();
        assert_eq!(name[..4], home.prefix());
        assert_eq!(name[4..], blob.name()[4..]);
        assert_ne!(home.prefix(), "AAAA");
        assert!(blob.at(home).is_of(b"") && blob.at(home).is_same(&blob));
        assert!(!blob.at(home).is_of(b"x"));
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
