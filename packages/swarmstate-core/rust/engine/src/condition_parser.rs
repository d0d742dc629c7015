//! Parses the text of a condition into an expression.
//!
//! The grammar is a subset of Python's:
//!
//! ```text
//! or         = and ("or" and)*
//! and        = not ("and" not)*
//! not        = "not" not | comparison
//! comparison = operand (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") operand)*
//! operand    = literal | path | call | "(" or ")"
//! call       = function "(" or ("," or)* ")"
//! path       = name ("." name | "[" integer | string "]")*
//! literal    = string | number | "True" | "False" | "None" | list | tuple | "(" literal ")"
//! list       = "[" (literal ("," literal)* ","?)? "]"
//! tuple      = "(" (literal "," (literal ("," literal)* ","?)?)? ")"
//! ```

use regex::{Regex, RegexBuilder};

use crate::condition::{MAX_DEPTH, SyntaxError};
use crate::condition_expr::{Binary, Comparison, Expr, Literal, Path, Step, Unary};
use crate::condition_hints::{constant, is_method, operator};
use crate::condition_tokens::{Token, Tokens};

/// The maximum size of a compiled regular expression in bytes.
const MAX_REGEX: usize = 1 << 20;

type Parsed<T> = Result<T, SyntaxError>;

/// Parses the remaining tokens of a condition.
pub(crate) struct Parser<'t> {
    tokens: Tokens<'t>,
    depth: usize,
}

impl<'t> Parser<'t> {
    pub(crate) fn of(text: &'t str) -> Parsed<Self> {
        Ok(Self {
            tokens: Tokens::of(text)?,
            depth: 0,
        })
    }

    /// Parses an expression that must use up all tokens.
    pub(crate) fn all(mut self) -> Parsed<Expr> {
        let expr = self.or()?;
        match self.tokens.peek() {
            Token::End => Ok(expr),
            _ => Err(self.unexpected("'and', 'or', a comparison or the end")),
        }
    }

    fn or(&mut self) -> Parsed<Expr> {
        self.descend()?;
        let first = self.and()?;
        let expr = self.chain("or", first, Self::and, Expr::Or)?;
        self.depth -= 1;
        Ok(expr)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let first = self.not()?;
        self.chain("and", first, Self::not, Expr::And)
    }

