//! Writes a model from its instance dict.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};

use super::Plan;
use super::shape::{Entries, Entry, Shape};
use crate::codec::cursor::{DictCursor, with_item};
use crate::codec::encode::{Encoder, ROOM, fits};
use crate::codec::scalars::scalar;
use crate::codec::wire::{self, MAX_DEPTH, MAX_EXT_DEPTH, ext};
use crate::codec::write_tree::{Lent, Tree, lent};

impl<'py> Encoder<'py, '_> {
    /// Write a model as its `model_dump` would be written; false, with nothing written, if it takes
    /// the general path.
    pub fn model(&mut self, model: &Bound<'py, PyAny>) -> PyResult<bool> {
        let Some(plan) = self.plan(model)? else {
            return Ok(false);
        };
        if self.ext_depth == MAX_EXT_DEPTH {
            return Ok(false);
        }
        let (start, frames, depth) = (self.out.len(), self.frames.len(), self.depth);
        // The payload is an array around the fields.
        self.depth = 1;
        self.in_model = true;
        let written = self.payload(&plan, model);
        self.in_model = false;
        self.depth = depth;
        if !matches!(written, Ok(true)) {
            self.frames.truncate(frames);
            self.out.truncate(start);
        }
        written
    }

    fn payload(&mut self, plan: &Plan, model: &Bound<'py, PyAny>) -> PyResult<bool> {
        let Some(fields) = instance_dict(model) else {
            return Ok(false);
        };
        let Some(rest) = plan.extra(model) else {
            return Ok(false);
        };
        if fields.len() != plan.fields.fields.len() {
            return Ok(false);
        }
        let start = wire::begin_ext(&mut self.out);
        self.out.extend_from_slice(&plan.head);
        let rest_len = rest.as_ref().map_or(0, |rest| rest.len());
        fits(wire::write_map_header(
            &mut self.out,
            fields.len() + rest_len,
        ))?;
        self.depth += 1;
        let mut cursor = DictCursor::new(fields);
        let mut count = 0;
        loop {
            let out = &mut self.out;
            let item = cursor.with_next(|key, value| {
                let index = field_index(&plan.fields, key, count)?;
                out.extend_from_slice(&plan.keys[index]);
                let shape = &plan.fields.fields[index].shape;
                match lent_shaped(shape, out, value) {
                    Lent::Written => Some(None),
                    Lent::Larger(value) => Some(Some((shape, value))),
                    Lent::Refused => None,
                }
            });
            match item {
                Some(Some(None)) => {}
                Some(Some(Some((shape, value)))) => {
                    if !self.shaped(shape, &value, ROOM)? {
                        return Ok(false);
                    }
                }
                Some(None) => return Ok(false),
                None => break,
            }
            count += 1;
        }
        // Another thread may have changed it.
        if count != plan.fields.fields.len() {
            return Ok(false);
        }
        if let Some(rest) = rest.filter(|_| rest_len > 0)
            && !self.extra(&plan.fields, rest, rest_len)?
        {
            return Ok(false);
        }
        fits(wire::write_str(&mut self.out, "model_validate_json"))?;
        fits(wire::end_ext(&mut self.out, start, ext::PYDANTIC_V2))?;
        Ok(true)
    }

    /// Write the entries that are not known by name.
    fn extra(&mut self, known: &Entries, rest: Bound<'py, PyDict>, len: usize) -> PyResult<bool> {
        let mut cursor = DictCursor::new(rest);
        let mut count = 0;
        while let Some((key, value)) = cursor.next() {
            let Ok(Ok(name)) = key.cast_exact::<PyString>().map(|key| key.to_str()) else {
                return Ok(false);
            };
            if known.find(name, 0).is_some() {
                return Ok(false);
            }
            fits(wire::write_str(&mut self.out, name))?;
            if !self.shaped(&Shape::Any, &value, ROOM)? {
                return Ok(false);
            }
            count += 1;
        }
        Ok(count == len)
    }

    /// Write a value if it matches a shape; otherwise return false. `room` bounds native recursion.
    fn shaped(&mut self, shape: &Shape, value: &Bound<'py, PyAny>, room: usize) -> PyResult<bool> {
        let fit = match shape {
            Shape::Any => return Ok(matches!(self.tree(value, room)?, Tree::Whole)),
            Shape::Literal(expected) => match value.cast_exact::<PyString>() {
                Ok(text) => text
                    .to_str()
                    .is_ok_and(|text| expected.iter().any(|choice| choice == text)),
                Err(_) => false,
            },
            Shape::Nullable(inner) => {
                return if value.is_none() {
                    wire::write_nil(&mut self.out);
                    Ok(true)
                } else {
                    self.shaped(inner, value, room)
                };
            }
            Shape::List(items) => return self.shaped_list(items, value, room),
            Shape::Dict { keys, values } => {
                return self.shaped_dict(keys, values, value, room);
            }
            Shape::Union(choices) => {
                let (start, depth) = (self.out.len(), self.depth);
                for choice in choices {
                    if self.shaped(choice, value, room)? {
                        return Ok(true);
                    }
                    self.out.truncate(start);
                    self.depth = depth;
                }
                return Ok(false);
            }
            Shape::TypedDict(entries) => return self.typed_dict(entries, value, room),
            _ => fits_scalar(shape, value) == Some(true),
        };
        Ok(fit && scalar(&mut self.out, value)?)
    }

    /// Return whether one more container may be opened.
    fn deeper(&self, room: usize) -> bool {
        room > 0 && self.depth < MAX_DEPTH
    }

    fn shaped_list(
        &mut self,
        items: &Shape,
        value: &Bound<'py, PyAny>,
        room: usize,
    ) -> PyResult<bool> {
        let (Ok(list), true) = (value.cast_exact::<PyList>(), self.deeper(room)) else {
            return Ok(false);
        };
        let len = list.len();
        fits(wire::write_array_header(&mut self.out, len))?;
        self.depth += 1;
        for index in 0..len {
            let out = &mut self.out;
            match with_item(list, index, |item| lent_shaped(items, out, item)) {
                Some(Lent::Written) => {}
                Some(Lent::Larger(item)) => {
                    if !self.shaped(items, &item, room - 1)? {
                        return Ok(false);
                    }
                }
                Some(Lent::Refused) | None => return Ok(false),
            }
        }
        self.depth -= 1;
        Ok(list.len() == len)
    }

    /// Begin to write a dict with `len` entries; None if the value is not one or is nested too
    /// deeply.
    #[inline]
    fn open_dict(
        &mut self,
        value: &Bound<'py, PyAny>,
        room: usize,
    ) -> PyResult<Option<(usize, DictCursor<'py>)>> {
        let (Ok(dict), true) = (value.cast_exact::<PyDict>(), self.deeper(room)) else {
            return Ok(None);
        };
        let len = dict.len();
        fits(wire::write_map_header(&mut self.out, len))?;
        self.depth += 1;
        Ok(Some((len, DictCursor::new(dict.clone()))))
    }

    fn shaped_dict(
        &mut self,
        keys: &Shape,
        values: &Shape,
        value: &Bound<'py, PyAny>,
        room: usize,
    ) -> PyResult<bool> {
        let Some((len, mut cursor)) = self.open_dict(value, room)? else {
            return Ok(false);
        };
        let mut count = 0;
        loop {
            let out = &mut self.out;
            let item = cursor.with_next(|key, value| {
                // Tuples as keys follow their own rules.
                match lent_shaped(keys, out, key) {
                    Lent::Written => lent_shaped(values, out, value),
                    Lent::Larger(_) | Lent::Refused => Lent::Refused,
                }
            });
            match item {
                Some(Lent::Written) => {}
                Some(Lent::Larger(value)) => {
                    if !self.shaped(values, &value, room - 1)? {
                        return Ok(false);
                    }
                }
                Some(Lent::Refused) => return Ok(false),
                None => break,
            }
            count += 1;
        }
        self.depth -= 1;
        Ok(count == len)
    }

    fn typed_dict(
        &mut self,
        entries: &Entries,
        value: &Bound<'py, PyAny>,
        room: usize,
    ) -> PyResult<bool> {
        let Some((len, mut cursor)) = self.open_dict(value, room)? else {
            return Ok(false);
        };
        let (mut count, mut required) = (0, 0);
        while let Some((key, value)) = cursor.next() {
            let Ok(Ok(name)) = key.cast_exact::<PyString>().map(|key| key.to_str()) else {
                return Ok(false);
            };
            let shape = match field_index(entries, &key, count) {
                Some(index) => {
                    let Entry {
                        required: needed,
                        shape,
                        ..
                    } = &entries.fields[index];
                    required += usize::from(*needed);
                    shape
                }
                None if entries.extra => &Shape::Any,
                None => return Ok(false),
            };
            fits(wire::write_str(&mut self.out, name))?;
            if !self.shaped(shape, &value, room - 1)? {
                return Ok(false);
            }
            count += 1;
        }
        self.depth -= 1;
        let needed = entries.fields.iter().filter(|field| field.required).count();
        Ok(count == len && required == needed)
    }
}

