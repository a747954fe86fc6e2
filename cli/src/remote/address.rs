//! Where a state is: what people type, and what it means.
//!
//! | typed | meant |
//! |---|---|
//! | `10.0.0.5`, `fe80::1`, `web.local`, `web.local:8080` | `http://…:12368/cgi-bin/pvr`, a device |
//! | `http://…`, `https://…` | a device or a repository of a hub |
//! | `user/nick` | a repository below the base address of a hub, if one is configured |
//! | a directory | a repository, or the `.pvr` of one |
//! | a file | a bundle: see [`bundle`](crate::bundle) |
//! | `…#web,_config/web,-web/src.json` | parts of it: see [`Selector`] |

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::remote::Selector;

/// The port of a device's endpoint.
pub const PORT: u16 = 12368;
/// Where a device has it.
pub const BASE: &str = "/cgi-bin/pvr";

/// Where a state is, and which parts of it are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Where.
    pub place: Place,
    /// Which parts.
    pub selector: Selector,
    /// The last part of what was typed: a name for a clone.
    pub name: Option<String>,
}

/// Where a state is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Behind HTTP, without a slash at the end.
    Url(String),
    /// In the directory of a repository.
    Directory(PathBuf),
    /// In a file.
    Bundle(PathBuf),
}

impl Address {
    /// Reads what was typed. Directories are looked for relative to `cwd`, short names are below `base`.
    ///
    /// # Errors
    /// It means nothing, or selects in a way that cannot be.
    pub fn parse(text: &str, cwd: &Path, base: Option<&str>) -> Result<Self> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let selector = Selector::parse(fragment)?;
        let name = address.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
        let place = place(address, cwd, base)?;
        let name = match &place {
            // A directory has a name, however it was reached.
            Place::Directory(path) => path.file_name().and_then(|name| name.to_str()).map(str::to_owned),
            Place::Bundle(path) => path.file_name().and_then(|name| name.to_str()).map(without_ending),
            Place::Url(_) => name.map(|name| name.trim_matches(['[', ']']).to_owned()),
        };
        Ok(Self { place, selector, name })
    }

    /// The whole as one text, which means the same wherever it is typed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let place = self.place.to_text();
        if self.selector.is_everything() { place } else { format!("{place}#{}", self.selector.to_text()) }
    }
}

impl Place {
    /// What it is, as the beginning of a sentence about who wants something else.
    #[must_use]
    pub fn described(&self) -> String {
        let what = match self {
            Self::Url(_) => "an address",
            Self::Directory(_) => "a directory",
            Self::Bundle(_) => "a file",
        };
        format!("{} is {what}", self.to_text())
    }

    /// As a text, which means the same wherever it is typed.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Directory(path) | Self::Bundle(path) => path.display().to_string(),
        }
    }
}

fn place(address: &str, cwd: &Path, base: Option<&str>) -> Result<Place> {
    if address.is_empty() {
        return Err(Error::user("the address is empty").hint("http://ADDRESS:12368, ADDRESS, or a directory"));
    }
    if let Some((scheme, rest)) = address.split_once("://") {
        if !matches!(scheme, "http" | "https") {
            return Err(Error::user(format!("pvr does not know the scheme {scheme}:// of {address}"))
                .hint("http:// or https://"));
        }
        if rest.trim_matches('/').is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::user(format!("{address:?} is not an address")).hint("http://ADDRESS:12368"));
        }
        return Ok(Place::Url(address.trim_end_matches('/').into()));
    }
    if let Some(directory) = repository(&cwd.join(address)) {
        return Ok(Place::Directory(directory));
    }
    if let Some(file) = cwd.join(address).canonicalize().ok().filter(|path| path.is_file()) {
        return Ok(Place::Bundle(file));
    }
    if let Some(authority) = authority(address) {
        return Ok(Place::Url(format!("http://{authority}{BASE}")));
    }
    if !cwd.join(address).exists() && is_short(address) {
        return match base {
            Some(base) => Ok(Place::Url(format!("{}/{address}", base.trim_end_matches('/')))),
            None => Err(Error::user(format!("{address:?} is short for a repository of a hub, and no hub is configured"))
                .hint("pvr global-config RepoBaseUrl=https://HUB…, or --repo-baseurl (PVR_REPO_BASEURL); a directory would have .pvr in it")),
        };
    }
    let what = if cwd.join(address).exists() {
        "is no repository"
    } else {
        "is neither an address nor a directory nor a file"
    };
    Err(Error::user(format!("{address:?} {what}"))
        .hint("a device is ADDRESS or http://ADDRESS:12368, a repository a directory with .pvr in it"))
}

/// Whether it is `user/nick`.
fn is_short(text: &str) -> bool {
    let is_name = |name: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        !name.is_empty() && !name.starts_with('.') && name.chars().all(fine)
    };
    text.split_once('/').is_some_and(|(user, nick)| is_name(user) && is_name(nick))
}

