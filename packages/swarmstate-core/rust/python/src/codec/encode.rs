//! Encodes a Python value to bytes.
//!
//! The encoder keeps its own stack of open containers, so nesting costs heap and never native
//! stack. Everything is written to one buffer: an ext's payload follows reserved room for its
//! header.

use std::cell::Cell;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString, PyTuple, PyType};

use super::cursor::DictCursor;
use super::error::{EncodeError, class_name, is_ordinary};
use super::foreign::{Base, plain_base};
use super::frame::{Frame, Map, Step, path};
use super::guard::Entry;
use super::models::{Plan, plan_of};
use super::policy::Policy;
use super::scalars::{int, scalar};
use super::wire::{self, MAX_DEPTH, MAX_EXT_DEPTH, ext};
use super::write_tree::Tree;

/// How classes met before are written; for one call or several in a row.
pub type Plans<'py> = Vec<(Bound<'py, PyType>, Option<Arc<Plan>>)>;

pub struct Encoder<'py, 'p> {
    pub py: Python<'py>,
    pub out: Vec<u8>,
    pub frames: Vec<Frame<'py>>,
    /// Number of open containers in the current payload.
    pub depth: usize,
    pub ext_depth: usize,
    pub policy: &'p Policy,
    /// How the classes met so far are written.
    plans: Plans<'py>,
    /// Whether the current value is in a model that is written from its instance dict.
    pub in_model: bool,
    /// A value to write before the innermost frame goes on.
    pending: Option<Bound<'py, PyAny>>,
}

pub fn refused(reason: impl Into<String>) -> PyErr {
    EncodeError::new_err(reason.into())
}

pub fn fits(written: bool) -> PyResult<()> {
    if written {
        Ok(())
    } else {
        Err(refused("it is larger than the 4 GiB that msgpack allows"))
    }
}

/// Levels of containers that are written recursively.
pub const ROOM: usize = 32;

/// Enough for a small state, so that its buffer never grows.
const INITIAL_CAPACITY: usize = 1024;

/// Encode `value`; see `swarmstate.dumps`.
pub fn encode(value: &Bound<'_, PyAny>, policy: &Policy) -> PyResult<Vec<u8>> {
    let mut out = Vec::with_capacity(INITIAL_CAPACITY);
    encode_into(&mut out, value, policy, 0, &mut Plans::new())?;
    Ok(out)
}

thread_local! {
    /// The buffer of the last call on this thread, unless it grew large.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encode `value` through a reusable buffer.
pub fn encode_to_bytes<'py>(
    value: &Bound<'py, PyAny>,
    policy: &Policy,
) -> PyResult<Bound<'py, PyBytes>> {
    const MAX_KEPT: usize = 1 << 20;
    let mut out = BUFFER.take();
    out.clear();
    encode_into(&mut out, value, policy, 0, &mut Plans::new())?;
    let bytes = PyBytes::new(value.py(), &out);
    if out.capacity() <= MAX_KEPT {
        BUFFER.set(out);
    }
    Ok(bytes)
}

/// Append `value` to `out`, as a value nested in `depth` containers.
pub fn encode_into<'py>(
    out: &mut Vec<u8>,
    value: &Bound<'py, PyAny>,
    policy: &Policy,
    depth: usize,
    plans: &mut Plans<'py>,
) -> PyResult<()> {
    let mut encoder = Encoder {
        py: value.py(),
        out: std::mem::take(out),
        frames: Vec::new(),
        depth,
        ext_depth: 0,
        policy,
        plans: std::mem::take(plans),
        in_model: false,
        pending: None,
    };
    // Scalars need no stack and call no hooks.
    if !scalar(&mut encoder.out, value)? {
        let Some(_entry) = Entry::new() else {
            return Err(refused(
                "the codec was re-entered from its own hooks too many times; a hook such as \
                 model_dump must not encode its own object",
            ));
        };
        encoder.run(value)?;
    }
    *out = encoder.out;
    *plans = encoder.plans;
    Ok(())
}

