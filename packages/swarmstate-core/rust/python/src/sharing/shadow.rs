//! Proof that a value is what it was: what its whole object tree consisted of.
//!
//! A shadow holds references to every object in a tree whose leaves are
//! immutable. While it holds them, no object can be freed and its address used
//! again, so equal addresses all the way down mean that nothing was changed,
//! neither by assignment nor in place. Trees with anything else in them have no
//! shadow: they are encoded and compared by their bytes.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::codec::{DictCursor, is_plain_model};

/// Trees nested more deeply are not worth the proof.
const MAX_DEPTH: usize = 32;

/// What a value consisted of.
pub(super) struct Shadow {
    object: Py<PyAny>,
    parts: Parts,
}

enum Parts {
    /// An immutable object: None, a bool, a number, a string or bytes.
    None,
    List(Box<[Shadow]>),
    /// Tuples cannot change, but what they hold can.
    Tuple(Box<[Shadow]>),
    Dict(Box<[(Py<PyAny>, Shadow)]>),
    /// A pydantic model that is no more than its fields, and its extra fields.
    Model {
        class: Py<PyAny>,
        fields: Box<Shadow>,
        extra: Box<Shadow>,
    },
}

impl Shadow {
    /// Takes the shadow of a value, if it can have one.
    pub(super) fn of(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        Self::capture(value, 0)
    }

    fn capture(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Option<Self>> {
        if depth == MAX_DEPTH {
            return Ok(None);
        }
        let parts = if is_leaf(value) {
            Parts::None
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            match capture_all(list.iter(), depth)? {
                Some(items) => Parts::List(items),
                None => return Ok(None),
            }
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            match capture_all(tuple.iter(), depth)? {
                Some(items) => Parts::Tuple(items),
                None => return Ok(None),
            }
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            let mut items = Vec::with_capacity(dict.len());
            let mut cursor = DictCursor::new(dict.clone());
            while let Some((key, value)) = cursor.next() {
                if !is_leaf(&key) {
                    return Ok(None);
                }
                match Self::capture(&value, depth + 1)? {
                    Some(shadow) => items.push((key.unbind(), shadow)),
                    None => return Ok(None),
                }
            }
            Parts::Dict(items.into_boxed_slice())
        } else if is_plain_model(&value.get_type())? {
            let py = value.py();
            let fields = Self::capture(&value.getattr(intern!(py, "__dict__"))?, depth + 1)?;
            let extra = value.getattr(intern!(py, "__pydantic_extra__"))?;
            match (fields, Self::capture(&extra, depth + 1)?) {
                (Some(fields), Some(extra)) => Parts::Model {
                    class: value.get_type().into_any().unbind(),
                    fields: Box::new(fields),
                    extra: Box::new(extra),
                },
                _ => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        Ok(Some(Self {
            object: value.clone().unbind(),
            parts,
        }))
    }

    /// The object that this is the shadow of.
    pub(super) fn object(&self) -> &Py<PyAny> {
        &self.object
    }

    /// Whether `value` is the same object as then and holds the same as then.
    pub(super) fn holds(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        if !value.is(&self.object) {
            return Ok(false);
        }
        match &self.parts {
            Parts::None => Ok(true),
            Parts::List(items) => match value.cast_exact::<PyList>() {
                Ok(list) if list.len() == items.len() => hold_all(items, list.iter()),
                _ => Ok(false),
            },
            Parts::Tuple(items) => match value.cast_exact::<PyTuple>() {
                Ok(tuple) => hold_all(items, tuple.iter()),
                _ => Ok(false),
            },
            Parts::Dict(items) => {
                let Ok(dict) = value.cast_exact::<PyDict>() else {
                    return Ok(false);
                };
                if dict.len() != items.len() {
                    return Ok(false);
                }
                let mut cursor = DictCursor::new(dict.clone());
                for (key, shadow) in items {
                    match cursor.next() {
                        Some((found, value)) if found.is(key) && shadow.holds(&value)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            Parts::Model {
                class,
                fields,
                extra,
            } => {
                let py = value.py();
                Ok(value.get_type().is(class)
                    && fields.holds(&value.getattr(intern!(py, "__dict__"))?)?
                    && extra.holds(&value.getattr(intern!(py, "__pydantic_extra__"))?)?)
            }
        }
    }

    /// How many objects it holds on to; for the memory budget.
    pub(super) fn size(&self) -> usize {
        1 + match &self.parts {
            Parts::None => 0,
            Parts::List(items) | Parts::Tuple(items) => items.iter().map(Self::size).sum(),
            Parts::Dict(items) => items.iter().map(|(_, shadow)| 1 + shadow.size()).sum(),
            Parts::Model { fields, extra, .. } => fields.size() + extra.size(),
        }
    }
}

fn is_leaf(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyString>()
        || value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBytes>()
}

fn capture_all<'py>(
    values: impl Iterator<Item = Bound<'py, PyAny>>,
    depth: usize,
) -> PyResult<Option<Box<[Shadow]>>> {
    values
        .map(|value| Shadow::capture(&value, depth + 1))
        .collect()
}

fn hold_all<'py>(
    shadows: &[Shadow],
    values: impl Iterator<Item = Bound<'py, PyAny>>,
) -> PyResult<bool> {
    for (shadow, value) in shadows.iter().zip(values) {
        if !shadow.holds(&value)? {
            return Ok(false);
        }
    }
    Ok(true)
}
