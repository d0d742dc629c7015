//! The byte plane: what is asked of a store, and what it answers.
//!
//! These types mirror `swarmstate.base` in Python, where the semantics are
//! documented for people who write back-ends.

use std::sync::Arc;

/// A stored value; cheap to clone, never changed in place.
pub type Value = Arc<[u8]>;

/// The keys `start <= key < stop`, in order or reversed.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// First key, inclusive; the empty string is the beginning.
    pub start: String,
    /// End, exclusive; `None` is the end of the namespace.
    pub stop: Option<String>,
    /// Greatest key first.
    pub reverse: bool,
    /// At most this many records.
    pub limit: Option<usize>,
    /// Leave the values out: each comes back empty.
    pub keys_only: bool,
}

/// What to read from one namespace, answered from one consistent view of it.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The namespace.
    pub namespace: String,
    /// Keys to look up.
    pub keys: Vec<String>,
    /// Key ranges to read.
    pub ranges: Vec<Range>,
    /// If given and the namespace exists, when it expires from now on.
    pub expiry: Option<Expiry>,
    /// Answer when the namespace expires, too.
    pub ask_expiry: bool,
}

/// The answer to one [`Query`].
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// One entry per key asked for.
    pub values: Vec<Option<Value>>,
    /// One list of records per range asked for.
    pub ranges: Vec<Vec<(Arc<str>, Value)>>,
    /// When the namespace expires, if that was asked and it exists.
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

/// An expectation: the greatest key that starts with `prefix` is `last_key`.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The prefix.
    pub prefix: String,
    /// The greatest key; `None` expects that there is none.
    pub last_key: Option<String>,
}

/// Changes to one namespace, applied whole or not at all.
///
/// Applied in the order of the fields from `clear` down.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The namespace.
    pub namespace: String,
    /// Checked first, against the state before the batch.
    pub expect: Option<Expect>,
    /// Checked with it: each key holds exactly this value, or (`None`) does not exist.
    pub expect_values: Vec<(String, Option<Value>)>,
    /// Delete the whole namespace, its expiry included.
    pub clear: bool,
    /// Key ranges to delete, bounds as in [`Range`].
    pub delete_ranges: Vec<(String, Option<String>)>,
    /// Keys to delete.
    pub delete: Vec<String>,
    /// Records to write where the key does not exist yet.
    pub put_if_absent: Vec<(String, Value)>,
    /// Records to write, replacing what is there.
    pub put: Vec<(String, Value)>,
    /// When the namespace expires from now on.
    pub expiry: Option<Expiry>,
}

/// Returns the least string above every string that starts with `prefix`.
///
/// `None` means that no such bound exists: the prefix is empty or made of
/// U+10FFFF alone.
#[must_use]
pub fn prefix_end(prefix: &str) -> Option<String> {
    let kept = prefix.trim_end_matches(char::MAX);
    let last = kept.chars().next_back()?;
    let following = match last {
        // The surrogates in between are no characters.
        '\u{D7FF}' => '\u{E000}',
        _ => char::from_u32(u32::from(last) + 1)?,
    };
    let mut end = String::from(&kept[..kept.len() - last.len_utf8()]);
    end.push(following);
    Some(end)
}
