//! The short proof that values are what they were: they lie where they lay, and nothing moved.
//!
//! A shadow proves the same of any objects and looks at every leaf. This one looks only at what
//! can change, the dicts, lists and models, of which a message has about six, and finds them
//! without following references. It holds for the very objects alone; otherwise the shadow decides.
//!
//! Nothing is held. A fact is only looked at if all facts before it hold, and these say that what
//! it is about is still in what it was in, so it is alive. An address that was used again does no
//! harm, since a fact says all of what is at it.

use std::slice::Iter;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::shadow::{Classes, instance_dict, is_as_rebuilt, is_leaf};
use crate::codec::{DictCursor, Plan};
use crate::dict_version::DictVersions;

/// How the values of a run of items lay.
pub(super) struct Witness {
    versions: DictVersions,
    /// The values, in the order of the items.
    roots: Box<[Address]>,
    facts: Box<[Fact]>,
}

/// Of an object.
type Address = *mut ffi::PyObject;

/// What is so, of a container that can change.
enum Fact {
    /// A dict was not changed since it had this version.
    Dict(Address, u64),
    /// A list has so many items, which follow.
    List(Address, ffi::Py_ssize_t),
    /// The next item of the list is this object.
    Item(Address),
    /// A model has the class of a plan; its fields follow, and its extra fields.
    Model(Address, Arc<Plan>),
    /// The fields, or the extra fields, are in this dict, which has this version.
    Fields(Address, u64),
    /// It has no extra fields.
    NoExtra,
}

// SAFETY: an address is used only by who has the GIL, which `versions` vouches for.
unsafe impl Send for Witness {}
// SAFETY: as above.
unsafe impl Sync for Witness {}

impl Witness {
    /// Note how values lie that a shadow was just found to hold; None if something in them can
    /// have no fact.
    pub(super) fn of<'a, 'py: 'a>(
        classes: &Classes<'py>,
        values: impl Iterator<Item = &'a Bound<'py, PyAny>>,
    ) -> Option<Self> {
        let versions = classes.versions?;
        let mut roots = Vec::new();
        let mut facts = Facts {
            versions,
            classes,
            facts: Vec::new(),
        };
        for value in values {
            roots.push(value.as_ptr());
            facts.note(value)?;
        }
        Some(Self {
            versions,
            roots: roots.into(),
            facts: facts.facts.into(),
        })
    }

    /// Whether these values, which the caller has, are those that were noted, and unchanged.
    pub(super) fn holds<'py>(
        &self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        values: impl Iterator<Item = Address>,
    ) -> bool {
        self.roots.iter().copied().eq(values) && self.facts_hold::<false>(py, classes)
    }

    /// As `holds`, and nobody but the caller has a reference to them: see `Shadow::holds_alone`.
    pub(super) fn holds_alone<'py>(
        &self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        values: impl Iterator<Item = Address>,
    ) -> bool {
        self.roots.iter().copied().eq(values) && self.facts_hold::<true>(py, classes)
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.roots) + size_of_val(&*self.facts)
    }

    #[inline]
    fn facts_hold<'py, const ALONE: bool>(
        &self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
    ) -> bool {
        let mut facts = self.facts.iter();
        while let Some(fact) = facts.next() {
            // SAFETY: the caller has the values, and each fact is about one of them, or about what
            // a fact before it found where it was.
            let holds = unsafe {
                match fact {
                    Fact::Dict(dict, version) => self.is_dict::<ALONE>(*dict, *version),
                    Fact::List(list, len) => is_list::<ALONE>(*list, *len, &mut facts),
                    Fact::Model(model, plan) => {
                        (!ALONE || is_in_one_place(*model))
                            && self.is_model::<ALONE>(
                                classes,
                                Bound::ref_from_ptr(py, model),
                                plan,
                                &mut facts,
                            )
                    }
                    // They follow what they belong to.
                    Fact::Item(_) | Fact::Fields(..) | Fact::NoExtra => false,
                }
            };
            if !holds {
                return false;
            }
        }
        true
    }

    #[inline]
    fn is_model<'py, const ALONE: bool>(
        &self,
        classes: &mut Classes<'py>,
        model: &Bound<'py, PyAny>,
        plan: &Arc<Plan>,
        facts: &mut Iter<'_, Fact>,
    ) -> bool {
        (!ALONE || is_as_rebuilt(plan, model))
            && classes.is_of(model, plan)
            && self.has::<ALONE>(instance_dict(model), facts.next())
            && self.has::<ALONE>(plan.slots.extra.get(model), facts.next())
    }

    /// Whether what was found in a model is what was there.
    #[inline]
    fn has<const ALONE: bool>(&self, found: Option<Bound<'_, PyAny>>, fact: Option<&Fact>) -> bool {
        match (found, fact) {
            (Some(found), Some(Fact::Fields(dict, version))) if found.as_ptr() == *dict => {
                // Only the model has it then.
                drop(found);
                // SAFETY: the model has it.
                unsafe { self.is_dict::<ALONE>(*dict, *version) }
            }
            (Some(found), Some(Fact::NoExtra)) => found.is_none(),
            _ => false,
        }
    }

    /// Whether an object is a dict of this version.
    ///
    /// # Safety
    ///
    /// It is alive.
    #[inline]
    unsafe fn is_dict<const ALONE: bool>(&self, dict: Address, version: u64) -> bool {
        // SAFETY: by the caller; it is a dict when its version is read.
        unsafe {
            (!ALONE || is_in_one_place(dict))
                && ffi::PyDict_CheckExact(dict) != 0
                && self.versions.is_still(dict, version)
        }
    }
}

