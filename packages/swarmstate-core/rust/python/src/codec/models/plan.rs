//! How instances of a class are written and rebuilt.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyType};

use super::rebuild::Rebuild;
use super::reviewed::Rule;
use super::shape::{Entries, Purpose, dumps_by_function, entries, has_items, is_neutral_config};
use super::slots::Slots;
use crate::codec::wire;

/// How instances of one class are written: from their instance dict, in its order.
pub struct Plan {
    pub class: Py<PyType>,
    pub module: String,
    pub name: String,
    /// The payload up to the fields: the head of an array of four, module and name.
    pub head: Vec<u8>,
    pub fields: Entries,
    /// The encoded name of each field.
    pub keys: Vec<Vec<u8>>,
    pub slots: Arc<Slots>,
    /// How instances are rebuilt, if validation is known to change nothing.
    pub rebuild: Option<Rebuild>,
}

/// Attributes that subclasses of pydantic's `BaseModel` must not override.
const UNTOUCHED: &[&str] = &[
    "__class__",
    "__dict__",
    "__getattribute__",
    "__pydantic_extra__",
    "__pydantic_fields_set__",
    "__pydantic_private__",
    "model_dump",
];

impl Plan {
    /// Examine a class; None if anything besides its fields may affect what is written.
    pub fn examine(class: &Bound<'_, PyType>, base: &Bound<'_, PyType>) -> PyResult<Option<Self>> {
        let py = class.py();
        for name in UNTOUCHED {
            if !owner(class, name)?
                .is_some_and(|owner| owner.is(base) || owner.is(py.get_type::<PyAny>()))
            {
                return Ok(None);
            }
        }
        let Some(schema) = class.getattr_opt(intern!(py, "__pydantic_core_schema__"))? else {
            return Ok(None);
        };
        let Some(found) = Model::find(class, &schema)? else {
            return Ok(None);
        };
        if dumps_by_function(&schema)? || !found.is_plain()? {
            return Ok(None);
        }
        let Some(fields) = found.entries(Purpose::Dump)? else {
            return Ok(None);
        };
        let (Ok(module), Ok(name)) = (
            class
                .getattr(intern!(py, "__module__"))?
                .extract::<String>(),
            class.getattr(intern!(py, "__name__"))?.extract::<String>(),
        ) else {
            return Ok(None);
        };
        let mut head = Vec::new();
        let mut written = wire::write_array_header(&mut head, 4)
            && wire::write_str(&mut head, &module)
            && wire::write_str(&mut head, &name);
        let mut keys = Vec::with_capacity(fields.fields.len());
        for field in &fields.fields {
            let mut key = Vec::new();
            written &= wire::write_str(&mut key, &field.name);
            keys.push(key);
        }
        if !written {
            return Ok(None);
        }
        let Some(slots) = Slots::of(base)?.map(Arc::new) else {
            return Ok(None);
        };
        let rebuild = match found.rule(class, base)? {
            Some(rule) => match found.entries(Purpose::Validate)? {
                Some(fields) => Rebuild::new(class, &slots, rule.narrow(fields), rule)?,
                None => None,
            },
            None => None,
        };
        Ok(Some(Self {
            class: class.clone().unbind(),
            module,
            name,
            head,
            fields,
            keys,
            slots,
            rebuild,
        }))
    }
}

/// Return the class that provides an attribute.
pub fn owner<'py>(class: &Bound<'py, PyType>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    for base in class.mro().iter() {
        let names = base.getattr(intern!(class.py(), "__dict__"))?;
        if names.cast::<PyMapping>()?.contains(name)? {
            return Ok(Some(base));
        }
    }
    Ok(None)
}

/// The parts of a model's schema.
struct Model<'py> {
    model: Bound<'py, PyDict>,
    fields: Bound<'py, PyDict>,
    config: Option<Bound<'py, PyAny>>,
    /// Whether there are validator functions around them.
    validators: bool,
}

