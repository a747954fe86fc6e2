//! The kernel's side of container networks: links, addresses, routes, and one table of nftables. By netlink alone: no
//! program is started, and the network namespace of no thread of the caller changes.
//!
//! ```text
//!   device's namespace                                       container's namespace
//!   ──────────────────                                       ─────────────────────
//!   Route::open()                                            Route::open_in(&namespace)
//!     bridge(lxcbr0, 10.0.3.1/24)
//!     veth(web0, lxcbr0, Inside { namespace, eth0 }) ─ pair ─▶ eth0
//!     macvlan, vlan, lend                            ────────▶ configure(eth0, 10.0.3.7/24, default by 10.0.3.1)
//!   nft::replace(&Ruleset)    pools and ports as one value ─▶ table inet cairn, in one transaction
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`route`] | [`Route`]: links, addresses and routes of one namespace |
//! | [`nft`] | which pools may speak to whom, what leaves under the device's address, which ports are published |
//! | [`namespace`] | network namespaces, and threads in them |
//! | [`sysctl`] | forwarding, and ports that are published on the device's loopback |
//! | [`names`] | names of links, Ethernet addresses, addresses with a prefix: parsed once, never wrong after |
//! | [`kernel`] | what a kernel has to have for all of this |
//! | [`wire`] | the bytes of netlink, both ways |
//!
//! Every call returns when the kernel has answered, which it does while it is asked: none waits for a network. What is
//! missing in the kernel is an error that names the object and the option, never a weaker network.
#![deny(unsafe_code)]

mod error;
pub mod kernel;
pub mod names;
pub mod namespace;
pub mod nft;
pub mod route;
mod socket;
mod sys;
pub mod sysctl;
pub mod wire;

pub use error::Error;
pub use names::{Cidr, Mac, Name};
pub use namespace::Namespace;
pub use route::{Home, Inside, Link, Macvlan, Route};
