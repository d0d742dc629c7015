//! A store in one SQLite file.
//!
//! - `opening`: from a path to a connection, `connection`: how connections are configured.
//! - `schema`: the file format; `reading` and `records`: queries and batches in SQL; `reclaiming`:
//!   freeing deleted and expired records.
//! - `writer`: group commit of each `operation` on one connection; `checkpoint`: copying its log
//!   into the file.
//! - `readers`: a pool of reading connections; `transaction`: used for both reading and writing.
//! - `workers`: threads for callers who must not block; `process`: what must not be shared across a
//!   fork.

mod checkpoint;
mod connection;
mod failure;
mod opening;
mod operation;
mod process;
mod readers;
mod reading;
mod reclaiming;
mod records;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod transaction;
mod workers;
mod writer;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use opening::{DiskOptions, Durability};
pub use store::DiskStore;
pub use writer::Statistics;

/// Locks a mutex whose data cannot be left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
