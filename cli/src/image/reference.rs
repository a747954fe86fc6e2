//! How an image is named on the command line.
//!
//! ```text
//!   [docker://][REGISTRY/]REPOSITORY[:TAG][@sha256:…]     nginx is docker.io/library/nginx:latest
//!   oci:DIRECTORY[:TAG]      oci-archive:FILE[:TAG]      docker-archive:FILE[:NAME:TAG]
//! ```

use std::path::{Path, PathBuf};

use super::digest::Digest;
use crate::error::{Error, Result};

/// Where names without a registry are.
pub const DOCKER_HUB: &str = "docker.io";

/// An image by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// As it was typed, without tag and digest.
    pub name: String,
    /// The tag, if one was typed.
    pub tag: Option<String>,
    /// Where it is.
    pub place: Place,
}

/// Where an image is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a registry.
    Registry {
        /// Host, and port if there is one.
        registry: String,
        /// The repository there, in full.
        repository: String,
        /// The one manifest that is wanted.
        digest: Option<Digest>,
    },
    /// An OCI layout.
    Layout(PathBuf),
    /// A tar of one.
    OciArchive(PathBuf),
    /// What `docker save` writes.
    DockerArchive(PathBuf),
}

impl Reference {
    /// Reads a reference.
    ///
    /// # Errors
    /// It has no form that is known.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = local(text, rest)?;
            return Ok(Self { name: format!("oci:{path}"), tag, place: Place::Layout(path.into()) });
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (path, tag) = local(text, rest)?;
            return Ok(Self { name: format!("oci-archive:{path}"), tag, place: Place::OciArchive(path.into()) });
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            // The name in such a file may have slashes and a port: what follows the first colon is all of it.
            let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag.to_owned())));
            if path.is_empty() {
                return Err(malformed(text, "a file is missing"));
            }
            return Ok(Self { name: format!("docker-archive:{path}"), tag, place: Place::DockerArchive(path.into()) });
        }
        registry(text, text.strip_prefix("docker://").unwrap_or(text))
    }

    /// The same image for who looks from another directory: a file is named by its whole path, unless `cwd` is that directory.
    #[must_use]
    pub fn seen_from(self, cwd: &Path, other: &Path) -> Self {
        let Self { name, tag, mut place } = self;
        let path = match &mut place {
            Place::Registry { .. } => return Self { name, tag, place },
            Place::Layout(path) | Place::OciArchive(path) | Place::DockerArchive(path) => path,
        };
        let whole = cwd.join(&*path);
        let kind = name.split(':').next().unwrap_or_default();
        match whole.to_str() {
            Some(text) if path.is_relative() && cwd != other && cwd.canonicalize().ok().as_deref() != Some(other) => {
                let name = format!("{kind}:{text}");
                *path = whole;
                Self { name, tag, place }
            }
            _ => Self { name, tag, place },
        }
    }

    /// The name of a container made of it: the last part of its name, if it can be one.
    #[must_use]
    pub fn short_name(&self) -> Option<&str> {
        let last = self.name.trim_end_matches('/').rsplit(['/', ':']).next()?;
        Some(last.strip_suffix(".tar").unwrap_or(last)).filter(|name| !name.is_empty() && *name != "." && *name != "..")
    }
}

fn local(text: &str, rest: &str) -> Result<(String, Option<String>)> {
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
        _ => (rest, None),
    };
    if path.is_empty() {
        return Err(malformed(text, "a path is missing"));
    }
    Ok((path.to_owned(), tag))
}

fn registry(text: &str, rest: &str) -> Result<Reference> {
    if let Some((scheme, _)) = rest.split_once("://") {
        return Err(malformed(text, &format!("{scheme}:// is no place of images")));
    }
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => {
            (rest, Some(Digest::parse(digest).ok_or_else(|| malformed(text, "a digest is sha256: and 64 digits"))?))
        }
        None => (rest, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
        _ => (rest, None),
    };
    if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
        return Err(malformed(text, "a tag is up to 128 letters, digits, `_`, `.` and `-`"));
    }
    let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    let (registry, repository) = match name.split_once('/') {
        Some((first, repository)) if is_host(first) => (first, repository.to_owned()),
        Some(_) => (DOCKER_HUB, name.to_owned()),
        None => (DOCKER_HUB, format!("library/{name}")),
    };
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    let repository = match repository.split_once('/') {
        None if registry == DOCKER_HUB => format!("library/{repository}"),
        _ => repository,
    };
    let host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if !registry.chars().all(host) {
        return Err(malformed(text, "this is no host of a registry"));
    }
    if repository.len() > 255 || !repository.split('/').all(is_component) {
        return Err(malformed(text, "a repository is small letters and digits, with `.`, `_`, `-` and `/` between"));
    }
    let place = Place::Registry { registry: registry.to_owned(), repository, digest };
    Ok(Reference { name: name.to_owned(), tag, place })
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_component(part: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(letter) && part.ends_with(letter) && part.chars().all(|c| letter(c) || "._-".contains(c))
}

fn malformed(text: &str, why: &str) -> Error {
    Error::user(format!("{text:?} does not name an image: {why}"))
        .hint("name one like nginx:1.27, registry.example.com/team/web@sha256:…, oci:DIR:TAG or docker-archive:FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        let reference = Reference::parse(text).unwrap();
        let Place::Registry { registry, repository, digest } = reference.place else { panic!("{text}") };
        let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{registry} {repository} {}{digest}", reference.tag.unwrap_or_default())
    }

    #[test]
    fn a_short_name_is_one_of_the_hub() {
        assert_eq!(full("nginx"), "docker.io library/nginx ");
        assert_eq!(full("docker://nginx:1.27"), "docker.io library/nginx 1.27");
        assert_eq!(full("docker.io/nginx"), "docker.io library/nginx ");
        assert_eq!(full("team/web"), "docker.io team/web ");
        assert_eq!(full("localhost/web"), "localhost web ");
        assert_eq!(full("127.0.0.1:5000/a/b:c"), "127.0.0.1:5000 a/b c");
        let digest = Digest::of(b"");
        assert_eq!(full(&format!("ghcr.io/a/b:t@{digest}")), format!("ghcr.io a/b t@{digest}"));
    }

    #[test]
    fn files_are_named_with_their_kind() {
        let parse = |text| Reference::parse(text).unwrap();
        assert_eq!(parse("oci:/a/b:1.0").place, Place::Layout("/a/b".into()));
        assert_eq!(parse("oci:/a/b:1.0").tag.as_deref(), Some("1.0"));
        assert_eq!(parse("oci:a").tag, None);
        assert_eq!(parse("docker-archive:x.tar:host:5/n:t").tag.as_deref(), Some("host:5/n:t"));
        assert_eq!(parse("oci-archive:d/web.tar").short_name(), Some("web"));
        assert_eq!(parse("ghcr.io/a/b:t").short_name(), Some("b"));
    }

    #[test]
    fn what_names_no_image_says_why() {
        for text in
            ["", "Nginx", "a//b", "a:", "a@sha256:1", "https://x/y", "oci:", "a/../b", "a b", "ex\u{e4}.com/a", "-a"]
        {
            let error = Reference::parse(text).unwrap_err();
            assert!(error.message.contains("does not name an image"), "{text}: {error}");
        }
    }
}
