//! Package URLs: `pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12`.

use crate::contents::packages::{Manager, Os, Package};

/// The URL of a package.
#[must_use]
pub fn purl(manager: Manager, os: Option<&Os>, package: &Package) -> String {
    let kind = match manager {
        Manager::Dpkg => "deb",
        Manager::Apk => "apk",
        Manager::Opkg => "opkg",
    };
    // Where nobody says whose it is, it is of those that the package manager is from.
    let vendor = match (os, manager) {
        (Some(os), _) => Some(os.id.as_str()),
        (None, Manager::Dpkg) => Some("debian"),
        (None, Manager::Apk) => Some("alpine"),
        (None, Manager::Opkg) => None,
    };
    let namespace = vendor.map(|vendor| format!("{}/", encoded(vendor))).unwrap_or_default();
    let name = encoded(&package.name.to_lowercase());
    let mut qualifiers = Vec::new();
    if let Some(architecture) = &package.architecture {
        qualifiers.push(format!("arch={}", encoded(architecture)));
    }
    if let Some(Os { id, version: Some(version) }) = os {
        qualifiers.push(format!("distro={}-{}", encoded(id), encoded(version)));
    }
    url(&format!("pkg:{kind}/{namespace}{name}@{}", encoded(&package.version)), &qualifiers)
}

/// The URL of a container image. None if its name is none.
pub(super) fn oci(name: &str, digest: &str, tag: Option<&str>) -> Option<String> {
    let short = name.rsplit('/').next().filter(|short| !short.is_empty())?;
    let digest = digest.rsplit('@').next().filter(|digest| digest.starts_with("sha256:"))?;
    let mut qualifiers = Vec::new();
    if name.contains('/') {
        qualifiers.push(format!("repository_url={}", name.split('/').map(encoded).collect::<Vec<_>>().join("/")));
    }
    qualifiers.extend(tag.map(|tag| format!("tag={}", encoded(tag))));
    Some(url(&format!("pkg:oci/{}@{}", encoded(&short.to_lowercase()), encoded(digest)), &qualifiers))
}

fn url(base: &str, qualifiers: &[String]) -> String {
    if qualifiers.is_empty() { base.into() } else { format!("{base}?{}", qualifiers.join("&")) }
}

/// Everything but what is plain in every place, percent-encoded.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_version_is_taken_for_a_part_of_the_url() {
        let os = Os { id: "debian".into(), version: Some("12".into()) };
        let package = Package {
            name: "g++".into(),
            version: "4:12.2.0-3+b1".into(),
            architecture: Some("amd64".into()),
            ..Package::default()
        };
        let full = "pkg:deb/debian/g%2B%2B@4%3A12.2.0-3%2Bb1?arch=amd64&distro=debian-12";
        assert_eq!(purl(Manager::Dpkg, Some(&os), &package), full);
        assert_eq!(purl(Manager::Opkg, None, &package), "pkg:opkg/g%2B%2B@4%3A12.2.0-3%2Bb1?arch=amd64");
        let bare = Package { name: "a".into(), version: "1?x=y#z".into(), ..Package::default() };
        assert_eq!(purl(Manager::Apk, None, &bare), "pkg:apk/alpine/a@1%3Fx%3Dy%23z");
    }

    #[test]
    fn an_image_is_named_by_its_digest() {
        let digest = format!("docker.io/library/nginx@sha256:{}", "0".repeat(64));
        let url = oci("docker.io/library/nginx", &digest, Some("1.27")).unwrap();
        let is = format!("pkg:oci/nginx@sha256%3A{}?repository_url=docker.io/library/nginx&tag=1.27", "0".repeat(64));
        assert_eq!(url, is);
        assert_eq!(oci("nginx", "latest", None), None);
        assert_eq!(oci("", "sha256:0", None), None);
    }
}
