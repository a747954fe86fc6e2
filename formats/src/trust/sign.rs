//! Making signatures, for tools. The private key stays in here; what comes out is the document for `_sigs/<name>.json`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use ring::rand::SecureRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::der;
use crate::glob::{Dialect, GlobError, Pattern};
use crate::json::Json;
use crate::signature::{self, Algorithm, CHAIN_MAX, Selected};
use crate::state::Revision;

/// A private key, and the chain of certificates that goes with it.
pub struct Signer {
    key: Key,
    chain: Vec<Vec<u8>>,
}

enum Key {
    Ecdsa(Algorithm, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// Why nothing was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SignError {
    /// The text holds no private key without a passphrase, in PKCS#8, PKCS#1 or SEC1.
    NoKey,
    /// A key of another kind or size: RSA of 2048 to 4096 bits, P-256 and P-384 can sign.
    Key,
    /// The chain is not PEM, is empty or too long.
    Chain,
    /// A pattern that cannot be read.
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        why: GlobError,
    },
    /// The patterns select no key of the state, so the signature would say nothing.
    Nothing,
    /// The patterns select different keys for devices and for tools; the first such key.
    Ambiguous {
        /// The key.
        key: String,
    },
    /// The source of randomness failed.
    Random,
}

impl Signer {
    /// Makes a new P-256 key. Returns it as PKCS#8 in PEM, to be kept by the caller.
    ///
    /// # Errors
    /// [`SignError::Random`].
    pub fn generate(random: &dyn SecureRandom) -> Result<String, SignError> {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random).map_err(|_| SignError::Random)?;
        Ok(pem("PRIVATE KEY", pkcs8.as_ref()))
    }

    /// Reads a private key in PEM and, if there is one, the chain of certificates in PEM, the signer's first.
    ///
    /// # Errors
    /// [`SignError`] says what cannot be used.
    pub fn from_pem(key: &[u8], chain: Option<&[u8]>, random: &dyn SecureRandom) -> Result<Self, SignError> {
        let key = match PrivateKeyDer::from_pem_slice(key).map_err(|_| SignError::NoKey)? {
            PrivateKeyDer::Pkcs1(der) => {
                Key::Rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| SignError::Key)?)
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                match RsaKeyPair::from_pkcs8(der) {
                    Ok(rsa) => Key::Rsa(rsa),
                    Err(_) => ecdsa(|_| der.to_vec(), random)?,
                }
            }
            PrivateKeyDer::Sec1(der) => {
                ecdsa(|algorithm| der::pkcs8_from_sec1(algorithm, der.secret_sec1_der()), random)?
            }
            _ => return Err(SignError::NoKey),
        };
        let chain = match chain {
            None => Vec::new(),
            Some(pem) => {
                let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
                let list = list.map_err(|_| SignError::Chain)?;
                if list.is_empty() || list.len() > CHAIN_MAX {
                    return Err(SignError::Chain);
                }
                list.iter().map(|certificate| certificate.to_vec()).collect()
            }
        };
        Ok(Self { key, chain })
    }

    /// The algorithm, which the key decides.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.key {
            Key::Ecdsa(algorithm, _) => *algorithm,
            Key::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// The public half in PEM, as [`super::Trust::add_public_keys`] takes it.
    #[must_use]
    pub fn public_key(&self) -> String {
        pem("PUBLIC KEY", &der::public_key(self.algorithm(), self.raw_public_key()))
    }

    /// Signs what the patterns select of a state. Returns the document, in canonical form.
    ///
    /// Patterns must select the same keys for devices and for tools, because a signature that verifies here and not
    /// there is worse than none.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(
        &self,
        revision: &Revision,
        include: &[&str],
        exclude: &[&str],
        random: &dyn SecureRandom,
    ) -> Result<String, SignError> {
        let (includes, excludes) = (patterns(include)?, patterns(exclude)?);
        let selection = signature::select(revision, &includes, &excludes, Dialect::Device);
        let for_tools = signature::select(revision, &includes, &excludes, Dialect::Tool);
        let differs = revision
            .entries()
            .zip(selection.0.iter().zip(&for_tools.0))
            .find(|(_, (device, tool))| (**device == Selected::Included) != (**tool == Selected::Included));
        if let Some((entry, _)) = differs {
            return Err(SignError::Ambiguous { key: entry.key.into() });
        }
        if !selection.0.contains(&Selected::Included) {
            return Err(SignError::Nothing);
        }
        let protected = Base64UrlUnpadded::encode_string(self.header(include, exclude).compact().as_bytes());
        let input = signature::signing_input(&protected, revision, &selection);
        Ok(signature::document(&protected, &self.sign_bytes(input.as_bytes(), random)?))
    }

    /// The header, its members in the order that other tools have.
    fn header(&self, include: &[&str], exclude: &[&str]) -> Json {
        let pvs = Json::object().with("include", include.to_vec()).with("exclude", exclude.to_vec());
        let header = Json::object()
            .with("alg", self.algorithm().as_str())
            .with("jwk", self.jwk())
            .with("pvs", pvs)
            .with("typ", "PVS");
        if self.chain.is_empty() {
            return header;
        }
        header.with("x5c", self.chain.iter().map(|der| Base64::encode_string(der)).collect::<Vec<String>>())
    }

    /// The public key as a header carries it. For people: no verifier believes it.
    fn jwk(&self) -> Json {
        let encode = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
        match &self.key {
            Key::Rsa(key) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                Json::object().with("kty", "RSA").with("n", encode(&public.n)).with("e", encode(&public.e))
            }
            Key::Ecdsa(algorithm, key) => {
                // One byte for the form, then x and y of equal length.
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if *algorithm == Algorithm::Es384 { "P-384" } else { "P-256" };
                Json::object().with("kty", "EC").with("crv", curve).with("x", encode(x)).with("y", encode(y))
            }
        }
    }

    fn sign_bytes(&self, input: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, SignError> {
        match &self.key {
            Key::Ecdsa(_, key) => Ok(key.sign(random, input).map_err(|_| SignError::Random)?.as_ref().to_vec()),
            Key::Rsa(key) => {
                let mut bytes = alloc::vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, random, input, &mut bytes).map_err(|_| SignError::Random)?;
                Ok(bytes)
            }
        }
    }

    fn raw_public_key(&self) -> &[u8] {
        match &self.key {
            Key::Ecdsa(_, key) => key.public_key().as_ref(),
            Key::Rsa(key) => key.public_key().as_ref(),
        }
    }
}

