//! Finds the newest items of long-term memory without decoding any.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::codec::{Reader, Token};
use crate::passing::Demands;
use crate::seal::content_of;

/// The positions of an item's namespace and, within it, of its record, of the record of its
/// creation and of that of its expiry, if it has one.
type Places = (usize, usize, usize, Option<usize>);

/// Return the positions of the newest items' records in the given namespaces.
///
/// Args:
///     namespaces: For each namespace all names and records, ordered by name: `created/{key}`,
///         `expiry/{key}/{time}` and `item/{key}`, sealed.
///     now: Items that expire at or before this time are left out.
///     count: Maximum number of items; None for all.
///     filter: Leaves out items that certainly do not match, if their values were encoded by the
///         codec alone; None for no filter.
///
/// Returns:
///     For each item the position of its namespace and, within it, of its record, of the record of
///     its creation and of that of its expiry (or None). Items put last come first; of those put at
///     the same time, the one in the earlier position does. None if a record is malformed.
#[pyfunction]
#[pyo3(signature = (namespaces, now, count, filter, /))]
pub fn newest_items(
    namespaces: &Bound<'_, PyList>,
    now: f64,
    count: Option<usize>,
    filter: Option<&Bound<'_, PyDict>>,
) -> PyResult<Option<Vec<Places>>> {
    let demands = filter.map(Demands::of).transpose()?;
    let mut items = Vec::new();
    for (namespace, records) in namespaces.iter().enumerate() {
        let records = records.cast_into::<PyList>()?;
        let pairs = records
            .iter()
            .map(|pair| {
                let pair = pair.cast_into::<PyTuple>()?;
                let name = pair.get_item(0)?.cast_into::<PyString>()?;
                Ok((name, pair.get_item(1)?.cast_into::<PyBytes>()?))
            })
            .collect::<PyResult<Vec<_>>>()?;
        let mut named = Vec::with_capacity(pairs.len());
        for (name, record) in &pairs {
            named.push((name.to_str()?, record.as_bytes()));
        }
        if add_items(&mut items, namespace, &named, now, demands.as_ref()).is_none() {
            return Ok(None);
        }
    }
    if let Some(count) = count
        && count < items.len()
    {
        items.select_nth_unstable(count);
        items.truncate(count);
    }
    items.sort_unstable();
    Ok(Some(items.into_iter().map(|(_, places)| places).collect()))
}

/// Adds the items of a namespace, with the time each was last put; None if a record is damaged.
fn add_items(
    items: &mut Vec<(Reverse<i64>, Places)>,
    namespace: usize,
    records: &[(&str, &[u8])],
    now: f64,
    demands: Option<&Demands>,
) -> Option<()> {
    let mut created = Vec::new();
    let mut expiries = HashMap::new();
    let mut next = 0;
    for (place, (name, record)) in records.iter().enumerate() {
        if let Some(key) = name.strip_prefix("item/") {
            let (updated, value) = item_of(content_of(record, None)?)?;
            // Both are ordered by key.
            while created.get(next).is_some_and(|(other, _)| *other < key) {
                next += 1;
            }
            let (_, first) = created.get(next).filter(|(other, _)| *other == key)?;
            let expiry = match expiries.is_empty() {
                true => None,
                false => expiries.get(key).copied(),
            };
            match expiry {
                Some((_, expires)) if expires <= now => {}
                _ if demands.is_some_and(|demands| demands.refuse(value)) => {}
                _ => {
                    let places = (namespace, place, *first, expiry.map(|(at, _)| at));
                    items.push((Reverse(updated), places));
                }
            }
        } else if let Some(key) = name.strip_prefix("created/") {
            created.push((key, place));
        } else {
            let (key, expires) = expiry_of(name)?;
            is_float(content_of(record, None)?).then_some(())?;
            expiries.insert(key, (place, expires));
        }
    }
    Some(())
}

/// Returns the key of an item and its expiry in milliseconds, from the name of the expiry's record.
fn expiry_of(name: &str) -> Option<(Cow<'_, str>, f64)> {
    let (key, expires) = name.strip_prefix("expiry/")?.split_once('/')?;
    let is_number =
        (1..=15).contains(&expires.len()) && expires.bytes().all(|c| c.is_ascii_digit());
    let expires: u64 = if is_number {
        expires.parse().ok()?
    } else {
        return None;
    };
    let key = match key.contains('%') {
        true => key.replace("%2F", "/").replace("%25", "%").into(),
        false => key.into(),
    };
    // Less than 2^53, so exact.
    Some((key, expires as f64))
}

fn is_float(content: &[u8]) -> bool {
    content.len() == 9 && content[0] == 0xcb
}

/// Returns when an item was last put and its value, given the content of its record, which is
/// `[time, type, bytes, token]`. The value is empty unless it was encoded by the codec.
fn item_of(content: &[u8]) -> Option<(i64, &[u8])> {
    let mut reader = Reader::new(content);
    let Token::Array(4) = reader.token().ok()? else {
        return None;
    };
    let updated = match reader.token().ok()? {
        Token::Uint(time) => i64::try_from(time).ok()?,
        Token::Int(time) => time,
        _ => return None,
    };
    let type_ = reader.text("a type").ok()?;
    let Token::Bin(data) = reader.token().ok()? else {
        return None;
    };
    match reader.token().ok()? {
        Token::Nil => {}
        Token::Str(token) => {
            std::str::from_utf8(token).ok()?;
        }
        _ => return None,
    }
    let value = if type_ == "msgpack" { data } else { &[] };
    (reader.pos == content.len()).then_some((updated, value))
}
