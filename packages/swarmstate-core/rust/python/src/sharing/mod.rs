//! Stores values that change little from one checkpoint to the next, as only what changed.
//!
//! What is remembered here only saves work: which objects a value consisted of when it was last
//! stored or read, and which pieces contain them. Whether something is unchanged is proven each
//! time, object by object.

mod before;
mod blobs;
pub mod checks;
mod classes;
mod cut;
mod feed;
mod held;
mod join;
mod join_container;
mod memory;
mod merging;
pub mod names;
mod parts;
mod past;
mod pieces;
mod prior;
mod recalled;
mod reliance;
mod shadow;
mod source;
mod split;
mod template;
mod whole;
mod witness;
mod writes;

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::codec::Codec;
use crate::dict_version::DictVersions;
use crate::gil::has_gil;
use blobs::Checked;
use classes::Classes;
use join::{Joiner, Remembers};
use memory::{Memory, Place, Values};
pub use recalled::Recalled;
pub use split::Split;
use writes::SplitWrites;

/// Splits dicts of values into entries and blobs, and joins them again.
///
/// An entry is `(type, piece, ...)`: a piece is bytes, or a list with one item, the concatenated
/// hashes of blobs (see `blob_hash`). The joined pieces are the encoding of the value under the
/// given codec. Values are remembered for each key together with a base, the id of the state that
/// was stored; see `split`.
///
/// Args:
///     budget: Approximate limit, in bytes, for what is remembered. The least recently used is
///         forgotten first.
///     copies: Values are only joined, and share much: a value that is joined again is copied, and
///         nothing is handed out twice. All `blobs` passed in must live as long as this object.
#[pyclass(frozen, module = "swarmstate._core")]
pub struct Sharing {
    memory: Memory,
    copies: bool,
    checked: Checked,
    /// Whether an object's reference count is exact.
    has_gil: bool,
    versions: Option<DictVersions>,
}

#[pymethods]
impl Sharing {
    #[new]
    #[pyo3(signature = (*, budget, copies=false))]
    fn new(py: Python<'_>, budget: usize, copies: bool) -> PyResult<Self> {
        Ok(Self {
            memory: Memory::new(budget),
            copies,
            checked: Checked::default(),
            has_gil: has_gil(py)?,
            versions: DictVersions::of_interpreter(py)?,
        })
    }

    /// Split values into entries and blobs.
    ///
    /// Args:
    ///     codec: Encodes the values.
    ///     key: What the values belong to.
    ///     base: The state that they follow, or None. If it is the base last passed to `keep` or
    ///         `join` for this key, parts that are provably unchanged are referred to without being
    ///         encoded; otherwise the result contains every blob.
    ///     values: The values by name.
    ///     input: The name of a value that is going to be written to other values, and the id of
    ///         the state that it will be stored in: its blobs get the names that they have in
    ///         these writes.
    ///
    /// Raises:
    ///     EncodeError: A value cannot be encoded; the message begins with its name.
    #[pyo3(signature = (codec, key, base, values, input))]
    fn split(
        &self,
        codec: &Codec,
        key: &Bound<'_, PyString>,
        base: Option<Bound<'_, PyString>>,
        values: &Bound<'_, PyDict>,
        input: (Bound<'_, PyString>, Bound<'_, PyString>),
    ) -> PyResult<Split> {
        let base = base.as_ref().map(|base| base.to_string_lossy());
        let base = base.as_deref();
        let known = base.and_then(|base| self.memory.take(&key.to_string_lossy(), base));
        Split::of(codec, self.versions, (base, known), values, input)
    }

    /// Remember values that were split and are to be stored under a new base. If storing succeeds,
    /// call `Split.confirm`.
    fn keep(&self, key: &Bound<'_, PyString>, base: &Bound<'_, PyString>, split: &Split) {
        let py = key.py();
        if let Some(values) = split.take() {
            // The store rejects keys that cannot be stored, such as lone surrogates.
            let (key, base) = (key.to_string_lossy(), base.to_string_lossy());
            (self.memory).remember(py, &key, &base, split.codec(), values);
        }
    }

