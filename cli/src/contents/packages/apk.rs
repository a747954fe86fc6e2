//! The database of apk: a line for each field, named by one letter, and an empty line behind each package.
//!
//! ```text
//!   C:Q1p78yvTLG094tHE1+dToJGbmYzQE=     a sum
//!   P:busybox                            its name
//!   V:1.36.1-r15                         its version
//!   A:x86_64                             what it was built for
//!   L:GPL-2.0-only                       its licence
//!   o:busybox                            what it was built from
//!   m:Name <address>   U:https://…       who maintains it, where it is from
//!   F:bin   R:busybox   a:0:0:755  Z:…   directories and files, which nobody needs here
//! ```

use super::Package;
use super::malformed::{Malformed, is_word};

/// Reads an `installed`.
///
/// # Errors
/// [`Malformed`]
pub fn installed(bytes: &[u8]) -> Result<Vec<Package>, Malformed> {
    let text = String::from_utf8_lossy(bytes);
    let mut packages = Vec::new();
    let mut open: Option<(usize, Package)> = None;
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            packages.extend(open.take().map(done).transpose()?);
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(Malformed::at(number, "it has no colon"))?;
        if name.chars().count() != 1 {
            return Err(Malformed::at(number, "the name of its field is no single letter"));
        }
        let (_, package) = open.get_or_insert_with(|| (number, Package::default()));
        let value = value.trim();
        let known = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        match name {
            "P" if package.name.is_empty() => package.name = value.into(),
            "V" if package.version.is_empty() => package.version = value.into(),
            "P" | "V" => return Err(Malformed::at(number, "a package has two names or versions")),
            "A" => package.architecture = known(value).filter(|text| is_word(text)),
            "L" => package.license = known(value),
            "o" => package.source = known(value),
            "m" => package.maintainer = known(value),
            "U" => package.homepage = known(value),
            _ => {}
        }
    }
    packages.extend(open.take().map(done).transpose()?);
    Ok(packages)
}

fn done((line, package): (usize, Package)) -> Result<Package, Malformed> {
    if !is_word(&package.name) {
        return Err(Malformed::at(line, "a package without a name begins here"));
    }
    if !is_word(&package.version) {
        return Err(Malformed::at(line, "a package without a version begins here"));
    }
    let source = package.source.clone().filter(|source| *source != package.name);
    Ok(Package { source, ..package })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "C:Q1p78yvTLG094tHE1+dToJGbmYzQE=\nP:ssl_client\nV:1.36.1-r15\nA:x86_64\nS:4952\nI:28672\n\
                             T:External ssl_client for busybox wget\nU:https://busybox.net/\nL:GPL-2.0-only\no:busybox\n\
                             m:Sören Tempel <soeren@example.org>\nt:1701\nc:0af\nD:so:libc.musl-x86_64.so.1\nF:usr\n\
                             F:usr/bin\nR:ssl_client\na:0:0:755\nZ:Q1=\n\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\nL:MIT\n";

    #[test]
    fn packages_are_listed_with_licence_and_origin() {
        let found = installed(INSTALLED.as_bytes()).unwrap();
        let client = Package {
            name: "ssl_client".into(),
            version: "1.36.1-r15".into(),
            architecture: Some("x86_64".into()),
            source: Some("busybox".into()),
            maintainer: Some("Sören Tempel <soeren@example.org>".into()),
            license: Some("GPL-2.0-only".into()),
            homepage: Some("https://busybox.net/".into()),
        };
        assert_eq!((found.len(), &found[0]), (2, &client));
        // Built from something of its own name: no need to say so.
        assert_eq!((found[1].name.as_str(), &found[1].source), ("musl", &None));
        assert_eq!(installed(b"\n\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        for (text, line) in [("P:a\n", 1), ("\nV:1\n", 2), ("P:a\nV:1\nP:b\n", 3), ("P:a\nnothing\n", 2), ("PV:a\n", 1)]
        {
            assert_eq!(installed(text.as_bytes()).unwrap_err().line, line, "{text}");
        }
    }
}