/// Tries the curves one after the other; a key says itself which one it is on.
fn ecdsa(pkcs8: impl Fn(Algorithm) -> Vec<u8>, random: &dyn SecureRandom) -> Result<Key, SignError> {
    let curves: [(Algorithm, &'static EcdsaSigningAlgorithm); 2] =
        [(Algorithm::Es256, &ECDSA_P256_SHA256_FIXED_SIGNING), (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED_SIGNING)];
    curves
        .into_iter()
        .find_map(|(algorithm, curve)| {
            let key = EcdsaKeyPair::from_pkcs8(curve, &pkcs8(algorithm), random).ok()?;
            Some(Key::Ecdsa(algorithm, key))
        })
        .ok_or(SignError::Key)
}

fn patterns(texts: &[&str]) -> Result<Vec<Pattern>, SignError> {
    let one = |text: &&str| Pattern::parse(text).map_err(|why| SignError::Pattern { pattern: (*text).into(), why });
    texts.iter().map(one).collect()
}

/// A section of PEM, 64 characters to a line.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = alloc::format!("-----BEGIN {label}-----\n");
    let body = Base64::encode_string(der);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&alloc::format!("-----END {label}-----\n"));
    text
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, {} certificates)", self.algorithm(), self.chain.len())
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => {
                f.write_str("the text holds no private key without a passphrase (PKCS#8, PKCS#1 or SEC1 in PEM)")
            }
            Self::Key => f.write_str("the key cannot sign states; use P-256, P-384 or RSA of 2048 to 4096 bits"),
            Self::Chain => write!(f, "the chain must be 1 to {CHAIN_MAX} certificates in PEM, the signer's first"),
            Self::Pattern { pattern, why } => write!(f, "the pattern {pattern:?} cannot be used: {why}"),
            Self::Nothing => f.write_str("the patterns select no key of the state; commit the files first"),
            Self::Ambiguous { key } => {
                write!(f, "devices and tools would not agree whether {key:?} is signed; use literal names and `X/**`")
            }
            Self::Random => f.write_str("the source of randomness failed"),
        }
    }
}

