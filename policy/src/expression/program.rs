//! An expression once it is read: names resolved, macros recognised, types checked.

use super::variables::Variable;
use std::fmt;

/// An expression that may be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    pub(super) root: Node,
    pub(super) named: Vec<Variable>,
}

impl Program {
    /// The variables that the expression names, each once.
    pub(super) fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.named.iter().map(|variable| variable.name())
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Bool(bool),
    Whole(i128),
    Text(String),
    Variable(Variable),
    /// What a loop goes over: how many loops are around the one that it belongs to.
    Element(usize),
    Field(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    List(Vec<Node>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
    Equal(Box<Node>, Box<Node>),
    Ordered(Order, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    Within(Part, Box<Node>, Box<Node>),
    Size(Box<Node>),
    Loop(Quantifier, Box<Node>, Box<Node>),
}

/// `<`, `<=`, `>`, `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a text is looked for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Start,
    End,
    Anywhere,
}

/// What a loop asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
    Filter,
}

/// A type, as far as it is known before evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Whole,
    Text,
    List(Box<Type>),
    /// From texts to texts.
    Map,
    /// What a JSON document holds.
    Any,
}

impl Type {
    /// Whether a value of either type may be one of the other.
    pub(super) fn agrees(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(one), Type::List(another)) => one.agrees(another),
            (one, another) => one == another,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Type::Bool => "true or false",
            Type::Whole => "a whole number",
            Type::Text => "a text",
            Type::List(_) => "a list",
            Type::Map => "a map",
            Type::Any => "a value",
        })
    }
}
