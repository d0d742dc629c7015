//! Pydantic models that are nothing but their fields: written from their instance dict and rebuilt
//! into it, without `model_dump` and without validation.
//!
//! Three checks make that exact. [`plan`] looks at the class: whether it has hooks that affect the
//! result. [`shape`] looks at each field's schema: which values dumping and validating leave
//! unchanged. [`dump`] and [`load`] look at the values: whether they are such values; [`rebuild`]
//! makes instances of them. Anything that fails a check takes the general path, like any other
//! object.

mod dump;
mod load;
mod plan;
mod rebuild;
mod reviewed;
mod shape;
mod slots;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use pyo3::{ffi, intern};

use super::foreign::loaded;
pub use plan::Plan;

/// How many classes' examinations are kept; programs that create classes at run time start over.
const MAX_CLASSES: usize = 1024;

/// The result of an examination, and the attributes it depends on, which a program may replace.
struct Examined {
    class: Py<PyType>,
    inputs: Inputs,
    plan: Option<Arc<Plan>>,
}

/// Attributes of a class that `model_rebuild`, patching or renaming can replace.
struct Inputs([Option<Py<PyAny>>; 5]);

impl Inputs {
    fn of(class: &Bound<'_, PyType>) -> PyResult<Self> {
        let py = class.py();
        let get = |name: &Bound<'_, PyString>| attribute(class, name);
        Ok(Self([
            get(intern!(py, "__pydantic_serializer__"))?,
            get(intern!(py, "model_dump"))?,
            get(intern!(py, "__init__"))?,
            get(intern!(py, "__module__"))?,
            get(intern!(py, "__name__"))?,
        ]))
    }

    fn are(&self, others: &Self) -> bool {
        self.0
            .iter()
            .zip(&others.0)
            .all(|(one, other)| match (one, other) {
                (Some(one), Some(other)) => one.is(other),
                (None, None) => true,
                _ => false,
            })
    }
}

/// Return an attribute of a class with pydantic's metaclass, or None.
///
/// It is looked up as `type` does it, in a third of the time: the metaclass only adds a
/// `__getattr__` for private attributes.
fn attribute(class: &Bound<'_, PyType>, name: &Bound<'_, PyString>) -> PyResult<Option<Py<PyAny>>> {
    let py = class.py();
    // SAFETY: `type` has a `tp_getattro`; NULL would be None here.
    let lookup = unsafe {
        let slot = ffi::PyType_GetSlot(py.get_type::<PyType>().as_type_ptr(), ffi::Py_tp_getattro);
        std::mem::transmute::<*mut std::ffi::c_void, Option<ffi::getattrofunc>>(slot)
    };
    let Some(lookup) = lookup else {
        return Ok(class.getattr_opt(name)?.map(Bound::unbind));
    };
    // SAFETY: it is called with a type and a string, both alive; it returns a new reference, or
    // NULL with an exception set.
    let found = unsafe { Bound::from_owned_ptr_or_err(py, lookup(class.as_ptr(), name.as_ptr())) };
    match found {
        Ok(found) => Ok(Some(found.unbind())),
        Err(error) if error.is_instance_of::<PyAttributeError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}

/// By address; the class is kept alive, so that no other can have its address.
static EXAMINED: Mutex<Option<HashMap<usize, Examined>>> = Mutex::new(None);

/// Return the plan of a class, or None if its instances take the general path.
///
/// With a plan, an instance's encoding depends only on its fields and extra fields.
pub fn plan_of(class: &Bound<'_, PyType>) -> PyResult<Option<Arc<Plan>>> {
    let py = class.py();
    // Every pydantic class has pydantic's own metaclass.
    if class.get_type().is(py.get_type::<PyType>()) {
        return Ok(None);
    }
    let Some(base) = loaded(intern!(py, "pydantic.main"), intern!(py, "BaseModel"))? else {
        return Ok(None);
    };
    if !base.get_type().is(class.get_type()) {
        return Ok(None);
    }
    let address = class.as_ptr() as usize;
    let inputs = Inputs::of(class)?;
    if let Some(examined) = EXAMINED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .and_then(|table| table.get(&address))
        && examined.class.is(class)
        && examined.inputs.are(&inputs)
    {
        return Ok(examined.plan.clone());
    }
    let plan = Plan::examine(class, base.cast::<PyType>()?)?.map(Arc::new);
    let examined = Examined {
        class: class.clone().unbind(),
        inputs,
        plan: plan.clone(),
    };
    // Dropping a class may run Python code, so replaced entries are moved out of the lock first.
    let replaced = {
        let mut table = EXAMINED.lock().unwrap_or_else(PoisonError::into_inner);
        let full =
            table.take_if(|table| table.len() >= MAX_CLASSES && !table.contains_key(&address));
        let old = table
            .get_or_insert_with(HashMap::new)
            .insert(address, examined);
        (full, old)
    };
    drop(replaced);
    Ok(plan)
}
