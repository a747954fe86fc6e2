//! The program as a caller sees it: real calls in directories of their own.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod again;
mod apps;
mod bad;
mod bench;
mod bundles;
mod cache;
mod copying;
mod deploying;
mod device;
mod doctor;
mod grants;
mod health;
mod help;
mod history;
mod hostile;
mod images;
mod inside;
mod needs;
mod networks;
mod pairing;
mod parts;
mod planning;
mod profile;
mod registries;
mod registry;
mod remote;
mod sbom;
mod scanning;
mod shapes;
mod signing;
mod sources;
mod users;
mod verifying;
mod verity;
mod work;
