//! Iteration over dicts and lists that hooks or other threads may change meanwhile.

use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyList};

/// A position in a dict. If the dict's size changes, the iteration ends early or late, which the
/// caller notices by counting.
pub struct DictCursor<'py> {
    dict: Bound<'py, PyDict>,
    pub pos: ffi::Py_ssize_t,
}

impl<'py> DictCursor<'py> {
    pub fn new(dict: Bound<'py, PyDict>) -> Self {
        Self { dict, pos: 0 }
    }

    pub fn restart(&self) -> Self {
        Self::new(self.dict.clone())
    }

    pub fn len(&self) -> usize {
        self.dict.len()
    }

    /// Return the next item, in the order of the underlying dict.
    #[inline]
    pub fn next(&mut self) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        self.with_next(|key, value| (key.clone(), value.clone()))
    }

    /// Look at the next item without taking references to it.
    ///
    /// `look` must neither run Python code nor wait for anything, so that nothing can change the
    /// dict.
    #[inline]
    pub fn with_next<T>(
        &mut self,
        look: impl FnOnce(&Bound<'py, PyAny>, &Bound<'py, PyAny>) -> T,
    ) -> Option<T> {
        let Self { dict, pos } = self;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        with_critical_section(dict, || {
            let py = dict.py();
            // SAFETY: `dict` is a dict and stays alive; PyDict_Next checks `pos` against its
            // current state. The borrowed references are valid while nothing changes the dict,
            // which the critical section or the GIL guarantees during `look`.
            unsafe {
                if ffi::PyDict_Next(dict.as_ptr(), pos, &mut key, &mut value) == 0 {
                    return None;
                }
                let (key, value) = (Borrowed::from_ptr(py, key), Borrowed::from_ptr(py, value));
                Some(look(&key, &value))
            }
        })
    }
}

/// Look at a list item without taking a reference to it; None if the index is out of range.
///
/// `look` is restricted as in [`DictCursor::with_next`].
#[inline]
pub fn with_item<'py, T>(
    list: &Bound<'py, PyList>,
    index: usize,
    look: impl FnOnce(&Bound<'py, PyAny>) -> T,
) -> Option<T> {
    with_critical_section(list, || {
        // SAFETY: the call checks the index, and returns NULL with an exception set if it is out of
        // range. Nothing changes the list during `look`: the critical section or the GIL is held.
        unsafe {
            let item = ffi::PyList_GetItem(list.as_ptr(), index.cast_signed());
            if item.is_null() {
                ffi::PyErr_Clear();
                return None;
            }
            Some(look(&Borrowed::from_ptr(list.py(), item)))
        }
    })
}
