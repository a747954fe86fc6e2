//! What a client posts to be paired: `{"code":"…","name":"…"}`.
//!
//! What is wrong is said without a word of the body, which may be a code that was typed in the wrong place.

use formats::control::{Call, TEXT_MAX};
use formats::json::{self, Limits, Object, Value};
use formats::pairing::Secret;

/// The most bytes of it.
pub const PAIR_MAX: usize = 1024;

/// Reads it.
///
/// # Errors
/// What is wrong, for the client.
pub fn read(bytes: &[u8]) -> Result<Call, &'static str> {
    let value = json::parse(bytes, Limits { bytes: PAIR_MAX, depth: 4, values: 64 })
        .map_err(|_| "the body is not JSON with each member once")?;
    let body = value.as_object().ok_or("the body must be an object")?;
    let code = text(body, "code").ok_or("the member \"code\" must be a string")?;
    let name = text(body, "name").ok_or("the member \"name\" must be a string")?;
    if code.len() > TEXT_MAX || name.len() > TEXT_MAX {
        return Err("a code and a name are shorter");
    }
    Ok(Call::Pair { code: Secret::new(code), name: name.into() })
}

fn text<'b>(body: &'b Object<'_>, member: &str) -> Option<&'b str> {
    body.get(member).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_a_name_are_needed_and_an_error_repeats_neither() {
        let call = Call::Pair { code: Secret::new("ABCD2345"), name: "me".into() };
        assert_eq!(read(br#"{"code":"ABCD2345","name":"me","more":1}"#), Ok(call));
        let long = format!(r#"{{"code":"{}","name":"me"}}"#, "x".repeat(TEXT_MAX + 1));
        for bad in ["", "[]", r#"{"code":"ABCD2345"}"#, r#"{"code":["ABCD2345"],"name":"me"}"#, "ABCD2345", &long] {
            let why = read(bad.as_bytes()).unwrap_err();
            assert!(!why.contains("ABCD"), "{bad}: {why}");
        }
    }
}
