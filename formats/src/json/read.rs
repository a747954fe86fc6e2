//! The reader: RFC 8259, one pass, bounded in every direction.
//!
//! A lone surrogate (`"\ud800"`) becomes U+FFFD, as the tools that write states have it; names are compared after that,
//! so two spellings of one name are still a duplicate.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::number::Decimal;
use super::{DEPTH_MAX, JsonError, JsonErrorKind, Kind, Limits, Member, Object, Value};

/// Reads one JSON value and nothing else.
///
/// # Errors
/// [`JsonError`] with line and column of the first character that is wrong.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value<'_>, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError { kind: JsonErrorKind::TooLong { limit: limits.bytes }, line: 1, column: 1 });
    }
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(place(bytes, error.valid_up_to(), JsonErrorKind::Utf8)),
    };
    let depth = limits.depth.min(DEPTH_MAX);
    let mut reader = Reader { text, at: 0, depth, depth_limit: depth, left: limits.values, limits };
    let outcome = reader.document();
    outcome.map_err(|Fault(at, kind)| place(bytes, at, kind))
}

/// Line and column of a byte.
fn place(bytes: &[u8], at: usize, kind: JsonErrorKind) -> JsonError {
    let before = bytes.get(..at).unwrap_or(bytes);
    let newlines = before.iter().filter(|byte| **byte == b'\n').count();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let in_line = before.get(line_start..).unwrap_or_default();
    // Continuation bytes (10xxxxxx) belong to the character before them.
    let characters = in_line.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
    JsonError { kind, line: number(newlines), column: number(characters) }
}

