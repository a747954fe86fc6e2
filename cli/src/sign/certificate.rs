//! What a certificate says of itself, for people: whose it is, who issued it, from when to when it is good.
//!
//! Nothing here is trust. Certificates are checked by [`formats::trust`]; this finds the words for what that has found.

use std::fmt;
use std::time::Duration;

use formats::date::date;
use x509_cert::Certificate as Parsed;
use x509_cert::der::Decode as _;

use crate::http::printable;

/// A certificate in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// `CN=pv-developer-01,O=Example`
    pub subject: String,
    /// Whose key signed it.
    pub issuer: String,
    /// From when on it is good, since 1970.
    pub from: Duration,
    /// Until when, since 1970.
    pub until: Duration,
}

impl Certificate {
    /// Reads one, DER. `None` if it is none: then whoever checks it says what is wrong.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let parsed = Parsed::from_der(der).ok()?;
        let certificate = parsed.tbs_certificate();
        let validity = certificate.validity();
        Some(Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            from: validity.not_before.to_unix_duration(),
            until: validity.not_after.to_unix_duration(),
        })
    }

    /// What is wrong with its dates at a moment.
    #[must_use]
    pub fn untimely(&self, now: Duration) -> Option<String> {
        if now > self.until {
            return Some(format!("the certificate of {} expired on {}", self.subject, day(self.until)));
        }
        (now < self.from).then(|| format!("the certificate of {} is good from {} on", self.subject, day(self.from)))
    }
}

/// `CN=pv-developer-01, until 2026-12-20`
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, until {}", self.subject, day(self.until))
    }
}

fn day(since_1970: Duration) -> String {
    date(since_1970.as_secs()).chars().take(10).collect()
}
