//! Reads lists and dicts without frames, by bounded recursion.
//!
//! Nothing is read twice: a value that needs frames gets them where it begins.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList};

use super::decode::{Decoder, Frame, Use};
use super::keys;
use super::read::Token;

/// Levels of containers that are read recursively.
pub const ROOM: usize = 32;

impl<'a, 'py> Decoder<'a, 'py, '_> {
    /// Read a standalone value. Within a model, returns None if it is not plain.
    pub fn tree(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let start = self.reader.pos;
        if let Some(text) = self.reader.short() {
            return Ok(Some(keys::string(self.py, text, start)?.into_any()));
        }
        match self.reader.token()? {
            Token::Array(len) => self.tree_array(start, len),
            Token::Map(len) => self.tree_map(start, len),
            Token::Ext(..) if self.in_model => Ok(None),
            Token::Ext(code, len) => {
                let base = self.frames.len();
                match self.open_ext(start, code, len)? {
                    Some(value) => Ok(Some(value)),
                    None => self.run(base).map(Some),
                }
            }
            token => self.scalar(token, start).map(Some),
        }
    }

    /// Return the value of a token that is not a container or ext.
    #[inline]
    pub fn scalar(&self, token: Token<'a>, start: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match token {
            Token::Str(bytes) => keys::string(py, bytes, start)?.into_any(),
            Token::Bool(truth) => PyBool::new(py, truth).to_owned().into_any(),
            Token::Uint(number) => number.into_pyobject(py)?.into_any(),
            Token::Int(number) => number.into_pyobject(py)?.into_any(),
            Token::Float(number) => PyFloat::new(py, number).into_any(),
            Token::Bin(bytes) => PyBytes::new(py, bytes).into_any(),
            Token::Nil | Token::Array(_) | Token::Map(_) | Token::Ext(..) => {
                py.None().into_bound(py)
            }
        })
    }

    /// Count one more open container; false if there is no room to recurse into it.
    pub fn enter(&mut self, start: usize) -> PyResult<bool> {
        self.open(start)?;
        if self.room == 0 {
            return Ok(false);
        }
        self.room -= 1;
        Ok(true)
    }

    pub fn leave(&mut self) {
        self.depth -= 1;
        self.room += 1;
    }

    pub fn tree_array(&mut self, start: usize, len: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let base = self.values.len();
        if !self.enter(start)? {
            if self.in_model {
                return Ok(None);
            }
            if len > 0 {
                let frames = self.frames.len();
                self.frames.push(Frame::Array {
                    base,
                    left: len,
                    role: Use::Value,
                });
                return self.run(frames).map(Some);
            }
            self.depth -= 1;
            return Ok(Some(PyList::empty(self.py).into_any()));
        }
        for _ in 0..len {
            match self.tree()? {
                Some(item) => self.values.push(item),
                None => return Ok(None),
            }
        }
        self.leave();
        let list = PyList::new(self.py, self.values.drain(base..))?;
        Ok(Some(list.into_any()))
    }

    pub fn tree_map(&mut self, start: usize, len: usize) -> PyResult<Option<Bound<'py, PyAny>>> {
        let dict = PyDict::new(self.py);
        if !self.enter(start)? {
            if self.in_model {
                return Ok(None);
            }
            return self.framed_map(dict, len).map(Some);
        }
        for done in 0..len {
            let at = self.reader.pos;
            if let Some(text) = self.reader.short() {
                let key = keys::key(self.py, text, at)?;
                match self.tree()? {
                    Some(value) => dict.set_item(key, value)?,
                    None => return Ok(None),
                }
                continue;
            }
            let key = match self.reader.token()? {
                Token::Str(text) => keys::key(self.py, text, at)?.into_any(),
                Token::Array(_) | Token::Map(_) | Token::Ext(..) => {
                    if self.in_model {
                        return Ok(None);
                    }
                    // Tuples follow their own rules.
                    self.reader.pos = at;
                    self.room += 1;
                    return self.framed_map(dict, len - done).map(Some);
                }
                token => self.scalar(token, at)?,
            };
            match self.tree()? {
                Some(value) => dict.set_item(key, value)?,
                None => return Ok(None),
            }
        }
        self.leave();
        Ok(Some(dict.into_any()))
    }

    /// Read the rest of a map with a frame.
    fn framed_map(&mut self, dict: Bound<'py, PyDict>, left: usize) -> PyResult<Bound<'py, PyAny>> {
        if left == 0 {
            self.depth -= 1;
            return Ok(dict.into_any());
        }
        let frames = self.frames.len();
        self.frames.push(Frame::Map {
            dict,
            left,
            key: None,
        });
        self.run(frames)
    }
}
