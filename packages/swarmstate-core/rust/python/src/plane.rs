//! The byte plane across the language boundary.
//!
//! `Query`, `Batch`, `Range` and `Expect` of `swarmstate.base` are named tuples. They are unpacked
//! by position, so the order of fields here must match their definitions.

use std::sync::Arc;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyMapping, PyString, PyTuple, PyType};
use swarmstate_engine::{Answer, Batch, Expect, Expiry, Query, Range, Value};

use crate::codec::CollectorPause;
use crate::error::InvalidNameError;

/// Raise a store's error for a name that is invalid or not a str.
#[pyfunction]
#[pyo3(signature = (value, what="name"))]
pub(crate) fn check_name(value: &Bound<'_, PyAny>, what: &str) -> PyResult<()> {
    name(value, what).map(drop)
}

/// Raise the error of a store's `read` for invalid queries.
#[pyfunction]
pub(crate) fn check_queries(queries: &Bound<'_, PyAny>) -> PyResult<()> {
    self::queries(queries, 0).map(drop)
}

/// Raise the error of a store's `write` for invalid batches.
#[pyfunction]
pub(crate) fn check_batches(batches: &Bound<'_, PyAny>) -> PyResult<()> {
    self::batches(batches, 0).map(drop)
}

/// Converts a sequence of `swarmstate.base.Query`; their `ttl` counts from `now`.
pub(crate) fn queries(queries: &Bound<'_, PyAny>, now: i64) -> PyResult<Vec<Query>> {
    collect(queries, "queries", |item| query(item, now))
}

/// Converts a sequence of `swarmstate.base.Batch`; their `ttl` counts from `now`.
pub(crate) fn batches(batches: &Bound<'_, PyAny>, now: i64) -> PyResult<Vec<Batch>> {
    collect(batches, "batches", |item| batch(item, now))
}

/// Converts answers to a list of `swarmstate.base.Result`.
///
/// Remaining times to live count from `now`.
pub(crate) fn results<'py>(
    py: Python<'py>,
    answers: Vec<Answer>,
    now: i64,
) -> PyResult<Bound<'py, PyList>> {
    let _pause = CollectorPause::for_objects(py, answers.iter().map(records_of).sum());
    let list = PyList::empty(py);
    for answer in answers {
        list.append(result(py, answer, now)?)?;
    }
    Ok(list)
}

fn records_of(answer: &Answer) -> usize {
    answer.ranges.iter().map(Vec::len).sum()
}

/// Borrows a namespace or key, or explains why it is invalid.
pub(crate) fn name<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a str> {
    let name = bound(value, what)?;
    if name.is_empty() {
        return Err(invalid_name(value, what, "it is empty"));
    }
    Ok(name)
}

/// Borrows a prefix or the bound of a range: like a name, but may be empty.
pub(crate) fn bound<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a str> {
    let Ok(text) = value.cast::<PyString>() else {
        return Err(wrong_type(value, what, "str"));
    };
    let Ok(name) = text.to_str() else {
        return Err(invalid_name(value, what, "it contains a lone surrogate"));
    };
    if name.as_bytes().contains(&0) {
        return Err(invalid_name(value, what, "it contains NUL"));
    }
    Ok(name)
}

/// Borrows an optional namespace or key.
fn optional_name<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Option<&'a str>> {
    if value.is_none() {
        Ok(None)
    } else {
        name(value, what).map(Some)
    }
}

/// Borrows an optional bound.
fn optional_bound<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<Option<&'a str>> {
    if value.is_none() {
        Ok(None)
    } else {
        bound(value, what).map(Some)
    }
}

/// Converts a time to live, in seconds, to the moment of expiry.
pub(crate) fn expiry(ttl: &Bound<'_, PyAny>, now: i64) -> PyResult<Option<Expiry>> {
    if ttl.is_none() {
        return Ok(None);
    }
    let Ok(seconds) = ttl.extract::<f64>() else {
        return Err(wrong_type(ttl, "ttl", "a number of seconds or None"));
    };
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(PyValueError::new_err(format!(
            "ttl must be greater than 0 seconds (math.inf: never expires), not {seconds}"
        )));
    }
    if seconds.is_infinite() {
        return Ok(Some(Expiry::Never));
    }
    // Rounded up, so that the shortest ttl is one tick of the clock; the cast saturates.
    Ok(Some(Expiry::At(
        now.saturating_add((seconds * 1000.0).ceil() as i64),
    )))
}

/// The arguments of `namespaces`, borrowed.
pub(crate) struct Page<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: Option<usize>,
}

