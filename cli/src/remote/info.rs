//! What a device or repository says about itself, and where that stands.
//!
//! ```text
//!   GET <base>/.pvrremote
//!   {"pvr-spec":"pvr-pantahub-1","json-get-url":"…/steps/current/state","json-key":"state","objects-endpoint":"…/objects",
//!    "post-url":"…/steps","post-fields":["commit-msg"],"post-fields-opt":["rev"],"step-get-url":"…/steps/current"}
//! ```

use formats::json::{self, Json, Limits, Object};

use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, Repeat, Reply, host, nonsense, page};
use crate::remote::address::{BASE, PORT};
use crate::watch::Watch;

/// The protocol.
pub const SPEC: &str = "pvr-pantahub-1";

/// The addresses of a remote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// Where it was found: what the others are below.
    pub base: String,
    /// The state.
    pub state: String,
    /// Records of objects, without a slash at the end.
    pub objects: String,
    /// Where new revisions go; none if it takes none.
    pub post: Option<String>,
    /// The member of a new revision that holds its state.
    pub key: String,
    /// Members that a new revision must have besides its state.
    pub fields: Vec<String>,
    /// The step that the state is of.
    pub step: Option<String>,
}

impl Info {
    /// Looks for a remote where the address may mean it to be. From then on the client speaks to it.
    ///
    /// # Errors
    /// There is none, or nobody answers.
    pub fn discover(client: &Client, url: &str, watch: &dyn Watch) -> Result<Self> {
        Self::discover_whole(client, url, watch).map(|(info, _)| info)
    }

    /// The same, with the document as it came.
    ///
    /// # Errors
    /// There is none, or nobody answers.
    pub fn discover_whole(client: &Client, url: &str, watch: &dyn Watch) -> Result<(Self, Json)> {
        let (mut first, mut dead) = (None, None);
        for base in candidates(url) {
            if dead.as_deref() == Some(host(&base)) {
                continue;
            }
            let asked = format!("{base}/.pvrremote");
            let reply = match client.get(&asked, Limits::DOCUMENT.bytes, Repeat::Harmless, watch) {
                Ok(reply) => reply,
                Err(error) => {
                    dead = Some(host(&base).to_owned());
                    first.get_or_insert(error);
                    continue;
                }
            };
            match reply.status {
                200 if !reply.is_page => {
                    let found = Self::parse(&base, &reply)?;
                    client.enter(&base)?;
                    return Ok(found);
                }
                200..=299 | 404 | 405 => {
                    first.get_or_insert_with(|| not_a_remote(url, &reply));
                }
                _ => return Err(reply.refused("it was asked what it is")),
            }
        }
        Err(first.unwrap_or_else(|| Error::internal("an address without candidates")))
    }

    fn parse(base: &str, reply: &Reply) -> Result<(Self, Json)> {
        let url = &reply.url;
        let value = json::parse(&reply.body, Limits::DOCUMENT).map_err(|error| nonsense(url, error))?;
        let members = value.as_object().ok_or_else(|| nonsense(url, "it is not an object"))?;
        let spec = text(members, "pvr-spec").unwrap_or_default();
        if spec != SPEC {
            return Err(nonsense(url, format_args!("it speaks {spec:?}, and pvr speaks {SPEC:?}")));
        }
        let address = |name: &str| text(members, name).map(|value| checked(base, url, name, value)).transpose();
        let need = |name: &str| address(name)?.ok_or_else(|| nonsense(url, format_args!("it has no {name}")));
        let info = Self {
            state: need("json-get-url")?,
            objects: need("objects-endpoint")?.trim_end_matches('/').into(),
            post: address("post-url")?,
            key: text(members, "json-key").unwrap_or("state").into(),
            fields: texts(members, "post-fields"),
            step: address("step-get-url")?,
            base: base.into(),
        };
        Ok((info, value.to_json()))
    }

    /// Where the record of the step stands, which may not be offered.
    #[must_use]
    pub fn record(&self) -> Option<&str> {
        self.step.as_deref().or_else(|| self.state.strip_suffix("/state"))
    }

