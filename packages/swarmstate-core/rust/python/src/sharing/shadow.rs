//! Proof that a value is what it was: what its whole object tree consisted of.
//!
//! A shadow holds references to every object in a tree whose leaves are
//! immutable. While it holds them, no object can be freed and its address used
//! again, so equal addresses all the way down mean that nothing was changed,
//! neither by assignment nor in place. Trees with anything else in them have no
//! shadow: they are encoded and compared by their bytes.

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
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
            let fields = Self::capture(&instance_dict(value)?, depth + 1)?;
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
        let py = value.py();
        match &self.parts {
            Parts::None => Ok(true),
            Parts::List(items) => {
                let Ok(list) = value.cast_exact::<PyList>() else {
                    return Ok(false);
                };
                if list.len() != items.len() {
                    return Ok(false);
                }
                for (index, shadow) in items.iter().enumerate() {
                    match list.get_item(index) {
                        Ok(item) if shadow.holds(&item)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            Parts::Tuple(items) => {
                let Ok(tuple) = value.cast_exact::<PyTuple>() else {
                    return Ok(false);
                };
                for (shadow, item) in items.iter().zip(tuple.iter_borrowed()) {
                    if !shadow.holds(&item)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Parts::Dict(items) => match value.cast_exact::<PyDict>() {
                Ok(dict) => holds_items(items, dict),
                Err(_) => Ok(false),
            },
            Parts::Model {
                class,
                fields,
                extra,
            } => {
                if !value.get_type().is(class) {
                    return Ok(false);
                }
                let dict = instance_dict(value)?;
                Ok(fields.holds(&dict)?
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

/// Whether a dict holds exactly these items, in this order.
fn holds_items(items: &[(Py<PyAny>, Shadow)], dict: &Bound<'_, PyDict>) -> PyResult<bool> {
    if dict.len() != items.len() {
        return Ok(false);
    }
    let py = dict.py();
    with_critical_section(dict, || {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut position = 0;
        for (known, shadow) in items {
            // SAFETY: `dict` is a dict and alive, and PyDict_Next checks `position` against it.
            // Nothing below runs other code than reading attributes of plain models, so the
            // references it lends are good until they are compared or taken.
            unsafe {
                if ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) == 0
                    || key != known.as_ptr()
                    || value != shadow.object.as_ptr()
                {
                    return Ok(false);
                }
                if !matches!(shadow.parts, Parts::None)
                    && !shadow.holds(&Bound::from_borrowed_ptr(py, value))?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    })
}

/// The `__dict__` of an instance, without looking the attribute up.
fn instance_dict<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: `value` is a live object; the result is a new reference, or null with an error set.
    unsafe {
        Bound::from_owned_ptr_or_err(
            value.py(),
            ffi::PyObject_GenericGetDict(value.as_ptr(), std::ptr::null_mut()),
        )
    }
}