/// Write a borrowed scalar if it matches a shape.
#[inline]
fn lent_shaped<'py>(shape: &Shape, out: &mut Vec<u8>, value: &Bound<'py, PyAny>) -> Lent<'py> {
    match fits_scalar(shape, value) {
        Some(true) => lent(out, value),
        Some(false) => Lent::Refused,
        None => Lent::Larger(value.clone()),
    }
}

/// Return whether a scalar matches a shape; None if that is not decided here.
#[inline]
fn fits_scalar(shape: &Shape, value: &Bound<'_, PyAny>) -> Option<bool> {
    match shape {
        Shape::Never => Some(false),
        Shape::Any => Some(true),
        Shape::None => Some(value.is_none()),
        Shape::Bool => Some(value.is_exact_instance_of::<PyBool>()),
        Shape::Int => Some(value.is_exact_instance_of::<PyInt>()),
        Shape::Float => Some(value.is_exact_instance_of::<PyFloat>()),
        Shape::Str => Some(value.is_exact_instance_of::<PyString>()),
        Shape::Bytes => Some(value.is_exact_instance_of::<PyBytes>()),
        Shape::Nullable(_) if value.is_none() => Some(true),
        Shape::Nullable(inner) => fits_scalar(inner, value),
        Shape::Union(choices) => choices
            .iter()
            .any(|choice| fits_scalar(choice, value) == Some(true))
            .then_some(true),
        Shape::Literal(_) | Shape::List(_) | Shape::Dict { .. } | Shape::TypedDict(_) => None,
    }
}

