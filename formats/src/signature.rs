//! `_sigs/<name>.json`: a signature over a choice of a state's keys (`pvs@2`), as text and before any cryptography.
//!
//! ```text
//!   { "#spec":"pvs@2", "protected":"<b64url>", "signature":"<b64url>" }
//!                        │
//!                        └─ { "alg":"ES256", "typ":"PVS", "pvs":{ "include":[…], "exclude":[…] }, "x5c":[…] }
//!
//!   signed bytes = protected "." b64url( {"key":value,"key":value…} )
//!                                         └ raw text, in the order of the state ┘
//! ```
//!
//! The payload copies text and never a re-encoding, so a state that was re-written by a tool no longer verifies: it is
//! not what was signed. Values that are neither objects nor strings are copied too; older devices put quotes round
//! those.
//!
//! API: [`Signature::all`] of a [`Revision`], [`Signature::select`], [`Signature::input`]; to check them all
//! [`crate::verify`], to make one [`crate::trust::Signer`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};

use crate::document::{DocumentError, Item, Read, Wrong, parse, shown};
use crate::glob::{Dialect, Pattern};
use crate::json::escape_into;
use crate::state::{Class, Revision};
use crate::words::words;

/// The only format of a signature that is accepted.
pub const SPEC: &str = "pvs@2";

/// The most signatures of a revision: one per part, and some.
pub const SIGNATURES_MAX: usize = 128;

/// The most patterns in each list.
pub const PATTERNS_MAX: usize = 64;

/// The most certificates in a chain; real ones have two or three.
pub const CHAIN_MAX: usize = 8;

words! {
    /// How a signature is made. ES512 is known to the format and not supported here.
    pub enum Algorithm {
        /// RSA, PKCS#1 v1.5, SHA-256.
        Rs256 = "RS256",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384.
        Es384 = "ES384",
    }
}

/// One signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The key of the state that holds it.
    pub key: String,
    /// How it is made.
    pub algorithm: Algorithm,
    /// What it signs.
    pub include: Vec<Pattern>,
    /// What of that it does not sign.
    pub exclude: Vec<Pattern>,
    /// The chain of certificates, DER, the signer's first; may be empty.
    pub chain: Vec<Vec<u8>>,
    /// The signature itself.
    pub bytes: Vec<u8>,
    /// The header as it was encoded, which is what is signed.
    protected: String,
}

/// What a signature says about each key of a state, in the order of the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection(pub Vec<Selected>);

/// What a signature says about one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selected {
    /// It signs it.
    Included,
    /// It names it as not signed.
    Excluded,
    /// It does not touch it.
    Untouched,
}

impl Signature {
    /// All signatures of a revision, in the order of its text: every key below `_sigs/`, and every other inline
    /// document with the spec of a signature.
    ///
    /// # Errors
    /// [`DocumentError`] names the key and the member. One bad signature spoils the revision; it is never skipped.
    pub fn all(revision: &Revision) -> Result<Vec<Self>, DocumentError> {
        let mut list = Vec::new();
        for entry in revision.entries() {
            let here = entry.key.starts_with("_sigs/") && entry.key.ends_with(".json");
            // The search spares most documents the parser; what it lets through is looked at properly.
            let elsewhere = entry.class == Class::Inline && entry.raw.contains(SPEC);
            if !here && !elsewhere {
                continue;
            }
            let value = match parse(entry.key, entry.raw) {
                Err(_) if !here => continue,
                value => value?,
            };
            let root = Item::root(entry.key, &value);
            let spec = value.as_object().and_then(|object| object.get("#spec")?.as_str());
            match (spec, here) {
                (Some(SPEC), _) => list.push(Self::read(&root)?),
                (_, false) => {}
                (found, true) => {
                    let found = shown(found.unwrap_or_default());
                    return Err(root.error(Wrong::Form { found, wanted: "a signature with `#spec` pvs@2" }));
                }
            }
            if list.len() > SIGNATURES_MAX {
                return Err(root.error(Wrong::TooMany { limit: SIGNATURES_MAX }));
            }
        }
        Ok(list)
    }

    /// Reads one signature from the text of its document.
    ///
    /// # Errors
    /// [`DocumentError`] names the member.
    pub fn parse(key: &str, text: &str) -> Result<Self, DocumentError> {
        let value = parse(key, text)?;
        Self::read(&Item::root(key, &value))
    }

