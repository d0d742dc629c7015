//! Decodes bytes to a Python value.
//!
//! Like the encoder, the decoder keeps its own stack: nesting costs heap, bounded by the limits in
//! [`super::wire`], and never native stack. No length is trusted before its bytes are present:
//! items wait on one shared stack until their list is complete.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::error::{DecodeError, class_name, damaged};
use super::guard::{CollectorPause, Entry};
use super::head::Head;
use super::keys;
use super::models::Plan;
use super::policy::Policy;
use super::read::{Reader, Token};
use super::read_tree::ROOM;
use super::wire::{MAX_DEPTH, ext};

/// What a value will be used for, which decides what arrays become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// An ordinary value: arrays are lists.
    Value,
    /// Part of a set, which held only hashable values, so arrays were tuples.
    Hashable,
    /// A key of a map: like `Hashable`, but maps and exts are not allowed.
    Key,
}

pub enum Frame<'a, 'py> {
    /// Its items are on the shared stack from `base` on.
    Array { base: usize, left: usize, role: Use },
    Map {
        dict: Bound<'py, PyDict>,
        left: usize,
        key: Option<Bound<'py, PyAny>>,
    },
    Pairs {
        dict: Bound<'py, PyDict>,
        left: usize,
        key: Option<Bound<'py, PyAny>>,
    },
    /// `limit` and `depth` are the values outside of it.
    Ext {
        code: i8,
        head: Option<Head<'a>>,
        limit: usize,
        depth: usize,
    },
}

/// A model class met before, identified by the bytes that name it.
pub struct Met<'a> {
    pub bytes: &'a [u8],
    pub head: Head<'a>,
    /// How its instances are rebuilt; None if they take the general path.
    pub plan: Option<Arc<Plan>>,
}

pub struct Decoder<'a, 'py, 'p> {
    pub py: Python<'py>,
    pub reader: Reader<'a>,
    pub frames: Vec<Frame<'a, 'py>>,
    pub values: Vec<Bound<'py, PyAny>>,
    pub depth: usize,
    pub ext_depth: usize,
    /// How many more levels may be read recursively.
    pub room: usize,
    /// Whether the current value is in a model that is rebuilt from its fields.
    pub in_model: bool,
    /// Whether everything built so far is plain data or models rebuilt from their fields.
    pub is_plain: bool,
    pub met: Vec<Met<'a>>,
    /// The plans of further classes, if there are many.
    pub met_later: HashMap<&'a [u8], Option<Arc<Plan>>>,
    pub policy: &'p Policy,
}

/// Decode all of `data`; see `swarmstate.loads`.
pub fn decode<'py>(py: Python<'py>, data: &[u8], policy: &Policy) -> PyResult<Bound<'py, PyAny>> {
    let _entry = enter()?;
    let _pause = CollectorPause::for_size(py, data.len());
    let mut decoder = Decoder::new(py, data, policy);
    let value = decoder.run(0)?;
    decoder.finish()?;
    Ok(value)
}

pub(super) fn enter() -> PyResult<Entry> {
    Entry::new().ok_or_else(|| {
        DecodeError::new_err(
            "the codec was re-entered from its own hooks too many times; a constructor must not \
             decode its own object",
        )
    })
}

impl<'a, 'py, 'p> Decoder<'a, 'py, 'p> {
    pub(super) fn new(py: Python<'py>, data: &'a [u8], policy: &'p Policy) -> Self {
        Self {
            py,
            reader: Reader::new(data),
            frames: Vec::new(),
            values: Vec::new(),
            depth: 0,
            ext_depth: 0,
            room: ROOM,
            in_model: false,
            is_plain: true,
            met: Vec::new(),
            met_later: HashMap::new(),
            policy,
        }
    }

    /// Check that nothing follows the value.
    pub(super) fn finish(&self) -> PyResult<()> {
        let Reader { pos, limit, .. } = self.reader;
        if pos != limit {
            return Err(damaged(
                pos,
                format_args!("expected the end, found {} more bytes", limit - pos),
            ));
        }
        Ok(())
    }

