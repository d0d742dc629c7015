//! The version of a dict: a number that no other state of any dict has.
//!
//! CPython 3.11 to 3.13 give a dict a new number whenever it changes and never reuse a number (PEP
//! 509). No API returns it, so it is read from the struct. 3.14 has no such number, and without a
//! GIL it would be unreliable. Dicts that compiled code creates behind CPython's back, such as
//! Nuitka's, may start with the number of a dict that no longer exists. So to compare versions of a
//! dict, a caller must have held it in between.
//!
//! Dicts that store their values apart from their keys, such as the dicts of some objects, are
//! excluded: 3.13 can assign an attribute there without a new version. In 3.10 any dict may become
//! one of these.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::gil::has_gil;

/// Proof that dicts have versions.
#[derive(Clone, Copy, Debug)]
pub struct DictVersions(());

/// A dict as declared in CPython's `cpython/dictobject.h`.
#[repr(C)]
struct Layout {
    head: ffi::PyObject,
    used: ffi::Py_ssize_t,
    version: u64,
    keys: *const (),
    /// Null if the values are stored with the keys.
    values: *const (),
}

static VERSIONS: PyOnceLock<Option<DictVersions>> = PyOnceLock::new();

impl DictVersions {
    /// Returns a proof if this interpreter's dicts have versions, judging by its release and
    /// behavior.
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

    /// Returns the version of a dict if it has a reliable one; such a dict will always have one.
    pub fn of(self, dict: &Bound<'_, PyDict>) -> Option<u64> {
        let layout = dict.as_ptr().cast::<Layout>();
        // SAFETY: it is a live dict, and `self` proves that dicts have this layout.
        unsafe { (*layout).values.is_null().then_some((*layout).version) }
    }

    /// Returns whether a dict that had a version still has the same one.
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
