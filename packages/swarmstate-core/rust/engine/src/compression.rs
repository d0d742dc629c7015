//! Values compressed with zstd, each marked with how it is stored and verified when read.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{get_dict_id_from_dict, get_dict_id_from_frame, get_frame_content_size};

use crate::error::{Error, Result};
use crate::ext;

/// Marks how a value is stored. No single-bit flip turns one mark into the other.
const STORED: u8 = 0x53;
const ZSTD: u8 = 0x7a;
/// The mark and the CRC-32 of the value.
const HEAD_BYTES: usize = 5;

/// Compresses values, and decompresses them again.
pub struct Compression {
    level: i32,
    min_size: usize,
    max_size: usize,
    /// The first one compresses; each decompresses values that name it. The last entry has id 0 and
    /// stands for no dictionary.
    dictionaries: Vec<Dictionary>,
    compressors: Mutex<Vec<Compressor<'static>>>,
}

/// A dictionary, with idle contexts that have loaded it: creating one costs more than compressing a
/// small value.
struct Dictionary {
    id: u32,
    bytes: Vec<u8>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl Compression {
    /// Creates a compression that leaves values smaller than `min_size` bytes or larger than
    /// `max_size` bytes uncompressed. `max_size` also limits decompression.
    ///
    /// The first dictionary compresses; each decompresses values compressed with it. If there are
    /// none, values are compressed without a dictionary.
    ///
    /// # Errors
    /// [`Error::Format`] if a dictionary is invalid or was not made by `train`.
    pub fn new(
        level: i32,
        min_size: usize,
        max_size: usize,
        dictionaries: Vec<Vec<u8>>,
    ) -> Result<Self> {
        let mut known = Vec::with_capacity(dictionaries.len() + 1);
        for bytes in dictionaries {
            // The id identifies the dictionary that a value needs. zstd would accept raw content,
            // which has none.
            let id = get_dict_id_from_dict(&bytes).map_or(0, |id| id.get());
            let loaded = Decompressor::with_dictionary(&bytes);
            if id == 0 || loaded.is_err() {
                return Err(Error::Format(
                    "expected a zstd dictionary with an id, as returned by train_dictionary, found \
                     other bytes"
                        .into(),
                ));
            }
            known.push(Dictionary::new(id, bytes));
        }
        known.push(Dictionary::new(0, Vec::new()));
        Ok(Self {
            level,
            min_size,
            max_size,
            dictionaries: known,
            compressors: Mutex::default(),
        })
    }

    /// Trains a dictionary of at most `size` bytes on values like those to be compressed.
    ///
    /// # Errors
    /// [`Error::Format`] if there are too few samples.
    pub fn train(samples: &[&[u8]], size: usize) -> Result<Vec<u8>> {
        zstd::dict::from_samples(samples, size).map_err(|error| {
            Error::Format(format!(
                "zstd cannot train a dictionary on these {} samples: {error}; pass a few hundred \
                 typical values",
                samples.len()
            ))
        })
    }

    /// Returns the compression levels that zstd supports.
    #[must_use]
    pub fn levels() -> std::ops::RangeInclusive<i32> {
        zstd::compression_level_range()
    }

    /// Compresses a value, or stores it as is if that is not smaller.
    ///
    /// # Errors
    /// [`Error::Format`] if the value exceeds msgpack's limit of 4 GiB.
    pub fn compress(&self, namespace: &str, key: &str, value: &[u8]) -> Result<Vec<u8>> {
        self.frame(value)
            .map_err(|reason| named(namespace, key, &reason))
    }

    fn frame(&self, value: &[u8]) -> std::result::Result<Vec<u8>, String> {
        if (self.min_size..=self.max_size).contains(&value.len()) {
            let fail = |error| format!("cannot be compressed: {error}");
            let kept = take(&self.compressors);
            let make = || Compressor::with_dictionary(self.level, &self.dictionaries[0].bytes);
            let mut compressor = kept.map_or_else(make, Ok).map_err(fail)?;
            let compressed = compressor.compress(value).map_err(fail)?;
            give_back(&self.compressors, compressor);
            if compressed.len() < value.len() {
                return frame(ZSTD, value, &compressed);
            }
        }
        frame(STORED, value, value)
    }

    /// Decompresses a value returned by [`compress`](Self::compress).
    ///
    /// # Errors
    /// [`Error::Format`] if the data is damaged or is something else. The message gives the value's
    /// address.
    pub fn decompress(&self, namespace: &str, key: &str, data: &[u8]) -> Result<Vec<u8>> {
        self.unframe(data)
            .map_err(|reason| named(namespace, key, &reason))
    }

    fn unframe(&self, data: &[u8]) -> std::result::Result<Vec<u8>, String> {
        const DAMAGED: &str = "is damaged: its bytes differ from those stored";
        let Some(payload) = ext::payload(data, ext::COMPRESSED) else {
            return Err(
                "was not written through a compressed store, or is damaged; copy such records in \
                 from their own store"
                    .into(),
            );
        };
        let Some((&[mark, ref check @ ..], content)) = payload.split_first_chunk::<HEAD_BYTES>()
        else {
            return Err(DAMAGED.into());
        };
        let value = match mark {
            STORED => content.to_vec(),
            ZSTD => self.inflate(content)?,
            _ => return Err(DAMAGED.into()),
        };
        if crc32fast::hash(&value).to_be_bytes() != *check {
            return Err(DAMAGED.into());
        }
        Ok(value)
    }

    /// Trusts the declared size only up to the limit, and never writes more than that.
    fn inflate(&self, frame: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let Ok(Some(size)) = get_frame_content_size(frame) else {
            return Err("is damaged: it has no zstd frame of known size".into());
        };
        let size = usize::try_from(size)
            .ok()
            .filter(|&size| size <= self.max_size)
            .ok_or_else(|| {
                format!(
                    "would be {size} bytes decompressed, more than max_size allows ({})",
                    self.max_size
                )
            })?;
        let id = get_dict_id_from_frame(frame).map_or(0, |id| id.get());
        let Some(dictionary) = self.dictionaries.iter().find(|known| known.id == id) else {
            return Err(format!(
                "needs zstd dictionary {id}, which was not given; open the store with every \
                 dictionary it was ever written with"
            ));
        };
        let fail = |error| format!("is damaged: {error}");
        let kept = take(&dictionary.decompressors);
        let make = || Decompressor::with_dictionary(&dictionary.bytes);
        let mut decompressor = kept.map_or_else(make, Ok).map_err(fail)?;
        let value = decompressor.decompress(frame, size).map_err(fail)?;
        give_back(&dictionary.decompressors, decompressor);
        Ok(value)
    }
}

impl Dictionary {
    fn new(id: u32, bytes: Vec<u8>) -> Self {
        Self {
            id,
            bytes,
            decompressors: Mutex::default(),
        }
    }
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compression(level {})", self.level)
    }
}

