//! Python objects as the values that conditions ask about.

use pyo3::class::basic::CompareOp;
use pyo3::exceptions::{PyIndexError, PyKeyError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use swarmstate_engine::Host;
use swarmstate_engine::condition::{Comparison, Literal, Unary};

/// The interpreter, as a host of conditions.
pub(crate) struct PythonHost<'py>(pub(crate) Python<'py>);

impl<'py> Host for PythonHost<'py> {
    type Value = Bound<'py, PyAny>;
    type Constant = Py<PyAny>;
    type Error = PyErr;

    fn literal(&self, literal: &Literal) -> PyResult<Py<PyAny>> {
        let py = self.0;
        Ok(match literal {
            Literal::None => py.None(),
            Literal::Bool(value) => PyBool::new(py, *value).to_owned().into_any().unbind(),
            Literal::Int(number) => number.into_pyobject(py)?.into_any().unbind(),
            Literal::Float(number) => PyFloat::new(py, *number).into_any().unbind(),
            Literal::Str(text) => PyString::intern(py, text).into_any().unbind(),
            Literal::List(items) => {
                let items = items.iter().map(|item| self.literal(item));
                let items: Vec<_> = items.collect::<PyResult<_>>()?;
                PyTuple::new(py, items)?.into_any().unbind()
            }
        })
    }

    fn name(&self, name: &str) -> PyResult<Py<PyAny>> {
        Ok(PyString::intern(self.0, name).into_any().unbind())
    }

    fn value(&self, constant: &Py<PyAny>) -> Self::Value {
        constant.bind(self.0).clone()
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

    /// A key of a mapping, or else an attribute that is no method.
    fn field(&self, of: &Self::Value, name: &Py<PyAny>) -> PyResult<Option<Self::Value>> {
        let name = name.bind(self.0);
        if let Ok(dict) = of.cast::<PyDict>() {
            return dict.get_item(name);
        }
        if is_plain(of) {
            return Ok(None);
        }
        if let Ok(mapping) = of.cast::<PyMapping>() {
            return absent_is_none(mapping.get_item(name));
        }
        let found = of.getattr_opt(name.cast::<PyString>()?)?;
        Ok(found.filter(|value| !value.is_callable()))
    }

    fn item(&self, of: &Self::Value, key: &Py<PyAny>) -> PyResult<Option<Self::Value>> {
        let key = key.bind(self.0);
        if let Ok(dict) = of.cast::<PyDict>() {
            return dict.get_item(key);
        }
        let is_index = key.is_instance_of::<PyInt>();
        let is_sequence = of.is_instance_of::<PyList>()
            || of.is_instance_of::<PyTuple>()
            || of.is_instance_of::<PyString>();
        if (is_index && is_sequence) || (!is_plain(of) && of.cast::<PyMapping>().is_ok()) {
            return absent_is_none(of.get_item(key));
        }
        Ok(None)
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
            Comparison::In => return right.contains(left),
            Comparison::NotIn => return Ok(!right.contains(left)?),
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
        Ok(look(text(value)?.to_str()?))
    }
}

/// Whether a value is plain data, whose attributes are not state.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyInt>()
        || value.is_instance_of::<PyFloat>()
        || value.is_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyTuple>()
        || value.is_instance_of::<PyBytes>()
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
