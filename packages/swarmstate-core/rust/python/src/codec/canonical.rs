//! Encodes values as keys: equal values give equal bytes, different values different bytes.
//!
//! This is not msgpack and is never decoded. Scalars are written as by the codec; everything else
//! begins with a byte that msgpack does not use, and a tag. Each encoding marks its own end, so
//! keys can be concatenated. Unordered items are sorted by their bytes.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};

use super::cursor::DictCursor;
use super::error::{EncodeError, class_name};
use super::foreign::{Base, is_loaded_instance, plain_base};
use super::reduce::{Reduced, reduce};
use super::scalars::{int, scalar};
use super::wire::{self, ext};

/// Not used by msgpack.
pub const MARK: u8 = 0xc1;

/// How many more containers and objects may be nested; they are written recursively.
#[derive(Clone, Copy)]
pub struct Levels(usize);

impl Levels {
    pub const ALL: Self = Self(200);

    /// # Errors
    /// `EncodeError` if no levels are left.
    pub fn deeper(self) -> PyResult<Self> {
        match self.0.checked_sub(1) {
            Some(levels) => Ok(Self(levels)),
            None => Err(EncodeError::new_err(format!(
                "it is nested more than {} levels deep; is it cyclic?",
                Self::ALL.0
            ))),
        }
    }
}

mod tag {
    pub const TUPLE: u8 = 1;
    pub const LIST: u8 = 2;
    pub const DICT: u8 = 3;
    pub const SET: u8 = 4;
    pub const SURROGATES: u8 = 5;
    pub const BIG_INT: u8 = 6;
    pub const OBJECT: u8 = 7;
    pub const PAIRS: u8 = 8;
    pub const FROZENSET: u8 = 9;
    pub const HELD_STR: u8 = 10;
    pub const HELD_BYTES: u8 = 11;
}

/// Append the key of `value`.
///
/// # Errors
/// `EncodeError` if the codec does not support the value, or cannot distinguish it from others.
#[inline]
pub fn write_key(out: &mut Vec<u8>, value: &Bound<'_, PyAny>, levels: Levels) -> PyResult<()> {
    if scalar(out, value)? {
        return Ok(());
    }
    compound(out, value, levels.deeper()?)
}

/// Append the prefix of a tuple, before the keys of its items.
pub fn write_tuple(out: &mut Vec<u8>, len: usize) {
    begin(out, tag::TUPLE, len);
}

/// Append a placeholder for an exact str, or else bytes, whose content is stored elsewhere.
pub fn write_held(out: &mut Vec<u8>, text: &Bound<'_, PyAny>) {
    let is_str = text.is_exact_instance_of::<PyString>();
    let kind = if is_str {
        tag::HELD_STR
    } else {
        tag::HELD_BYTES
    };
    out.extend_from_slice(&[MARK, kind]);
}

fn compound(out: &mut Vec<u8>, value: &Bound<'_, PyAny>, levels: Levels) -> PyResult<()> {
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        begin(out, tag::TUPLE, tuple.len());
        return tuple
            .iter()
            .try_for_each(|each| write_key(out, &each, levels));
    }
    if let Ok(text) = value.cast_exact::<PyString>() {
        return surrogates(out, text);
    }
    if let Ok(number) = value.cast_exact::<PyInt>() {
        return big_int(out, number);
    }
    if value.is_exact_instance_of::<PySet>() {
        return set(out, tag::SET, value, levels);
    }
    if value.is_exact_instance_of::<PyFrozenSet>() {
        return set(out, tag::FROZENSET, value, levels);
    }
    if let Ok(exact) = value.cast_exact::<PyList>() {
        return list(out, exact, levels);
    }
    if let Ok(exact) = value.cast_exact::<PyDict>() {
        return dict(out, exact, levels);
    }
    // The codec writes a subclass like its base type, but a function may treat them differently.
    let base = plain_base(value)?;
    if base.is_some() {
        class(out, value)?;
    }
    match base {
        Some(Base::List) => list(out, value.cast::<PyList>()?, levels),
        Some(Base::Dict) => dict(out, value.cast::<PyDict>()?, levels),
        Some(Base::Str) => match value.cast::<PyString>()?.to_str() {
            Ok(text) => written(wire::write_str(out, text)),
            Err(_) => surrogates(out, value.cast::<PyString>()?),
        },
        Some(Base::Int) => {
            let number = value.cast::<PyInt>()?;
            if int(out, number)? {
                Ok(())
            } else {
                big_int(out, number)
            }
        }
        None => object(out, value, levels),
    }
}

/// Append the prefix of an object: its class.
fn class(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    out.extend_from_slice(&[MARK, tag::OBJECT]);
    let name = class_name(value.get_type().as_any());
    written(wire::write_str(out, &name))
}

fn begin(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.extend_from_slice(&[MARK, tag]);
    out.extend_from_slice(&(len as u64).to_be_bytes());
}

fn written(fits: bool) -> PyResult<()> {
    if fits {
        Ok(())
    } else {
        Err(EncodeError::new_err(
            "it is larger than the 4 GiB that msgpack allows",
        ))
    }
}

fn bytes(out: &mut Vec<u8>, tag: u8, bytes: &Bound<'_, PyAny>) -> PyResult<()> {
    out.extend_from_slice(&[MARK, tag]);
    written(wire::write_bin(out, bytes.cast::<PyBytes>()?.as_bytes()))
}

fn surrogates(out: &mut Vec<u8>, text: &Bound<'_, PyString>) -> PyResult<()> {
    let encoded = text.call_method1(intern!(text.py(), "encode"), ("utf-8", "surrogatepass"))?;
    bytes(out, tag::SURROGATES, &encoded)
}

