//! Turns the payload of an ext that names no class into its value.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyComplex, PyDict, PyInt, PyType};

use super::build::{find, kwargs, tuple};
use super::error::DecodeError;
use super::numpy;
use super::policy::Policy;
use super::standard::Standard;
use super::wire::ext;

/// Build the value of an ext whose head names no class.
pub fn build<'py>(
    policy: &Policy,
    code: i8,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let standard = Standard::get(py)?;
    let value = match code {
        ext::NUMPY => numpy::build(payload, false)?,
        ext::STRUCTURED_ARRAY => numpy::build(payload, true)?,
        ext::DELTA_SNAPSHOT => {
            find(py, "langgraph.checkpoint.serde.types", "_DeltaSnapshot")?.call1((payload,))?
        }
        ext::BIG_INT => big_int(payload)?,
        ext::SURROGATES => {
            let args = (intern!(py, "utf-8"), intern!(py, "surrogatepass"));
            payload
                .cast::<PyBytes>()?
                .call_method1(intern!(py, "decode"), args)?
        }
        ext::BYTEARRAY => py
            .get_type::<PyByteArray>()
            .call1((payload.cast::<PyBytes>()?,))?,
        ext::COMPLEX => {
            let (real, imag) = tuple(payload)?.extract::<(f64, f64)>()?;
            PyComplex::from_doubles(py, real, imag).into_any()
        }
        ext::FRACTION => {
            // Fraction also accepts texts, which it would expand to as many digits as their
            // exponent says.
            let ints = tuple(payload)?.extract::<(Bound<'py, PyInt>, Bound<'py, PyInt>)>()?;
            standard.fraction.bind(py).call1(ints)?
        }
        ext::RANGE => standard.range.bind(py).call1(tuple(payload)?)?,
        ext::PURE_PATH => pure_path(standard, payload)?,
        ext::COUNTER => standard.counter.bind(py).call1((kwargs(payload)?,))?,
        ext::ORDERED_DICT => standard.ordered_dict.bind(py).call1((kwargs(payload)?,))?,
        ext::DEFAULT_DICT => default_dict(policy, standard, payload)?,
        ext::DEQUE => {
            let (maxlen, items) =
                tuple(payload)?.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()?;
            standard.deque.bind(py).call1((tuple(&items)?, maxlen))?
        }
        ext::PAIRS => kwargs(payload)?.clone().into_any(),
        ext::ELLIPSIS => py.Ellipsis().into_bound(py),
        _ => zoned_datetime(standard, payload)?,
    };
    Ok(value)
}

fn big_int<'py>(payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let signed = PyDict::new(py);
    signed.set_item(intern!(py, "signed"), true)?;
    let args = (payload.cast::<PyBytes>()?, intern!(py, "big"));
    py.get_type::<PyInt>()
        .call_method(intern!(py, "from_bytes"), args, Some(&signed))
}

fn pure_path<'py>(standard: &Standard, payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (flavour, parts) = tuple(payload)?.extract::<(String, Bound<'py, PyAny>)>()?;
    let class = match flavour.as_str() {
        "posix" => &standard.pure_posix_path,
        "windows" => &standard.pure_windows_path,
        _ => {
            return Err(DecodeError::new_err(format!(
                "expected posix or windows, found {flavour:?}"
            )));
        }
    };
    class.bind(payload.py()).call1(tuple(&parts)?)
}

fn zoned_datetime<'py>(
    standard: &Standard,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let (text, zone, fold) =
        tuple(payload)?.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>, u8)>()?;
    let datetime = standard.datetime.bind(py);
    let naive = datetime.call_method1(intern!(py, "fromisoformat"), (text,))?;
    let changes = PyDict::new(py);
    changes.set_item(intern!(py, "tzinfo"), zone)?;
    changes.set_item(intern!(py, "fold"), fold)?;
    naive.call_method(intern!(py, "replace"), (), Some(&changes))
}

fn default_dict<'py>(
    policy: &Policy,
    standard: &Standard,
    payload: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let (factory, items) = tuple(payload)?.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()?;
    let class = standard.default_dict.bind(py);
    if factory.is_none() {
        return class.call1((factory, kwargs(&items)?));
    }
    let (module, name) = tuple(&factory)?.extract::<(String, String)>()?;
    if !policy.check_factory(py, &module, &name)? {
        return Ok(items);
    }
    let factory = find(py, &module, &name)?.cast_into::<PyType>()?;
    class.call1((factory, kwargs(&items)?))
}
