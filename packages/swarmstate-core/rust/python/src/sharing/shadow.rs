//! Proves that a value is unchanged, by the leaves of its object tree and its shape.
//!
//! A shadow holds references to every immutable leaf of a tree. While it does, no leaf can be freed
//! and its address reused. So a value of the same shape with the same objects in the same places
//! has the same encoding, whichever lists, dicts and models hold them, and nothing in it was
//! changed, neither by assignment nor in place. Trees with anything else in them have no shadow:
//! they are encoded and their bytes compared.

use std::slice::Iter;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PySet, PyString, PyTuple};

use super::classes::Classes;
use crate::codec::{DictCursor, Plan};

/// Trees nested more deeply are not worth the proof.
const MAX_DEPTH: usize = 32;

/// Most values take no more steps than this.
const USUAL_STEPS: usize = 64;

/// What a value consisted of, in the order of a walk over it.
#[derive(Clone)]
pub(super) struct Shadow(Arc<[Step]>);

/// An object that was met. Its contents follow.
enum Step {
    /// None, a bool, a number, a string or bytes: immutable.
    Leaf(Py<PyAny>),
    List(usize),
    Tuple(usize),
    /// Keys, which are leaves, alternating with values.
    Dict(usize),
    /// A pydantic model that is nothing but its class, its fields and its extra fields.
    Model(Arc<Plan>),
    /// One whose fields are in the order of its class: their values and its extra fields follow.
    Record(Arc<Plan>),
}

impl Shadow {
    /// Takes the shadow of a value, if it can have one.
    pub(super) fn of<'py>(
        classes: &mut Classes<'py>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Self>> {
        let mut steps = Vec::with_capacity(USUAL_STEPS);
        let is_complete = walk(classes, &mut steps, value, 0)?;
        Ok(is_complete.then(|| Self(steps.into())))
    }

    /// Returns whether `value` holds the same as when the shadow was taken.
    pub(super) fn holds<'py>(&self, classes: &mut Classes<'py>, value: &Bound<'py, PyAny>) -> bool {
        retrace::<false>(classes, &mut self.0.iter(), value)
    }

    /// Returns whether a decoded `value` holds the same as when the shadow was taken, only the
    /// caller has a reference to it, and nothing else refers to its contents.
    ///
    /// Then it can never be distinguished from a newly decoded value, and can be handed out as one.
    /// That requires exact reference counts, which Python has if it has a GIL.
    pub(super) fn holds_alone<'py>(
        &self,
        classes: &mut Classes<'py>,
        value: &Bound<'py, PyAny>,
    ) -> bool {
        // With its own reference, like every object on the walk.
        retrace::<true>(classes, &mut self.0.iter(), &value.clone())
    }

    /// Returns its approximate memory use, besides the leaves themselves.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Returns the approximate memory use of a value of this shape, besides the leaves.
    pub(super) fn value_bytes(&self) -> usize {
        const DICT: usize = 64;
        const MODEL: usize = 400;
        let step = |step: &Step| match step {
            Step::Leaf(_) => 8,
            Step::List(len) | Step::Tuple(len) => DICT + 8 * len,
            Step::Dict(len) => DICT + 24 * len,
            Step::Model(_) | Step::Record(_) => MODEL,
        };
        self.0.iter().map(step).sum()
    }
}

