//! Hostile bytes for every reader of Cairn, and the laws that hold whatever arrives.
//!
//! A [`Target`] is a plain function: it gets bytes, feeds them to a reader, and panics when a law is broken. Every law
//! begins with *the reader does not panic*; most go on with *what it read, written and read again, is the same*.
//! Adding one is one line in [`TARGETS`] and, if good inputs are known, files in `corpus/NAME/`.
//!
//! The same functions run in three harnesses:
//!
//! | harness                                     | inputs                                                      |
//! |---------------------------------------------|-------------------------------------------------------------|
//! | `cargo test -p cairn-tests-fuzz`            | corpus and a fixed number of mutations of it, always the same |
//! | `cargo run -p cairn-tests-fuzz -- --seconds N` | the same kind of mutations, for as long as wanted          |
//! | `tests/fuzz/fuzz` (libFuzzer)               | guided by coverage; needs a nightly compiler                |
#![forbid(unsafe_code)]

pub mod corpus;
pub mod mutate;
pub mod run;
// A panic is how a law says that it is broken. Not `expect`: not every law needs every one of these.
#[allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "see above")]
mod targets;

use targets::{
    assembly, bootenv, bundles, compose, contents, cosign, dhcp, drivers, fat, gpt, history, journal, layers, left,
    listing, logs, net, packages, requests, revision, seccomp, verity,
};

pub use targets::assembly::is_assembled;

/// One reader and its law.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// How it is called on the command line and in `corpus/`.
    pub name: &'static str,
    /// What holds for every input, as a sentence.
    pub promise: &'static str,
    /// Panics if it does not hold for this one.
    pub check: fn(&[u8]),
}

impl Target {
    const fn new(name: &'static str, check: fn(&[u8]), promise: &'static str) -> Self {
        Self { name, promise, check }
    }
}