impl<'py> Encoder<'py, '_> {
    fn run(&mut self, root: &Bound<'py, PyAny>) -> PyResult<()> {
        self.whole(root)?;
        loop {
            let step = match self.step() {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.located(root, error)),
            };
            match step {
                Step::Value(value) => self.whole(&value)?,
                Step::Close => self.close().map_err(|error| self.located(root, error))?,
                Step::AsPairs => {
                    self.restart_as_pairs()
                        .map_err(|error| self.located(root, error))?;
                }
            }
        }
    }

    /// Advance the innermost frame, writing its scalars, up to the next value that is not one.
    fn step(&mut self) -> PyResult<Option<Step<'py>>> {
        match self.frames.last_mut() {
            Some(frame) => frame.advance(&mut self.out).map(Some),
            None => Ok(None),
        }
    }

    /// Write a value up to the point where the innermost frame continues.
    fn whole(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        self.value(value)
            .map_err(|error| self.located(value, error))?;
        while let Some(value) = self.pending.take() {
            self.general(&value)
                .map_err(|error| self.located(&value, error))?;
        }
        Ok(())
    }

    /// Write a value up to its first part that is not a plain tree, which is then pending.
    pub fn value(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        let base = self.frames.len();
        let Tree::Open(unwritten) = self.tree(value, ROOM)? else {
            return Ok(());
        };
        self.frames[base..].reverse();
        self.pending = unwritten;
        Ok(())
    }

    /// Return how a model is written from its instance dict, if its class allows that.
    pub fn plan(&mut self, model: &Bound<'py, PyAny>) -> PyResult<Option<Arc<Plan>>> {
        if self.in_model {
            return Ok(None);
        }
        let class = model.get_type();
        if class.get_type().is(self.py.get_type::<PyType>()) {
            return Ok(None);
        }
        if let Some((_, plan)) = self.plans.iter().find(|(known, _)| known.is(&class)) {
            return Ok(plan.clone());
        }
        let mut plan = plan_of(&class)?;
        if let Some(found) = &plan
            && self
                .policy
                .check_write(&class, &found.module, &found.name)
                .is_err()
        {
            // The general path rejects it, with an error that says where it is.
            plan = None;
        }
        self.plans.push((class, plan.clone()));
        Ok(plan)
    }

    /// Write a value that is not a plain tree, or too deep to be written as one.
    fn general(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            return self.dict(dict);
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            return self.list(list);
        }
        if scalar(&mut self.out, value)? {
            return Ok(());
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.open()?;
            fits(wire::write_array_header(&mut self.out, tuple.len()))?;
            self.frames.push(Frame::Tuple {
                items: tuple.clone(),
                next: 0,
            });
            return Ok(());
        }
        if let Ok(text) = value.cast_exact::<PyString>() {
            return self.surrogates(text);
        }
        if let Ok(number) = value.cast_exact::<PyInt>() {
            return self.big_int(number);
        }
        match plain_base(value)? {
            Some(Base::Str) => {
                let text = value.cast::<PyString>()?;
                match text.to_str() {
                    Ok(text) => fits(wire::write_str(&mut self.out, text)),
                    Err(_) => self.surrogates(text),
                }
            }
            Some(Base::Int) => {
                let number = value.cast::<PyInt>()?;
                if int(&mut self.out, number)? {
                    Ok(())
                } else {
                    self.big_int(number)
                }
            }
            Some(Base::List) => self.list(value.cast::<PyList>()?),
            Some(Base::Dict) => self.dict(value.cast::<PyDict>()?),
            None => self.object(value),
        }
    }

    fn list(&mut self, list: &Bound<'py, PyList>) -> PyResult<()> {
        let len = list.len();
        self.open()?;
        fits(wire::write_array_header(&mut self.out, len))?;
        self.frames.push(Frame::List {
            items: list.clone(),
            next: 0,
            len,
        });
        Ok(())
    }

    pub fn dict(&mut self, dict: &Bound<'py, PyDict>) -> PyResult<()> {
        let left = dict.len();
        self.open()?;
        let start = self.out.len();
        fits(wire::write_map_header(&mut self.out, left))?;
        let cursor = DictCursor::new(dict.clone());
        self.frames.push(Frame::Map(Map {
            cursor,
            start,
            left,
            key: None,
            value: None,
        }));
        Ok(())
    }

    fn restart_as_pairs(&mut self) -> PyResult<()> {
        if let Some(Frame::Map(map)) = self.frames.pop() {
            self.depth -= 1;
            self.out.truncate(map.start);
            self.begin_ext(ext::PAIRS, None, false)?;
            self.pairs(map.cursor.restart())?;
        }
        Ok(())
    }

    fn pairs(&mut self, cursor: DictCursor<'py>) -> PyResult<()> {
        let left = cursor.len();
        self.open()?;
        fits(wire::write_array_header(&mut self.out, left * 2))?;
        let key = self.py.None().into_bound(self.py);
        self.frames.push(Frame::Pairs {
            cursor,
            left,
            key,
            value: None,
        });
        Ok(())
    }

    /// Count one more open container.
    fn open(&mut self) -> PyResult<()> {
        if self.depth == MAX_DEPTH {
            return Err(refused(format!(
                "containers are nested more than {MAX_DEPTH} levels deep; is the value cyclic?"
            )));
        }
        self.depth += 1;
        Ok(())
    }

    /// Begin an ext; its payload is written next, and closing its frame completes it.
    pub fn begin_ext(
        &mut self,
        code: i8,
        method: Option<&'static str>,
        fields: bool,
    ) -> PyResult<()> {
        if self.ext_depth == MAX_EXT_DEPTH {
            return Err(refused(format!(
                "objects are nested more than {MAX_EXT_DEPTH} levels deep; is the value cyclic?"
            )));
        }
        self.ext_depth += 1;
        let start = wire::begin_ext(&mut self.out);
        self.frames.push(Frame::Ext {
            start,
            code,
            method,
            depth: self.depth,
            fields,
        });
        self.depth = 0;
        Ok(())
    }

    /// Complete the innermost frame, all of whose content is written.
    fn close(&mut self) -> PyResult<()> {
        match self.frames.pop() {
            Some(Frame::Ext {
                start,
                code,
                method,
                depth,
                ..
            }) => {
                if let Some(method) = method {
                    fits(wire::write_str(&mut self.out, method))?;
                }
                self.depth = depth;
                self.ext_depth -= 1;
                fits(wire::end_ext(&mut self.out, start, code))
            }
            _ => {
                self.depth -= 1;
                Ok(())
            }
        }
    }

    /// Add the value and its location to an error.
    #[cold]
    fn located(&self, value: &Bound<'py, PyAny>, error: PyErr) -> PyErr {
        let py = self.py;
        if !is_ordinary(py, &error)
            || error.is_instance_of::<pyo3::exceptions::PyMemoryError>(py)
            || error.is_instance_of::<super::error::TypeNotAllowedError>(py)
        {
            return error;
        }
        let path = path(&self.frames);
        let class = class_name(value.get_type().as_any());
        let reason = error.value(py).to_string();
        let kind = class_name(error.get_type(py).as_any());
        let is_ours = error.is_instance_of::<EncodeError>(py)
            || error.is_instance_of::<pyo3::exceptions::PyTypeError>(py);
        let reason = if is_ours {
            reason
        } else {
            format!("{kind}: {reason}")
        };
        let located = refused(format!("cannot encode {class} at {path}: {reason}"));
        located.set_cause(py, Some(error));
        located
    }
}
