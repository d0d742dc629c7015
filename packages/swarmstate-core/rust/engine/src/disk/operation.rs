//! The write operations that callers request.

use rusqlite::Connection;

use super::records;
use crate::plane::{Batch, Expiry};

/// A write operation of one caller, which runs in one transaction.
pub(super) enum Operation {
    Write(Vec<Batch>),
    Copy {
        source: String,
        target: String,
    },
    Touch(Vec<(String, Expiry)>),
    /// Only reclaims part of deleted and expired namespaces, as every transaction does.
    Reclaim,
    /// Gives back at most this many free pages.
    Vacuum(u32),
}

impl Operation {
    /// Performs the operation within the caller's transaction.
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
