//! The few DER structures that the libraries want and formats do not carry.
//!
//! ```text
//!   ECDSA:  r ‖ s, fixed length   ─▶  SEQUENCE { INTEGER r, INTEGER s }
//!   SPKI:   SEQUENCE { SEQUENCE { OID kind, OID curve | NULL }, BIT STRING key }
//!   PKCS#8: SEQUENCE { INTEGER 0, SEQUENCE { OID ecPublicKey, OID curve }, OCTET STRING SEC1 }
//! ```

use alloc::vec::Vec;

use crate::signature::Algorithm;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

/// `SEQUENCE { ecPublicKey, prime256v1 }`
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03,
    0x01, 0x07,
];

/// `SEQUENCE { ecPublicKey, secp384r1 }`
const P384: &[u8] =
    &[0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22];

/// `SEQUENCE { rsaEncryption, NULL }`
const RSA: &[u8] = &[0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The identifier of a key that signs with this algorithm.
fn identifier(algorithm: Algorithm) -> &'static [u8] {
    match algorithm {
        Algorithm::Rs256 => RSA,
        Algorithm::Es256 => P256,
        Algorithm::Es384 => P384,
    }
}

/// One element: tag, length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::from([tag]);
    let bytes = content.len().to_be_bytes();
    let length = bytes.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
    match (length.as_slice(), u8::try_from(length.len())) {
        ([], _) => out.push(0),
        ([short], _) if *short < 0x80 => out.push(*short),
        (_, Ok(count)) => {
            out.push(0x80 | count);
            out.extend(length);
        }
        // A `usize` has at most eight bytes.
        (_, Err(_)) => {}
    }
    out.extend(content);
    out
}

/// A non-negative integer: without leading zeros, but one before a set sign bit.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = big_endian.iter().skip_while(|byte| **byte == 0).copied().collect();
    if digits.first().is_none_or(|first| *first >= 0x80) {
        digits.insert(0, 0);
    }
    element(INTEGER, &digits)
}

/// A signature r ‖ s of the fixed length that its algorithm has, as DER; `None` for any other length, which is DER
/// already. The first byte says nothing: r may well begin with that of a sequence.
pub(super) fn ecdsa_from_fixed(algorithm: Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    let half = match algorithm {
        Algorithm::Es256 => 32,
        Algorithm::Es384 => 48,
        Algorithm::Rs256 => return None,
    };
    let (r, s) = signature.split_at_checked(half).filter(|(_, s)| s.len() == half)?;
    Some(element(SEQUENCE, &[integer(r), integer(s)].concat()))
}

/// A public key with its identifier.
pub(super) fn public_key(algorithm: Algorithm, key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    element(SEQUENCE, &[identifier(algorithm), &element(BIT_STRING, &bits)].concat())
}

/// A SEC1 private key with the identifier of its curve.
pub(super) fn pkcs8_from_sec1(algorithm: Algorithm, sec1: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 3] = [&[INTEGER, 1, 0], identifier(algorithm), &element(OCTET_STRING, sec1)];
    element(SEQUENCE, &parts.concat())
}

/// Whether a public key with identifier is of a kind and size that can verify a state.
pub(super) fn is_usable_key(spki: &[u8]) -> bool {
    let Some((SEQUENCE, content, [])) = split(spki) else { return false };
    let Some(algorithm) = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384]
        .into_iter()
        .find(|one| content.starts_with(identifier(*one)))
    else {
        return false;
    };
    let bits = content.get(identifier(algorithm).len()..).and_then(split);
    let Some((BIT_STRING, [0, key @ ..], [])) = bits else { return false };
    match algorithm {
        Algorithm::Es256 => key.len() == 65 && key.first() == Some(&4),
        Algorithm::Es384 => key.len() == 97 && key.first() == Some(&4),
        Algorithm::Rs256 => {
            let modulus = split(key).and_then(|(_, content, _)| split(content));
            let Some((INTEGER, modulus, _)) = modulus else { return false };
            let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
            (256..=1024).contains(&bytes)
        }
    }
}

/// Tag and content of the first element, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short if *short < 0x80 => (usize::from(*short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // Nothing here is longer than 64 KiB.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_as_short_as_it_can_be_and_never_negative() {
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
    }

    #[test]
    fn only_the_length_tells_a_fixed_signature_from_der() {
        let mut fixed = [1; 64];
        fixed[0] = SEQUENCE;
        assert!(ecdsa_from_fixed(Algorithm::Es256, &fixed).is_some());
        assert!(ecdsa_from_fixed(Algorithm::Es384, &fixed).is_none());
        assert!(ecdsa_from_fixed(Algorithm::Es256, &[1; 63]).is_none());
        assert!(ecdsa_from_fixed(Algorithm::Rs256, &[1; 64]).is_none());
    }

    #[test]
    fn lengths_are_written_as_der_has_them_and_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let content = alloc::vec![7; length];
            let bytes = element(OCTET_STRING, &content);
            assert_eq!(split(&bytes), Some((OCTET_STRING, content.as_slice(), &[][..])), "{length}");
        }
        assert_eq!(split(&[SEQUENCE, 2, 0]), None);
        assert_eq!(split(&[SEQUENCE]), None);
    }

    #[test]
    fn a_key_that_cannot_verify_is_not_taken_for_one() {
        assert!(is_usable_key(&public_key(Algorithm::Es256, &[4; 65])));
        assert!(!is_usable_key(&public_key(Algorithm::Es256, &[2; 33])));
        assert!(!is_usable_key(&public_key(Algorithm::Es384, &[4; 65])));
        let rsa = |bytes| {
            let key = element(SEQUENCE, &[integer(&alloc::vec![0xFF; bytes]), integer(&[1, 0, 1])].concat());
            is_usable_key(&public_key(Algorithm::Rs256, &key))
        };
        assert!(rsa(256));
        assert!(!rsa(128));
        assert!(!is_usable_key(b""));
    }
}
