//! Follows chains of sealed checkpoints, and selects pending writes, without decoding them.
//!
//! Damaged records, and those of an unusual form, are left to the caller: decoding them either works
//! or says what is wrong.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySet, PyString};
use swarmstate_engine::BlobHash;

use crate::codec::{Reader, Token};
use crate::seal::content_of;

/// The only format of checkpoints that can be followed; see docs/formats.md.
const FORMAT: u64 = 1;

/// The ids met, where each channel was found, and the next id.
type Followed<'py> = (
    Bound<'py, PyDict>,
    Bound<'py, PyDict>,
    Option<Bound<'py, PyString>>,
);

/// Follow sealed checkpoints from parent to parent until all of some channels were found.
///
/// Stops early at a checkpoint that is not in `records`, was met before, or is damaged or unusual.
///
/// Args:
///     records: Checkpoints by id.
///     prefix: The prefix of their keys.
///     first: The id to start with.
///     channels: The names of the channels.
///
/// Returns:
///     The ids met, in order, each with whether the checkpoint refers to blobs; for each channel
///     found, the first id that stores it; and the id to continue with, None after a checkpoint
///     without a parent.
#[pyfunction]
#[pyo3(signature = (records, prefix, first, channels, /))]
pub fn follow_parents<'py>(
    records: &Bound<'py, PyDict>,
    prefix: &str,
    first: Bound<'py, PyString>,
    channels: &Bound<'py, PySet>,
) -> PyResult<Followed<'py>> {
    let py = records.py();
    let (met, found) = (PyDict::new(py), PyDict::new(py));
    let mut wanted = texts(channels)?;
    let mut next = Some(first);
    while let Some(id) = &next
        && !wanted.is_empty()
        && !met.contains(id)?
        && let Some(record) = records.get_item(id)?
    {
        let record = record.cast_into::<PyBytes>()?;
        let key = format!("{prefix}{}", id.to_string_lossy());
        let content = content_of(record.as_bytes(), Some(&key));
        let Some(checkpoint) = content.and_then(Checkpoint::read) else {
            break;
        };
        met.set_item(id, checkpoint.refers)?;
        for channel in checkpoint.channels {
            if wanted.remove(channel) {
                found.set_item(channel, id)?;
            }
        }
        next = checkpoint.parent.map(|parent| PyString::new(py, parent));
    }
    Ok((met, found, next))
}

/// Return those of the sealed writes that are to some channels, or are damaged or unusual.
///
/// Args:
///     records: The writes, as pairs of a key and a record.
///     channels: The names of the channels.
#[pyfunction]
#[pyo3(signature = (records, channels, /))]
pub fn select_writes<'py>(
    records: &Bound<'py, PyList>,
    channels: &Bound<'py, PySet>,
) -> PyResult<Bound<'py, PyList>> {
    let wanted = texts(channels)?;
    let selected = PyList::empty(records.py());
    for pair in records.iter() {
        let (key, record): (Bound<'_, PyString>, Bound<'_, PyBytes>) = pair.extract()?;
        let content = content_of(record.as_bytes(), Some(&key.to_string_lossy()));
        if content
            .and_then(channel_of)
            .is_none_or(|channel| wanted.contains(channel))
        {
            selected.append(pair)?;
        }
    }
    Ok(selected)
}

fn texts(set: &Bound<'_, PySet>) -> PyResult<HashSet<String>> {
    set.iter().map(|text| text.extract()).collect()
}

/// The parts of a checkpoint's record that are needed to follow it.
struct Checkpoint<'a> {
    parent: Option<&'a str>,
    channels: Vec<&'a str>,
    /// Whether a channel refers to blobs.
    refers: bool,
}

impl<'a> Checkpoint<'a> {
    /// Reads the content of a record; None if it does not have the usual form.
    fn read(content: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(content);
        let Token::Map(4) = reader.token().ok()? else {
            return None;
        };
        pass_name(&mut reader, "v")?;
        let Token::Uint(FORMAT) = reader.token().ok()? else {
            return None;
        };
        pass_name(&mut reader, "parent")?;
        let parent = match reader.token().ok()? {
            Token::Nil => None,
            Token::Str(parent) => Some(std::str::from_utf8(parent).ok()?),
            _ => return None,
        };
        pass_name(&mut reader, "body")?;
        let (Token::Array(2), Token::Str(_), Token::Bin(_)) = (
            reader.token().ok()?,
            reader.token().ok()?,
            reader.token().ok()?,
        ) else {
            return None;
        };
        pass_name(&mut reader, "channels")?;
        let Token::Map(count) = reader.token().ok()? else {
            return None;
        };
        let mut channels = Vec::with_capacity(count);
        let mut refers = false;
        for _ in 0..count {
            channels.push(reader.text("a channel").ok()?);
            refers |= refers_to_blobs(&mut reader)?;
        }
        (reader.pos == content.len()).then_some(Self {
            parent,
            channels,
            refers,
        })
    }
}

/// Reads an entry, a type and pieces, and returns whether it refers to blobs.
fn refers_to_blobs(reader: &mut Reader<'_>) -> Option<bool> {
    let Token::Array(parts @ 2..) = reader.token().ok()? else {
        return None;
    };
    reader.text("a type").ok()?;
    let mut refers = false;
    for _ in 1..parts {
        match reader.token().ok()? {
            Token::Bin(_) => {}
            Token::Array(1) => match reader.token().ok()? {
                Token::Bin(hashes) if hashes.len().is_multiple_of(BlobHash::BYTES) => {
                    refers |= !hashes.is_empty();
                }
                _ => return None,
            },
            _ => return None,
        }
    }
    Some(refers)
}

/// Returns the channel of a write, given the content of its record.
fn channel_of(content: &[u8]) -> Option<&str> {
    let mut reader = Reader::new(content);
    match reader.token().ok()? {
        Token::Array(4..) => reader.text("a channel").ok(),
        _ => None,
    }
}

fn pass_name(reader: &mut Reader<'_>, name: &str) -> Option<()> {
    (reader.text("a name").ok()? == name).then_some(())
}
