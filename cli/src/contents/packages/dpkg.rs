//! The database of dpkg: `status`, and the files of `status.d` in images that were made without it.

use super::Package;
use super::control::{Stanza, stanzas};
use super::malformed::{Malformed, is_word};

/// States of a package of which nothing is in the image but perhaps its configuration.
const ABSENT: &[&str] = &["not-installed", "config-files"];

/// Reads a `status`: what is installed, or was when something broke off.
///
/// # Errors
/// [`Malformed`]
pub fn status(bytes: &[u8]) -> Result<Vec<Package>, Malformed> {
    let mut packages = Vec::new();
    for stanza in stanzas(bytes)? {
        let status =
            stanza.get("Status").ok_or(Malformed::at(stanza.line, "a package without a status begins here"))?;
        let state = status.split_whitespace().nth(2);
        let state = state.ok_or(Malformed::at(stanza.line, "a package begins here whose status is none"))?;
        if !ABSENT.contains(&state) {
            packages.push(package(&stanza)?);
        }
    }
    Ok(packages)
}

/// Reads a file of `status.d`: a package that is there because its file is.
///
/// # Errors
/// [`Malformed`]
pub fn one(bytes: &[u8]) -> Result<Vec<Package>, Malformed> {
    stanzas(bytes)?.iter().map(package).collect()
}

/// What a stanza says.
pub(super) fn package(stanza: &Stanza) -> Result<Package, Malformed> {
    let word = |name, what| {
        stanza.get(name).filter(|text| is_word(text)).map(str::to_owned).ok_or(Malformed::at(stanza.line, what))
    };
    let name = word("Package", "a package without a name begins here")?;
    // Its version follows in parentheses if that is another one.
    let source = stanza.get("Source").and_then(|source| source.split_whitespace().next());
    Ok(Package {
        version: word("Version", "a package without a version begins here")?,
        architecture: stanza.text("Architecture").filter(|text| is_word(text)),
        source: source.filter(|source| *source != name).map(str::to_owned),
        maintainer: stanza.text("Maintainer"),
        license: stanza.text("License"),
        homepage: stanza.text("Homepage"),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: libc6\nStatus: install \
                          ok installed\nMaintainer: GNU Libc <glibc@example.org>\nArchitecture: amd64\nSource: glibc \
                          (2.36-9)\nVersion: 2.36-9+deb12u4\nDescription: GNU C Library\n Not: a field\n .\n \
                          more\nHomepage: https://gnu.org\n\n\nPackage: half\nStatus: install ok \
                          half-configured\nVersion: 1:2~3\n";

    #[test]
    fn what_is_in_the_image_is_listed_and_what_has_gone_is_not() {
        let found = status(STATUS.as_bytes()).unwrap();
        let libc = Package {
            name: "libc6".into(),
            version: "2.36-9+deb12u4".into(),
            architecture: Some("amd64".into()),
            source: Some("glibc".into()),
            maintainer: Some("GNU Libc <glibc@example.org>".into()),
            license: None,
            homepage: Some("https://gnu.org".into()),
        };
        let half = Package { name: "half".into(), version: "1:2~3".into(), ..Package::default() };
        assert_eq!(found, [libc, half]);
    }

    #[test]
    fn a_file_of_a_package_needs_no_status() {
        let found = one(b"Package: base-files\nVersion: 12.4\nLicense: GPL\n").unwrap();
        assert_eq!((found[0].name.as_str(), found[0].license.as_deref()), ("base-files", Some("GPL")));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        for (text, line) in [
            ("Package: a\nStatus: install ok installed\n", 1),
            ("\nPackage: a b\nVersion: 1\nStatus: install ok installed\n", 2),
            ("Package: a\nVersion: 1\n", 1),
            ("Package: a\nVersion: 1\nStatus: installed\n", 1),
            (" goes on\n", 1),
            ("Package: a\nnothing\n", 2),
            ("Package: a\npackage: b\n", 2),
        ] {
            assert_eq!(status(text.as_bytes()).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn the_database_of_a_real_system_is_read_as_its_own_tool_does() {
        let bytes = std::fs::read("/var/lib/dpkg/status").unwrap();
        let query = ["-f", "${db:Status-Status} ${Package} ${Version} ${Architecture}\\n", "-W"];
        let said = std::process::Command::new("dpkg-query").args(query).output().unwrap();
        let mut theirs: Vec<_> = String::from_utf8(said.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("installed ").map(str::to_owned))
            .collect();
        let found = status(&bytes).unwrap();
        let line = |it: &Package| format!("{} {} {}", it.name, it.version, it.architecture.clone().unwrap_or_default());
        let mut ours: Vec<_> = found.iter().map(line).collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs);
    }
}
