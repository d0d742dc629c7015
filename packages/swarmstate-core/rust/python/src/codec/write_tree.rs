//! Writes values without hooks in one pass: nested containers, scalars and plain models.
//!
//! It recurses to a bounded depth, which is faster than keeping frames. When it meets anything
//! else, it opens the frames that it would have kept. So nothing is written twice, and failures are
//! left to the general path, which knows their location.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple};

use super::cursor::{DictCursor, with_item};
use super::encode::Encoder;
use super::frame::{Frame, Map};
use super::scalars::scalar;
use super::wire::{self, MAX_DEPTH};

/// How far a value was written.
pub enum Tree<'py> {
    Whole,
    /// Up to this value, or to one that the innermost frame will see next. The frames are opened in
    /// reverse order, innermost first.
    Open(Option<Bound<'py, PyAny>>),
}

/// The outcome for an item of a dict.
enum Item<'py> {
    Written,
    /// Its key is written; its value is not a scalar.
    Unwritten(Bound<'py, PyAny>, Bound<'py, PyAny>),
    /// Left to the general path, for example because the key is not a scalar or there are more
    /// items than before.
    Strange,
}

/// The outcome for a borrowed value.
pub enum Lent<'py> {
    Written,
    /// It is not a scalar.
    Larger(Bound<'py, PyAny>),
    /// It is a scalar that only the general path can write or reject. Trying to may have run the
    /// garbage collector, and so any code: the value must not be touched again.
    Refused,
}

/// Write a borrowed scalar.
#[inline]
pub fn lent<'py>(out: &mut Vec<u8>, value: &Bound<'py, PyAny>) -> Lent<'py> {
    let may_be_refused =
        value.is_exact_instance_of::<PyString>() || value.is_exact_instance_of::<PyInt>();
    match scalar(out, value) {
        Ok(true) => Lent::Written,
        Ok(false) if !may_be_refused => Lent::Larger(value.clone()),
        _ => Lent::Refused,
    }
}

/// Write a scalar; false if it is not one, or one that only the general path can write or reject.
#[inline]
fn plain(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> bool {
    scalar(out, value).unwrap_or(false)
}

#[inline]
fn plain_key(out: &mut Vec<u8>, key: &Bound<'_, PyAny>) -> bool {
    match key.cast_exact::<PyString>().map(|key| key.to_str()) {
        Ok(Ok(text)) => wire::write_str(out, text),
        _ => plain(out, key),
    }
}

impl<'py> Encoder<'py, '_> {
    /// Write a value as far as it is plain; `room` bounds the recursion.
    pub fn tree(&mut self, value: &Bound<'py, PyAny>, room: usize) -> PyResult<Tree<'py>> {
        if plain(&mut self.out, value) {
            return Ok(Tree::Whole);
        }
        self.branch(value, room)
    }

    /// Write a value that is known not to be a plain scalar.
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
            let out = &mut self.out;
            let end = out.len();
            let item = cursor.with_next(|key, value| {
                if left == 0 || !plain_key(out, key) {
                    return Item::Strange;
                }
                match lent(out, value) {
                    Lent::Written => Item::Written,
                    Lent::Larger(value) => Item::Unwritten(key.clone(), value),
                    Lent::Refused => Item::Strange,
                }
            });
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
                Some(Item::Written) => left -= 1,
                Some(Item::Unwritten(key, value)) => {
                    left -= 1;
                    if let Tree::Open(pending) = self.branch(&value, room)? {
                        self.frames.push(open(cursor, left, Some(key)));
                        return Ok(Tree::Open(pending));
                    }
                }
                None if left == 0 => {
                    self.depth -= 1;
                    return Ok(Tree::Whole);
                }
                Some(Item::Strange) | None => {
                    cursor.pos = before;
                    self.out.truncate(end);
                    self.frames.push(open(cursor, left, None));
                    return Ok(Tree::Open(None));
                }
            }
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
        while next < len {
            let out = &mut self.out;
            let item = match with_item(list, next, |item| lent(out, item)) {
                Some(Lent::Written) => {
                    next += 1;
                    continue;
                }
                Some(Lent::Larger(item)) => item,
                Some(Lent::Refused) | None => break,
            };
            next += 1;
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
