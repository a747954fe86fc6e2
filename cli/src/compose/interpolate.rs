//! `${VAR:-default}`: variables in values, as Compose has them.
//!
//! | | |
//! |---|---|
//! | `$VAR`, `${VAR}` | its value; empty if it is not set, which is told |
//! | `${VAR:-x}`, `${VAR-x}` | `x` if it is not set or empty; if it is not set |
//! | `${VAR:+x}`, `${VAR+x}` | `x` if it is set and not empty; if it is set |
//! | `${VAR:?why}`, `${VAR?why}` | an error if it is not set or empty; if it is not set |
//! | `$$` | `$` |
//!
//! `x` can hold variables itself, to a depth.

use super::yaml::{Kind, Node, Place};
use crate::error::{Error, Result};

/// The most variables within variables.
const DEPTH_MAX: usize = 16;

/// The most bytes of a text with its variables.
const BYTES_MAX: usize = 1024 * 1024;

/// Gives the value of a variable, if it is set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable that was wanted and is not set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unset {
    /// Where.
    pub place: Place,
    /// Which.
    pub name: String,
}

/// Replaces the variables of every value below a node. Keys stay as they are.
///
/// # Errors
/// A value has an open brace, or a variable that must be set is not.
pub fn tree(node: &mut Node, lookup: Lookup<'_>, unset: &mut Vec<Unset>) -> Result<()> {
    match &mut node.kind {
        Kind::Null => {}
        Kind::Scalar(value) if value.contains('$') => *value = text(value, &node.place, lookup, unset)?,
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter_mut().try_for_each(|item| tree(item, lookup, unset))?,
        Kind::Map(entries) => entries.iter_mut().try_for_each(|entry| tree(&mut entry.value, lookup, unset))?,
    }
    Ok(())
}

/// Replaces the variables of one text.
///
/// # Errors
/// As [`tree`].
pub fn text(value: &str, place: &Place, lookup: Lookup<'_>, unset: &mut Vec<Unset>) -> Result<String> {
    let mut reader = Reader { rest: value, place, lookup, unset };
    let (done, closed) = reader.read(0, false)?;
    if closed { Err(place.error("an end of a variable without a beginning")) } else { Ok(done) }
}

struct Reader<'a, 'l> {
    rest: &'a str,
    place: &'a Place,
    lookup: Lookup<'l>,
    unset: &'a mut Vec<Unset>,
}

impl Reader<'_, '_> {
    fn wrong(&self, why: &str) -> Error {
        self.place.error(why).hint("write $$ for a dollar that begins no variable")
    }

    /// Reads to the end, or to the brace that closes a variable. The flag says that it was the brace.
    fn read(&mut self, depth: usize, nested: bool) -> Result<(String, bool)> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("variables in variables in variables"));
        }
        let mut done = String::new();
        while let Some(next) = self.rest.chars().next() {
            self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
            match next {
                '}' if nested => return Ok((done, true)),
                '$' => done.push_str(&self.variable(depth)?),
                other => done.push(other),
            }
            if done.len() > BYTES_MAX {
                return Err(self.place.error("the value is too long with its variables"));
            }
        }
        if nested { Err(self.wrong("a variable has no end: `}` is missing")) } else { Ok((done, false)) }
    }

    fn name(&mut self) -> String {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return String::new();
        }
        self.rest = rest;
        name.to_owned()
    }

    /// What follows a dollar.
    fn variable(&mut self, depth: usize) -> Result<String> {
        if let Some(rest) = self.rest.strip_prefix('$') {
            self.rest = rest;
            return Ok("$".into());
        }
        let Some(rest) = self.rest.strip_prefix('{') else {
            let name = self.name();
            if name.is_empty() {
                return Err(self.wrong("a dollar with no name behind it"));
            }
            return Ok(self.value(&name));
        };
        self.rest = rest;
        let name = self.name();
        if name.is_empty() {
            return Err(self.wrong("`${` with no name behind it"));
        }
        let operators = [":-", "-", ":+", "+", ":?", "?"];
        let Some((operator, rest)) =
            operators.iter().find_map(|operator| Some((*operator, self.rest.strip_prefix(operator)?)))
        else {
            self.rest =
                self.rest.strip_prefix('}').ok_or_else(|| self.wrong("a variable of a form that is not known"))?;
            return Ok(self.value(&name));
        };
        self.rest = rest;
        let before = self.unset.len();
        let (other, _) = self.read(depth + 1, true)?;
        let value = (self.lookup)(&name);
        let counts = |value: &String| !operator.starts_with(':') || !value.is_empty();
        let is_set = value.as_ref().is_some_and(counts);
        let takes_other = operator.ends_with('+') == is_set;
        if !takes_other || operator.ends_with('?') {
            // What is not used need not be set.
            self.unset.truncate(before);
        }
        match operator.trim_start_matches(':') {
            "-" => Ok(if is_set { value.unwrap_or_default() } else { other }),
            "+" => Ok(if is_set { other } else { String::new() }),
            _ if is_set => Ok(value.unwrap_or_default()),
            _ => {
                let why = if other.is_empty() { "it has to be set".to_owned() } else { other };
                Err(self
                    .place
                    .error(format!("the variable {name}: {why}"))
                    .hint("set it in the environment or in .env"))
            }
        }
    }

    fn value(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            self.unset.push(Unset { place: self.place.clone(), name: name.to_owned() });
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn of(value: &str) -> std::result::Result<(String, usize), String> {
        let mut unset = Vec::new();
        let done = text(value, &Place::file("c.yml"), &lookup, &mut unset).map_err(|error| error.to_string())?;
        Ok((done, unset.len()))
    }

    #[test]
    fn each_form_has_its_value() {
        for (value, wanted, unset) in [
            ("x", "x", 0),
            ("$A-${A}", "a-a", 0),
            ("$$A $${A}", "$A ${A}", 0),
            ("${B:-x}", "x", 0),
            ("${EMPTY:-x}|${EMPTY-x}|${B-x}", "x||x", 0),
            ("${A:+y}${B:+y}${EMPTY+z}${EMPTY:+z}", "yz", 0),
            ("${B:-${C:-deep}}", "deep", 0),
            ("${B:-$C}", "", 1),
            ("${A:-$C}", "a", 0),
            ("${A:?no}", "a", 0),
            ("${EMPTY?no}", "", 0),
            ("$B", "", 1),
            ("a}b", "a}b", 0),
        ] {
            assert_eq!(of(value), Ok((wanted.to_owned(), unset)), "{value}");
        }
    }

    #[test]
    fn what_has_no_value_is_an_error_with_its_line() {
        for (value, why) in [
            ("${B:?give one}", "c.yml:1: the variable B: give one"),
            ("${EMPTY:?}", "the variable EMPTY: it has to be set"),
            ("${B", "of a form"),
            ("${B:-x", "`}` is missing"),
            ("${}", "no name"),
            ("5 $ each", "a dollar with no name"),
            ("${1}", "no name"),
            ("${A!x}", "of a form"),
        ] {
            let error = of(value).unwrap_err();
            assert!(error.contains(why), "{value}: {error}");
        }
        assert!(of(&"${B:-".repeat(40)).is_err());
    }
}
