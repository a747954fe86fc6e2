//! What was read: a tree that borrows its text.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::number::Decimal;
use super::{Json, Number};

/// One value and the text it was read from.
#[derive(Clone, PartialEq, Debug)]
pub struct Value<'a> {
    pub(super) raw: &'a str,
    pub(super) kind: Kind<'a>,
}

/// What a value is.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; its spelling is [`Value::raw`].
    Number,
    /// A string, escapes resolved.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// The members of an object in the order of the text; no name occurs twice.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Object<'a>(pub(super) Vec<Member<'a>>);

/// One member of an object.
#[derive(Clone, PartialEq, Debug)]
pub struct Member<'a> {
    /// The name, escapes resolved.
    pub key: Cow<'a, str>,
    /// The name as it stands between its quotes.
    pub raw_key: &'a str,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Value<'a> {
    /// The exact text of this value, from its first character to its last.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &Kind<'a> {
        &self.kind
    }

    /// The characters of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// A truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.kind {
            Kind::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A non-negative integer, however it is spelled.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.decimal()?.as_u64()
    }

    /// A non-negative number in thousandths, rounded down.
    #[must_use]
    pub fn as_thousandths(&self) -> Option<u64> {
        self.decimal()?.as_thousandths()
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        match &self.kind {
            Kind::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The members of an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match &self.kind {
            Kind::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The word for what it is, for messages.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a truth value",
            Kind::Number => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Object(_) => "an object",
        }
    }

    /// The same value without its text, to be changed and written.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.kind {
            Kind::Null => Json::Null,
            Kind::Bool(value) => Json::Bool(*value),
            // The reader has checked the spelling, so this is never null.
            Kind::Number => Number::parse(self.raw).map_or(Json::Null, Json::Number),
            Kind::String(text) => Json::String(text.as_ref().into()),
            Kind::Array(values) => Json::Array(values.iter().map(Value::to_json).collect()),
            Kind::Object(object) => {
                Json::Object(object.iter().map(|member| (member.key.as_ref().into(), member.value.to_json())).collect())
            }
        }
    }

    fn decimal(&self) -> Option<Decimal> {
        match self.kind {
            Kind::Number => Decimal::parse(self.raw),
            _ => None,
        }
    }
}

impl<'a> Object<'a> {
    /// The value of a member.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    /// The members in the order of the text.
    pub fn iter(&self) -> core::slice::Iter<'_, Member<'a>> {
        self.0.iter()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'o, 'a> IntoIterator for &'o Object<'a> {
    type Item = &'o Member<'a>;
    type IntoIter = core::slice::Iter<'o, Member<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
