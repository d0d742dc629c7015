//! Engine errors as Python exceptions.

use pyo3::{PyErr, import_exception};
use swarmstate_engine::Error;

import_exception!(swarmstate.errors, ConflictError);
import_exception!(swarmstate.errors, EncryptionError);
import_exception!(swarmstate.errors, InvalidNameError);
import_exception!(swarmstate.errors, StoreClosedError);
import_exception!(swarmstate.errors, StoreError);
import_exception!(swarmstate.errors, StoreFormatError);
import_exception!(swarmstate.errors, StoreReadOnlyError);
import_exception!(swarmstate.errors, StoreUnavailableError);

/// Converts an engine error to the exception of `swarmstate.errors` that documents it.
pub(crate) fn to_py(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Closed => StoreClosedError::new_err(message),
        Error::Conflict(_) => ConflictError::new_err(message),
        Error::Unavailable(_) => StoreUnavailableError::new_err(message),
        Error::ReadOnly(_) => StoreReadOnlyError::new_err(message),
        Error::Encryption(_) => EncryptionError::new_err(message),
        Error::Format(_) => StoreFormatError::new_err(message),
        _ => StoreError::new_err(message),
    }
}