/// The repository that a directory is, or whose books it is.
fn repository(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    if path.join(crate::repo::BOOKS).join("json").is_file() {
        return Some(path);
    }
    let is_books = path.file_name().is_some_and(|name| name == crate::repo::BOOKS) && path.join("json").is_file();
    is_books.then(|| path.parent().map(Path::to_owned)).flatten()
}

/// The name of a bundle without what says how it is packed.
fn without_ending(name: &str) -> String {
    let endings = [".tgz", ".tzst", ".tar.gz", ".tar.zst", ".tar", ".pvrexport.tgz"];
    let short = endings.iter().filter_map(|ending| name.strip_suffix(ending)).min_by_key(|short| short.len());
    short.filter(|short| !short.is_empty()).unwrap_or(name).to_owned()
}

/// Host and port of a bare name or number.
fn authority(text: &str) -> Option<String> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(match ip {
            IpAddr::V4(ip) => format!("{ip}:{PORT}"),
            IpAddr::V6(ip) => format!("[{ip}]:{PORT}"),
        });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok()?),
        None => (text, PORT),
    };
    // A word alone is rather a file that is not there.
    let is_host = host == "localhost" || text.contains(['.', ':']);
    let has_letters = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'[' | b']' | b':'));
    (is_host && has_letters && !host.is_empty() && !host.starts_with(['.', '-'])).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        Address::parse(text, Path::new("/nowhere"), None).unwrap().to_text()
    }

    #[test]
    fn a_bare_address_is_a_device() {
        assert_eq!(url("10.0.0.5"), "http://10.0.0.5:12368/cgi-bin/pvr");
        assert_eq!(url("10.0.0.5:80"), "http://10.0.0.5:80/cgi-bin/pvr");
        assert_eq!(url("fe80::1"), "http://[fe80::1]:12368/cgi-bin/pvr");
        assert_eq!(url("[fe80::1]"), "http://[fe80::1]:12368/cgi-bin/pvr");
        assert_eq!(url("[fe80::1]:80"), "http://[fe80::1]:80/cgi-bin/pvr");
        assert_eq!(url("web.local"), "http://web.local:12368/cgi-bin/pvr");
        assert_eq!(url("localhost:1"), "http://localhost:1/cgi-bin/pvr");
    }

    #[test]
    fn a_url_stays_as_it_is_but_for_its_last_slash_and_keeps_its_parts() {
        assert_eq!(url("http://10.0.0.5:12368/"), "http://10.0.0.5:12368");
        assert_eq!(
            url("https://h/trails/1#web,_config%2Fweb,-web/src.json"),
            "https://h/trails/1#web,_config/web,-web/src.json"
        );
        let address = Address::parse("http://h/a/b/#x", Path::new("/"), None).unwrap();
        assert_eq!(address.name.as_deref(), Some("b"));
    }

    #[test]
    fn what_means_nothing_is_said_with_what_would() {
        for text in ["", "ftp://h/x", "http://", "http://a b", "user/nick", "word", "a.b:port", "-x.y"] {
            let error = Address::parse(text, Path::new("/nowhere"), None).unwrap_err();
            assert!(error.hint.is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn a_short_name_is_below_the_base_that_is_configured() {
        let parse = |text, base| Address::parse(text, Path::new("/nowhere"), base).map(|address| address.to_text());
        assert_eq!(parse("me/box#web", Some("https://h/t/")).unwrap(), "https://h/t/me/box#web");
        assert!(parse("me/box", None).unwrap_err().hint.unwrap().contains("RepoBaseUrl"));
        for text in ["me/", "/box", "../box", "me/box/1", "me/b x"] {
            assert!(parse(text, Some("https://h")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_directory_is_meant_by_itself_and_by_its_books() {
        let scratch = tempfile::tempdir().unwrap();
        crate::repo::Repo::init(&scratch.path().join("r"), None, formats::state::SPEC).unwrap();
        for text in ["r", "r/.pvr", "./r/"] {
            let address = Address::parse(text, scratch.path(), None).unwrap();
            assert_eq!(address.place, Place::Directory(scratch.path().canonicalize().unwrap().join("r")), "{text}");
            assert_eq!(address.name.as_deref(), Some("r"));
        }
        std::fs::write(scratch.path().join("web.tar.gz"), "").unwrap();
        let address = Address::parse("web.tar.gz#web", scratch.path(), None).unwrap();
        assert_eq!(address.place, Place::Bundle(scratch.path().canonicalize().unwrap().join("web.tar.gz")));
        assert_eq!(address.name.as_deref(), Some("web"));
        assert!(Address::parse(".", scratch.path(), None).unwrap_err().message.contains("is no repository"));
    }
}
