//! The in-memory store: persistent maps behind sharded locks.
//!
//! Everything is built on maps that share structure ([`imbl::OrdMap`]). So snapshots, restores and
//! copies of namespaces have a constant cost, whatever their size, and a reader works on its own
//! view after the lock is released.

mod deadlines;
mod shard;
mod snapshot;
mod store;

use std::sync::Arc;

use imbl::OrdMap;

use crate::plane::Value;

pub use snapshot::{Difference, Snapshot};
pub use store::MemoryStore;

/// The records of one namespace, by key in UTF-8 byte order. Never empty inside [`Names`].
type Records = OrdMap<Arc<str>, Value>;

/// Namespaces by name.
type Names = OrdMap<Arc<str>, Records>;

/// The number of shards in a store and in a snapshot.
const SHARDS: usize = 16;

/// Returns the index of a namespace's shard.
///
/// The hash is fixed (FNV-1a), so that a namespace is in the same shard of every store and
/// snapshot, and two snapshots can be compared shard by shard.
fn shard_index(namespace: &str) -> usize {
    let hash = namespace
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    // The high bits of FNV are better mixed than the low ones.
    (hash >> 48) as usize % SHARDS
}
