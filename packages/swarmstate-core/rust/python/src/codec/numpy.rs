//! numpy arrays, as shape, order and raw items.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::error::EncodeError;
use super::reduce::Reduced;
use super::wire::ext;

/// Return the representation of an array.
pub fn reduce<'py>(array: &Bound<'py, PyAny>) -> PyResult<Reduced<'py>> {
    let py = array.py();
    let numpy = py.import(intern!(py, "numpy"))?;
    let dtype = array.getattr(intern!(py, "dtype"))?;
    if array.is_instance(
        &numpy
            .getattr(intern!(py, "ma"))?
            .getattr(intern!(py, "MaskedArray"))?,
    )? {
        return Err(EncodeError::new_err(
            "its mask would be lost; store data and mask separately",
        ));
    }
    if dtype.getattr(intern!(py, "hasobject"))?.is_truthy()? {
        return Err(EncodeError::new_err(format!(
            "arrays of dtype {dtype} contain objects; use array.tolist()"
        )));
    }
    let flags = array.getattr(intern!(py, "flags"))?;
    let is_c = flags.getattr(intern!(py, "c_contiguous"))?.is_truthy()?;
    let is_f = flags.getattr(intern!(py, "f_contiguous"))?.is_truthy()?;
    let order = if is_f && !is_c { "F" } else { "C" };
    let items = array.call_method1(intern!(py, "tobytes"), (order,))?;
    let shape = array.getattr(intern!(py, "shape"))?;

    let text = dtype.getattr(intern!(py, "str"))?;
    if numpy
        .call_method1(intern!(py, "dtype"), (&text,))
        .is_ok_and(|read| read.eq(&dtype).unwrap_or(false))
    {
        let payload = (text, shape, order, items).into_pyobject(py)?.into_any();
        return Ok(Reduced::Bare {
            code: ext::NUMPY,
            payload,
        });
    }
    let format = numpy
        .getattr(intern!(py, "lib"))?
        .getattr(intern!(py, "format"))?;
    let description = format.call_method1(intern!(py, "dtype_to_descr"), (&dtype,))?;
    let read = format.call_method1(intern!(py, "descr_to_dtype"), (&description,))?;
    if !read.eq(&dtype)? {
        return Err(EncodeError::new_err(format!(
            "numpy cannot serialize its dtype {dtype}"
        )));
    }
    let payload = (description.repr()?, shape, order, items)
        .into_pyobject(py)?
        .into_any();
    Ok(Reduced::Bare {
        code: ext::STRUCTURED_ARRAY,
        payload,
    })
}

/// Build a read-only array from the payload of either ext code.
pub fn build<'py>(payload: &Bound<'py, PyAny>, structured: bool) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let (description, shape, order, items): (
        Bound<'py, PyString>,
        Bound<'py, PyList>,
        Bound<'py, PyAny>,
        Bound<'py, PyAny>,
    ) = PyTuple::new(py, payload.cast::<PyList>()?.iter())?.extract()?;
    let numpy = py.import(intern!(py, "numpy"))?;
    let dtype = if structured {
        let ast = py.import(intern!(py, "ast"))?;
        let description = ast.call_method1(intern!(py, "literal_eval"), (description,))?;
        let format = numpy
            .getattr(intern!(py, "lib"))?
            .getattr(intern!(py, "format"))?;
        format.call_method1(intern!(py, "descr_to_dtype"), (description,))?
    } else {
        numpy.call_method1(intern!(py, "dtype"), (description,))?
    };
    let array = numpy.call_method1(intern!(py, "frombuffer"), (items, dtype))?;
    let kwargs = PyDict::new(py);
    kwargs.set_item(intern!(py, "order"), order)?;
    array.call_method(intern!(py, "reshape"), (shape,), Some(&kwargs))
}
