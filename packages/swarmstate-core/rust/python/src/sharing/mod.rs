//! Values that change little from one time to the next, stored as what changed.
//!
//! What is remembered here only saves work: which objects a value consisted of
//! when it was last stored or read, and in which pieces it lies. Whether
//! something is still the same is proven each time, object by object.

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
/// An entry is `(type, piece, ...)`: a piece is bytes, or a list of one item, the
/// hashes of blobs (see `blob_hash`) that follow one another.
/// The joined pieces are the encoding of the value under the codec that is
/// passed in. Values are remembered for each key together with a base, an id
/// of the state that was stored; see `split`.
///
/// Args:
///     budget: Bytes that remembering may take, about. What was not used for
///         the longest time is forgotten first.
///     copies: Values are only joined, and share much: what is joined a second
///         time is copied, and nothing is handed out twice. All `blobs` that were
///         passed in must live as long as this.
#[pyclass(frozen, module = "swarmstate._core")]
pub struct Sharing {
    memory: Memory,
    copies: bool,
    checked: Checked,
    /// Whether an object can tell how many hold it.
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
    ///     codec: Encodes them.
    ///     key: What they belong to.
    ///     base: The state that they follow, or None. If it is what `keep` or
    ///         `join` was last told for this key, then parts that are provably
    ///         unchanged are referred to without being encoded; otherwise every
    ///         blob is in the result.
    ///     values: The values by name.
    ///     input: The name of a value that is going to be written to others, and the id of the
    ///         state that it will be stored in: its blobs get the names that they have in these
    ///         writes.
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

    /// Remember values that were split and are stored under a new base, if that succeeds: see
    /// `Split.confirm`.
    fn keep(&self, key: &Bound<'_, PyString>, base: &Bound<'_, PyString>, split: &Split) {
        let py = key.py();
        if let Some(values) = split.take() {
            // What cannot be stored, as lone surrogates, is refused by the store.
            let (key, base) = (key.to_string_lossy(), base.to_string_lossy());
            (self.memory).remember(py, &key, &base, split.codec(), values);
        }
    }

    /// Split what tasks want to write to values; each is an item, or some, of what follows.
    ///
    /// If the value under a name lay in blobs when it was last known, so do the items, under the
    /// names that `split` will give them when they are in a value that follows. The names of new
    /// blobs begin with `blob_home(base)`; what the value of `base` held and is recognized is
    /// referred to where it lies.
    ///
    /// Args:
    ///     codec: Encodes them.
    ///     key: What they belong to.
    ///     base: The state that they follow.
    ///     writes: Names and values.
    ///     relying: Whether they may refer to blobs that the base refers to.
    ///
    /// Returns:
    ///     The entries, blobs that they refer to, by name, and `Split.relies_on`.
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

    /// Recall what entries refer to, before it is read.
    ///
    /// Args:
    ///     codec: Will decode them.
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

    /// Join entries to the values that they were split from, and remember those.
    ///
    /// Args:
    ///     codec: Decodes them.
    ///     key: What they belong to; None to remember nothing.
    ///     base: The state that they are.
    ///     entries: Entries by name, of the type "msgpack", "bytes", "bytearray"
    ///         or "null".
    ///     blobs: The blobs that they refer to, by name; None if one is missing.
    ///     recalled: What `recall` returned for them: then only its blobs are needed. It
    ///         serves once.
    ///
    /// Raises:
    ///     CheckpointError: A blob is missing or damaged, or something was recalled that
    ///         is no longer right, and is then forgotten; the message begins with the
    ///         name of its value.
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
            let text: String = name.extract()?;
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
