//! A short proof that values are unchanged: the same containers, none of which was changed.
//!
//! A shadow proves this for any objects and looks at every leaf. A witness only looks at what can
//! change, the dicts, lists and models, of which a message has about six, and finds them without
//! following references. It only holds for the very same objects; for others the shadow decides.
//!
//! Facts keep their containers alive, so that nothing else can occupy the same addresses. The
//! leaves are kept alive by the shadows of the same items, which a witness must not outlive.

use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::classes::Classes;
use super::shadow::{instance_dict, is_as_rebuilt, is_in_nothing_else, is_leaf};
use crate::codec::{DictCursor, Plan};
use crate::dict_version::DictVersions;

/// What the values of a run of items consisted of.
pub(super) struct Witness {
    versions: DictVersions,
    /// The values, in the order of the items.
    roots: Box<[Address]>,
    facts: Box<[Fact]>,
    /// Approximate memory use, including values that nothing else here keeps alive.
    bytes: usize,
}

/// The address of an object that is kept alive elsewhere.
type Address = usize;

/// A fact about a container.
enum Fact {
    /// A dict is unchanged since it had this version.
    Dict(Py<PyDict>, u64),
    /// A list has exactly these items.
    List(Py<PyList>, Box<[Address]>),
    /// A tuple, which cannot change.
    Tuple(Py<PyTuple>),
    /// A model has the class of a plan; facts about its fields and extra fields follow.
    Model(Py<PyAny>, Arc<Plan>),
    /// The fields, or the extra fields, are in this dict, which has this version.
    Fields(Py<PyDict>, u64),
    /// It has no extra fields.
    NoExtra,
}

impl Witness {
    /// Note what values consist of, just after a shadow was found to hold for them; None if there
    /// is no fact for something in them. No Python code runs meanwhile.
    ///
    /// `held_bytes` returns the memory used by those values that nothing else here keeps alive.
    pub(super) fn of<'a, 'py: 'a>(
        versions: DictVersions,
        classes: &Classes<'py>,
        values: impl Iterator<Item = &'a Bound<'py, PyAny>>,
        held_bytes: impl FnOnce() -> usize,
    ) -> Option<Self> {
        let mut notes = Notes::new(versions);
        for value in values {
            notes.value(classes, value)?;
            notes.root(value);
        }
        let mut witness = notes.witness();
        witness.bytes += held_bytes();
        Some(witness)
    }

    /// Returns whether these values are the ones that were noted, and are unchanged.
    ///
    /// `ALONE`: also requires that only the caller and this witness refer to them; see
    /// `Shadow::holds_alone`.
    pub(super) fn holds<'py, const ALONE: bool>(
        &self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        values: impl Iterator<Item = *mut ffi::PyObject>,
    ) -> bool {
        if !self.roots.iter().copied().eq(values.map(<*mut _>::addr)) {
            return false;
        }
        let mut facts = self.facts.iter();
        while let Some(fact) = facts.next() {
            let holds = match fact {
                Fact::Dict(dict, version) => self.is_still::<ALONE>(dict.bind(py), *version),
                Fact::List(list, items) => is_still_of::<ALONE>(list.bind(py), items),
                Fact::Tuple(tuple) => !ALONE || is_in_nothing_else(tuple.bind(py)),
                Fact::Model(model, plan) => {
                    let model = model.bind(py);
                    classes.is_of(model, plan)
                        && (!ALONE || (is_in_nothing_else(model) && is_as_rebuilt(plan, model)))
                        && self.has::<ALONE>(instance_dict(model), facts.next())
                        && self.has::<ALONE>(plan.slots.extra.get(model), facts.next())
                }
                // These follow the fact that they belong to.
                Fact::Fields(..) | Fact::NoExtra => false,
            };
            if !holds {
                return false;
            }
        }
        true
    }

    /// Returns its approximate memory use, including values that nothing else here keeps alive.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether what a model has now is what it had.
    #[inline]
    fn has<const ALONE: bool>(&self, found: Option<Bound<'_, PyAny>>, fact: Option<&Fact>) -> bool {
        match (found, fact) {
            (Some(found), Some(Fact::Fields(dict, version))) if found.is(dict) => {
                let dict = dict.bind(found.py());
                // Release this reference so that it is not counted.
                drop(found);
                self.is_still::<ALONE>(dict, *version)
            }
            (Some(found), Some(Fact::NoExtra)) => found.is_none(),
            _ => false,
        }
    }

    #[inline]
    fn is_still<const ALONE: bool>(&self, dict: &Bound<'_, PyDict>, version: u64) -> bool {
        (!ALONE || is_in_nothing_else(dict)) && self.versions.is_still(dict, version)
    }
}

