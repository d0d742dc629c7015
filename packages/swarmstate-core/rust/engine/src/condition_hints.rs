//! Hints for syntax from other languages, or from Python itself, that conditions do not support.

use crate::condition_tokens::Token;

/// Returns the literal meant by a name that is a literal in JSON, YAML or JavaScript.
pub(crate) fn constant(name: &str) -> Option<&'static str> {
    match name {
        "true" => Some("True"),
        "false" => Some("False"),
        "null" | "none" => Some("None"),
        _ => None,
    }
}

/// Returns whether a function here is a method in Python.
pub(crate) fn is_method(name: &str) -> bool {
    matches!(
        name,
        "len" | "lower" | "upper" | "startswith" | "endswith" | "matches"
    )
}

/// Returns the end of a message about a token found where an operator may stand.
pub(crate) fn operator(found: &Token<'_>) -> &'static str {
    match found {
        Token::Name("is") => "; write == or !=",
        _ => "",
    }
}

/// Returns the end of a message about a character that starts no token.
pub(crate) fn character(found: char) -> &'static str {
    match found {
        '&' | '|' | '!' => "; write and, or, not",
        _ => "",
    }
}
