//! A list of variables in the bytes of a bootloader, read in place: nothing is copied, nothing is changed.
//!
//! ```text
//!   U-Boot   name=value NUL name=value NUL … NUL       (the empty name ends the list)
//!   GRUB     name=value LF  name=value LF  …           (`\` before LF and `\`; a line that begins with `#` is a remark)
//! ```
//!
//! Names are compared whole: `pv_try` never finds `pv_trying`. Where a name stands twice the last one counts, as it does
//! for both bootloaders.

use super::text::{Full, Text};
use super::{Error, Key};

/// Whose rules separate one variable from the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// NUL after each.
    UBoot,
    /// A line for each, with escapes and remarks.
    Grub,
}

impl Dialect {
    pub(super) fn separator(self) -> u8 {
        match self {
            Self::UBoot => 0,
            Self::Grub => b'\n',
        }
    }
}

/// Variables in the bytes of a bootloader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vars<'a> {
    dialect: Dialect,
    /// Whole entries, each with its separator.
    bytes: &'a [u8],
    /// Where they begin in the cell.
    offset: usize,
}

/// One variable as it stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Var<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The value; in GRUB's dialect with its escapes, which [`unescaped`] takes out.
    pub value: &'a [u8],
    /// Where the name begins in the cell.
    pub offset: usize,
}

/// What is to be written: these names get these values, all others stay.
pub type Change<'a> = (Key, &'a str);

/// The characters of a value in GRUB's dialect.
pub fn unescaped(value: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut escaped = false;
    value.iter().copied().filter(move |byte| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    })
}

impl<'a> Vars<'a> {
    /// The caller has found the end of the list: `bytes` is empty or ends with a separator.
    pub(super) fn new(dialect: Dialect, bytes: &'a [u8], offset: usize) -> Self {
        Self { dialect, bytes, offset }
    }

    /// Entries without their separators, with their places: variables, remarks, and whatever else stands there.
    fn entries(self) -> impl Iterator<Item = (usize, &'a [u8])> {
        let mut rest = self.bytes;
        let mut offset = self.offset;
        core::iter::from_fn(move || {
            let end = self.end_of_entry(rest)?;
            let (entry, after) = rest.split_at_checked(end)?;
            rest = after.get(1..).unwrap_or_default();
            let at = offset;
            offset += end + 1;
            Some((at, entry))
        })
    }

    fn end_of_entry(self, rest: &[u8]) -> Option<usize> {
        let mut escaped = false;
        rest.iter().position(|byte| {
            let ends = *byte == self.dialect.separator() && !escaped;
            escaped = self.dialect == Dialect::Grub && *byte == b'\\' && !escaped;
            ends
        })
    }

    /// The variables in their order. What is not of the form `name=value` is left out.
    pub fn iter(self) -> impl Iterator<Item = Var<'a>> {
        self.entries().filter_map(move |(offset, entry)| {
            let (name, value) = split(self.dialect, entry)?;
            Some(Var { name, value, offset })
        })
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter().filter(|var| var.name == name.as_bytes()).last().map(|var| var.value)
    }

    /// Checks that each of these variables is there once, and nothing else.
    pub(super) fn only(self, keys: &[Key]) -> Result<(), Error> {
        for (offset, entry) in self.entries() {
            let (name, _) = split(self.dialect, entry).ok_or(Error::NotAVariable { offset })?;
            let key = keys.iter().find(|key| key.as_bytes() == name).ok_or(Error::Unknown { offset })?;
            if self.iter().filter(|var| var.name == name).count() > 1 {
                return Err(Error::Twice(key));
            }
        }
        match keys.iter().find(|key| self.get(key).is_none()) {
            Some(missing) => Err(Error::Missing(missing)),
            None => Ok(()),
        }
    }

    /// Writes the list with `changes` into `into`. An entry that no change names keeps its bytes and its place; a changed
    /// variable takes the place of its first entry, a new one comes last.
    pub(super) fn rewrite(self, changes: &[Change<'_>], into: &mut Text<'_>, limit: usize) -> Result<(), Error> {
        let separator = [self.dialect.separator()];
        for (offset, entry) in self.entries() {
            let change =
                split(self.dialect, entry).and_then(|(name, _)| changes.iter().find(|(key, _)| key.as_bytes() == name));
            match change {
                None => {
                    into.put(entry).and_then(|()| into.put(&separator)).map_err(|Full| Error::Others { limit })?;
                }
                Some((key, value)) if self.first(key) == Some(offset) => {
                    into.variable(key, value, self.dialect.separator())?;
                }
                Some(_) => {}
            }
        }
        for (key, value) in changes.iter().filter(|(key, _)| self.get(key).is_none()) {
            into.variable(key, value, self.dialect.separator())?;
        }
        Ok(())
    }

    fn first(self, name: &str) -> Option<usize> {
        self.iter().find(|var| var.name == name.as_bytes()).map(|var| var.offset)
    }
}

/// Name and value of an entry, unless it is a remark or nothing that this dialect calls a variable.
fn split(dialect: Dialect, entry: &[u8]) -> Option<(&[u8], &[u8])> {
    if dialect == Dialect::Grub && entry.first() == Some(&b'#') {
        return None;
    }
    let equals = entry.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    let (name, value) = entry.split_at_checked(equals)?;
    Some((name, value.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grub(bytes: &[u8]) -> Vars<'_> {
        Vars::new(Dialect::Grub, bytes, 0)
    }

    #[test]
    fn a_name_is_compared_whole() {
        let vars = Vars::new(Dialect::UBoot, b"pv_trying=1\0xpv_try=2\0pv_try=3\0", 0);
        assert_eq!(vars.get("pv_try"), Some(&b"3"[..]));
        assert_eq!(vars.get("pv_tr"), None);
    }

    #[test]
    fn a_value_may_hold_the_sign_that_separates_it_from_its_name() {
        assert_eq!(grub(b"args=a=b\n").get("args"), Some(&b"a=b"[..]));
    }

    #[test]
    fn an_escaped_line_feed_does_not_end_a_value() {
        let vars = grub(b"a=1\\\\\nb=x\\\ny=z\nc=2\n");
        assert_eq!(vars.iter().count(), 3);
        assert_eq!(unescaped(vars.get("a").unwrap()).collect::<std::vec::Vec<_>>(), b"1\\");
        assert_eq!(unescaped(vars.get("b").unwrap()).collect::<std::vec::Vec<_>>(), b"x\ny=z");
    }

    #[test]
    fn remarks_and_lines_without_a_name_are_not_variables_and_stay_where_they_are() {
        let old = b"# a=remark\n=nameless\nplain\nb=1\n";
        assert_eq!(grub(old).iter().count(), 1);
        let mut buffer = [0; 64];
        let mut text = Text::new(&mut buffer);
        grub(old).rewrite(&[("b", "2"), ("a", "3")], &mut text, 64).unwrap();
        assert_eq!(text.written(), b"# a=remark\n=nameless\nplain\nb=2\na=3\n");
    }

    #[test]
    fn a_change_replaces_every_entry_of_that_name_by_one() {
        let mut buffer = [0; 64];
        let mut text = Text::new(&mut buffer);
        grub(b"a=1\nb=2\na=3\n").rewrite(&[("a", "4")], &mut text, 64).unwrap();
        assert_eq!(text.written(), b"a=4\nb=2\n");
    }
}
