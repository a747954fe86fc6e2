//! From `Untrusted<Revision>` to `Verified<Revision>`: the only way is [`verify`].
//!
//! | mode | every signature that is there must verify | every key must be covered |
//! |---|---|---|
//! | disabled | no | no |
//! | lenient | yes | no |
//! | audit | yes | reported only |
//! | strict | yes | yes |
//!
//! **Covered means included by a signature that verifies.** To be excluded is not to be covered, with three exceptions
//! that every tool makes and no container ever sees: `_sigs/*`, which are checked themselves; `X/src.json`, which a
//! device ignores, if a verified signature excludes it; and `bsp/pantavisor.fit` likewise, where the policy says that
//! the boot chain checks that image. `X/build.json` is ignored by devices too, but tools do sign it, so it is no
//! exception.
//!
//! A signature is read in the dialect of devices first and in that of tools if it does not verify so; what it covers is
//! what it selects in the dialect in which it verified.
//!
//! API: [`Untrusted::new`], [`verify`], [`examine`] for tools that only list; the cryptography is a [`Verifier`], for
//! which see [`crate::trust`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use crate::document::DocumentError;
use crate::glob::Dialect;
use crate::signature::{Algorithm, Selected, Signature};
use crate::state::Revision;
use crate::words::words;

words! {
    /// How much a device asks of signatures. Ordered: a later one asks for more.
    pub enum Mode {
        /// Nothing.
        Disabled = "disabled",
        /// What is signed must be signed well.
        Lenient = "lenient",
        /// The same, and what is not signed is reported.
        Audit = "audit",
        /// Everything must be signed.
        Strict = "strict",
    }
}

/// What a device asks of a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How much.
    pub mode: Mode,
    /// Whether the boot chain checks `bsp/pantavisor.fit`, so that a signature may leave it out.
    pub boot_chain_checks_fit: bool,
}

/// Something that came from outside and was not checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Untrusted<T>(T);

/// Something that passed the policy of this device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<T> {
    value: T,
    coverage: Coverage,
}

/// One signature, ready for the cryptography.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'c> {
    /// How it is made.
    pub algorithm: Algorithm,
    /// The chain of certificates, DER, the signer's first; may be empty.
    pub chain: &'c [Vec<u8>],
    /// The bytes that are signed.
    pub input: &'c [u8],
    /// The signature: for ECDSA r and s of fixed length, or DER.
    pub signature: &'c [u8],
}

/// The keys that a device trusts, and the arithmetic.
pub trait Verifier {
    /// Whether a trusted key made this signature over these bytes.
    ///
    /// # Errors
    /// [`KeyError`] says why not, the most telling reason if several keys were tried.
    fn check(&self, claim: &Claim<'_>) -> Result<(), KeyError>;
}

/// Why a signature does not count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// The signature is not over these bytes, or not by this key.
    Mismatch,
    /// No chain of certificates, and no trusted public key to try.
    NoKey,
    /// The chain does not end in a trusted certificate, is not for signing code, or has expired.
    Chain(String),
    /// The algorithm does not go with the signer's key.
    Algorithm,
}

/// Why a revision is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VerifyError {
    /// A signature that cannot be read.
    Document(DocumentError),
    /// A signature that does not count.
    Signature {
        /// The key of the state that holds it.
        key: String,
        /// Why.
        why: KeyError,
    },
    /// Keys that nobody signed.
    Uncovered {
        /// The first few.
        keys: Vec<String>,
        /// How many in all.
        count: usize,
    },
}

/// What the signatures of a revision say, key by key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coverage {
    /// The keys of the signatures, in the order of the state.
    pub signatures: Vec<String>,
    /// What holds for each key of the state, in its order.
    pub rows: Vec<Cover>,
}

/// What the signatures say about one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cover {
    /// Signed.
    Protected {
        /// By which signature first: an index of [`Coverage::signatures`].
        by: usize,
    },
    /// Named as not signed.
    Excluded,
    /// Not mentioned.
    NotSeen,
}

/// How many uncovered keys an error lists; the rest is a number.
const LISTED: usize = 8;

impl Coverage {
    /// What holds where no signature was looked at.
    fn none(revision: &Revision) -> Self {
        Self { signatures: Vec::new(), rows: revision.entries().map(|_| Cover::NotSeen).collect() }
    }
}

impl<T> Untrusted<T> {
    /// Marks what came from outside.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// A look at it, for what may be done with unchecked things: counting, listing, refusing.
    #[must_use]
    pub const fn peek(&self) -> &T {
        &self.0
    }
}

