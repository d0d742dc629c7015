//! The sources of a new value's parts.

use std::ops::Range;

use swarmstate_engine::segments::Segment;

use super::parts::{Item, Part, Stored};

/// A part of the new value: one that is still valid, or an item to encode.
pub(super) enum Source {
    Kept(Part),
    New {
        item: Item,
        encoded: Range<usize>,
    },
    /// An entry whose value is itself cut, and the size of everything not in other parts.
    Apart {
        item: Item,
        bytes: usize,
        stored: Stored,
    },
}

impl Source {
    pub(super) fn size(&self) -> Segment {
        match self {
            Self::Kept(part) => Segment {
                items: part.items.len(),
                bytes: part.bytes,
                is_new: false,
            },
            Self::New { encoded, .. } => Segment {
                items: 1,
                bytes: encoded.len(),
                is_new: true,
            },
            Self::Apart { bytes, .. } => Segment {
                items: 1,
                bytes: *bytes,
                is_new: true,
            },
        }
    }
}
