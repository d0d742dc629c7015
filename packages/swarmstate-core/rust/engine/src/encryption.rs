//! Values encrypted under one of several keys and bound to the address they are stored at.
//!
//! XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>) is AES-256-GCM under a key derived for each value
//! from half of a random 192-bit nonce. Plain AES-256-GCM with random 96-bit nonces is safe for
//! 2^32 values per key (NIST SP 800-38D, section 8.3), which a busy store writes within months.
//! Here the limit is 2^80 values for the same risk of a repeated nonce.

use std::collections::BTreeMap;
use std::fmt;

use xaes_256_gcm::aead::{AeadInOut, KeyInit};
use xaes_256_gcm::{Nonce, Xaes256Gcm};
use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::ext;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Prefix of the associated data, so that no other use of a key can be mistaken for this one.
const PURPOSE: &[u8] = b"swarmstate encrypted value 1";

/// Keys by id; one of them encrypts, all of them decrypt.
pub struct KeyRing {
    keys: BTreeMap<String, Xaes256Gcm>,
    active: String,
}

impl KeyRing {
    /// The size of a key.
    pub const KEY_BYTES: usize = 32;
    /// The longest id, in bytes of UTF-8.
    const MAX_ID_BYTES: usize = 64;

    /// Creates a ring of `keys` that encrypts under `active`. Wipes the keys from the argument's
    /// memory.
    ///
    /// # Errors
    /// [`Error::Encryption`] if an id is empty, too long or contains NUL, or if `active` has no
    /// key.
    pub fn new(keys: Vec<(String, [u8; Self::KEY_BYTES])>, active: &str) -> Result<Self> {
        let mut ring = Self {
            keys: BTreeMap::new(),
            active: active.to_owned(),
        };
        for (id, mut key) in keys {
            let cipher = Xaes256Gcm::new((&key).into());
            key.zeroize();
            if id.is_empty() || id.len() > Self::MAX_ID_BYTES || id.contains('\0') {
                return Err(Error::Encryption(format!(
                    "key id {id:?} must have 1 to {} bytes and no NUL",
                    Self::MAX_ID_BYTES
                )));
            }
            ring.keys.insert(id, cipher);
        }
        if !ring.keys.contains_key(active) {
            return Err(Error::Encryption(format!(
                "the active key {active:?} is not among the keys: {}",
                ring.ids()
            )));
        }
        Ok(ring)
    }

    /// Returns the id of the key that encrypts.
    #[must_use]
    pub fn active(&self) -> &str {
        &self.active
    }

    /// Encrypts a value for the address it will be stored at.
    ///
    /// # Errors
    /// [`Error::Encryption`] if the value is too large or the system has no randomness.
    pub fn encrypt(&self, namespace: &str, key: &str, value: &[u8]) -> Result<Vec<u8>> {
        let fail = |reason: &str| {
            Error::Encryption(format!(
                "the value of key {key:?} in namespace {namespace:?} cannot be encrypted: {reason}"
            ))
        };
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| fail(&error.to_string()))?;
        let id = self.active.as_bytes();
        let length = 2 + id.len() + NONCE_BYTES + value.len() + TAG_BYTES;
        let mut out = Vec::with_capacity(length + 6);
        ext::begin(&mut out, ext::ENCRYPTED, length).ok_or_else(|| fail("it is too large"))?;
        out.extend([FORMAT, id.len() as u8]);
        out.extend(id);
        out.extend(nonce);
        let start = out.len();
        out.extend(value);
        let address = associated_data(&self.active, namespace, key);
        let tag = self.keys[&self.active]
            .encrypt_inout_detached(&Nonce::from(nonce), &address, (&mut out[start..]).into())
            .map_err(|_| fail("it is too large"))?;
        out.extend(tag);
        Ok(out)
    }

    /// Decrypts a value that was encrypted for this address.
    ///
    /// # Errors
    /// [`Error::Encryption`] if it was not, or if its key is not in the ring.
    pub fn decrypt(&self, namespace: &str, key: &str, data: &[u8]) -> Result<Vec<u8>> {
        let fail = |reason: String| {
            Error::Encryption(format!(
                "the value of key {key:?} in namespace {namespace:?} {reason}"
            ))
        };
        let sealed = Sealed::parse(data).map_err(|reason| fail(reason.into()))?;
        let Some(cipher) = self.keys.get(sealed.id) else {
            return Err(fail(format!(
                "is encrypted under key {:?}, but the key ring has only {}; add that key to it",
                sealed.id,
                self.ids()
            )));
        };
        let mut value = sealed.ciphertext.to_vec();
        let address = associated_data(sealed.id, namespace, key);
        cipher
            .decrypt_inout_detached(
                &Nonce::from(*sealed.nonce),
                &address,
                value.as_mut_slice().into(),
                &(*sealed.tag).into(),
            )
            .map_err(|_| {
                fail(format!(
                    "is not what was stored there under key {:?}: it was changed or moved from \
                     another address, or this is a different key with that id",
                    sealed.id
                ))
            })?;
        Ok(value)
    }

    /// Returns whether a value is encrypted under the active key, without decrypting it.
    #[must_use]
    pub fn is_current(&self, data: &[u8]) -> bool {
        Sealed::parse(data).is_ok_and(|sealed| sealed.id == self.active)
    }

    fn ids(&self) -> String {
        let ids: Vec<_> = self.keys.keys().map(|id| format!("{id:?}")).collect();
        ids.join(", ")
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({}; active: {:?})", self.ids(), self.active)
    }
}