fn named(namespace: &str, key: &str, reason: &str) -> Error {
    Error::Format(format!(
        "the value of key {key:?} in namespace {namespace:?} {reason}"
    ))
}

fn frame(mark: u8, value: &[u8], content: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let length = HEAD_BYTES + content.len();
    let mut out = Vec::with_capacity(length + 6);
    ext::begin(&mut out, ext::COMPRESSED, length)
        .ok_or_else(|| format!("is too large for msgpack: {length} bytes"))?;
    out.push(mark);
    out.extend(crc32fast::hash(value).to_be_bytes());
    out.extend(content);
    Ok(out)
}

fn take<T>(pool: &Mutex<Vec<T>>) -> Option<T> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give_back<T>(pool: &Mutex<Vec<T>>, context: T) {
    pool.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(context);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn compression() -> Compression {
        Compression::new(3, 64, LIMIT, Vec::new()).unwrap()
    }

    fn text(length: usize) -> Vec<u8> {
        b"the same words again and "
            .iter()
            .copied()
            .cycle()
            .take(length)
            .collect()
    }

    #[test]
    fn small_random_and_huge_values_stay_as_they_are() {
        let random: Vec<u8> = (0..200_u32)
            .map(|index| blake3::hash(&index.to_be_bytes()).as_bytes()[0])
            .collect();
        for value in [&text(63)[..], &random, &text(LIMIT + 1)] {
            let data = compression().compress("n", "k", value).unwrap();
            assert!(data.ends_with(value));
            assert_eq!(compression().decompress("n", "k", &data).unwrap(), value);
        }
        assert!(compression().compress("n", "k", &text(1000)).unwrap().len() < 100);
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        for value in [text(30), text(500)] {
            let data = compression().compress("n", "k", &value).unwrap();
            for index in 0..data.len() {
                for bit in 0..8 {
                    let mut damaged = data.clone();
                    damaged[index] ^= 1 << bit;
                    // Some bits of a zstd frame mean nothing, so the value may survive, but it is
                    // never a different one.
                    match compression().decompress("n", "k", &damaged) {
                        Ok(found) => assert_eq!(found, value),
                        Err(error) => assert!(error.to_string().contains("\"k\"")),
                    }
                }
            }
            for length in 0..data.len() {
                assert!(compression().decompress("n", "k", &data[..length]).is_err());
            }
        }
    }

    #[test]
    fn bombs_are_refused() {
        let bomb = Compression::new(19, 0, usize::MAX, Vec::new())
            .unwrap()
            .compress("n", "k", &vec![0; LIMIT + 1])
            .unwrap();
        assert!(bomb.len() < 200);
        let error = compression().decompress("n", "k", &bomb).unwrap_err();
        assert!(error.to_string().contains("max_size"), "{error}");
    }

    #[test]
    fn a_dictionary_is_needed_as_long_as_a_value_has_it() {
        let value = |index: u32| {
            format!("{{\"customer\": {index}, \"parcel\": {}}}", index * 7).into_bytes()
        };
        let samples: Vec<_> = (0..500).map(value).collect();
        let samples: Vec<_> = samples.iter().map(Vec::as_slice).collect();
        let old = Compression::train(&samples[..250], 1024).unwrap();
        let new = Compression::train(&samples[250..], 2048).unwrap();
        let with = |all: &[&Vec<u8>]| {
            Compression::new(3, 0, LIMIT, all.iter().map(|&each| each.clone()).collect()).unwrap()
        };
        let data = with(&[&old]).compress("n", "k", &value(1000)).unwrap();
        assert!(
            data.len()
                < compression()
                    .compress("n", "k", &value(1000))
                    .unwrap()
                    .len()
        );
        assert_eq!(
            with(&[&new, &old]).decompress("n", "k", &data).unwrap(),
            value(1000)
        );
        let plain = compression().compress("n", "k", &text(500)).unwrap();
        assert_eq!(
            with(&[&new]).decompress("n", "k", &plain).unwrap(),
            text(500)
        );
        for without in [with(&[&new]), compression()] {
            let error = without.decompress("n", "k", &data).unwrap_err().to_string();
            assert!(error.contains("dictionary"), "{error}");
        }
        assert!(Compression::new(3, 0, LIMIT, vec![b"no dictionary".to_vec()]).is_err());
        assert!(Compression::train(&samples[..2], 1024).is_err());
    }

    proptest! {
        #[test]
        fn values_come_back(value: Vec<u8>, level in Compression::levels()) {
            let compression = Compression::new(level, 0, LIMIT, Vec::new()).unwrap();
            let data = compression.compress("n", "k", &value).unwrap();
            prop_assert_eq!(compression.decompress("n", "k", &data).unwrap(), value);
        }

        #[test]
        fn hostile_bytes_are_refused(mut data: Vec<u8>, mark in prop::option::of(prop_oneof![Just(STORED), Just(ZSTD)])) {
            if let Some(mark) = mark {
                data = frame(mark, b"another value", &data).unwrap();
            }
            prop_assert!(compression().decompress("n", "k", &data).is_err());
        }
    }
}
