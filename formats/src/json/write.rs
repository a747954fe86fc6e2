//! The writer: one tree, three spellings.
//!
//! | spelling | members | blanks | numbers | escapes |
//! |---|---|---|---|---|
//! | canonical | sorted by code point | none | canonical | `"` `\` and C0 only: `\b \t \n \f \r`, else `\u00XX` in capitals |
//! | compact | as built | none | as built | as canonical |
//! | pretty | as built | four spaces | as built | also `<` `>` `&` U+2028 U+2029, for people who paste into HTML |
//!
//! None of them ends with a newline. The canonical form is that of `canonicaljson` (Gibson), not RFC 8785: those differ
//! in the order of keys beyond the basic plane and in every number that is not an integer.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::Number;

/// A JSON value that a program builds or changes.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object. Use [`Json::set`] to keep names unique; a writer takes the last of equal names.
    Object(Vec<(String, Json)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Canonical,
    Compact,
    Pretty,
}

impl Json {
    /// An object without members.
    #[must_use]
    pub fn object() -> Self {
        Self::Object(Vec::new())
    }

    /// The value of a member of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value of a member of an object, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Object(members) => members.iter_mut().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Sets a member: replaced where it stands, else appended. A value that is not an object becomes one.
    pub fn set(&mut self, key: &str, value: impl Into<Self>) {
        let value = value.into();
        match self.get_mut(key) {
            Some(old) => *old = value,
            None => match self {
                Self::Object(members) => members.push((key.into(), value)),
                _ => *self = Self::Object(Vec::from([(key.into(), value)])),
            },
        }
    }

    /// The same, to build a value in one expression.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Self>) -> Self {
        self.set(key, value);
        self
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        match self {
            Self::Object(members) => {
                let at = members.iter().rposition(|(name, _)| name == key)?;
                Some(members.remove(at).1)
            }
            _ => None,
        }
    }

    /// The characters of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The canonical spelling: equal values, equal bytes.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.written(Style::Canonical)
    }

    /// Without blanks, members in the order they were built.
    #[must_use]
    pub fn compact(&self) -> String {
        self.written(Style::Compact)
    }

    /// Indented for people.
    #[must_use]
    pub fn pretty(&self) -> String {
        self.written(Style::Pretty)
    }

    fn written(&self, style: Style) -> String {
        let mut out = String::new();
        self.write(&mut out, style, 0);
        out
    }

    fn write(&self, out: &mut String, style: Style, level: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) if style == Style::Canonical => out.push_str(&number.canonical()),
            Self::Number(number) => out.push_str(number.as_str()),
            Self::String(text) => quoted(out, text, style),
            Self::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    separate(out, style, index, level + 1);
                    value.write(out, style, level + 1);
                }
                finish(out, style, values.is_empty(), level, ']');
            }
            Self::Object(members) => {
                let members = unique(members, style);
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    separate(out, style, index, level + 1);
                    quoted(out, key, style);
                    out.push_str(if style == Style::Pretty { ": " } else { ":" });
                    value.write(out, style, level + 1);
                }
                finish(out, style, members.is_empty(), level, '}');
            }
        }
    }
}

/// The members to write, in the order of the style. Of equal names the last one counts.
fn unique(members: &[(String, Json)], style: Style) -> Vec<&(String, Json)> {
    let mut order: Vec<(usize, &(String, Json))> = members.iter().enumerate().collect();
    // Code point order is the order of UTF-8 bytes, which is what `str` compares. Later ones first among equals.
    order.sort_by(|(left_at, left), (right_at, right)| left.0.cmp(&right.0).then(right_at.cmp(left_at)));
    order.dedup_by(|(_, later), (_, kept)| later.0 == kept.0);
    if style != Style::Canonical {
        order.sort_by_key(|(at, _)| *at);
    }
    order.into_iter().map(|(_, member)| member).collect()
}

fn separate(out: &mut String, style: Style, index: usize, level: usize) {
    if index > 0 {
        out.push(',');
    }
    if style == Style::Pretty {
        new_line(out, level);
    }
}

fn finish(out: &mut String, style: Style, empty: bool, level: usize, end: char) {
    if style == Style::Pretty && !empty {
        new_line(out, level);
    }
    out.push(end);
}

fn new_line(out: &mut String, level: usize) {
    out.push('\n');
    out.extend(core::iter::repeat_n("    ", level));
}

/// Appends a string with its quotes, escaped as in the canonical form.
pub fn escape_into(out: &mut String, text: &str) {
    quoted(out, text, Style::Canonical);
}

fn quoted(out: &mut String, text: &str, style: Style) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            // Writing to a `String` does not fail.
            '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04X}", u32::from(character));
            }
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if style == Style::Pretty => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, parse};
    use super::*;

    fn canonical(text: &str) -> String {
        parse(text.as_bytes(), Limits::DOCUMENT).unwrap().to_json().canonical()
    }

    #[test]
    fn canonical_members_are_sorted_by_code_point_and_not_by_utf16() {
        assert_eq!(
            canonical(r#"{ "😀":1, "！":2, "b":3, "a":4, "B":5, "":6 }"#),
            r#"{"":6,"B":5,"a":4,"b":3,"！":2,"😀":1}"#
        );
    }

    #[test]
    fn canonical_strings_escape_only_what_they_must() {
        assert_eq!(
            canonical(r#""\u0000\u001f\b\t\n\f\r\"\\\/<>&\u007f\u2028\u00e4""#),
            "\"\\u0000\\u001F\\b\\t\\n\\f\\r\\\"\\\\/<>&\u{7f}\u{2028}ä\""
        );
        assert_eq!(canonical(r#""\ud800""#), "\"\u{fffd}\"");
    }

    #[test]
    fn canonical_form_has_no_blanks_and_no_newline() {
        assert_eq!(
            canonical("{ \"a\" : [ 1 , 2.50 , { } , [ ] , null , true ] }\n"),
            r#"{"a":[1,2.5E0,{},[],null,true]}"#
        );
    }

    #[test]
    fn canonical_form_is_a_fixed_point() {
        for text in [r#"{"a":[1.5,1e3,"\u0001"],"":{"x":{}}}"#, "[]", "\"\"", "-12.5e-3"] {
            let once = canonical(text);
            assert_eq!(canonical(&once), once);
        }
    }

    #[test]
    fn pretty_form_is_what_a_checkout_shows() {
        let value = parse(br#"{"b":[1.5E0,"<&>"],"a":{},"c":[]}"#, Limits::DOCUMENT).unwrap().to_json();
        assert_eq!(
            value.pretty(),
            "{\n    \"b\": [\n        1.5E0,\n        \"\\u003c\\u0026\\u003e\"\n    ],\n    \"a\": {},\n    \"c\": []\n}"
        );
    }

    #[test]
    fn of_equal_names_the_last_one_is_written() {
        let twice = Json::Object(Vec::from([
            ("a".into(), Json::from(1)),
            ("b".into(), Json::Null),
            ("a".into(), Json::from(2)),
        ]));
        assert_eq!(twice.canonical(), r#"{"a":2,"b":null}"#);
        assert_eq!(twice.compact(), r#"{"b":null,"a":2}"#);
    }

    #[test]
    fn a_member_is_replaced_where_it_stands() {
        let mut value = Json::object().with("a", 1).with("b", "x");
        value.set("a", false);
        assert_eq!(value.compact(), r#"{"a":false,"b":"x"}"#);
        assert_eq!(value.remove("a"), Some(Json::Bool(false)));
        assert_eq!(value.compact(), r#"{"b":"x"}"#);
    }
}
