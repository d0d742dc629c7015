//! Reads a model's fields for [`Rebuild`], as long as each matches the shape from its schema.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyType};

use super::Plan;
use super::rebuild::Rebuild;
use super::shape::{Entries, Shape};
use crate::codec::build::find;
use crate::codec::decode::{Decoder, Met};
use crate::codec::head::Head;
use crate::codec::keys;
use crate::codec::read::Token;
use crate::codec::wire::ext;

/// The name of the method that ends the description of a model, as written.
const METHOD: &[u8] = b"\xb3model_validate_json";

/// Up to this many classes per call are searched linearly; usually there are fewer.
const FEW_CLASSES: usize = 16;

impl<'a, 'py> Decoder<'a, 'py, '_> {
    /// Read the rest of an ext that describes a model and rebuild it. Returns None, with the reader
    /// moved back, if it takes the general path.
    pub fn model(&mut self, plan: Option<Arc<Plan>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(rebuild) = plan.as_ref().and_then(|plan| plan.rebuild.as_ref()) else {
            return Ok(None);
        };
        let (pos, depth, room) = (self.reader.pos, self.depth, self.room);
        let values = self.values.len();
        self.in_model = true;
        // If the bytes are damaged, the general path reports it best.
        let fields = self.payload(rebuild).ok().flatten();
        self.in_model = false;
        (self.depth, self.room) = (depth, room);
        if let Some(fields) = fields
            && rebuild.rule.holds(&fields)?
        {
            return rebuild.instance(&fields).map(Some);
        }
        self.values.truncate(values);
        self.reader.pos = pos;
        Ok(None)
    }

    /// Read the head of an ext that describes a model, and find how to rebuild it if that is
    /// allowed without asking. Both are done once per class and call.
    pub fn model_head(&mut self) -> PyResult<(Head<'a>, Option<Arc<Plan>>)> {
        let reader = &mut self.reader;
        if let Some(met) = self.met.iter().find(|met| reader.pass(met.bytes)) {
            return Ok((met.head, met.plan.clone()));
        }
        let start = reader.pos;
        let head = Head::read(reader, ext::PYDANTIC_V2)?;
        let bytes = reader.since(start);
        if let Some(plan) = self.met_later.get(bytes) {
            return Ok((head, plan.clone()));
        }
        let plan = self.look_up(&head).ok().flatten();
        if self.met.len() < FEW_CLASSES {
            let plan = plan.clone();
            self.met.push(Met { bytes, head, plan });
        } else {
            self.met_later.insert(bytes, plan.clone());
        }
        Ok((head, plan))
    }

    fn look_up(&self, head: &Head<'a>) -> PyResult<Option<Arc<Plan>>> {
        let py = self.py;
        if !self.policy.allows_silently(py, head.module, head.name)? {
            return Ok(None);
        }
        match find(py, head.module, head.name)?.cast::<PyType>() {
            Ok(class) => super::plan_of(class),
            Err(_) => Ok(None),
        }
    }

    fn payload(&mut self, rebuild: &Rebuild) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Token::Map(len) = self.reader.token()? else {
            return Ok(None);
        };
        if len != rebuild.fields.fields.len() {
            return Ok(None);
        }
        // The payload is an array around the map.
        self.depth = 2;
        let dict = rebuild.blank.bind(self.py).copy()?;
        for field in &rebuild.fields.fields {
            if !self.reader.pass(&field.encoded) {
                return Ok(None);
            }
            let Some(value) = self.shaped(&field.shape)? else {
                return Ok(None);
            };
            dict.set_item(&field.key, value)?;
        }
        let is_end = self.reader.pass(METHOD) && self.reader.pos == self.reader.limit;
        Ok(is_end.then_some(dict))
    }

    /// Read a value if it matches a shape; otherwise return None.
    fn shaped(&mut self, shape: &Shape) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.py;
        if let Shape::Any = shape {
            return self.tree();
        }
        let start = self.reader.pos;
        let token = self.reader.token()?;
        self.token_shaped(shape, token, start, py)
    }

    fn token_shaped(
        &mut self,
        shape: &Shape,
        token: Token<'a>,
        start: usize,
        py: Python<'py>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match (shape, token) {
            (Shape::Str, Token::Str(text)) => Some(keys::string(py, text, start)?.into_any()),
            (Shape::Literal(expected), Token::Str(text)) => {
                if !expected.iter().any(|choice| choice.as_bytes() == text) {
                    return Ok(None);
                }
                Some(keys::key(py, text, start)?.into_any())
            }
            (Shape::None | Shape::Nullable(_), Token::Nil) => Some(py.None().into_bound(py)),
            (Shape::Nullable(inner), token) => return self.token_shaped(inner, token, start, py),
            (Shape::Bool, Token::Bool(truth)) => Some(PyBool::new(py, truth).to_owned().into_any()),
            (Shape::Union(choices), token) => {
                let Some(choice) = choices.iter().find(|choice| choice.may_be(&token)) else {
                    return Ok(None);
                };
                return self.token_shaped(choice, token, start, py);
            }
            (Shape::List(items), Token::Array(len)) => return self.shaped_list(items, len, start),
            (Shape::Dict { keys, values }, Token::Map(len)) => {
                return self.shaped_dict(keys, values, len, start);
            }
            (Shape::TypedDict(entries), Token::Map(len)) => {
                return self.typed_dict(entries, len, start);
            }
            (Shape::Any, _)
            | (Shape::Int, Token::Int(_) | Token::Uint(_))
            | (Shape::Float, Token::Float(_))
            | (Shape::Bytes, Token::Bin(_)) => {
                self.reader.pos = start;
                return self.tree();
            }
            _ => None,
        })
    }

    fn shaped_list(
        &mut self,
        items: &Shape,
        len: usize,
        start: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.enter(start)? {
            return Ok(None);
        }
        let base = self.values.len();
        for _ in 0..len {
            match self.shaped(items)? {
                Some(item) => self.values.push(item),
                None => return Ok(None),
            }
        }
        self.leave();
        let list = PyList::new(self.py, self.values.drain(base..))?;
        Ok(Some(list.into_any()))
    }

    fn shaped_dict(
        &mut self,
        key_shape: &Shape,
        values: &Shape,
        len: usize,
        start: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.enter(start)? {
            return Ok(None);
        }
        let dict = PyDict::new(self.py);
        for _ in 0..len {
            let at = self.reader.pos;
            let key = match (key_shape, self.reader.token()?) {
                (Shape::Any | Shape::Str, Token::Str(text)) => {
                    keys::key(self.py, text, at)?.into_any()
                }
                (Shape::Any, Token::Nil | Token::Bool(_) | Token::Int(_) | Token::Uint(_)) => {
                    self.reader.pos = at;
                    match self.tree()? {
                        Some(key) => key,
                        None => return Ok(None),
                    }
                }
                _ => return Ok(None),
            };
            match self.shaped(values)? {
                Some(value) => dict.set_item(key, value)?,
                None => return Ok(None),
            }
        }
        self.leave();
        Ok(Some(dict.into_any()))
    }

    /// Read a dict whose known keys are in the order of the schema, followed by others.
    fn typed_dict(
        &mut self,
        entries: &Entries,
        len: usize,
        start: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.enter(start)? {
            return Ok(None);
        }
        let dict = PyDict::new(self.py);
        let mut next = 0;
        for _ in 0..len {
            if let Some(field) = entries.fields.get(next)
                && self.reader.pass(&field.encoded)
            {
                let Some(value) = self.shaped(&field.shape)? else {
                    return Ok(None);
                };
                dict.set_item(&field.key, value)?;
                next += 1;
                continue;
            }
            let name = self.reader.text("a key")?;
            // Optional keys may be skipped.
            let skipped = entries.fields[next..]
                .iter()
                .position(|field| field.name == name || field.required);
            let value = match skipped.map(|skipped| &entries.fields[next + skipped]) {
                Some(field) if field.name == name => {
                    next += skipped.unwrap_or_default() + 1;
                    match self.shaped(&field.shape)? {
                        Some(value) => {
                            dict.set_item(&field.key, value)?;
                            continue;
                        }
                        None => return Ok(None),
                    }
                }
                None if entries.extra && entries.find(name, 0).is_none() => {
                    next = entries.fields.len();
                    self.tree()?
                }
                _ => return Ok(None),
            };
            match value {
                Some(value) => dict.set_item(keys::key(self.py, name.as_bytes(), start)?, value)?,
                None => return Ok(None),
            }
        }
        self.leave();
        let complete = dict.len() == len && entries.fields[next..].iter().all(|f| !f.required);
        Ok(complete.then(|| dict.into_any()))
    }
}

impl Shape {
    /// Return whether this choice of a union is the one for a value that begins with `token`.
    fn may_be(&self, token: &Token<'_>) -> bool {
        match (self, token) {
            (Self::Literal(expected), Token::Str(text)) => {
                expected.iter().any(|choice| choice.as_bytes() == *text)
            }
            (Self::Str, Token::Str(_))
            | (Self::None, Token::Nil)
            | (Self::Bool, Token::Bool(_))
            | (Self::Int, Token::Int(_) | Token::Uint(_))
            | (Self::Float, Token::Float(_))
            | (Self::Bytes, Token::Bin(_))
            | (Self::List(_), Token::Array(_))
            | (Self::Dict { .. }, Token::Map(_)) => true,
            _ => false,
        }
    }
}
