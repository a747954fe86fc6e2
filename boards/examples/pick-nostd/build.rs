//! Links the program of the microcontroller: our map of its memory, and the section that holds defmt's texts.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.x");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "none") {
        let here = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-T{here}/link.x");
        println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
        // Sections need not begin on pages: nothing maps them.
        println!("cargo::rustc-link-arg-bins=-nmagic");
        // Without it defmt leaves out, silently, all that is not an error.
        println!("cargo::rustc-env=DEFMT_LOG=info");
    }
}
