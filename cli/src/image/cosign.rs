//! Signatures of images, as cosign keeps them beside an image in its registry.
//!
//! ```text
//!   manifests/sha256-HEX.sig ─▶ layers: a payload each, with the signature of its bytes as an annotation
//!      blobs/sha256:…  {"critical":{"image":{"docker-manifest-digest":"sha256:HEX"},"type":…}, …}
//! ```
//!
//! ECDSA on P-256 with SHA-256. One good signature of the key is enough, whatever else is there. Everything that is not
//! understood is no signature, and without one nothing is taken.

use std::fmt;
use std::path::Path;

use base64ct::{Base64, Encoding as _};
use formats::json::{Object, Value};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::Limits;
use super::digest::Digest;
use super::manifest::read;
use crate::error::{Context as _, Error, Result};

/// The most signatures of one image that are looked at.
pub const SIGNATURES_MAX: usize = 64;

/// The longest payload, in bytes. What cosign writes has some hundred.
pub const PAYLOAD_MAX: usize = 64 * 1024;

/// The longest file with a key, in bytes.
const KEY_MAX: usize = 64 * 1024;

const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";

/// What stands before the 65 bytes of a point on P-256 in the DER of a public key (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The key whose signature an image must have.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    point: Vec<u8>,
    /// What it is called in messages: its file.
    name: String,
}

/// One signature, not yet verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The blob that was signed.
    pub payload: Digest,
    /// Its length in bytes.
    pub size: u64,
    bytes: Vec<u8>,
}