    fn chain(
        &mut self,
        keyword: &str,
        first: Expr,
        next: fn(&mut Self) -> Parsed<Expr>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Parsed<Expr> {
        let mut all = vec![first];
        while self.tokens.take_name(keyword) {
            all.push(next(self)?);
        }
        Ok(if all.len() == 1 {
            all.remove(0)
        } else {
            join(all)
        })
    }

    fn not(&mut self) -> Parsed<Expr> {
        let mut negations = 0_usize;
        while self.tokens.take_name("not") {
            negations += 1;
        }
        let mut expr = self.comparison()?;
        if negations > 0 {
            // An even number of `not`s still converts the value to a bool.
            expr = Expr::Not(Box::new(expr));
            if negations.is_multiple_of(2) {
                expr = Expr::Not(Box::new(expr));
            }
        }
        Ok(expr)
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let first = self.operand()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparator()? {
            rest.push((comparison, self.operand()?));
        }
        Ok(if rest.is_empty() {
            first
        } else {
            Expr::Compare(Box::new(first), rest)
        })
    }

    fn comparator(&mut self) -> Parsed<Option<Comparison>> {
        let found = match self.tokens.peek() {
            Token::Symbol("==") => Comparison::Equal,
            Token::Symbol("!=") => Comparison::NotEqual,
            Token::Symbol("<") => Comparison::Less,
            Token::Symbol("<=") => Comparison::LessOrEqual,
            Token::Symbol(">") => Comparison::Greater,
            Token::Symbol(">=") => Comparison::GreaterOrEqual,
            Token::Name("in") => Comparison::In,
            Token::Name("not") => {
                self.tokens.next();
                if !self.tokens.take_name("in") {
                    return Err(self.unexpected("'in' after 'not'"));
                }
                return Ok(Some(Comparison::NotIn));
            }
            _ => return Ok(None),
        };
        self.tokens.next();
        Ok(Some(found))
    }

    fn operand(&mut self) -> Parsed<Expr> {
        match self.tokens.peek().clone() {
            Token::Symbol("(") => self.parenthesised(),
            Token::Name(name) if !is_reserved(name) => {
                if *self.tokens.peek_second() == Token::Symbol("(") {
                    self.call(name)
                } else {
                    let path = self.path()?;
                    match path.steps.as_slice() {
                        [.., _, Step::Name(name)]
                            if is_method(name) && *self.tokens.peek() == Token::Symbol("(") =>
                        {
                            Err(self.method(name, &path))
                        }
                        _ => Ok(Expr::Path(path)),
                    }
                }
            }
            _ => Ok(Expr::Literal(self.literal()?)),
        }
    }

    /// Parses an expression in parentheses, or a tuple of literals.
    fn parenthesised(&mut self) -> Parsed<Expr> {
        self.tokens.next();
        if self.tokens.take_symbol(")") {
            return Ok(Expr::Literal(Literal::Tuple(Vec::new())));
        }
        let expr = self.or()?;
        if self.tokens.take_symbol(")") {
            return Ok(expr);
        }
        let Expr::Literal(first) = expr else {
            return Err(self.unexpected("')'"));
        };
        if !self.tokens.take_symbol(",") {
            return Err(self.unexpected("',' or ')'"));
        }
        let mut items = vec![first];
        items.extend(self.literals(")")?.0);
        Ok(Expr::Literal(Literal::Tuple(items)))
    }

    fn call(&mut self, name: &str) -> Parsed<Expr> {
        let at = self.tokens.column();
        self.tokens.next();
        self.tokens.next();
        let expr = match name {
            "exists" => Expr::Exists(self.path()?),
            "len" => Expr::Unary(Unary::Len, Box::new(self.or()?)),
            "lower" => Expr::Unary(Unary::Lower, Box::new(self.or()?)),
            "upper" => Expr::Unary(Unary::Upper, Box::new(self.or()?)),
            "startswith" | "endswith" => {
                let text = Box::new(self.or()?);
                self.expect(",")?;
                let part = Box::new(self.or()?);
                let question = match name {
                    "startswith" => Binary::StartsWith,
                    _ => Binary::EndsWith,
                };
                Expr::Binary(question, text, part)
            }
            "matches" => {
                let text = Box::new(self.or()?);
                self.expect(",")?;
                Expr::Matches(text, self.regex()?)
            }
            _ => {
                return Err(SyntaxError {
                    message: format!(
                        "expected one of the functions exists, len, lower, upper, startswith, \
                         endswith and matches, found '{name}'"
                    ),
                    column: at,
                });
            }
        };
        self.expect(")")?;
        Ok(expr)
    }

    /// Suggests how to write a call such as `x.lower()`: there are no methods.
    fn method(&mut self, name: &str, path: &Path) -> SyntaxError {
        let mut error = self.unexpected("a comparison or a function");
        self.tokens.next();
        let start = self.tokens.offset();
        let object = path.text.rsplit_once('.').map_or("", |(object, _)| object);
        let object = object.trim_end();
        let call = if self.tokens.take_symbol(")") {
            format!("{name}({object})")
        } else if self.or().is_ok() && *self.tokens.peek() == Token::Symbol(")") {
            format!("{name}({object}, {})", self.tokens.text_since(start))
        } else {
            format!("{name}({object}, ...)")
        };
        error.message.push_str("; write ");
        error.message.push_str(&call);
        error
    }

    fn regex(&mut self) -> Parsed<Regex> {
        let Token::Str(pattern) = self.tokens.peek().clone() else {
            return Err(self.unexpected("a regular expression as a string"));
        };
        let regex = RegexBuilder::new(&pattern)
            .size_limit(MAX_REGEX)
            .build()
            .map_err(|error| self.error(format!("invalid regular expression: {error}")))?;
        self.tokens.next();
        Ok(regex)
    }

    fn path(&mut self) -> Parsed<Path> {
        let start = self.tokens.offset();
        self.refuse_foreign_constant()?;
        let mut steps = vec![Step::Name(self.name()?)];
        loop {
            if self.tokens.take_symbol(".") {
                steps.push(Step::Name(self.name()?));
            } else if self.tokens.take_symbol("[") {
                let column = self.tokens.column();
                steps.push(match self.literal()? {
                    key @ (Literal::Int(_) | Literal::Str(_)) => Step::Item(key),
                    _ => {
                        return Err(SyntaxError {
                            message: "expected an integer or string index".to_owned(),
                            column,
                        });
                    }
                });
                self.expect("]")?;
            } else {
                break;
            }
            if steps.len() > MAX_DEPTH {
                return Err(self.error(format!("expected a path of at most {MAX_DEPTH} steps")));
            }
        }
        let text = self.tokens.text_since(start).to_owned();
        Ok(Path { steps, text })
    }

    fn name(&mut self) -> Parsed<String> {
        match self.tokens.peek().clone() {
            // Such attributes are not state, and some of them lead to code.
            Token::Name(name) if name.starts_with('_') => Err(self.error(format!(
                "expected a name without a leading '_', found '{name}'"
            ))),
            Token::Name(name) if !is_reserved(name) => {
                self.tokens.next();
                Ok(name.to_owned())
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// As a path, `true` would usually not exist and silently be None.
    fn refuse_foreign_constant(&self) -> Parsed<()> {
        match self.tokens.peek() {
            Token::Name(name) => constant(name).map_or(Ok(()), |constant| {
                Err(self.error(format!("found '{name}': write {constant}")))
            }),
            _ => Ok(()),
        }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        self.refuse_foreign_constant()?;
        let literal = match self.tokens.peek().clone() {
            Token::Str(text) => Literal::Str(text),
            Token::Int(number) => Literal::Int(number),
            Token::Float(number) => Literal::Float(number),
            Token::Name("None") => Literal::None,
            Token::Name("True") => Literal::Bool(true),
            Token::Name("False") => Literal::Bool(false),
            Token::Symbol(open @ ("[" | "(")) => {
                self.descend()?;
                self.tokens.next();
                let close = if open == "[" { "]" } else { ")" };
                let (mut items, ends_in_comma) = self.literals(close)?;
                self.depth -= 1;
                return Ok(match (open, items.len()) {
                    ("[", _) => Literal::List(items),
                    // Parentheses alone do not make a tuple.
                    (_, 1) if !ends_in_comma => items.remove(0),
                    _ => Literal::Tuple(items),
                });
            }
            _ => return Err(self.unexpected("a value, a path or a function")),
        };
        self.tokens.next();
        Ok(literal)
    }

    /// Parses literals through the closing bracket; returns whether a comma comes before it.
    fn literals(&mut self, close: &'static str) -> Parsed<(Vec<Literal>, bool)> {
        let mut items = Vec::new();
        while !self.tokens.take_symbol(close) {
            items.push(self.literal()?);
            if !self.tokens.take_symbol(",") {
                self.expect(close)?;
                return Ok((items, false));
            }
        }
        let ends_in_comma = !items.is_empty();
        Ok((items, ends_in_comma))
    }

    /// Goes one level deeper, within the limit; the caller decrements `depth`.
    fn descend(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("expected at most {MAX_DEPTH} levels of nesting")));
        }
        Ok(())
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.tokens.take_symbol(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("'{symbol}'")))
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        let found = self.tokens.peek();
        let hint = operator(found);
        self.error(format!("expected {expected}, found {found}{hint}"))
    }

    fn error(&self, message: String) -> SyntaxError {
        SyntaxError {
            message,
            column: self.tokens.column(),
        }
    }
}

fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "and" | "or" | "not" | "in" | "None" | "True" | "False"
    )
}
