//! Represents objects of user classes, based on their capabilities.
//!
//! The checks are in the same order as in LangGraph's serializer, since a class may satisfy
//! several.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyInt, PyList, PyString, PyTuple, PyType};

use super::error::{EncodeError, class_name};
use super::numpy;
use super::reduce::{
    Class, Reduced, date_args, items, reduce_pattern, refusal, time_kwargs, timedelta_args,
    zone_key,
};
use super::standard::Standard;
use super::wire::ext;

/// Check that a class is its module's attribute of that name, so that reading can find it.
pub fn check_importable(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let module = class.getattr(intern!(py, "__module__"))?;
    let name = class.getattr(intern!(py, "__name__"))?;
    let modules = py
        .import(intern!(py, "sys"))?
        .getattr(intern!(py, "modules"))?;
    let found = match (modules.get_item(&module), name.cast::<PyString>()) {
        (Ok(module), Ok(name)) => module.getattr_opt(name)?,
        _ => None,
    };
    if found.is_some_and(|found| found.is(class)) {
        return Ok(());
    }
    Err(EncodeError::new_err(format!(
        "{} is not the attribute {name} of module {module}, so it could not be found when \
         decoding; define the class at the top level of an importable module",
        class_name(class),
    )))
}

/// Return `obj.name` if it exists and is callable.
fn hook<'py>(
    obj: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(obj.getattr_opt(name)?.filter(|hook| hook.is_callable()))
}

/// Return a class from a module, if that module has been loaded.
pub fn loaded<'py>(
    module: &Bound<'py, PyString>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = module.py();
    static MODULES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || -> PyResult<_> {
        Ok(py.import("sys")?.getattr("modules")?.unbind())
    })?;
    match modules.bind(py).cast::<PyDict>()?.get_item(module)? {
        Some(module) => module.getattr_opt(name),
        None => Ok(None),
    }
}

/// Return whether an object is an instance of such a class.
pub fn is_loaded_instance<'py>(
    obj: &Bound<'py, PyAny>,
    module: &Bound<'py, PyString>,
    name: &Bound<'py, PyString>,
) -> PyResult<bool> {
    match loaded(module, name)? {
        Some(class) => obj.is_instance(&class),
        None => Ok(false),
    }
}

/// Find the representation of an object whose class is not in the standard library.
pub fn reduce_foreign<'py>(obj: &Bound<'py, PyAny>, standard: &Standard) -> PyResult<Reduced<'py>> {
    let py = obj.py();
    if obj.is_instance_of::<PyType>() {
        return Err(refusal("classes are not values; store their name"));
    }
    if obj.is_instance_of::<PyTuple>()
        && is_loaded_instance(
            obj,
            intern!(py, "langgraph.checkpoint.serde.types"),
            intern!(py, "_DeltaSnapshot"),
        )?
    {
        return Ok(Reduced::Bare {
            code: ext::DELTA_SNAPSHOT,
            payload: obj.getattr(intern!(py, "value"))?,
        });
    }
    if let Some(reduced) = by_method(obj)? {
        return Ok(reduced);
    }
    if let Some(reduced) = by_base(obj, standard)? {
        return Ok(reduced);
    }
    if let Some(args) = send_args(obj)? {
        return of_class(obj, ext::CONSTRUCT_ARGS, args, None);
    }
    if let Some(fields) = obj
        .get_type()
        .getattr_opt(intern!(py, "__dataclass_fields__"))?
    {
        let kwargs = dataclass_kwargs(obj, &fields)?;
        return of_class(obj, ext::CONSTRUCT_KWARGS, kwargs, None);
    }
    if is_loaded_instance(obj, intern!(py, "numpy"), intern!(py, "ndarray"))? {
        return numpy::reduce(obj);
    }
    if obj.is_instance(standard.exception.bind(py))? {
        return Ok(Reduced::Value(obj.repr()?.into_any()));
    }
    Err(PyTypeError::new_err(
        "unsupported type; use a dataclass, a pydantic model, a NamedTuple or plain data",
    ))
}

/// Return what an object of a user class is rebuilt from.
fn of_class<'py>(
    obj: &Bound<'py, PyAny>,
    code: i8,
    payload: Bound<'py, PyAny>,
    method: Option<&'static str>,
) -> PyResult<Reduced<'py>> {
    let py = obj.py();
    let class = obj.getattr(intern!(py, "__class__"))?;
    Ok(Reduced::Class(Class {
        code,
        module: class.getattr(intern!(py, "__module__"))?,
        name: class.getattr(intern!(py, "__name__"))?,
        payload,
        method,
        foreign: Some(class.cast_into::<PyType>()?),
    }))
}

/// Return the representation of an object that provides it by a method, as models, secrets and
/// named tuples do.
fn by_method<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Option<Reduced<'py>>> {
    let py = obj.py();
    let rules = [
        (
            intern!(py, "model_dump"),
            ext::PYDANTIC_V2,
            Some("model_validate_json"),
        ),
        (intern!(py, "get_secret_value"), ext::CONSTRUCT_ONE, None),
        (intern!(py, "dict"), ext::PYDANTIC_V1, None),
        (intern!(py, "_asdict"), ext::CONSTRUCT_KWARGS, None),
    ];
    for (name, code, builder) in rules {
        if let Some(method) = hook(obj, name)? {
            return of_class(obj, code, method.call0()?, builder).map(Some);
        }
    }
    Ok(None)
}