impl Key {
    /// Reads a public key from a file in PEM.
    ///
    /// # Errors
    /// It cannot be read, or is no public key on P-256.
    pub fn open(path: &Path) -> Result<Self> {
        let len = path.metadata().context("read", path)?.len();
        if len > KEY_MAX as u64 {
            return Err(Error::user(format!("{}: this is no key, it has {len} bytes", path.display())));
        }
        let text = std::fs::read(path).context("read", path)?;
        let name = path.display().to_string();
        let wrong = |why: &str| Error::user(format!("{name}: {why}")).hint("`cosign public-key` writes one in PEM");
        let text = std::str::from_utf8(&text).map_err(|_| wrong("this is no PEM"))?;
        let point = point(text).map_err(wrong)?;
        Ok(Self { point, name })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this key has signed that one of `images` is meant.
    ///
    /// # Errors
    /// Why it has not, as the end of a sentence.
    pub fn verify(&self, signature: &Signature, payload: &[u8], images: &[Digest]) -> std::result::Result<(), String> {
        // First who says it, then what is said: what nobody has signed is not even looked at.
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(payload, &signature.bytes)
            .map_err(|_| "it is of another key, or the payload was changed".to_owned())?;
        let signed = image(payload)?;
        if images.contains(&signed) { Ok(()) } else { Err(format!("it is about another image ({signed})")) }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The tag that signatures of an image have in its repository.
#[must_use]
pub fn tag(image: &Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

/// The signatures that a document names. What is none of cosign's is left out.
///
/// # Errors
/// It is no such document, as the end of a sentence.
pub fn signatures(document: &[u8], limits: Limits) -> std::result::Result<Vec<Signature>, String> {
    let value = read(document, limits)?;
    let layers = value.as_object().and_then(|object| object.get("layers")).and_then(Value::as_array);
    let layers = layers.ok_or("it has no list of `layers`")?;
    if layers.len() > SIGNATURES_MAX {
        return Err(format!("it has {} signatures, at most {SIGNATURES_MAX} are looked at", layers.len()));
    }
    Ok(layers.iter().filter_map(|layer| signature(layer.as_object()?)).collect())
}

fn signature(layer: &Object<'_>) -> Option<Signature> {
    let text = |member: &str| layer.get(member).and_then(Value::as_str);
    let annotation = layer.get("annotations").and_then(Value::as_object)?.get(ANNOTATION)?.as_str()?;
    let size = layer.get("size").and_then(Value::as_u64).filter(|size| *size <= PAYLOAD_MAX as u64)?;
    if text("mediaType") != Some(MEDIA_TYPE) {
        return None;
    }
    Some(Signature { payload: Digest::parse(text("digest")?)?, size, bytes: Base64::decode_vec(annotation).ok()? })
}

/// The image that a payload is about.
///
/// # Errors
/// It is none, as the end of a sentence.
pub fn image(payload: &[u8]) -> std::result::Result<Digest, String> {
    let limits = Limits { document: PAYLOAD_MAX, ..Limits::DEFAULT };
    let value = read(payload, limits)?;
    let member =
        |value: &Value<'_>, name: &str| value.as_object().and_then(|object| object.get(name)).map(Value::to_json);
    let critical = member(&value, "critical").ok_or("the payload has no `critical`")?;
    let text = |json: Option<&formats::json::Json>| json.and_then(|json| json.as_str()).map(str::to_owned);
    match text(critical.get("type")) {
        Some(kind) if kind == KIND => {}
        _ => return Err("the payload is about something else than an image".into()),
    }
    let digest = text(critical.get("image").and_then(|image| image.get("docker-manifest-digest")));
    digest.as_deref().and_then(Digest::parse).ok_or_else(|| "the payload names no image".into())
}

/// The point of a public key.
fn point(pem: &str) -> std::result::Result<Vec<u8>, &'static str> {
    let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----").ok_or("there is no public key in PEM in it")?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----").ok_or("the key has no end")?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = Base64::decode_vec(&body).map_err(|_| "the key is no base64")?;
    match der.strip_prefix(&P256) {
        Some(point) if point.len() == 65 && point.first() == Some(&4) => Ok(point.to_vec()),
        _ => Err("this is no key for ECDSA on P-256, the only kind that is verified here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    fn pair() -> (EcdsaKeyPair, Key) {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        let pem = [&P256[..], pair.public_key().as_ref()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", Base64::encode_string(&pem));
        let key = Key { point: point(&pem).unwrap(), name: "key.pem".into() };
        (pair, key)
    }

    fn payload(digest: &Digest, kind: &str) -> Vec<u8> {
        let image = format!(r#"{{"docker-manifest-digest":"{digest}"}}"#);
        let identity = r#"{"docker-reference":"registry.example.com/a/b"}"#;
        format!(r#"{{"critical":{{"identity":{identity},"image":{image},"type":"{kind}"}},"optional":null}}"#).into()
    }

    fn signed(pair: &EcdsaKeyPair, payload: &[u8]) -> Signature {
        let bytes = pair.sign(&SystemRandom::new(), payload).unwrap().as_ref().to_vec();
        Signature { payload: Digest::of(payload), size: payload.len() as u64, bytes }
    }

    #[test]
    fn a_signature_is_good_for_its_key_its_bytes_and_its_image() {
        let ((signer, key), (_, other)) = (pair(), pair());
        let ours = Digest::of(b"image");
        let good = payload(&ours, KIND);
        let signature = signed(&signer, &good);
        assert_eq!(key.verify(&signature, &good, &[Digest::of(b"index"), ours]), Ok(()));
        let refused = |result: std::result::Result<(), String>, why: &str| {
            let said = result.unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        refused(other.verify(&signature, &good, &[ours]), "another key");
        refused(key.verify(&signature, &good, &[Digest::of(b"other")]), "another image");
        refused(key.verify(&signature, &good, &[]), "another image");
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            refused(key.verify(&signature, &changed, &[ours]), "changed");
        }
        for (text, why) in [
            (payload(&ours, "something"), "something else"),
            (b"{}".to_vec(), "no `critical`"),
            (b"[".to_vec(), "no JSON"),
            (br#"{"critical":{"type":"cosign container image signature"}}"#.to_vec(), "names no image"),
        ] {
            refused(key.verify(&signed(&signer, &text), &text, &[ours]), why);
        }
    }

    #[test]
    fn only_what_cosign_writes_is_a_signature() {
        let digest = Digest::of(b"payload");
        let layer = |kind: &str, size: u64, signature: &str| {
            format!(
                r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size},"annotations":{{"{ANNOTATION}":"{signature}"}}}}"#
            )
        };
        let count = |layers: &str| {
            signatures(format!(r#"{{"layers":[{layers}]}}"#).as_bytes(), Limits::DEFAULT).map(|found| found.len())
        };
        assert_eq!(count(&layer(MEDIA_TYPE, 7, "AAAA")), Ok(1));
        assert_eq!(count(&layer("text/plain", 7, "AAAA")), Ok(0));
        assert_eq!(count(&layer(MEDIA_TYPE, 1 << 40, "AAAA")), Ok(0));
        assert_eq!(count(&layer(MEDIA_TYPE, 7, "?")), Ok(0));
        assert_eq!(count(r#"{"mediaType":"x"},7"#), Ok(0));
        assert!(count(&vec!["{}"; SIGNATURES_MAX + 1].join(",")).unwrap_err().contains("at most"));
        assert!(signatures(b"{}", Limits::DEFAULT).unwrap_err().contains("layers"));
    }

    #[test]
    fn a_key_is_one_kind_of_key() {
        for (text, why) in [
            ("", "no public key"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA", "no end"),
            ("-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----", "no base64"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "P-256"),
        ] {
            assert!(point(text).unwrap_err().contains(why), "{text}");
        }
    }
}
