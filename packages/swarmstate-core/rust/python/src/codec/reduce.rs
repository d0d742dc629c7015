//! Represents objects in a message: the rules for everything that is not plain msgpack.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyType};

use super::error::EncodeError;
use super::foreign::{check_importable, reduce_foreign};
use super::standard::{Kind, Known, Standard};
use super::wire::ext;

/// What is written for an object.
pub enum Reduced<'py> {
    /// An ext with nothing but this payload.
    Bare {
        code: i8,
        payload: Bound<'py, PyAny>,
    },
    /// An ext with a class, a payload to build it from, and for some codes a method.
    Class(Class<'py>),
    /// An ext with a dict as alternating keys and values.
    Dict { code: i8, items: Bound<'py, PyDict> },
    /// Bytes.
    Bin(Vec<u8>),
    /// Another value in its place.
    Value(Bound<'py, PyAny>),
}

/// A class by name, and what an instance is built from.
pub struct Class<'py> {
    pub code: i8,
    pub module: Bound<'py, PyAny>,
    pub name: Bound<'py, PyAny>,
    pub payload: Bound<'py, PyAny>,
    pub method: Option<&'static str>,
    /// The class itself, if it is not in the standard library.
    pub foreign: Option<Bound<'py, PyType>>,
}

pub fn refusal(reason: &str) -> PyErr {
    EncodeError::new_err(reason.to_owned())
}

/// Find the representation of `obj`, whose type is not a plain one.
pub fn reduce<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Reduced<'py>> {
    let py = obj.py();
    let standard = Standard::get(py)?;
    match standard.by_type(&obj.get_type()) {
        Some(known) => reduce_known(obj, known),
        None if obj.is(py.Ellipsis()) => Ok(Reduced::Bare {
            code: ext::ELLIPSIS,
            payload: py.None().into_bound(py),
        }),
        None => reduce_foreign(obj, standard),
    }
}

fn reduce_known<'py>(obj: &Bound<'py, PyAny>, known: &Known) -> PyResult<Reduced<'py>> {
    let py = obj.py();
    let class = |code, payload: Bound<'py, PyAny>, method| {
        Reduced::Class(Class {
            code,
            module: PyString::intern(py, &known.module).into_any(),
            name: PyString::intern(py, &known.name).into_any(),
            payload,
            method,
            foreign: None,
        })
    };
    let bare = |code, payload: Bound<'py, PyAny>| Reduced::Bare { code, payload };
    let get = |name: &Bound<'py, PyString>| obj.getattr(name);
    Ok(match known.kind {
        Kind::Set => class(ext::CONSTRUCT_ONE, items(obj)?, None),
        Kind::DateTime => match zoned_parts(obj)? {
            Some(parts) => bare(ext::DATETIME, parts),
            None => {
                let text = obj.call_method0(intern!(py, "isoformat"))?;
                class(ext::METHOD, text, Some("fromisoformat"))
            }
        },
        Kind::TimeDelta => class(ext::CONSTRUCT_ARGS, timedelta_args(obj)?, None),
        Kind::Date => class(ext::CONSTRUCT_ARGS, date_args(obj)?, None),
        Kind::Time => class(ext::CONSTRUCT_KWARGS, time_kwargs(obj)?, None),
        Kind::TimeZone => class(
            ext::CONSTRUCT_ARGS,
            obj.call_method0(intern!(py, "__getinitargs__"))?,
            None,
        ),
        Kind::ZoneInfo => class(ext::CONSTRUCT_ONE, zone_key(obj)?, None),
        Kind::Uuid => class(ext::CONSTRUCT_ONE, get(intern!(py, "hex"))?, None),
        Kind::Decimal | Kind::IpAddress => class(ext::CONSTRUCT_ONE, obj.str()?.into_any(), None),
        Kind::Path => class(ext::CONSTRUCT_ARGS, get(intern!(py, "parts"))?, None),
        Kind::Pattern => reduce_pattern(obj)?,
        Kind::Deque => {
            let items = items(obj)?;
            let maxlen = get(intern!(py, "maxlen"))?;
            if maxlen.is_none() {
                class(ext::CONSTRUCT_ONE, items, None)
            } else {
                bare(ext::DEQUE, (maxlen, items).into_pyobject(py)?.into_any())
            }
        }
        Kind::ByteArray => bare(ext::BYTEARRAY, PyBytes::new(py, &contents(obj)?).into_any()),
        Kind::MemoryView => Reduced::Bin(contents(obj)?),
        Kind::Complex => {
            let parts = (get(intern!(py, "real"))?, get(intern!(py, "imag"))?);
            bare(ext::COMPLEX, parts.into_pyobject(py)?.into_any())
        }
        Kind::Fraction => {
            let parts = (
                get(intern!(py, "numerator"))?,
                get(intern!(py, "denominator"))?,
            );
            bare(ext::FRACTION, parts.into_pyobject(py)?.into_any())
        }
        Kind::Range => {
            let parts = (
                get(intern!(py, "start"))?,
                get(intern!(py, "stop"))?,
                get(intern!(py, "step"))?,
            );
            bare(ext::RANGE, parts.into_pyobject(py)?.into_any())
        }
        Kind::PurePosixPath => bare(ext::PURE_PATH, pure_parts(obj, "posix")?),
        Kind::PureWindowsPath => bare(ext::PURE_PATH, pure_parts(obj, "windows")?),
        Kind::Counter => Reduced::Dict {
            code: ext::COUNTER,
            items: plain_dict(obj)?,
        },
        Kind::OrderedDict => Reduced::Dict {
            code: ext::ORDERED_DICT,
            items: plain_dict(obj)?,
        },
        Kind::DefaultDict => {
            let factory = default_factory(&get(intern!(py, "default_factory"))?)?;
            bare(
                ext::DEFAULT_DICT,
                (factory, plain_dict(obj)?).into_pyobject(py)?.into_any(),
            )
        }
    })
}

