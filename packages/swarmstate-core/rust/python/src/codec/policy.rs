//! Decides which classes may be written and built.

use std::collections::HashSet;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use super::error::{DecodeError, TypeNotAllowedError};
use super::foreign::check_importable;
use super::standard::Standard;
use super::wire::ext;

/// Classes by `(module, name)`.
pub type Names = HashSet<(String, String)>;

/// Framework classes that are safe to build from data: containers of agent state.
const SAFE: &[(&str, &[&str])] = &[
    ("langchain_core.documents.base", &["Document"]),
    (
        "langchain_core.messages.ai",
        &["AIMessage", "AIMessageChunk"],
    ),
    (
        "langchain_core.messages.base",
        &["BaseMessage", "BaseMessageChunk"],
    ),
    (
        "langchain_core.messages.chat",
        &["ChatMessage", "ChatMessageChunk"],
    ),
    (
        "langchain_core.messages.function",
        &["FunctionMessage", "FunctionMessageChunk"],
    ),
    (
        "langchain_core.messages.human",
        &["HumanMessage", "HumanMessageChunk"],
    ),
    ("langchain_core.messages.modifier", &["RemoveMessage"]),
    (
        "langchain_core.messages.system",
        &["SystemMessage", "SystemMessageChunk"],
    ),
    (
        "langchain_core.messages.tool",
        &["ToolMessage", "ToolMessageChunk"],
    ),
    ("langgraph.store.base", &["GetOp", "Item"]),
    (
        "langgraph.types",
        &[
            "Command",
            "Interrupt",
            "Overwrite",
            "PregelTask",
            "Send",
            "StateSnapshot",
            "TimeoutPolicy",
        ],
    ),
    (
        "swarmstate.merge",
        &["GCounter", "LWWMap", "ORSet", "PNCounter"],
    ),
];

/// Builtin classes that make sense as the factory of a `defaultdict`.
const FACTORIES: &[(&str, &[&str])] = &[
    (
        "builtins",
        &[
            "bool",
            "bytearray",
            "bytes",
            "complex",
            "dict",
            "float",
            "frozenset",
            "int",
            "list",
            "set",
            "str",
            "tuple",
        ],
    ),
    (
        "collections",
        &["Counter", "OrderedDict", "defaultdict", "deque"],
    ),
];

/// Standard classes with their own ext. They are never written as objects of a class. Building them
/// from arbitrary bytes could take unlimited memory or time: `bytearray(10**10)`,
/// `Fraction("1e999999999")`.
const NEVER_OBJECTS: &[(&str, &[&str])] = &[
    ("builtins", &["bytearray", "complex", "memoryview", "range"]),
    ("fractions", &["Fraction"]),
];

fn lists(table: &[(&str, &[&str])], module: &str, name: &str) -> bool {
    table
        .iter()
        .any(|(listed, names)| *listed == module && names.contains(&name))
}

/// Who decides about classes outside the standard library.
pub enum Policy {
    /// swarmstate's own rule: the safe classes and `extra`, or `all`; others raise.
    Own {
        all: bool,
        extra: Names,
        check_writes: bool,
    },
    /// The rule of a caller that knows better, such as LangGraph.
    Delegated(Delegate),
}

/// A caller's rule, as Python callables.
pub struct Delegate {
    /// Classes to build without asking.
    pub safe: Names,
    /// `(module, name) -> bool`: whether to build it. If not, it is replaced by its payload.
    pub check: Py<PyAny>,
    /// `(module, name, method) -> bool`: the same for method calls.
    pub check_method: Py<PyAny>,
    /// `(module, name, payload, error, is_model) -> value`: replaces an object that cannot be
    /// built.
    pub fallback: Py<PyAny>,
}

impl Policy {
    /// Allow writing every class, and reading the safe ones.
    pub fn safe() -> Self {
        Self::Own {
            all: false,
            extra: Names::new(),
            check_writes: false,
        }
    }

    /// Return the policy described by an `allow` argument; see `swarmstate.Codec`.
    pub fn from_allow(allow: Option<&Bound<'_, PyAny>>, check_writes: bool) -> PyResult<Self> {
        let (all, extra) = match allow {
            None => (false, Names::new()),
            Some(allow) => match allow.extract::<bool>() {
                Ok(all) => (all, Names::new()),
                Err(_) => (false, class_names(allow)?),
            },
        };
        Ok(Self::Own {
            all,
            extra,
            check_writes,
        })
    }

    /// Return whether a class may be built; swarmstate's own rule raises instead of returning
    /// false.
    pub fn check_read(&self, py: Python<'_>, module: &str, name: &str) -> PyResult<bool> {
        match self {
            Self::Own { .. } if self.owns(py, module, name)? => Ok(true),
            Self::Own { .. } => Err(not_allowed("loads", module, name)),
            Self::Delegated(rule) => {
                if contains(&rule.safe, module, name) {
                    return Ok(true);
                }
                rule.check.bind(py).call1((module, name))?.is_truthy()
            }
        }
    }

