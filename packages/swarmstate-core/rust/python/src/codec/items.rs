//! Lists and dicts of which it matters where their items end.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::decode::{Decoder, enter};
use super::guard::CollectorPause;
use super::keys;
use super::policy::Policy;
use super::read::Token;

/// A list or dict, and where each of its items (keys with their values) ends in the data.
pub struct Items<'py> {
    pub value: Bound<'py, PyAny>,
    pub ends: Vec<usize>,
}

/// Decode `data` as `decode` does and say where its items end, if it is a list
/// or a map whose keys are strings.
pub fn decode_items<'py>(
    py: Python<'py>,
    data: &[u8],
    policy: &Policy,
) -> PyResult<Option<Items<'py>>> {
    let _entry = enter()?;
    let _pause = CollectorPause::for_size(py, data.len());
    let mut decoder = Decoder::new(py, data, policy);
    let mut ends = Vec::new();
    let value = match decoder.reader.token()? {
        Token::Array(len) => {
            decoder.open(0)?;
            let mut items = Vec::with_capacity(len);
            for _ in 0..len {
                items.push(decoder.run(0)?);
                ends.push(decoder.reader.pos);
            }
            PyList::new(py, items)?.into_any()
        }
        Token::Map(len) => {
            decoder.open(0)?;
            let dict = PyDict::new(py);
            for _ in 0..len {
                let start = decoder.reader.pos;
                let Token::Str(key) = decoder.reader.token()? else {
                    return Ok(None);
                };
                dict.set_item(keys::key(py, key, start)?, decoder.run(0)?)?;
                ends.push(decoder.reader.pos);
            }
            dict.into_any()
        }
        _ => return Ok(None),
    };
    decoder.finish()?;
    Ok(Some(Items { value, ends }))
}