/// Return which field a key names, trying the one at `guess` first.
#[inline]
fn field_index(entries: &Entries, key: &Bound<'_, PyAny>, guess: usize) -> Option<usize> {
    if entries
        .fields
        .get(guess)
        .is_some_and(|field| field.key.as_ptr() == key.as_ptr())
    {
        return Some(guess);
    }
    entries.find(key.cast_exact::<PyString>().ok()?.to_str().ok()?, guess)
}

/// Return the instance dict of an object whose class does not override `__dict__`.
fn instance_dict<'py>(obj: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    // SAFETY: `obj` is alive; the call returns a new reference, or NULL with an exception set,
    // which `from_owned_ptr_or_err` handles.
    let dict = unsafe {
        Bound::from_owned_ptr_or_err(
            obj.py(),
            ffi::PyObject_GenericGetDict(obj.as_ptr(), std::ptr::null_mut()),
        )
    };
    dict.ok()?.cast_into_exact::<PyDict>().ok()
}

impl Plan {
    /// Return the extra fields of an instance. The inner option is None if there are none to write;
    /// the outer one is None if they are not like those that pydantic makes.
    fn extra<'py>(&self, model: &Bound<'py, PyAny>) -> Option<Option<Bound<'py, PyDict>>> {
        if !self.fields.extra {
            return Some(None);
        }
        let extra = self.slots.extra.get(model)?;
        if extra.is_none() {
            return Some(None);
        }
        extra.cast_into_exact::<PyDict>().ok().map(Some)
    }
}
