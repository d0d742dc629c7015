//! Pydantic models that are no more than their fields: written from their instance dict and
//! rebuilt into it, without `model_dump` and without validation.
//!
//! What makes that exact is split in three. [`plan`] looks at the class: whether hooks of its own
//! have a say. [`shape`] looks at each field's schema: for which values dumping and validating
//! change nothing. [`dump`] and [`load`] look at the values: whether they are such; [`rebuild`]
//! makes instances of them. Whatever fails one of these takes the general path, as any other
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

/// Classes whose examination is kept; programs that make classes at run time start over.
const MAX_CLASSES: usize = 1024;

/// What an examination found, and what it depends on that a program may exchange.
struct Examined {
    class: Py<PyType>,
    inputs: Inputs,
    plan: Option<Arc<Plan>>,
}

/// Attributes of a class that `model_rebuild`, patching or renaming replace.
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

/// An attribute of a class whose metaclass is pydantic's, or None.
///
/// It is looked up as `type` does it, in a third of the time: all that the metaclass adds is a
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

/// By address; the class is held, so that the address stays its own.
static EXAMINED: Mutex<Option<HashMap<usize, Examined>>> = Mutex::new(None);

/// The plan of a class, or None if its instances take the general path.
///
/// With a plan, the encoding of an instance follows from its fields and extra fields alone.
pub fn plan_of(class: &Bound<'_, PyType>) -> PyResult<Option<Arc<Plan>>> {
    let py = class.py();
    // All classes of pydantic have a metaclass of its own.
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
    // Dropping a class may run Python code, so what is replaced leaves the lock first.
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
