//! Compiles conditions for a host, which holds the values that they test.
//!
//! Conditions mean what they mean in Python, with one exception: a missing value is None, and None
//! is neither less nor greater than anything, its length is None, it has no letters and no items,
//! and no text contains it. So `score > 0.5` is false, not an error, while there is no score.

use regex::Regex;

use crate::condition::{Binary, Comparison, Condition, Expr, Literal, Path, Step, Unary};

/// Holds the values; implemented by the language that the state is in.
pub trait Host {
    /// A value of the state; cheap to clone.
    type Value: Clone;
    /// A literal or field name, converted once.
    type Constant;
    /// An error raised while inspecting values.
    type Error;

    /// Converts a literal to a constant.
    fn literal(&self, literal: &Literal) -> Result<Self::Constant, Self::Error>;
    /// Converts a name to a constant for `field`.
    fn name(&self, name: &str) -> Result<Self::Constant, Self::Error>;
    /// Returns the value of a constant; a recipient must not be able to change it for the next one.
    fn value(&self, constant: &Self::Constant) -> Result<Self::Value, Self::Error>;
    /// Returns a bool as a value.
    fn bool(&self, value: bool) -> Self::Value;
    /// Returns None.
    fn none(&self) -> Self::Value;
    /// Returns whether a value is None.
    fn is_none(&self, value: &Self::Value) -> bool;
    /// Returns the value that a mapping or object has under a name.
    fn field(
        &self,
        of: &Self::Value,
        name: &Self::Constant,
    ) -> Result<Option<Self::Value>, Self::Error>;
    /// Returns the value that a sequence or mapping has at an index or key.
    fn item(
        &self,
        of: &Self::Value,
        key: &Self::Constant,
    ) -> Result<Option<Self::Value>, Self::Error>;
    /// Returns whether a value is true.
    fn is_true(&self, value: &Self::Value) -> Result<bool, Self::Error>;
    /// Compares two values. Operands of ordering are not None, nor is the container of `in`.
    fn compare(
        &self,
        comparison: Comparison,
        left: &Self::Value,
        right: &Self::Value,
    ) -> Result<bool, Self::Error>;
    /// Applies a function to a value that is not None.
    fn apply(&self, function: Unary, value: &Self::Value) -> Result<Self::Value, Self::Error>;
    /// Calls a function with the text of a value that is not None.
    fn with_text<T>(
        &self,
        value: &Self::Value,
        look: impl FnOnce(&str) -> T,
    ) -> Result<T, Self::Error>;
}

/// A condition with a host's constants.
pub struct Program<C>(Node<C>);

enum Node<C> {
    Constant(C),
    Path(Steps<C>),
    Exists(Steps<C>),
    And(Vec<Node<C>>),
    Or(Vec<Node<C>>),
    Not(Box<Node<C>>),
    Compare(Box<Node<C>>, Vec<(Comparison, Node<C>)>),
    Unary(Unary, Box<Node<C>>),
    Binary(Binary, Box<Node<C>>, Box<Node<C>>),
    Matches(Box<Node<C>>, Regex),
}

/// Paths as written, each with the value there or the error raised on access.
pub type AtPaths<'p, V, E> = Vec<(&'p str, Result<Option<V>, E>)>;

/// A path: names and items in order.
struct Steps<C> {
    steps: Vec<(bool, C)>,
    text: String,
}

impl<C> Program<C> {
    /// Compiles a condition.
    ///
    /// # Errors
    ///
    /// Any error that the host raises for a constant.
    pub fn new<H: Host<Constant = C>>(host: &H, condition: &Condition) -> Result<Self, H::Error> {
        node(host, condition.expr()).map(Self)
    }

    /// Returns whether the condition holds in a state.
    ///
    /// # Errors
    ///
    /// Any error that the host raises for a value that does not support an operation.
    pub fn holds<H: Host<Constant = C>>(
        &self,
        host: &H,
        state: &H::Value,
    ) -> Result<bool, H::Error> {
        test(host, &self.0, state)
    }

    /// Returns every path in the condition with its value, even paths that do not affect the
    /// result.
    pub fn paths<H: Host<Constant = C>>(
        &self,
        host: &H,
        state: &H::Value,
    ) -> AtPaths<'_, H::Value, H::Error> {
        let mut found: AtPaths<'_, _, _> = Vec::new();
        collect(&self.0, &mut |steps| {
            if found.iter().all(|(known, _)| *known != steps.text) {
                found.push((steps.text.as_str(), follow(host, steps, state)));
            }
        });
        found
    }
}

fn node<H: Host>(host: &H, expr: &Expr) -> Result<Node<H::Constant>, H::Error> {
    let boxed = |expr: &Expr| node(host, expr).map(Box::new);
    let all = |exprs: &[Expr]| {
        exprs
            .iter()
            .map(|expr| node(host, expr))
            .collect::<Result<_, _>>()
    };
    Ok(match expr {
        Expr::Literal(literal) => Node::Constant(host.literal(literal)?),
        Expr::Path(path) => Node::Path(steps(host, path)?),
        Expr::Exists(path) => Node::Exists(steps(host, path)?),
        Expr::And(exprs) => Node::And(all(exprs)?),
        Expr::Or(exprs) => Node::Or(all(exprs)?),
        Expr::Not(expr) => Node::Not(boxed(expr)?),
        Expr::Compare(first, rest) => {
            let last = rest.len() - 1;
            let rest = rest.iter().enumerate().map(|(index, (op, expr))| {
                let right = match expr {
                    // Nothing is compared with the last list itself, only with its items, so a
                    // tuple serves.
                    Expr::Literal(Literal::List(items))
                        if index == last && matches!(op, Comparison::In | Comparison::NotIn) =>
                    {
                        Node::Constant(host.literal(&Literal::Tuple(items.clone()))?)
                    }
                    expr => node(host, expr)?,
                };
                Ok((*op, right))
            });
            Node::Compare(boxed(first)?, rest.collect::<Result<_, _>>()?)
        }
        Expr::Unary(function, expr) => Node::Unary(*function, boxed(expr)?),
        Expr::Binary(question, text, part) => Node::Binary(*question, boxed(text)?, boxed(part)?),
        Expr::Matches(expr, regex) => Node::Matches(boxed(expr)?, regex.clone()),
    })
}