    fn read(root: &Item<'_, '_>) -> Read<Self> {
        let members = root.members()?;
        let spec = members.need("#spec")?;
        if spec.text()? != SPEC {
            return Err(spec.error(Wrong::Form { found: shown(spec.text()?), wanted: SPEC }));
        }
        // Longer than other texts: the header carries the chain. The document's limit holds.
        let base64 = |name: &str| {
            let item = members.need(name)?;
            let wrong = |wanted| item.error(Wrong::Form { found: String::new(), wanted });
            let text = item.value.as_str().ok_or_else(|| wrong("a string"))?;
            let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|_| wrong("base64url without padding"))?;
            Ok((String::from(text), bytes))
        };
        let (protected, header) = base64("protected")?;
        let (_, bytes) = base64("signature")?;
        let header = core::str::from_utf8(&header).map_err(|_| {
            root.error(Wrong::Form { found: String::from("protected"), wanted: "the UTF-8 text of a JSON object" })
        })?;
        let key = alloc::format!("{} protected", root.document());
        let value = parse(&key, header)?;
        let members = Item::root(&key, &value).members()?;
        if let Some(typ) = members.get("typ").filter(|typ| typ.value.as_str() != Some("PVS")) {
            return Err(typ.error(Wrong::Form { found: shown(typ.text()?), wanted: "PVS" }));
        }
        // A critical extension that is not understood must not be passed over.
        if let Some(crit) = members.get("crit") {
            return Err(crit.error(Wrong::Form { found: String::new(), wanted: "supported" }));
        }
        let pvs = members.need("pvs")?.members()?;
        Ok(Self {
            key: root.document().into(),
            algorithm: members.need("alg")?.word()?,
            include: patterns(&pvs.need("include")?)?,
            exclude: patterns(&pvs.need("exclude")?)?,
            chain: members.read("x5c", chain)?.unwrap_or_default(),
            bytes,
            protected,
        })
    }

    /// What this signature says about each key of a revision, read in one dialect.
    #[must_use]
    pub fn select(&self, revision: &Revision, dialect: Dialect) -> Selection {
        select(revision, &self.include, &self.exclude, dialect)
    }

    /// The bytes that are signed, given what is selected.
    #[must_use]
    pub fn input(&self, revision: &Revision, selection: &Selection) -> Vec<u8> {
        signing_input(&self.protected, revision, selection).into_bytes()
    }
}

/// What a pair of lists says about each key of a revision.
pub(crate) fn select(revision: &Revision, include: &[Pattern], exclude: &[Pattern], dialect: Dialect) -> Selection {
    let any = |patterns: &[Pattern], key: &str| patterns.iter().any(|pattern| pattern.matches(key, dialect));
    let one = |key: &str| {
        if any(exclude, key) {
            Selected::Excluded
        } else if any(include, key) {
            Selected::Included
        } else {
            Selected::Untouched
        }
    };
    Selection(revision.entries().map(|entry| one(entry.key)).collect())
}

/// `protected "." b64url(payload)`.
pub(crate) fn signing_input(protected: &str, revision: &Revision, selection: &Selection) -> String {
    let mut input = String::from(protected);
    input.push('.');
    input.push_str(&Base64UrlUnpadded::encode_string(payload(revision, selection).as_bytes()));
    input
}

/// The selected members of the state, in its order, copied and joined.
#[must_use]
pub fn payload(revision: &Revision, selection: &Selection) -> String {
    let mut text = String::from("{");
    for (entry, selected) in revision.entries().zip(&selection.0) {
        if *selected == Selected::Included {
            if text.len() > 1 {
                text.push(',');
            }
            text.push('"');
            text.push_str(entry.raw_key);
            text.push_str("\":");
            text.push_str(entry.raw);
        }
    }
    text.push('}');
    text
}

/// The document of a signature, in canonical form.
pub(crate) fn document(protected: &str, signature: &[u8]) -> String {
    // Both are base64url, so nothing needs an escape; the members are in canonical order.
    let mut text = String::from("{\"#spec\":");
    escape_into(&mut text, SPEC);
    text.push_str(",\"protected\":");
    escape_into(&mut text, protected);
    text.push_str(",\"signature\":");
    escape_into(&mut text, &Base64UrlUnpadded::encode_string(signature));
    text.push('}');
    text
}

fn patterns(list: &Item<'_, '_>) -> Read<Vec<Pattern>> {
    let items = list.items()?;
    if items.len() > PATTERNS_MAX {
        return Err(list.error(Wrong::TooMany { limit: PATTERNS_MAX }));
    }
    items
        .iter()
        .map(|item| {
            let text = item.text()?;
            Pattern::parse(text).map_err(|_| {
                item.error(Wrong::Form { found: shown(text), wanted: "a pattern that every reader takes alike" })
            })
        })
        .collect()
}

