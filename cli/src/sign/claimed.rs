//! Whether signatures still fit a state, by the keys that they claim for themselves.
//!
//! This is not trust: anybody can claim a key. It answers what a commit has to know, "did this change spoil a
//! signature?", for signatures whose signers nobody here has to trust.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use formats::glob::Dialect;
use formats::json::{self, Limits};
use formats::signature::{Algorithm, Selected, Selection, Signature};
use formats::state::Revision;
use formats::trust::Trust;
use formats::verify::{Claim, Verifier};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use webpki::EndEntityCert;

use super::keys::DeveloperKey;
use crate::error::{Error, Result};

/// One signature of a state.
#[derive(Clone, PartialEq, Debug)]
pub struct Examined {
    /// What it says.
    pub signature: Signature,
    /// Whether it fits.
    pub verdict: Verdict,
    /// Whether it was made with our key.
    pub ours: bool,
    /// What it selects, read as its verdict says.
    pub selection: Selection,
}

/// Whether a signature fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It does, read in this dialect.
    Fits(Dialect),
    /// It does not.
    Broken,
    /// It names no key, so nobody can tell without being given one.
    Keyless,
}

enum Claimed {
    /// The public key of a certificate, DER.
    Spki(Vec<u8>),
    /// The point of a curve.
    Point(Vec<u8>),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Nothing,
}

/// Looks at every signature of a revision.
///
/// # Errors
/// One that cannot be read.
pub fn examine(revision: &Revision, ours: Option<&DeveloperKey>) -> Result<Vec<Examined>> {
    let signatures = Signature::all(revision).map_err(|error| Error::user(error.to_string()))?;
    let trust = ours.map(DeveloperKey::trust);
    let public = ours.map(|key| spki_of_pem(&key.public_key())).unwrap_or_default();
    let one = |signature: Signature| {
        let claimed = claimed(revision, &signature);
        let by_us =
            |dialect| trust.as_ref().is_some_and(|trust| holds(revision, &signature, dialect, &Key::Trust(trust)));
        let by_claim = |dialect| holds(revision, &signature, dialect, &Key::Claimed(&claimed));
        let both = [Dialect::Device, Dialect::Tool];
        let fitting = both.into_iter().find(|dialect| by_us(*dialect));
        let ours = fitting.is_some() || is_ours(&claimed, &public);
        let verdict = match fitting.or_else(|| both.into_iter().find(|dialect| by_claim(*dialect))) {
            Some(dialect) => Verdict::Fits(dialect),
            None if matches!(claimed, Claimed::Nothing) => Verdict::Keyless,
            None => Verdict::Broken,
        };
        let selection = selection(revision, &signature, verdict);
        Examined { selection, verdict, ours, signature }
    };
    Ok(signatures.into_iter().map(one).collect())
}

/// What a signature selects. One that may be meant either way is read as devices read it, if that selects anything.
fn selection(revision: &Revision, signature: &Signature, verdict: Verdict) -> Selection {
    match verdict {
        Verdict::Fits(dialect) => signature.select(revision, dialect),
        Verdict::Broken | Verdict::Keyless => {
            let device = signature.select(revision, Dialect::Device);
            if device.0.contains(&Selected::Included) { device } else { signature.select(revision, Dialect::Tool) }
        }
    }
}

fn claimed(revision: &Revision, signature: &Signature) -> Claimed {
    if let Some(leaf) = signature.chain.first() {
        let leaf = leaf.as_slice().into();
        return EndEntityCert::try_from(&leaf)
            .map_or(Claimed::Nothing, |leaf| Claimed::Spki(leaf.subject_public_key_info().to_vec()));
    }
    jwk(revision, signature).unwrap_or(Claimed::Nothing)
}

/// The public key of a header. What cannot be read is no claim.
fn jwk(revision: &Revision, signature: &Signature) -> Option<Claimed> {
    let entry = revision.get(&signature.key)?;
    let document = entry.value().ok()?;
    let header = Base64UrlUnpadded::decode_vec(document.as_object()?.get("protected")?.as_str()?).ok()?;
    let header = json::parse(&header, Limits::DOCUMENT).ok()?;
    let jwk = header.as_object()?.get("jwk")?.as_object()?;
    let number = |name| Base64UrlUnpadded::decode_vec(jwk.get(name)?.as_str()?).ok();
    match jwk.get("kty")?.as_str()? {
        "EC" => Some(Claimed::Point([vec![4], number("x")?, number("y")?].concat())),
        "RSA" => Some(Claimed::Rsa(RsaPublicKeyComponents { n: number("n")?, e: number("e")? })),
        _ => None,
    }
}

/// Whether a claim is that of the key with this public half. Longer than anything that stands in one by chance.
fn is_ours(claimed: &Claimed, spki: &[u8]) -> bool {
    let holds = |part: &[u8]| part.len() >= 64 && spki.windows(part.len()).any(|window| window == part);
    match claimed {
        Claimed::Spki(der) => der == spki,
        Claimed::Point(point) => holds(point),
        Claimed::Rsa(key) => holds(&key.n),
        Claimed::Nothing => false,
    }
}

enum Key<'k> {
    Trust(&'k Trust),
    Claimed(&'k Claimed),
}

fn holds(revision: &Revision, signature: &Signature, dialect: Dialect, key: &Key<'_>) -> bool {
    let input = signature.input(revision, &signature.select(revision, dialect));
    let by = |trust: &Trust| {
        let claim = Claim { algorithm: signature.algorithm, chain: &[], input: &input, signature: &signature.bytes };
        // Certificates are not asked, so neither is the time.
        trust.at(std::time::Duration::ZERO).check(&claim).is_ok()
    };
    match key {
        Key::Trust(trust) => by(trust),
        Key::Claimed(Claimed::Nothing) => false,
        Key::Claimed(Claimed::Spki(der)) => {
            let mut trust = Trust::new();
            trust.add_public_keys(pem_of_spki(der).as_bytes()).is_ok() && by(&trust)
        }
        Key::Claimed(Claimed::Point(point)) => {
            let fixed = matches!(signature.bytes.len(), 64 | 96);
            let algorithm: &'static dyn VerificationAlgorithm = match (signature.algorithm, fixed) {
                (Algorithm::Es256, true) => &ECDSA_P256_SHA256_FIXED,
                (Algorithm::Es256, false) => &ECDSA_P256_SHA256_ASN1,
                (Algorithm::Es384, true) => &ECDSA_P384_SHA384_FIXED,
                (Algorithm::Es384, false) => &ECDSA_P384_SHA384_ASN1,
                (Algorithm::Rs256, _) => return false,
            };
            UnparsedPublicKey::new(algorithm, point).verify(&input, &signature.bytes).is_ok()
        }
        Key::Claimed(Claimed::Rsa(key)) => {
            signature.algorithm == Algorithm::Rs256
                && key.verify(&RSA_PKCS1_2048_8192_SHA256, &input, &signature.bytes).is_ok()
        }
    }
}

fn pem_of_spki(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", Base64::encode_string(der))
}

fn spki_of_pem(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Base64::decode_vec(&body).unwrap_or_default()
}