/// Where and what; turned into line and column once, at the end.
struct Fault(usize, JsonErrorKind);

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Levels that may still be opened.
    depth: u8,
    depth_limit: u8,
    /// Values that may still be read.
    left: u32,
    limits: Limits,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value<'a>, Fault> {
        self.blanks();
        let value = self.value()?;
        self.blanks();
        if self.at < self.text.len() { Err(self.fault(JsonErrorKind::Trailing)) } else { Ok(value) }
    }

    fn value(&mut self) -> Result<Value<'a>, Fault> {
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return Err(self.fault(JsonErrorKind::TooMany { limit: self.limits.values })),
        };
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => Kind::Object(self.object()?),
            Some(b'[') => Kind::Array(self.array()?),
            Some(b'"') => Kind::String(self.string()?.0),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return Err(self.unexpected()),
        };
        Ok(Value { raw: self.text.get(start..self.at).unwrap_or_default(), kind })
    }

    fn object(&mut self) -> Result<Object<'a>, Fault> {
        self.open()?;
        let mut members = Vec::new();
        if !self.closes(b'}') {
            loop {
                self.blanks();
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected());
                }
                let (key, raw_key) = self.string()?;
                self.blanks();
                self.expect(b':')?;
                self.blanks();
                members.push(Member { key, raw_key, value: self.value()? });
                if !self.another(b'}')? {
                    break;
                }
            }
        }
        self.depth += 1;
        self.no_duplicates(&members)?;
        Ok(Object(members))
    }

    fn array(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        self.open()?;
        let mut values = Vec::new();
        if !self.closes(b']') {
            loop {
                self.blanks();
                values.push(self.value()?);
                if !self.another(b']')? {
                    break;
                }
            }
        }
        self.depth += 1;
        Ok(values)
    }

    /// Steps over `{` or `[`.
    fn open(&mut self) -> Result<(), Fault> {
        self.depth = match self.depth.checked_sub(1) {
            Some(depth) => depth,
            None => return Err(self.fault(JsonErrorKind::TooDeep { limit: self.depth_limit })),
        };
        self.at += 1;
        Ok(())
    }

    /// Whether the array or object ends before its first element.
    fn closes(&mut self, end: u8) -> bool {
        self.blanks();
        let closes = self.peek() == Some(end);
        if closes {
            self.at += 1;
        }
        closes
    }

    /// Steps over `,` (another element follows) or the end.
    fn another(&mut self, end: u8) -> Result<bool, Fault> {
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A string with its escapes resolved, and the text between its quotes.
    fn string(&mut self) -> Result<(Cow<'a, str>, &'a str), Fault> {
        self.at += 1;
        let start = self.at;
        let mut decoded: Option<String> = None;
        let mut plain = start;
        loop {
            match self.peek() {
                None => return Err(self.fault(JsonErrorKind::Truncated)),
                Some(b'"') => break,
                Some(b'\\') => {
                    let run = self.text.get(plain..self.at).unwrap_or_default();
                    let text = decoded.get_or_insert_with(String::new);
                    text.push_str(run);
                    let character = self.escape()?;
                    text.push(character);
                    plain = self.at;
                }
                Some(byte) if byte < 0x20 => return Err(self.fault(JsonErrorKind::Control(char::from(byte)))),
                Some(_) => self.at += 1,
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        let tail = self.text.get(plain..self.at).unwrap_or_default();
        self.at += 1;
        Ok(match decoded {
            None => (Cow::Borrowed(raw), raw),
            Some(mut text) => {
                text.push_str(tail);
                (Cow::Owned(text), raw)
            }
        })
    }

    /// Steps over one escape; a high surrogate takes its low half along.
    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        self.at += 1;
        let character = match self.peek() {
            None => return Err(self.fault(JsonErrorKind::Truncated)),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let Some(first) = self.hex4(start) else { return Err(Fault(start, JsonErrorKind::Escape)) };
                self.at = start + 6;
                return Ok(match first {
                    0xD800..=0xDBFF => match self.hex4(self.at) {
                        Some(second @ 0xDC00..=0xDFFF) => {
                            self.at += 6;
                            let code = 0x1_0000 + ((u32::from(first) - 0xD800) << 10) + (u32::from(second) - 0xDC00);
                            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                        }
                        _ => char::REPLACEMENT_CHARACTER,
                    },
                    code => char::from_u32(u32::from(code)).unwrap_or(char::REPLACEMENT_CHARACTER),
                });
            }
            Some(_) => return Err(Fault(start, JsonErrorKind::Escape)),
        };
        self.at += 1;
        Ok(character)
    }

    /// The code unit of `\uXXXX` that begins at this byte.
    fn hex4(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        // `from_str_radix` would accept a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u16::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Result<Kind<'a>, Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Decimal::parse(text).map(|_| Kind::Number).ok_or(Fault(start, JsonErrorKind::Number))
    }

    fn word(&mut self, word: &str, kind: Kind<'a>) -> Result<Kind<'a>, Fault> {
        for byte in word.bytes() {
            self.expect(byte)?;
        }
        Ok(kind)
    }

    fn no_duplicates(&self, members: &[Member<'a>]) -> Result<(), Fault> {
        let mut order: Vec<&Member<'a>> = members.iter().collect();
        order.sort_by(|left, right| left.key.cmp(&right.key));
        let twice = order.windows(2).find_map(|pair| match pair {
            // The sort is stable, so the right one is the later one in the text.
            [left, right] if left.key == right.key => Some(right.raw_key),
            _ => None,
        });
        match twice {
            // Both point into the same text, so the difference is the place.
            Some(key) => Err(Fault(key.as_ptr() as usize - self.text.as_ptr() as usize, JsonErrorKind::Duplicate)),
            None => Ok(()),
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    fn unexpected(&self) -> Fault {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(character) => self.fault(JsonErrorKind::Unexpected(character)),
            None => self.fault(JsonErrorKind::Truncated),
        }
    }

    fn fault(&self, kind: JsonErrorKind) -> Fault {
        Fault(self.at, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { bytes: 200, depth: 4, values: 10 };

    fn fault(text: &str) -> (JsonErrorKind, u32, u32) {
        let error = parse(text.as_bytes(), SMALL).unwrap_err();
        (error.kind, error.line, error.column)
    }

    #[test]
    fn every_value_knows_the_text_it_was_read_from() {
        let text = r#" { "a b" : [ 1.50 , "x\u0041" ] , "c":{ "d" : null } } "#;
        let value = parse(text.as_bytes(), SMALL).unwrap();
        let object = value.as_object().unwrap();
        assert_eq!(value.raw(), text.trim());
        assert_eq!(object.get("a b").unwrap().raw(), r#"[ 1.50 , "x\u0041" ]"#);
        assert_eq!(object.get("a b").unwrap().as_array().unwrap()[1].as_str(), Some("xA"));
        assert_eq!(object.get("c").unwrap().raw(), r#"{ "d" : null }"#);
    }

    #[test]
    fn a_member_that_is_named_twice_is_refused_even_in_two_spellings() {
        assert_eq!(fault("{\"a\":1,\n \"a\":2}"), (JsonErrorKind::Duplicate, 2, 3));
        assert_eq!(fault(r#"{"a":1,"\u0061":2}"#), (JsonErrorKind::Duplicate, 1, 9));
        assert_eq!(fault(r#"{"\ud800":1,"\udfff":2}"#).0, JsonErrorKind::Duplicate);
        assert!(parse(br#"{"a":{"a":1},"b":{"a":2}}"#, SMALL).is_ok());
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused_before_it_is_followed() {
        assert!(parse(b"[[[[1]]]]", SMALL).is_ok());
        assert_eq!(fault("[[[[[1]]]]]"), (JsonErrorKind::TooDeep { limit: 4 }, 1, 5));
        let deep = [b'['; 100_000];
        let error = parse(&deep, Limits { bytes: usize::MAX, depth: u8::MAX, values: u32::MAX }).unwrap_err();
        assert_eq!(error.kind, JsonErrorKind::TooDeep { limit: DEPTH_MAX });
    }

    #[test]
    fn siblings_do_not_use_up_the_depth() {
        assert!(parse(b"[[[]],[[]],{\"a\":{}}]", SMALL).is_ok());
    }

    #[test]
    fn too_many_bytes_or_values_are_refused() {
        assert_eq!(fault(&" ".repeat(201)).0, JsonErrorKind::TooLong { limit: 200 });
        assert_eq!(fault("[1,2,3,4,5,6,7,8,9,10]").0, JsonErrorKind::TooMany { limit: 10 });
        assert!(parse(b"[1,2,3,4,5,6,7,8,9]", SMALL).is_ok());
    }

    #[test]
    fn a_text_that_is_not_utf8_is_refused_at_the_bad_byte() {
        let error = parse(b"{\"\xc3\xa4\":\n\"\xff\"}", SMALL).unwrap_err();
        assert_eq!((error.kind, error.line, error.column), (JsonErrorKind::Utf8, 2, 2));
    }

    #[test]
    fn every_truncation_of_a_document_is_refused() {
        let text = r#"{"a":[1,true,"\u00e4\ud83d\ude00"],"b":{"c":null}}"#;
        assert!(parse(text.as_bytes(), SMALL).is_ok());
        for end in 0..text.len() {
            assert!(parse(&text.as_bytes()[..end], SMALL).is_err(), "{end}");
        }
    }

    #[test]
    fn what_other_readers_forgive_is_refused() {
        for text in [
            "",
            "{'a':1}",
            "[1,]",
            "{\"a\":1,}",
            "[1 2]",
            "{\"a\" 1}",
            "{a:1}",
            "tru",
            "nul",
            "[01]",
            "\"\\x41\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "\"a\nb\"",
            "// x\n1",
            "1 2",
            "\u{feff}1",
            "[",
            "]",
            "{]",
            "\"",
            "NaN",
            "-",
            "\u{a0}1",
        ] {
            assert!(parse(text.as_bytes(), SMALL).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_column_counts_characters_and_the_message_says_what_to_look_at() {
        let error = parse("[\"äöü\", x]".as_bytes(), SMALL).unwrap_err();
        assert_eq!(alloc::format!("{error}"), "line 1, column 9: 'x' cannot stand here");
    }

    #[test]
    fn surrogates_are_joined_and_a_lone_one_is_replaced() {
        let value = parse(br#"["\ud83d\ude00","\ud83dx","\ude00","\ud83d\ud83d\ude00"]"#, SMALL).unwrap();
        let texts: Vec<_> = value.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect();
        assert_eq!(texts, ["😀", "\u{fffd}x", "\u{fffd}", "\u{fffd}😀"]);
    }
}
