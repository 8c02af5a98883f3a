//! Conditions on the points of a study: `ep * 8 <= nodes and network == "ib"`.
//!
//! Comparisons of sums and products, joined by `and`, `or` and `not`. Names stand for what an axis has at the point.

use crate::scenario::Literal;
use std::cmp::Ordering;

/// A condition that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition(Expr);

#[derive(Clone, Debug, PartialEq)]
enum Expr {
    Number(f64),
    Text(String),
    /// The value of an axis, by its index.
    Axis(usize),
    Not(Box<Expr>),
    Both(Op, Box<Expr>, Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Operators by how tightly they bind, loosest first. Longer spellings come before those that they start with.
const LEVELS: &[&[(&str, Op)]] = &[
    &[("or", Op::Or)],
    &[("and", Op::And)],
    &[
        ("==", Op::Equal),
        ("!=", Op::Unequal),
        ("<=", Op::LessOrEqual),
        (">=", Op::GreaterOrEqual),
        ("<", Op::Less),
        (">", Op::Greater),
    ],
    &[("+", Op::Add), ("-", Op::Subtract)],
    &[("*", Op::Multiply), ("/", Op::Divide)],
];

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Text(String),
    Truth(bool),
}

impl Condition {
    /// Understands `text`, in which `axes` may be named.
    pub(super) fn parse(text: &str, axes: &[&str]) -> Result<Condition, String> {
        let mut parser = Parser { words: words(text)?, at: 0, axes };
        let expr = parser.level(0)?;
        match parser.words.get(parser.at) {
            None => Ok(Condition(expr)),
            Some(word) => Err(format!("`{word}` is not expected here")),
        }
    }

    /// Whether it is true where the axes have these values.
    pub(super) fn holds(&self, values: &[&Literal]) -> Result<bool, String> {
        match value(&self.0, values)? {
            Value::Truth(truth) => Ok(truth),
            Value::Number(_) | Value::Text(_) => {
                Err("this is a value, not a condition; compare it with something".to_owned())
            }
        }
    }
}

/// Numbers, names, quoted texts and operators, one by one.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' || first == '\'' {
            rest[1..].find(first).map(|end| end + 2).ok_or("a quoted text has no end")?
        } else if first.is_ascii_alphanumeric() || first == '_' || first == '.' {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("==") || rest.starts_with("!=") || rest.starts_with("<=") || rest.starts_with(">=") {
            2
        } else if "<>+-*/()".contains(first) {
            1
        } else {
            return Err(format!("`{first}` means nothing here"));
        };
        words.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

struct Parser<'a> {
    words: Vec<String>,
    at: usize,
    axes: &'a [&'a str],
}

impl Parser<'_> {
    /// Everything that binds at least as tightly as `level`.
    fn level(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = LEVELS.get(level) else { return self.single() };
        let mut left = self.level(level + 1)?;
        while let Some(word) = self.words.get(self.at)
            && let Some((_, op)) = operators.iter().find(|(spelling, _)| spelling == word)
        {
            self.at += 1;
            let right = self.level(level + 1)?;
            left = Expr::Both(*op, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Expr, String> {
        let word = self.words.get(self.at).cloned().ok_or("the condition ends too early")?;
        self.at += 1;
        if word == "not" {
            return Ok(Expr::Not(Box::new(self.level(2)?)));
        }
        if word == "(" {
            let inner = self.level(0)?;
            if self.words.get(self.at).is_none_or(|word| word != ")") {
                return Err("a parenthesis is not closed".to_owned());
            }
            self.at += 1;
            return Ok(inner);
        }
        if let Some(text) = word.strip_prefix(['"', '\'']) {
            return Ok(Expr::Text(text[..text.len() - 1].to_owned()));
        }
        if let Some(axis) = self.axes.iter().position(|axis| *axis == word) {
            return Ok(Expr::Axis(axis));
        }
        word.parse().map(Expr::Number).map_err(|_| format!("`{word}` is no axis; there are {}", self.axes.join(", ")))
    }
}

fn value(expr: &Expr, values: &[&Literal]) -> Result<Value, String> {
    match expr {
        Expr::Number(number) => Ok(Value::Number(*number)),
        Expr::Text(text) => Ok(Value::Text(text.clone())),
        Expr::Axis(axis) => Ok(match (values[*axis], values[*axis].quantity()) {
            (Literal::Boolean(truth), _) => Value::Truth(*truth),
            (_, Some((number, _))) => Value::Number(number),
            (literal, None) => Value::Text(literal.to_string()),
        }),
        Expr::Not(inner) => match value(inner, values)? {
            Value::Truth(truth) => Ok(Value::Truth(!truth)),
            other => Err(format!("`not` needs a condition, not {other:?}")),
        },
        Expr::Both(op, left, right) => both(*op, value(left, values)?, value(right, values)?),
    }
}

fn both(op: Op, left: Value, right: Value) -> Result<Value, String> {
    let order = |wanted: fn(Ordering) -> bool, order: Option<Ordering>| Ok(Value::Truth(order.is_some_and(wanted)));
    match (op, left, right) {
        (Op::And, Value::Truth(a), Value::Truth(b)) => Ok(Value::Truth(a && b)),
        (Op::Or, Value::Truth(a), Value::Truth(b)) => Ok(Value::Truth(a || b)),
        (Op::Equal, a, b) => Ok(Value::Truth(a == b)),
        (Op::Unequal, a, b) => Ok(Value::Truth(a != b)),
        (op, Value::Number(a), Value::Number(b)) => match op {
            Op::Less => order(Ordering::is_lt, a.partial_cmp(&b)),
            Op::LessOrEqual => order(Ordering::is_le, a.partial_cmp(&b)),
            Op::Greater => order(Ordering::is_gt, a.partial_cmp(&b)),
            Op::GreaterOrEqual => order(Ordering::is_ge, a.partial_cmp(&b)),
            Op::Add => Ok(Value::Number(a + b)),
            Op::Subtract => Ok(Value::Number(a - b)),
            Op::Multiply => Ok(Value::Number(a * b)),
            Op::Divide => Ok(Value::Number(a / b)),
            Op::Or | Op::And | Op::Equal | Op::Unequal => {
                Err("`and` and `or` join comparisons, not numbers".to_owned())
            }
        },
        (op, left, right) => Err(format!("{op:?} cannot be applied to {left:?} and {right:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Result<bool, String> {
        let values = [Literal::Integer(8), Literal::Text("50 GB/s".to_owned()), Literal::Text("ib".to_owned())];
        Condition::parse(text, &["ep", "rate", "network"])?.holds(&values.each_ref())
    }

    #[test]
    fn conditions_mean_what_they_say() {
        for (text, expected) in [
            ("ep == 8", true),
            ("ep * 2 + 1 <= 17 and rate >= 50", true),
            ("1 + 2 * 3 == 7", true),
            ("8 - 4 - 2 == 2", true),
            ("network == 'ib' and not ep > 8", true),
            ("network == \"roce\" or ep < 8", false),
            ("(ep < 8 or rate > 40) and ep / 2 == 4", true),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "ep", "ep ==", "ep = 8", "(ep == 8", "ep == 8)", "pp == 1", "network < 3", "'a", "ep and ep"] {
            assert!(holds(text).is_err(), "{text}");
        }
    }
}
