//! What the encoder has open, and where in the value that is.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::cursor::DictCursor;

/// A container or ext that is being written.
pub enum Frame<'py> {
    List {
        items: Bound<'py, PyList>,
        next: usize,
        len: usize,
    },
    Tuple {
        items: Bound<'py, PyTuple>,
        next: usize,
    },
    Map(Map<'py>),
    /// A dict as alternating keys and values, for keys that a msgpack map cannot hold.
    Pairs {
        cursor: DictCursor<'py>,
        left: usize,
        key: Bound<'py, PyAny>,
        value: Option<Bound<'py, PyAny>>,
    },
    /// Closed once the value after its head is written; then the method follows, if any.
    Ext {
        start: usize,
        code: i8,
        method: Option<&'static str>,
        depth: usize,
        fields: bool,
    },
}

pub struct Map<'py> {
    pub cursor: DictCursor<'py>,
    /// Where the map began in the output, to start again as pairs.
    pub start: usize,
    pub left: usize,
    /// The key whose value is being written; for messages.
    pub key: Option<Bound<'py, PyAny>>,
    /// The value that follows a key which is written as a container itself.
    pub value: Option<Bound<'py, PyAny>>,
}

/// What the innermost frame wants next.
pub enum Step<'py> {
    Value(Bound<'py, PyAny>),
    Close,
    /// The innermost map holds a key that needs the pairs form.
    AsPairs,
}

/// Where the encoder stands, as one would write it in Python after the value's name.
pub fn path(frames: &[Frame<'_>]) -> String {
    /// Long paths come from cycles: their head says enough.
    const MAX_PARTS: usize = 12;
    let mut parts = Vec::new();
    let mut fields = false;
    for frame in frames {
        let label = |key: &Bound<'_, PyAny>| match key.extract::<String>() {
            Ok(name) if fields => format!(".{name}"),
            _ => format!(
                "[{}]",
                key.repr().map_or("?".to_owned(), |text| text.to_string())
            ),
        };
        match frame {
            Frame::List { next, .. } | Frame::Tuple { next, .. } if *next > 0 => {
                parts.push(format!("[{}]", next - 1));
            }
            Frame::Map(Map { key: Some(key), .. }) => parts.push(label(key)),
            Frame::Pairs { key, value, .. } => {
                let note = if value.is_some() {
                    " (the key itself)"
                } else {
                    ""
                };
                parts.push(label(key) + note);
            }
            _ => {}
        }
        fields = matches!(frame, Frame::Ext { fields: true, .. });
    }
    if parts.is_empty() {
        return "the top level".to_owned();
    }
    let more = if parts.len() > MAX_PARTS { "…" } else { "" };
    parts.truncate(MAX_PARTS);
    parts.concat() + more
}
