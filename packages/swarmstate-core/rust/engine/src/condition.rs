//! Conditions: a small language of questions about a state, parsed once.
//!
//! It is a part of Python's expressions (see `condition_parser`), and so is what it means, but for
//! None (see `condition_program`).

use std::fmt;

pub use crate::condition_expr::{Binary, Comparison, Expr, Literal, Path, Step, Unary};
use crate::condition_parser::Parser;

/// Conditions may have this many bytes.
pub const MAX_LENGTH: usize = 8 * 1024;
/// Conditions may nest this deeply.
pub const MAX_DEPTH: usize = 64;

/// Why a condition cannot be parsed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What was expected and found.
    pub message: String,
    /// The character at which it went wrong, counted from 1.
    pub column: usize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// A condition, parsed.
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
    /// [`SyntaxError`] if it is none, is longer than [`MAX_LENGTH`], nests more deeply than
    /// [`MAX_DEPTH`], or holds a regular expression that is none or too large.
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

    /// The condition as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The condition as it is understood.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// What is equal for conditions that are the same but for spaces, needless parentheses and the
    /// kind of quotes.
    #[must_use]
    pub fn shape(&self) -> String {
        // Regular expressions have no equality, but print as what they are.
        format!("{:?}", self.expr)
    }
}
