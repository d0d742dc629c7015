//! Joining the pieces of a value again.

use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PySequence, PyString, PyTuple};
use swarmstate_engine::BlobHash;

use super::parts::{Cut, Item, Kind, Part, Stored};
use super::shadow::{Classes, Shadow};
use crate::codec::{Codec, Items};

import_exception!(swarmstate.errors, CheckpointError);

/// A piece of an encoding: where it ends, and its blob if it lies in one.
struct Piece {
    end: usize,
    blob: Option<BlobHash>,
}

/// Decode a value from its entry, and say how it was cut if that is to be remembered,
/// which `classes` is there for.
pub(super) fn join<'py>(
    codec: &Codec,
    name: &str,
    entry: &Bound<'py, PyAny>,
    blobs: &Bound<'py, PyDict>,
    classes: Option<&mut Classes<'py>>,
) -> PyResult<(Bound<'py, PyAny>, Option<Cut>)> {
    let py = entry.py();
    let parts = entry.cast::<PySequence>()?.to_tuple()?;
    let first = parts.get_item(0)?;
    let tag = first.cast::<PyString>()?.to_str()?;
    if parts.len() == 2
        && let Ok(data) = parts.get_item(1)?.cast::<PyBytes>()
    {
        return Ok((decode(codec, tag, data.as_bytes(), py)?, None));
    }
    let mut data = Vec::new();
    let mut pieces = Vec::with_capacity(parts.len());
    for piece in parts.iter().skip(1) {
        if let Ok(bytes) = piece.cast::<PyBytes>() {
            data.extend_from_slice(bytes.as_bytes());
            pieces.push(Piece {
                end: data.len(),
                blob: None,
            });
            continue;
        }
        for hash in hashes(&piece)? {
            data.extend_from_slice(find(name, hash, blobs)?.as_bytes());
            pieces.push(Piece {
                end: data.len(),
                blob: Some(hash),
            });
        }
    }
    let Some(classes) = classes else {
        return Ok((decode(codec, tag, &data, py)?, None));
    };
    if tag != "msgpack" || pieces.len() == 1 {
        let value = decode(codec, tag, &data, py)?;
        let cut = Cut::of_whole(parts.unbind(), Shadow::of(classes, &value)?);
        return Ok((value, Some(cut)));
    }
    match codec.decode_items(py, &data)? {
        Some(Items { value, ends }) => {
            let cut = cut_of(classes, &parts, &value, &ends, &pieces, &data)?;
            Ok((value, cut))
        }
        None => Ok((codec.decode(py, &data)?, None)),
    }
}

/// The blobs that a piece refers to: the only item of a list is their hashes, one after another.
pub(super) fn hashes(piece: &Bound<'_, PyAny>) -> PyResult<Vec<BlobHash>> {
    let hashes = piece.cast::<PySequence>()?.get_item(0)?;
    BlobHash::read_all(hashes.cast::<PyBytes>()?.as_bytes())
        .ok_or_else(|| CheckpointError::new_err("a reference to blobs is cut short"))
}

/// The bytes of a blob, checked against its hash.
fn find<'py>(
    name: &str,
    hash: BlobHash,
    blobs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyBytes>> {
    let problem = match blobs.get_item(hash.name())? {
        Some(data) if !data.is_none() => {
            let data = data.cast_into::<PyBytes>()?;
            if BlobHash::of(data.as_bytes()) == hash {
                return Ok(data);
            }
            "whose bytes are damaged"
        }
        _ => "which is missing",
    };
    Err(CheckpointError::new_err(format!(
        "channel {name:?} refers to blob {:?}, {problem}",
        hash.name()
    )))
}

fn decode<'py>(
    codec: &Codec,
    tag: &str,
    data: &[u8],
    py: Python<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    match tag {
        "null" => Ok(py.None().into_bound(py)),
        "bytes" => Ok(PyBytes::new(py, data).into_any()),
        "bytearray" => Ok(PyByteArray::new(py, data).into_any()),
        _ => codec.decode(py, data),
    }
}

/// How a list or dict that was just decoded is cut, if items and pieces begin alike.
fn cut_of<'py>(
    classes: &mut Classes<'py>,
    entry: &Bound<'py, PyTuple>,
    value: &Bound<'py, PyAny>,
    ends: &[usize],
    pieces: &[Piece],
    data: &[u8],
) -> PyResult<Option<Cut>> {
    let (kind, items) = if let Ok(list) = value.cast_exact::<PyList>() {
        let items = list.iter().map(|value| item(classes, None, &value));
        (Kind::List, items.collect::<PyResult<Vec<_>>>()?)
    } else {
        let items = value.cast::<PyDict>()?.iter();
        let items = items.map(|(key, value)| item(classes, Some(key), &value));
        (Kind::Dict, items.collect::<PyResult<Vec<_>>>()?)
    };
    if items.len() != ends.len() {
        return Ok(None);
    }
    let mut parts = Vec::with_capacity(pieces.len());
    let mut items = items.into_iter();
    let mut taken = 0;
    let mut start = 0;
    for piece in pieces {
        let count = ends[taken..].partition_point(|end| *end <= piece.end);
        let is_header = taken == 0 && start == 0;
        let ends_with_item = count > 0 && ends[taken + count - 1] == piece.end;
        let is_bare_header = is_header && count == 0 && piece.blob.is_none();
        if !ends_with_item && !is_bare_header {
            return Ok(None);
        }
        match &piece.blob {
            Some(blob) => parts.push(Part {
                items: items.by_ref().take(count).collect(),
                bytes: piece.end - start,
                stored: Stored::Blob(*blob),
            }),
            // Items in the record itself were cut one by one.
            None => {
                let mut from = taken.checked_sub(1).map_or(header(data), |last| ends[last]);
                for (item, end) in items.by_ref().take(count).zip(&ends[taken..]) {
                    parts.push(Part {
                        items: vec![item],
                        bytes: end - from,
                        stored: Stored::Inline(data[from..*end].into()),
                    });
                    from = *end;
                }
            }
        }
        taken += count;
        start = piece.end;
    }
    Ok(Some(Cut::of_parts(entry.clone().unbind(), kind, parts)))
}

/// The size of the header of a list or dict.
fn header(data: &[u8]) -> usize {
    match data.first() {
        Some(0xdc | 0xde) => 3,
        Some(0xdd | 0xdf) => 5,
        _ => 1,
    }
}

fn item<'py>(
    classes: &mut Classes<'py>,
    key: Option<Bound<'py, PyAny>>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Item> {
    Ok(Item {
        key: key.map(Bound::unbind),
        shadow: Shadow::of(classes, value)?,
    })
}
