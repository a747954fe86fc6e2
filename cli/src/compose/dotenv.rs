//! `.env` and `env_file`: variables, one on a line.
//!
//! ```text
//!   # a remark
//!   export NAME=value            # a remark, after a blank
//!   QUOTED="a $VAR and \n"       variables and escapes
//!   PLAIN='as it is $HERE'       may span lines, as the other
//!   WANTED                       from the environment, if it is set there
//! ```

use super::interpolate::{self, Lookup, Unset};
use super::yaml::Place;
use crate::error::Result;

/// The most variables of a file.
const COUNT_MAX: usize = 4096;

/// A variable; `None` is one that is only named.
pub type Variable = (String, Option<String>);

/// Reads a file. Later lines see earlier ones, and those the environment.
///
/// # Errors
/// A line is no variable; the message names it.
pub fn parse(name: &str, text: &str, lookup: Lookup<'_>, unset: &mut Vec<Unset>) -> Result<Vec<Variable>> {
    let mut found: Vec<Variable> = Vec::new();
    let mut place = Place::file(name);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut next = 1;
    while !rest.is_empty() {
        place.line = next;
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let whole = rest;
        (rest, next) = (after, next + 1);
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let trimmed = trimmed.strip_prefix("export ").map_or(trimmed, str::trim_start);
        let Some((key, value)) = trimmed.split_once('=') else {
            check(trimmed, &place)?;
            found.push((trimmed.to_owned(), None));
            continue;
        };
        let key = key.trim_end();
        check(key, &place)?;
        let value = value.trim_start();
        let known = |name: &str| {
            let own = found.iter().rev().find(|(key, _)| key == name);
            lookup(name).or_else(|| own.and_then(|(_, value)| value.clone()))
        };
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // The first quote of the line: a name has none. Its end may be on a line further down.
                let body = whole.split_once(quote).map_or("", |(_, body)| body);
                let Some((value, used)) = quoted(body, quote) else {
                    return Err(place.error(format!("{key}: the quote {quote} has no end")));
                };
                let (inside, behind) = body.split_at_checked(used).unwrap_or_default();
                let (end, after) = behind.split_once('\n').unwrap_or((behind, ""));
                if !(end.trim().is_empty() || end.trim_start().starts_with('#')) {
                    return Err(place.error(format!("{key}: something follows the closing quote")));
                }
                (rest, next) = (after, next + inside.matches('\n').count());
                if quote == '"' { interpolate::text(&value, &place, &known, unset)? } else { value }
            }
            Some('#') => String::new(),
            _ => {
                let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
                let bare = value.get(..end).unwrap_or_default().trim_end();
                interpolate::text(bare, &place, &known, unset)?
            }
        };
        found.push((key.to_owned(), Some(value)));
        if found.len() > COUNT_MAX {
            return Err(place.error(format!("more than {COUNT_MAX} variables")));
        }
    }
    Ok(found)
}

fn check(key: &str, place: &Place) -> Result<()> {
    let fine = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if fine { Ok(()) } else { Err(place.error(format!("{key:?} is no name of a variable")).hint("write NAME=VALUE")) }
}

/// What stands in quotes, and how many bytes it takes with the closing one.
fn quoted(body: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, next)) = chars.next() {
        match next {
            end if end == quote => return Some((value, at + end.len_utf8())),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '$' => value.push_str("$$"),
                other @ ('"' | '\\') => value.push(other),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Vec<Variable>, String> {
        let lookup = |name: &str| (name == "HERE").then(|| "here".to_owned());
        parse(".env", text, &lookup, &mut Vec::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_form_of_a_line_has_its_value() {
        for (line, value) in [
            ("A=b", "b"),
            ("A = b ", "b"),
            ("export A=b # remark", "b"),
            ("A=b#c", "b#c"),
            ("A=", ""),
            ("A= # remark", ""),
            ("A=$HERE/x", "here/x"),
            ("A=\"$HERE \\\"x\\\" \\$HERE\\n\"", "here \"x\" $HERE\n"),
            ("A='$HERE' # remark", "$HERE"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("B=1\nA=$B$B", "11"),
        ] {
            let found = read(line).unwrap();
            assert_eq!(found.last(), Some(&("A".to_owned(), Some(value.to_owned()))), "{line}");
        }
        assert_eq!(read("A\r\nB=1\r\n").unwrap(), [("A".into(), None), ("B".into(), Some("1".into()))]);
    }

    #[test]
    fn a_line_that_is_no_variable_is_named() {
        for (text, why) in [
            ("A=1\n\nno variable", ".env:3: \"no variable\" is no name"),
            ("A=\"1\n2\"\n=x", ".env:3: \"\" is no name"),
            ("A=\"open", "has no end"),
            ("A='x' y", "something follows"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
