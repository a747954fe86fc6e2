//! The keys a device trusts, and the cryptography of signatures: RS256, ES256, ES384.
//!
//! ```text
//!   x5c: leaf ─▶ intermediates ─▶ a CA of the store        leaf must be for signing code and valid now
//!        └─ its key made the signature
//!   otherwise: any public key of the store made the signature      (the `jwk` of a header is never believed)
//! ```
//!
//! Paths are checked by `rustls-webpki`, signatures by `ring`; algorithm and kind of key must agree, which webpki does
//! by the key's own identifier. RSA keys have at least 2048 bits. There is no clock and no randomness in here: the time
//! is an argument of [`Trust::at`], the source of randomness one of [`Signer::sign`]. See
//! `docs/decisions/0004-signatures.md`.
//!
//! API: [`Trust::add_certificates`], [`Trust::add_public_keys`] from PEM, [`Trust::at`] for [`crate::verify::verify`];
//! [`Signer`] for tools.

mod der;
mod sign;

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, RawPublicKeyEntity, anchor_from_trusted_cert,
    ring as algorithms,
};

pub use sign::{SignError, Signer};

use crate::signature::Algorithm;
use crate::verify::{Claim, KeyError, Verifier};

/// The most certificates and the most public keys of a store. A system's whole CA bundle fits.
pub const STORE_MAX: usize = 512;

/// The extended key usage "code signing", 1.3.6.1.5.5.7.3.3, without tag and length.
const CODE_SIGNING: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// What may sign certificates of a chain. Wider than what may sign states, since chains come from existing authorities.
static CHAIN_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];

/// Wants code signing of the signer's certificate, and of an authority between only if that restricts what it issues
/// for. The library asks for a chain from the signer up, the signer's certificate once and first.
struct ForSigningCode {
    signer_was_asked: Cell<bool>,
}

impl ExtendedKeyUsageValidator for ForSigningCode {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let is_signer = !self.signer_was_asked.replace(true);
        let wanted =
            if is_signer { KeyUsage::required(CODE_SIGNING) } else { KeyUsage::required_if_present(CODE_SIGNING) };
        wanted.validate(usages)
    }
}

/// A store of trusted certificates and public keys.
#[derive(Clone, Default)]
pub struct Trust {
    certificates: Vec<CertificateDer<'static>>,
    keys: Vec<SubjectPublicKeyInfoDer<'static>>,
}

/// Why a store cannot be filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrustError {
    /// The text is not PEM, or a section of it is damaged.
    Pem,
    /// There is nothing of the wanted kind in the text. An empty store is never what was meant.
    Nothing,
    /// A certificate that is none, or that nothing can be anchored to.
    Certificate {
        /// Its position in the text, from 0.
        index: usize,
    },
    /// A public key of a kind that cannot verify a state: RSA of 2048 bits and more, P-256 and P-384 can.
    Key {
        /// Its position in the text, from 0.
        index: usize,
    },
    /// More than [`STORE_MAX`].
    TooMany,
}

/// A store at a moment: what [`crate::verify::verify`] asks.
#[derive(Clone, Copy, Debug)]
pub struct TrustAt<'t> {
    trust: &'t Trust,
    now: UnixTime,
}

impl Trust {
    /// An empty store: nothing is trusted.
    #[must_use]
    pub const fn new() -> Self {
        Self { certificates: Vec::new(), keys: Vec::new() }
    }

    /// Adds all certificates of a PEM bundle as authorities. Returns how many there were.
    ///
    /// # Errors
    /// [`TrustError`]; nothing is added then.
    pub fn add_certificates(&mut self, pem: &[u8]) -> Result<usize, TrustError> {
        let list: Vec<CertificateDer<'static>> = sections(pem)?;
        for (index, certificate) in list.iter().enumerate() {
            anchor_from_trusted_cert(certificate).map_err(|_| TrustError::Certificate { index })?;
        }
        add(&mut self.certificates, list)
    }

    /// Adds all public keys (`BEGIN PUBLIC KEY`) of a PEM text. Returns how many there were.
    ///
    /// # Errors
    /// [`TrustError`]; nothing is added then.
    pub fn add_public_keys(&mut self, pem: &[u8]) -> Result<usize, TrustError> {
        let list: Vec<SubjectPublicKeyInfoDer<'static>> = sections(pem)?;
        for (index, key) in list.iter().enumerate() {
            if !der::is_usable_key(key) {
                return Err(TrustError::Key { index });
            }
        }
        add(&mut self.keys, list)
    }

    /// Whether nothing is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.keys.is_empty()
    }

    /// The store at a moment, given as time since 1970. Certificates outside their dates do not count, so a device
    /// without a sane clock passes the latest moment it is sure of: its own build, or the last one it recorded.
    #[must_use]
    pub fn at(&self, since_1970: Duration) -> TrustAt<'_> {
        TrustAt { trust: self, now: UnixTime::since_unix_epoch(since_1970) }
    }
}

