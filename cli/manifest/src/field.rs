//! A value of a manifest with its place, read by type. An absent field and `null` are alike, as to
//! the API server.

use serde_json::{Map, Value};

use crate::ManifestError;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    value: &'a Value,
    /// `spec.containers[0].image`.
    place: String,
}

impl<'a> Field<'a> {
    /// The root of an object.
    pub(crate) fn root(value: &'a Value, place: &str) -> Field<'a> {
        Field { value, place: place.to_owned() }
    }

    /// Whether there is nothing.
    pub(crate) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// The value as it stands.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// A field below this one. There is none below one that is absent.
    pub(crate) fn get(&self, key: &str) -> Result<Field<'a>, ManifestError> {
        const ABSENT: &Value = &Value::Null;
        let value = self.object()?.and_then(|object| object.get(key)).unwrap_or(ABSENT);
        let dot = if self.place.is_empty() { "" } else { "." };
        Ok(Field { value, place: format!("{}{dot}{key}", self.place) })
    }

    /// A field several steps below.
    pub(crate) fn at(&self, path: &[&str]) -> Result<Field<'a>, ManifestError> {
        path.iter().try_fold(self.clone(), |field, key| field.get(key))
    }

    pub(crate) fn string(&self) -> Result<Option<&'a str>, ManifestError> {
        match self.value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            _ => Err(self.expected("a string (in quotes where it looks like something else)")),
        }
    }

    /// A string that must be there and not be empty.
    pub(crate) fn name(&self) -> Result<&'a str, ManifestError> {
        match self.string()? {
            Some("") | None => Err(self.wrong("missing, and needed; add it".to_owned())),
            Some(text) => Ok(text),
        }
    }

    pub(crate) fn boolean(&self) -> Result<Option<bool>, ManifestError> {
        match self.value {
            Value::Null => Ok(None),
            Value::Bool(value) => Ok(Some(*value)),
            _ => Err(self.expected("true or false")),
        }
    }

    /// Whether it is there and true.
    pub(crate) fn is_true(&self) -> Result<bool, ManifestError> {
        Ok(self.boolean()?.unwrap_or(false))
    }

    /// A user's or group's id.
    pub(crate) fn id(&self) -> Result<Option<u32>, ManifestError> {
        // The kubelet takes 0 to 2147483647 (validation.IsValidUserID).
        let valid = |id: &u64| *id <= 0x7fff_ffff;
        match self.value {
            Value::Null => Ok(None),
            value => match value.as_u64().filter(valid).and_then(|id| u32::try_from(id).ok()) {
                Some(id) => Ok(Some(id)),
                None => Err(self.expected("a whole number from 0 to 2147483647")),
            },
        }
    }

    pub(crate) fn items(&self) -> Result<Vec<Field<'a>>, ManifestError> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, value)| Field { value, place: format!("{}[{index}]", self.place) })
                .collect()),
            _ => Err(self.expected("a list")),
        }
    }

    pub(crate) fn strings(&self) -> Result<Vec<&'a str>, ManifestError> {
        self.items()?
            .into_iter()
            .map(|item| item.string()?.ok_or_else(|| item.expected("a string")))
            .collect()
    }

    /// The fields below this one, in their order.
    pub(crate) fn entries(&self) -> Result<Vec<(&'a str, Field<'a>)>, ManifestError> {
        let Some(object) = self.object()? else { return Ok(Vec::new()) };
        Ok(object
            .iter()
            .map(|(key, value)| {
                (key.as_str(), Field { value, place: format!("{}.{key}", self.place) })
            })
            .collect())
    }

    /// An error about this field.
    pub(crate) fn wrong(&self, message: String) -> ManifestError {
        ManifestError::Wrong { place: self.place.clone(), message }
    }

    fn object(&self) -> Result<Option<&'a Map<String, Value>>, ManifestError> {
        match self.value {
            Value::Null => Ok(None),
            Value::Object(object) => Ok(Some(object)),
            _ => Err(self.expected("a mapping (fields, each with a colon and a value)")),
        }
    }

    fn expected(&self, what: &str) -> ManifestError {
        let found = match self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => match text.char_indices().nth(40) {
                Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
                None => format!("{text:?}"),
            },
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a mapping".to_owned(),
        };
        self.wrong(format!("expected {what}, found {found}"))
    }
}
