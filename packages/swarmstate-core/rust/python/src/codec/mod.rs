//! The codec: Python values to standard msgpack and back.
//!
//! docs/formats.md says how each type is written.

mod bare;
mod build;
mod canonical;
mod cursor;
mod decode;
mod encode;
mod error;
mod exts;
mod foreign;
mod frame;
mod guard;
mod head;
mod items;
mod keys;
mod models;
mod numpy;
mod objects;
mod policy;
mod read;
mod read_tree;
mod reduce;
mod scalars;
mod standard;
mod wire;
mod write_tree;

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub(crate) use canonical::{Levels, MARK, write_held, write_key, write_tuple};
pub(crate) use cursor::DictCursor;
pub(crate) use encode::Plans;
pub(crate) use error::{DecodeError, EncodeError, class_name};
pub(crate) use guard::CollectorPause;
pub(crate) use items::{Item, ItemReader};
pub(crate) use models::{Plan, plan_of};
pub(crate) use read::{Reader, Token, end_of};
pub(crate) use wire::{write_array_header, write_map_header};

use policy::{Delegate, Policy, class_names};

/// Decode one value, building only the safe classes.
///
/// # Errors
/// `DecodeError` or `TypeNotAllowedError`, as for `swarmstate.loads`.
pub(crate) fn decode_slice<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode::decode(py, data, &SAFE)
}

/// Append a value as `swarmstate.dumps` encodes it.
pub(crate) fn dumps_to_vec(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // One container more than the value itself has: the one that it is sealed in.
    encode::encode_into(out, value, &SAFE, 1, &mut Plans::new())
}

static SAFE: std::sync::LazyLock<Policy> = std::sync::LazyLock::new(Policy::safe);

/// Encode a value as msgpack.
///
/// Accepts every class that can be found under its module and name; `loads` must then allow it. A
/// `Codec` already rejects disallowed classes when encoding.
///
/// Raises:
///     EncodeError: The value, or something in it, cannot be encoded without
///         loss. The message names its type and the path to it.
#[pyfunction]
#[pyo3(signature = (obj, /))]
pub fn dumps<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    encode::encode_to_bytes(obj, &SAFE)
}

/// Decode bytes written by `dumps` or LangGraph's serializer.
///
/// Nothing is imported or called for a class that is not allowed.
///
/// Args:
///     data: One whole value: bytes or another buffer.
///     allow: Classes to build besides the safe ones (standard library classes
///         that the codec knows, and messages and other state of LangChain and
///         LangGraph): classes or `(module, name)` pairs. True allows all;
///         only for data from sources that you would let run code.
///
/// Raises:
///     DecodeError: The data is truncated, damaged or nested too deeply, or a
///         class no longer accepts what was stored.
///     TypeNotAllowedError: The data holds an object of another class.
#[pyfunction]
#[pyo3(signature = (data, /, *, allow = None), text_signature = "(data, /, *, allow=())")]
pub fn loads<'py>(
    data: &Bound<'py, PyAny>,
    allow: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    match allow {
        None => with_bytes(data, |bytes| decode::decode(data.py(), bytes, &SAFE)),
        Some(_) => {
            let policy = Policy::from_allow(allow, false)?;
            with_bytes(data, |bytes| decode::decode(data.py(), bytes, &policy))
        }
    }
}

/// Call `read` with the bytes of an object that has a buffer.
fn with_bytes<'py, T>(
    data: &Bound<'py, PyAny>,
    read: impl FnOnce(&[u8]) -> PyResult<T>,
) -> PyResult<T> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return read(bytes.as_bytes());
    }
    // Copied: hooks that run while decoding could change a writable buffer.
    let memory = data
        .py()
        .get_type::<pyo3::types::PyMemoryView>()
        .call1((data,))?;
    let bytes = memory.call_method0("tobytes")?;
    read(bytes.cast::<PyBytes>()?.as_bytes())
}

/// A codec for values of known classes.
///
/// It writes nothing that it could not read: `dumps` raises `TypeNotAllowedError` for classes that
/// `loads` would reject.
///
/// Args:
///     allow: As for `loads`.
#[pyclass(frozen, module = "swarmstate._core")]
pub struct Codec {
    policy: Policy,
    /// Distinguishes it from every other codec.
    id: u64,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[pymethods]
impl Codec {
    #[new]
    #[pyo3(signature = (*, allow = None), text_signature = "(*, allow=())")]
    fn new(allow: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self {
            policy: Policy::from_allow(allow, true)?,
            id: next_id(),
        })
    }

    /// Create a codec that asks Python callables about classes outside `safe`.
    ///
    /// `check(module, name)` and `check_method(module, name, method)` return whether an object may
    /// be built; if not, it is replaced by its payload. If an object cannot be built, it is
    /// replaced by the result of `fallback(module, name, payload, error, is_model)`, where
    /// `is_model` says whether it is a pydantic model.
    #[staticmethod]
    #[pyo3(signature = (*, safe, check, check_method, fallback))]
    fn delegated(
        safe: &Bound<'_, PyAny>,
        check: Py<PyAny>,
        check_method: Py<PyAny>,
        fallback: Py<PyAny>,
    ) -> PyResult<Self> {
        let safe = class_names(safe)?;
        Ok(Self {
            policy: Policy::Delegated(Delegate {
                safe,
                check,
                check_method,
                fallback,
            }),
            id: next_id(),
        })
    }

    /// Encode a value as msgpack.
    ///
    /// Raises:
    ///     EncodeError: As for `swarmstate.dumps`.
    ///     TypeNotAllowedError: It holds an object of a class that is not allowed.
    #[pyo3(signature = (obj, /))]
    fn dumps<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        encode::encode_to_bytes(obj, &self.policy)
    }

    /// Decode one whole value, as `swarmstate.loads` does with this codec's `allow`.
    #[pyo3(signature = (data, /))]
    fn loads<'py>(&self, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        with_bytes(data, |bytes| self.decode(data.py(), bytes))
    }
}

impl Codec {
    /// Return a number that distinguishes it from every other codec.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Encode a value under this codec's policy.
    ///
    /// # Errors
    /// `EncodeError` or `TypeNotAllowedError`.
    pub fn encode(&self, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        encode::encode(value, &self.policy)
    }

    /// Append a value nested in `depth` containers.
    ///
    /// # Errors
    /// `EncodeError` or `TypeNotAllowedError`; `out` must then be discarded.
    pub(crate) fn encode_into<'py>(
        &self,
        out: &mut Vec<u8>,
        value: &Bound<'py, PyAny>,
        depth: usize,
        plans: &mut Plans<'py>,
    ) -> PyResult<()> {
        encode::encode_into(out, value, &self.policy, depth, plans)
    }

    /// Return a reader for the items of lists and dicts whose pieces are concatenated in `data`.
    ///
    /// # Errors
    /// `DecodeError`.
    pub(crate) fn item_reader<'a, 'py>(
        &'a self,
        py: Python<'py>,
        data: &'a [u8],
    ) -> PyResult<ItemReader<'a, 'py>> {
        ItemReader::new(py, data, &self.policy)
    }

    /// Decode one value under this codec's policy.
    ///
    /// # Errors
    /// `DecodeError` or `TypeNotAllowedError`.
    pub fn decode<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        decode::decode(py, data, &self.policy)
    }
}
