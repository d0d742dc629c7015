//! Turns the payload of an ext that names a class into its object.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType};

use super::error::{class_name, is_ordinary};
use super::head::Head;
use super::policy::Policy;
use super::standard::Standard;
use super::wire::ext;

/// Build an object of a class, or what the policy substitutes for it.
pub fn build<'py>(
    policy: &Policy,
    code: i8,
    head: &Head<'_>,
    method: Option<&str>,
    payload: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let Head { module, name, .. } = *head;
    let allowed = match method {
        Some(method) if code == ext::METHOD => policy.check_method(py, module, name, method)?,
        _ => policy.check_read(py, module, name)?,
    };
    if !allowed {
        return Ok(payload);
    }
    match construct(code, head, method, &payload) {
        Ok(value) => Ok(value),
        Err(error) if !is_ordinary(py, &error) => Err(error),
        Err(error) => match payload.cast::<PyTuple>() {
            // The items are a tuple only for a builtin set, unless the bytes are damaged.
            Ok(items) if head.is_set() => {
                let items = PyList::new(py, items.iter())?;
                policy.failed(py, code, (module, name), items.as_any(), error)
            }
            _ => policy.failed(py, code, (module, name), &payload, error),
        },
    }
}

/// Return a module's attribute, importing the module.
pub fn find<'py>(py: Python<'py>, module: &str, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let standard = Standard::get(py)?;
    if let Some(class) = standard.by_name(module, name) {
        return Ok(class.bind(py).clone());
    }
    py.import(module)?.getattr(name)
}

fn construct<'py>(
    code: i8,
    head: &Head<'_>,
    method: Option<&str>,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let class = find(py, head.module, head.name)?;
    match (code, method) {
        (ext::CONSTRUCT_ONE, _) => construct_one(&class, payload),
        (ext::CONSTRUCT_ARGS, _) => {
            let args = tuple(payload)?;
            for arg in &args {
                check_filling(&class, &arg)?;
            }
            if (head.module, head.name) == ("langgraph.types", "Send") && args.len() == 3 {
                let kwargs = PyDict::new(py);
                kwargs.set_item(intern!(py, "timeout"), args.get_item(2)?)?;
                return class.call(args.get_slice(0, 2), Some(&kwargs));
            }
            class.call1(args)
        }
        (ext::METHOD, Some(method)) => class.getattr(method)?.call1((payload,)),
        (ext::PYDANTIC_V1, _) => construct_model(&class, intern!(py, "construct"), payload),
        (ext::PYDANTIC_V2, _) => {
            let unvalidated = intern!(py, "model_construct");
            if head.module.starts_with("langchain_core.") && has_endless_field(payload)? {
                // Validation would turn it into a list.
                return class.getattr(unvalidated)?.call((), Some(kwargs(payload)?));
            }
            construct_model(&class, unvalidated, payload)
        }
        _ if (head.module, head.name) == ("langgraph.store.base", "Item") => {
            let fields = kwargs(payload)?;
            if let Some(namespace) = fields.get_item(intern!(py, "namespace"))? {
                tuple(&namespace)?;
            }
            construct_kwargs(&class, payload)
        }
        _ => construct_kwargs(&class, payload),
    }
}

/// Return the items of an array.
pub fn tuple<'py>(payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    match payload.cast_exact::<PyTuple>() {
        Ok(items) => Ok(items.clone()),
        // Not any iterable: a few bytes can describe an endless range.
        Err(_) => Ok(payload.cast_exact::<PyList>()?.to_tuple()),
    }
}

/// Return whether iterating over an object can yield more items than its bytes held.
fn is_endless(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    // The usual types; checking against the classes takes longer than building a date.
    let is_usual = value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyTuple>();
    if is_usual {
        return Ok(false);
    }
    let standard = Standard::get(value.py())?;
    value.is_instance(standard.endless.bind(value.py()))
}