/// Whether an object has one reference: that of what it was found in.
///
/// # Safety
///
/// It is alive.
#[inline]
unsafe fn is_in_one_place(object: Address) -> bool {
    // SAFETY: by the caller.
    unsafe { ffi::Py_REFCNT(object) == 1 }
}

/// Whether an object is a list of the items that come next.
///
/// # Safety
///
/// It is alive.
#[inline]
unsafe fn is_list<const ALONE: bool>(
    list: Address,
    len: ffi::Py_ssize_t,
    facts: &mut Iter<'_, Fact>,
) -> bool {
    // SAFETY: by the caller; it is a list and has as many items when they are looked at.
    unsafe {
        (!ALONE || is_in_one_place(list))
            && ffi::PyList_CheckExact(list) != 0
            && ffi::PyList_Size(list) == len
            && (0..len).all(|index| {
                let item = ffi::PyList_GetItem(list, index);
                matches!(facts.next(), Some(Fact::Item(known)) if *known == item)
            })
    }
}

/// Facts that are being collected.
struct Facts<'a, 'py> {
    versions: DictVersions,
    classes: &'a Classes<'py>,
    facts: Vec<Fact>,
}

impl<'py> Facts<'_, 'py> {
    /// Note how a value lies; None if it can have no fact. No Python code runs meanwhile.
    fn note(&mut self, value: &Bound<'py, PyAny>) -> Option<()> {
        if is_leaf(value) {
            return Some(());
        }
        let address = value.as_ptr();
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            let version = self.versions.of(dict)?;
            self.facts.push(Fact::Dict(address, version));
            return self.note_values(dict);
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            let items: Vec<_> = list.iter().collect();
            self.facts
                .push(Fact::List(address, items.len().cast_signed()));
            let known = items.iter().map(|item| Fact::Item(item.as_ptr()));
            self.facts.extend(known);
            return items.iter().try_for_each(|item| self.note(item));
        }
        let plan = self.classes.met(value)?.clone();
        let fields = instance_dict(value)?;
        let extra = plan.slots.extra.get(value)?;
        self.facts.push(Fact::Model(address, plan));
        let fields = self.note_fields(&fields)?;
        if extra.is_none() {
            self.facts.push(Fact::NoExtra);
            return self.note_values(fields);
        }
        let extra = self.note_fields(&extra)?;
        self.note_values(fields)?;
        self.note_values(extra)
    }

    /// Note what fields a model has, but not their values.
    fn note_fields<'a>(&mut self, fields: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyDict>> {
        let dict = fields.cast_exact::<PyDict>().ok()?;
        let version = self.versions.of(dict)?;
        self.facts.push(Fact::Fields(dict.as_ptr(), version));
        Some(dict)
    }

    fn note_values(&mut self, dict: &Bound<'py, PyDict>) -> Option<()> {
        let mut cursor = DictCursor::new(dict.clone());
        while let Some((_, value)) = cursor.next() {
            self.note(&value)?;
        }
        Some(())
    }
}