/// All targets, each in one line.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    Target::new("journal", journal::whole, "a journal that is read is written and read again as the same journal"),
    Target::new("journal-rehead", journal::rehead, "another head leaves the body as it was, byte for byte"),
    Target::new("raw-wanted", bootenv::raw_wanted, "what a raw cell holds survives being stored"),
    Target::new("raw-spent", bootenv::raw_spent, "what a note in a raw sector says survives being stored"),
    Target::new("grub-wanted", bootenv::grub_wanted, "a GRUB cell that is accepted has the very bytes of our encoder"),
    Target::new("grub-spent", bootenv::grub_spent, "a GRUB note that is accepted has the very bytes of our encoder"),
    Target::new("autoboot", bootenv::autoboot, "an autoboot.txt that is accepted has the very bytes of our encoder"),
    Target::new("label", bootenv::label, "what a slot holds survives being written again, and no other name is found"),
    Target::new("grubenv", bootenv::grubenv, "a store into a grubenv leaves every line of others, in order"),
    Target::new("uboot-txt", bootenv::uboot_txt, "a store into an uboot.txt leaves every variable of others, in order"),
    Target::new("uboot-env", bootenv::uboot_env, "an environment that is read can be written with the same variables"),
    Target::new("json", revision::json, "a JSON text that is read has one canonical form, however it is written in between"),
    Target::new("state", revision::state, "a state keeps its text, and each of its keys is a path and is found again"),
    Target::new("strict", revision::strict, "a state that passes strict has no key that nobody signed"),
    Target::new("manifest", revision::manifest, "no name in a manifest that is read leads out of its container, and nothing in it is asked without a bound"),
    Target::new("services", revision::services, "a service that is read has a socket that lies in its container"),
    Target::new("pools", revision::pools, "pools that are read share no address, and a container gets one that nobody else has"),
    Target::new("leases", revision::leases, "a list of leases that is read has one text, and no two containers keep one address"),
    Target::new("log-times", logs::times, "marks that are read are in the order of their lines and in their log, and each is the first since its own time"),
    Target::new("log-words", logs::words, "times and dates that are read are written as the same"),
    Target::new("lxc", revision::lxc, "a container configuration that is read can be written with the same lines"),
    Target::new("lxc-files", revision::lxc_files, "files that include each other end, and leave lines that a container is built from"),
    Target::new("ceiling", revision::ceiling, "a ceiling that is read allows a confined container, and lines that say nothing change nothing"),
    Target::new("seccomp", seccomp::filter, "a filter that is read decides about every call, and is written as the same bytes"),
    Target::new("assembly", assembly::assembly, "a container that is assembled can be launched, and each of its limits is said once"),
    Target::new("profile", seccomp::profile, "a profile of LXC that is read becomes filters that are read as the same"),
    Target::new("progress", revision::progress, "a progress report that is read can be written and read again"),
    Target::new("signature", revision::signature, "what a signature signs begins with its header as it was encoded"),
    Target::new("pattern", revision::pattern, "a pattern without anything special selects itself and nothing else"),
    Target::new("trust", revision::trust, "a store is empty exactly if nothing could be added"),
    Target::new("request", requests::request, "a request has one meaning, wherever its bytes are cut and whatever follows"),
    Target::new("path", requests::path, "a path that is a route is the path of that route and leads nowhere else"),
    Target::new("post", requests::post, "a posted state is a JSON text of its own, under a local name"),
    Target::new("program", requests::program, "a program that is asked for fits into a frame, and its end is one line of one text; what is typed on a console is read as itself"),
    Target::new("pairings", requests::pairings, "a list of pairings has one text, and a code is typed as it is shown"),
    Target::new("options", requests::options, "a command line asks for no less than a file, and a remark repeats a key alone"),
    Target::new("drivers", drivers::aliases, "a driver that is read fits a board or does not, and metadata gives it no further option"),
    Target::new("modules", drivers::modules, "modules that are loaded for a name are files below their directory, each once"),
    Target::new("remount", drivers::remount, "a rule without anything special is about the place that it spells and no other"),
    Target::new("mdev", drivers::mdev, "a node that a rule makes lies below /dev and is none that every container has, and a rule for all is about every device"),
    Target::new("dhcp", dhcp::lease, "an answer that is taken gives an address that a host can have, and ends where it says so"),
    Target::new("fat", fat::located, "a place that is found in a FAT lies in it, and nothing is read beside it or for ever"),
    Target::new("ext4", left::file, "a file that is read has as many bytes as it says, and nothing is read beside the medium or for ever"),
    Target::new("pstore", left::record, "the last words of a kernel are a part of what it said"),
    Target::new("gpt", gpt::grown, "a partition grows by a table of its own, and an error has written nothing"),
    Target::new("netlink", net::packet, "a packet of the kernel that is read, written and read again is the same messages and attributes"),
    Target::new("addressing", net::addressing, "a name or address of a link is shown as what is read as the same"),
    Target::new("bundles", bundles::bundles, "what is found in a bundle lies in it"),
    Target::new("verity", verity::tables, "a verity table that is read, written and read again is the same"),
    Target::new("listing", listing::listing, "what a list of an image names is a tree of no more than that, however the list comes in pieces"),
    Target::new("squashfs", contents::squashfs, "an image that is read has names that lie in it, and files as long as they say"),
    Target::new("dpkg", contents::dpkg, "packages of dpkg that are read are written and read as the same"),
    Target::new("apk", contents::apk, "packages of apk that are read are written and read as the same"),
    Target::new("opkg", contents::opkg, "packages of opkg that are read are written and read as the same"),
    Target::new("packages", packages::packages, "a package is the same packed or not, and the keys that are read of it are read again as the same text"),
    Target::new("history", history::entry, "an entry of a history that is read is written as one line and read as the same"),
    Target::new("cosign", cosign::cosign, "a payload means the same image however it is written, and no list of signatures is without end"),
    Target::new("compose", compose::compose, "a compose file that is read is mapped to what a device reads, and each finding names one of its lines"),
    Target::new("layers", layers::layers, "layers that are flattened, written as one and flattened again are the same tree"),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
