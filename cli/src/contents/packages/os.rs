//! `os-release`: of which distribution an image is.

/// A distribution, as package URLs name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Os {
    /// `debian`, `alpine`, …
    pub id: String,
    /// `12`, `3.19.1`, …
    pub version: Option<String>,
}

/// Reads an `os-release`. None if it does not say what it is.
pub(super) fn release(bytes: &[u8]) -> Option<Os> {
    let text = str::from_utf8(bytes).ok()?;
    let get = |wanted: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix('='))?;
        let bare = value.trim().trim_matches(['"', '\'']);
        let plain = |one: char| one.is_ascii_alphanumeric() || matches!(one, '.' | '_' | '-');
        (!bare.is_empty() && bare.chars().all(plain)).then(|| bare.to_owned())
    };
    Some(Os { id: get("ID")?.to_ascii_lowercase(), version: get("VERSION_ID") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_plain_or_none() {
        let alpine = release(b"NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.19.1\n").unwrap();
        assert_eq!((alpine.id.as_str(), alpine.version.as_deref()), ("alpine", Some("3.19.1")));
        let debian = release(b"VERSION_ID=\"12\"\nID='debian'\n").unwrap();
        assert_eq!((debian.id.as_str(), debian.version.as_deref()), ("debian", Some("12")));
        for none in [&b"ID=\"a b\"\n"[..], b"", b"\xff", b"ID_LIKE=debian\n"] {
            assert_eq!(release(none), None);
        }
    }
}
