//! Where registries really are: their own addresses, or mirrors that somebody has named.
//!
//! ```text
//!   PVR_MIRRORS="docker.io=http://127.0.0.1:5000,ghcr.io=https://mirror.example.com/ghcr"
//!   mirrors.json of the configuration   {"docker.io": "http://127.0.0.1:5000"}
//! ```
//!
//! A mirror stands for its registry: it alone is asked. A path in its URL stands before the repository.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use formats::json::{self, Limits};

use crate::error::{Context as _, Error, Result};
use crate::image::reference::DOCKER_HUB;

/// The address of a registry: scheme, host, and what stands before its repositories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    https: bool,
    host: String,
    prefix: String,
}

impl Url {
    /// The address of a registry by its name. This machine is asked without TLS, unless there are authorities for it.
    #[must_use]
    pub fn of(registry: &str, authorities: bool) -> Self {
        let host = if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry };
        Self { https: authorities || !is_loopback(host), host: host.to_owned(), prefix: String::new() }
    }

    /// Reads `http://HOST[:PORT][/PREFIX]` or the same with https.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fine = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        let prefix = prefix.trim_matches('/');
        let whole = !host.is_empty() && fine(host, ".-:[]") && fine(prefix, "._-/") && !prefix.contains("..");
        whole.then(|| Self { https, host: host.to_owned(), prefix: prefix.to_owned() })
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }

    /// Whether it is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether nobody on the way can read or change what is said.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.https || self.is_loopback()
    }

    /// The URL of something in a repository.
    #[must_use]
    pub fn of_repository(&self, repository: &str, path: &str) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{scheme}://{}/v2/{}{slash}{repository}/{path}", self.host, self.prefix)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Whether a host, with or without a port, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Registries and the mirrors that stand for them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mirrors(BTreeMap<String, Url>);

impl Mirrors {
    /// Adds what a file says; one that is not there says nothing.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.context("read", path)?,
        };
        let wrong = |what: &dyn fmt::Display| Error::user(format!("{}: {what}", path.display()));
        let form = r#"write {"REGISTRY": "https://MIRROR"}"#;
        let value = json::parse(&bytes, Limits::DOCUMENT).map_err(|error| wrong(&error).hint(form))?;
        let members = value.as_object().ok_or_else(|| wrong(&"it is no object").hint(form))?;
        for member in members {
            let text = member
                .value
                .as_str()
                .ok_or_else(|| wrong(&format_args!("{}: it is no string", member.key)).hint(form))?;
            self.add(&member.key, text).map_err(|error| wrong(&error).hint(form))?;
        }
        Ok(())
    }

    /// Adds what a list says: `REGISTRY=URL`, with commas between. It wins over what was there before.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn add_list(&mut self, list: &str) -> Result<()> {
        for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let wrong = || Error::user(format!("PVR_MIRRORS: {pair:?} is not REGISTRY=URL"));
            let (registry, url) = pair.split_once('=').ok_or_else(wrong)?;
            self.add(registry.trim(), url.trim())
                .map_err(|error| Error { message: format!("PVR_MIRRORS: {error}"), ..error })?;
        }
        Ok(())
    }

    /// The mirror of a registry.
    #[must_use]
    pub fn get(&self, registry: &str) -> Option<&Url> {
        self.0.get(registry)
    }

    fn add(&mut self, registry: &str, url: &str) -> Result<()> {
        let url = Url::parse(url).ok_or_else(|| {
            Error::user(format!("{url:?} is no URL of a mirror"))
                .hint("write https://HOST[:PORT][/PATH]; http for this machine")
        })?;
        self.0.insert(registry.to_owned(), url);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        for (url, safe) in [
            ("http://127.0.0.1:5000", true),
            ("http://[::1]:5000", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("https://10.0.0.1", true),
        ] {
            assert_eq!(Url::parse(url).unwrap().is_safe(), safe, "{url}");
        }
        for url in ["ftp://a", "a", "http://", "http://a@b", "https://a/../b", "https://a/?q"] {
            assert_eq!(Url::parse(url), None, "{url}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_api() {
        let of = |registry, authorities| Url::of(registry, authorities).of_repository("library/a", "manifests/latest");
        assert_eq!(of("docker.io", false), "https://registry-1.docker.io/v2/library/a/manifests/latest");
        assert_eq!(of("localhost:5000", false), "http://localhost:5000/v2/library/a/manifests/latest");
        assert_eq!(of("localhost:5000", true), "https://localhost:5000/v2/library/a/manifests/latest");
        let mirror = Url::parse("https://m.example.com/hub/").unwrap();
        assert_eq!(mirror.of_repository("library/a", "x"), "https://m.example.com/v2/hub/library/a/x");
    }

    #[test]
    fn the_list_wins_over_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mirrors.json");
        let mut mirrors = Mirrors::default();
        mirrors.add_file(&path).unwrap();
        std::fs::write(&path, r#"{"docker.io":"https://a","ghcr.io":"https://b"}"#).unwrap();
        mirrors.add_file(&path).unwrap();
        mirrors.add_list(" docker.io=http://127.0.0.1:5000, ").unwrap();
        assert_eq!(mirrors.get("docker.io").unwrap().to_string(), "http://127.0.0.1:5000");
        assert_eq!(mirrors.get("ghcr.io").unwrap().to_string(), "https://b");
        assert!(mirrors.add_list("docker.io").unwrap_err().message.contains("REGISTRY=URL"));
        std::fs::write(&path, "[]").unwrap();
        assert!(mirrors.add_file(&path).unwrap_err().message.contains("mirrors.json"));
    }
}