fn big_int(out: &mut Vec<u8>, number: &Bound<'_, PyInt>) -> PyResult<()> {
    let text = number.call_method1(intern!(number.py(), "__format__"), ("x",))?;
    out.extend_from_slice(&[MARK, tag::BIG_INT]);
    written(wire::write_str(out, text.cast::<PyString>()?.to_str()?))
}

fn list(out: &mut Vec<u8>, list: &Bound<'_, PyList>, levels: Levels) -> PyResult<()> {
    let start = out.len();
    begin(out, tag::LIST, 0);
    let mut len = 0u64;
    // Do not take the length first: hooks of the items may change the list.
    for each in list.iter() {
        write_key(out, &each, levels)?;
        len += 1;
    }
    out[start + 2..start + 10].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

fn dict(out: &mut Vec<u8>, dict: &Bound<'_, PyDict>, levels: Levels) -> PyResult<()> {
    let mut entries = Vec::with_capacity(dict.len());
    for (name, value) in pairs(dict)? {
        let mut entry = Vec::new();
        write_key(&mut entry, &name, levels)?;
        write_key(&mut entry, &value, levels)?;
        entries.push(entry);
    }
    sorted(out, tag::DICT, entries);
    Ok(())
}

fn set(out: &mut Vec<u8>, tag: u8, set: &Bound<'_, PyAny>, levels: Levels) -> PyResult<()> {
    let mut entries = Vec::with_capacity(set.len()?);
    for each in set.try_iter()?.collect::<PyResult<Vec<_>>>()? {
        let mut entry = Vec::new();
        write_key(&mut entry, &each, levels)?;
        entries.push(entry);
    }
    sorted(out, tag, entries);
    Ok(())
}

fn sorted(out: &mut Vec<u8>, tag: u8, mut entries: Vec<Vec<u8>>) {
    entries.sort_unstable();
    begin(out, tag, entries.len());
    entries.iter().for_each(|entry| out.extend(entry));
}

/// Return the items of a dict, taken before any code of theirs can change it.
fn pairs<'py>(dict: &Bound<'py, PyDict>) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    let mut cursor = DictCursor::new(dict.clone());
    let mut pairs = Vec::with_capacity(dict.len());
    while let Some(pair) = cursor.next() {
        pairs.push(pair);
    }
    Ok(pairs)
}

/// Write an object: its class, and whatever comparison within that class looks at.
fn object(out: &mut Vec<u8>, value: &Bound<'_, PyAny>, levels: Levels) -> PyResult<()> {
    let py = value.py();
    if value.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        return Err(EncodeError::new_err(
            "exceptions are compared by identity; use str(error)",
        ));
    }
    class(out, value)?;
    let fields = intern!(py, "__pydantic_fields__");
    if let Some(fields) = value.get_type().getattr_opt(fields)? {
        return model(out, value, &fields, levels);
    }
    if is_loaded_instance(value, intern!(py, "numpy"), intern!(py, "ndarray"))? {
        let plain = value.call_method1(intern!(py, "copy"), ("C",))?;
        return reduced(out, &plain, levels);
    }
    if is_loaded_instance(value, intern!(py, "numpy"), intern!(py, "generic"))? {
        let dtype = value.getattr(intern!(py, "dtype"))?;
        if dtype.getattr(intern!(py, "hasobject"))?.is_truthy()? {
            return Err(EncodeError::new_err("it contains objects"));
        }
        let data = value.call_method0(intern!(py, "tobytes"))?;
        write_key(out, &dtype.getattr(intern!(py, "str"))?, levels)?;
        return write_key(out, &data, levels);
    }
    if value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() {
        return set(out, tag::SET, value, levels);
    }
    reduced(out, value, levels)
}

/// Write what pydantic compares: fields, extras and private attributes. Dumps would not do, since
/// they can be the same for models of different classes.
fn model(
    out: &mut Vec<u8>,
    value: &Bound<'_, PyAny>,
    fields: &Bound<'_, PyAny>,
    levels: Levels,
) -> PyResult<()> {
    let py = value.py();
    let state = value.getattr(intern!(py, "__dict__"))?;
    let state = state.cast::<PyDict>()?;
    let mut entries = Vec::new();
    for name in fields.try_iter()?.collect::<PyResult<Vec<_>>>()? {
        // A model made by `model_construct` may lack fields.
        if let Some(field) = state.get_item(&name)? {
            let mut entry = Vec::new();
            write_key(&mut entry, &name, levels)?;
            write_key(&mut entry, &field, levels)?;
            entries.push(entry);
        }
    }
    sorted(out, tag::DICT, entries);
    for name in [
        intern!(py, "__pydantic_extra__"),
        intern!(py, "__pydantic_private__"),
    ] {
        match value.getattr_opt(name)? {
            Some(part) => write_key(out, &part, levels)?,
            None => wire::write_nil(out),
        }
    }
    Ok(())
}

/// Write an object as the codec does.
fn reduced(out: &mut Vec<u8>, value: &Bound<'_, PyAny>, levels: Levels) -> PyResult<()> {
    match reduce(value)? {
        Reduced::Bare { payload, .. } => write_key(out, &payload, levels),
        Reduced::Class(class) => write_key(out, &class.payload, levels),
        Reduced::Bin(data) => written(wire::write_bin(out, &data)),
        Reduced::Value(value) => write_key(out, &value, levels),
        // These are equal only if their items are in the same order.
        Reduced::Dict { code, items } if code == ext::ORDERED_DICT => {
            begin(out, tag::PAIRS, items.len());
            for (name, value) in pairs(&items)? {
                write_key(out, &name, levels)?;
                write_key(out, &value, levels)?;
            }
            Ok(())
        }
        Reduced::Dict { items, .. } => dict(out, &items, levels),
    }
}
