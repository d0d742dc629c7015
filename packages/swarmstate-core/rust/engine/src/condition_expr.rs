//! What conditions are made of.

use std::fmt;

use regex::Regex;

/// A constant of a condition.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Literal {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Literal>),
    Tuple(Vec<Literal>),
}

/// A comparison of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `.name`: a key of a mapping or an attribute.
    Name(String),
    /// `[index]` or `["key"]`.
    Item(Literal),
}

/// A path into the state.
#[derive(Clone)]
pub struct Path {
    /// At least one; the first is a name.
    pub steps: Vec<Step>,
    /// The path as it is written.
    pub text: String,
}

impl fmt::Debug for Path {
    /// Writes what it is, however it is written: `Condition::shape` relies on that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Path").field(&self.steps).finish()
    }
}

/// What a call of one argument does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Unary {
    Len,
    Lower,
    Upper,
}

/// What a call of two strings asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Binary {
    StartsWith,
    EndsWith,
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A constant.
    Literal(Literal),
    /// What lies at a path; None if nothing does.
    Path(Path),
    /// Whether something lies at a path.
    Exists(Path),
    /// The first that is false, or the last.
    And(Vec<Expr>),
    /// The first that is true, or the last.
    Or(Vec<Expr>),
    /// Whether it is false.
    Not(Box<Expr>),
    /// `a < b <= c`: each pair holds.
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    /// A function of one value.
    Unary(Unary, Box<Expr>),
    /// A question about two strings.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// Whether a regular expression is found in a string.
    Matches(Box<Expr>, Regex),
}
