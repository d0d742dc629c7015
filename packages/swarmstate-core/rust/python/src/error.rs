//! Engine errors as Python exceptions.

use pyo3::{PyErr, import_exception};
use swarmstate_engine::Error;

use crate::codec::DecodeError;

import_exception!(swarmstate.errors, ConditionError);
import_exception!(swarmstate.errors, ConflictError);
import_exception!(swarmstate.errors, GraphError);
import_exception!(swarmstate.errors, EncryptionError);
import_exception!(swarmstate.errors, DimensionError);
import_exception!(swarmstate.errors, EmbeddingError);
import_exception!(swarmstate.errors, InvalidFilterError);
import_exception!(swarmstate.errors, InvalidNameError);
import_exception!(swarmstate.errors, StoreClosedError);
import_exception!(swarmstate.errors, StoreError);
import_exception!(swarmstate.errors, StoreFormatError);
import_exception!(swarmstate.errors, StoreReadOnlyError);
import_exception!(swarmstate.errors, StoreUnavailableError);

/// Converts an engine error to the exception in `swarmstate.errors` that documents it.
pub(crate) fn to_py(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Closed => StoreClosedError::new_err(()),
        Error::Conflict(_) => ConflictError::new_err(message),
        Error::Unavailable(_) => StoreUnavailableError::new_err(message),
        Error::ReadOnly(_) => StoreReadOnlyError::new_err(message),
        Error::Encryption(_) => EncryptionError::new_err(message),
        Error::Format(_) => StoreFormatError::new_err(message),
        Error::Filter(_) => InvalidFilterError::new_err(message),
        Error::Record(_) => DecodeError::new_err(message),
        Error::Dimensions { stored, given } => DimensionError::new_err((stored, given)),
        _ => StoreError::new_err(message),
    }
}

/// Converts the error of one record of a collection, naming the record.
pub(crate) fn record_error(id: &str, error: &Error) -> PyErr {
    DecodeError::new_err(format!(
        "the stored record {id:?} is not a valid collection record: {error}; delete it or store it \
         again"
    ))
}
