//! Batches in SQL. Every function runs inside its caller's transaction.

use rusqlite::{CachedStatement, Connection, ToSql, params};

use super::reading::{find, get, read_range};
use super::reclaiming::{Doomed, RECLAIMED_RECORDS, detach, set_aside};
use crate::plane::{Batch, Expect, Expiry, Range, prefix_end};
use crate::{Error, Result};

/// Values up to this many bytes are stored beside their key.
const SMALL_VALUE: usize = 64;

/// The outer error fails the transaction. The inner one fails a batch whose expectation did not
/// hold, and leaves the transaction usable.
pub(super) type Outcome = rusqlite::Result<Result<()>>;

/// Applies one batch, or none of it if its expectation does not hold.
pub(super) fn apply(connection: &Connection, batch: &Batch, now: i64) -> Outcome {
    let mut namespace = find(connection, &batch.namespace, now)?;
    if let Some(expect) = &batch.expect
        && let Err(conflict) = check(connection, &batch.namespace, namespace, expect)?
    {
        return Ok(Err(conflict));
    }
    for (key, expected) in &batch.expect_values {
        let found = match namespace {
            Some(namespace) => get(connection, namespace, key)?,
            None => None,
        };
        if found != *expected {
            let (expected, found) = (expected.is_some(), found.is_some());
            let conflict = Error::value_conflict(&batch.namespace, key, expected, found);
            return Ok(Err(conflict));
        }
    }
    if batch.clear && namespace.is_some() {
        detach(connection, &batch.namespace)?;
        namespace = None;
    }
    if let Some(namespace) = namespace {
        delete(connection, namespace, batch)?;
    }
    if !(batch.put.is_empty() && batch.put_if_absent.is_empty()) {
        let id = match namespace {
            Some(id) => id,
            None => create(connection, &batch.namespace, None)?,
        };
        put(connection, id, batch)?;
        namespace = Some(id);
    } else if let Some(id) = namespace
        && !(batch.delete.is_empty() && batch.delete_ranges.is_empty())
        && is_empty(connection, id)?
    {
        detach(connection, &batch.namespace)?;
        namespace = None;
    }
    if let (Some(id), Some(expiry)) = (namespace, batch.expiry) {
        set_expiry(connection, id, expiry)?;
    }
    Ok(Ok(()))
}

/// Sets the expiry of a namespace, if it is visible at `now`.
pub(super) fn touch(
    connection: &Connection,
    name: &str,
    expiry: Expiry,
    now: i64,
) -> rusqlite::Result<()> {
    match find(connection, name, now)? {
        Some(namespace) => set_expiry(connection, namespace, expiry),
        None => Ok(()),
    }
}

/// Makes `target` hold exactly the records of `source`, with the same expiry.
pub(super) fn copy(
    connection: &Connection,
    source: &str,
    target: &str,
    now: i64,
) -> rusqlite::Result<()> {
    if source == target {
        return Ok(());
    }
    detach(connection, target)?;
    let Some(from) = find(connection, source, now)? else {
        return Ok(());
    };
    let expires_at = connection
        .prepare_cached("SELECT expires_at FROM namespace WHERE id = ?1")?
        .query_row([from], |row| row.get(0))?;
    let to = create(connection, target, expires_at)?;
    let last = last_id(connection)?;
    // A lost value becomes NULL here, which violates a constraint. If its row was skipped, the next
    // value would get its number, and so its key.
    connection
        .prepare_cached(
            "INSERT INTO large_value (id, value)
             SELECT ?1 + row_number() OVER (ORDER BY key), large_value.value
             FROM record LEFT JOIN large_value ON large_value.id = record.value
             WHERE namespace_id = ?2 AND typeof(record.value) = 'integer' ORDER BY key",
        )?
        .execute([last, from])?;
    connection
        .prepare_cached(
            "INSERT INTO record (namespace_id, key, value)
             SELECT ?1, key, CASE typeof(value) WHEN 'blob' THEN value
                 ELSE ?2 + count(*) FILTER (WHERE typeof(value) = 'integer') OVER (ORDER BY key) END
             FROM record WHERE namespace_id = ?3 ORDER BY key",
        )?
        .execute([to, last, from])?;
    Ok(())
}

/// Creates a namespace, replacing an expired one with that name.
fn create(connection: &Connection, name: &str, expires_at: Option<i64>) -> rusqlite::Result<i64> {
    detach(connection, name)?;
    connection
        .prepare_cached("INSERT INTO namespace (name, expires_at) VALUES (?1, ?2)")?
        .insert(params![name, expires_at])
}

fn set_expiry(connection: &Connection, namespace: i64, expiry: Expiry) -> rusqlite::Result<()> {
    let expires_at = match expiry {
        Expiry::Never => None,
        Expiry::At(time) => Some(time),
    };
    connection
        .prepare_cached(
            "UPDATE namespace SET expires_at = ?2 WHERE id = ?1 AND expires_at IS NOT ?2",
        )?
        .execute(params![namespace, expires_at])?;
    Ok(())
}

