//! `lxc.mount.entry`: one mount in the form of an fstab line.
//!
//! ```text
//!   /volumes/web/docker--data  data  none  bind,rw,create=dir  0 0
//!   └ source                   │     └ type └ options          └ dump and pass, which mean nothing here
//!                              └ target, relative to the container's root; a leading slash means the same
//! ```
//!
//! Blanks in a field are `\040`, as in fstab. `..` is refused on both sides: a rule that looks at a source must see
//! where it leads.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{LxcWrong, wrong};

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountEntry {
    /// A path of the device, or the name of a file system without one.
    pub source: String,
    /// Where it appears, relative to the root of the container.
    pub target: String,
    /// The file system; `none` for a bind mount.
    pub fstype: String,
    /// Options in order.
    pub options: Vec<MountOption>,
}

/// One option of a mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountOption {
    /// Make the target first.
    Create(Create),
    /// Go on without this mount if it fails.
    Optional,
    /// Make the source directory first.
    OriginMkdir,
    /// The source is a path of the container and not of the device.
    Relative,
    /// An option of the kernel: a flag, or data for the file system.
    Kernel(String),
}

/// What to make where the target is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Create {
    /// A directory.
    Dir,
    /// An empty file.
    File,
}

const FORM: &str = "SOURCE TARGET TYPE OPTIONS [DUMP PASS]";

impl MountEntry {
    /// What to make where the target is missing.
    #[must_use]
    pub fn create(&self) -> Option<Create> {
        self.options.iter().rev().find_map(|option| match option {
            MountOption::Create(create) => Some(*create),
            _ => None,
        })
    }

