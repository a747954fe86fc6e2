//! Chains and rules in the bytes of `nf_tables`, whose numbers are in network order.
//!
//! A rule is a list of expressions. Each but the last loads something into a register and compares it there; the first
//! that does not hold ends the rule.

use std::net::IpAddr;

use super::rules::{Chain, Match, Rule, Verdict};
use super::{Protocol, TABLE};
use crate::names::{Cidr, Name};
use crate::wire::Writer;

/// The register of a verdict, and two for anything else.
const VERDICT: u32 = 0;
const FIRST: u32 = 1;
const SECOND: u32 = 2;

/// `NFTA_TABLE_NAME`
const TABLE_NAME: u16 = 1;
/// `NFTA_CHAIN_…`, `NFTA_HOOK_…`
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
/// `NFTA_RULE_…`, `NFTA_LIST_ELEM`, `NFTA_EXPR_…`
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
/// `NFTA_DATA_…`, `NFTA_VERDICT_…`
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

/// `NF_DROP`, `NF_ACCEPT`, `NFT_JUMP`.
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;

/// `NFT_META_…`
const META_FROM: u32 = 6;
const META_TO: u32 = 7;
const META_KIND: u32 = 15;
const META_PROTOCOL: u32 = 16;
/// `NFT_CT_…`, and `IPS_DST_NAT`, `IPS_ASSURED`.
const CONNECTION_STATE: u32 = 0;
const CONNECTION_STATUS: u32 = 2;
const LED: u32 = 1 << 5;
const ASSURED: u32 = 1 << 2;
/// Where a header of TCP has its flags, and the one that ends a connection at once.
const TCP_FLAGS: u32 = 13;
const RESET: u8 = 4;
/// `NFT_FIB_RESULT_ADDRTYPE` of `NFTA_FIB_F_DADDR` is `RTN_LOCAL`.
const FIB_KIND: u32 = 3;
const FIB_DESTINATION: u32 = 2;
const LOCAL: u32 = 2;
/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// How two values are compared.
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;

/// The table.
pub(super) fn table(writer: &mut Writer) {
    writer.text(TABLE_NAME, TABLE);
}

/// A chain. `passes`: what becomes of what no rule decides about.
pub(super) fn chain(writer: &mut Writer, chain: Chain, passes: bool) {
    writer.text(CHAIN_TABLE, TABLE);
    writer.text(CHAIN_NAME, chain.name());
    if let Some(hook) = chain.hook() {
        let open = writer.list(CHAIN_HOOK);
        number(writer, HOOK_NUMBER, hook.number);
        writer.attribute(HOOK_PRIORITY, &hook.priority.to_be_bytes());
        writer.close(open);
        writer.text(CHAIN_TYPE, hook.kind);
        writer.attribute(CHAIN_POLICY, &(if passes { ACCEPT } else { DROP }).to_be_bytes());
    }
}

/// A rule.
pub(super) fn rule(writer: &mut Writer, rule: &Rule<'_>) {
    writer.text(RULE_TABLE, TABLE);
    writer.text(RULE_CHAIN, rule.chain.name());
    let open = writer.list(RULE_EXPRESSIONS);
    for part in &rule.matches {
        encode(writer, part);
    }
    match rule.verdict {
        Verdict::Accept => verdict(writer, ACCEPT, None),
        Verdict::Drop => verdict(writer, DROP, None),
        Verdict::Jump(chain) => verdict(writer, JUMP, Some(chain)),
        Verdict::Masquerade => expression(writer, "masq", &mut |_| {}),
        Verdict::Lead(to) => {
            address(writer, FIRST, to.ip());
            immediate(writer, SECOND, &to.port().to_be_bytes());
            // NFT_NAT_DNAT of a kind of IP, by the two registers.
            numbers(writer, "nat", &[(1, 1), (2, kind(to.ip()).into()), (3, FIRST), (5, SECOND)]);
        }
    }
    writer.close(open);
}

fn encode(writer: &mut Writer, part: &Match<'_>) {
    match part {
        Match::From(name) => link(writer, META_FROM, name, EQUAL),
        Match::To(name) => link(writer, META_TO, name, EQUAL),
        Match::NotTo(name) => link(writer, META_TO, name, UNEQUAL),
        Match::Source(cidr) => addressed(writer, *cidr, (12, 8)),
        Match::Destination(cidr) => addressed(writer, *cidr, (16, 24)),
        Match::Kind(address) => is_kind(writer, *address),
        Match::Port(protocol, port) => {
            let protocol = match protocol {
                Protocol::Tcp => libc::IPPROTO_TCP,
                Protocol::Udp => libc::IPPROTO_UDP,
            };
            transport(writer, protocol, 2, *port);
        }
        Match::Reset(port) => {
            transport(writer, libc::IPPROTO_TCP, 0, *port);
            payload(writer, TRANSPORT, TCP_FLAGS, 1);
            mask(writer, &[RESET]);
            compare(writer, UNEQUAL, &[0]);
        }
        Match::State(states) => has_bit(writer, CONNECTION_STATE, *states, UNEQUAL),
        Match::Led => has_bit(writer, CONNECTION_STATUS, LED, UNEQUAL),
        Match::Begun => has_bit(writer, CONNECTION_STATUS, ASSURED, EQUAL),
        Match::Local => {
            numbers(writer, "fib", &[(1, FIRST), (2, FIB_KIND), (3, FIB_DESTINATION)]);
            compare(writer, EQUAL, &LOCAL.to_ne_bytes());
        }
    }
}

