//! Reads exts: objects that are not plain data.

use pyo3::prelude::*;

use super::decode::{Decoder, Frame, Use};
use super::error::{TypeNotAllowedError, damaged, is_ordinary};
use super::head::Head;
use super::wire::{MAX_EXT_DEPTH, ext};
use super::{bare, build};

impl<'py> Decoder<'_, 'py, '_> {
    /// Open an ext, or return its object if that can be rebuilt at once.
    pub fn open_ext(
        &mut self,
        start: usize,
        code: i8,
        len: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.role() == Use::Key {
            return Err(damaged(
                start,
                format_args!("expected a map key, found an ext"),
            ));
        }
        if self.ext_depth == MAX_EXT_DEPTH {
            return Err(damaged(
                start,
                format_args!("expected at most {MAX_EXT_DEPTH} nested exts, found more"),
            ));
        }
        let limit = self.reader.limit;
        self.reader.limit = self.reader.pos + len;
        let (head, depth) = match code {
            ext::PYDANTIC_V2 => {
                let (head, plan) = self.model_head()?;
                if let Some(model) = self.model(plan)? {
                    self.reader.limit = limit;
                    return Ok(Some(model));
                }
                (Some(head), 1)
            }
            ext::CONSTRUCT_ONE..=ext::PYDANTIC_V1 => (Some(Head::read(&mut self.reader, code)?), 1),
            ext::NUMPY | ext::DELTA_SNAPSHOT | ext::BIG_INT..=ext::ELLIPSIS => (None, 0),
            _ => {
                return Err(damaged(
                    start,
                    format_args!(
                        "expected a known ext code, found {code}; was this written by a newer version, or \
                         through an encrypted or compressed store?"
                    ),
                ));
            }
        };
        self.ext_depth += 1;
        self.frames.push(Frame::Ext {
            code,
            head,
            limit,
            depth: self.depth,
        });
        self.depth = depth;
        Ok(None)
    }

    /// Build the value of an ext from its payload.
    pub fn close_ext(&mut self, payload: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let Some(Frame::Ext {
            code,
            head,
            limit,
            depth,
        }) = self.frames.pop()
        else {
            return Ok(payload);
        };
        let method = match &head {
            Some(head) if head.has_method => Some(self.reader.text("a method name")?),
            _ => None,
        };
        let end = self.reader.limit;
        if self.reader.pos != end {
            return Err(damaged(
                self.reader.pos,
                format_args!(
                    "expected the end of an ext payload, found {} more bytes",
                    end - self.reader.pos
                ),
            ));
        }
        self.reader.limit = limit;
        self.depth = depth;
        self.ext_depth -= 1;
        self.is_plain = false;
        match head {
            Some(head) => build::build(self.policy, code, &head, method, payload),
            None => bare::build(self.policy, code, &payload)
                .map_err(|error| self.misfit(code, end, error)),
        }
    }

    /// Return the error for a payload from which its ext cannot be built.
    fn misfit(&self, code: i8, end: usize, error: PyErr) -> PyErr {
        if !is_ordinary(self.py, &error) || error.is_instance_of::<TypeNotAllowedError>(self.py) {
            return error;
        }
        let failure = damaged(
            end,
            format_args!("expected the payload of ext {code} before this: {error}"),
        );
        failure.set_cause(self.py, Some(error));
        failure
    }
}
