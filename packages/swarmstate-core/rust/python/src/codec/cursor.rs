//! Iteration over a dict that hooks or other threads may change meanwhile.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::PyDict;

/// A position in a dict; a change of its size ends the iteration early or late, which the caller
/// notices by counting.
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

    /// The next item, in the order of the dict itself.
    #[inline]
    pub fn next(&mut self) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let Self { dict, pos } = self;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        with_critical_section(dict, || {
            // SAFETY: `dict` is a dict and stays alive; PyDict_Next checks `pos` against the dict
            // as it is now. The references it lends are taken before anything can change it: the
            // critical section, or the GIL, is held.
            unsafe {
                if ffi::PyDict_Next(dict.as_ptr(), pos, &mut key, &mut value) == 0 {
                    return None;
                }
                let py = dict.py();
                Some((
                    Bound::from_borrowed_ptr(py, key),
                    Bound::from_borrowed_ptr(py, value),
                ))
            }
        })
    }
}
