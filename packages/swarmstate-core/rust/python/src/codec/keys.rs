//! Dict keys that recur: one string object for each, made once per thread.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Slots; a power of two. Later keys replace earlier ones of the same slot.
const SLOTS: usize = 256;
/// Longer keys are rarely field names.
const MAX_LEN: usize = 32;

struct Slot {
    bytes: [u8; MAX_LEN],
    len: usize,
    key: Py<PyString>,
}

thread_local! {
    static CACHE: RefCell<Vec<Option<Slot>>> = const { RefCell::new(Vec::new()) };
}

fn slot_of(text: &str) -> usize {
    // FNV-1a: keys are short.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash ^ (hash >> 15)) as usize % SLOTS
}

/// The string `text`, shared with earlier keys where possible.
#[inline]
pub fn key<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyString> {
    if text.len() > MAX_LEN {
        return PyString::new(py, text);
    }
    CACHE.with(|cache| {
        // Making or dropping a string runs no Python code, so this is never borrowed twice.
        let mut slots = cache.borrow_mut();
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        let slot = &mut slots[slot_of(text)];
        if let Some(slot) = slot
            && &slot.bytes[..slot.len] == text.as_bytes()
        {
            return slot.key.bind(py).clone();
        }
        let key = PyString::new(py, text);
        let mut bytes = [0; MAX_LEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        *slot = Some(Slot {
            bytes,
            len: text.len(),
            key: key.clone().unbind(),
        });
        key
    })
}
