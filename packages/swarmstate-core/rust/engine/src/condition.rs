//! Conditions: a small language for questions about a state, parsed once.
//!
//! Both syntax (see `condition_parser`) and semantics are a subset of Python's expressions, except
//! for None (see `condition_program`).

use std::fmt;

pub use crate::condition_expr::{Binary, Comparison, Expr, Literal, Path, Step, Unary};
use crate::condition_parser::Parser;

/// The maximum length of a condition in bytes.
pub const MAX_LENGTH: usize = 8 * 1024;
/// The maximum nesting depth of a condition.
pub const MAX_DEPTH: usize = 64;

/// Why and where a condition cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What was expected and found.
    pub message: String,
    /// The position of the error in characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// A parsed condition.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    expr: Expr,
}

impl Condition {
    /// Parses a condition.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] if it is invalid, longer than [`MAX_LENGTH`], nested more deeply than
    /// [`MAX_DEPTH`], or contains a regular expression that is invalid or too large.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.len() > MAX_LENGTH {
            return Err(SyntaxError {
                message: format!(
                    "expected a condition of at most {MAX_LENGTH} bytes, found {}",
                    text.len()
                ),
                column: 1,
            });
        }
        Ok(Self {
            text: text.to_owned(),
            expr: Parser::of(text)?.all()?,
        })
    }

    /// Returns the condition as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the parsed expression.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Returns a string that is equal for conditions that differ only in spaces, redundant
    /// parentheses and quote style.
    #[must_use]
    pub fn shape(&self) -> String {
        // Regular expressions cannot be compared, but their debug output shows their pattern.
        format!("{:?}", self.expr)
    }
}