fn has_endless_field(payload: &Bound<'_, PyAny>) -> PyResult<bool> {
    for value in kwargs(payload)?.values() {
        if is_endless(&value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuse to fill a container with items that the bytes did not hold.
fn check_filling(class: &Bound<'_, PyAny>, items: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = class.py();
    if !is_endless(items)? {
        return Ok(());
    }
    match class.cast::<PyType>() {
        Ok(class) if class.is_subclass(Standard::get(py)?.containers.bind(py))? => {
            Err(PyTypeError::new_err(format!(
                "expected an array of items, found {}",
                class_name(items.get_type().as_any())
            )))
        }
        _ => Ok(()),
    }
}

/// Return the items of a map.
pub fn kwargs<'a, 'py>(payload: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyDict>> {
    Ok(payload.cast::<PyDict>()?)
}

/// Call a class with its payload, with lists turned back into tuples where they must have been
/// tuples.
fn construct_one<'py>(
    class: &Bound<'py, PyAny>,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let Ok(list) = payload.cast_exact::<PyList>() else {
        check_filling(class, payload)?;
        return class.call1((payload,));
    };
    let standard = Standard::get(py)?;
    let Ok(class_type) = class.cast::<PyType>() else {
        return class.call1((payload,));
    };
    let is_set =
        class_type.is_subclass_of::<PySet>()? || class_type.is_subclass_of::<PyFrozenSet>()?;
    if is_set {
        let items = list
            .iter()
            .map(|item| frozen(item, 0))
            .collect::<PyResult<Vec<_>>>()?;
        return class.call1((PyList::new(py, items)?,));
    }
    match class.call1((payload,)) {
        // A list does not find an enum member whose value is a tuple.
        Err(error)
            if is_ordinary(py, &error)
                && class_type.is_subclass(standard.enumeration.bind(py))? =>
        {
            class
                .call1((frozen(payload.clone(), 0)?,))
                .map_err(|_| error)
        }
        result => result,
    }
}

/// Turn a list, and lists nested directly in it, into tuples.
fn frozen<'py>(value: Bound<'py, PyAny>, depth: usize) -> PyResult<Bound<'py, PyAny>> {
    /// The contents of user classes are not nested deeply; below this level they fail as
    /// unhashable.
    const MAX_LEVELS: usize = 64;
    match value.cast_exact::<PyList>() {
        Ok(list) if depth < MAX_LEVELS => {
            let items = list.iter().map(|item| frozen(item, depth + 1));
            let items = items.collect::<PyResult<Vec<_>>>()?;
            Ok(PyTuple::new(value.py(), items)?.into_any())
        }
        _ => Ok(value),
    }
}

fn construct_kwargs<'py>(
    class: &Bound<'py, PyAny>,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let fields = kwargs(payload)?;
    match class.call((), Some(fields)) {
        Err(error) if error.is_instance_of::<PyTypeError>(py) => {
            construct_dataclass(class, fields)?.ok_or(error)
        }
        result => result,
    }
}

/// Build a dataclass with fields that its `__init__` does not take.
fn construct_dataclass<'py>(
    class: &Bound<'py, PyAny>,
    payload: &Bound<'py, PyDict>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = class.py();
    let Some(fields) = class.getattr_opt(intern!(py, "__dataclass_fields__"))? else {
        return Ok(None);
    };
    let args = payload.copy()?;
    let rest = PyDict::new(py);
    for (name, field) in fields.cast::<PyDict>()?.iter() {
        if let Some(value) = payload.get_item(&name)?
            && !field.getattr(intern!(py, "init"))?.is_truthy()?
        {
            args.del_item(&name)?;
            rest.set_item(name, value)?;
        }
    }
    if rest.is_empty() {
        return Ok(None);
    }
    let obj = class.call((), Some(&args))?;
    // Frozen dataclasses reject normal assignment.
    let set = py.get_type::<PyAny>().getattr(intern!(py, "__setattr__"))?;
    for (name, value) in rest.iter() {
        set.call1((&obj, name, value))?;
    }
    Ok(Some(obj))
}

/// Build a pydantic model, skipping validation if it rejects the stored fields.
fn construct_model<'py>(
    class: &Bound<'py, PyAny>,
    unvalidated: &Bound<'py, PyString>,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    if class
        .getattr_opt(intern!(py, "__pydantic_root_model__"))?
        .is_some_and(|root| root.is(&*PyBool::new(py, true)))
    {
        return class.call1((payload,));
    }
    let fields = kwargs(payload)?;
    match class.call((), Some(fields)) {
        Err(error) if is_ordinary(py, &error) => class.getattr(unvalidated)?.call((), Some(fields)),
        result => result,
    }
}
