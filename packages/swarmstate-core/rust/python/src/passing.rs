//! Finds items of long-term memory that a filter certainly rejects, without decoding them.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};

use crate::codec::{Reader, Token};

/// Values nested more deeply are left to the decoder.
const MAX_DEPTH: usize = 16;

/// The minimum demands of a search's filter: some of its names, with the values they must equal.
///
/// It only rejects values for which a look at plain msgpack is enough. The final decision, and any
/// error, is left to the code that decodes and compares values.
pub struct Demands(Vec<(String, Scalar)>);

/// A value in a filter or an item.
enum Scalar {
    Nil,
    /// True is 1.
    Int(i128),
    Float(f64),
    Text(String),
}

impl Demands {
    /// Returns the demands recognized in a filter, which may have more.
    pub fn of(filter: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut demands = Vec::new();
        for (name, wanted) in filter {
            let wanted = match wanted.cast_exact::<PyDict>() {
                Ok(operators) => operators.get_item("$eq")?,
                Err(_) => Some(wanted),
            };
            if let Ok(name) = name.cast_exact::<PyString>()
                && let Ok(name) = name.to_str()
                && let Some(scalar) = wanted.as_ref().and_then(Scalar::of)
            {
                demands.push((name.to_owned(), scalar));
            }
        }
        // As many as there are bits to track them.
        demands.truncate(64);
        Ok(Self(demands))
    }

    /// Returns whether an encoded value certainly does not match.
    pub fn refuse(&self, data: &[u8]) -> bool {
        !self.0.is_empty() && self.passes(data) == Some(false)
    }

    /// Returns None if that cannot be decided.
    fn passes(&self, data: &[u8]) -> Option<bool> {
        let mut reader = Reader::new(data);
        let Token::Map(len) = reader.token().ok()? else {
            return None;
        };
        let (mut seen, mut passes) = (0_u64, true);
        for _ in 0..len {
            let name = text(&reader.token().ok()?)?;
            let place = self.0.iter().position(|(demanded, _)| demanded == name);
            let token = reader.token().ok()?;
            if let Some(place) = place {
                if seen & 1 << place != 0 {
                    return None;
                }
                seen |= 1 << place;
                passes &= self.0[place].1.may_equal(&token);
            }
            skip_rest(&mut reader, &token, MAX_DEPTH)?;
        }
        for (place, (_, wanted)) in self.0.iter().enumerate() {
            // A missing value counts as None.
            passes &= seen & 1 << place != 0 || matches!(wanted, Scalar::Nil);
        }
        (reader.pos == data.len()).then_some(passes)
    }
}

impl Scalar {
    /// Returns None for other values, which may define equality in any way.
    fn of(value: &Bound<'_, PyAny>) -> Option<Self> {
        if value.is_none() {
            Some(Self::Nil)
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            text.to_str().ok().map(|text| Self::Text(text.to_owned()))
        } else if let Ok(float) = value.cast_exact::<PyFloat>() {
            Some(Self::Float(float.value()))
        } else if value.is_exact_instance_of::<PyInt>() || value.is_exact_instance_of::<PyBool>() {
            value.extract().ok().map(|int: i64| Self::Int(int.into()))
        } else {
            None
        }
    }

    /// Returns whether Python might find it equal to the value of a token.
    fn may_equal(&self, token: &Token<'_>) -> bool {
        match (self, token) {
            (Self::Nil, Token::Nil) => true,
            (Self::Text(wanted), Token::Str(found)) => wanted.as_bytes() == *found,
            (Self::Int(wanted), Token::Bool(found)) => *wanted == i128::from(*found),
            (Self::Int(wanted), Token::Int(found)) => *wanted == i128::from(*found),
            (Self::Int(wanted), Token::Uint(found)) => *wanted == i128::from(*found),
            (Self::Float(wanted), Token::Float(found)) => wanted == found,
            // Only Python decides how numbers of different types compare, and whether bytes can be
            // compared with text.
            (
                Self::Int(_) | Self::Float(_),
                Token::Bool(_) | Token::Int(_) | Token::Uint(_) | Token::Float(_),
            )
            | (Self::Text(_), Token::Bin(_)) => true,
            _ => false,
        }
    }
}

fn text<'a>(token: &Token<'a>) -> Option<&'a str> {
    match token {
        Token::Str(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Skips the rest of a value that begins with a token; None if it is not plain data.
fn skip_rest(reader: &mut Reader<'_>, token: &Token<'_>, depth: usize) -> Option<()> {
    let (keys, values) = match token {
        Token::Ext(..) => return None,
        Token::Str(_) => return text(token).map(drop),
        Token::Array(len) => (false, *len),
        Token::Map(len) => (true, *len),
        _ => return Some(()),
    };
    for _ in 0..values {
        if keys {
            text(&reader.token().ok()?)?;
        }
        let value = reader.token().ok()?;
        skip_rest(reader, &value, depth.checked_sub(1)?)?;
    }
    Some(())
}
