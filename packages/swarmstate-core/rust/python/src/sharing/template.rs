//! Copies of a decoded value, made without decoding it again.
//!
//! The copies share immutable leaves; lists, dicts and models are new objects in each. So a copy is
//! what decoding the same bytes would give, and changes to one copy do not show in another.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::classes::Classes;
use super::shadow::{instance_dict, is_leaf};
use super::witness::{Notes, note};
use crate::codec::{DictCursor, Plan};

/// Values nested more deeply are decoded each time.
const MAX_DEPTH: usize = 32;

/// What copies are made from; never handed out itself.
pub(super) enum Template {
    Leaf(Py<PyAny>),
    List(Items),
    Dict(Fields),
    /// A model, with the plan that it was rebuilt by.
    Model(Arc<Plan>, Fields),
}

/// The items of a list.
pub(super) struct Items {
    /// The leaves, with None in place of other items.
    leaves: Py<PyList>,
    others: Box<[(usize, Template)]>,
    len: usize,
}

/// The entries of a dict.
pub(super) struct Fields {
    /// All keys, with the values that are leaves and None in place of others.
    leaves: Py<PyDict>,
    others: Box<[(Py<PyAny>, Template)]>,
    len: usize,
}

impl Template {
    /// Returns the template of a decoded value, which must be plain (see `codec::Item`); None if it
    /// is nested too deeply, or contains a model that no plan rebuilds.
    pub(super) fn of<'py>(
        classes: &mut Classes<'py>,
        value: &Bound<'py, PyAny>,
        depth: usize,
    ) -> PyResult<Option<Self>> {
        if is_leaf(value) {
            return Ok(Some(Self::Leaf(value.clone().unbind())));
        }
        if depth == MAX_DEPTH {
            return Ok(None);
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            return Ok(Items::of(classes, list, depth)?.map(Self::List));
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            return Ok(Fields::of(classes, dict, depth)?.map(Self::Dict));
        }
        let Some(plan) = classes.plan(&value.get_type())? else {
            return Ok(None);
        };
        let fields = instance_dict(value).and_then(|fields| fields.cast_into_exact().ok());
        match (&plan.rebuild, fields) {
            (Some(_), Some(fields)) => {
                let fields = Fields::of(classes, &fields, depth)?;
                Ok(fields.map(|fields| Self::Model(plan, fields)))
            }
            _ => Ok(None),
        }
    }

    /// Returns a new value; None if it has to be decoded, because a class has changed.
    ///
    /// Its contents are added to `notes`, which become None if there is no fact for something in
    /// it.
    pub(super) fn copy<'py>(
        &self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        notes: &mut Option<Notes>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match self {
            Self::Leaf(leaf) => Some(leaf.bind(py).clone()),
            Self::List(items) => items.copy(py, classes, notes)?.map(|list| {
                if let Some(notes) = notes {
                    notes.list(&list);
                }
                list.into_any()
            }),
            Self::Dict(fields) => fields.copy(py, classes, notes)?.map(|dict| {
                note(notes, |notes| notes.dict(&dict));
                dict.into_any()
            }),
            Self::Model(plan, fields) => match &plan.rebuild {
                Some(rebuild) if classes.is_current(py, plan)? => {
                    let Some(fields) = fields.copy(py, classes, notes)? else {
                        return Ok(None);
                    };
                    let model = rebuild.instance(&fields)?;
                    note(notes, |notes| notes.model(&model, plan, &fields));
                    Some(model)
                }
                _ => None,
            },
        })
    }

    /// Returns its approximate memory use, besides the leaves themselves.
    pub(super) fn bytes(&self) -> usize {
        let inside = match self {
            Self::Leaf(_) => 0,
            Self::List(items) => items.bytes(),
            Self::Dict(fields) | Self::Model(_, fields) => fields.bytes(),
        };
        size_of::<Self>() + inside
    }
}

impl Items {
    fn of<'py>(
        classes: &mut Classes<'py>,
        list: &Bound<'py, PyList>,
        depth: usize,
    ) -> PyResult<Option<Self>> {
        let py = list.py();
        let leaves = PyList::empty(py);
        let mut others = Vec::new();
        for item in list {
            match Template::of(classes, &item, depth + 1)? {
                Some(Template::Leaf(leaf)) => leaves.append(leaf)?,
                Some(other) => {
                    others.push((leaves.len(), other));
                    leaves.append(py.None())?;
                }
                None => return Ok(None),
            }
        }
        Ok(Some(Self {
            len: leaves.len(),
            leaves: leaves.unbind(),
            others: others.into(),
        }))
    }

    fn copy<'py>(
        &self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        notes: &mut Option<Notes>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let list = self.leaves.bind(py).get_slice(0, self.len);
        for (index, item) in &self.others {
            match item.copy(py, classes, notes)? {
                Some(item) => list.set_item(*index, item)?,
                None => return Ok(None),
            }
        }
        Ok(Some(list))
    }

    fn bytes(&self) -> usize {
        // A list's header, and a reference for each of its items.
        let others = self.others.iter().map(|(_, item)| 8 + item.bytes());
        60 + 8 * self.len + others.sum::<usize>()
    }
}

impl Fields {
    fn of<'py>(
        classes: &mut Classes<'py>,
        dict: &Bound<'py, PyDict>,
        depth: usize,
    ) -> PyResult<Option<Self>> {
        let py = dict.py();
        let leaves = PyDict::new(py);
        let mut others = Vec::new();
        let mut cursor = DictCursor::new(dict.clone());
        while let Some((key, value)) = cursor.next() {
            if !is_leaf(&key) {
                return Ok(None);
            }
            match Template::of(classes, &value, depth + 1)? {
                Some(Template::Leaf(leaf)) => leaves.set_item(key, leaf)?,
                Some(other) => {
                    leaves.set_item(&key, py.None())?;
                    others.push((key.unbind(), other));
                }
                None => return Ok(None),
            }
        }
        Ok(Some(Self {
            len: leaves.len(),
            leaves: leaves.unbind(),
            others: others.into(),
        }))
    }

    fn copy<'py>(
        &self,
        py: Python<'py>,
        classes: &mut Classes<'py>,
        notes: &mut Option<Notes>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        if self.len == 0 {
            return Ok(Some(PyDict::new(py)));
        }
        let dict = self.leaves.bind(py).copy()?;
        for (key, value) in &self.others {
            match value.copy(py, classes, notes)? {
                Some(value) => dict.set_item(key, value)?,
                None => return Ok(None),
            }
        }
        Ok(Some(dict))
    }

    fn bytes(&self) -> usize {
        // A dict's header, and a key, a value, a hash and an index for each of its entries.
        let others = self.others.iter().map(|(_, value)| 8 + value.bytes());
        100 + 40 * self.len + others.sum::<usize>()
    }
}
