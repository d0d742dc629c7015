//! Classes of langchain_core whose `__init__` and validators have been reviewed.
//!
//! Each `__init__` except `RemoveMessage`'s passes on its arguments, with one exception that is not
//! a field: `content_blocks`. Each rule says what the validators do. A class with other validators,
//! such as one from a later release or a subclass, has no rule here.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::plan::owner;
use super::shape::{Entries, Shape};

/// When validation changes nothing, in addition to the fields matching their shapes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Always.
    Fields,
    /// `RemoveMessage.__init__` takes no content and sets it to "".
    Remove,
    /// `_backwards_compat_tool_calls` rebuilds each tool call from its four keys, and takes tool
    /// calls from `additional_kwargs` if there are none.
    Ai,
    /// Like `Ai`. In addition, `init_tool_calls` makes tool calls from chunks and chunks from tool
    /// calls, and `init_server_tool_calls` changes blocks in the content of a last chunk.
    AiChunk,
}

const MESSAGES: &str = "langchain_core.messages.";

/// Module, class, rule, and all validators of the class.
const REVIEWED: &[(&str, &str, Rule, &[&str])] = &[
    (
        "langchain_core.documents.base",
        "Document",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.ai",
        "AIMessage",
        Rule::Ai,
        &["_backwards_compat_tool_calls"],
    ),
    (
        "langchain_core.messages.ai",
        "AIMessageChunk",
        Rule::AiChunk,
        &[
            "_backwards_compat_tool_calls",
            "init_tool_calls",
            "init_server_tool_calls",
        ],
    ),
    (
        "langchain_core.messages.chat",
        "ChatMessage",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.chat",
        "ChatMessageChunk",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.function",
        "FunctionMessage",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.function",
        "FunctionMessageChunk",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.human",
        "HumanMessage",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.human",
        "HumanMessageChunk",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.modifier",
        "RemoveMessage",
        Rule::Remove,
        &[],
    ),
    (
        "langchain_core.messages.system",
        "SystemMessage",
        Rule::Fields,
        &[],
    ),
    (
        "langchain_core.messages.system",
        "SystemMessageChunk",
        Rule::Fields,
        &[],
    ),
    // `coerce_args` turns content and tool_call_id of another type into strings, and copies the
    // content if it is a list.
    (
        "langchain_core.messages.tool",
        "ToolMessage",
        Rule::Fields,
        &["coerce_args"],
    ),
    (
        "langchain_core.messages.tool",
        "ToolMessageChunk",
        Rule::Fields,
        &["coerce_args"],
    ),
];

impl Rule {
    /// Return the rule of a reviewed class, if the class has not changed since.
    pub fn reviewed(class: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let py = class.py();
        let module = class.getattr(intern!(py, "__module__"))?;
        let name = class.getattr(intern!(py, "__name__"))?;
        let (Ok(module), Ok(name)) = (module.extract::<&str>(), name.extract::<&str>()) else {
            return Ok(None);
        };
        let Some((_, _, rule, validators)) = REVIEWED
            .iter()
            .find(|(known, class, ..)| *known == module && *class == name)
        else {
            return Ok(None);
        };
        let Some(init) = owner(class, "__init__")? else {
            return Ok(None);
        };
        let init_module: String = init.getattr(intern!(py, "__module__"))?.extract()?;
        let is_known_init = init_module == module || init_module.starts_with(MESSAGES);
        Ok((is_known_init && has_validators(class, validators)?).then_some(*rule))
    }

    /// Return the fields as validation leaves them under this rule.
    pub fn narrow(self, mut entries: Entries) -> Entries {
        if matches!(self, Self::Ai | Self::AiChunk) {
            for field in &mut entries.fields {
                if matches!(
                    field.name.as_str(),
                    "tool_calls" | "invalid_tool_calls" | "tool_call_chunks"
                ) {
                    narrow_calls(&mut field.shape);
                }
            }
        }
        entries
    }

    /// Return whether validation would leave these fields unchanged.
    pub fn holds(self, fields: &Bound<'_, PyDict>) -> PyResult<bool> {
        let py = fields.py();
        let is_empty = |name: &Bound<'_, PyString>| -> PyResult<bool> {
            match fields.get_item(name)? {
                Some(value) => Ok(!value.is_truthy()?),
                None => Ok(true),
            }
        };
        let calls = intern!(py, "tool_calls");
        let no_calls = |with_chunks: bool| -> PyResult<bool> {
            Ok(is_empty(calls)?
                && is_empty(intern!(py, "invalid_tool_calls"))?
                && (!with_chunks || is_empty(intern!(py, "tool_call_chunks"))?))
        };
        let raw_calls = || -> PyResult<bool> {
            match fields.get_item(intern!(py, "additional_kwargs"))? {
                Some(kwargs) => Ok(kwargs.cast::<PyDict>()?.contains(calls)?),
                None => Ok(false),
            }
        };
        match self {
            Self::Fields => Ok(true),
            // An empty list is accepted as well, and becomes a string.
            Self::Remove => match fields.get_item(intern!(py, "content"))? {
                Some(content) => Ok(content.is_instance_of::<PyString>() && !content.is_truthy()?),
                None => Ok(false),
            },
            Self::Ai => Ok(!raw_calls()? || !no_calls(false)?),
            Self::AiChunk => {
                Ok(no_calls(true)? && !raw_calls()? && is_empty(intern!(py, "chunk_position"))?)
            }
        }
    }
}

/// Require exactly the keys that `_backwards_compat_tool_calls` gives a call.
fn narrow_calls(shape: &mut Shape) {
    if let Shape::List(items) = shape
        && let Shape::TypedDict(entries) = items.as_mut()
    {
        entries.extra = false;
        entries
            .fields
            .retain(|field| field.required || field.name == "type");
        for field in &mut entries.fields {
            field.required = true;
        }
    }
}

/// Return whether a class has exactly these model validators and no other hooks.
fn has_validators(class: &Bound<'_, PyType>, expected: &[&str]) -> PyResult<bool> {
    let py = class.py();
    let found = class.getattr(intern!(py, "__pydantic_decorators__"))?;
    for name in ["validators", "field_validators", "root_validators"] {
        if found.getattr(name)?.len()? != 0 {
            return Ok(false);
        }
    }
    let models = found.getattr(intern!(py, "model_validators"))?;
    let models = models.cast::<PyDict>()?;
    if models.len() != expected.len() {
        return Ok(false);
    }
    for name in expected {
        if !models.contains(name)? {
            return Ok(false);
        }
    }
    Ok(true)
}