    /// Split what tasks want to write to values; each is an item, or some items, of a later value.
    ///
    /// If the value under a name was in blobs when last known, so are the items, under the names
    /// that `split` will give them when they are in a later value. The names of new blobs begin
    /// with `blob_home(base)`. Parts recognized from the value of `base` are referred to where they
    /// are.
    ///
    /// Args:
    ///     codec: Encodes the writes.
    ///     key: What they belong to.
    ///     base: The state that they follow.
    ///     writes: Names and values.
    ///     relying: Whether they may refer to blobs that the base refers to.
    ///
    /// Returns:
    ///     The entries, the blobs that they refer to by name, and `Split.relies_on`.
    ///
    /// Raises:
    ///     EncodeError: A value cannot be encoded; the message begins with its name.
    #[pyo3(signature = (codec, key, base, writes, *, relying))]
    fn split_writes(
        &self,
        py: Python<'_>,
        codec: &Codec,
        key: &Bound<'_, PyString>,
        base: &Bound<'_, PyString>,
        writes: Vec<(Bound<'_, PyString>, Bound<'_, PyAny>)>,
        relying: bool,
    ) -> PyResult<SplitWrites> {
        let key = key.to_string_lossy();
        let large = self.memory.large(&key);
        let base = &base.to_string_lossy();
        let split = |known: &mut Values, place: Place| {
            let base = (base.as_ref(), large.as_slice());
            writes::split(py, codec, self.versions, base, (known, place), &writes)
        };
        if relying {
            self.memory.lend(&key, base, split)
        } else {
            split(&mut Values::default(), Place::Here)
        }
    }

    /// Recall what is known about entries before their blobs are read.
    ///
    /// Args:
    ///     codec: The codec that will decode them.
    ///     key: What they belong to.
    ///     entries: As for `join`.
    ///
    /// Raises:
    ///     CheckpointError: An entry is damaged.
    #[pyo3(signature = (codec, key, entries))]
    fn recall(&self, codec: &Codec, key: &str, entries: &Bound<'_, PyDict>) -> PyResult<Recalled> {
        let held = self.memory.held(key, codec.id());
        Recalled::of(entries, held, Classes::new(self.versions), self.has_gil)
    }

    /// Join entries to the values that they were split from, and remember the values.
    ///
    /// Args:
    ///     codec: Decodes the values.
    ///     key: What they belong to; None to remember nothing.
    ///     base: The state that they make up.
    ///     entries: Entries by name, of the type "msgpack", "bytes", "bytearray"
    ///         or "null".
    ///     blobs: The blobs that they refer to, by name; None for one that is missing.
    ///     recalled: The result of `recall` for them: then only its blobs are needed. It
    ///         can be used once.
    ///
    /// Raises:
    ///     CheckpointError: A blob is missing or damaged, or something recalled is no
    ///         longer valid and has been forgotten; the message begins with the name
    ///         of its value.
    ///     DecodeError: The pieces are not an encoding.
    #[pyo3(signature = (codec, key, base, entries, blobs, recalled=None))]
    #[expect(clippy::too_many_arguments, reason = "Python passes them by name")]
    fn join<'py>(
        &self,
        py: Python<'py>,
        codec: &Codec,
        key: Option<&str>,
        base: &str,
        entries: &Bound<'py, PyDict>,
        blobs: &Bound<'py, PyDict>,
        recalled: Option<&Recalled>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let values = PyDict::new(py);
        let mut cuts = HashMap::new();
        let mut held = recalled.map(Recalled::take).unwrap_or_default();
        let mut joiner = Joiner {
            py,
            codec,
            blobs,
            checked: self.copies.then_some(&self.checked),
            classes: Classes::new(self.versions),
            remembers: match key {
                None => Remembers::Nothing,
                Some(_) if self.copies => Remembers::Copies,
                Some(_) => Remembers::Values,
            },
            lacks: false,
        };
        for (name, entry) in entries.iter() {
            // Writes may name channels that no checkpoint can, such as lone surrogates.
            let text = name.cast::<PyString>()?.to_string_lossy().into_owned();
            let mut held = held.remove(&text).unwrap_or_default();
            let (value, cut) = joiner.join(&text, &entry, &mut held).inspect_err(|_| {
                if joiner.lacks
                    && let Some(key) = key
                {
                    self.memory.forget(key);
                }
            })?;
            values.set_item(name, value)?;
            if let Some(cut) = cut {
                cuts.insert(text, cut);
            }
        }
        if let Some(key) = key
            && !cuts.is_empty()
        {
            let values = Values {
                cuts,
                ..Values::default()
            };
            (self.memory).remember(py, key, base, codec.id(), values);
        }
        Ok(values)
    }
}
