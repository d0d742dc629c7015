//! The version of a dict: a number that no other state of any dict has.
//!
//! CPython 3.11 to 3.13 give a dict a new number whenever it is changed and never give a number
//! twice (PEP 509). Nothing in Python's interface tells it, so it is read where it lies. 3.14 has
//! none, and without a GIL it could not be relied on. Dicts that compiled code makes behind CPython's
//! back, as Nuitka's does, may begin with the number of a dict that is gone; so whoever compares
//! versions of a dict must have held it in between.
//!
//! A dict whose values are kept apart from its keys is left out, as the dicts of some objects are:
//! 3.13 lets an attribute be assigned there without a new version. In 3.10 any dict may become so.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::gil::has_gil;

/// Says that dicts have versions.
#[derive(Clone, Copy, Debug)]
pub struct DictVersions(());

/// A dict as CPython's `cpython/dictobject.h` declares it.
#[repr(C)]
struct Layout {
    head: ffi::PyObject,
    used: ffi::Py_ssize_t,
    version: u64,
    keys: *const (),
    /// Null if they lie with the keys.
    values: *const (),
}

static VERSIONS: PyOnceLock<Option<DictVersions>> = PyOnceLock::new();

impl DictVersions {
    /// Whether this interpreter's dicts have them: it is a release that has, and behaves so.
    pub fn of_interpreter(py: Python<'_>) -> PyResult<Option<Self>> {
        VERSIONS
            .get_or_try_init(py, || {
                let name = py
                    .import("sys")?
                    .getattr("implementation")?
                    .getattr("name")?;
                let is_known = cfg!(target_pointer_width = "64")
                    && name.extract::<String>()? == "cpython"
                    && py.version_info() >= (3, 11)
                    && py.version_info() < (3, 14);
                let versions = Self(());
                Ok(
                    (is_known && has_gil(py)? && versions.are_new_with_each_change(py)?)
                        .then_some(versions),
                )
            })
            .copied()
    }

    /// The version of a dict, if it has one that can be relied on. Then it always will.
    pub fn of(self, dict: &Bound<'_, PyDict>) -> Option<u64> {
        let layout = dict.as_ptr().cast::<Layout>();
        // SAFETY: it is a dict, which `self` vouches begins so, and alive.
        unsafe { (*layout).values.is_null().then_some((*layout).version) }
    }

    /// Whether a dict that had a version still has it.
    #[inline]
    pub fn is_still(self, dict: &Bound<'_, PyDict>, version: u64) -> bool {
        // SAFETY: as above.
        unsafe { (*dict.as_ptr().cast::<Layout>()).version == version }
    }

    fn are_new_with_each_change(self, py: Python<'_>) -> PyResult<bool> {
        let (changed, other) = (PyDict::new(py), PyDict::new(py));
        let before = self.of(&other);
        let mut seen = vec![self.of(&changed), before];
        for value in [1, 2] {
            changed.set_item("key", value)?;
            seen.push(self.of(&changed));
        }
        changed.del_item("key")?;
        seen.push(self.of(&changed));
        Ok(seen.iter().all(Option::is_some)
            && seen.is_sorted_by(|earlier, later| earlier < later)
            && self.of(&other) == before)
    }
}
