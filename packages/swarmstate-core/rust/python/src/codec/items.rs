//! Reads lists and dicts item by item, from pieces.

use pyo3::prelude::*;

use super::decode::{Decoder, enter};
use super::guard::Entry;
use super::keys;
use super::policy::Policy;
use super::read::{Reader, Token};

/// An item of a list, or an entry of a dict.
pub struct Item<'py> {
    pub key: Option<Bound<'py, PyAny>>,
    pub value: Bound<'py, PyAny>,
    /// Whether the value is plain data and models rebuilt from their fields: a tree in which no
    /// mutable object occurs twice.
    pub is_plain: bool,
}

/// Reads items from pieces of one buffer.
pub struct ItemReader<'a, 'py> {
    decoder: Decoder<'a, 'py, 'a>,
    _entry: Entry,
}

impl<'a, 'py> ItemReader<'a, 'py> {
    pub fn new(py: Python<'py>, data: &'a [u8], policy: &'a Policy) -> PyResult<Self> {
        let entry = enter()?;
        Ok(Self {
            decoder: Decoder::new(py, data, policy),
            _entry: entry,
        })
    }

    /// Move to a piece: the next item begins at `start` and must end before `end`.
    pub fn go_to(&mut self, start: usize, end: usize) {
        let Reader { pos, limit, .. } = &mut self.decoder.reader;
        (*pos, *limit) = (start, end);
    }

    /// Return where the next item begins.
    pub fn position(&self) -> usize {
        self.decoder.reader.pos
    }

    /// Skip some bytes.
    pub fn skip(&mut self, bytes: usize) {
        let Reader { pos, limit, .. } = &mut self.decoder.reader;
        *pos = pos.saturating_add(bytes).min(*limit);
    }

    /// Read a key of a map, if it is a string.
    pub fn key(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let start = self.decoder.reader.pos;
        match self.decoder.reader.token()? {
            Token::Str(key) => Ok(Some(keys::key(self.decoder.py, key, start)?.into_any())),
            _ => Ok(None),
        }
    }

    /// Read a value nested in `depth` containers.
    pub fn value(&mut self, key: Option<Bound<'py, PyAny>>, depth: usize) -> PyResult<Item<'py>> {
        self.decoder.depth = depth;
        self.decoder.is_plain = true;
        let value = self.decoder.run(0)?;
        Ok(Item {
            key,
            value,
            is_plain: self.decoder.is_plain,
        })
    }

    /// Check that nothing follows.
    pub fn finish(&self) -> PyResult<()> {
        self.decoder.finish()
    }
}
