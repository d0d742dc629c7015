//! Writes objects as exts.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::encode::{Encoder, fits, refused};
use super::reduce::{Class, Reduced, reduce};
use super::wire::{self, ext};

impl<'py> Encoder<'py, '_> {
    /// Write the head of an object that is not plain; its payload follows.
    pub fn object(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<()> {
        match reduce(obj)? {
            Reduced::Bare { code, payload } => {
                if code == ext::DEFAULT_DICT {
                    self.check_factory(&payload)?;
                }
                self.begin_ext(code, None, false)?;
                self.value(&payload)
            }
            Reduced::Dict { code, items } => {
                self.begin_ext(code, None, false)?;
                self.dict(&items)
            }
            Reduced::Bin(bytes) => fits(wire::write_bin(&mut self.out, &bytes)),
            Reduced::Value(value) => self.value(&value),
            Reduced::Class(class) => self.class(obj, class),
        }
    }

    fn check_factory(&self, payload: &Bound<'py, PyAny>) -> PyResult<()> {
        match payload.get_item(0)?.extract::<(String, String)>() {
            Ok((module, name)) => self.policy.check_write_factory(self.py, &module, &name),
            Err(_) => Ok(()),
        }
    }

    fn class(&mut self, obj: &Bound<'py, PyAny>, class: Class<'py>) -> PyResult<()> {
        let Class {
            code,
            module,
            name,
            payload,
            method,
            foreign,
        } = class;
        let (Ok(module), Ok(name)) = (module.cast::<PyString>(), name.cast::<PyString>()) else {
            return Err(refused(
                "the __module__ and __name__ of its class are not strings",
            ));
        };
        if let Some(class) = foreign {
            self.policy
                .check_write(&class, module.to_str()?, name.to_str()?)?;
        }
        let fields = payload.is_instance_of::<PyDict>() && !obj.is_instance_of::<PyDict>();
        self.begin_ext(code, method, fields)?;
        self.depth = 1;
        fits(wire::write_array_header(
            &mut self.out,
            if method.is_some() { 4 } else { 3 },
        ))?;
        fits(wire::write_str(&mut self.out, module.to_str()?))?;
        fits(wire::write_str(&mut self.out, name.to_str()?))?;
        self.value(&payload)
    }
}
