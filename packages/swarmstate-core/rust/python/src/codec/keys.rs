//! Interns recurring dict keys: one string object for each, created once per thread.

use std::cell::RefCell;

use pyo3::exceptions::PyUnicodeDecodeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::read::utf8;

/// Number of slots, a power of two. A new key replaces an earlier one in the same slot.
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

fn slot_of(text: &[u8]) -> usize {
    // Different names usually differ in their length, beginning or end.
    let (head, tail) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_ne_bytes(*head), u64::from_ne_bytes(*tail)),
        _ => {
            let word = text
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            (word, 0)
        }
    };
    let mixed = head ^ tail.rotate_left(29) ^ text.len() as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SLOTS
}

/// Return the string of the bytes that begin at `start`, shared with earlier keys if possible.
#[inline]
pub fn key<'py>(py: Python<'py>, text: &[u8], start: usize) -> PyResult<Bound<'py, PyString>> {
    if text.len() > MAX_LEN {
        return string(py, text, start);
    }
    let index = slot_of(text);
    let cached = CACHE.with_borrow(|slots| match slots.get(index) {
        Some(Some(slot)) if slot.bytes[..slot.len] == *text => Some(slot.key.bind(py).clone()),
        _ => None,
    });
    if let Some(key) = cached {
        return Ok(key);
    }
    let key = string(py, text, start)?;
    let mut bytes = [0; MAX_LEN];
    bytes[..text.len()].copy_from_slice(text);
    let slot = Slot {
        bytes,
        len: text.len(),
        key: key.clone().unbind(),
    };
    CACHE.with_borrow_mut(|slots| {
        if slots.is_empty() {
            slots.resize_with(SLOTS, || None);
        }
        // Dropping a string runs no Python code, so this is never borrowed twice.
        slots[index] = Some(slot);
    });
    Ok(key)
}

/// Return the string of the bytes that begin at `start`.
#[inline]
pub fn string<'py>(py: Python<'py>, text: &[u8], start: usize) -> PyResult<Bound<'py, PyString>> {
    // Python checks that it is UTF-8; checking it here too would double the time.
    PyString::from_bytes(py, text).map_err(|error| not_utf8(py, text, start, error))
}

#[cold]
fn not_utf8(py: Python<'_>, text: &[u8], start: usize, error: PyErr) -> PyErr {
    match utf8(text, start) {
        Err(damage) if error.is_instance_of::<PyUnicodeDecodeError>(py) => damage,
        _ => error,
    }
}
