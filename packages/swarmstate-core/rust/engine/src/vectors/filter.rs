//! Conditions on the fields of a record's value, as LangGraph's stores define them.
//!
//! A filter is a map. Each key names a field of the value, which must meet the condition beside it:
//! a plain value (they are equal), a map of operators (`$eq $ne $gt $gte $lt $lte`, all must hold),
//! a map of other keys (the field is a map whose fields meet their conditions), or a list (the
//! field is a list of equal length, compared item by item).
//!
//! A record or filter may contain [`UNKNOWN`] in place of something that it must not or cannot
//! hold. Every comparison with it holds, so that a selection misses nothing.

use std::cmp::Ordering;

use rmpv::{Value, ValueRef};

use crate::error::{Error, Result};

/// The extension code of a value that could be anything; `...` in Python.
pub const UNKNOWN: i8 = 46;

/// A compiled filter: all of its terms must hold.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(super) terms: Vec<Term>,
}

/// A condition on one field; every field above it must be a map.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// The names of nested fields, outermost first; never empty.
    pub path: Vec<String>,
    pub condition: Condition,
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Operators(Vec<(Operator, Value)>),
    Fields(Vec<(String, Condition)>),
    Items(Vec<Condition>),
    Equal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Filter {
    /// Compiles a filter from msgpack.
    ///
    /// # Errors
    ///
    /// [`Error::Filter`] if it is not a map or uses an unknown operator.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = rmpv::decode::read_value(&mut &*bytes)
            .map_err(|error| Error::Filter(format!("the filter is not msgpack: {error}")))?;
        let Value::Map(entries) = value else {
            return Err(Error::Filter(
                "a filter must be a mapping of field names to conditions".to_owned(),
            ));
        };
        let mut terms = Vec::new();
        for (key, value) in entries {
            add_terms(vec![name(key)?], Condition::parse(value)?, &mut terms);
        }
        Ok(Self { terms })
    }

    /// Returns whether a value, encoded as msgpack, meets the filter.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        let value = rmpv::decode::read_value_ref(&mut &*value).unwrap_or(ValueRef::Nil);
        self.terms.iter().all(|term| {
            field_at(&value, &term.path).is_some_and(|found| term.condition.holds(found))
        })
    }
}

/// Splits a condition on a field into terms.
fn add_terms(path: Vec<String>, condition: Condition, terms: &mut Vec<Term>) {
    match condition {
        Condition::Fields(fields) if !fields.is_empty() => {
            for (name, condition) in fields {
                let mut path = path.clone();
                path.push(name);
                add_terms(path, condition, terms);
            }
        }
        condition => terms.push(Term { path, condition }),
    }
}

/// Returns the field at the end of a path, or `None` if a value above it is not a map.
pub(super) fn field_at<'a>(value: &'a ValueRef<'a>, path: &[String]) -> Option<&'a ValueRef<'a>> {
    path.iter().try_fold(value, |value, name| match value {
        ValueRef::Map(entries) => Some(field(entries, name)),
        value if is_unknown(value) => Some(value),
        _ => None,
    })
}

fn is_unknown(value: &ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Ext(UNKNOWN, [0xc0]))
}

/// Returns whether a value is or contains an unknown value.
fn has_unknown(value: &ValueRef<'_>) -> bool {
    match value {
        ValueRef::Array(items) => items.iter().any(has_unknown),
        ValueRef::Map(entries) => entries.iter().any(|(_, value)| has_unknown(value)),
        value => is_unknown(value),
    }
}

fn name(key: Value) -> Result<String> {
    match key {
        Value::String(text) => text
            .into_str()
            .ok_or_else(|| Error::Filter("a field name must be valid UTF-8".to_owned())),
        other => Err(Error::Filter(format!(
            "a filter's keys must be field names or operators, not {other}"
        ))),
    }
}

/// Returns a field of a map; a missing field is nil.
fn field<'a>(entries: &'a [(ValueRef<'a>, ValueRef<'a>)], name: &str) -> &'a ValueRef<'a> {
    entries
        .iter()
        // As in a dict, the last of several equal keys counts.
        .rfind(|(key, _)| matches!(key, ValueRef::String(key) if key.as_str() == Some(name)))
        .map_or(&ValueRef::Nil, |(_, value)| value)
}

impl Condition {
    fn parse(value: Value) -> Result<Self> {
        Ok(match value {
            Value::Map(entries) => {
                let entries: Vec<(String, Value)> = entries
                    .into_iter()
                    .map(|(key, value)| Ok((name(key)?, value)))
                    .collect::<Result<_>>()?;
                if entries.iter().any(|(key, _)| key.starts_with('$')) {
                    let operators = entries
                        .into_iter()
                        .map(|(key, value)| Ok((Operator::parse(&key)?, value)))
                        .collect::<Result<_>>()?;
                    Self::Operators(operators)
                } else {
                    let fields = entries
                        .into_iter()
                        .map(|(key, value)| Ok((key, Self::parse(value)?)))
                        .collect::<Result<_>>()?;
                    Self::Fields(fields)
                }
            }
            Value::Array(items) => {
                Self::Items(items.into_iter().map(Self::parse).collect::<Result<_>>()?)
            }
            other => Self::Equal(other),
        })
    }

    pub(super) fn holds(&self, value: &ValueRef<'_>) -> bool {
        if is_unknown(value) {
            return true;
        }
        match self {
            Self::Operators(operators) => operators
                .iter()
                .all(|(operator, operand)| operator.holds(value, operand)),
            Self::Fields(fields) => match value {
                ValueRef::Map(entries) => fields
                    .iter()
                    .all(|(name, condition)| condition.holds(field(entries, name))),
                _ => false,
            },
            Self::Items(conditions) => match value {
                ValueRef::Array(items) => {
                    items.len() == conditions.len()
                        && items.iter().zip(conditions).all(|(item, c)| c.holds(item))
                }
                _ => false,
            },
            Self::Equal(expected) => {
                let expected = expected.as_ref();
                is_unknown(&expected) || equal(value, &expected)
            }
        }
    }

