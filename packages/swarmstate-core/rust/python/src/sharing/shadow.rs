//! Proof that a value is what it was: what its whole object tree consisted of.
//!
//! A shadow holds references to every object in a tree whose leaves are
//! immutable. While it holds them, no object can be freed and its address used
//! again, so equal addresses all the way down mean that nothing was changed,
//! neither by assignment nor in place. Trees with anything else in them have no
//! shadow: they are encoded and compared by their bytes.

use std::slice::Iter;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

use crate::codec::{DictCursor, is_plain_model};

/// Trees nested more deeply are not worth the proof.
const MAX_DEPTH: usize = 32;

/// Whether classes that were met are plain models; finding out takes a few look-ups.
#[derive(Default)]
pub(super) struct Classes<'py>(Vec<(Bound<'py, PyType>, bool)>);

impl<'py> Classes<'py> {
    fn is_plain_model(&mut self, class: &Bound<'py, PyType>) -> PyResult<bool> {
        if let Some((_, is_plain)) = self.0.iter().find(|(known, _)| known.is(class)) {
            return Ok(*is_plain);
        }
        let is_plain = is_plain_model(class)?;
        self.0.push((class.clone(), is_plain));
        Ok(is_plain)
    }
}

/// Steps that most values take no more than.
const USUAL_STEPS: usize = 64;

/// What a value consisted of: its objects in the order in which a walk meets them.
pub(super) struct Shadow(Box<[Step]>);

/// An object that was met. What it holds follows it.
enum Step {
    /// None, a bool, a number, a string, bytes or a class: immutable.
    Leaf(Py<PyAny>),
    List(Py<PyAny>, usize),
    /// Tuples cannot change, but what they hold can.
    Tuple(Py<PyAny>),
    /// Keys, which are leaves, and values in turn.
    Dict(Py<PyAny>, usize),
    /// A pydantic model that is no more than its class, its fields and its extra fields.
    Model(Py<PyAny>),
}

impl Step {
    fn object(&self) -> &Py<PyAny> {
        match self {
            Self::Leaf(object)
            | Self::List(object, _)
            | Self::Tuple(object)
            | Self::Dict(object, _)
            | Self::Model(object) => object,
        }
    }
}

impl Shadow {
    /// Takes the shadow of a value, if it can have one.
    pub(super) fn of<'py>(
        classes: &mut Classes<'py>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Self>> {
        let mut steps = Vec::with_capacity(USUAL_STEPS);
        let is_complete = walk(classes, &mut steps, value, 0)?;
        Ok(is_complete.then(|| Self(steps.into_boxed_slice())))
    }

    /// The address of the object that this is the shadow of.
    pub(super) fn address(&self) -> *mut ffi::PyObject {
        self.0
            .first()
            .map_or(std::ptr::null_mut(), |step| step.object().as_ptr())
    }

    /// Whether `value` is the same object as then and holds the same as then.
    pub(super) fn holds(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        retrace(&mut self.0.iter(), value)
    }

    /// How many objects it holds on to; for the memory budget.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }
}

/// Append what a value consists of; false if something in it may change unnoticed.
fn walk<'py>(
    classes: &mut Classes<'py>,
    steps: &mut Vec<Step>,
    value: &Bound<'py, PyAny>,
    depth: usize,
) -> PyResult<bool> {
    let object = || value.clone().unbind();
    if is_leaf(value) {
        steps.push(Step::Leaf(object()));
        return Ok(true);
    }
    if depth == MAX_DEPTH {
        return Ok(false);
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        steps.push(Step::Dict(object(), dict.len()));
        let mut cursor = DictCursor::new(dict.clone());
        while let Some((key, value)) = cursor.next() {
            if !is_leaf(&key) {
                return Ok(false);
            }
            steps.push(Step::Leaf(key.unbind()));
            if !walk(classes, steps, &value, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if let Ok(list) = value.cast_exact::<PyList>() {
        steps.push(Step::List(object(), list.len()));
        for item in list {
            if !walk(classes, steps, &item, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        steps.push(Step::Tuple(object()));
        for item in tuple.iter_borrowed() {
            if !walk(classes, steps, &item, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let class = value.get_type();
    if !classes.is_plain_model(&class)? {
        return Ok(false);
    }
    steps.push(Step::Model(object()));
    steps.push(Step::Leaf(class.into_any().unbind()));
    Ok(walk(classes, steps, &instance_dict(value)?, depth + 1)?
        && walk(classes, steps, &extra_fields(value)?, depth + 1)?)
}

/// Whether the next steps are those of a walk over `value` now.
fn retrace(steps: &mut Iter<'_, Step>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(step) = steps.next() else {
        return Ok(false);
    };
    if !value.is(step.object()) {
        return Ok(false);
    }
    match step {
        Step::Leaf(_) => Ok(true),
        Step::Dict(_, len) => match value.cast_exact::<PyDict>() {
            Ok(dict) if dict.len() == *len => retrace_dict(steps, dict),
            _ => Ok(false),
        },
        Step::List(_, len) => {
            let Ok(list) = value.cast_exact::<PyList>() else {
                return Ok(false);
            };
            if list.len() != *len {
                return Ok(false);
            }
            for index in 0..*len {
                match list.get_item(index) {
                    Ok(item) if retrace(steps, &item)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        Step::Tuple(_) => {
            let Ok(tuple) = value.cast_exact::<PyTuple>() else {
                return Ok(false);
            };
            for item in tuple.iter_borrowed() {
                if !retrace(steps, &item)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Step::Model(_) => Ok(retrace(steps, value.get_type().as_any())?
            && retrace(steps, &instance_dict(value)?)?
            && retrace(steps, &extra_fields(value)?)?),
    }
}

/// Whether the next steps are those of a walk over the items of a dict of the right size.
fn retrace_dict(steps: &mut Iter<'_, Step>, dict: &Bound<'_, PyDict>) -> PyResult<bool> {
    let py = dict.py();
    with_critical_section(dict, || {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut position = 0;
        // SAFETY: `dict` is a dict and alive, and PyDict_Next checks `position` against it.
        while unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) } != 0 {
            match steps.next() {
                Some(Step::Leaf(known)) if known.as_ptr() == key => {}
                _ => return Ok(false),
            }
            if let Some(Step::Leaf(known)) = steps.as_slice().first() {
                if known.as_ptr() != value {
                    return Ok(false);
                }
                steps.next();
                continue;
            }
            // SAFETY: the dict lends the reference, and it is taken before other code can run.
            let value = unsafe { Bound::from_borrowed_ptr(py, value) };
            if !retrace(steps, &value)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn is_leaf(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyString>()
        || value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBytes>()
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

fn extra_fields<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    value.getattr(intern!(value.py(), "__pydantic_extra__"))
}
