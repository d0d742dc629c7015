//! What callers want written.

use rusqlite::Connection;

use super::records;
use crate::plane::{Batch, Expiry};

/// What one caller wants written, in one transaction.
pub(super) enum Operation {
    Write(Vec<Batch>),
    Copy {
        source: String,
        target: String,
    },
    Touch(Vec<(String, Expiry)>),
    /// Nothing but what every transaction reclaims of deleted and expired namespaces.
    Reclaim,
    /// Gives back at most this many free pages.
    Vacuum(u32),
}

impl Operation {
    /// Does it, within its caller's transaction.
    pub(super) fn perform(&self, connection: &Connection, now: i64) -> records::Outcome {
        match self {
            Self::Write(batches) => {
                for batch in batches {
                    if let Err(conflict) = records::apply(connection, batch, now)? {
                        return Ok(Err(conflict));
                    }
                }
            }
            Self::Copy { source, target } => {
                records::copy(connection, source, target, now)?;
            }
            Self::Touch(namespaces) => {
                for (namespace, expiry) in namespaces {
                    records::touch(connection, namespace, *expiry, now)?;
                }
            }
            Self::Reclaim => {}
            Self::Vacuum(pages) => {
                let mut vacuum =
                    connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
                let mut rows = vacuum.query([])?;
                // Each step gives back one page.
                while rows.next()?.is_some() {}
            }
        }
        Ok(Ok(()))
    }
}
