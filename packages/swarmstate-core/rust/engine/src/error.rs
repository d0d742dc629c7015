//! What can go wrong in the engine; mapped to Python exceptions once, in the binding crate.

use std::fmt;

use crate::plane::Expect;

/// An error of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The store was used after it was closed.
    Closed,
    /// A batch's expectation did not hold; nothing of the batch was applied.
    Conflict(String),
    /// The storage cannot be opened, reached or written at this moment.
    Unavailable(String),
    /// A write was asked of storage that can only be read.
    ReadOnly(String),
    /// The storage is not a swarmstate store, is damaged, or has a newer format.
    Format(String),
    /// A value is not encrypted as it should be, or its key is missing.
    Encryption(String),
    /// A filter that cannot be understood.
    Filter(String),
    /// A stored record of a collection that is none.
    Record(String),
    /// A vector of another dimension than those of the index.
    Dimensions {
        /// The dimension of the index.
        stored: usize,
        /// The dimension of the vector.
        given: usize,
    },
}

/// What the engine's fallible operations return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns the conflict of a batch that expected another greatest key than `found`.
    #[must_use]
    pub fn conflict(namespace: &str, expect: &Expect, found: Option<&str>) -> Self {
        let name = |key: Option<&str>| key.map_or("none".to_owned(), |key| format!("{key:?}"));
        Self::Conflict(format!(
            "in namespace {namespace:?}, the last key that starts with {:?} was expected to be \
             {}, but it is {}; nothing of the batch was applied: read again and retry",
            expect.prefix,
            name(expect.last_key.as_deref()),
            name(found),
        ))
    }

    /// Returns the conflict of a batch that expected another value of a key.
    ///
    /// Values are nobody's business but their owner's, so none is shown.
    #[must_use]
    pub fn value_conflict(namespace: &str, key: &str, expected: bool, found: bool) -> Self {
        let finding = match (expected, found) {
            (true, true) => "was expected to hold another value",
            (true, false) => "was expected to exist, but does not",
            (false, _) => "was expected not to exist, but does",
        };
        Self::Conflict(format!(
            "in namespace {namespace:?}, key {key:?} {finding}; nothing of the batch was \
             applied: read again and retry"
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
                "expected an embedding of {stored} dimensions, as the stored ones have, but this \
                 one has {given}: use the model they were made with, or clear the collection",
            ),
        }
    }
}

impl std::error::Error for Error {}