impl<T> Verified<T> {
    /// What the signatures say about it.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The thing itself. The mark is lost.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Checks a revision against the policy of a device.
///
/// # Errors
/// [`VerifyError`] names the signature or the keys.
pub fn verify(
    revision: Untrusted<Revision>,
    policy: Policy,
    verifier: &impl Verifier,
) -> Result<Verified<Revision>, VerifyError> {
    let Untrusted(value) = revision;
    if policy.mode == Mode::Disabled {
        let coverage = Coverage::none(&value);
        return Ok(Verified { value, coverage });
    }
    let coverage = examine(&value, verifier)?;
    if policy.mode == Mode::Strict {
        let open = || uncovered(&value, &coverage, policy);
        let count = open().count();
        if count > 0 {
            return Err(VerifyError::Uncovered { keys: open().take(LISTED).map(String::from).collect(), count });
        }
    }
    Ok(Verified { value, coverage })
}

/// Checks every signature of a revision and tells what they cover.
///
/// # Errors
/// [`VerifyError`] at the first signature that cannot be read or does not count.
pub fn examine(revision: &Revision, verifier: &impl Verifier) -> Result<Coverage, VerifyError> {
    let signatures = Signature::all(revision).map_err(VerifyError::Document)?;
    let mut rows = Coverage::none(revision).rows;
    for (by, signature) in signatures.iter().enumerate() {
        let selection = verified_selection(revision, signature, verifier)
            .map_err(|why| VerifyError::Signature { key: signature.key.clone(), why })?;
        for (row, selected) in rows.iter_mut().zip(selection) {
            match (*row, selected) {
                (Cover::Protected { .. }, _) | (_, Selected::Untouched) => {}
                (_, Selected::Included) => *row = Cover::Protected { by },
                (_, Selected::Excluded) => *row = Cover::Excluded,
            }
        }
    }
    Ok(Coverage { signatures: signatures.into_iter().map(|signature| signature.key).collect(), rows })
}

/// Which keys of a revision these trusted keys alone have signed, in its order. Signatures of others are passed over.
///
/// # Errors
/// A signature cannot be read.
pub fn covered_by(revision: &Revision, verifier: &impl Verifier) -> Result<Vec<bool>, DocumentError> {
    let mut covered: Vec<bool> = revision.entries().map(|_| false).collect();
    for signature in Signature::all(revision)? {
        let selection = verified_selection(revision, &signature, verifier).unwrap_or_default();
        for (covered, selected) in covered.iter_mut().zip(selection) {
            *covered |= selected == Selected::Included;
        }
    }
    Ok(covered)
}

/// The keys that the policy wants covered and that are not.
pub fn uncovered<'r>(revision: &'r Revision, coverage: &'r Coverage, policy: Policy) -> impl Iterator<Item = &'r str> {
    revision.entries().zip(&coverage.rows).filter_map(move |(entry, row)| {
        let covered = match row {
            Cover::Protected { .. } => true,
            Cover::NotSeen => is_signature_file(entry.key),
            Cover::Excluded => is_signature_file(entry.key) || may_be_excluded(entry.key, policy),
        };
        (!covered).then_some(entry.key)
    })
}

/// What no device wants signed, because it is checked by itself or ignored.
pub(crate) fn is_left_out(key: &str) -> bool {
    is_signature_file(key) || matches!(key.split_once('/'), Some((_, "src.json")))
}

fn is_signature_file(key: &str) -> bool {
    key.starts_with("_sigs/")
}

/// The keys that a verified signature may leave out by name.
fn may_be_excluded(key: &str, policy: Policy) -> bool {
    match key.split_once('/') {
        Some(("bsp", "pantavisor.fit")) => policy.boot_chain_checks_fit,
        // `src.json` directly in a part, and nowhere else: that is where devices ignore it and tools exclude it.
        Some((_, "src.json")) => true,
        _ => false,
    }
}

/// What one signature says about each key of a revision, in the dialect in which it verifies.
///
/// # Errors
/// [`KeyError`]: it does not count.
pub fn verified_selection(
    revision: &Revision,
    signature: &Signature,
    verifier: &impl Verifier,
) -> Result<Vec<Selected>, KeyError> {
    let attempt = |dialect| {
        let selection = signature.select(revision, dialect);
        let input = signature.input(revision, &selection);
        let claim = Claim {
            algorithm: signature.algorithm,
            chain: &signature.chain,
            input: &input,
            signature: &signature.bytes,
        };
        verifier.check(&claim).map(|()| selection.0)
    };
    // What is wrong in the dialect of devices is what a person should hear: the other one is for older signatures.
    attempt(Dialect::Device).or_else(|why| attempt(Dialect::Tool).map_err(|_| why))
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch => f.write_str("it was not made over this state, or not by a trusted key"),
            Self::NoKey => f.write_str("it carries no certificate, and no public key is trusted"),
            Self::Chain(why) => write!(f, "its certificate is not trusted: {why}"),
            Self::Algorithm => f.write_str("its algorithm does not go with the signer's key"),
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(error) => write!(f, "{error}"),
            Self::Signature { key, why } => write!(f, "the signature {key} does not count: {why}"),
            Self::Uncovered { keys, count } => {
                write!(f, "{count} keys are not signed: {}", keys.join(", "))?;
                f.write_str(if *count > keys.len() { ", …" } else { "" })
            }
        }
    }
}

