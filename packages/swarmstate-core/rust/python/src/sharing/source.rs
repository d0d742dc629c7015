//! What a new value is put together from.

use std::ops::Range;

use swarmstate_engine::segments::Segment;

use super::parts::{Container, Item, Part};

/// A part of the new value: one that is still right, or an item to encode.
pub(super) enum Source {
    Kept(Part),
    New {
        item: Item,
        encoded: Range<usize>,
    },
    Nested {
        item: Item,
        head: Box<[u8]>,
        container: Container,
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
            Self::Nested { head, .. } => Segment {
                items: 1,
                bytes: head.len(),
                is_new: true,
            },
        }
    }
}
