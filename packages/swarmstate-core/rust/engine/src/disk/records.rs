//! What queries and batches are in SQL. Every function runs inside its caller's transaction.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::plane::{Answer, Batch, Expect, Expiry, Query, Range, Value, prefix_end};
use crate::{Error, Result};

/// At most this much of deleted and expired namespaces is reclaimed in one transaction, so that
/// no writer waits long for the leftovers of another.
const RECLAIMED_RECORDS: usize = 256;
const RECLAIMED_BYTES: u32 = 4 << 20;

/// A transaction fails with the outer error; a batch whose expectation did not hold, with the
/// inner one, and leaves the transaction usable.
pub(super) type Outcome = rusqlite::Result<Result<()>>;

/// Answers one query from the records visible at `now`; its expiry is the caller's business.
pub(super) fn answer(connection: &Connection, query: &Query, now: i64) -> rusqlite::Result<Answer> {
    let Some(namespace) = find(connection, &query.namespace, now)? else {
        return Ok(Answer {
            values: vec![None; query.keys.len()],
            ranges: vec![Vec::new(); query.ranges.len()],
            expiry: None,
        });
    };
    let values = query.keys.iter().map(|key| get(connection, namespace, key));
    let values = values.collect::<rusqlite::Result<_>>()?;
    let ranges = query
        .ranges
        .iter()
        .map(|range| read_range(connection, namespace, range));
    Ok(Answer {
        values,
        ranges: ranges.collect::<rusqlite::Result<_>>()?,
        expiry: query
            .ask_expiry
            .then(|| expiry(connection, namespace))
            .transpose()?,
    })
}

fn get(connection: &Connection, namespace: i64, key: &str) -> rusqlite::Result<Option<Value>> {
    connection
        .prepare_cached("SELECT value FROM record WHERE namespace_id = ?1 AND key = ?2")?
        .query_row(params![namespace, key], |row| {
            Ok(Value::from(row.get_ref(0)?.as_blob()?))
        })
        .optional()
}

fn expiry(connection: &Connection, namespace: i64) -> rusqlite::Result<Expiry> {
    connection
        .prepare_cached("SELECT expires_at FROM namespace WHERE id = ?1")?
        .query_row([namespace], |row| {
            Ok(row
                .get::<_, Option<i64>>(0)?
                .map_or(Expiry::Never, Expiry::At))
        })
}

/// Lists the namespaces visible at `now` that start with `prefix` and are greater than `after`.
pub(super) fn namespaces(
    connection: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: Option<usize>,
    now: i64,
) -> rusqlite::Result<Vec<String>> {
    let end = prefix_end(prefix);
    let bound = if end.is_some() {
        "AND name < ?5"
    } else {
        "AND ?5 IS NULL"
    };
    let mut list = connection.prepare_cached(&format!(
        "SELECT name FROM namespace
         WHERE name >= ?1 AND name > ?2 AND (expires_at IS NULL OR expires_at > ?3) {bound}
         ORDER BY name LIMIT ?4"
    ))?;
    let names = list.query_map(
        params![
            prefix,
            after.unwrap_or_default(),
            now,
            sql_limit(limit),
            end
        ],
        |row| row.get(0),
    )?;
    names.collect()
}

/// Applies one batch, or nothing of it if its expectation does not hold.
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

/// Sets when a namespace expires, if it is visible at `now`.
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

/// Makes `target` hold exactly the records and the expiry of `source`.
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
    connection
        .prepare_cached(
            "INSERT INTO record (namespace_id, key, value)
             SELECT ?1, key, value FROM record WHERE namespace_id = ?2 ORDER BY key",
        )?
        .execute([to, from])?;
    Ok(())
}

/// Tells whether `reclaim` has something to do.
pub(super) fn has_reclaimable(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM namespace WHERE expires_at <= ?1)",
        [now],
        |row| row.get(0),
    )
}

