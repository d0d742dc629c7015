//! Python bindings of swarmstate (`swarmstate._core`): registration only.

mod ancestry;
mod cached;
mod call_key;
mod callbacks;
mod clock;
mod codec;
mod dict_version;
mod disk;
mod embedding;
mod error;
mod finder;
mod gil;
mod graph;
mod graph_host;
mod layers;
mod newest;
mod passing;
mod plane;
mod seal;
mod sharing;
mod snapshot;
mod store;
mod timeline;
mod vector_records;
mod vectors;

use pyo3::prelude::*;

/// The native part of `swarmstate`: codec and stores.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::ancestry::{follow_parents, select_writes};
    #[pymodule_export]
    use super::cached::CallCache;
    #[pymodule_export]
    use super::call_key::CallKey;
    #[pymodule_export]
    use super::callbacks::{end_callbacks, forget_callbacks};
    #[pymodule_export]
    use super::codec::{Codec, dumps, loads};
    #[pymodule_export]
    use super::disk::DiskStore;
    #[pymodule_export]
    use super::finder::InstanceFinder;
    #[pymodule_export]
    use super::graph::HandoffGraph;
    #[pymodule_export]
    use super::layers::{Compression, KeyRing};
    #[pymodule_export]
    use super::newest::newest_items;
    #[pymodule_export]
    use super::plane::{check_batches, check_name, check_queries};
    #[pymodule_export]
    use super::seal::{seal, unseal};
    #[pymodule_export]
    use super::sharing::checks::{check_entries, check_entry};
    #[pymodule_export]
    use super::sharing::names::{blob_hash, blob_home, blob_names};
    #[pymodule_export]
    use super::sharing::{Recalled, Sharing, Split};
    #[pymodule_export]
    use super::snapshot::Snapshot;
    #[pymodule_export]
    use super::store::Store;
    #[pymodule_export]
    use super::timeline::{Activity, Timeline};
    #[pymodule_export]
    use super::vector_records::{decode_record, encode_records};
    #[pymodule_export]
    use super::vectors::VectorIndex;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