fn check(
    connection: &Connection,
    name: &str,
    namespace: Option<i64>,
    expect: &Expect,
) -> rusqlite::Result<Result<()>> {
    let found = match namespace {
        Some(namespace) => {
            let last = Range {
                start: expect.prefix.clone(),
                stop: prefix_end(&expect.prefix),
                reverse: true,
                limit: Some(1),
                keys_only: true,
            };
            read_range(connection, namespace, &last)?.pop()
        }
        None => None,
    };
    let found = found.as_ref().map(|(key, _)| &**key);
    if found == expect.last_key.as_deref() {
        return Ok(Ok(()));
    }
    Ok(Err(Error::conflict(name, expect, found)))
}

fn delete(connection: &Connection, namespace: i64, batch: &Batch) -> rusqlite::Result<()> {
    let mut doomed = Doomed::default();
    for (start, stop) in &batch.delete_ranges {
        let bound = if stop.is_some() {
            "AND key < ?3"
        } else {
            "AND ?3 IS NULL"
        };
        let range = format!("namespace_id = ?1 AND key >= ?2 {bound}");
        delete_where(
            connection,
            &mut doomed,
            &range,
            params![namespace, start, stop],
        )?;
    }
    if batch.delete.len() > RECLAIMED_RECORDS {
        set_aside(connection, namespace, &batch.delete)?;
    } else {
        for key in &batch.delete {
            let one = "namespace_id = ?1 AND key = ?2";
            delete_where(connection, &mut doomed, one, params![namespace, key])?;
        }
    }
    doomed.delete(connection)
}

/// Deletes the records that meet a condition, and notes their large values.
///
/// They are looked up first, because usually there are none, and `DELETE` with `RETURNING` creates
/// a temporary database for its rows each time, which takes a quarter of the time of a small write.
fn delete_where(
    connection: &Connection,
    doomed: &mut Doomed,
    condition: &str,
    parameters: &[&dyn ToSql],
) -> rusqlite::Result<()> {
    let mut list =
        connection.prepare_cached(&format!("SELECT value FROM record WHERE {condition}"))?;
    if doomed.add_all(list.query(parameters)?)? {
        connection
            .prepare_cached(&format!("DELETE FROM record WHERE {condition}"))?
            .execute(parameters)?;
    }
    Ok(())
}

fn put(connection: &Connection, namespace: i64, batch: &Batch) -> rusqlite::Result<()> {
    let mut put = Put {
        connection,
        namespace,
        insert: connection.prepare_cached(
            "INSERT INTO record (namespace_id, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
        )?,
        next_id: None,
    };
    for (key, value) in &batch.put_if_absent {
        put.if_absent(key, value)?;
    }
    for (key, value) in &batch.put {
        if !put.if_absent(key, value)? {
            put.replace(key, value)?;
        }
    }
    Ok(())
}

/// Writes records to a namespace.
struct Put<'a> {
    connection: &'a Connection,
    namespace: i64,
    insert: CachedStatement<'a>,
    /// The id of the next large value, once it is known.
    next_id: Option<i64>,
}

impl Put<'_> {
    /// Writes a record if there is none; returns whether it did.
    fn if_absent(&mut self, key: &str, value: &[u8]) -> rusqlite::Result<bool> {
        if value.len() <= SMALL_VALUE {
            return Ok(self.insert.execute(params![self.namespace, key, value])? == 1);
        }
        let id = self.next_id()?;
        let is_new = self.insert.execute(params![self.namespace, key, id])? == 1;
        if is_new {
            self.insert_value(id, value)?;
        }
        Ok(is_new)
    }

    /// Overwrites the value of an existing record.
    fn replace(&mut self, key: &str, value: &[u8]) -> rusqlite::Result<()> {
        let mut doomed = Doomed::default();
        self.connection
            .prepare_cached("SELECT value FROM record WHERE namespace_id = ?1 AND key = ?2")?
            .query_row(params![self.namespace, key], |row| {
                doomed.add(row.get_ref(0)?);
                Ok(())
            })?;
        if let Some(id) = doomed.single()
            && value.len() > SMALL_VALUE
        {
            let mut update = self
                .connection
                .prepare_cached("UPDATE large_value SET value = ?2 WHERE id = ?1")?;
            // A lost value has no row to update.
            if update.execute(params![id, value])? == 1 {
                return Ok(());
            }
        }
        doomed.delete(self.connection)?;
        let mut update = self
            .connection
            .prepare_cached("UPDATE record SET value = ?3 WHERE namespace_id = ?1 AND key = ?2")?;
        if value.len() <= SMALL_VALUE {
            update.execute(params![self.namespace, key, value])?;
        } else {
            let id = self.next_id()?;
            update.execute(params![self.namespace, key, id])?;
            self.insert_value(id, value)?;
        }
        Ok(())
    }

    fn next_id(&mut self) -> rusqlite::Result<i64> {
        match self.next_id {
            Some(id) => Ok(id),
            None => {
                let last = last_id(self.connection)?;
                let id = last
                    .checked_add(1)
                    .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, last))?;
                self.next_id = Some(id);
                Ok(id)
            }
        }
    }

    fn insert_value(&mut self, id: i64, value: &[u8]) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT INTO large_value (id, value) VALUES (?1, ?2)")?
            .execute(params![id, value])?;
        self.next_id = Some(id + 1);
        Ok(())
    }
}

/// Returns the greatest id of a large value.
fn last_id(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(id), 0) FROM large_value")?
        .query_row([], |row| row.get(0))
}

fn is_empty(connection: &Connection, namespace: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM record WHERE namespace_id = ?1)")?
        .query_row([namespace], |row| row.get(0))
}
