//! Finds instances in long lists by an attribute in their instance dicts.

use std::collections::VecDeque;
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::gil::has_gil;

/// The number of lists remembered.
const LISTS: usize = 8;

/// Finds list items whose instance dicts hold certain strs under a given name.
///
/// Nothing about the items is assumed: each search looks at every item. What is remembered is the
/// items' strs and their hashes, so that a str that is still the same object need not be examined.
/// The strs are kept alive, so no other str can have the address of one.
#[pyclass(frozen, module = "swarmstate._core")]
pub(crate) struct InstanceFinder {
    name: Py<PyString>,
    is_plain: Py<PyAny>,
    has_gil: bool,
    lists: Mutex<VecDeque<Known>>,
}

/// What was seen of the items of one list, in order.
#[derive(Default)]
struct Known(Vec<Seen>);

struct Seen {
    str: Py<PyString>,
    hash: ffi::Py_hash_t,
    /// The address of the item's dict, which may be gone. Only prefetched, never read.
    dict: usize,
}

/// Items' dicts are prefetched this many items ahead; otherwise each access would wait for memory.
const AHEAD: usize = 10;

#[pymethods]
impl InstanceFinder {
    #[new]
    fn new(py: Python<'_>, name: Py<PyString>, is_plain: Py<PyAny>) -> PyResult<Self> {
        Ok(Self {
            name,
            is_plain,
            has_gil: has_gil(py)?,
            lists: Mutex::default(),
        })
    }

    /// Find the items of a list that hold one of the keys of `wanted`.
    ///
    /// Returns `{key: [positions in order]}` for the keys that were found. Returns None unless each
    /// item holds an exact str and its class is accepted by `is_plain`, which is called once per
    /// class. Always returns None in an interpreter without a GIL, where it is not safe to inspect
    /// so many objects so quickly. The caller must be the only owner of the list.
    ///
    /// Raises:
    ///     TypeError: A key of `wanted` is not an exact str.
    fn find<'py>(
        &self,
        items: &Bound<'py, PyList>,
        wanted: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let wanted = Wanted::new(wanted)?;
        if !self.has_gil {
            return Ok(None);
        }
        let mut known = Known::default();
        let found = self.search(items, &wanted, &mut known);
        if !known.0.is_empty() {
            let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.push_front(known);
            let forgotten = (lists.len() > LISTS).then(|| lists.pop_back());
            drop(lists);
            drop(forgotten);
        }
        found
    }

    /// Return whether each item of a list holds an exact str and has a class that `is_plain`
    /// accepts.
    ///
    /// As for `find`, the caller must be the only owner of the list; always False without a GIL.
    fn all_hold_str(&self, items: &Bound<'_, PyList>) -> PyResult<bool> {
        if !self.has_gil {
            return Ok(false);
        }
        let mut classes = Classes::new(&self.is_plain);
        let mut attribute = Attribute::new(&self.name);
        for index in 0..items.len() {
            let item = item_of(items, index)?;
            // SAFETY: a live object, under the GIL; the borrowed str is used before other code
            // runs.
            let holds = unsafe {
                classes.accept(items.py(), item)? && {
                    let value = attribute.of(item);
                    !value.is_null() && ffi::PyUnicode_CheckExact(value) != 0
                }
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.is_plain)
    }
}

impl InstanceFinder {
    /// Searches the list; `known` becomes what to remember.
    fn search<'py>(
        &self,
        items: &Bound<'py, PyList>,
        wanted: &Wanted<'py>,
        known: &mut Known,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let py = items.py();
        let found = PyDict::new(py);
        let mut classes = Classes::new(&self.is_plain);
        let mut attribute = Attribute::new(&self.name);
        for index in 0..items.len() {
            if let Some(ahead) = known.0.get(index + AHEAD) {
                fetch(ahead.dict);
            }
            let item = item_of(items, index)?;
            // SAFETY: a live object, under the GIL.
            if !unsafe { classes.accept(py, item) }? {
                return Ok(None);
            }
            // SAFETY: as above.
            let value = unsafe { attribute.of(item) };
            if value.is_null() {
                return Ok(None);
            }
            if index == 0 {
                *known = self.take_known(value);
            }
            let hash = match known.0.get(index) {
                Some(seen) if seen.str.as_ptr() == value => seen.hash,
                _ => {
                    // SAFETY: a live object, borrowed from its dict; a reference is taken before
                    // other code can run.
                    let value = unsafe { Bound::from_borrowed_ptr(py, value) };
                    let Ok(value) = value.cast_into_exact::<PyString>() else {
                        return Ok(None);
                    };
                    known.learn(index, value, attribute.last_dict)?
                }
            };
            if wanted.may_hold(hash) {
                let value = known.0[index].str.bind(py);
                if wanted.strs.contains(value)? {
                    add(&found, value, index)?;
                }
            }
        }
        known.0.truncate(items.len());
        known.0.shrink_to(2 * items.len());
        Ok(Some(found))
    }

    /// Takes out what is known about the list that began with this str, or nothing.
    fn take_known(&self, first: *mut ffi::PyObject) -> Known {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists
            .iter()
            .position(|known| {
                known
                    .0
                    .first()
                    .is_some_and(|seen| seen.str.as_ptr() == first)
            })
            .and_then(|position| lists.remove(position))
            .unwrap_or_default()
    }
}

/// Returns a borrowed item of a list.
#[inline]
fn item_of(items: &Bound<'_, PyList>, index: usize) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: a wrong index is an error, not undefined behavior.
    let item = unsafe { ffi::PyList_GetItem(items.as_ptr(), index.cast_signed()) };
    if item.is_null() {
        return Err(PyErr::fetch(items.py()));
    }
    Ok(item)
}