/// Return the representation of an object whose class derives from one in the standard library.
fn by_base<'py>(obj: &Bound<'py, PyAny>, standard: &Standard) -> PyResult<Option<Reduced<'py>>> {
    let py = obj.py();
    let is = |class: &Py<PyAny>| obj.is_instance(class.bind(py));
    let get = |name: &Bound<'py, PyString>| obj.getattr(name);
    let (code, payload, method) = if is(&standard.path)? {
        (ext::CONSTRUCT_ARGS, get(intern!(py, "parts"))?, None)
    } else if is(&standard.pattern)? {
        return reduce_pattern(obj).map(Some);
    } else if is(&standard.uuid)? {
        (ext::CONSTRUCT_ONE, get(intern!(py, "hex"))?, None)
    } else if is(&standard.decimal)? {
        (ext::CONSTRUCT_ONE, obj.str()?.into_any(), None)
    } else if is(&standard.deque)? {
        if !get(intern!(py, "maxlen"))?.is_none() {
            return Err(refusal(
                "the maxlen of a subclass of deque would be lost; use deque",
            ));
        }
        (ext::CONSTRUCT_ONE, items(obj)?, None)
    } else if is(&standard.sets)? {
        (ext::CONSTRUCT_ONE, items(obj)?, None)
    } else if is(&standard.addresses)? {
        (ext::CONSTRUCT_ONE, obj.str()?.into_any(), None)
    } else if is(&standard.datetime)? {
        let text = obj.call_method0(intern!(py, "isoformat"))?;
        (ext::METHOD, text, Some("fromisoformat"))
    } else if is(&standard.timedelta)? {
        (ext::CONSTRUCT_ARGS, timedelta_args(obj)?, None)
    } else if is(&standard.date)? {
        (ext::CONSTRUCT_ARGS, date_args(obj)?, None)
    } else if is(&standard.time)? {
        (ext::CONSTRUCT_KWARGS, time_kwargs(obj)?, None)
    } else if is(&standard.zone_info)? {
        (ext::CONSTRUCT_ONE, zone_key(obj)?, None)
    } else if is(&standard.enumeration)? {
        (ext::CONSTRUCT_ONE, get(intern!(py, "value"))?, None)
    } else {
        return Ok(None);
    };
    of_class(obj, code, payload, method).map(Some)
}

/// Return the arguments of an object that looks like LangGraph's `Send`.
fn send_args<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = obj.py();
    let (Some(node), Some(arg)) = (
        obj.getattr_opt(intern!(py, "node"))?,
        obj.getattr_opt(intern!(py, "arg"))?,
    ) else {
        return Ok(None);
    };
    // The protocol requires a hash, which a class that only defines `__eq__` has set to None.
    if obj.getattr(intern!(py, "__hash__"))?.is_none() {
        return Ok(None);
    }
    let timeout = obj
        .getattr_opt(intern!(py, "timeout"))?
        .filter(|timeout| !timeout.is_none());
    let args = match timeout {
        Some(timeout) => (node, arg, timeout).into_pyobject(py)?,
        None => (node, arg).into_pyobject(py)?,
    };
    Ok(Some(args.into_any()))
}

fn dataclass_kwargs<'py>(
    obj: &Bound<'py, PyAny>,
    fields: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = obj.py();
    static FIELD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let marker = FIELD.get_or_try_init(py, || -> PyResult<_> {
        Ok(py.import("dataclasses")?.getattr("_FIELD")?.unbind())
    })?;
    let kwargs = PyDict::new(py);
    for (name, field) in fields.cast::<PyDict>()?.iter() {
        // ClassVar and InitVar pseudo-fields are listed too.
        if field
            .getattr(intern!(py, "_field_type"))?
            .is(marker.bind(py))
        {
            kwargs.set_item(&name, obj.getattr(name.cast::<PyString>()?)?)?;
        }
    }
    Ok(kwargs.into_any())
}

/// The plain type that instances of a subclass, other than enums, are written as.
pub enum Base {
    Str,
    Int,
    List,
    Dict,
}

/// Return which plain type `obj` derives from, if it is written as one.
pub fn plain_base(obj: &Bound<'_, PyAny>) -> PyResult<Option<Base>> {
    let base = if obj.is_instance_of::<PyString>() {
        Base::Str
    } else if obj.is_instance_of::<PyInt>() && !obj.is_instance_of::<PyBool>() {
        Base::Int
    } else if obj.is_instance_of::<PyList>() {
        Base::List
    } else if obj.is_instance_of::<PyDict>() {
        Base::Dict
    } else {
        return Ok(None);
    };
    let standard = Standard::get(obj.py())?;
    if standard.by_type(&obj.get_type()).is_some()
        || obj.is_instance(standard.enumeration.bind(obj.py()))?
    {
        return Ok(None);
    }
    Ok(Some(base))
}
