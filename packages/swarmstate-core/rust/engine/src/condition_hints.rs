//! What to write instead of what other languages, or Python itself, would have there.

use crate::condition_tokens::Token;

/// The literal that is meant by a name which is one in JSON, YAML or JavaScript.
pub(crate) fn constant(name: &str) -> Option<&'static str> {
    match name {
        "true" => Some("True"),
        "false" => Some("False"),
        "null" | "none" => Some("None"),
        _ => None,
    }
}

/// Whether a function does what would be written as a method.
pub(crate) fn is_method(name: &str) -> bool {
    matches!(
        name,
        "len" | "lower" | "upper" | "startswith" | "endswith" | "matches"
    )
}

/// The rest of a message that ends in a token found where an operator may stand.
pub(crate) fn operator(found: &Token<'_>) -> &'static str {
    match found {
        Token::Name("is") => "; write == or !=",
        _ => "",
    }
}

/// The rest of a message about a character that begins no token.
pub(crate) fn character(found: char) -> &'static str {
    match found {
        '&' | '|' | '!' => "; write and, or, not",
        _ => "",
    }
}
