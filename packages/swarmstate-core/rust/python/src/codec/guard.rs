//! Guards held during a codec call: a limit on re-entry, and a pause of the garbage collector.

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

/// The codec itself does not recurse, but a `model_dump` or a constructor may call it again. Each
/// such level takes native stack that Python's recursion limit does not count.
const MAX_ENTRIES: usize = 32;

thread_local! {
    static ENTRIES: Cell<usize> = const { Cell::new(0) };
}

/// One codec call on this thread, counted while it lives.
pub struct Entry(());

impl Entry {
    /// Count a call; `None` if too many are nested.
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

/// From this size on, decoding creates so many objects that the collector would run in between.
const LARGE: usize = 4096;
/// Creating this many objects would make the collector run.
const MANY: usize = 500;

/// Pauses the cyclic garbage collector while it lives.
///
/// Everything being decoded is reachable, so running the collector meanwhile is pointless; with a
/// long history in memory, such runs took longer than the decoding.
pub struct CollectorPause {
    was_enabled: bool,
}

impl CollectorPause {
    /// Pause the collector if decoding `size` bytes makes it worthwhile.
    pub fn for_size(py: Python<'_>, size: usize) -> Self {
        Self::if_worth_it(py, size >= LARGE)
    }

    /// Pause the collector if creating `count` objects makes it worthwhile.
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
