//! The engine's errors, which the binding crate maps to Python exceptions in one place.

use std::fmt;

use crate::plane::Expect;

/// An engine error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The store is closed.
    Closed,
    /// A batch's expectation did not hold; nothing in the batch was applied.
    Conflict(String),
    /// The storage cannot be opened, reached or written right now.
    Unavailable(String),
    /// Attempted to write to read-only storage.
    ReadOnly(String),
    /// The storage is not a swarmstate store, is damaged, or has a newer format.
    Format(String),
    /// A value is not encrypted as expected, or its key is missing.
    Encryption(String),
    /// A filter is invalid.
    Filter(String),
    /// A stored record is not a valid record of its collection.
    Record(String),
    /// A vector's dimension differs from the index's.
    Dimensions {
        /// The dimension of the index.
        stored: usize,
        /// The dimension of the vector.
        given: usize,
    },
}

/// The result type of the engine's fallible operations.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns the conflict for a batch that expected a greatest key other than `found`.
    #[must_use]
    pub fn conflict(namespace: &str, expect: &Expect, found: Option<&str>) -> Self {
        let name = |key: Option<&str>| key.map_or("none".to_owned(), |key| format!("{key:?}"));
        Self::Conflict(format!(
            "in namespace {namespace:?}, the last key starting with {:?} was expected to be {}, \
             but it is {}; nothing in the batch was applied: read again and retry",
            expect.prefix,
            name(expect.last_key.as_deref()),
            name(found),
        ))
    }

    /// Returns the conflict for a batch that expected a key to hold another value.
    ///
    /// The message never contains values: they are private to their owner.
    #[must_use]
    pub fn value_conflict(namespace: &str, key: &str, expected: bool, found: bool) -> Self {
        let finding = match (expected, found) {
            (true, true) => "was expected to have a different value",
            (true, false) => "was expected to exist, but does not",
            (false, _) => "was expected not to exist, but does",
        };
        Self::Conflict(format!(
            "in namespace {namespace:?}, key {key:?} {finding}; nothing in the batch was applied: \
             read again and retry"
        ))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the store is closed; open a new one"),
            Self::Conflict(message)
            | Self::Unavailable(message)
            | Self::ReadOnly(message)
            | Self::Format(message)
            | Self::Encryption(message)
            | Self::Filter(message)
            | Self::Record(message) => f.write_str(message),
            Self::Dimensions { stored, given } => write!(
                f,
                "expected an embedding of {stored} dimensions, like the stored ones, but this one \
                 has {given}: use the model they were made with, or clear the collection",
            ),
        }
    }
}

impl std::error::Error for Error {}
