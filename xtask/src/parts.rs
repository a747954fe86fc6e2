//! What the parts of the device binary weigh: the bytes of its symbols, by the role that they are there for.
//!
//! Every symbol of the program, built once more with its symbol table, belongs to the crate that its name begins with.
//! Generic code counts for the crate that it is of, not for the one that asked for it, so a figure is what a role's own
//! code weighs, and what all of them share stands in rows of its own.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionFlags};

/// Rows in the order of the table, each with the crates that belong to it.
const PARTS: &[(&str, &[&str])] = &[
    (
        "init",
        &[
            "init",
            "store",
            "media",
            "board_host",
            "boards_api",
            "statemachine",
            "sequential_storage",
            "embedded_storage",
            "embedded_storage_async",
            "heapless",
            "blake3",
        ],
    ),
    ("stage", &["container"]),
    ("front", &["front", "httparse"]),
    ("pvcontrol, pvtx", &["ctl", "lexopt"]),
    ("buildinfo", &["cairn"]),
    ("shared: formats", &["formats", "postcard", "serde", "serde_core", "cobs", "crc", "crc_catalog", "base64ct"]),
    ("shared: signatures", &["ring", "webpki", "rustls_pki_types", "untrusted"]),
    (
        "shared: executor",
        &[
            "smol",
            "async_channel",
            "async_executor",
            "async_fs",
            "async_io",
            "async_lock",
            "async_net",
            "async_process",
            "async_task",
            "blocking",
            "concurrent_queue",
            "event_listener",
            "event_listener_strategy",
            "futures_core",
            "futures_io",
            "futures_lite",
            "parking",
            "piper",
            "polling",
            "slab",
        ],
    ),
    ("shared: system calls", &["rustix", "linux_raw_sys", "libc", "errno"]),
    (
        "shared: Rust's library",
        &[
            "core",
            "std",
            "alloc",
            "gimli",
            "addr2line",
            "miniz_oxide",
            "rustc_demangle",
            "hashbrown",
            "memchr",
            "object",
            "__rustc",
        ],
    ),
];

/// What is not Rust: the C library, and the parts of ring in C and assembler.
const C: &str = "shared: C library, ring's C";

/// Everything else.
const OTHER: &str = "shared: other crates";

/// Bytes by part, the largest first.
pub(crate) fn of(program: &[u8]) -> Result<Vec<(&'static str, u64)>> {
    let file = object::File::parse(program).context("the program with symbols is no ELF file")?;
    let mut parts = BTreeMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.size() > 0) {
        let Some(section) = symbol.section_index().and_then(|index| file.section_by_index(index).ok()) else {
            continue;
        };
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        // What is loaded and lies in the file; zeros do not.
        let is_loaded = sh_flags & u64::from(object::elf::SHF_ALLOC) != 0;
        if is_loaded && section.kind() != object::SectionKind::UninitializedData {
            *parts.entry(part(symbol.name().unwrap_or_default())).or_insert(0) += symbol.size();
        }
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    Ok(parts)
}

fn part(symbol: &str) -> &'static str {
    let Ok(name) = rustc_demangle::try_demangle(symbol) else { return C };
    let name = name.to_string();
    let owner = owner(&name);
    PARTS.iter().find(|(_, crates)| crates.contains(&owner)).map_or(OTHER, |(part, _)| part)
}

/// The crate of `init::core::Core::take`, or of `<init::assembly::Assembly as core::fmt::Debug>::fmt`.
fn owner(name: &str) -> &str {
    let name = name.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    let name = ["impl ", "mut ", "dyn "].iter().fold(name, |name, word| name.strip_prefix(word).unwrap_or(name));
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    let (first, rest) = name.split_at(end);
    if rest.starts_with("::") {
        return first;
    }
    // `<T as store::Trait>`, `[u8]`: a type of nobody, so the trait says whose code it is.
    rest.find(" as ").map_or("core", |at| owner(&rest[at + " as ".len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_belongs_to_the_crate_that_its_name_begins_with() {
        for (name, of) in [
            ("init::core::Core::take", "init"),
            ("<init::assembly::Assembly as core::fmt::Debug>::fmt", "init"),
            ("<&T as store::dir::Some>::x", "store"),
            ("<[u8] as alloc::borrow::ToOwned>::to_owned", "alloc"),
            ("core::ptr::drop_in_place<front::serve::X>", "core"),
            ("main", "core"),
        ] {
            assert_eq!(owner(name), of, "{name}");
        }
    }

    #[test]
    fn no_crate_stands_in_two_rows() {
        let all: Vec<_> = PARTS.iter().flat_map(|(_, crates)| crates.iter()).collect();
        assert!(all.iter().enumerate().all(|(at, one)| !all[..at].contains(one)));
    }
}
