//! Strings, numbers and bytes, and the keys that msgpack maps can hold.

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString, PyTuple};

use super::encode::{Encoder, fits};
use super::foreign::{Base, plain_base};
use super::wire::{self, MAX_DEPTH, ext};

/// Write a scalar; false if the value is a container or object.
#[inline]
pub fn scalar(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        match text.to_str() {
            Ok(text) => fits(wire::write_str(out, text))?,
            // Lone surrogates: written with room for an ext.
            Err(_) => return Ok(false),
        }
    } else if value.is_none() {
        wire::write_nil(out);
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        return int(out, number);
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        wire::write_bool(out, truth.is_true());
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        wire::write_float(out, number.value());
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        fits(wire::write_bin(out, bytes.as_bytes()))?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Write an int; false if it needs more than 64 bits.
#[inline]
pub fn int(out: &mut Vec<u8>, number: &Bound<'_, PyInt>) -> PyResult<bool> {
    let mut overflow = 0;
    // SAFETY: `number` is an int, alive during the call.
    let small = unsafe { ffi::PyLong_AsLongLongAndOverflow(number.as_ptr(), &mut overflow) };
    if overflow == 0 {
        wire::write_int(out, small);
        return Ok(true);
    }
    if overflow > 0
        && let Ok(large) = number.extract::<u64>()
    {
        wire::write_uint(out, large);
        return Ok(true);
    }
    Ok(false)
}

/// Write a key that msgpack maps can hold, except tuples; false if it is not one.
pub fn plain_key(out: &mut Vec<u8>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
    if scalar(out, key)? {
        return Ok(true);
    }
    match plain_base(key)? {
        Some(Base::Str) => match key.cast::<PyString>()?.to_str() {
            Ok(text) => fits(wire::write_str(out, text)).map(|()| true),
            Err(_) => Ok(false),
        },
        Some(Base::Int) => int(out, key.cast::<PyInt>()?),
        _ => Ok(false),
    }
}

impl<'py> Encoder<'py, '_> {
    pub fn surrogates(&mut self, text: &Bound<'py, PyString>) -> PyResult<()> {
        let bytes = text.call_method1(intern!(self.py, "encode"), ("utf-8", "surrogatepass"))?;
        self.begin_ext(ext::SURROGATES, None, false)?;
        fits(wire::write_bin(
            &mut self.out,
            bytes.cast::<PyBytes>()?.as_bytes(),
        ))
    }

    pub fn big_int(&mut self, number: &Bound<'py, PyInt>) -> PyResult<()> {
        let py = self.py;
        let bits: usize = number.call_method0(intern!(py, "bit_length"))?.extract()?;
        let signed = PyDict::new(py);
        signed.set_item(intern!(py, "signed"), true)?;
        let args = (bits / 8 + 1, intern!(py, "big"));
        let bytes = number.call_method(intern!(py, "to_bytes"), args, Some(&signed))?;
        self.begin_ext(ext::BIG_INT, None, false)?;
        fits(wire::write_bin(
            &mut self.out,
            bytes.cast::<PyBytes>()?.as_bytes(),
        ))
    }
}

/// Return whether a tuple, and tuples in it, hold only what msgpack map keys can hold.
pub fn is_plain_key(tuple: &Bound<'_, PyTuple>) -> PyResult<bool> {
    let mut stack = vec![tuple.clone()];
    while let Some(tuple) = stack.pop() {
        for item in tuple.iter() {
            if let Ok(inner) = item.cast_exact::<PyTuple>() {
                if stack.len() > MAX_DEPTH {
                    return Ok(false);
                }
                stack.push(inner.clone());
            } else if let Ok(text) = item.cast::<PyString>() {
                if text.to_str().is_err() || plain_or_exact(&item)?.is_none() {
                    return Ok(false);
                }
            } else if item.is_instance_of::<PyInt>() && !item.is_exact_instance_of::<PyBool>() {
                let in_range = item.extract::<i64>().is_ok() || item.extract::<u64>().is_ok();
                if !in_range || plain_or_exact(&item)?.is_none() {
                    return Ok(false);
                }
            } else if !(item.is_none()
                || item.is_exact_instance_of::<PyBool>()
                || item.is_exact_instance_of::<PyFloat>()
                || item.is_exact_instance_of::<PyBytes>())
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn plain_or_exact(item: &Bound<'_, PyAny>) -> PyResult<Option<Base>> {
    if item.is_exact_instance_of::<PyString>() {
        return Ok(Some(Base::Str));
    }
    if item.is_exact_instance_of::<PyInt>() {
        return Ok(Some(Base::Int));
    }
    plain_base(item)
}
