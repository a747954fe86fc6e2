//! Signatures of images, as a registry may send them.

use cli::image::Limits;
use cli::image::cosign::{PAYLOAD_MAX, SIGNATURES_MAX, image, signatures};
use formats::json::{self, Limits as JsonLimits};

pub(crate) fn cosign(bytes: &[u8]) {
    if let Ok(found) = signatures(bytes, Limits::DEFAULT) {
        assert!(found.len() <= SIGNATURES_MAX);
        assert!(found.iter().all(|one| one.size <= PAYLOAD_MAX as u64), "{found:?}");
    }
    if let Ok(digest) = image(bytes) {
        // What is meant does not depend on how it is written.
        let value = json::parse(bytes, JsonLimits::DOCUMENT).expect("what names an image is JSON").to_json();
        for text in [value.compact(), value.pretty()] {
            assert!(image(text.as_bytes()) == Ok(digest) || text.len() > PAYLOAD_MAX, "{text}");
        }
    }
}