impl core::error::Error for VerifyError {}
impl core::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::format;
    use base64ct::{Base64UrlUnpadded, Encoding};

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A stand-in for cryptography: a signature is right if it is the SHA-256 of its input.
    struct Hash;

    impl Verifier for Hash {
        fn check(&self, claim: &Claim<'_>) -> Result<(), KeyError> {
            if claim.signature == crate::object::sha256(claim.input) { Ok(()) } else { Err(KeyError::Mismatch) }
        }
    }

    /// A state with these members and, for each (name, include, exclude), a signature made in this dialect.
    fn signed(members: &str, signatures: &[(&str, &str, &str)], dialect: Dialect) -> Revision {
        let plain = format!(r##"{{"#spec":"pantavisor-service-system@1"{members}}}"##);
        let plain = Revision::parse(plain.as_bytes()).unwrap();
        let mut text = plain.text().trim_end_matches('}').to_owned();
        // Trailing braces of inline values were cut too; put them back.
        text.push_str(&plain.text()[text.len()..plain.text().len() - 1]);
        for (name, include, exclude) in signatures {
            let header = format!(r#"{{"alg":"ES256","pvs":{{"include":[{include}],"exclude":[{exclude}]}}}}"#);
            let protected = Base64UrlUnpadded::encode_string(header.as_bytes());
            let unsigned = format!(r##"{{"#spec":"pvs@2","protected":"{protected}","signature":""}}"##);
            let signature = Signature::parse("s", &unsigned).unwrap();
            let input = signature.input(&plain, &signature.select(&plain, dialect));
            let bytes = Base64UrlUnpadded::encode_string(&crate::object::sha256(&input));
            text += &format!(
                r#","_sigs/{name}.json":{}"#,
                unsigned.replace(r#""signature":"""#, &format!(r#""signature":"{bytes}""#))
            );
        }
        Revision::parse((text + "}").as_bytes()).unwrap()
    }

    fn check(revision: &Revision, mode: Mode) -> Result<Verified<Revision>, VerifyError> {
        let policy = Policy { mode, boot_chain_checks_fit: false };
        verify(Untrusted::new(revision.clone()), policy, &Hash)
    }

    const BSP: (&str, &str, &str) = ("bsp", r##""bsp/**","device.json","#spec""##, r#""bsp/src.json""#);
    const WEB: (&str, &str, &str) = ("web", r#""web/**","_config/web/**""#, r#""web/src.json","_sigs/web.json""#);

    fn members() -> String {
        format!(
            r#","bsp/kernel.img":"{ID}","bsp/src.json":{{}},"web/x":"{ID}","web/src.json":{{}},"_config/web/y":"{ID}""#
        )
    }

    #[test]
    fn a_state_signed_as_tools_sign_it_passes_strict() {
        let revision = signed(&members(), &[BSP, WEB], Dialect::Device);
        let verified = check(&revision, Mode::Strict).unwrap();
        assert_eq!(verified.coverage().signatures, ["_sigs/bsp.json", "_sigs/web.json"]);
        assert_eq!(verified.digest(), revision.digest());
        let by = |key: &str| {
            verified.entries().zip(&verified.coverage().rows).find(|(entry, _)| entry.key == key).map(|(_, row)| *row)
        };
        assert_eq!(by("web/x"), Some(Cover::Protected { by: 1 }));
        assert_eq!(by("#spec"), Some(Cover::Protected { by: 0 }));
        assert_eq!(by("web/src.json"), Some(Cover::Excluded));
    }

    #[test]
    fn a_key_that_nobody_signed_is_refused_only_by_strict() {
        let revision = signed(&members(), &[WEB], Dialect::Device);
        let error = check(&revision, Mode::Strict).unwrap_err();
        assert_eq!(
            error,
            VerifyError::Uncovered {
                keys: ["#spec", "bsp/kernel.img", "bsp/src.json"].map(String::from).to_vec(),
                count: 3
            }
        );
        for mode in [Mode::Audit, Mode::Lenient, Mode::Disabled] {
            assert!(check(&revision, mode).is_ok(), "{mode}");
        }
    }

    #[test]
    fn to_exclude_a_key_is_not_to_cover_it() {
        let rogue = ("web", r#""web/**""#, r#""web/src.json","bsp/**","device.json","_config/web/*","web/build.json""#);
        let members = members() + r#","web/build.json":{},"a/b/src.json":{}"#;
        let bsp = ("bsp", r##""#spec""##, r#""a/**""#);
        let error = check(&signed(&members, &[bsp, rogue], Dialect::Device), Mode::Strict).unwrap_err();
        let VerifyError::Uncovered { keys, .. } = error else { panic!("{error}") };
        assert_eq!(keys, ["bsp/kernel.img", "_config/web/y", "web/build.json", "a/b/src.json"]);
    }

    #[test]
    fn a_later_exclude_does_not_take_away_what_is_signed() {
        let other = ("zz", r##""#spec""##, r#""web/**""#);
        assert!(check(&signed(&members(), &[BSP, WEB, other], Dialect::Device), Mode::Strict).is_ok());
    }

    #[test]
    fn a_fit_image_may_be_left_out_only_where_the_boot_chain_checks_it() {
        let members = format!(r#","bsp/pantavisor.fit":"{ID}""#);
        let bsp = ("bsp", r##""bsp/**","#spec""##, r#""bsp/pantavisor.fit""#);
        let revision = signed(&members, &[bsp], Dialect::Device);
        let with = |boot_chain_checks_fit| {
            let policy = Policy { mode: Mode::Strict, boot_chain_checks_fit };
            verify(Untrusted::new(revision.clone()), policy, &Hash).is_ok()
        };
        assert!(with(true));
        assert!(!with(false));
    }

    #[test]
    fn a_changed_byte_under_a_signature_is_refused_by_every_mode_but_disabled() {
        let revision = signed(&members(), &[BSP, WEB], Dialect::Device);
        let text = revision.text().replace(r#""web/x":"e3"#, r#""web/x":"e4"#);
        let changed = Revision::parse(text.as_bytes()).unwrap();
        for mode in [Mode::Lenient, Mode::Audit, Mode::Strict] {
            let error = check(&changed, mode).unwrap_err();
            assert_eq!(error, VerifyError::Signature { key: "_sigs/web.json".into(), why: KeyError::Mismatch });
        }
        assert!(check(&changed, Mode::Disabled).is_ok());
    }

    #[test]
    fn an_added_key_under_a_pattern_breaks_the_signature() {
        let revision = signed(&members(), &[BSP, WEB], Dialect::Device);
        let text = revision.text().replace(r#""web/x""#, &format!(r#""web/evil":"{ID}","web/x""#));
        let changed = Revision::parse(text.as_bytes()).unwrap();
        assert!(matches!(check(&changed, Mode::Lenient), Err(VerifyError::Signature { .. })));
    }

    #[test]
    fn a_signature_of_a_tool_covers_what_the_tool_selected() {
        let all = ("all", r#""**""#, r#""**/src.json","_sigs/**""#);
        let revision = signed(&members(), &[all], Dialect::Tool);
        let coverage = check(&revision, Mode::Strict).unwrap().coverage().clone();
        assert_eq!(coverage.rows.iter().filter(|row| matches!(row, Cover::Protected { .. })).count(), 4);
        // Read as a device of old reads it, `**` selects nothing: such a signature verifies, and covers nothing.
        let empty = signed(&members(), &[all], Dialect::Device);
        assert!(matches!(check(&empty, Mode::Strict), Err(VerifyError::Uncovered { count: 4, .. })));
    }

    #[test]
    fn a_state_without_signatures_passes_lenient_and_not_strict() {
        let revision = signed("", &[], Dialect::Device);
        assert!(check(&revision, Mode::Lenient).is_ok());
        assert!(matches!(check(&revision, Mode::Strict), Err(VerifyError::Uncovered { count: 1, .. })));
    }

    #[test]
    fn modes_are_ordered_by_how_much_they_ask() {
        assert!(Mode::Disabled < Mode::Lenient && Mode::Lenient < Mode::Audit && Mode::Audit < Mode::Strict);
    }
}
