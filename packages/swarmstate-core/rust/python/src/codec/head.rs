//! The head of an ext payload, which names the class of its object.

use pyo3::prelude::*;

use super::error::damaged;
use super::read::{Reader, Token};
use super::wire::ext;

/// The class that an ext names.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub module: &'a str,
    pub name: &'a str,
    pub has_method: bool,
}

impl<'a> Head<'a> {
    /// Read the head of an ext payload, up to what the object is built from.
    pub fn read(reader: &mut Reader<'a>, code: i8) -> PyResult<Self> {
        let start = reader.pos;
        let has_method = matches!(code, ext::METHOD | ext::PYDANTIC_V2);
        let expected = if has_method { 4 } else { 3 };
        match reader.token()? {
            Token::Array(len) if len == expected => {}
            other => {
                return Err(damaged(
                    start,
                    format_args!(
                        "expected an array of {expected} describing an object, found {}",
                        other.describe()
                    ),
                ));
            }
        }
        let module = reader.text("a class module")?;
        let name = reader.text("a class name")?;
        Ok(Self {
            module,
            name,
            has_method,
        })
    }

    /// Return whether the payload is the items of a builtin set.
    pub fn is_set(&self) -> bool {
        self.module == "builtins" && matches!(self.name, "set" | "frozenset")
    }
}
