//! Writing what needs no hooks in one go: containers of each other, of scalars, and plain models.
//!
//! It recurses a little, which is faster than keeping frames, and opens the frames it would have
//! kept when it meets something else. So nothing is written twice, and whatever fails is left to
//! the general path, which knows where it is.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::cursor::DictCursor;
use super::encode::Encoder;
use super::frame::{Frame, Map};
use super::scalars::scalar;
use super::wire::{self, MAX_DEPTH};

/// How far a value was written.
pub enum Tree<'py> {
    Whole,
    /// Up to this value, or to one that the innermost frame will see next. The frames are open
    /// in the wrong order: innermost first.
    Open(Option<Bound<'py, PyAny>>),
}

impl<'py> Encoder<'py, '_> {
    /// Write a value as far as it is plain; `room` bounds the recursion.
    pub fn tree(&mut self, value: &Bound<'py, PyAny>, room: usize) -> PyResult<Tree<'py>> {
        if scalar(&mut self.out, value).unwrap_or(false) {
            return Ok(Tree::Whole);
        }
        self.branch(value, room)
    }

    /// Write a value of which it is known that it is no plain scalar.
    fn branch(&mut self, value: &Bound<'py, PyAny>, room: usize) -> PyResult<Tree<'py>> {
        let can_open = room > 0 && self.depth < MAX_DEPTH;
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            if can_open {
                return self.tree_dict(dict, room - 1);
            }
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            if can_open {
                return self.tree_list(list, room - 1);
            }
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            if can_open {
                return self.tree_tuple(tuple, room - 1);
            }
        } else if self.model(value)? {
            return Ok(Tree::Whole);
        }
        Ok(Tree::Open(Some(value.clone())))
    }

    fn tree_dict(&mut self, dict: &Bound<'py, PyDict>, room: usize) -> PyResult<Tree<'py>> {
        let (start, mut left) = (self.out.len(), dict.len());
        if !wire::write_map_header(&mut self.out, left) {
            return Ok(Tree::Open(Some(dict.clone().into_any())));
        }
        self.depth += 1;
        let mut cursor = DictCursor::new(dict.clone());
        loop {
            let before = cursor.pos;
            let item = cursor.next();
            if item.is_none() && left == 0 {
                self.depth -= 1;
                return Ok(Tree::Whole);
            }
            let open = |cursor, left, key| {
                Frame::Map(Map {
                    cursor,
                    start,
                    left,
                    key,
                    value: None,
                })
            };
            match item {
                Some((key, value)) if left > 0 && self.plain_key(&key) => {
                    left -= 1;
                    if scalar(&mut self.out, &value).unwrap_or(false) {
                        continue;
                    }
                    if let Tree::Open(pending) = self.branch(&value, room)? {
                        self.frames.push(open(cursor, left, Some(key)));
                        return Ok(Tree::Open(pending));
                    }
                }
                _ => {
                    cursor.pos = before;
                    self.frames.push(open(cursor, left, None));
                    return Ok(Tree::Open(None));
                }
            }
        }
    }

    fn plain_key(&mut self, key: &Bound<'py, PyAny>) -> bool {
        match key.cast_exact::<PyString>().map(|key| key.to_str()) {
            Ok(Ok(text)) => wire::write_str(&mut self.out, text),
            _ => scalar(&mut self.out, key).unwrap_or(false),
        }
    }

    fn tree_list(&mut self, list: &Bound<'py, PyList>, room: usize) -> PyResult<Tree<'py>> {
        let len = list.len();
        if !wire::write_array_header(&mut self.out, len) {
            return Ok(Tree::Open(Some(list.clone().into_any())));
        }
        self.depth += 1;
        let mut next = 0;
        let mut pending = None;
        while let Ok(item) = list.get_item(next)
            && next < len
        {
            next += 1;
            if scalar(&mut self.out, &item).unwrap_or(false) {
                continue;
            }
            if let Tree::Open(unwritten) = self.branch(&item, room)? {
                pending = Some(unwritten);
                break;
            }
        }
        if pending.is_none() && next == len && list.len() == len {
            self.depth -= 1;
            return Ok(Tree::Whole);
        }
        self.frames.push(Frame::List {
            items: list.clone(),
            next,
            len,
        });
        Ok(Tree::Open(pending.flatten()))
    }

    fn tree_tuple(&mut self, tuple: &Bound<'py, PyTuple>, room: usize) -> PyResult<Tree<'py>> {
        if !wire::write_array_header(&mut self.out, tuple.len()) {
            return Ok(Tree::Open(Some(tuple.clone().into_any())));
        }
        self.depth += 1;
        for (index, item) in tuple.iter().enumerate() {
            if let Tree::Open(pending) = self.tree(&item, room)? {
                self.frames.push(Frame::Tuple {
                    items: tuple.clone(),
                    next: index + 1,
                });
                return Ok(Tree::Open(pending));
            }
        }
        self.depth -= 1;
        Ok(Tree::Whole)
    }
}