impl<'a> Page<'a> {
    /// `prefix` is `None` only if the caller gave none: `given` keeps Python's `None`.
    pub(crate) fn new(
        prefix: Option<&'a Bound<'_, PyAny>>,
        after: Option<&'a Bound<'_, PyAny>>,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            prefix: prefix.map_or(Ok(""), |prefix| bound(prefix, "prefix"))?,
            after: after.map(|after| bound(after, "after")).transpose()?,
            limit: limit.map_or(Ok(None), self::limit)?,
        })
    }
}

/// Takes an argument whose default is not Python's `None`, which is then refused like other types.
pub(crate) fn given<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(Some(value.clone()))
}

/// Converts a limit: `None` or a nonnegative number.
pub(crate) fn limit(value: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if value.is_none() {
        return Ok(None);
    }
    match value.extract::<i64>() {
        Ok(limit) if limit >= 0 => Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX))),
        Err(error) if !error.is_instance_of::<PyOverflowError>(value.py()) => {
            Err(wrong_type(value, "limit", "an int or None"))
        }
        // More than any store holds.
        Err(_) if value.gt(0)? => Ok(Some(usize::MAX)),
        _ => Err(PyValueError::new_err(format!(
            "limit must be 0 or more, not {value}"
        ))),
    }
}

fn query(item: &Bound<'_, PyAny>, now: i64) -> PyResult<Query> {
    let fields = fields(item, "a Query", 5)?;
    Ok(Query {
        namespace: name(&fields.get_item(0)?, "namespace")?.to_owned(),
        keys: collect(&fields.get_item(1)?, "keys", |key| {
            Ok(name(key, "key")?.to_owned())
        })?,
        ranges: collect(&fields.get_item(2)?, "ranges", range)?,
        expiry: expiry(&fields.get_item(3)?, now)?,
        ask_expiry: fields.get_item(4)?.is_truthy()?,
    })
}

fn range(item: &Bound<'_, PyAny>) -> PyResult<Range> {
    let fields = fields(item, "a Range", 5)?;
    Ok(Range {
        start: bound(&fields.get_item(0)?, "start")?.to_owned(),
        stop: optional_bound(&fields.get_item(1)?, "stop")?.map(str::to_owned),
        reverse: fields.get_item(2)?.is_truthy()?,
        limit: limit(&fields.get_item(3)?)?,
        keys_only: fields.get_item(4)?.is_truthy()?,
    })
}

fn batch(item: &Bound<'_, PyAny>, now: i64) -> PyResult<Batch> {
    let fields = fields(item, "a Batch", 9)?;
    Ok(Batch {
        namespace: name(&fields.get_item(0)?, "namespace")?.to_owned(),
        put: records(&fields.get_item(1)?, "put")?,
        put_if_absent: records(&fields.get_item(2)?, "put_if_absent")?,
        delete: collect(&fields.get_item(3)?, "delete", |key| {
            Ok(name(key, "key")?.to_owned())
        })?,
        delete_ranges: collect(&fields.get_item(4)?, "delete_ranges", key_range)?,
        clear: fields.get_item(5)?.is_truthy()?,
        expiry: expiry(&fields.get_item(6)?, now)?,
        expect: expect(&fields.get_item(7)?)?,
        expect_values: expected_values(&fields.get_item(8)?)?,
    })
}

fn key_range(item: &Bound<'_, PyAny>) -> PyResult<(String, Option<String>)> {
    let fields = fields(item, "a (start, stop) pair", 2)?;
    let start = bound(&fields.get_item(0)?, "start")?.to_owned();
    let stop = optional_bound(&fields.get_item(1)?, "stop")?.map(str::to_owned);
    Ok((start, stop))
}

fn expect(item: &Bound<'_, PyAny>) -> PyResult<Option<Expect>> {
    if item.is_none() {
        return Ok(None);
    }
    let fields = fields(item, "an Expect", 2)?;
    Ok(Some(Expect {
        prefix: bound(&fields.get_item(0)?, "prefix")?.to_owned(),
        last_key: optional_name(&fields.get_item(1)?, "last_key")?.map(str::to_owned),
    }))
}