/// Return the items of a set or a deque as a list.
pub fn items<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let items = obj.try_iter()?.collect::<PyResult<Vec<_>>>()?;
    Ok(PyList::new(obj.py(), items)?.into_any())
}

/// Return the items of a dict subclass in its own order, which for an `OrderedDict` is not that of
/// the underlying dict.
fn plain_dict<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let py = obj.py();
    Ok(py
        .get_type::<PyDict>()
        .call1((obj,))?
        .cast_into::<PyDict>()?)
}

fn contents(obj: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let bytes = obj.py().get_type::<PyBytes>().call1((obj,))?;
    Ok(bytes.cast::<PyBytes>()?.as_bytes().to_vec())
}

/// Return the parts to write for a datetime if its ISO text loses some of it.
fn zoned_parts<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = obj.py();
    let zone = obj.getattr(intern!(py, "tzinfo"))?;
    let folded = obj.getattr(intern!(py, "fold"))?.is_truthy()?;
    if !folded && iso_keeps(&zone)? {
        return Ok(None);
    }
    let changes = PyDict::new(py);
    changes.set_item(intern!(py, "tzinfo"), py.None())?;
    changes.set_item(intern!(py, "fold"), 0)?;
    let naive = obj.call_method(intern!(py, "replace"), (), Some(&changes))?;
    let text = naive.call_method0(intern!(py, "isoformat"))?;
    let parts = (text, zone, u8::from(folded)).into_pyobject(py)?;
    Ok(Some(parts.into_any()))
}

fn pure_parts<'py>(obj: &Bound<'py, PyAny>, flavour: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = obj.py();
    let parts = (flavour, obj.getattr(intern!(py, "parts"))?);
    Ok(parts.into_pyobject(py)?.into_any())
}

/// Return whether the ISO text of a datetime preserves this time zone, or an equivalent one.
///
/// Zones of other libraries become fixed offsets, as in LangGraph: the instant is preserved.
fn iso_keeps(zone: &Bound<'_, PyAny>) -> PyResult<bool> {
    if zone.is_none() {
        return Ok(true);
    }
    let py = zone.py();
    match Standard::get(py)?
        .by_type(&zone.get_type())
        .map(|known| known.kind)
    {
        Some(Kind::TimeZone) => {
            let args = zone.call_method0(intern!(py, "__getinitargs__"))?;
            let (days, seconds, micros) =
                timedelta_args(&args.get_item(0)?)?.extract::<(i64, i64, i64)>()?;
            // Python reads offsets of less than a second as UTC.
            let is_tiny = matches!((days, seconds), (0, 0) | (-1, 86399)) && micros != 0;
            Ok(args.len()? == 1 && !is_tiny)
        }
        Some(Kind::ZoneInfo) => Ok(false),
        _ => Ok(true),
    }
}

pub fn zone_key<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let key = obj.getattr(intern!(obj.py(), "key"))?;
    if key.is_none() {
        return Err(refusal(
            "a ZoneInfo without a key cannot be restored; use ZoneInfo(key)",
        ));
    }
    Ok(key)
}

pub fn timedelta_args<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = obj.py();
    let parts = (
        obj.getattr(intern!(py, "days"))?,
        obj.getattr(intern!(py, "seconds"))?,
        obj.getattr(intern!(py, "microseconds"))?,
    );
    Ok(parts.into_pyobject(py)?.into_any())
}

pub fn date_args<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = obj.py();
    let parts = (
        obj.getattr(intern!(py, "year"))?,
        obj.getattr(intern!(py, "month"))?,
        obj.getattr(intern!(py, "day"))?,
    );
    Ok(parts.into_pyobject(py)?.into_any())
}

pub fn time_kwargs<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = obj.py();
    let kwargs = PyDict::new(py);
    for name in ["hour", "minute", "second", "microsecond", "tzinfo", "fold"] {
        kwargs.set_item(name, obj.getattr(name)?)?;
    }
    Ok(kwargs.into_any())
}

pub fn reduce_pattern<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Reduced<'py>> {
    let py = obj.py();
    let args = (
        obj.getattr(intern!(py, "pattern"))?,
        obj.getattr(intern!(py, "flags"))?,
    );
    Ok(Reduced::Class(Class {
        code: ext::CONSTRUCT_ARGS,
        module: intern!(py, "re").clone().into_any(),
        name: intern!(py, "compile").clone().into_any(),
        payload: args.into_pyobject(py)?.into_any(),
        method: None,
        foreign: None,
    }))
}

/// Return the name of a `default_factory`, after checking that it is a class that can be found
/// again.
fn default_factory<'py>(factory: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = factory.py();
    if factory.is_none() {
        return Ok(factory.clone());
    }
    let Ok(class) = factory.cast::<PyType>() else {
        return Err(refusal(
            "its default_factory is not a class, so it cannot be encoded; use a class such as list \
             or int, or pass dict(value)",
        ));
    };
    check_importable(class)?;
    let name = (
        class.getattr(intern!(py, "__module__"))?,
        class.getattr(intern!(py, "__name__"))?,
    );
    Ok(name.into_pyobject(py)?.into_any())
}