/// Deletes some records of namespaces that are deleted or expired at `now`.
pub(super) fn reclaim(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let mut oldest = connection.prepare_cached(
        "SELECT id FROM namespace WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 1",
    )?;
    let mut records = 0;
    let mut bytes = 0;
    while records < RECLAIMED_RECORDS && bytes < RECLAIMED_BYTES {
        let Some(namespace) = oldest
            .query_row([now], |row| row.get::<_, i64>(0))
            .optional()?
        else {
            break;
        };
        let mut list = connection
            .prepare_cached("SELECT id, length(value) FROM record WHERE namespace_id = ?1")?;
        let mut delete = connection.prepare_cached("DELETE FROM record WHERE id = ?1")?;
        let mut doomed = Vec::new();
        let mut rows = list.query([namespace])?;
        let complete = loop {
            let Some(row) = rows.next()? else { break true };
            if records >= RECLAIMED_RECORDS || bytes >= RECLAIMED_BYTES {
                break false;
            }
            doomed.push(row.get::<_, i64>(0)?);
            records += 1;
            bytes += row.get::<_, u32>(1)?;
        };
        drop(rows);
        for id in doomed {
            delete.execute([id])?;
        }
        if complete {
            connection
                .prepare_cached("DELETE FROM namespace WHERE id = ?1")?
                .execute([namespace])?;
        }
    }
    Ok(())
}

/// Returns the id of a namespace that is visible at `now`.
fn find(connection: &Connection, name: &str, now: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT id FROM namespace
             WHERE name = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
        )?
        .query_row(params![name, now], |row| row.get(0))
        .optional()
}

/// Makes a new namespace, in the place of an expired one of that name.
fn create(connection: &Connection, name: &str, expires_at: Option<i64>) -> rusqlite::Result<i64> {
    detach(connection, name)?;
    connection
        .prepare_cached("INSERT INTO namespace (name, expires_at) VALUES (?1, ?2)")?
        .insert(params![name, expires_at])
}

/// Deletes a namespace at once, however large; `reclaim` deletes its records.
fn detach(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE namespace SET name = NULL, expires_at = 0 WHERE name = ?1")?
        .execute([name])?;
    Ok(())
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
    for (start, stop) in &batch.delete_ranges {
        let bound = if stop.is_some() {
            "AND key < ?3"
        } else {
            "AND ?3 IS NULL"
        };
        connection
            .prepare_cached(&format!(
                "DELETE FROM record WHERE namespace_id = ?1 AND key >= ?2 {bound}"
            ))?
            .execute(params![namespace, start, stop])?;
    }
    let mut delete =
        connection.prepare_cached("DELETE FROM record WHERE namespace_id = ?1 AND key = ?2")?;
    for key in &batch.delete {
        delete.execute(params![namespace, key])?;
    }
    Ok(())
}

fn put(connection: &Connection, namespace: i64, batch: &Batch) -> rusqlite::Result<()> {
    const INSERT: &str = "INSERT INTO record (namespace_id, key, value) VALUES (?1, ?2, ?3)
                          ON CONFLICT (namespace_id, key) DO ";
    let insert =
        |mut statement: CachedStatement<'_>, records: &[(String, Value)]| -> rusqlite::Result<()> {
            for (key, value) in records {
                statement.execute(params![namespace, key, &**value])?;
            }
            Ok(())
        };
    if !batch.put_if_absent.is_empty() {
        let statement = connection.prepare_cached(&format!("{INSERT} NOTHING"))?;
        insert(statement, &batch.put_if_absent)?;
    }
    if !batch.put.is_empty() {
        let update = format!("{INSERT} UPDATE SET value = excluded.value");
        insert(connection.prepare_cached(&update)?, &batch.put)?;
    }
    Ok(())
}

fn is_empty(connection: &Connection, namespace: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM record WHERE namespace_id = ?1)")?
        .query_row([namespace], |row| row.get(0))
}

fn read_range(
    connection: &Connection,
    namespace: i64,
    range: &Range,
) -> rusqlite::Result<Vec<(Arc<str>, Value)>> {
    let value = if range.keys_only { "x''" } else { "value" };
    let bound = if range.stop.is_some() {
        "AND key < ?3"
    } else {
        "AND ?3 IS NULL"
    };
    let order = if range.reverse { "DESC" } else { "ASC" };
    let mut select = connection.prepare_cached(&format!(
        "SELECT key, {value} FROM record WHERE namespace_id = ?1 AND key >= ?2 {bound}
         ORDER BY key {order} LIMIT ?4"
    ))?;
    let parameters = params![namespace, range.start, range.stop, sql_limit(range.limit)];
    let records = select.query_map(parameters, |row| {
        Ok((
            Arc::from(row.get_ref(0)?.as_str()?),
            Value::from(row.get_ref(1)?.as_blob()?),
        ))
    })?;
    records.collect()
}

/// SQL's LIMIT, where a negative number means none.
fn sql_limit(limit: Option<usize>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}
