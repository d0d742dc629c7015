//! An index over records with embeddings.
//!
//! What is stored are the records; an index is made of them, kept in memory and
//! brought up to date by its owner. It finds the nearest records among those that
//! a [`Selection`] allows, which is applied before anything is ranked.

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
