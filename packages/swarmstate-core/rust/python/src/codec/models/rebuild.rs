//! Makes an instance of a model from its fields, if validation would change nothing.

use std::sync::Arc;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PySet, PyTuple, PyType};

use super::reviewed::Rule;
use super::shape::Entries;
use super::slots::Slots;

/// How instances of one class are made from all of their fields.
pub struct Rebuild {
    class: Py<PyType>,
    new: ffi::newfunc,
    slots: Arc<Slots>,
    pub fields: Entries,
    /// The names of the fields: the value of `__pydantic_fields_set__` after validating all of
    /// them.
    names: Py<PySet>,
    /// A dict with all fields, without values: its copies have room for them.
    pub blank: Py<PyDict>,
    pub rule: Rule,
    /// Whether instances hold nothing but what rebuilding gives them: a class may have slots.
    pub is_all: bool,
    /// Where instances keep the weak references to them, from their beginning; 0 if they have none.
    weak_references: isize,
}

impl Rebuild {
    /// Returns None if the class makes instances in its own way.
    pub fn new(
        class: &Bound<'_, PyType>,
        slots: &Arc<Slots>,
        fields: Entries,
        rule: Rule,
    ) -> PyResult<Option<Self>> {
        let py = class.py();
        let slot = |class: &Bound<'_, PyType>| {
            // SAFETY: `class` is a type; its `tp_new` is NULL, which is None here, or a `newfunc`.
            unsafe {
                let slot = ffi::PyType_GetSlot(class.as_type_ptr(), ffi::Py_tp_new);
                std::mem::transmute::<*mut std::ffi::c_void, Option<ffi::newfunc>>(slot)
            }
        };
        let object = slot(&py.get_type::<PyAny>());
        let names = fields.fields.iter().map(|field| field.key.bind(py));
        let names = PySet::new(py, names)?.unbind();
        let blank = PyDict::new(py);
        for field in &fields.fields {
            blank.set_item(&field.key, py.None())?;
        }
        Ok(match slot(class) {
            Some(new) if object.is_some_and(|object| std::ptr::fn_addr_eq(object, new)) => {
                Some(Self {
                    class: class.clone().unbind(),
                    new,
                    slots: slots.clone(),
                    fields,
                    names,
                    blank: blank.unbind(),
                    rule,
                    is_all: !has_own_slots(class)?,
                    weak_references: class.getattr(intern!(py, "__weakrefoffset__"))?.extract()?,
                })
            }
            _ => None,
        })
    }

    /// Return the number of fields.
    pub fn len(&self) -> usize {
        self.fields.fields.len()
    }

    /// Whether anyone holds a weak reference to an instance of the class. A weak reference does not
    /// count as a reference, but it leads to the instance.
    pub fn is_weakly_held(&self, model: &Bound<'_, PyAny>) -> bool {
        if self.weak_references == 0 {
            return false;
        }
        // SAFETY: `model` is a live instance, and its class says that the head of its list of weak
        // references is at this offset (see `tp_weaklistoffset`). It is null if there are none.
        unsafe {
            let list = model.as_ptr().byte_offset(self.weak_references);
            !list.cast::<*mut ffi::PyObject>().read().is_null()
        }
    }

    /// Make an instance from `fields`, which must be complete and in the order of the schema.
    pub fn instance<'py>(&self, fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let py = fields.py();
        let none = py.None().into_bound(py);
        let class = self.class.bind(py);
        // SAFETY: `new` is the class's own `tp_new`, called with an empty tuple and no keywords; it
        // returns a new reference, or NULL with an exception set.
        let model = unsafe {
            let args = PyTuple::empty(py);
            let model = (self.new)(class.as_type_ptr(), args.as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, model)?
        };
        // SAFETY: both objects are alive, and the instance takes its own reference to the dict; a
        // result other than 0 means that an exception is set.
        let result = unsafe {
            ffi::PyObject_GenericSetDict(model.as_ptr(), fields.as_ptr(), std::ptr::null_mut())
        };
        if result != 0 {
            return Err(PyErr::fetch(py));
        }
        // SAFETY: `names` is a live set; the call returns a new reference, or NULL with an
        // exception set.
        let names = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PySet_New(self.names.bind(py).as_ptr()))?
        };
        // SAFETY: `names` is a set of strings that nobody else has seen yet. The collector need not
        // visit it: it is in no cycle, and pydantic adds nothing but names.
        unsafe { ffi::PyObject_GC_UnTrack(names.as_ptr().cast()) };
        self.slots.fields_set.set(&model, &names)?;
        let extra = if self.fields.extra {
            PyDict::new(py).into_any()
        } else {
            none.clone()
        };
        self.slots.extra.set(&model, &extra)?;
        self.slots.private.set(&model, &none)?;
        Ok(model)
    }
}

/// Return whether instances have slots besides those of pydantic's base class.
fn has_own_slots(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    for base in class.mro().iter() {
        let names = base.getattr(intern!(py, "__dict__"))?;
        let names = names.cast::<PyMapping>()?;
        if names.contains("__slots__")?
            && base
                .getattr(intern!(py, "__module__"))?
                .ne("pydantic.main")?
            && base.getattr(intern!(py, "__slots__"))?.is_truthy()?
        {
            return Ok(true);
        }
    }
    Ok(false)
}