    /// Read until only `base` frames are open.
    pub fn run(&mut self, base: usize) -> PyResult<Bound<'py, PyAny>> {
        loop {
            let Some(mut value) = self.read()? else {
                continue;
            };
            loop {
                if self.frames.len() == base {
                    return Ok(value);
                }
                match self.deliver(value)? {
                    Delivery::Complete(complete) => value = complete,
                    Delivery::More => break,
                }
            }
        }
    }

    /// Return what the next value will be used for.
    #[inline]
    pub fn role(&self) -> Use {
        match self.frames.last() {
            Some(Frame::Array { role, .. }) => *role,
            Some(Frame::Map { key: None, .. }) => Use::Key,
            Some(Frame::Pairs { key: None, .. }) => Use::Hashable,
            Some(Frame::Ext {
                head: Some(head), ..
            }) if head.is_set() => Use::Hashable,
            _ => Use::Value,
        }
    }

    /// Read a scalar or an empty container; `None` if a frame was opened instead.
    #[inline]
    fn read(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let start = self.reader.pos;
        match self.reader.token()? {
            Token::Str(bytes)
                if matches!(self.frames.last(), Some(Frame::Map { key: None, .. })) =>
            {
                Ok(Some(keys::key(self.py, bytes, start)?.into_any()))
            }
            Token::Array(len) => self.open_array(start, len),
            Token::Map(len) => self.open_map(start, len),
            Token::Ext(code, len) => self.open_ext(start, code, len),
            token => self.scalar(token, start).map(Some),
        }
    }

    /// Return whether a container that begins here can be read recursively.
    fn is_tree(&self, role: Use) -> bool {
        let in_bare_ext = matches!(self.frames.last(), Some(Frame::Ext { head: None, .. }));
        role == Use::Value && self.room > 0 && !in_bare_ext
    }

    pub fn open(&mut self, start: usize) -> PyResult<()> {
        if self.depth == MAX_DEPTH {
            return Err(damaged(
                start,
                format_args!("expected at most {MAX_DEPTH} nested containers, found more"),
            ));
        }
        self.depth += 1;
        Ok(())
    }

    fn open_array(&mut self, start: usize, len: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let role = self.role();
        if self.is_tree(role) {
            return self.tree_array(start, len);
        }
        self.open(start)?;
        if let Some(Frame::Ext {
            code: ext::PAIRS, ..
        }) = self.frames.last()
        {
            if !len.is_multiple_of(2) {
                return Err(damaged(
                    start,
                    format_args!("expected alternating keys and values, found {len} items"),
                ));
            }
            let dict = PyDict::new(self.py);
            if len > 0 {
                self.frames.push(Frame::Pairs {
                    dict,
                    left: len / 2,
                    key: None,
                });
                return Ok(None);
            }
            self.depth -= 1;
            return Ok(Some(dict.into_any()));
        }
        if len > 0 {
            self.frames.push(Frame::Array {
                base: self.values.len(),
                left: len,
                role,
            });
            return Ok(None);
        }
        self.depth -= 1;
        Ok(Some(match role {
            Use::Value => PyList::empty(self.py).into_any(),
            Use::Hashable | Use::Key => PyTuple::empty(self.py).into_any(),
        }))
    }

    fn open_map(&mut self, start: usize, len: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let role = self.role();
        if role == Use::Key {
            return Err(damaged(
                start,
                format_args!("expected a map key, found a map"),
            ));
        }
        if self.is_tree(role) {
            return self.tree_map(start, len);
        }
        self.open(start)?;
        let dict = PyDict::new(self.py);
        if len > 0 {
            self.frames.push(Frame::Map {
                dict,
                left: len,
                key: None,
            });
            return Ok(None);
        }
        self.depth -= 1;
        Ok(Some(dict.into_any()))
    }

    /// Pass a value to the innermost frame.
    #[inline]
    fn deliver(&mut self, value: Bound<'py, PyAny>) -> PyResult<Delivery<'py>> {
        match self.frames.last_mut() {
            None => Ok(Delivery::Complete(value)),
            Some(Frame::Array { base, left, role }) => {
                self.values.push(value);
                *left -= 1;
                if *left > 0 {
                    return Ok(Delivery::More);
                }
                let items = self.values.drain(*base..);
                let complete = match role {
                    Use::Value => PyList::new(self.py, items)?.into_any(),
                    Use::Hashable | Use::Key => PyTuple::new(self.py, items)?.into_any(),
                };
                self.frames.pop();
                self.depth -= 1;
                Ok(Delivery::Complete(complete))
            }
            Some(Frame::Map { dict, left, key } | Frame::Pairs { dict, left, key }) => {
                let Some(name) = key.take() else {
                    *key = Some(value);
                    return Ok(Delivery::More);
                };
                dict.set_item(&name, value).map_err(|error| {
                    let class = class_name(name.get_type().as_any());
                    let failure = DecodeError::new_err(format!(
                        "before byte {}: expected a hashable key, found {class}",
                        self.reader.pos
                    ));
                    failure.set_cause(self.py, Some(error));
                    failure
                })?;
                *left -= 1;
                if *left > 0 {
                    return Ok(Delivery::More);
                }
                let complete = dict.clone().into_any();
                self.frames.pop();
                self.depth -= 1;
                Ok(Delivery::Complete(complete))
            }
            Some(Frame::Ext { .. }) => self.close_ext(value).map(Delivery::Complete),
        }
    }
}

enum Delivery<'py> {
    /// The frame is complete; its value goes to the enclosing frame.
    Complete(Bound<'py, PyAny>),
    More,
}
