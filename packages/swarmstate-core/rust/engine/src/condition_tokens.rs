//! The tokens of a condition.

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

use unicode_ident::{is_xid_continue, is_xid_start};

use crate::condition::SyntaxError;
use crate::condition_hints::character;

/// Longer symbols first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 12] = [
    "==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", ".",
];

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'t> {
    Name(&'t str),
    Str(String),
    Int(i64),
    Float(f64),
    Symbol(&'static str),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "'{name}'"),
            Self::Str(_) => f.write_str("a string"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Symbol(symbol) => write!(f, "'{symbol}'"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// A token and the bytes it spans.
struct Placed<'t> {
    token: Token<'t>,
    start: usize,
    end: usize,
}

/// The tokens of a condition, with the position of the next one.
pub(crate) struct Tokens<'t> {
    text: &'t str,
    /// Never empty: the last token is `End`.
    tokens: Vec<Placed<'t>>,
    next: usize,
}

impl<'t> Tokens<'t> {
    pub(crate) fn of(text: &'t str) -> Result<Self, SyntaxError> {
        let mut tokens = Vec::new();
        let mut rest = 0;
        loop {
            rest += text[rest..].len() - text[rest..].trim_start().len();
            let (token, length) = read(text, rest)?;
            let is_end = token == Token::End;
            tokens.push(Placed {
                token,
                start: rest,
                end: rest + length,
            });
            if is_end {
                return Ok(Self {
                    text,
                    tokens,
                    next: 0,
                });
            }
            rest += length;
        }
    }

    pub(crate) fn peek(&self) -> &Token<'t> {
        &self.tokens[self.next].token
    }

    pub(crate) fn peek_second(&self) -> &Token<'t> {
        let second = self.tokens.get(self.next + 1);
        second.map_or(&Token::End, |placed| &placed.token)
    }

    /// Moves on, but not beyond the end.
    pub(crate) fn next(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    pub(crate) fn take_symbol(&mut self, symbol: &str) -> bool {
        self.take(|token| matches!(token, Token::Symbol(found) if *found == symbol))
    }

    pub(crate) fn take_name(&mut self, name: &str) -> bool {
        self.take(|token| matches!(token, Token::Name(found) if *found == name))
    }

    fn take(&mut self, is_wanted: impl FnOnce(&Token<'_>) -> bool) -> bool {
        let taken = is_wanted(self.peek());
        if taken {
            self.next();
        }
        taken
    }

    /// Returns where the next token starts, in bytes.
    pub(crate) fn offset(&self) -> usize {
        self.tokens[self.next].start
    }

    /// Returns where the next token starts, in characters counted from 1.
    pub(crate) fn column(&self) -> usize {
        column(self.text, self.offset())
    }

    /// Returns the text from an offset to the end of the last token taken.
    pub(crate) fn text_since(&self, start: usize) -> &'t str {
        let end = self
            .next
            .checked_sub(1)
            .map_or(start, |last| self.tokens[last].end);
        &self.text[start..end.max(start)]
    }
}

fn column(text: &str, offset: usize) -> usize {
    text[..offset].chars().count() + 1
}

/// Reads the token at an offset; returns it and its length in bytes.
fn read(text: &str, offset: usize) -> Result<(Token<'_>, usize), SyntaxError> {
    let rest = &text[offset..];
    let error = |message: String| SyntaxError {
        message,
        column: column(text, offset),
    };
    let Some(first) = rest.chars().next() else {
        return Ok((Token::End, 0));
    };
    if first == '_' || is_xid_start(first) {
        let end = rest.find(|c| !is_xid_continue(c)).unwrap_or(rest.len());
        return Ok((Token::Name(&rest[..end]), end));
    }
    let after_sign = rest.strip_prefix('-').unwrap_or(rest);
    if after_sign.starts_with(|c: char| c.is_ascii_digit()) {
        return number(rest).map_err(error);
    }
    if first == '"' || first == '\'' {
        return string(rest, first).map_err(error);
    }
    match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        Some(symbol) => Ok((Token::Symbol(symbol), symbol.len())),
        None if first == '=' => Err(error("expected '==', found '='".to_owned())),
        None => Err(error(format!(
            "unexpected character {first:?}{}",
            character(first)
        ))),
    }
}

fn number(rest: &str) -> Result<(Token<'static>, usize), String> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| {
        let count = bytes[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        from + count.count()
    };
    let mut end = digits(usize::from(bytes[0] == b'-'));
    let mut is_float = false;
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
        is_float = true;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
            is_float = true;
        }
    }
    let text = &rest[..end];
    if rest[end..].starts_with(is_xid_continue) {
        return Err(format!(
            "expected a number, found '{text}' followed by a letter"
        ));
    }
    let token = if is_float {
        text.parse().map(Token::Float).map_err(|_| text)
    } else {
        text.parse().map(Token::Int).map_err(|_| text)
    };
    match token {
        Ok(token) => Ok((token, end)),
        Err(text) => Err(format!(
            "expected a number of at most 64 bits, found {text}"
        )),
    }
}

fn string(rest: &str, quote: char) -> Result<(Token<'static>, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().peekable();
    chars.next();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Token::Str(text), at + c.len_utf8())),
            '\\' => text.push(escaped(&mut chars)?),
            _ => text.push(c),
        }
    }
    Err(format!("expected {quote} at the end of the string"))
}

fn escaped(chars: &mut Peekable<CharIndices<'_>>) -> Result<char, String> {
    let c = chars.next().map(|(_, c)| c);
    match c {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some(c @ ('\\' | '\'' | '"')) => Ok(c),
        Some('u') => {
            let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
            (digits.len() == 4)
                .then(|| u32::from_str_radix(&digits, 16).ok())
                .flatten()
                .and_then(char::from_u32)
                .ok_or_else(|| format!("expected a hex character code after \\u, found {digits:?}"))
        }
        _ => {
            let expected = "expected n, r, t, u, a quote or \\ after \\";
            Err(format!("{expected}; write a literal \\ as \\\\"))
        }
    }
}
