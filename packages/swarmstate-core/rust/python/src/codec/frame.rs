//! The encoder's open containers, and the path to the current value.

use pyo3::prelude::*;
use pyo3::types::{PyFrozenSet, PyList, PyString, PyTuple};

use super::cursor::DictCursor;
use super::encode::{fits, refused};
use super::scalars::{is_plain_key, plain_key, scalar};
use super::wire;

/// A container or ext that is being written.
pub enum Frame<'py> {
    List {
        items: Bound<'py, PyList>,
        next: usize,
        len: usize,
    },
    Tuple {
        items: Bound<'py, PyTuple>,
        next: usize,
    },
    Map(Map<'py>),
    /// A dict as alternating keys and values, for keys that a msgpack map cannot hold.
    Pairs {
        cursor: DictCursor<'py>,
        left: usize,
        key: Bound<'py, PyAny>,
        value: Option<Bound<'py, PyAny>>,
    },
    /// Closed once the value after its head is written; the method, if any, comes last.
    Ext {
        start: usize,
        code: i8,
        method: Option<&'static str>,
        depth: usize,
        fields: bool,
    },
}

pub struct Map<'py> {
    pub cursor: DictCursor<'py>,
    /// Where the map began in the output, to start over as pairs.
    pub start: usize,
    pub left: usize,
    /// The key whose value is being written; for messages.
    pub key: Option<Bound<'py, PyAny>>,
    /// The value for a key that is itself written as a container.
    pub value: Option<Bound<'py, PyAny>>,
}

impl<'py> Frame<'py> {
    /// Write the next scalars, up to the next value that is not one.
    #[inline]
    pub fn advance(&mut self, out: &mut Vec<u8>) -> PyResult<Step<'py>> {
        match self {
            Frame::List { items, next, len } => {
                while *next < *len {
                    let Ok(item) = items.get_item(*next) else {
                        return Err(refused("a list changed size while being encoded"));
                    };
                    *next += 1;
                    if !scalar(out, &item)? {
                        return Ok(Step::Value(item));
                    }
                }
                if items.len() != *len {
                    return Err(refused("a list changed size while being encoded"));
                }
                Ok(Step::Close)
            }
            Frame::Tuple { items, next } => {
                while *next < items.len() {
                    let item = items.get_item(*next)?;
                    *next += 1;
                    if !scalar(out, &item)? {
                        return Ok(Step::Value(item));
                    }
                }
                Ok(Step::Close)
            }
            Frame::Map(map) => map.advance(out),
            Frame::Pairs {
                cursor,
                left,
                key,
                value,
            } => {
                if let Some(value) = value.take() {
                    return Ok(Step::Value(value));
                }
                match cursor.next() {
                    Some((next, item)) if *left > 0 => {
                        *left -= 1;
                        *key = next.clone();
                        *value = Some(item);
                        Ok(Step::Value(next))
                    }
                    None if *left == 0 => Ok(Step::Close),
                    _ => Err(refused("a dict changed size while being encoded")),
                }
            }
            Frame::Ext { .. } => Ok(Step::Close),
        }
    }
}

impl<'py> Map<'py> {
    #[inline]
    fn advance(&mut self, out: &mut Vec<u8>) -> PyResult<Step<'py>> {
        if let Some(value) = self.value.take() {
            return Ok(Step::Value(value));
        }
        loop {
            match self.cursor.next() {
                Some((key, value)) if self.left > 0 => {
                    self.left -= 1;
                    let string = key
                        .cast_exact::<PyString>()
                        .ok()
                        .and_then(|key| key.to_str().ok());
                    if let Some(text) = string {
                        fits(wire::write_str(out, text))?;
                    } else if let Ok(tuple) = key.cast_exact::<PyTuple>() {
                        if !is_plain_key(tuple)? {
                            return Ok(Step::AsPairs);
                        }
                        self.key = Some(key.clone());
                        self.value = Some(value);
                        return Ok(Step::Value(key));
                    } else if !plain_key(out, &key)? {
                        return Ok(Step::AsPairs);
                    }
                    if !scalar(out, &value)? {
                        self.key = Some(key);
                        return Ok(Step::Value(value));
                    }
                }
                None if self.left == 0 => return Ok(Step::Close),
                _ => return Err(refused("a dict changed size while being encoded")),
            }
        }
    }
}

/// What the innermost frame needs next.
pub enum Step<'py> {
    Value(Bound<'py, PyAny>),
    Close,
    /// The innermost map has a key that needs the pairs form.
    AsPairs,
}

/// Return the path to the encoder's position, written as Python code after the value's name.
pub fn path(frames: &[Frame<'_>]) -> String {
    /// Long paths come from cycles: their beginning is enough.
    const MAX_PARTS: usize = 12;
    let mut parts = Vec::new();
    let mut fields = false;
    for frame in frames {
        let label = |key: &Bound<'_, PyAny>| match key.extract::<String>() {
            Ok(name) if fields => format!(".{name}"),
            _ => format!("[{}]", shown(key)),
        };
        match frame {
            Frame::List { next, .. } | Frame::Tuple { next, .. } if *next > 0 => {
                parts.push(format!("[{}]", next - 1));
            }
            Frame::Map(Map { key: Some(key), .. }) => parts.push(label(key)),
            Frame::Pairs { key, value, .. } => {
                let note = if value.is_some() {
                    " (the key itself)"
                } else {
                    ""
                };
                parts.push(label(key) + note);
            }
            _ => {}
        }
        fields = matches!(frame, Frame::Ext { fields: true, .. });
    }
    if parts.is_empty() {
        return "the top level".to_owned();
    }
    let more = if parts.len() > MAX_PARTS { "…" } else { "" };
    parts.truncate(MAX_PARTS);
    parts.concat() + more
}

/// Return Python's repr of a key. The repr of a deeply nested key may need a larger stack than this
/// thread's, so it is replaced by the type.
fn shown(key: &Bound<'_, PyAny>) -> String {
    let is_container = |value: &Bound<'_, PyAny>| {
        value.is_instance_of::<PyTuple>() || value.is_instance_of::<PyFrozenSet>()
    };
    let is_nested = match key.try_iter() {
        Ok(mut items) if is_container(key) => {
            items.any(|item| item.is_ok_and(|item| is_container(&item)))
        }
        _ => false,
    };
    let text = if is_nested {
        key.get_type().name()
    } else {
        key.repr()
    };
    text.map_or("?".to_owned(), |text| text.to_string())
}
