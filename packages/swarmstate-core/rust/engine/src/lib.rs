//! The state engine of swarmstate: records, snapshots and file storage.
//!
//! This crate knows nothing about Python or checkpoints. It moves bytes between named records; only
//! its callers know what the bytes mean.
#![forbid(unsafe_code)]

mod blob;
pub mod chunks;
mod compression;
pub mod condition;
mod condition_expr;
mod condition_hints;
mod condition_parser;
mod condition_program;
mod condition_tokens;
mod disk;
mod encryption;
mod error;
mod ext;
pub mod graph;
mod memory;
mod plane;
pub mod segments;
pub mod timeline;
pub mod vectors;

pub use blob::{BlobHash, BlobHome};
pub use compression::Compression;
pub use condition_program::{AtPaths, Host, Program};
pub use disk::{DiskOptions, DiskStore, Durability, Statistics};
pub use encryption::KeyRing;
pub use error::{Error, Result};
pub use memory::{Difference, MemoryStore, Snapshot};
pub use plane::{Answer, Batch, Expect, Expiry, Query, Range, Value, prefix_end};
