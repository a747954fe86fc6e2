//! Control files as Debian has them: stanzas of fields, with an empty line between.
//!
//! ```text
//!   Package: adduser
//!   Description: add and remove users        a line that begins with a blank goes on with the field before it
//!    This package …
//!
//!   Package: apt
//! ```

use super::malformed::Malformed;

/// A stanza: where it begins, and its fields without the lines that go on with them.
pub(super) struct Stanza {
    pub(super) line: usize,
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// The first line of a field. Names of fields are the same in any case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The same as a text of its own.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

/// Reads stanzas. Text that is not UTF-8, as in names of old maintainers, is kept as far as it is.
pub(super) fn stanzas(bytes: &[u8]) -> Result<Vec<Stanza>, Malformed> {
    let text = String::from_utf8_lossy(bytes);
    let mut found: Vec<Stanza> = Vec::new();
    let mut open = false;
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if !open {
                return Err(Malformed::at(number, "it goes on with a field, and there is none before it"));
            }
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(Malformed::at(number, "it has no colon"))?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Malformed::at(number, "the name of its field is none"));
        }
        if !open {
            found.push(Stanza { line: number, fields: Vec::new() });
            open = true;
        }
        if let Some(stanza) = found.last_mut() {
            if stanza.fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name)) {
                return Err(Malformed::at(number, "its field is there twice"));
            }
            stanza.fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    Ok(found)
}
