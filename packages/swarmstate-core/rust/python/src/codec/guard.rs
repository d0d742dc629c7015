//! What holds during a call of the codec: a bound on re-entry, and peace from the collector.

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

/// The codec itself does not recurse, but a `model_dump` or a constructor may call it again, and
/// each such level takes native stack that Python's recursion limit does not measure.
const MAX_ENTRIES: usize = 32;

thread_local! {
    static ENTRIES: Cell<usize> = const { Cell::new(0) };
}

/// One call of the codec on this thread, counted while it lives.
pub struct Entry(());

impl Entry {
    /// Count a call; `None` if there are too many inside one another.
    pub fn new() -> Option<Self> {
        ENTRIES.with(|entries| {
            let count = entries.get();
            (count < MAX_ENTRIES).then(|| {
                entries.set(count + 1);
                Self(())
            })
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        ENTRIES.with(|entries| entries.set(entries.get() - 1));
    }
}

/// From this size on, decoding makes so many objects that the collector would run in between.
const LARGE: usize = 4096;
/// So many objects that the collector would run while they are made.
const MANY: usize = 500;

/// The cyclic garbage collector at rest while it lives.
///
/// What is being decoded is reachable, so every run of the collector on the way is in vain; with
/// a long history in memory these runs took longer than the decoding.
pub struct CollectorPause {
    was_enabled: bool,
}

impl CollectorPause {
    /// Pause the collector if `size` bytes are worth it.
    pub fn for_size(py: Python<'_>, size: usize) -> Self {
        Self::if_worth_it(py, size >= LARGE)
    }

    /// Pause the collector if so many objects are worth it.
    pub fn for_objects(py: Python<'_>, count: usize) -> Self {
        Self::if_worth_it(py, count >= MANY)
    }

    fn if_worth_it(_py: Python<'_>, is_worth_it: bool) -> Self {
        // SAFETY: the interpreter is attached, as `_py` proves; the call only sets a flag.
        let was_enabled = is_worth_it && unsafe { ffi::PyGC_Disable() } == 1;
        Self { was_enabled }
    }
}

impl Drop for CollectorPause {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: made and dropped within one call that holds the interpreter.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}