    /// Returns the text that a value must equal, if that is the whole condition.
    pub(super) fn text(&self) -> Option<&Value> {
        match self {
            Self::Equal(text @ Value::String(_)) => Some(text),
            Self::Operators(operators) => match &operators[..] {
                [(Operator::Eq, text @ Value::String(_))] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the interval of numbers that meet this condition, if they form one.
    pub(super) fn interval(&self) -> Option<Interval> {
        let Self::Operators(operators) = self else {
            return None;
        };
        let mut interval = Interval {
            least: f64::NEG_INFINITY,
            greatest: f64::INFINITY,
        };
        for (operator, operand) in operators {
            let operand = match operand {
                Value::F64(operand) => *operand,
                Value::Integer(operand) => operand.as_f64()?,
                _ => return None,
            };
            // Nothing lies beyond infinity, and nothing is greater or less than NaN.
            match operator {
                Operator::Eq | Operator::Ne => return None,
                _ if operand.is_nan() => return Some(Interval::EMPTY),
                Operator::Gt if operand == f64::INFINITY => return Some(Interval::EMPTY),
                Operator::Lt if operand == f64::NEG_INFINITY => return Some(Interval::EMPTY),
                Operator::Gt => interval.least = interval.least.max(operand.next_up()),
                Operator::Gte => interval.least = interval.least.max(operand),
                Operator::Lt => interval.greatest = interval.greatest.min(operand.next_down()),
                Operator::Lte => interval.greatest = interval.greatest.min(operand),
            }
        }
        Some(interval)
    }
}

/// The numbers from `least` to `greatest`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub least: f64,
    pub greatest: f64,
}

impl Interval {
    const EMPTY: Self = Self {
        least: f64::INFINITY,
        greatest: f64::NEG_INFINITY,
    };

    /// Returns whether a number is in the interval; NaN is not.
    #[inline(always)]
    pub fn holds(self, number: f64) -> bool {
        self.least <= number && number <= self.greatest
    }
}

impl Operator {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "$eq" => Self::Eq,
            "$ne" => Self::Ne,
            "$gt" => Self::Gt,
            "$gte" => Self::Gte,
            "$lt" => Self::Lt,
            "$lte" => Self::Lte,
            _ => {
                return Err(Error::Filter(format!(
                    "unknown operator {name:?} in a filter: use $eq, $ne, $gt, $gte, $lt or $lte, \
                     with no other keys beside them"
                )));
            }
        })
    }

    fn holds(self, value: &ValueRef<'_>, operand: &Value) -> bool {
        let operand = operand.as_ref();
        match self {
            _ if has_unknown(value) || has_unknown(&operand) => true,
            Self::Eq => equal(value, &operand),
            Self::Ne => !equal(value, &operand),
            _ => self.holds_order(order(value, &operand)),
        }
    }

    fn holds_order(self, order: Option<Ordering>) -> bool {
        match (self, order) {
            (Self::Gt, Some(order)) => order.is_gt(),
            (Self::Gte, Some(order)) => order.is_ge(),
            (Self::Lt, Some(order)) => order.is_lt(),
            (Self::Lte, Some(order)) => order.is_le(),
            _ => false,
        }
    }
}

/// Compares numbers and numeric texts as Python's `float(a)` and `float(b)`, other texts by code
/// point.
///
/// Returns None for values that cannot be compared.
fn order(a: &ValueRef<'_>, b: &ValueRef<'_>) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (float(a), float(b)) {
        return a.partial_cmp(&b);
    }
    match (a, b) {
        (ValueRef::String(a), ValueRef::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        _ => None,
    }
}

/// Returns the result of Python's `float(value)` for numbers and numeric texts.
pub(super) fn float(value: &ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::String(text) => text.as_str()?.trim().parse().ok(),
        other => Number::of(other).map(Number::float),
    }
}

#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    fn of(value: &ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Boolean(value) => Some(Self::Integer(i128::from(*value))),
            ValueRef::Integer(value) => value
                .as_i64()
                .map(i128::from)
                .or(value.as_u64().map(i128::from))
                .map(Self::Integer),
            ValueRef::F32(value) => Some(Self::Float(f64::from(*value))),
            ValueRef::F64(value) => Some(Self::Float(*value)),
            _ => None,
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            // A float of this size without a fraction converts to an integer exactly.
            (Self::Integer(a), Self::Float(b)) | (Self::Float(b), Self::Integer(a)) => {
                b.fract() == 0.0 && b.abs() < 1e30 && b as i128 == a
            }
        }
    }
}

/// Returns whether two values are equal as Python objects: numbers and bools compare by value.
fn equal(a: &ValueRef<'_>, b: &ValueRef<'_>) -> bool {
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return a.equals(b);
    }
    match (a, b) {
        (ValueRef::Nil, ValueRef::Nil) => true,
        (ValueRef::String(a), ValueRef::String(b)) => a.as_bytes() == b.as_bytes(),
        (ValueRef::Binary(a), ValueRef::Binary(b)) => a == b,
        (ValueRef::Ext(a_type, a), ValueRef::Ext(b_type, b)) => a_type == b_type && a == b,
        (ValueRef::Array(a), ValueRef::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (ValueRef::Map(a), ValueRef::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| {
                    b.iter()
                        .any(|(other, found)| equal(key, other) && equal(value, found))
                })
        }
        _ => false,
    }
}
