//! An index over records with embeddings.
//!
//! Only records are stored. The index is built from them, kept in memory and kept up to date by its
//! owner. It finds the nearest records among those that a [`Selection`] allows; the selection is
//! applied before ranking.

mod clusters;
mod column;
mod filter;
mod index;
mod matrix;
mod metric;
mod order;
mod predicate;
mod record;
mod scan;
mod scope;
mod search;
pub mod snapshot;
mod state;
mod table;
mod training;

pub use filter::{Filter, UNKNOWN};
pub use index::{Hit, Index, Page};
pub use metric::Metric;
pub use record::{MAX_DIMENSIONS, Record};
pub use table::Selection;
