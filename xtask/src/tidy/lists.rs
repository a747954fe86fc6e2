//! What is exempt or forbidden by name, each with its reason. The rules that read these lists are in the other modules.

/// Lines of a file from which one has to ask what its second noun is.
pub(super) const LONGEST: usize = 600;

/// Files that may be longer, and why. One that no longer needs it must leave the list.
pub(super) const LONG_FILES: &[(&str, &str)] = &[];

/// Licences that a dependency may have; all of them permit shipping a binary with a notice.
pub(super) const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates under another licence that serve on a developer's machine only, with that licence. None is in what is shipped.
pub(super) const TOOLS: &[(&str, &str)] = &[
    // Both come with defmt's decoder (boards/examples/pick-nostd). Copyleft by file: to run it asks nothing of us.
    ("alterable_logger", "MPL-2.0"),
    ("colored", "MPL-2.0"),
];

/// The licence of everything in this workspace, and the files that hold its text.
pub(super) const OUR_LICENCE: &str = "MIT OR Apache-2.0";
pub(super) const LICENCE_FILES: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE"];

/// The crates whose dependencies end up on a device.
pub(super) const DEVICE_ROOTS: &[&str] = &["cairn"];

/// The crates whose programs leave this repository as binaries.
pub(super) const SHIPPED: &[&str] = &["cairn", "cairn-cli"];

/// Crates that must not be linked into a device, and why.
pub(super) const BANNED: &[(&str, &str)] = &[
    ("anyhow", "an error on a device is matched by code, so it is an enum"),
    ("clap", "weighs nearly 200 KiB more than lexopt, which does what a role needs"),
    ("openssl-sys", "a second crypto stack, in C, linked to the host's"),
    ("rsa", "its private-key operations leak by timing (RUSTSEC-2023-0071); verify with ring"),
    ("tokio", "a second executor; the device has one"),
];

/// Words that must not stay in a source file.
pub(super) const LEFTOVERS: &[(&str, &str)] = &[
    (concat!("todo", "!("), "write it, or leave it out"),
    (concat!("unimplemented", "!("), "write it, or leave it out"),
    (concat!("FIX", "ME"), "put it right, or write down why it is so"),
    (concat!("XX", "X:"), "put it right, or write down why it is so"),
];

/// Beginnings of paths that exist on one person's machine only.
pub(super) const FOREIGN_PATHS: &[&str] = &[concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Which of our crates a room may import, where the layers alone would allow more.
pub(super) const NARROW: &[(&str, &[&str])] =
    &[("hub", &["statemachine", "formats"]), ("cli", &["statemachine", "formats", "boards/", "runtime/store"])];
