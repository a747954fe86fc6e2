//! Networks of containers on this kernel: real namespaces, bridges, connections and tables.
//!
//! Each test is a device of its own: a network namespace, in which it runs. Nothing is skipped: without root, or with a
//! kernel that lacks something, a test fails and the error says what is missing.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests; they never run on a device"
)]

mod ground;
mod links;
mod ports;
mod rules;
