//! Derives from a field's schema which values dumping or validating leaves unchanged.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::codec::wire::write_str;

/// Values that a schema leaves unchanged.
///
/// All types are exact: instances of subclasses do not match.
pub enum Shape {
    /// No known values.
    Never,
    /// Lists, tuples and dicts of each other and of msgpack's scalars.
    Any,
    None,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    /// One of these strings.
    Literal(Vec<String>),
    Nullable(Box<Shape>),
    List(Box<Shape>),
    Dict {
        keys: Box<Shape>,
        values: Box<Shape>,
    },
    Union(Vec<Shape>),
    TypedDict(Entries),
}

/// The keys of a dict that are known by name.
pub struct Entries {
    /// In the order of the schema, which is the order after validation.
    pub fields: Vec<Entry>,
    /// Whether other keys may follow; their values are `Any`.
    pub extra: bool,
}

pub struct Entry {
    pub name: String,
    /// The encoded name.
    pub encoded: Vec<u8>,
    pub key: Py<PyString>,
    pub required: bool,
    pub shape: Shape,
}

impl Entries {
    /// Return the entry of this name, trying the one at `guess` first.
    #[inline]
    pub fn find(&self, name: &str, guess: usize) -> Option<usize> {
        if self
            .fields
            .get(guess)
            .is_some_and(|field| field.name == name)
        {
            return Some(guess);
        }
        self.fields.iter().position(|field| field.name == name)
    }
}

/// Which operation must leave the values unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Dump,
    /// Validation, in Python mode, of decoded msgpack values.
    Validate,
}

/// Schemas may refer to themselves.
const MAX_DEPTH: usize = 16;

/// Keys that do not affect values.
const NEUTRAL: &[&str] = &["type", "metadata", "ref", "strict", "fail_fast"];

/// Return the shape of a core schema.
fn compile(schema: &Bound<'_, PyAny>, purpose: Purpose, depth: usize) -> PyResult<Shape> {
    let py = schema.py();
    let (Ok(schema), true) = (schema.cast::<PyDict>(), depth < MAX_DEPTH) else {
        return Ok(Shape::Never);
    };
    if schema.contains(intern!(py, "serialization"))? {
        return Ok(Shape::Never);
    }
    let Some(kind) = schema.get_item(intern!(py, "type"))? else {
        return Ok(Shape::Never);
    };
    let kind: String = kind.extract()?;
    // Constraints and coercions apply only to validation.
    let harmless: &[&str] = match kind.as_str() {
        "any" | "none" | "bool" | "int" | "float" | "bytes" => &[],
        "str" => &["coerce_numbers_to_str"],
        "literal" => &["expected"],
        "nullable" => &["schema"],
        "default" => &[
            "schema",
            "default",
            "default_factory",
            "default_factory_takes_data",
            "copy_default",
            "validate_default",
        ],
        "list" => &["items_schema"],
        "dict" => &["keys_schema", "values_schema"],
        "union" => &["choices", "auto_collapse"],
        "typed-dict" => &[
            "cls",
            "cls_name",
            "config",
            "computed_fields",
            "extra_behavior",
            "fields",
            "total",
        ],
        _ => &[],
    };
    if purpose == Purpose::Validate && !only(schema, harmless)? {
        return Ok(Shape::Never);
    }
    let inner = |name: &str| -> PyResult<Shape> {
        match schema.get_item(name)? {
            Some(inner) => compile(&inner, purpose, depth + 1),
            None => Ok(Shape::Any),
        }
    };
    Ok(match kind.as_str() {
        "any" => Shape::Any,
        "none" => Shape::None,
        "bool" => Shape::Bool,
        "int" => Shape::Int,
        "float" => Shape::Float,
        "str" => Shape::Str,
        "bytes" => Shape::Bytes,
        "literal" => literal(schema)?,
        "nullable" => Shape::Nullable(Box::new(inner("schema")?)),
        "default" => inner("schema")?,
        "list" => Shape::List(Box::new(inner("items_schema")?)),
        "dict" => Shape::Dict {
            keys: Box::new(inner("keys_schema")?),
            values: Box::new(inner("values_schema")?),
        },
        "union" => union(schema, purpose, depth)?,
        "typed-dict" => typed_dict(schema, purpose, depth)?,
        // Validators do not affect dumping.
        "function-before" | "function-after" | "function-wrap" if purpose == Purpose::Dump => {
            inner("schema")?
        }
        _ => Shape::Never,
    })
}