fn chain(list: &Item<'_, '_>) -> Read<Vec<Vec<u8>>> {
    let items = list.items()?;
    if items.len() > CHAIN_MAX {
        return Err(list.error(Wrong::TooMany { limit: CHAIN_MAX }));
    }
    items
        .iter()
        .map(|item| {
            let wrong = || item.error(Wrong::Form { found: String::new(), wanted: "base64 with padding" });
            Base64::decode_vec(item.value.as_str().ok_or_else(wrong)?).map_err(|_| wrong())
        })
        .collect()
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn signed(header: &str) -> String {
        let protected = Base64UrlUnpadded::encode_string(header.as_bytes());
        format!(r##"{{"#spec":"pvs@2","protected":"{protected}","signature":"AA"}}"##)
    }

    fn header(include: &str, exclude: &str) -> String {
        format!(r#"{{"alg":"ES256","typ":"PVS","pvs":{{"include":[{include}],"exclude":[{exclude}]}}}}"#)
    }

    fn revision(members: &str) -> Revision {
        Revision::parse(format!(r##"{{"#spec":"pantavisor-service-system@1"{members}}}"##).as_bytes()).unwrap()
    }

    #[test]
    fn the_payload_is_the_raw_text_of_what_is_selected_in_the_order_of_the_state() {
        let revision = revision(&format!(
            r#", "web/z" : "{ID}" ,"web/run.json":{{ "name" : "web" , "x":1.50}},"other/x":"{ID}","web/n.json":null,"web/src.json":{{}}"#
        ));
        let signature =
            Signature::parse("_sigs/web.json", &signed(&header(r#""web/**""#, r#""web/src.json""#))).unwrap();
        let selection = signature.select(&revision, Dialect::Device);
        assert_eq!(
            payload(&revision, &selection),
            format!(r#"{{"web/z":"{ID}","web/run.json":{{ "name" : "web" , "x":1.50}},"web/n.json":null}}"#)
        );
        assert_eq!(selection.0.last(), Some(&Selected::Excluded));
        assert_eq!(selection.0.first(), Some(&Selected::Untouched));
        let nothing = Signature::parse("s", &signed(&header(r#""none""#, ""))).unwrap();
        assert_eq!(payload(&revision, &nothing.select(&revision, Dialect::Device)), "{}");
    }

    #[test]
    fn what_is_excluded_is_not_signed_whatever_includes_it() {
        let revision = revision(&format!(r#","web/a":"{ID}""#));
        let signature = Signature::parse("s", &signed(&header(r#""web/a""#, r#""web/*""#))).unwrap();
        assert_eq!(signature.select(&revision, Dialect::Device).0, [Selected::Untouched, Selected::Excluded]);
    }

    #[test]
    fn signatures_are_found_wherever_they_lie() {
        let one = signed(&header(r#""a""#, ""));
        let revision = revision(&format!(
            r#","_sigs/a.json":{one},"web/sig.json":{one},"web/text.json":"pvs@2","web/other.json":{{"about":"pvs@2"}}"#
        ));
        let keys: Vec<_> = Signature::all(&revision).unwrap().into_iter().map(|signature| signature.key).collect();
        assert_eq!(keys, ["_sigs/a.json", "web/sig.json"]);
    }

    #[test]
    fn a_bad_signature_is_an_error_and_is_not_skipped() {
        for bad in [
            "{}".to_string(),
            "1".into(),
            r##"{"#spec":"pvs@1"}"##.into(),
            r##"{"#spec":"pvs@2"}"##.into(),
            r##"{"#spec":"pvs@2","protected":"!","signature":"AA"}"##.into(),
            r##"{"#spec":"pvs@2","protected":"e30=","signature":"AA"}"##.into(),
            signed("{}"),
            signed("[]"),
            signed("{"),
            signed(r#"{"alg":"ES256"}"#),
            signed(r#"{"alg":"ES256","pvs":{"include":[]}}"#),
            signed(r#"{"alg":"none","pvs":{"include":[],"exclude":[]}}"#),
            signed(r#"{"alg":"HS256","pvs":{"include":[],"exclude":[]}}"#),
            signed(r#"{"alg":"ES512","pvs":{"include":[],"exclude":[]}}"#),
            signed(r#"{"alg":"ES256","alg":"RS256","pvs":{"include":[],"exclude":[]}}"#),
            signed(r#"{"alg":"ES256","typ":"JWT","pvs":{"include":[],"exclude":[]}}"#),
            signed(r#"{"alg":"ES256","crit":["exp"],"pvs":{"include":[],"exclude":[]}}"#),
            signed(r#"{"alg":"ES256","pvs":{"include":["["],"exclude":[]}}"#),
            signed(r#"{"alg":"ES256","pvs":{"include":[1],"exclude":[]}}"#),
            signed(r#"{"alg":"ES256","pvs":{"include":[],"exclude":[]},"x5c":["-"]}"#),
        ] {
            assert!(Signature::all(&revision(&format!(r#","_sigs/a.json":{bad}"#))).is_err(), "{bad}");
        }
    }

    #[test]
    fn stray_members_of_older_tools_are_accepted() {
        let header = header(r#""web/**""#, r#""web/src.json","_sigs/.json","web/src.json""#);
        let text = signed(&header).replace('}', r#","payload":"e30"}"#);
        assert_eq!(Signature::parse("s", &text).unwrap().exclude.len(), 3);
    }

    #[test]
    fn patterns_and_chains_are_bounded() {
        let many = alloc::vec![r#""a""#; PATTERNS_MAX + 1].join(",");
        assert!(Signature::parse("s", &signed(&header(&many, ""))).is_err());
        let certificates = alloc::vec![r#""AAAA""#; CHAIN_MAX + 1].join(",");
        let text = format!(r#"{{"alg":"ES256","pvs":{{"include":[],"exclude":[]}},"x5c":[{certificates}]}}"#);
        assert!(Signature::parse("s", &signed(&text)).is_err());
    }
}
