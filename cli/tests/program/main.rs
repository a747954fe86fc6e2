//! The program as a caller sees it: real calls in directories of their own.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod bad;
mod bench;
mod deploying;
mod signing;
mod work;
