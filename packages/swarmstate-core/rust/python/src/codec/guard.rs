//! A bound on how often hooks of user classes may come back into the codec.

use std::cell::Cell;

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
