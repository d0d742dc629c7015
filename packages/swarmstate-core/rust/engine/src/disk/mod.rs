//! A store in one SQLite file.
//!
//! - `opening`: from a path to a connection, `connection`: how connections are configured.
//! - `schema`: the format of the file; `reading` and `records`: queries and batches in SQL;
//!   `reclaiming`: giving back what is deleted and has expired.
//! - `writer`: group commit on one connection, of each `operation`; `checkpoint`: copying its log into the file.
//! - `readers`: a pool of connections that read; `transaction`: what both begin and commit.
//! - `workers`: threads for callers who must not block; `process`: what a fork may not share.

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

/// Locks a mutex whose data no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