/// The name of a link, with the zeros behind it: all that the kernel keeps of it.
fn link(writer: &mut Writer, key: u32, name: &Name, how: u32) {
    numbers(writer, "meta", &[(1, FIRST), (2, key)]);
    let mut bytes = [0; libc::IFNAMSIZ];
    bytes.iter_mut().zip(name.as_str().bytes()).for_each(|(to, from)| *to = from);
    compare(writer, how, &bytes);
}

/// An address of a packet, which lies at one place in IPv4 and at another in IPv6, is of a network.
fn addressed(writer: &mut Writer, cidr: Cidr, (four, six): (u32, u32)) {
    let network = cidr.network().address();
    is_kind(writer, network);
    let (at, length) = if network.is_ipv4() { (four, 4) } else { (six, 16) };
    payload(writer, NETWORK, at, length);
    mask(writer, octets(cidr.mask(), &mut [0; 16]));
    compare(writer, EQUAL, octets(network, &mut [0; 16]));
}

/// The header is of this kind of IP, without which the places in it mean something else.
fn is_kind(writer: &mut Writer, address: IpAddr) {
    numbers(writer, "meta", &[(1, FIRST), (2, META_KIND)]);
    compare(writer, EQUAL, &[kind(address)]);
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const fn kind(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// Any of these bits, which the kernel keeps in its own order, or (`EQUAL` to nothing) none of them.
fn has_bit(writer: &mut Writer, key: u32, bits: u32, how: u32) {
    numbers(writer, "ct", &[(1, FIRST), (2, key)]);
    mask(writer, &bits.to_ne_bytes());
    compare(writer, how, &[0; 4]);
}

/// It is of this protocol, with this port at this place of the header.
fn transport(writer: &mut Writer, protocol: i32, at: u32, port: u16) {
    numbers(writer, "meta", &[(1, FIRST), (2, META_PROTOCOL)]);
    compare(writer, EQUAL, &[protocol as u8]);
    payload(writer, TRANSPORT, at, 2);
    compare(writer, EQUAL, &port.to_be_bytes());
}

fn payload(writer: &mut Writer, base: u32, at: u32, length: u32) {
    numbers(writer, "payload", &[(1, FIRST), (2, base), (3, at), (4, length)]);
}

fn mask(writer: &mut Writer, mask: &[u8]) {
    expression(writer, "bitwise", &mut |writer| {
        number(writer, 1, FIRST);
        number(writer, 2, FIRST);
        number(writer, 3, u32::try_from(mask.len()).unwrap_or(0));
        data(writer, 4, mask);
        // Nothing is turned over.
        data(writer, 5, [0; 16].get(..mask.len()).unwrap_or_default());
    });
}

fn compare(writer: &mut Writer, how: u32, value: &[u8]) {
    expression(writer, "cmp", &mut |writer| {
        number(writer, 1, FIRST);
        number(writer, 2, how);
        data(writer, 3, value);
    });
}

fn address(writer: &mut Writer, register: u32, address: IpAddr) {
    immediate(writer, register, octets(address, &mut [0; 16]));
}

fn immediate(writer: &mut Writer, register: u32, value: &[u8]) {
    expression(writer, "immediate", &mut |writer| {
        number(writer, 1, register);
        data(writer, 2, value);
    });
}

fn verdict(writer: &mut Writer, code: i32, chain: Option<Chain>) {
    expression(writer, "immediate", &mut |writer| {
        number(writer, 1, VERDICT);
        let outer = writer.list(2);
        let inner = writer.list(DATA_VERDICT);
        writer.attribute(VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            writer.text(VERDICT_CHAIN, chain.name());
        }
        writer.close(inner);
        writer.close(outer);
    });
}

/// An expression that is told numbers only.
fn numbers(writer: &mut Writer, name: &str, values: &[(u16, u32)]) {
    expression(writer, name, &mut |writer| values.iter().for_each(|(kind, value)| number(writer, *kind, *value)));
}

fn expression(writer: &mut Writer, name: &str, fill: &mut dyn FnMut(&mut Writer)) {
    let open = writer.list(ELEMENT);
    writer.text(EXPRESSION_NAME, name);
    let inner = writer.list(EXPRESSION_DATA);
    fill(writer);
    writer.close(inner);
    writer.close(open);
}

fn number(writer: &mut Writer, kind: u16, value: u32) {
    writer.attribute(kind, &value.to_be_bytes());
}

fn data(writer: &mut Writer, kind: u16, value: &[u8]) {
    let open = writer.list(kind);
    writer.attribute(DATA_VALUE, value);
    writer.close(open);
}

fn octets(address: IpAddr, room: &mut [u8; 16]) -> &[u8] {
    match address {
        IpAddr::V4(address) => {
            room.iter_mut().zip(address.octets()).for_each(|(to, from)| *to = from);
            room.get(..4).unwrap_or_default()
        }
        IpAddr::V6(address) => {
            *room = address.octets();
            room
        }
    }
}