fn steps<H: Host>(host: &H, path: &Path) -> Result<Steps<H::Constant>, H::Error> {
    let made = path.steps.iter().map(|step| match step {
        Step::Name(name) => Ok((true, host.name(name)?)),
        Step::Item(key) => Ok((false, host.literal(key)?)),
    });
    Ok(Steps {
        steps: made.collect::<Result<_, _>>()?,
        text: path.text.clone(),
    })
}

fn collect<'n, C>(node: &'n Node<C>, visit: &mut impl FnMut(&'n Steps<C>)) {
    match node {
        Node::Constant(_) => {}
        Node::Path(steps) | Node::Exists(steps) => visit(steps),
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|node| collect(node, visit)),
        Node::Not(node) | Node::Unary(_, node) | Node::Matches(node, _) => collect(node, visit),
        Node::Binary(_, text, part) => {
            collect(text, visit);
            collect(part, visit);
        }
        Node::Compare(first, rest) => {
            collect(first, visit);
            rest.iter().for_each(|(_, node)| collect(node, visit));
        }
    }
}

fn follow<H: Host>(
    host: &H,
    path: &Steps<H::Constant>,
    state: &H::Value,
) -> Result<Option<H::Value>, H::Error> {
    let mut value = None;
    for (is_name, constant) in &path.steps {
        let of = value.as_ref().unwrap_or(state);
        let found = if *is_name {
            host.field(of, constant)?
        } else {
            host.item(of, constant)?
        };
        let Some(found) = found else {
            return Ok(None);
        };
        value = Some(found);
    }
    Ok(value)
}

fn test<H: Host>(host: &H, node: &Node<H::Constant>, state: &H::Value) -> Result<bool, H::Error> {
    match node {
        Node::Exists(path) => Ok(follow(host, path, state)?.is_some()),
        Node::And(nodes) => {
            for node in nodes {
                if !test(host, node, state)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Node::Or(nodes) => {
            for node in nodes {
                if test(host, node, state)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Node::Not(node) => Ok(!test(host, node, state)?),
        Node::Compare(first, rest) => {
            let mut left = eval(host, first, state)?;
            for (comparison, node) in rest {
                let right = eval(host, node, state)?;
                if !compare(host, *comparison, &left, &right)? {
                    return Ok(false);
                }
                left = right;
            }
            Ok(true)
        }
        Node::Binary(question, text, part) => {
            let (text, part) = (eval(host, text, state)?, eval(host, part, state)?);
            if host.is_none(&text) || host.is_none(&part) {
                return Ok(false);
            }
            // Copies one text, so that a host need not allow borrowing two at once.
            let part = host.with_text(&part, str::to_owned)?;
            host.with_text(&text, |text| match question {
                Binary::StartsWith => text.starts_with(&part),
                Binary::EndsWith => text.ends_with(&part),
            })
        }
        Node::Matches(node, regex) => {
            let text = eval(host, node, state)?;
            Ok(!host.is_none(&text) && host.with_text(&text, |text| regex.is_match(text))?)
        }
        Node::Constant(_) | Node::Path(_) | Node::Unary(..) => {
            host.is_true(&eval(host, node, state)?)
        }
    }
}

fn eval<H: Host>(
    host: &H,
    node: &Node<H::Constant>,
    state: &H::Value,
) -> Result<H::Value, H::Error> {
    match node {
        Node::Constant(constant) => host.value(constant),
        Node::Path(path) => Ok(follow(host, path, state)?.unwrap_or_else(|| host.none())),
        Node::And(nodes) => first_that_is(host, nodes, state, false),
        Node::Or(nodes) => first_that_is(host, nodes, state, true),
        Node::Unary(function, node) => {
            let value = eval(host, node, state)?;
            if host.is_none(&value) {
                return Ok(value);
            }
            host.apply(*function, &value)
        }
        _ => Ok(host.bool(test(host, node, state)?)),
    }
}

/// Returns the value of the first node whose truth is `wanted`, or of the last node.
fn first_that_is<H: Host>(
    host: &H,
    nodes: &[Node<H::Constant>],
    state: &H::Value,
    wanted: bool,
) -> Result<H::Value, H::Error> {
    let mut value = host.none();
    for (index, node) in nodes.iter().enumerate() {
        value = eval(host, node, state)?;
        if index + 1 < nodes.len() && host.is_true(&value)? == wanted {
            break;
        }
    }
    Ok(value)
}

fn compare<H: Host>(
    host: &H,
    comparison: Comparison,
    left: &H::Value,
    right: &H::Value,
) -> Result<bool, H::Error> {
    let unknown = match comparison {
        Comparison::Equal | Comparison::NotEqual => false,
        Comparison::In => host.is_none(right),
        Comparison::NotIn if host.is_none(right) => return Ok(true),
        Comparison::NotIn => false,
        _ => host.is_none(left) || host.is_none(right),
    };
    if unknown {
        return Ok(false);
    }
    host.compare(comparison, left, right)
}