/// Return whether a schema has only these keys and neutral ones.
pub fn only(schema: &Bound<'_, PyDict>, known: &[&str]) -> PyResult<bool> {
    for key in schema.keys() {
        let key: String = key.extract()?;
        if !known.contains(&key.as_str()) && !NEUTRAL.contains(&key.as_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn literal(schema: &Bound<'_, PyDict>) -> PyResult<Shape> {
    let mut expected = Vec::new();
    for choice in schema
        .as_any()
        .get_item(intern!(schema.py(), "expected"))?
        .try_iter()?
    {
        match choice?.cast_exact::<PyString>().map(|text| text.to_str()) {
            Ok(Ok(text)) => expected.push(text.to_owned()),
            _ => return Ok(Shape::Never),
        }
    }
    Ok(Shape::Literal(expected))
}

/// A union leaves a value unchanged if it picks the choice that the value belongs to. Smart mode
/// prefers exact types, so that holds for scalars. Among the choices there may be only one kind of
/// list and one of dict, and none that accepts anything.
fn union(schema: &Bound<'_, PyDict>, purpose: Purpose, depth: usize) -> PyResult<Shape> {
    let mut choices = Vec::new();
    let (mut lists, mut dicts) = (0, 0);
    for choice in schema
        .as_any()
        .get_item(intern!(schema.py(), "choices"))?
        .try_iter()?
    {
        let choice = choice?;
        // Labeled choices are pairs.
        let choice = match choice.cast::<PyTuple>() {
            Ok(pair) => pair.get_item(0)?,
            Err(_) => choice,
        };
        let choice = compile(&choice, purpose, depth + 1)?;
        match choice {
            Shape::Any
            | Shape::Never
            | Shape::Nullable(_)
            | Shape::Union(_)
            | Shape::TypedDict(_) => return Ok(Shape::Never),
            Shape::List(_) => lists += 1,
            Shape::Dict { .. } => dicts += 1,
            _ => {}
        }
        choices.push(choice);
    }
    if lists > 1 || dicts > 1 {
        return Ok(Shape::Never);
    }
    Ok(Shape::Union(choices))
}

fn typed_dict(schema: &Bound<'_, PyDict>, purpose: Purpose, depth: usize) -> PyResult<Shape> {
    let py = schema.py();
    let config = schema.get_item(intern!(py, "config"))?;
    if !is_neutral_config(config.as_ref(), purpose)?
        || schema.contains(intern!(py, "extras_schema"))?
        || has_items(schema, "computed_fields")?
    {
        return Ok(Shape::Never);
    }
    let extra = match schema.get_item(intern!(py, "extra_behavior"))? {
        Some(extra) => extra.eq(intern!(py, "allow"))?,
        // Its config may say so; not worth finding out.
        None if config.is_some() => return Ok(Shape::Never),
        None => false,
    };
    Ok(match entries(schema, purpose, extra, depth)? {
        Some(entries) => Shape::TypedDict(entries),
        None => Shape::Never,
    })
}

/// Return the fields of a typed dict or a model; None if something else can affect their keys.
pub fn entries(
    schema: &Bound<'_, PyDict>,
    purpose: Purpose,
    extra: bool,
    depth: usize,
) -> PyResult<Option<Entries>> {
    let py = schema.py();
    let fields = schema.as_any().get_item(intern!(py, "fields"))?;
    let mut entries = Vec::new();
    for (key, field) in fields.cast::<PyDict>()?.iter() {
        let (Ok(key), Ok(field)) = (key.cast_exact::<PyString>(), field.cast::<PyDict>()) else {
            return Ok(None);
        };
        // `frozen` only prevents assignment.
        let known: &[&str] = match purpose {
            Purpose::Dump => &["schema", "required", "frozen", "validation_alias"],
            Purpose::Validate => &["schema", "required", "frozen"],
        };
        if !only(field, known)? {
            return Ok(None);
        }
        let schema = field.as_any().get_item(intern!(py, "schema"))?;
        let mut encoded = Vec::new();
        if !write_str(&mut encoded, key.to_str()?) {
            return Ok(None);
        }
        entries.push(Entry {
            name: key.to_str()?.to_owned(),
            encoded,
            key: PyString::intern(py, key.to_str()?).unbind(),
            required: match field.get_item(intern!(py, "required"))? {
                Some(required) => required.is_truthy()?,
                None => true,
            },
            shape: compile(&schema, purpose, depth + 1)?,
        });
    }
    Ok(Some(Entries {
        fields: entries,
        extra,
    }))
}

/// Return whether a model's or typed dict's config changes neither keys nor values.
pub fn is_neutral_config(config: Option<&Bound<'_, PyAny>>, purpose: Purpose) -> PyResult<bool> {
    let Some(config) = config else {
        return Ok(true);
    };
    let Ok(config) = config.cast::<PyDict>() else {
        return Ok(false);
    };
    match purpose {
        Purpose::Dump => match config.get_item("serialize_by_alias")? {
            Some(by_alias) => Ok(!by_alias.is_truthy()?),
            None => Ok(true),
        },
        Purpose::Validate => only(
            config,
            &[
                "title",
                "extra_fields_behavior",
                "from_attributes",
                "frozen",
            ],
        ),
    }
}

/// Return whether a schema has a nonempty list of this name.
pub fn has_items(schema: &Bound<'_, PyDict>, name: &str) -> PyResult<bool> {
    match schema.get_item(name)? {
        Some(items) => Ok(!items.cast::<PyList>().is_ok_and(|items| items.is_empty())),
        None => Ok(false),
    }
}

/// Return whether a function takes part in dumping what a schema describes, at any depth.
pub fn dumps_by_function(schema: &Bound<'_, PyAny>) -> PyResult<bool> {
    search(schema, 0)
}

fn search(schema: &Bound<'_, PyAny>, depth: usize) -> PyResult<bool> {
    const MAX_LEVELS: usize = 64;
    if depth == MAX_LEVELS {
        return Ok(true);
    }
    if let Ok(dict) = schema.cast::<PyDict>() {
        for (key, value) in dict.iter() {
            let found = match key.extract::<&str>() {
                Ok("serialization" | "serialization_exclude_if") => true,
                Ok("computed_fields") => has_items(dict, "computed_fields")?,
                // Their contents are not schemas.
                Ok("metadata" | "default" | "expected") => false,
                // Its keys are names chosen by the user.
                Ok("fields") => match value.cast::<PyDict>() {
                    Ok(fields) => search(fields.values().as_any(), depth + 1)?,
                    Err(_) => search(&value, depth + 1)?,
                },
                _ => search(&value, depth + 1)?,
            };
            if found {
                return Ok(true);
            }
        }
    } else if let Ok(list) = schema.cast::<PyList>() {
        for item in list.iter() {
            if search(&item, depth + 1)? {
                return Ok(true);
            }
        }
    } else if let Ok(tuple) = schema.cast::<PyTuple>() {
        for item in tuple.iter() {
            if search(&item, depth + 1)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
