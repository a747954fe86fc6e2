//! What a kernel has to have for networks of containers, built in or as modules. Nobody loads a module for PID 1: it
//! loads these before it makes a pool, from the modules of the base system.
//!
//! | For | Options | Modules |
//! |---|---|---|
//! | every network of a container | `CONFIG_NET_NS`, `CONFIG_INET` | – |
//! | pools that are bridges | `CONFIG_BRIDGE`, `CONFIG_VETH` | `bridge`, `veth` |
//! | those with a `subnet6` | `CONFIG_IPV6` | `ipv6` |
//! | their isolation, address translation and ports | `CONFIG_NF_TABLES_INET`, `CONFIG_NF_CONNTRACK`, `CONFIG_NFT_CT`, `CONFIG_NFT_NAT`, `CONFIG_NFT_MASQ`, `CONFIG_NFT_FIB_INET`, `CONFIG_NF_CT_NETLINK` | `nf_tables`, `nft_ct`, `nft_chain_nat`, `nft_nat`, `nft_masq`, `nft_fib_inet`, `nf_conntrack_netlink` |
//! | pools and links on the wire of the device | `CONFIG_MACVLAN` | `macvlan` |
//! | links for one VLAN | `CONFIG_VLAN_8021Q` | `8021q` |

/// Modules of pools that are bridges, as `modprobe` knows them.
pub const BRIDGED: &[&str] = &[
    "bridge",
    "veth",
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_fib_inet",
    "nf_conntrack_netlink",
];
/// Modules of links on the wire of the device.
pub const MACVLAN: &[&str] = &["macvlan"];
/// Modules of links for one VLAN.
pub const VLAN: &[&str] = &["8021q"];
/// Modules of pairs of links.
pub const VETH: &[&str] = &["veth"];