/// The parts of an encrypted value.
struct Sealed<'a> {
    id: &'a str,
    nonce: &'a [u8; NONCE_BYTES],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Sealed<'a> {
    fn parse(data: &'a [u8]) -> std::result::Result<Self, &'static str> {
        const PLAIN: &str = "is not encrypted: an encrypted store rejects what was not written \
                             through one; copy such records in from their own store";
        const CUT: &str = "is damaged: it is truncated";
        let payload = ext::payload(data, ext::ENCRYPTED).ok_or(PLAIN)?;
        let (&format, rest) = payload.split_first().ok_or(CUT)?;
        if format != FORMAT {
            return Err("is encrypted in a newer format than this release reads; upgrade");
        }
        let (&length, rest) = rest.split_first().ok_or(CUT)?;
        let (id, rest) = rest.split_at_checked(length.into()).ok_or(CUT)?;
        let id = std::str::from_utf8(id).map_err(|_| "is damaged: its key id is not UTF-8")?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(CUT)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(CUT)?;
        Ok(Self {
            id,
            nonce,
            ciphertext,
            tag,
        })
    }
}

/// Names contain no NUL, so no two addresses produce the same bytes.
fn associated_data(id: &str, namespace: &str, key: &str) -> Vec<u8> {
    [PURPOSE, id.as_bytes(), namespace.as_bytes(), key.as_bytes()].join(&0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn ring(ids: &[&str], active: &str) -> KeyRing {
        let key = |id: &str| [id.len() as u8; KeyRing::KEY_BYTES];
        let keys = ids.iter().map(|id| ((*id).to_owned(), key(id))).collect();
        KeyRing::new(keys, active).unwrap()
    }

    #[test]
    fn the_cipher_is_the_published_one() {
        // The first test vector of the specification.
        let cipher = Xaes256Gcm::new(&[1; 32].into());
        let nonce = Nonce::from(*b"ABCDEFGHIJKLMNOPQRSTUVWX");
        let expected = [
            0xce, 0x54, 0x6e, 0xf6, 0x3c, 0x9c, 0xc6, 0x07, 0x65, 0x92, 0x36, 0x09, 0xb3, 0x3a,
            0x9a, 0x19, 0x74, 0xe9, 0x6e, 0x52, 0xda, 0xf2, 0xfc, 0xf7, 0x07, 0x5e, 0x22, 0x71,
        ];
        let mut buffer = *b"XAES-256-GCM";
        let tag = cipher
            .encrypt_inout_detached(&nonce, b"", buffer.as_mut_slice().into())
            .unwrap();
        assert_eq!([&buffer[..], &tag].concat(), expected);
    }

    #[test]
    fn no_change_of_value_or_address_goes_unnoticed() {
        let ring = ring(&["a", "bb"], "bb");
        let data = ring.encrypt("n", "k", b"value").unwrap();
        assert_eq!(ring.decrypt("n", "k", &data).unwrap(), b"value");
        for index in 0..data.len() {
            for bit in 0..8 {
                let mut damaged = data.clone();
                damaged[index] ^= 1 << bit;
                assert!(ring.decrypt("n", "k", &damaged).is_err(), "{index}.{bit}");
            }
        }
        for length in 0..data.len() {
            assert!(ring.decrypt("n", "k", &data[..length]).is_err());
        }
        for (namespace, key) in [("n", "kk"), ("nk", "k"), ("k", "n"), ("n", "K")] {
            assert!(ring.decrypt(namespace, key, &data).is_err());
        }
    }

    #[test]
    fn messages_show_ids_and_no_keys() {
        let data = ring(&["a"], "a").encrypt("n", "k", b"value").unwrap();
        let other = ring(&["bb"], "bb");
        let message = other.decrypt("n", "k", &data).unwrap_err().to_string();
        assert!(
            message.contains("\"a\"") && message.contains("\"bb\""),
            "{message}"
        );
        assert_eq!(format!("{other:?}"), "KeyRing(\"bb\"; active: \"bb\")");
        assert!(!ring(&["a", "bb"], "bb").is_current(&data));
        assert!(ring(&["a", "bb"], "a").is_current(&data));
    }

    proptest! {
        #[test]
        fn values_come_back(value: Vec<u8>, namespace in "\\PC+", key in "\\PC+") {
            let ring = ring(&["a"], "a");
            let data = ring.encrypt(&namespace, &key, &value).unwrap();
            prop_assert_eq!(ring.decrypt(&namespace, &key, &data).unwrap(), value);
        }

        #[test]
        fn hostile_bytes_are_refused(mut data: Vec<u8>, frame: bool) {
            if frame {
                let mut framed = Vec::new();
                ext::begin(&mut framed, ext::ENCRYPTED, data.len()).unwrap();
                framed.append(&mut data);
                data = framed;
            }
            prop_assert!(ring(&["a"], "a").decrypt("n", "k", &data).is_err());
        }
    }
}
