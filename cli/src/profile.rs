//! `config.json` of the configuration directory: what a person says once about servers and the way to them.
//!
//! ```text
//!   {"Spec":"1","AutoUpgrade":false,"DistributionTag":"develop",   members of existing tools, kept and not obeyed
//!    "RepoBaseUrl":"https://hub.example.com/trails",               what user/nick is below
//!    "HttpProxy":"system","CaCert":"/etc/ssl/hub.pem","Timeout":"60"}
//! ```
//!
//! Promises: members that are not known are kept; a file that cannot be understood is an error and not the default. A flag
//! or a variable of the environment wins over the file.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::json::{self, Json, Limits};

use crate::error::{Context as _, Error, Result};
use crate::http::Proxy;
use crate::repo::durable;

/// The file.
const FILE: &str = "config.json";

/// The longest silence that can be asked for, in seconds.
pub const TIMEOUT_MAX: u64 = 86400;

/// A member that can be set: its name, what it is for, and whether a text can be its value.
struct Member {
    name: &'static str,
    about: &'static str,
    check: fn(&str) -> std::result::Result<(), String>,
}

const MEMBERS: [Member; 4] = [
    Member { name: "RepoBaseUrl", about: "what short addresses (user/nick) are below", check: url },
    Member {
        name: "HttpProxy",
        about: "system, no, or the URL of a proxy",
        check: |text| Proxy::parse(text).map(drop),
    },
    Member {
        name: "CaCert",
        about: "authorities for https of devices and hubs, instead of the usual ones",
        check: file,
    },
    Member {
        name: "Timeout",
        about: "seconds of silence after which a server is given up",
        check: |text| seconds(text).map(drop),
    },
];

/// Members of existing tools that are kept: nothing here upgrades itself.
const OF_OTHERS: [&str; 3] = ["Spec", "AutoUpgrade", "DistributionTag"];

/// What the file says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Profile(Option<Json>);

impl Profile {
    /// Reads it; without a file it says nothing.
    ///
    /// # Errors
    /// It cannot be read, or a member has a value that it cannot have.
    pub fn load(configuration: &Path) -> Result<Self> {
        let path = configuration.join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self(None)),
            read => read.context("read", &path)?,
        };
        let wrong = |what: &dyn std::fmt::Display| {
            Error::user(format!("{}: {what}", path.display()))
                .hint("`pvr global-config KEY=VALUE` writes it; put it right, or move it away")
        };
        let json = json::parse(&bytes, Limits::DOCUMENT).map_err(|error| wrong(&error))?.to_json();
        if !matches!(json, Json::Object(_)) {
            return Err(wrong(&"it is not a JSON object"));
        }
        let profile = Self(Some(json));
        for member in &MEMBERS {
            let Some(value) = profile.0.as_ref().and_then(|json| json.get(member.name)) else { continue };
            let text = value.as_str().ok_or_else(|| wrong(&format!("{} is not a string", member.name)))?;
            (member.check)(text).map_err(|why| wrong(&format!("{}: {why}", member.name)))?;
        }
        Ok(profile)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.get(name)?.as_str()
    }

    /// What short addresses are below.
    #[must_use]
    pub fn repositories(&self) -> Option<&str> {
        self.text("RepoBaseUrl")
    }

    /// How servers are reached.
    #[must_use]
    pub fn proxy(&self) -> Option<Proxy> {
        Proxy::parse(self.text("HttpProxy")?).ok()
    }

    /// A file of authorities.
    #[must_use]
    pub fn authorities(&self) -> Option<PathBuf> {
        self.text("CaCert").map(PathBuf::from)
    }

    /// How long a server may be silent.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        seconds(self.text("Timeout")?).ok()
    }

    /// All members.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.0.clone().unwrap_or_else(Json::object)
    }
}

/// Sets members, `NAME=VALUE` each; an empty value removes one. All of them or none.
///
/// # Errors
/// A name or a value that means nothing, or the file cannot be written.
pub fn set(configuration: &Path, assignments: &[String]) -> Result<Profile> {
    let mut json = Profile::load(configuration)?.to_json();
    for assignment in assignments {
        let (name, value) = assignment.split_once('=').ok_or_else(|| {
            Error::user(format!("{assignment:?} sets nothing")).hint("write KEY=VALUE; KEY= removes the key")
        })?;
        match MEMBERS.iter().find(|member| member.name == name) {
            _ if value.is_empty() => drop(json.remove(name)),
            Some(member) => {
                (member.check)(value).map_err(|why| Error::user(format!("{name}: {why}")).hint(member.about))?;
                json.set(name, value);
            }
            // A boolean stands there as one.
            None if OF_OTHERS.contains(&name) => match value {
                "true" | "false" => json.set(name, value == "true"),
                text => json.set(name, text),
            },
            None => {
                let names: Vec<_> = MEMBERS.iter().map(|member| member.name).collect();
                return Err(
                    Error::user(format!("there is no key {name:?}")).hint(format!("keys are {}", names.join(", ")))
                );
            }
        }
    }
    fs::create_dir_all(configuration).context("create", configuration)?;
    let text = format!("{}\n", json.pretty());
    durable::replace(&configuration.join(FILE), text.as_bytes(), 0o644)?;
    Profile::load(configuration)
}

/// Each key with what it is for.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    MEMBERS.iter().map(|member| (member.name, member.about))
}

fn url(text: &str) -> std::result::Result<(), String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') => {
            Ok(())
        }
        _ => Err(format!("{text:?} is no http:// or https:// address")),
    }
}

fn file(text: &str) -> std::result::Result<(), String> {
    if Path::new(text).is_absolute() { Ok(()) } else { Err("a path begins with `/`".into()) }
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (1..=TIMEOUT_MAX).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?} is no number of seconds from 1 to {TIMEOUT_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_is_set_is_read_and_what_others_wrote_stays() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(FILE), r#"{"Spec":"1","AutoUpgrade":true,"Theirs":{"a":1}}"#).unwrap();
        let profile =
            set(scratch.path(), &words(&["RepoBaseUrl=https://h/t", "Timeout=5", "AutoUpgrade=false", "HttpProxy=no"]));
        let profile = profile.unwrap();
        assert_eq!(profile.repositories(), Some("https://h/t"));
        assert_eq!((profile.timeout(), profile.proxy()), (Some(Duration::from_secs(5)), Some(Proxy::No)));
        assert_eq!(
            profile.to_json().canonical(),
            r#"{"AutoUpgrade":false,"HttpProxy":"no","RepoBaseUrl":"https://h/t","Spec":"1","Theirs":{"a":1},"Timeout":"5"}"#
        );
        let profile = set(scratch.path(), &words(&["Timeout="])).unwrap();
        assert_eq!(profile.timeout(), None);
    }

    #[test]
    fn what_means_nothing_sets_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        for wrong in
            ["Timeout=0", "Timeout=soon", "RepoBaseUrl=hub", "HttpProxy=ftp://x", "CaCert=ca.pem", "Colour=red", "x"]
        {
            let error = set(scratch.path(), &words(&["Spec=1", wrong])).unwrap_err();
            assert!(error.hint.is_some(), "{wrong}");
            assert!(!scratch.path().join(FILE).exists(), "{wrong}");
        }
        for wrong in ["[]", "{", r#"{"Timeout":5}"#, r#"{"RepoBaseUrl":"hub"}"#] {
            fs::write(scratch.path().join(FILE), wrong).unwrap();
            assert!(Profile::load(scratch.path()).unwrap_err().message.contains(FILE), "{wrong}");
        }
    }
}
