//! Values during evaluation: borrowed from the facts and the spec, never copied.

use std::fmt;

use serde_json::Value;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    Bool(bool),
    Whole(i128),
    Text(&'a str),
    /// An array or an object of a document.
    Tree(&'a Value),
    List(Vec<Val<'a>>),
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It took more steps than are allowed. Nothing makes up for it.
    Steps,
    /// A variable that is not known of this container.
    Unknown(&'static str),
    /// A field, key or place that is not there.
    Missing(String),
    /// A value is not of the type that is needed.
    Type(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Steps => {
                write!(formatter, "it took more than {} steps; shorten it", super::MAX_STEPS)
            }
            Fault::Unknown(name) => write!(formatter, "{name} is not known of this container"),
            Fault::Missing(name) => write!(formatter, "there is no {name}; ask with has() first"),
            Fault::Type(wanted) => write!(formatter, "a value in it is not {wanted}"),
        }
    }
}

impl<'a> Val<'a> {
    /// A value of a document. What is null is not there, as it is for the runtimes.
    pub(super) fn of(value: &'a Value) -> Result<Option<Val<'a>>, Fault> {
        Ok(Some(match value {
            Value::Null => return Ok(None),
            Value::Bool(flag) => Val::Bool(*flag),
            Value::String(text) => Val::Text(text),
            Value::Number(number) => {
                let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
                Val::Whole(whole.ok_or(Fault::Type("a whole number"))?)
            }
            Value::Array(_) | Value::Object(_) => Val::Tree(value),
        }))
    }

    pub(super) fn flag(&self) -> Result<bool, Fault> {
        match self {
            Val::Bool(flag) => Ok(*flag),
            _ => Err(Fault::Type("true or false")),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        match self {
            Val::Text(text) => Ok(text),
            _ => Err(Fault::Type("a text")),
        }
    }

    /// The value under a key; `None` where there is none.
    pub(super) fn under(&self, key: &str) -> Result<Option<Val<'a>>, Fault> {
        match self {
            Val::Tree(Value::Object(object)) => object.get(key).map_or(Ok(None), Val::of),
            _ => Err(Fault::Type("an object with fields")),
        }
    }

    /// How many elements, entries or characters.
    pub(super) fn size(&self) -> Result<usize, Fault> {
        match self {
            Val::Text(text) => Ok(text.chars().count()),
            Val::List(items) => Ok(items.len()),
            Val::Tree(Value::Array(items)) => Ok(items.len()),
            Val::Tree(Value::Object(object)) => {
                Ok(object.values().filter(|value| !value.is_null()).count())
            }
            _ => Err(Fault::Type("a text, a list or a map")),
        }
    }

    /// How many bytes are read to measure or compare it, its own parts left out.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Val::Text(text) => text.len(),
            Val::Tree(Value::Object(object)) => object.len(),
            _ => 0,
        }
    }
}
