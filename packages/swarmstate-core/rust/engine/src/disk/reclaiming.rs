//! Frees deleted and expired namespaces: readers no longer see them, and their records are deleted
//! step by step.
//!
//! A deleted namespace has no name and counts as expired. Every function runs inside its caller's
//! transaction.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Rows, params};

/// Limits what one transaction reclaims, so that no writer waits long for what others deleted.
pub(super) const RECLAIMED_RECORDS: usize = 256;
const RECLAIMED_BYTES: u32 = 4 << 20;

/// Deletes a namespace at once, regardless of size; `reclaim` deletes its records.
pub(super) fn detach(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE namespace SET name = NULL, expires_at = 0 WHERE name = ?1")?
        .execute([name])?;
    Ok(())
}

/// Moves records into a deleted namespace; `reclaim` deletes them.
///
/// Values are stored in the order they were written. Deleting many whose keys are in a different
/// order would rewrite a page for each, while their keys share a few pages.
pub(super) fn set_aside(
    connection: &Connection,
    namespace: i64,
    keys: &[String],
) -> rusqlite::Result<()> {
    let deleted = connection
        .prepare_cached("INSERT INTO namespace (name, expires_at) VALUES (NULL, 0)")?
        .insert([])?;
    let mut update = connection.prepare_cached(
        "UPDATE record SET namespace_id = ?1 WHERE namespace_id = ?2 AND key = ?3",
    )?;
    for key in keys {
        update.execute(params![deleted, namespace, key])?;
    }
    Ok(())
}

/// Returns whether `reclaim` has anything to do.
pub(super) fn has_reclaimable(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM namespace WHERE expires_at <= ?1)",
        [now],
        |row| row.get(0),
    )
}

/// Returns whether a deleted or expired namespace is damaged and therefore stays.
pub(super) fn has_abandoned(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM namespace WHERE name IS NULL AND expires_at IS NULL)",
        [],
        |row| row.get(0),
    )
}

/// What a transaction does about deleted and expired namespaces.
#[derive(Default)]
pub(super) enum Leftovers {
    /// Deletes some of their records.
    #[default]
    Reclaim,
    /// Deleting the records of the namespace with this id failed.
    Met(i64),
    /// The namespace with this id is damaged and must be left alone: its name and time are cleared.
    Abandon(i64),
    /// Does nothing.
    Leave,
}

impl Leftovers {
    pub(super) fn see_to(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        match *self {
            Self::Reclaim | Self::Met(_) => self.reclaim(connection, now),
            Self::Abandon(namespace) => connection
                .execute(
                    "UPDATE namespace SET name = NULL, expires_at = NULL WHERE id = ?1",
                    [namespace],
                )
                .map(drop),
            Self::Leave => Ok(()),
        }
    }

    /// Deletes some records of namespaces that are deleted or expired at `now`.
    fn reclaim(&mut self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let mut oldest = connection.prepare_cached(
            "SELECT id FROM namespace WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 1",
        )?;
        let mut room = Room::default();
        while room.is_left() {
            let Some(namespace) = oldest
                .query_row([now], |row| row.get::<_, i64>(0))
                .optional()?
            else {
                break;
            };
            *self = Self::Met(namespace);
            reclaim_from(connection, namespace, &mut room)?;
        }
        *self = Self::Reclaim;
        Ok(())
    }
}

/// How much one transaction has reclaimed.
#[derive(Default)]
struct Room {
    records: usize,
    bytes: u32,
}

impl Room {
    fn is_left(&self) -> bool {
        self.records < RECLAIMED_RECORDS && self.bytes < RECLAIMED_BYTES
    }
}

/// Deletes records of a namespace within the limits, and the namespace after its last record.
fn reclaim_from(connection: &Connection, namespace: i64, room: &mut Room) -> rusqlite::Result<()> {
    let mut list = connection.prepare_cached(
        "SELECT key, record.value, length(large_value.value)
         FROM record LEFT JOIN large_value ON large_value.id = record.value
         WHERE namespace_id = ?1 ORDER BY key",
    )?;
    let mut doomed = Doomed::default();
    let mut listed = 0;
    let mut last = String::new();
    let mut rows = list.query([namespace])?;
    let complete = loop {
        let Some(row) = rows.next()? else { break true };
        if !room.is_left() {
            break false;
        }
        doomed.add(row.get_ref(1)?);
        last = row.get(0)?;
        listed += 1;
        room.records += 1;
        room.bytes += row.get::<_, Option<u32>>(2)?.unwrap_or_default();
    };
    drop(rows);
    let deleted = connection
        .prepare_cached("DELETE FROM record WHERE namespace_id = ?1 AND key <= ?2")?
        .execute(params![namespace, last])?;
    if deleted != listed {
        // Keys are out of order; some would stay, or be visited, forever.
        return Err(rusqlite::Error::StatementChangedRows(deleted));
    }
    doomed.delete(connection)?;
    if complete {
        connection
            .prepare_cached("DELETE FROM namespace WHERE id = ?1")?
            .execute([namespace])?;
    }
    Ok(())
}

/// The ids of large values whose records are deleted.
#[derive(Default)]
pub(super) struct Doomed(Vec<i64>);

impl Doomed {
    pub(super) fn add(&mut self, value: ValueRef<'_>) {
        if let ValueRef::Integer(id) = value {
            self.0.push(id);
        }
    }

    /// Adds the values of all rows; returns whether there are any rows.
    pub(super) fn add_all(&mut self, mut rows: Rows<'_>) -> rusqlite::Result<bool> {
        let mut found = false;
        while let Some(row) = rows.next()? {
            self.add(row.get_ref(0)?);
            found = true;
        }
        Ok(found)
    }

    /// Returns the id, if there is exactly one.
    pub(super) fn single(&self) -> Option<i64> {
        match self.0[..] {
            [id] => Some(id),
            _ => None,
        }
    }

    pub(super) fn delete(self, connection: &Connection) -> rusqlite::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut delete = connection.prepare_cached("DELETE FROM large_value WHERE id = ?1")?;
        for id in self.0 {
            delete.execute([id])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{DiskOptions, DiskStore};
    use super::*;
    use crate::Batch;

    #[test]
    fn a_few_large_records_are_reclaimed_in_steps_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let store = DiskStore::open(&path, &DiskOptions::default()).unwrap();
        let records = (0..40).map(|index| (index.to_string(), vec![7; 500_000].into()));
        let all = Batch {
            namespace: "n".into(),
            put: records.collect(),
            ..Batch::default()
        };
        let deletion = Batch {
            namespace: "n".into(),
            clear: true,
            ..Batch::default()
        };
        store.write(vec![all], 0).unwrap();
        store.write(vec![deletion], 0).unwrap();
        let left: i64 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT count(*) FROM large_value", [], |row| row.get(0))
            .unwrap();
        assert!(left > 30, "one write deleted {} MB", (40 - left) / 2);
    }
}