/// Append what a value consists of; false if something in it could change unnoticed.
fn walk<'py>(
    classes: &mut Classes<'py>,
    steps: &mut Vec<Step>,
    value: &Bound<'py, PyAny>,
    depth: usize,
) -> PyResult<bool> {
    if is_leaf(value) {
        steps.push(Step::Leaf(value.clone().unbind()));
        return Ok(true);
    }
    if depth == MAX_DEPTH {
        return Ok(false);
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        steps.push(Step::Dict(dict.len()));
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
        steps.push(Step::List(list.len()));
        for item in list {
            if !walk(classes, steps, &item, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        steps.push(Step::Tuple(tuple.len()));
        for item in tuple.iter_borrowed() {
            if !walk(classes, steps, &item, depth + 1)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let Some(plan) = classes.plan(&value.get_type())? else {
        return Ok(false);
    };
    let (fields, extra) = (instance_dict(value), plan.slots.extra.get(value));
    let (Some(fields), Some(extra)) = (fields, extra) else {
        return Ok(false);
    };
    let is_complete = match fields.cast_exact::<PyDict>() {
        Ok(fields) if in_order(&plan, fields) => {
            steps.push(Step::Record(plan));
            walk_values(classes, steps, fields, depth + 1)?
        }
        _ => {
            steps.push(Step::Model(plan));
            walk(classes, steps, &fields, depth + 1)?
        }
    };
    Ok(is_complete && walk(classes, steps, &extra, depth + 1)?)
}

/// Returns whether the keys of an instance dict are the names of the fields, as identical objects.
fn in_order(plan: &Plan, fields: &Bound<'_, PyDict>) -> bool {
    let names = &plan.fields.fields;
    let mut cursor = DictCursor::new(fields.clone());
    let mut count = 0;
    while let Some(is_next) = cursor.with_next(|key, _| {
        (names.get(count)).is_some_and(|field| field.key.as_ptr() == key.as_ptr())
    }) {
        if !is_next {
            return false;
        }
        count += 1;
    }
    count == names.len()
}

fn walk_values<'py>(
    classes: &mut Classes<'py>,
    steps: &mut Vec<Step>,
    fields: &Bound<'py, PyDict>,
    depth: usize,
) -> PyResult<bool> {
    let mut cursor = DictCursor::new(fields.clone());
    while let Some((_, value)) = cursor.next() {
        if !walk(classes, steps, &value, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether an object has two references: its container's and the caller's.
#[inline]
pub(super) fn is_in_nothing_else(value: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `value` is a live object.
    unsafe { ffi::Py_REFCNT(value.as_ptr()) == 2 }
}

/// Returns whether the next steps are those of a walk over `value` now.
///
/// `ALONE`: also requires that nothing else refers to any container, and that each model is as
/// decoding leaves it.
fn retrace<'py, const ALONE: bool>(
    classes: &mut Classes<'py>,
    steps: &mut Iter<'_, Step>,
    value: &Bound<'py, PyAny>,
) -> bool {
    let step = steps.next();
    if let Some(Step::Leaf(leaf)) = step {
        return value.is(leaf);
    }
    if ALONE && !is_in_nothing_else(value) {
        return false;
    }
    match step {
        Some(Step::Leaf(_)) | None => false,
        Some(Step::Dict(len)) => match value.cast_exact::<PyDict>() {
            Ok(dict) => {
                dict.len() == *len && (*len == 0 || retrace_dict::<ALONE>(classes, steps, dict))
            }
            Err(_) => false,
        },
        Some(Step::List(len)) => {
            let Ok(list) = value.cast_exact::<PyList>() else {
                return false;
            };
            list.len() == *len
                && (0..*len).all(|index| {
                    list.get_item(index)
                        .is_ok_and(|item| retrace::<ALONE>(classes, steps, &item))
                })
        }
        Some(Step::Tuple(len)) => match value.cast_exact::<PyTuple>() {
            Ok(tuple) => {
                tuple.len() == *len
                    && (tuple.iter()).all(|item| retrace::<ALONE>(classes, steps, &item))
            }
            Err(_) => false,
        },
        Some(Step::Record(plan)) => instance_dict(value)
            .is_some_and(|fields| retrace_record::<ALONE>(classes, steps, plan, value, &fields)),
        Some(Step::Model(plan)) => {
            classes.is_of(value, plan)
                && (!ALONE || is_as_rebuilt(plan, value))
                && instance_dict(value)
                    .is_some_and(|fields| retrace::<ALONE>(classes, steps, &fields))
                && (plan.slots.extra.get(value))
                    .is_some_and(|extra| retrace::<ALONE>(classes, steps, &extra))
        }
    }
}

/// Returns whether the next steps are those of a walk over a model whose instance dict is `fields`.
fn retrace_record<'py, const ALONE: bool>(
    classes: &mut Classes<'py>,
    steps: &mut Iter<'_, Step>,
    plan: &Arc<Plan>,
    value: &Bound<'py, PyAny>,
    fields: &Bound<'py, PyAny>,
) -> bool {
    let names = &plan.fields.fields;
    let name = |index: usize| names.get(index).map(|field| field.key.as_ptr());
    let Ok(fields) = fields.cast_exact::<PyDict>() else {
        return false;
    };
    classes.is_of(value, plan)
        && fields.len() == names.len()
        && (!ALONE || (is_in_nothing_else(fields) && is_as_rebuilt(plan, value)))
        && retrace_entries::<ALONE>(classes, steps, fields, |_, index| name(index))
        && (plan.slots.extra.get(value))
            .is_some_and(|extra| retrace::<ALONE>(classes, steps, &extra))
}

/// Returns whether a model that a program may have used is, apart from its fields, as rebuilding
/// leaves it, and cannot be reached by a weak reference.
pub(super) fn is_as_rebuilt(plan: &Plan, value: &Bound<'_, PyAny>) -> bool {
    let Some(rebuild) = plan.rebuild.as_ref().filter(|rebuild| rebuild.is_all) else {
        return false;
    };
    // It began with the names of all fields, and pydantic adds no others.
    let has_all = |names: Bound<'_, PyAny>| {
        (names.cast_exact::<PySet>())
            .is_ok_and(|set| set.len() == rebuild.len() && is_in_nothing_else(set))
    };
    !rebuild.is_weakly_held(value)
        && plan.slots.fields_set.get(value).is_some_and(has_all)
        && (plan.slots.private.get(value)).is_some_and(|private| private.is_none())
}

/// Returns whether the next steps are those of a walk over the items of a dict of the right size.
fn retrace_dict<'py, const ALONE: bool>(
    classes: &mut Classes<'py>,
    steps: &mut Iter<'_, Step>,
    dict: &Bound<'py, PyDict>,
) -> bool {
    retrace_entries::<ALONE>(classes, steps, dict, |steps, _| match steps.next() {
        Some(Step::Leaf(key)) => Some(key.as_ptr()),
        _ => None,
    })
}

/// Returns whether the values of a dict match the next steps, under the keys that `key_of` returns.
#[inline]
fn retrace_entries<'py, const ALONE: bool>(
    classes: &mut Classes<'py>,
    steps: &mut Iter<'_, Step>,
    dict: &Bound<'py, PyDict>,
    key_of: impl Fn(&mut Iter<'_, Step>, usize) -> Option<*mut ffi::PyObject>,
) -> bool {
    let py = dict.py();
    with_critical_section(dict, || {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut position = 0;
        let mut index = 0;
        // SAFETY: `dict` is a live dict, and PyDict_Next checks `position` against it.
        while unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) } != 0 {
            if key_of(steps, index) != Some(key) {
                return false;
            }
            index += 1;
            if let Some(Step::Leaf(known)) = steps.as_slice().first() {
                if known.as_ptr() != value {
                    return false;
                }
                steps.next();
                continue;
            }
            // SAFETY: borrowed from the dict; a reference is taken before other code can run.
            let value = unsafe { Bound::from_borrowed_ptr(py, value) };
            if !retrace::<ALONE>(classes, steps, &value) {
                return false;
            }
        }
        true
    })
}

#[inline]
pub(super) fn is_leaf(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyString>()
        || value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBytes>()
}

/// Returns the `__dict__` of an instance, without an attribute lookup.
pub(super) fn instance_dict<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: `value` is a live object; the result is a new reference, or null with an error set,
    // which `from_owned_ptr_or_err` handles.
    unsafe {
        Bound::from_owned_ptr_or_err(
            value.py(),
            ffi::PyObject_GenericGetDict(value.as_ptr(), std::ptr::null_mut()),
        )
    }
    .ok()
}
