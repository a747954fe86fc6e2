//! The difference of two states as a merge patch (RFC 7386): what to set, and `null` for what to remove.

use formats::json::Json;

use crate::compare::Comparison;
use crate::state::State;

/// The patch that makes the work tree's state of the committed one. Untracked files are not in it.
#[must_use]
pub fn patch(committed: &State, comparison: &Comparison) -> Json {
    merge_patch(&committed.to_json(), &comparison.applied_to(committed).to_json())
}

/// The merge patch from one value to another.
///
/// A patch cannot set a member to `null`; where that is what differs, it removes the member. So it is for people to
/// read, and a commit does not go by it.
#[must_use]
pub fn merge_patch(old: &Json, new: &Json) -> Json {
    let (Json::Object(from), Json::Object(to)) = (old, new) else { return new.clone() };
    let mut patch = Json::object();
    for (key, _) in from.iter().filter(|(key, _)| new.get(key).is_none()) {
        patch.set(key, Json::Null);
    }
    for (key, value) in to {
        match old.get(key) {
            Some(same) if same.canonical() == value.canonical() => {}
            Some(other) => patch.set(key, merge_patch(other, value)),
            None => patch.set(key, value.clone()),
        }
    }
    patch
}

/// A value indented by tabs.
#[must_use]
pub fn tabbed(value: &Json) -> String {
    let mut out = String::new();
    // No string has a raw line break, so blanks at the beginning of a line are always indentation.
    for (number, line) in value.pretty().lines().enumerate() {
        let text = line.trim_start_matches(' ');
        let levels = (line.len() - text.len()) / 4;
        out.extend((number > 0).then_some('\n'));
        out.extend(std::iter::repeat_n('\t', levels));
        out.push_str(text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::json::{Limits, parse};

    fn json(text: &str) -> Json {
        parse(text.as_bytes(), Limits::DOCUMENT).unwrap().to_json()
    }

    #[test]
    fn the_examples_of_the_rfc() {
        for (old, new, patch) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":"b","b":"c"}"#, r#"{"b":"c"}"#),
            (r#"{"a":"b"}"#, "{}", r#"{"a":null}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c","d":1}}"#, r#"{"a":{"b":"d","d":1}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":1}"#, r#"{"a":1.0}"#, "{}"),
        ] {
            assert_eq!(merge_patch(&json(old), &json(new)).canonical(), patch);
        }
    }

    #[test]
    fn indentation_is_tabs_and_strings_are_left_alone() {
        assert_eq!(
            tabbed(&json(r#"{"a":{"b":"    x"},"c":[]}"#)),
            "{\n\t\"a\": {\n\t\t\"b\": \"    x\"\n\t},\n\t\"c\": []\n}"
        );
    }
}