/// The classes of a list's items; `is_plain` is called once for each.
struct Classes<'a> {
    is_plain: &'a Py<PyAny>,
    plain: Vec<*mut ffi::PyTypeObject>,
    last: *mut ffi::PyTypeObject,
}

impl<'a> Classes<'a> {
    fn new(is_plain: &'a Py<PyAny>) -> Self {
        Self {
            is_plain,
            plain: Vec::new(),
            last: null_mut(),
        }
    }

    /// Returns whether an item is of a plain class.
    ///
    /// # Safety
    ///
    /// The item must be alive and the GIL held.
    #[inline]
    unsafe fn accept(&mut self, py: Python<'_>, item: *mut ffi::PyObject) -> PyResult<bool> {
        // SAFETY: a live object has a class, which lives as long as the object.
        let class = unsafe { ffi::Py_TYPE(item) };
        if class != self.last {
            if !self.plain.contains(&class) {
                // SAFETY: the same live object; this takes a reference to it.
                let item = unsafe { Bound::from_borrowed_ptr(py, item) };
                if !self
                    .is_plain
                    .bind(py)
                    .call1((item.get_type(),))?
                    .is_truthy()?
                {
                    return Ok(false);
                }
                self.plain.push(class);
            }
            self.last = class;
        }
        Ok(true)
    }
}

impl Known {
    /// Remembers the str of an item; all items before it must be known. Returns its hash.
    #[cold]
    fn learn(
        &mut self,
        index: usize,
        str: Bound<'_, PyString>,
        dict: usize,
    ) -> PyResult<ffi::Py_hash_t> {
        let hash = str.hash()?;
        let str = str.unbind();
        let seen = Seen { str, hash, dict };
        match self.0.get_mut(index) {
            Some(known) => *known = seen,
            None => self.0.push(seen),
        }
        Ok(hash)
    }
}

/// Prefetches the memory at an address, if there is any.
#[inline]
fn fetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: this reads nothing and faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

fn add(found: &Bound<'_, PyDict>, value: &Bound<'_, PyAny>, index: usize) -> PyResult<()> {
    match found.get_item(value)? {
        Some(positions) => positions.cast_into::<PyList>()?.append(index),
        None => found.set_item(value, PyList::new(found.py(), [index])?),
    }
}

/// An attribute in the instance dicts of objects.
///
/// Instances of a class usually have their attributes in the same order, so its last position is
/// tried first, which is much cheaper than a lookup by name.
struct Attribute {
    name: *mut ffi::PyObject,
    usual_place: ffi::Py_ssize_t,
    /// The address of the last instance's dict.
    last_dict: usize,
}

impl Attribute {
    fn new(name: &Py<PyString>) -> Self {
        Self {
            name: name.as_ptr(),
            usual_place: 0,
            last_dict: 0,
        }
    }

    /// Returns the attribute of an instance, borrowed from its dict, or NULL.
    ///
    /// # Safety
    ///
    /// The item and the name must be alive and the GIL held.
    #[inline]
    unsafe fn of(&mut self, item: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: GenericGetDict gets a live object. PyDict_Next checks that it gets a dict and a
        // valid position. The instance keeps its dict alive after our reference is released, since
        // no other code runs.
        unsafe {
            let dict = ffi::PyObject_GenericGetDict(item, null_mut());
            if dict.is_null() {
                ffi::PyErr_Clear();
                return null_mut();
            }
            self.last_dict = dict.addr();
            ffi::Py_DECREF(dict);
            let (mut name, mut value) = (null_mut(), null_mut());
            let mut position = self.usual_place;
            if ffi::PyDict_Next(dict, &mut position, &mut name, &mut value) != 0
                && name == self.name
            {
                return value;
            }
            self.search(dict)
        }
    }

    /// # Safety
    ///
    /// The same as for `of`.
    #[cold]
    unsafe fn search(&mut self, dict: *mut ffi::PyObject) -> *mut ffi::PyObject {
        let (mut name, mut value) = (null_mut(), null_mut());
        let (mut place, mut position) = (0, 0);
        // SAFETY: as in `of`.
        while unsafe { ffi::PyDict_Next(dict, &mut position, &mut name, &mut value) } != 0 {
            if name == self.name {
                self.usual_place = place;
                return value;
            }
            place = position;
        }
        null_mut()
    }
}

/// The wanted strs, and a filter that rejects most others.
struct Wanted<'py> {
    strs: Bound<'py, PyDict>,
    /// A bitmap with a power-of-two number of words, indexed by the low bits of the hashes.
    filter: Vec<u64>,
}

impl<'py> Wanted<'py> {
    fn new(strs: &Bound<'py, PyDict>) -> PyResult<Self> {
        let words = (4 * strs.len()).next_power_of_two().max(16);
        let mut wanted = Self {
            strs: strs.clone(),
            filter: vec![0; words],
        };
        for key in strs.keys() {
            if !key.is_exact_instance_of::<PyString>() {
                return Err(PyTypeError::new_err("wanted must have exact str keys"));
            }
            let (word, bit) = wanted.place(key.hash()?);
            wanted.filter[word] |= bit;
        }
        Ok(wanted)
    }

    #[inline]
    fn place(&self, hash: ffi::Py_hash_t) -> (usize, u64) {
        let hash = hash.cast_unsigned();
        ((hash >> 6) & (self.filter.len() - 1), 1 << (hash & 63))
    }

    #[inline]
    fn may_hold(&self, hash: ffi::Py_hash_t) -> bool {
        let (word, bit) = self.place(hash);
        self.filter[word] & bit != 0
    }
}
