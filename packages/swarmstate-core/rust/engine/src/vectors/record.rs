//! The encoding of a record: a msgpack map of scope, categories, value and embeddings.

use rmp::encode::{self, ByteBuf};
use rmpv::ValueRef;

use crate::error::{Error, Result};

/// The maximum number of dimensions of a vector.
pub const MAX_DIMENSIONS: usize = 65_536;

/// A record without its id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Its place in the hierarchy, from the root down.
    pub scope: Vec<String>,
    /// Labels, sorted and unique.
    pub categories: Vec<String>,
    /// The value: one msgpack value.
    pub value: Vec<u8>,
    /// Vectors of the same dimension, with finite numbers.
    pub embeddings: Vec<Vec<f32>>,
}

impl Record {
    /// Returns the bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let vectors: usize = self
            .embeddings
            .iter()
            .map(|vector| vector.len() * 4 + 5)
            .sum();
        let mut bytes = ByteBuf::with_capacity(self.value.len() + vectors + 128);
        // Writing to memory cannot fail.
        let _ = encode::write_map_len(&mut bytes, 4);
        let _ = encode::write_str(&mut bytes, "scope");
        put_texts(&mut bytes, &self.scope);
        let _ = encode::write_str(&mut bytes, "categories");
        put_texts(&mut bytes, &self.categories);
        let _ = encode::write_str(&mut bytes, "value");
        bytes.as_mut_vec().extend_from_slice(&self.value);
        let _ = encode::write_str(&mut bytes, "embeddings");
        let _ = encode::write_array_len(&mut bytes, self.embeddings.len() as u32);
        for vector in &self.embeddings {
            let _ = encode::write_bin_len(&mut bytes, vector.len() as u32 * 4);
            bytes
                .as_mut_vec()
                .extend(vector.iter().flat_map(|item| item.to_le_bytes()));
        }
        bytes.into_vec()
    }

    /// Decodes stored bytes, ignoring unknown keys.
    ///
    /// # Errors
    ///
    /// [`Error::Record`] if the bytes are not a record.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let entries =
            rmp::decode::read_map_len(&mut rest).map_err(|_| damaged("it is not a map"))?;
        let mut record = Self {
            value: vec![0xc0],
            ..Self::default()
        };
        for _ in 0..entries {
            let ValueRef::String(key) = next(&mut rest)? else {
                return Err(damaged("one of its keys is not a string"));
            };
            let before = rest;
            let found = next(&mut rest)?;
            match key.as_str() {
                Some("scope") => record.scope = texts(found)?,
                Some("categories") => record.categories = texts(found)?,
                Some("value") => record.value = before[..before.len() - rest.len()].to_vec(),
                Some("embeddings") => record.embeddings = vectors(found)?,
                _ => {}
            }
        }
        if !rest.is_empty() {
            return Err(damaged("it has trailing bytes"));
        }
        record.categories.sort_unstable();
        record.categories.dedup();
        Ok(record)
    }
}

fn damaged(what: &str) -> Error {
    Error::Record(what.to_owned())
}

fn put_texts(bytes: &mut ByteBuf, texts: &[String]) {
    let _ = encode::write_array_len(bytes, texts.len() as u32);
    for text in texts {
        let _ = encode::write_str(bytes, text);
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<ValueRef<'a>> {
    rmpv::decode::read_value_ref(rest)
        .map_err(|error| Error::Record(format!("it is not msgpack: {error}")))
}

fn texts(value: ValueRef<'_>) -> Result<Vec<String>> {
    let ValueRef::Array(items) = value else {
        return Err(damaged("scope and categories must be arrays"));
    };
    items
        .iter()
        .map(|item| match item {
            ValueRef::String(text) => text
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| damaged("a name is not valid UTF-8")),
            _ => Err(damaged("scope and categories must contain strings")),
        })
        .collect()
}

fn vectors(value: ValueRef<'_>) -> Result<Vec<Vec<f32>>> {
    let ValueRef::Array(items) = value else {
        return Err(damaged("embeddings must be an array"));
    };
    let vectors = items
        .iter()
        .map(|item| match item {
            ValueRef::Binary(bytes) => vector(bytes),
            _ => Err(damaged("an embedding must be bytes")),
        })
        .collect::<Result<Vec<_>>>()?;
    if vectors
        .windows(2)
        .any(|pair| pair[0].len() != pair[1].len())
    {
        return Err(damaged("its embeddings have different dimensions"));
    }
    Ok(vectors)
}

fn vector(bytes: &[u8]) -> Result<Vec<f32>> {
    let (items, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || items.is_empty() || items.len() > MAX_DIMENSIONS {
        return Err(damaged(
            "an embedding must have between 1 and 65,536 numbers of 4 bytes",
        ));
    }
    let vector: Vec<f32> = items.iter().map(|item| f32::from_le_bytes(*item)).collect();
    if vector.iter().any(|item| !item.is_finite()) {
        return Err(damaged("an embedding contains a number that is not finite"));
    }
    Ok(vector)
}