impl<'py> Model<'py> {
    fn find(class: &Bound<'py, PyType>, schema: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let py = class.py();
        let mut validators = false;
        let Some(model) = unwrapped(schema, "model", &mut validators)? else {
            return Ok(None);
        };
        let is_own = match model.get_item(intern!(py, "cls"))? {
            Some(cls) => cls.is(class),
            None => false,
        };
        let inner = model.as_any().get_item(intern!(py, "schema"))?;
        let Some(fields) = unwrapped(&inner, "model-fields", &mut validators)? else {
            return Ok(None);
        };
        let config = model.get_item(intern!(py, "config"))?;
        Ok(is_own.then_some(Self {
            model,
            fields,
            config,
            validators,
        }))
    }

    fn is_plain(&self) -> PyResult<bool> {
        let has = |schema: &Bound<'py, PyDict>, name: &str| schema.contains(name);
        Ok(!is_true(&self.model, "root_model")?
            && !has(&self.model, "extra_behavior")?
            && !has(&self.fields, "extra_behavior")?
            && !has(&self.fields, "extras_schema")?
            && !has(&self.fields, "extras_keys_schema")?
            && !has_items(&self.fields, "computed_fields")?
            && is_neutral_config(self.config.as_ref(), Purpose::Dump)?)
    }

    fn entries(&self, purpose: Purpose) -> PyResult<Option<Entries>> {
        let extra = match self.config.as_ref().map(|config| config.cast::<PyDict>()) {
            Some(Ok(config)) => match config.get_item("extra_fields_behavior")? {
                Some(extra) => extra.eq("allow")?,
                None => false,
            },
            _ => false,
        };
        entries(&self.fields, purpose, extra, 0)
    }

    /// Return the rule under which validation changes nothing; None if that is unknown.
    fn rule(
        &self,
        class: &Bound<'py, PyType>,
        base: &Bound<'py, PyType>,
    ) -> PyResult<Option<Rule>> {
        let py = class.py();
        let known = [
            "cls",
            "config",
            "custom_init",
            "frozen",
            "root_model",
            "schema",
        ];
        let nothing_after = class
            .getattr(intern!(py, "__pydantic_post_init__"))?
            .is_none()
            && class
                .getattr(intern!(py, "__private_attributes__"))?
                .len()?
                == 0;
        if !nothing_after
            || !super::shape::only(&self.model, &known)?
            || !super::shape::only(&self.fields, &["fields", "model_name", "computed_fields"])?
            || !is_neutral_config(self.config.as_ref(), Purpose::Validate)?
            || !is_plain_validator(class)?
        {
            return Ok(None);
        }
        if let Some(rule) = Rule::reviewed(class)? {
            return Ok(Some(rule));
        }
        let init = owner(class, "__init__")?;
        let is_bare = !self.validators
            && !is_true(&self.model, "custom_init")?
            && init.is_some_and(|owner| owner.is(base));
        Ok(is_bare.then_some(Rule::Fields))
    }
}

fn is_true(schema: &Bound<'_, PyDict>, name: &str) -> PyResult<bool> {
    match schema.get_item(name)? {
        Some(flag) => flag.is_truthy(),
        None => Ok(false),
    }
}

/// Return whether pydantic-core validates, without a plugin around it.
fn is_plain_validator(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let py = class.py();
    let validator = class.getattr(intern!(py, "__pydantic_validator__"))?;
    let kind = validator.get_type();
    Ok(kind.name()?.to_str()? == "SchemaValidator"
        && kind.module()?.to_str()?.starts_with("pydantic_core"))
}

/// Return the schema of type `wanted` inside definitions and validators.
fn unwrapped<'py>(
    schema: &Bound<'py, PyAny>,
    wanted: &str,
    validators: &mut bool,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    const MAX_WRAPPERS: usize = 64;
    let mut schema = schema.clone();
    for _ in 0..MAX_WRAPPERS {
        let Ok(dict) = schema.cast::<PyDict>() else {
            return Ok(None);
        };
        let Some(kind) = dict.get_item("type")? else {
            return Ok(None);
        };
        let kind = kind.cast::<PyString>()?.to_str()?.to_owned();
        if kind == wanted {
            return Ok(Some(dict.clone()));
        }
        match kind.as_str() {
            "definitions" => {}
            "function-before" | "function-after" | "function-wrap" => *validators = true,
            _ => return Ok(None),
        }
        let inner = dict.as_any().get_item("schema")?;
        schema = inner;
    }
    Ok(None)
}
