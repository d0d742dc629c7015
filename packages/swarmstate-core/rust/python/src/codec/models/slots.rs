//! The slots of pydantic's `BaseModel`, accessed through their descriptors.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A descriptor and its type's functions.
pub struct Slot {
    descriptor: Py<PyAny>,
    get: ffi::descrgetfunc,
    set: ffi::descrsetfunc,
}

/// What a model instance holds besides its `__dict__`.
pub struct Slots {
    pub fields_set: Slot,
    pub extra: Slot,
    pub private: Slot,
}

impl Slots {
    /// Return the slots of `BaseModel`; None if they are not slots.
    pub fn of(base: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let slot = |name: &str| Slot::of(base, name);
        Ok(
            match (
                slot("__pydantic_fields_set__")?,
                slot("__pydantic_extra__")?,
                slot("__pydantic_private__")?,
            ) {
                (Some(fields_set), Some(extra), Some(private)) => Some(Self {
                    fields_set,
                    extra,
                    private,
                }),
                _ => None,
            },
        )
    }
}

impl Slot {
    fn of(base: &Bound<'_, PyType>, name: &str) -> PyResult<Option<Self>> {
        let descriptor = base.getattr("__dict__")?.get_item(name)?;
        let kind = descriptor.get_type();
        if kind.name()?.to_str()? != "member_descriptor" {
            return Ok(None);
        }
        // SAFETY: `kind` is a type, alive during the calls. A slot is NULL, which is None here, or
        // a function of the type that its number stands for.
        let (get, set) = unsafe {
            let slot = |number| ffi::PyType_GetSlot(kind.as_type_ptr(), number);
            (
                std::mem::transmute::<*mut std::ffi::c_void, Option<ffi::descrgetfunc>>(slot(
                    ffi::Py_tp_descr_get,
                )),
                std::mem::transmute::<*mut std::ffi::c_void, Option<ffi::descrsetfunc>>(slot(
                    ffi::Py_tp_descr_set,
                )),
            )
        };
        Ok(get.zip(set).map(|(get, set)| Self {
            descriptor: descriptor.unbind(),
            get,
            set,
        }))
    }

    /// Return the value of this slot in an instance; None if it is unset.
    pub fn get<'py>(&self, model: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        let py = model.py();
        // SAFETY: `get` is the function of the descriptor's type, and both objects are alive. It
        // checks that the instance is of the descriptor's class, and returns a new reference, or
        // NULL with an exception set, which `from_owned_ptr_or_err` handles.
        let value = unsafe {
            let class = model.get_type_ptr().cast();
            let value = (self.get)(self.descriptor.as_ptr(), model.as_ptr(), class);
            Bound::from_owned_ptr_or_err(py, value)
        };
        value.ok()
    }

    /// Set this slot of an instance.
    pub fn set(&self, model: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: as in `get`; the slot takes its own reference to the value, and a result other
        // than 0 means that an exception is set.
        let result =
            unsafe { (self.set)(self.descriptor.as_ptr(), model.as_ptr(), value.as_ptr()) };
        if result == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(model.py()))
        }
    }
}
