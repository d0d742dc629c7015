//! Finds out which values are available before their blobs are read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use swarmstate_engine::BlobHash;

use super::blobs::blobs_of;
use super::classes::Classes;
use super::held::{Held, counts};

/// What is remembered about values that are to be joined.
#[pyclass(frozen, module = "swarmstate._core")]
pub struct Recalled {
    /// The names of the blobs that must be read: the values in all others are available.
    #[pyo3(get)]
    blobs: Vec<String>,
    /// Whether the entries refer to any blobs.
    #[pyo3(get)]
    refers: bool,
    held: Mutex<HashMap<String, Held>>,
}

impl Recalled {
    /// Returns what entries need, given what is remembered about values by name.
    ///
    /// # Errors
    /// `CheckpointError` if an entry is damaged.
    pub(super) fn of<'py>(
        entries: &Bound<'py, PyDict>,
        mut held: HashMap<String, Held>,
        mut classes: Classes<'py>,
        has_gil: bool,
    ) -> PyResult<Self> {
        let py = entries.py();
        let mut names = Vec::new();
        let mut refers = false;
        for (name, entry) in entries.iter() {
            let blobs = blobs_of(&entry)?;
            refers |= !blobs.is_empty();
            let held = match blobs.is_empty() {
                true => None,
                false => held.get_mut(name.cast::<PyString>()?.to_str()?),
            };
            let held = match held {
                Some(held) => {
                    let wanted = counts(&blobs);
                    held.keep_complete(&entry, &blobs, &wanted)?;
                    if has_gil {
                        held.keep_unheld(py, &mut classes, &wanted);
                    } else {
                        held.drop_made();
                    }
                    Some(&*held)
                }
                None => None,
            };
            let is_read =
                |blob: &&BlobHash| held.is_none_or(|held| held.size_of_copied(blob).is_none());
            names.extend(blobs.iter().filter(is_read).map(BlobHash::name));
        }
        Ok(Self {
            blobs: names,
            refers,
            held: Mutex::new(held),
        })
    }

    /// Takes what is remembered; works once.
    pub(super) fn take(&self) -> HashMap<String, Held> {
        std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