    /// Where the progress of a revision stands, if the remote has steps.
    #[must_use]
    pub fn progress(&self, revision: &str) -> Option<String> {
        let (steps, _) = self.record()?.rsplit_once('/')?;
        Some(format!("{steps}/{revision}/progress"))
    }
}

fn text<'v>(members: &'v Object<'_>, name: &str) -> Option<&'v str> {
    members.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty())
}

fn texts(members: &Object<'_>, name: &str) -> Vec<String> {
    let list = members.get(name).and_then(|value| value.as_array()).unwrap_or_default();
    list.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// An address that the remote names. What came encrypted does not go on in the clear.
pub(crate) fn checked(base: &str, url: &str, name: &str, address: &str) -> Result<String> {
    let is_secure = address.starts_with("https://");
    if !is_secure && !address.starts_with("http://") {
        return Err(nonsense(url, format_args!("{name} is not an absolute address")));
    }
    if base.starts_with("https://") && !is_secure {
        return Err(nonsense(url, format_args!("{name} leads from https to http")));
    }
    Ok(address.into())
}

/// Where a remote may be that somebody calls so, the likeliest first.
pub(crate) fn candidates(url: &str) -> Vec<String> {
    let url = url.strip_suffix("/.pvrremote").unwrap_or(url);
    let mut all = vec![url.to_owned()];
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    match rest.split_once('/') {
        None => {
            all.push(format!("{url}{BASE}"));
            let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
            if !has_port && scheme == "http" {
                all.push(format!("{url}:{PORT}{BASE}"));
            }
        }
        Some((_, "cgi-bin")) => all.push(format!("{url}/pvr")),
        Some(_) => {}
    }
    all
}

fn not_a_remote(url: &str, reply: &Reply) -> Error {
    if reply.is_page && reply.status == 200 {
        return page(&reply.url);
    }
    let message = format!("{} answers, but {url} is neither a device nor a repository", host(url));
    Error { kind: ErrorKind::Device, message, hint: None }
        .hint(format!("{} answered with status {}; a device is http://ADDRESS:{PORT}", reply.url, reply.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_by_whatever_people_call_it() {
        assert_eq!(candidates("http://d"), ["http://d", "http://d/cgi-bin/pvr", "http://d:12368/cgi-bin/pvr"]);
        assert_eq!(candidates("http://d:12368"), ["http://d:12368", "http://d:12368/cgi-bin/pvr"]);
        assert_eq!(candidates("http://d:1/cgi-bin"), ["http://d:1/cgi-bin", "http://d:1/cgi-bin/pvr"]);
        assert_eq!(candidates("http://d:1/cgi-bin/pvr/.pvrremote"), ["http://d:1/cgi-bin/pvr"]);
        assert_eq!(candidates("https://hub/trails/1"), ["https://hub/trails/1"]);
    }

    #[test]
    fn what_came_encrypted_does_not_go_on_in_the_clear() {
        assert!(checked("https://h", "u", "n", "http://h/x").is_err());
        assert!(checked("http://h", "u", "n", "https://h/x").is_ok());
        assert!(checked("http://h", "u", "n", "/x").is_err());
        assert!(checked("http://h", "u", "n", "file:///etc/passwd").is_err());
    }

    #[test]
    fn the_progress_of_a_revision_stands_beside_the_step_that_runs() {
        let info = |step: Option<&str>, state: &str| Info {
            base: String::new(),
            state: state.into(),
            objects: String::new(),
            post: None,
            key: "state".into(),
            fields: Vec::new(),
            step: step.map(str::to_owned),
        };
        let wanted = Some("http://d/steps/locals/x/progress".to_owned());
        assert_eq!(info(Some("http://d/steps/current"), "").progress("locals/x"), wanted);
        assert_eq!(info(None, "http://d/steps/current/state").progress("locals/x"), wanted);
        assert_eq!(info(None, "http://d/json").progress("locals/x"), None);
    }
}
