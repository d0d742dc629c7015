//! The expression tree of a condition.

use std::fmt;

use regex::Regex;

/// A constant in a condition.
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
    /// Never empty; the first step is a name.
    pub steps: Vec<Step>,
    /// The path as written.
    pub text: String,
}

impl fmt::Debug for Path {
    /// Prints the steps, not the text: `Condition::shape` relies on that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Path").field(&self.steps).finish()
    }
}

/// A function of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Unary {
    Len,
    Lower,
    Upper,
}

/// A function of two strings.
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
    /// The value at a path; None if there is none.
    Path(Path),
    /// Whether there is a value at a path.
    Exists(Path),
    /// The first false operand, or the last one.
    And(Vec<Expr>),
    /// The first true operand, or the last one.
    Or(Vec<Expr>),
    /// Whether the operand is false.
    Not(Box<Expr>),
    /// `a < b <= c`: each pair holds.
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    /// A call with one argument.
    Unary(Unary, Box<Expr>),
    /// A test on two strings.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// Whether a regular expression matches anywhere in a string.
    Matches(Box<Expr>, Regex),
}