/// Converts a mapping of keys to bytes.
pub(crate) fn records(mapping: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<(String, Value)>> {
    entries(mapping, what, "a mapping of str to bytes", record)
}

fn expected_values(mapping: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Option<Value>)>> {
    let expected = "a mapping of str to bytes or None";
    entries(mapping, "expect_values", expected, |key, value| {
        if value.is_none() {
            return Ok((name(key, "key")?.to_owned(), None));
        }
        let (key, value) = record(key, value)?;
        Ok((key, Some(value)))
    })
}

/// Converts every item of a mapping.
fn entries<T>(
    mapping: &Bound<'_, PyAny>,
    what: &str,
    expected: &str,
    convert: impl Fn(&Bound<'_, PyAny>, &Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    if let Ok(dict) = mapping.cast::<PyDict>() {
        return dict
            .iter()
            .map(|(key, value)| convert(&key, &value))
            .collect();
    }
    let Ok(mapping) = mapping.cast::<PyMapping>() else {
        return Err(wrong_type(mapping, what, expected));
    };
    mapping
        .items()?
        .iter()
        .map(|item| {
            let (key, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            convert(&key, &value)
        })
        .collect()
}

fn record(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<(String, Value)> {
    let name = name(key, "key")?;
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok((name.to_owned(), Arc::from(bytes.as_bytes()))),
        Err(_) => Err(wrong_type(
            value,
            &format!("the value of key {name:?}"),
            "bytes",
        )),
    }
}

/// Converts every item of a sequence.
fn collect<T>(
    items: &Bound<'_, PyAny>,
    what: &str,
    convert: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    if let Ok(tuple) = items.cast::<PyTuple>() {
        return tuple.iter_borrowed().map(|item| convert(&item)).collect();
    }
    if let Ok(list) = items.cast::<PyList>() {
        return list.iter().map(|item| convert(&item)).collect();
    }
    // A str would be read letter by letter. An iterator would be empty for whoever reads it after it
    // was checked, such as a store on a server.
    if items.is_instance_of::<PyString>() || items.is_instance_of::<PyIterator>() {
        return Err(wrong_type(items, what, "a sequence"));
    }
    match items.try_iter() {
        Ok(iterator) => iterator.map(|item| convert(&item?)).collect(),
        Err(_) => Err(wrong_type(items, what, "a sequence")),
    }
}

/// Borrows the fields of a named tuple, which must have exactly this many.
pub(crate) fn fields<'a, 'py>(
    item: &'a Bound<'py, PyAny>,
    what: &str,
    count: usize,
) -> PyResult<&'a Bound<'py, PyTuple>> {
    match item.cast::<PyTuple>() {
        Ok(tuple) if tuple.len() == count => Ok(tuple),
        _ => Err(match item.get_type().name() {
            Ok(found) => PyTypeError::new_err(format!("expected {what}, found {found}")),
            Err(error) => error,
        }),
    }
}

fn result<'py>(py: Python<'py>, answer: Answer, now: i64) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TUPLE_NEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

    let values = PyList::empty(py);
    for value in answer.values {
        match value {
            Some(value) => values.append(PyBytes::new(py, &value))?,
            None => values.append(py.None())?,
        }
    }
    let ranges = PyList::empty(py);
    for range in answer.ranges {
        let records = PyList::empty(py);
        for (key, value) in range {
            let record = (PyString::new(py, &key), PyBytes::new(py, &value)).into_pyobject(py)?;
            untrack(&record);
            records.append(record)?;
        }
        ranges.append(records)?;
    }
    // The same as `Result._make`, without the Python frames of a named tuple's constructor.
    let class = CLASS.import(py, "swarmstate.base", "Result")?;
    let new = TUPLE_NEW
        .get_or_try_init(py, || {
            Ok::<_, PyErr>(py.get_type::<PyTuple>().getattr("__new__")?.unbind())
        })?
        .bind(py);
    let ttl = answer.expiry.map(|expiry| match expiry {
        Expiry::Never => f64::INFINITY,
        Expiry::At(at) => at.saturating_sub(now) as f64 / 1000.0,
    });
    new.call1((class, (values, ranges, ttl)))
}

/// Spares the garbage collector a tuple that refers to nothing it tracks; it would untrack the
/// tuple the first time it looked.
fn untrack(tuple: &Bound<'_, PyTuple>) {
    // SAFETY: the tuple is alive and was made by the interpreter, which is attached, as the
    // reference shows.
    unsafe { ffi::PyObject_GC_UnTrack(tuple.as_ptr().cast()) };
}

fn wrong_type(value: &Bound<'_, PyAny>, what: &str, expected: &str) -> PyErr {
    match value.get_type().name() {
        Ok(found) => PyTypeError::new_err(format!("{what} must be {expected}, not {found}")),
        Err(error) => error,
    }
}

fn invalid_name(value: &Bound<'_, PyAny>, what: &str, reason: &str) -> PyErr {
    match value.repr() {
        Ok(repr) => InvalidNameError::new_err(format!(
            "{what} {repr} is invalid: {reason}; names are non-empty strings without NUL or lone \
             surrogates"
        )),
        Err(error) => error,
    }
}
