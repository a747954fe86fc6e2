//! Any target of the registry under libFuzzer, chosen by the environment:
//!
//! ```text
//! cd tests/fuzz && CAIRN_FUZZ_TARGET=journal cargo +nightly fuzz run any corpus/journal ../formats/golden
//! ```
//!
//! libFuzzer adds what it finds to the first directory; give it a scratch one to keep the corpus as it is.
#![no_main]

use std::sync::OnceLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("CAIRN_FUZZ_TARGET").expect("CAIRN_FUZZ_TARGET names a target");
        fuzz::target(&name).unwrap_or_else(|| panic!("there is no target {name}"))
    })
}

fuzz_target!(|bytes: &[u8]| (chosen().check)(bytes));