    /// Whether the container starts without it.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.options.contains(&MountOption::Optional)
    }

    /// The options of the kernel, in order.
    pub fn kernel_options(&self) -> impl Iterator<Item = &str> {
        self.options.iter().filter_map(|option| match option {
            MountOption::Kernel(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// It has another form, or a path in it climbs.
    pub fn parse(value: &str) -> Result<Self, LxcWrong> {
        let fields: Vec<&str> = value.split_ascii_whitespace().collect();
        let (source, target, fstype, options, rest) = match fields.as_slice() {
            [source, target, fstype, options, rest @ ..] if rest.len() <= 2 => {
                (*source, *target, *fstype, *options, rest)
            }
            _ => return Err(wrong(value, FORM)),
        };
        if !rest.iter().all(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(wrong(value, FORM));
        }
        let decode = |field: &str| unescaped(field).ok_or_else(|| wrong(field, "a path with fstab escapes like \\040"));
        let source = decode(source)?;
        let climbs = source.split('/').any(|component| component == "..");
        if climbs || source.contains(char::is_control) {
            return Err(wrong(&source, "a source without `..`"));
        }
        let target = decode(target)?;
        let target = target.trim_matches('/');
        if crate::path::relative(target).is_err() {
            return Err(wrong(target, "a path below the root of the container"));
        }
        let options = options.split(',').filter(|option| !option.is_empty());
        let options = options.filter_map(|text| option(text).transpose()).collect::<Result<_, _>>()?;
        Ok(Self { source, target: target.into(), fstype: decode(fstype)?, options })
    }
}

/// One option; `None` for `defaults`, which stands where there is none. Escapes are resolved first, so that a word means
/// the same however it is spelled.
fn option(text: &str) -> Result<Option<MountOption>, LxcWrong> {
    let option = unescaped(text).ok_or_else(|| wrong(text, "an option with fstab escapes"))?;
    Ok(Some(match option.as_str() {
        "defaults" => return Ok(None),
        "create=dir" => MountOption::Create(Create::Dir),
        "create=file" => MountOption::Create(Create::File),
        "optional" => MountOption::Optional,
        "origin=mkdir" => MountOption::OriginMkdir,
        "relative" => MountOption::Relative,
        other if other.starts_with("create=") || other.starts_with("origin=") => {
            return Err(wrong(other, "create=dir, create=file or origin=mkdir"));
        }
        // No kernel takes one, and it could not be written again.
        other if other.contains(',') => return Err(wrong(text, "an option without a comma")),
        _ => MountOption::Kernel(option),
    }))
}

/// Resolves `\ooo`.
fn unescaped(field: &str) -> Option<String> {
    let mut parts = field.split('\\');
    let mut text = String::from(parts.next()?);
    for part in parts {
        let (digits, rest) = part.split_at_checked(3)?;
        let code = u8::from_str_radix(digits, 8).ok().filter(|code| code.is_ascii() && !digits.starts_with('+'))?;
        text.push(char::from(code));
        text.push_str(rest);
    }
    Some(text)
}

fn escaped(f: &mut fmt::Formatter<'_>, field: &str) -> fmt::Result {
    for c in field.chars() {
        match c {
            ' ' => f.write_str("\\040")?,
            '\t' => f.write_str("\\011")?,
            '\n' => f.write_str("\\012")?,
            '\\' => f.write_str("\\134")?,
            other => fmt::Write::write_char(f, other)?,
        }
    }
    Ok(())
}

impl fmt::Display for MountEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for field in [&self.source, &self.target, &self.fstype] {
            escaped(f, field)?;
            f.write_str(" ")?;
        }
        if self.options.is_empty() {
            f.write_str("defaults")?;
        }
        for (index, option) in self.options.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match option {
                MountOption::Create(Create::Dir) => f.write_str("create=dir")?,
                MountOption::Create(Create::File) => f.write_str("create=file")?,
                MountOption::Optional => f.write_str("optional")?,
                MountOption::OriginMkdir => f.write_str("origin=mkdir")?,
                MountOption::Relative => f.write_str("relative")?,
                MountOption::Kernel(text) => escaped(f, text)?,
            }
        }
        f.write_str(" 0 0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_entry_is_taken_apart_and_put_together_again() {
        let text = "/volumes/my\\040app/x etc/a\\040b none bind,rw,create=file,optional 0 0";
        let entry = MountEntry::parse(text).unwrap();
        assert_eq!((entry.source.as_str(), entry.target.as_str()), ("/volumes/my app/x", "etc/a b"));
        assert_eq!((entry.create(), entry.is_optional()), (Some(Create::File), true));
        assert!(entry.kernel_options().eq(["bind", "rw"]));
        assert_eq!(entry.to_string(), text);
    }

    #[test]
    fn an_entry_without_options_is_written_with_defaults_and_reads_back_without() {
        for options in [",", "defaults", "\\144efaults"] {
            let entry = MountEntry::parse(&alloc::format!("tmpfs run tmpfs {options}")).unwrap();
            assert_eq!((entry.options.len(), entry.to_string().as_str()), (0, "tmpfs run tmpfs defaults 0 0"));
        }
    }

    #[test]
    fn an_escaped_option_means_what_it_says() {
        let entry = MountEntry::parse("/a b none optiona\\154,create\\075file").unwrap();
        assert_eq!((entry.create(), entry.is_optional()), (Some(Create::File), true));
        assert!(MountEntry::parse("/a b none x\\054optional").is_err());
    }

    #[test]
    fn a_leading_slash_of_the_target_means_the_root_of_the_container() {
        assert_eq!(MountEntry::parse("/a /etc/b/ none bind").unwrap().target, "etc/b");
    }

    #[test]
    fn a_mount_that_climbs_or_cannot_be_read_is_refused() {
        for text in [
            "/a ../b none bind 0 0",
            "/a b/../../c none bind 0 0",
            "/a/../b c none bind 0 0",
            "/a\\056\\056 / none bind 0 0",
            "/a / none bind 0 0",
            "/a b none",
            "/a b none bind 0 0 0",
            "/a b none bind x 0",
            "/a\\04 b none bind 0 0",
            "/a\\400 b none bind 0 0",
            "/a b\\000 none bind 0 0",
            "/a b none bind,create=socket 0 0",
            "/a \\056\\056/b none bind 0 0",
            "",
        ] {
            assert!(MountEntry::parse(text).is_err(), "{text}");
        }
    }
}