fn sections<T: PemObject>(pem: &[u8]) -> Result<Vec<T>, TrustError> {
    let mut list = Vec::new();
    for section in T::pem_slice_iter(pem) {
        list.push(section.map_err(|_| TrustError::Pem)?);
        if list.len() > STORE_MAX {
            return Err(TrustError::TooMany);
        }
    }
    if list.is_empty() { Err(TrustError::Nothing) } else { Ok(list) }
}

fn add<T>(store: &mut Vec<T>, list: Vec<T>) -> Result<usize, TrustError> {
    let count = list.len();
    if store.len() + count > STORE_MAX {
        return Err(TrustError::TooMany);
    }
    store.extend(list);
    Ok(count)
}

impl Verifier for TrustAt<'_> {
    fn check(&self, claim: &Claim<'_>) -> Result<(), KeyError> {
        let algorithm = match claim.algorithm {
            Algorithm::Rs256 => algorithms::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Es256 => algorithms::ECDSA_P256_SHA256,
            Algorithm::Es384 => algorithms::ECDSA_P384_SHA384,
        };
        // Existing signatures are of fixed length; the library wants DER.
        let rewritten = der::ecdsa_from_fixed(claim.algorithm, claim.signature);
        let signature = rewritten.as_deref().unwrap_or(claim.signature);
        let chain: Vec<CertificateDer<'_>> =
            claim.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        // With authorities in the store a chain is what decides; its complaint is kept for the end.
        let mut complaint = KeyError::NoKey;
        if let Some((leaf, others)) = chain.split_first()
            && !self.trust.certificates.is_empty()
        {
            match self.leaf(leaf, others) {
                Ok(leaf) => return outcome(leaf.verify_signature(algorithm, claim.input, signature)),
                Err(why) => complaint = why,
            }
        }
        for key in &self.trust.keys {
            let Ok(key) = RawPublicKeyEntity::try_from(key) else { continue };
            match outcome(key.verify_signature(algorithm, claim.input, signature)) {
                Ok(()) => return Ok(()),
                // A chain that fails says most; then a key that could have made it, and did not.
                Err(_) if matches!(complaint, KeyError::Chain(_) | KeyError::Mismatch) => {}
                Err(why) => complaint = why,
            }
        }
        Err(complaint)
    }
}

impl TrustAt<'_> {
    /// The signer's certificate, if its chain ends in the store.
    fn leaf<'c>(
        &self,
        leaf: &'c CertificateDer<'c>,
        others: &[CertificateDer<'_>],
    ) -> Result<EndEntityCert<'c>, KeyError> {
        let chain = |error: webpki::Error| KeyError::Chain(explain(&error));
        let certificate = EndEntityCert::try_from(leaf).map_err(chain)?;
        let anchors: Vec<_> = self
            .trust
            .certificates
            .iter()
            .filter_map(|certificate| anchor_from_trusted_cert(certificate).ok())
            .collect();
        let usage = ForSigningCode { signer_was_asked: Cell::new(false) };
        certificate.verify_for_usage(CHAIN_ALGORITHMS, &anchors, others, self.now, usage, None, None).map_err(chain)?;
        Ok(certificate)
    }
}

fn outcome(result: Result<(), webpki::Error>) -> Result<(), KeyError> {
    match result {
        Ok(()) => Ok(()),
        Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => Err(KeyError::Algorithm),
        Err(_) => Err(KeyError::Mismatch),
    }
}

/// What a person can do something about, in words; the rest by the library's name for it.
fn explain(error: &webpki::Error) -> String {
    match error {
        webpki::Error::CertExpired { time, not_after } => {
            alloc::format!("it expired at {} and now is {} (seconds since 1970)", not_after.as_secs(), time.as_secs())
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            alloc::format!(
                "it is valid from {} and now is {} (seconds since 1970)",
                not_before.as_secs(),
                time.as_secs()
            )
        }
        webpki::Error::UnknownIssuer => "no trusted authority issued it".into(),
        webpki::Error::RequiredEkuNotFoundContext(_) => "it is not for signing code".into(),
        webpki::Error::CaUsedAsEndEntity => "it is an authority and cannot sign states itself".into(),
        other => alloc::format!("{other:?}"),
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} certificates, {} keys)", self.certificates.len(), self.keys.len())
    }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem => f.write_str("the text is not PEM, or a section of it is damaged"),
            Self::Nothing => f.write_str("the text holds nothing of the wanted kind"),
            Self::Certificate { index } => write!(f, "certificate {index} cannot be an authority"),
            Self::Key { index } => {
                write!(f, "public key {index} cannot verify states; use RSA of 2048 to 8192 bits, P-256 or P-384")
            }
            Self::TooMany => write!(f, "a store holds at most {STORE_MAX} entries of a kind"),
        }
    }
}

impl core::error::Error for TrustError {}
