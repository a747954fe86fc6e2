//! Tokens of devices that this workstation is paired with: a file each, which only its owner reads.
//!
//! ```text
//!   ~/.config/pvr/tokens/http_10.0.0.5:12368       the token of that server, and a line end
//! ```
//!
//! Promises: a token is found by scheme, host and port alone, as the library that connects reads them from an address;
//! it is part of no message and no `Debug`.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use formats::pairing::Secret;
use ureq::http::Uri;

use crate::error::{Context as _, Error, Result};
use crate::repo::durable;

/// The most bytes of a token.
const TOKEN_MAX: usize = 512;

/// Who is spoken to: scheme, host and port of an address, and nothing else of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Server(String);

impl Server {
    /// The server of an address; `None` if it has none.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let (scheme, host) = (uri.scheme_str()?, uri.host().filter(|host| !host.is_empty())?);
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(usual);
        Some(Self(format!("{scheme}://{}:{port}", host.to_ascii_lowercase())))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tokens of a configuration directory.
#[derive(Clone, Debug)]
pub struct Tokens(PathBuf);

impl Tokens {
    /// Those of this configuration directory, which need not exist.
    #[must_use]
    pub fn of(configuration: &Path) -> Self {
        Self(configuration.join("tokens"))
    }

    fn path(&self, server: &Server) -> PathBuf {
        // No host has a slash in it.
        self.0.join(server.0.replacen("://", "_", 1))
    }

    /// The token for a server.
    ///
    /// # Errors
    /// It cannot be read, or others can.
    pub fn get(&self, server: &Server) -> Result<Option<Secret>> {
        let path = self.path(server);
        let mode = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.context("read", &path)?.mode(),
        };
        if mode & 0o077 != 0 {
            let message = format!("the token {} can be read by others (mode {:o})", path.display(), mode & 0o777);
            let hint = format!("chmod 600 '{}'; if others had time to read it: pvr login {server}", path.display());
            return Err(Error::user(message).hint(hint));
        }
        let text = fs::read_to_string(&path).context("read", &path)?;
        token(text.trim_end()).map(Some).ok_or_else(|| {
            Error::user(format!("{} holds no token", path.display())).hint(format!("pvr login {server}"))
        })
    }

    /// Keeps the token for a server, in place of the one before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set(&self, server: &Server, token: &Secret) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).context("create", &self.0)?;
        durable::replace(&self.path(server), format!("{}\n", token.expose()).as_bytes(), 0o600)
    }

    /// Forgets the token for a server. Returns whether there was one.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, server: &Server) -> Result<bool> {
        let path = self.path(server);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.context("remove", &path).map(|()| true),
        }
    }
}

/// Reads a token: what can stand in a field of HTTP as it is.
pub(crate) fn token(text: &str) -> Option<Secret> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (!text.is_empty() && text.len() <= TOKEN_MAX && text.bytes().all(is_plain)).then(|| Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn server(url: &str) -> Server {
        Server::of(url).unwrap()
    }

    #[test]
    fn a_server_is_scheme_host_and_port_however_the_address_goes_on() {
        let device = server("http://10.0.0.5:12368");
        for same in ["http://10.0.0.5:12368/cgi-bin/pvr", "http://me@10.0.0.5:12368/?x", "HTTP://10.0.0.5:12368/#y"] {
            assert_eq!(server(same.split('#').next().unwrap()), device, "{same}");
        }
        assert_eq!(server("http://Web.local"), server("http://web.local:80/"));
        assert_eq!(server("https://h"), server("https://h:443/x"));
        for other in [
            "http://10.0.0.5",
            "https://10.0.0.5:12368",
            "http://10.0.0.50:12368",
            "http://10.0.0.5:12368@evil.example/",
            "http://10.0.0.5:12368.evil.example/",
            "http://evil.example/10.0.0.5:12368",
        ] {
            assert_ne!(Server::of(other), Some(device.clone()), "{other}");
        }
        assert_eq!(Server::of("ftp://h/"), None);
        assert_eq!(Server::of("h/x"), None);
    }

    #[test]
    fn a_token_is_kept_for_its_server_and_for_its_owner() {
        let scratch = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(scratch.path());
        let (device, other) = (server("http://[fe80::1]:12368/x"), server("http://[fe80::1]:12369"));
        assert_eq!(tokens.get(&device), Ok(None));
        let secret = token("abc-_123").unwrap();
        tokens.set(&device, &secret).unwrap();
        assert_eq!((tokens.get(&device), tokens.get(&other)), (Ok(Some(secret)), Ok(None)));
        let path = tokens.path(&device);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = tokens.get(&device).unwrap_err();
        assert!(error.message.contains("by others") && !error.to_string().contains("abc-_123"), "{error}");
        assert_eq!((tokens.remove(&device), tokens.remove(&device)), (Ok(true), Ok(false)));
    }

    #[test]
    fn a_token_is_nothing_that_could_end_a_line() {
        for bad in ["", "a b", "a\r\nHost: x", "ä", &"a".repeat(TOKEN_MAX + 1)] {
            assert_eq!(token(bad), None, "{bad:?}");
        }
    }
}
