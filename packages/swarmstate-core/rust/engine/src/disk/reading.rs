//! Queries in SQL. Every function runs inside its caller's transaction.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::plane::{Answer, Expiry, Query, Range, Value, prefix_end};

/// SQL for the value of a record, in whichever table it is stored.
macro_rules! value {
    () => {
        "CASE typeof(value) WHEN 'blob' THEN value
         ELSE (SELECT value FROM large_value WHERE id = record.value) END"
    };
}

/// Answers one query from the records visible at `now`; the caller handles the query's expiry.
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

pub(super) fn get(
    connection: &Connection,
    namespace: i64,
    key: &str,
) -> rusqlite::Result<Option<Value>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            value!(),
            " FROM record WHERE namespace_id = ?1 AND key = ?2"
        ))?
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

/// Returns the id of a namespace that is visible at `now`.
pub(super) fn find(connection: &Connection, name: &str, now: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT id FROM namespace
             WHERE name = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
        )?
        .query_row(params![name, now], |row| row.get(0))
        .optional()
}

pub(super) fn read_range(
    connection: &Connection,
    namespace: i64,
    range: &Range,
) -> rusqlite::Result<Vec<(Arc<str>, Value)>> {
    let value = if range.keys_only { "x''" } else { value!() };
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

/// Converts a limit for SQL's LIMIT, where a negative number means none.
fn sql_limit(limit: Option<usize>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}
