//! Which items of long-term memory are the newest, found without decoding any.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::codec::{Reader, Token};
use crate::passing::Demands;
use crate::seal::content_of;

/// Where the records of an item stand: its namespace's, and among these its own, that of its
/// creation, and its expiry's if it has one.
type Places = (usize, usize, usize, Option<usize>);

/// Return where the records of the newest items are among those of some namespaces.
///
/// Args:
///     namespaces: Of each namespace all names and records, in the order of names:
///         `created/{key}`, `expiry/{key}/{time}` and `item/{key}`, sealed.
///     now: What is to expire at this time, or did before, is left out.
///     count: At most this many; None for all.
///     filter: Leaves out what it certainly does not let through, if the codec alone encoded the
///         values; None for nothing.
///
/// Returns:
///     For each item the position of its namespace, and within that those of its record, of that
///     of its creation and, or None, its expiry: of the last one put first, and of those put at
///     one time the first one. None instead of a list if a record is not what it should be.
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

/// Adds the items of a namespace, with when each was put last; None if a record is damaged.
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
            // Both stand in the order of keys.
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

/// The key of an item and the time, in milliseconds, that the name of its expiry's record says.
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
    // Below 2^53, so exact.
    Some((key, expires as f64))
}

fn is_float(content: &[u8]) -> bool {
    content.len() == 9 && content[0] == 0xcb
}

/// When an item was put last and its value, given the content of its record:
/// `[time, type, bytes, token]`. A value of another type than the codec's is empty.
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