impl core::error::Error for SignError {}

#[cfg(test)]
mod tests {
    use super::super::Trust;
    use super::*;
    use crate::verify::{KeyError, Mode, Policy, Untrusted, VerifyError, verify};
    use alloc::format;
    use core::time::Duration;
    use ring::rand::SystemRandom;

    const ID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const STRICT: Policy = Policy { mode: Mode::Strict, boot_chain_checks_fit: false };

    fn state(more: &str) -> Revision {
        let text = format!(r##"{{"#spec":"pantavisor-service-system@1","web/x":"{ID}"{more}}}"##);
        Revision::parse(text.as_bytes()).unwrap()
    }

    fn new_signer() -> Signer {
        let random = SystemRandom::new();
        Signer::from_pem(Signer::generate(&random).unwrap().as_bytes(), None, &random).unwrap()
    }

    fn signed_by(signer: &Signer) -> Revision {
        let document = signer.sign(&state(""), &["#spec", "web/**"], &["web/src.json"], &SystemRandom::new()).unwrap();
        state(&format!(r#","_sigs/web.json":{document}"#))
    }

    fn check(revision: Revision, keys: &[&Signer]) -> Result<(), VerifyError> {
        let mut trust = Trust::new();
        for signer in keys {
            trust.add_public_keys(signer.public_key().as_bytes()).unwrap();
        }
        verify(Untrusted::new(revision), STRICT, &trust.at(Duration::ZERO)).map(|_| ())
    }

    #[test]
    fn what_a_new_key_signs_verifies_with_its_public_half_and_no_other() {
        let (signer, other) = (new_signer(), new_signer());
        assert_eq!(check(signed_by(&signer), &[&signer]), Ok(()));
        assert_eq!(check(signed_by(&signer), &[&other, &signer]), Ok(()));
        let refused = |why| Err(VerifyError::Signature { key: "_sigs/web.json".into(), why });
        assert_eq!(check(signed_by(&signer), &[&other]), refused(KeyError::Mismatch));
        assert_eq!(check(signed_by(&signer), &[]), refused(KeyError::NoKey));
    }

    #[test]
    fn a_pattern_that_devices_and_tools_read_differently_is_not_signed() {
        let error = new_signer().sign(&state(""), &["**"], &[], &SystemRandom::new()).unwrap_err();
        assert_eq!(error, SignError::Ambiguous { key: "#spec".into() });
    }

    #[test]
    fn a_signature_over_nothing_is_not_made() {
        assert_eq!(new_signer().sign(&state(""), &["other/**"], &[], &SystemRandom::new()), Err(SignError::Nothing));
        let bad = new_signer().sign(&state(""), &["["], &[], &SystemRandom::new());
        assert!(matches!(bad, Err(SignError::Pattern { .. })));
    }

    #[test]
    fn a_text_without_a_usable_key_is_refused() {
        let random = SystemRandom::new();
        assert_eq!(Signer::from_pem(b"", None, &random).unwrap_err(), SignError::NoKey);
        let garbage = pem("PRIVATE KEY", b"garbage");
        assert_eq!(Signer::from_pem(garbage.as_bytes(), None, &random).unwrap_err(), SignError::Key);
        let key = Signer::generate(&random).unwrap();
        assert_eq!(Signer::from_pem(key.as_bytes(), Some(b""), &random).unwrap_err(), SignError::Chain);
    }

    #[test]
    fn a_store_takes_no_key_that_it_cannot_use() {
        let mut trust = Trust::new();
        assert_eq!(trust.add_public_keys(b""), Err(crate::trust::TrustError::Nothing));
        let garbage = pem("PUBLIC KEY", b"garbage");
        assert_eq!(trust.add_public_keys(garbage.as_bytes()), Err(crate::trust::TrustError::Key { index: 0 }));
        let garbage = pem("CERTIFICATE", b"garbage");
        assert_eq!(trust.add_certificates(garbage.as_bytes()), Err(crate::trust::TrustError::Certificate { index: 0 }));
        assert!(trust.is_empty());
    }
}
