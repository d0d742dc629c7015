//! The byte plane: requests to a store, and its answers.
//!
//! These types mirror `swarmstate.base` in Python, which documents the semantics for authors of
//! back-ends.

use std::sync::Arc;

/// A stored value: cheap to clone, never modified in place.
pub type Value = Arc<[u8]>;

/// The keys `start <= key < stop`, in ascending or descending order.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// First key, inclusive; the empty string means the beginning.
    pub start: String,
    /// End, exclusive; `None` means the end of the namespace.
    pub stop: Option<String>,
    /// Greatest key first.
    pub reverse: bool,
    /// Maximum number of records.
    pub limit: Option<usize>,
    /// Return every value empty.
    pub keys_only: bool,
}

/// What to read from one namespace; answered from one consistent view of it.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The namespace.
    pub namespace: String,
    /// Keys to look up.
    pub keys: Vec<String>,
    /// Key ranges to read.
    pub ranges: Vec<Range>,
    /// A new expiry for the namespace, set only if the namespace exists.
    pub expiry: Option<Expiry>,
    /// Whether the answer includes the namespace's expiry.
    pub ask_expiry: bool,
}

/// The answer to one [`Query`].
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// One entry per requested key.
    pub values: Vec<Option<Value>>,
    /// One list of records per requested range.
    pub ranges: Vec<Vec<(Arc<str>, Value)>>,
    /// When the namespace expires, if requested and the namespace exists.
    pub expiry: Option<Expiry>,
}

/// When a namespace expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    Never,
    /// At this time, in milliseconds since the Unix epoch.
    At(i64),
}

/// Expects `last_key` to be the greatest key that starts with `prefix`.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The prefix.
    pub prefix: String,
    /// The greatest key; `None` expects no key with the prefix.
    pub last_key: Option<String>,
}

/// Changes to one namespace, applied as a whole or not at all.
///
/// Changes are applied in field order, starting with `clear`.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The namespace.
    pub namespace: String,
    /// Checked first, against the state before the batch.
    pub expect: Option<Expect>,
    /// Checked along with `expect`: each key holds exactly this value, or does not exist (`None`).
    pub expect_values: Vec<(String, Option<Value>)>,
    /// Delete the whole namespace, including its expiry.
    pub clear: bool,
    /// Key ranges to delete, bounds as in [`Range`].
    pub delete_ranges: Vec<(String, Option<String>)>,
    /// Keys to delete.
    pub delete: Vec<String>,
    /// Records to write if the key does not exist yet.
    pub put_if_absent: Vec<(String, Value)>,
    /// Records to write, replacing existing ones.
    pub put: Vec<(String, Value)>,
    /// A new expiry for the namespace.
    pub expiry: Option<Expiry>,
}

/// Returns the least string greater than every string that starts with `prefix`.
///
/// Returns `None` if there is no such bound, because the prefix is empty or consists only of
/// U+10FFFF.
#[must_use]
pub fn prefix_end(prefix: &str) -> Option<String> {
    let kept = prefix.trim_end_matches(char::MAX);
    let last = kept.chars().next_back()?;
    let following = match last {
        // The code points in between are surrogates, which are not characters.
        '\u{D7FF}' => '\u{E000}',
        _ => char::from_u32(u32::from(last) + 1)?,
    };
    let mut end = String::from(&kept[..kept.len() - last.len_utf8()]);
    end.push(following);
    Some(end)
}
