//! How servers are reached: what a person can say about the way to them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use formats::pairing::Secret;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use super::{IDLE, token};
use crate::error::{Context as _, Error, Result};

/// What a person says about the way to servers.
#[derive(Debug)]
pub struct Settings {
    /// How long nothing may come or go.
    pub idle: Duration,
    /// What stands in between.
    pub proxy: Proxy,
    /// The authorities that are trusted, in PEM, instead of the usual ones.
    pub authorities: Option<Vec<u8>>,
    /// Whether any certificate will do.
    pub is_insecure: bool,
    /// What the server that is spoken to is shown, whatever is kept for it.
    pub token: Option<Secret>,
    /// Whether each call is told.
    pub is_told: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle: IDLE, proxy: Proxy::System, authorities: None, is_insecure: false, token: None, is_told: false }
    }
}

/// What stands between us and servers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Proxy {
    /// What the environment says.
    #[default]
    System,
    /// Nothing.
    No,
    /// This.
    Url(String),
}

impl Proxy {
    /// Reads `system`, `no` or a URL.
    ///
    /// # Errors
    /// It is none of them; the reason is the end of a sentence.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        match text {
            "system" => Ok(Self::System),
            "no" => Ok(Self::No),
            url => match ureq::Proxy::new(url) {
                Ok(_) if url.contains("://") => Ok(Self::Url(url.to_owned())),
                _ => Err(format!("{url:?} is neither `system` nor `no` nor the URL of a proxy")),
            },
        }
    }

    pub(super) fn to_config(&self) -> Option<ureq::Proxy> {
        match self {
            Self::System => ureq::Proxy::try_from_env(),
            Self::No => None,
            Self::Url(url) => ureq::Proxy::new(url).ok(),
        }
    }
}

impl Settings {
    /// Trusts the authorities of a file, and no others.
    ///
    /// # Errors
    /// It cannot be read, or has no certificate.
    pub fn trust(&mut self, path: &Path) -> Result<()> {
        let pem = std::fs::read(path).context("read", path)?;
        certificates(&pem).map_err(|why| Error::user(format!("{}: {why}", path.display())))?;
        self.authorities = Some(pem);
        Ok(())
    }

    /// Takes a token as it was typed.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn show(&mut self, text: &str) -> Result<()> {
        let token = token(text).ok_or_else(|| Error::user("the access token has characters that no token has"))?;
        self.token = Some(token);
        Ok(())
    }

    pub(super) fn roots(&self) -> RootCerts {
        let own = self.authorities.as_deref().and_then(|pem| certificates(pem).ok());
        own.map_or(RootCerts::WebPki, |certificates| RootCerts::Specific(Arc::new(certificates)))
    }
}

/// All certificates of a PEM file; why there is none, as the end of a sentence.
pub(crate) fn certificates(pem: &[u8]) -> std::result::Result<Vec<Certificate<'static>>, String> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| format!("it is not PEM: {error}"))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err("there is no certificate in it".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_word_or_an_address() {
        assert_eq!(Proxy::parse("system"), Ok(Proxy::System));
        assert_eq!(Proxy::parse("no"), Ok(Proxy::No));
        assert_eq!(Proxy::parse("http://127.0.0.1:3128"), Ok(Proxy::Url("http://127.0.0.1:3128".into())));
        for text in ["", "yes", "ftp://x", "http://", "127.0.0.1:3128"] {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn authorities_are_certificates() {
        assert!(certificates(b"").is_err());
        assert!(certificates(b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n").is_err());
    }
}