    /// Return whether a class may be built without asking anyone.
    pub fn allows_silently(&self, py: Python<'_>, module: &str, name: &str) -> PyResult<bool> {
        match self {
            Self::Own { .. } => self.owns(py, module, name),
            Self::Delegated(rule) => Ok(contains(&rule.safe, module, name)),
        }
    }

    /// Return whether a class may be the factory of a `defaultdict`.
    pub fn check_factory(&self, py: Python<'_>, module: &str, name: &str) -> PyResult<bool> {
        Ok(lists(FACTORIES, module, name)
            || lists(NEVER_OBJECTS, module, name)
            || self.check_read(py, module, name)?)
    }

    /// Return whether a method of a class may be called to build a value.
    pub fn check_method(
        &self,
        py: Python<'_>,
        module: &str,
        name: &str,
        method: &str,
    ) -> PyResult<bool> {
        if (module, name, method) == ("datetime", "datetime", "fromisoformat") {
            return Ok(true);
        }
        match self {
            Self::Own { .. } if method == "fromisoformat" => self.check_read(py, module, name),
            Self::Own { .. } => Err(TypeNotAllowedError::new_err(format!(
                "the data asks to call {module}.{name}.{method}, which is never allowed"
            ))),
            Self::Delegated(rule) => rule
                .check_method
                .bind(py)
                .call1((module, name, method))?
                .is_truthy(),
        }
    }

    /// Refuse to write a class that could not be read again.
    pub fn check_write(&self, class: &Bound<'_, PyType>, module: &str, name: &str) -> PyResult<()> {
        match self {
            // As in LangGraph: objects of unreadable classes come back as their payload.
            Self::Delegated(_) => Ok(()),
            Self::Own { check_writes, .. } => {
                if *check_writes && !self.owns(class.py(), module, name)? {
                    return Err(not_allowed("dumps", module, name));
                }
                check_importable(class)
            }
        }
    }

    /// Refuse to write a `defaultdict` whose factory could not be read again.
    pub fn check_write_factory(&self, py: Python<'_>, module: &str, name: &str) -> PyResult<()> {
        match self {
            Self::Own {
                check_writes: true, ..
            } if !lists(FACTORIES, module, name)
                && !lists(NEVER_OBJECTS, module, name)
                && !self.owns(py, module, name)? =>
            {
                Err(not_allowed("dumps", module, name))
            }
            _ => Ok(()),
        }
    }

    /// Return the replacement for an object that could not be built.
    pub fn failed<'py>(
        &self,
        py: Python<'py>,
        code: i8,
        (module, name): (&str, &str),
        payload: &Bound<'py, PyAny>,
        error: PyErr,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Own { .. } => {
                let failure = DecodeError::new_err(format!(
                    "{module}.{name} could not be built from its data: {error}; does the class \
                     still accept what was stored?"
                ));
                failure.set_cause(py, Some(error));
                Err(failure)
            }
            Self::Delegated(rule) => {
                let is_model = matches!(code, ext::PYDANTIC_V1 | ext::PYDANTIC_V2);
                let error = error.into_value(py);
                rule.fallback
                    .bind(py)
                    .call1((module, name, payload, error, is_model))
            }
        }
    }

    fn owns(&self, py: Python<'_>, module: &str, name: &str) -> PyResult<bool> {
        let Self::Own { all, extra, .. } = self else {
            return Ok(false);
        };
        Ok(*all
            || lists(SAFE, module, name)
            || contains(extra, module, name)
            || (Standard::get(py)?.by_name(module, name).is_some()
                && !lists(NEVER_OBJECTS, module, name)))
    }
}

fn contains(names: &Names, module: &str, name: &str) -> bool {
    !names.is_empty() && names.contains(&(module.to_owned(), name.to_owned()))
}

fn not_allowed(call: &str, module: &str, name: &str) -> PyErr {
    TypeNotAllowedError::new_err(format!(
        "{call} found {module}.{name}, which is not an allowed class; if you trust it, add \
         allow=[({module:?}, {name:?})]"
    ))
}

/// Read an iterable of classes and `(module, name)` pairs.
pub fn class_names(classes: &Bound<'_, PyAny>) -> PyResult<Names> {
    let py = classes.py();
    let mut names = Names::new();
    if classes.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "allow takes an iterable of classes, not a string",
        ));
    }
    for class in classes.try_iter()? {
        let class = class?;
        let pair = if class.is_instance_of::<PyType>() {
            let module = class.getattr(intern!(py, "__module__"))?.extract()?;
            (module, class.getattr(intern!(py, "__name__"))?.extract()?)
        } else {
            match class
                .cast::<PyTuple>()
                .map(|pair| pair.extract::<(String, String)>())
            {
                Ok(Ok(pair)) => pair,
                _ => {
                    return Err(PyTypeError::new_err(format!(
                        "expected a class or a (module, name) pair of strings, found {}",
                        class.repr()?
                    )));
                }
            }
        };
        names.insert(pair);
    }
    Ok(names)
}