/// Returns whether a list has exactly these items.
#[inline]
fn is_still_of<const ALONE: bool>(list: &Bound<'_, PyList>, items: &[Address]) -> bool {
    (!ALONE || is_in_nothing_else(list))
        && list.len() == items.len()
        && items.iter().enumerate().all(|(index, known)| {
            // SAFETY: it is a list of this length, which lends an item; only the item's address is
            // used.
            let item = unsafe { ffi::PyList_GetItem(list.as_ptr(), index.cast_signed()) };
            item.addr() == *known
        })
}

/// Facts being collected about values that are examined or made.
///
/// Each method returns None if there is no such fact; then there is no witness.
pub(super) struct Notes {
    versions: DictVersions,
    roots: Vec<Address>,
    facts: Vec<Fact>,
}

impl Notes {
    pub(super) fn new(versions: DictVersions) -> Self {
        Self {
            versions,
            roots: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// Note the next of the values, whose contents have been noted.
    pub(super) fn root(&mut self, value: &Bound<'_, PyAny>) {
        self.roots.push(value.as_ptr().addr());
    }

    /// Note what a value consists of; its classes must have been met.
    pub(super) fn value<'py>(
        &mut self,
        classes: &Classes<'py>,
        value: &Bound<'py, PyAny>,
    ) -> Option<()> {
        if is_leaf(value) {
            return Some(());
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict)?;
            return self.values(classes, dict);
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list);
            return list.iter().try_for_each(|item| self.value(classes, &item));
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.facts.push(Fact::Tuple(tuple.clone().unbind()));
            return tuple.iter().try_for_each(|item| self.value(classes, &item));
        }
        let plan = classes.met(value)?;
        let fields = instance_dict(value)?.cast_into_exact().ok()?;
        let extra = self.model(value, plan, &fields)?;
        self.values(classes, &fields)?;
        extra.map_or(Some(()), |extra| self.values(classes, &extra))
    }

    /// Note a dict, but not its values.
    pub(super) fn dict(&mut self, dict: &Bound<'_, PyDict>) -> Option<()> {
        let version = self.versions.of(dict)?;
        self.facts.push(Fact::Dict(dict.clone().unbind(), version));
        Some(())
    }

    /// Note a list, but not what its items consist of.
    pub(super) fn list(&mut self, list: &Bound<'_, PyList>) {
        let items = list.iter().map(|item| item.as_ptr().addr()).collect();
        self.facts.push(Fact::List(list.clone().unbind(), items));
    }

    /// Note a model with these fields, but not their values; return its extra fields, if any.
    pub(super) fn model<'py>(
        &mut self,
        value: &Bound<'py, PyAny>,
        plan: &Arc<Plan>,
        fields: &Bound<'py, PyDict>,
    ) -> Option<Option<Bound<'py, PyDict>>> {
        let extra = plan.slots.extra.get(value)?;
        let plan = Arc::clone(plan);
        self.facts.push(Fact::Model(value.clone().unbind(), plan));
        self.fields(fields)?;
        if extra.is_none() {
            self.facts.push(Fact::NoExtra);
            return Some(None);
        }
        let extra = extra.cast_into_exact().ok()?;
        self.fields(&extra)?;
        Some(Some(extra))
    }

    fn fields(&mut self, dict: &Bound<'_, PyDict>) -> Option<()> {
        let version = self.versions.of(dict)?;
        let fields = Fact::Fields(dict.clone().unbind(), version);
        self.facts.push(fields);
        Some(())
    }

    fn values<'py>(&mut self, classes: &Classes<'py>, dict: &Bound<'py, PyDict>) -> Option<()> {
        let mut cursor = DictCursor::new(dict.clone());
        while let Some((_, value)) = cursor.next() {
            self.value(classes, &value)?;
        }
        Some(())
    }

    /// Returns the witness of the noted values.
    pub(super) fn witness(self) -> Witness {
        let items = |fact: &Fact| match fact {
            Fact::List(_, items) => size_of_val(&**items),
            _ => 0,
        };
        let lists: usize = self.facts.iter().map(items).sum();
        let own = size_of::<Witness>() + size_of_val(&*self.roots) + size_of_val(&*self.facts);
        Witness {
            versions: self.versions,
            roots: self.roots.into(),
            facts: self.facts.into(),
            bytes: own + lists,
        }
    }
}

/// Note something; `notes` become None if there is no fact for it.
pub(super) fn note<T>(notes: &mut Option<Notes>, add: impl FnOnce(&mut Notes) -> Option<T>) {
    if notes.as_mut().is_some_and(|notes| add(notes).is_none()) {
        *notes = None;
    }
}
