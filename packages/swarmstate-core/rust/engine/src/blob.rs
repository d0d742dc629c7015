//! Names of content-addressed bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a BLAKE3 hash that make a name: 128 bits.
const NAME_BYTES: usize = 16;

/// Returns the name of some bytes: the first 128 bits of their BLAKE3 hash in base64url.
///
/// Equal names mean equal bytes, also for bytes that somebody chose to collide:
/// the hash is cryptographic, and a collision takes about 2^64 attempts.
pub fn blob_name(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&blake3::hash(bytes).as_bytes()[..NAME_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_published_hash() {
        // BLAKE3 of nothing begins with af1349b9f5f9a1a6a0404dea36dcc949.
        assert_eq!(blob_name(b""), "rxNJufX5oaagQE3qNtzJSQ");
    }

    #[test]
    fn a_flipped_bit_changes_the_name() {
        assert_ne!(blob_name(b"swarm\x00"), blob_name(b"swarm\x01"));
    }
}
