//! Evaluates conditions on Python objects.

use pyo3::class::basic::CompareOp;
use pyo3::exceptions::{PyIndexError, PyKeyError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use swarmstate_engine::Host;
use swarmstate_engine::condition::{Comparison, Literal, Unary};

/// The interpreter, as a host for conditions.
pub(crate) struct PythonHost<'py>(pub(crate) Python<'py>);

/// A literal of a condition or the name of a field.
pub(crate) enum Constant {
    /// An immutable value, made once.
    Fixed(Py<PyAny>),
    /// A list is created each time: an object that it is compared with may change or keep it.
    List(Vec<Constant>),
    /// A tuple that holds lists.
    Tuple(Vec<Constant>),
}

impl Constant {
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let values = |items: &[Self]| {
            let values = items.iter().map(|item| item.value(py));
            values.collect::<PyResult<Vec<_>>>()
        };
        Ok(match self {
            Self::Fixed(value) => value.bind(py).clone(),
            Self::List(items) => PyList::new(py, values(items)?)?.into_any(),
            Self::Tuple(items) => PyTuple::new(py, values(items)?)?.into_any(),
        })
    }
}

impl<'py> Host for PythonHost<'py> {
    type Value = Bound<'py, PyAny>;
    type Constant = Constant;
    type Error = PyErr;

    fn literal(&self, literal: &Literal) -> PyResult<Constant> {
        let py = self.0;
        let constants = |items: &[Literal]| {
            let constants = items.iter().map(|item| self.literal(item));
            constants.collect::<PyResult<Vec<_>>>()
        };
        Ok(Constant::Fixed(match literal {
            Literal::None => py.None(),
            Literal::Bool(value) => PyBool::new(py, *value).to_owned().into_any().unbind(),
            Literal::Int(number) => number.into_pyobject(py)?.into_any().unbind(),
            Literal::Float(number) => PyFloat::new(py, *number).into_any().unbind(),
            Literal::Str(text) => PyString::intern(py, text).into_any().unbind(),
            Literal::List(items) => return Ok(Constant::List(constants(items)?)),
            Literal::Tuple(items) => {
                let items = constants(items)?;
                let is_fixed = |item: &Constant| matches!(item, Constant::Fixed(_));
                let all_fixed = items.iter().all(is_fixed);
                let tuple = Constant::Tuple(items);
                if !all_fixed {
                    return Ok(tuple);
                }
                tuple.value(py)?.unbind()
            }
        }))
    }

    fn name(&self, name: &str) -> PyResult<Constant> {
        let name = PyString::intern(self.0, name);
        Ok(Constant::Fixed(name.into_any().unbind()))
    }

    fn value(&self, constant: &Constant) -> PyResult<Self::Value> {
        constant.value(self.0)
    }

    fn bool(&self, value: bool) -> Self::Value {
        PyBool::new(self.0, value).to_owned().into_any()
    }

    fn none(&self) -> Self::Value {
        self.0.None().into_bound(self.0)
    }

    fn is_none(&self, value: &Self::Value) -> bool {
        value.is_none()
    }

    /// Returns a mapping's value for a key, or an attribute that is not a method.
    fn field(&self, of: &Self::Value, name: &Constant) -> PyResult<Option<Self::Value>> {
        let name = &name.value(self.0)?;
        if let Ok(dict) = of.cast::<PyDict>() {
            return dict.get_item(name);
        }
        if is_plain(of) {
            return Ok(None);
        }
        if let Ok(mapping) = of.cast::<PyMapping>() {
            return absent_is_none(mapping.get_item(name));
        }
        let name = name.cast::<PyString>()?;
        let found = of.getattr_opt(name)?;
        match &found {
            Some(value) if value.is_callable() && is_method(of, name)? => Ok(None),
            _ => Ok(found),
        }
    }

    fn item(&self, of: &Self::Value, key: &Constant) -> PyResult<Option<Self::Value>> {
        let key = &key.value(self.0)?;
        if let Ok(dict) = of.cast::<PyDict>() {
            return dict.get_item(key);
        }
        let is_index = key.is_instance_of::<PyInt>();
        let is_sequence = of.is_instance_of::<PyList>()
            || of.is_instance_of::<PyTuple>()
            || of.is_instance_of::<PyString>();
        if is_sequence {
            return match is_index {
                true => absent_is_none(of.get_item(key)),
                false => Ok(None),
            };
        }
        if !of.get_type().hasattr(intern!(self.0, "__getitem__"))? {
            return Ok(None);
        }
        match of.get_item(key) {
            // Other sequences, such as deques, have no names either.
            Err(error) if !is_index && error.is_instance_of::<PyTypeError>(self.0) => Ok(None),
            found => absent_is_none(found),
        }
    }

    fn is_true(&self, value: &Self::Value) -> PyResult<bool> {
        value.is_truthy()
    }

    fn compare(
        &self,
        comparison: Comparison,
        left: &Self::Value,
        right: &Self::Value,
    ) -> PyResult<bool> {
        let operator = match comparison {
            Comparison::Equal => CompareOp::Eq,
            Comparison::NotEqual => CompareOp::Ne,
            Comparison::Less => CompareOp::Lt,
            Comparison::LessOrEqual => CompareOp::Le,
            Comparison::Greater => CompareOp::Gt,
            Comparison::GreaterOrEqual => CompareOp::Ge,
            Comparison::In => return holds(right, left),
            Comparison::NotIn => return Ok(!holds(right, left)?),
        };
        left.rich_compare(right, operator)?.is_truthy()
    }

    fn apply(&self, function: Unary, value: &Self::Value) -> PyResult<Self::Value> {
        let py = self.0;
        let method = match function {
            Unary::Len => return Ok(value.len()?.into_pyobject(py)?.into_any()),
            Unary::Lower => intern!(py, "lower"),
            Unary::Upper => intern!(py, "upper"),
        };
        text(value)?.call_method0(method)
    }

    fn with_text<T>(&self, value: &Self::Value, look: impl FnOnce(&str) -> T) -> PyResult<T> {
        let text = text(value)?;
        match text.to_str() {
            Ok(text) => Ok(look(text)),
            // A lone surrogate, as in broken JSON, is not valid UTF-8 but can occur in a str.
            Err(_) => Ok(look(&text.to_string_lossy())),
        }
    }
}

/// Returns whether a container holds a value. No text holds None, which may stand for a missing
/// value.
fn holds(container: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_none() && container.is_instance_of::<PyString>() {
        return Ok(false);
    }
    container.contains(value)
}

/// Returns whether a value is plain data, whose attributes are not state; an enum member's are.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyTuple>()
        || value.is_exact_instance_of::<PyBytes>()
}

/// Returns whether a callable attribute belongs to the class. The value of a field or property is
/// state even if it can be called, such as the text of a message.
fn is_method(of: &Bound<'_, PyAny>, name: &Bound<'_, PyString>) -> PyResult<bool> {
    let of_class = of.get_type().getattr_opt(name)?;
    Ok(of_class.is_some_and(|value| value.is_callable()))
}

fn text<'a, 'py>(value: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyString>> {
    value
        .cast::<PyString>()
        .map_err(|_| match value.get_type().name() {
            Ok(found) => PyTypeError::new_err(format!("expected a str, found {found}")),
            Err(error) => error,
        })
}

fn absent_is_none<'py>(found: PyResult<Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(error) => Python::attach(|py| {
            if error.is_instance_of::<PyKeyError>(py) || error.is_instance_of::<PyIndexError>(py) {
                Ok(None)
            } else {
                Err(error)
            }
        }),
    }
}
