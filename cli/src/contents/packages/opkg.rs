//! The database of opkg: stanzas as those of dpkg, of which some images keep the licence.

use super::Package;
use super::control::stanzas;
use super::dpkg::package;
use super::malformed::Malformed;

/// Reads a `status`: what is installed, by wish or because something needs it.
///
/// # Errors
/// [`Malformed`]
pub fn status(bytes: &[u8]) -> Result<Vec<Package>, Malformed> {
    let mut packages = Vec::new();
    for stanza in stanzas(bytes)? {
        let status =
            stanza.get("Status").ok_or(Malformed::at(stanza.line, "a package without a status begins here"))?;
        // The third word is the state; older ones say `user` or `prefer` in the second.
        match status.split_whitespace().nth(2) {
            Some("not-installed") => {}
            Some(_) => packages.push(package(&stanza)?),
            None => return Err(Malformed::at(stanza.line, "a package begins here whose status is none")),
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_an_image_are_listed_with_their_licence() {
        let text = "Package: busybox\nVersion: 1.36.1-r0\nDepends: libc6\nLicense: GPL-2.0-only & \
                    bzip2-1.0.4\nStatus: install user installed\nArchitecture: cortexa57\nConffiles:\n /etc/x \
                    0123\nInstalled-Time: 1\n\nPackage: gone\nVersion: 1\nStatus: deinstall ok not-installed\n";
        let found = status(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].license.as_deref(), Some("GPL-2.0-only & bzip2-1.0.4"));
        assert_eq!((found[0].version.as_str(), found[0].architecture.as_deref()), ("1.36.1-r0", Some("cortexa57")));
        assert!(status(b"Package: a\nVersion: 1\nStatus: x\n").is_err());
    }
}
