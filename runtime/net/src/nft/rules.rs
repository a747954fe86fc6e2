//! The rules that a [`Ruleset`] means. They are shown as `nft` writes them.
//!
//! ```text
//!   guard        prerouting, raw      the device's loopback is closed to pools
//!   refusals     prerouting, mangle   what a container says that may not listen yet
//!   arriving     prerouting, dstnat   what is for an address of the device: to `published`
//!   leaving      output, dstnat       likewise, of the device itself: to `published` and to `loopback`
//!   passing      forward, filter      who may speak to whom
//!   outward      postrouting, srcnat  under whose address
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Attempts, Pool, Port, Protocol, Ruleset};
use crate::names::{Cidr, Name};

/// A chain of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chain {
    Guard,
    Refusals,
    Arriving,
    Leaving,
    Passing,
    Outward,
    Published,
    Loopback,
    Pools,
}

/// In the order in which they are made: one that is jumped to comes first.
pub(super) const CHAINS: [Chain; 9] = [
    Chain::Published,
    Chain::Loopback,
    Chain::Pools,
    Chain::Guard,
    Chain::Refusals,
    Chain::Arriving,
    Chain::Leaving,
    Chain::Passing,
    Chain::Outward,
];

/// Where a chain is asked.
pub(super) struct Hook {
    pub(super) kind: &'static str,
    /// `NF_INET_…`
    pub(super) number: u32,
    pub(super) priority: i32,
}

impl Chain {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Refusals => "refusals",
            Self::Arriving => "arriving",
            Self::Leaving => "leaving",
            Self::Passing => "passing",
            Self::Outward => "outward",
            Self::Published => "published",
            Self::Loopback => "loopback",
            Self::Pools => "pools",
        }
    }

    /// `None`: it is asked when a rule jumps to it.
    pub(super) const fn hook(self) -> Option<Hook> {
        let (kind, number, priority) = match self {
            Self::Guard => ("filter", 0, -300),
            // Once it is known of which connection it is, and for whoever asked: the device, or somebody behind it.
            Self::Refusals => ("filter", 0, -150),
            Self::Arriving => ("nat", 0, -100),
            Self::Leaving => ("nat", 3, -100),
            Self::Passing => ("filter", 2, 0),
            Self::Outward => ("nat", 4, 100),
            Self::Published | Self::Loopback | Self::Pools => return None,
        };
        Some(Hook { kind, number, priority })
    }
}

/// What a packet has to be for a rule to be about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match<'a> {
    /// It comes by this link.
    From(&'a Name),
    /// It leaves by this link.
    To(&'a Name),
    /// It leaves by another link.
    NotTo(&'a Name),
    Source(Cidr),
    Destination(Cidr),
    /// Of a kind of IP.
    Kind(IpAddr),
    Port(Protocol, u16),
    /// It comes from this port of TCP, and ends its connection at once.
    Reset(u16),
    /// One of these states of its connection.
    State(u32),
    /// Of a connection that a published port has led elsewhere.
    Led,
    /// Of a connection that does not stand yet.
    Begun,
    /// To an address of the device.
    Local,
}

/// Bits of the state of a connection.
pub(super) const INVALID: u32 = 1;
pub(super) const ESTABLISHED: u32 = 2;
pub(super) const RELATED: u32 = 4;

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Jump(Chain),
    Masquerade,
    Lead(SocketAddr),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule<'a> {
    pub(super) chain: Chain,
    pub(super) matches: Vec<Match<'a>>,
    pub(super) verdict: Verdict,
}

/// All rules, chain by chain in the order in which they are asked.
pub(super) fn rules(ruleset: &Ruleset) -> Vec<Rule<'_>> {
    let mut rules = Rules(Vec::new());
    let pools = &ruleset.pools;
    let ports6 = ruleset.ports.iter().any(|port| port.to.is_ipv6());
    for port in &ruleset.ports {
        rules.port(port);
    }
    for pool in pools {
        rules.guard(pool);
    }
    rules.add(Chain::Arriving, &[Match::Local], Verdict::Jump(Chain::Published));
    if let Some(own) = Cidr::new(Ipv6Addr::LOCALHOST.into(), 128).filter(|_| ports6) {
        // What comes from there can go nowhere else. Whoever is refused there tries 127.0.0.1.
        rules.add(Chain::Leaving, &[Match::Destination(own)], Verdict::Accept);
    }
    rules.add(Chain::Leaving, &[Match::Local], Verdict::Jump(Chain::Published));
    rules.add(Chain::Leaving, &[Match::Local], Verdict::Jump(Chain::Loopback));
    rules.passing(ruleset);
    for pool in pools {
        rules.outward(pool);
    }
    rules.0
}

/// What is for everybody on the device: `127.0.0.0/8`.
fn loopback() -> Option<Cidr> {
    Cidr::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8)
}

struct Rules<'a>(Vec<Rule<'a>>);

impl<'a> Rules<'a> {
    fn add(&mut self, chain: Chain, matches: &[Match<'a>], verdict: Verdict) {
        self.0.push(Rule { chain, matches: matches.into(), verdict });
    }

    fn port(&mut self, port: &Port) {
        // What comes from outside may call itself anything, also the device's loopback.
        let is_loopback = port.on.is_some_and(|on| on.is_loopback());
        let chain = if is_loopback { Chain::Loopback } else { Chain::Published };
        let on = port.on.and_then(|on| Cidr::new(on, if on.is_ipv4() { 32 } else { 128 }));
        let on = on.map_or(Match::Kind(port.to.ip()), Match::Destination);
        let verdict = match port.attempts {
            Attempts::Unanswered => Verdict::Drop,
            Attempts::Led | Attempts::Tolerant => Verdict::Lead(port.to),
        };
        self.add(chain, &[on, Match::Port(port.protocol, port.port)], verdict);
        // A datagram is not refused by one of its own kind.
        if port.attempts == Attempts::Tolerant
            && port.protocol == Protocol::Tcp
            && let Some(container) = Cidr::new(port.to.ip(), if port.to.is_ipv4() { 32 } else { 128 })
        {
            let refusal = [Match::Source(container), Match::Reset(port.to.port()), Match::Led, Match::Begun];
            self.add(Chain::Refusals, &refusal, Verdict::Drop);
        }
    }

    /// A bridge that ports of the loopback lead to has to let addresses of it through.
    fn guard(&mut self, pool: &'a Pool) {
        for end in [Match::Source, Match::Destination] {
            if let Some(loopback) = loopback() {
                self.add(Chain::Guard, &[Match::From(&pool.bridge), end(loopback)], Verdict::Drop);
            }
        }
    }

    fn passing(&mut self, ruleset: &'a Ruleset) {
        use Match::{From, Led, State, To};
        use Verdict::{Accept, Drop, Jump};
        let chain = Chain::Passing;
        let pools = &ruleset.pools;
        self.add(chain, &[State(ESTABLISHED | RELATED)], Accept);
        for pool in pools {
            self.add(chain, &[From(&pool.bridge), To(&pool.bridge)], Accept);
            if ruleset.isolated {
                self.add(Chain::Pools, &[To(&pool.bridge)], Drop);
            }
        }
        self.add(chain, &[Led], Accept);
        for pool in pools {
            if pool.nat {
                // Nothing knows it, so its address would not be changed, and means nothing outside.
                self.add(chain, &[From(&pool.bridge), State(INVALID)], Drop);
            }
            if ruleset.isolated {
                self.add(chain, &[From(&pool.bridge)], Jump(Chain::Pools));
            }
            self.add(chain, &[From(&pool.bridge)], Accept);
        }
        for pool in pools {
            self.add(chain, &[To(&pool.bridge)], if pool.routed { Accept } else { Drop });
        }
        if ruleset.transit6 != ruleset.transit {
            // What no rule is about is as `transit` says.
            let six = Match::Kind(Ipv6Addr::UNSPECIFIED.into());
            self.add(chain, &[six], if ruleset.transit6 { Accept } else { Drop });
        }
    }

    fn outward(&mut self, pool: &'a Pool) {
        let chain = Chain::Outward;
        for subnet in &pool.subnets {
            let source = Match::Source(subnet.network());
            if pool.nat {
                self.add(chain, &[source, Match::NotTo(&pool.bridge)], Verdict::Masquerade);
            }
            // Otherwise the answer would go to the neighbour directly, who asked somebody else.
            self.add(chain, &[source, Match::To(&pool.bridge), Match::Led], Verdict::Masquerade);
        }
        if let Some(loopback) = loopback() {
            self.add(chain, &[Match::Source(loopback), Match::To(&pool.bridge), Match::Led], Verdict::Masquerade);
        }
    }
}

impl fmt::Display for Match<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |address: IpAddr| if address.is_ipv4() { "ip" } else { "ip6" };
        match self {
            Self::From(name) => write!(f, "iifname \"{name}\""),
            Self::To(name) => write!(f, "oifname \"{name}\""),
            Self::NotTo(name) => write!(f, "oifname != \"{name}\""),
            Self::Source(cidr) => write!(f, "{} saddr {cidr}", kind(cidr.address())),
            Self::Destination(cidr) => write!(f, "{} daddr {cidr}", kind(cidr.address())),
            Self::Kind(address) => write!(f, "meta nfproto {}", if address.is_ipv4() { "ipv4" } else { "ipv6" }),
            Self::Port(protocol, port) => write!(f, "{} dport {port}", protocol.name()),
            Self::Reset(port) => write!(f, "tcp sport {port} tcp flags rst"),
            Self::State(INVALID) => f.write_str("ct state invalid"),
            Self::State(_) => f.write_str("ct state established,related"),
            Self::Led => f.write_str("ct status dnat"),
            Self::Begun => f.write_str("ct status ! assured"),
            Self::Local => f.write_str("fib daddr type local"),
        }
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.chain.name())?;
        self.matches.iter().try_for_each(|part| write!(f, " {part}"))?;
        match self.verdict {
            Verdict::Accept => f.write_str(" accept"),
            Verdict::Drop => f.write_str(" drop"),
            Verdict::Jump(chain) => write!(f, " jump {}", chain.name()),
            Verdict::Masquerade => f.write_str(" masquerade"),
            Verdict::Lead(to) => write!(f, " dnat {} to {to}", if to.is_ipv4() { "ip" } else { "ip6" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruleset_means_these_rules_and_no_others() {
        let pool = |bridge: &str, subnet: &str, nat: bool| Pool {
            bridge: bridge.parse().unwrap(),
            subnets: vec![subnet.parse().unwrap()],
            nat,
            routed: !nat,
        };
        let port = |on: Option<&str>, port: u16, to: &str, attempts: Attempts| Port {
            protocol: Protocol::Tcp,
            on: on.map(|on| on.parse().unwrap()),
            port,
            to: to.parse().unwrap(),
            attempts,
        };
        let ruleset = Ruleset {
            pools: vec![pool("a", "10.0.3.1/24", true), pool("b", "fd00::/64", false)],
            ports: vec![
                port(None, 80, "10.0.3.2:8080", Attempts::Led),
                port(Some("127.0.0.1"), 81, "10.0.3.2:81", Attempts::Tolerant),
                port(Some("fd99::1"), 82, "[fd00::2]:82", Attempts::Unanswered),
                Port { protocol: Protocol::Udp, ..port(None, 53, "10.0.3.2:53", Attempts::Tolerant) },
            ],
            isolated: true,
            transit: false,
            transit6: true,
        };
        let expected = [
            "published: meta nfproto ipv4 tcp dport 80 dnat ip to 10.0.3.2:8080",
            "loopback: ip daddr 127.0.0.1/32 tcp dport 81 dnat ip to 10.0.3.2:81",
            "refusals: ip saddr 10.0.3.2/32 tcp sport 81 tcp flags rst ct status dnat ct status ! assured drop",
            "published: ip6 daddr fd99::1/128 tcp dport 82 drop",
            "published: meta nfproto ipv4 udp dport 53 dnat ip to 10.0.3.2:53",
            "guard: iifname \"a\" ip saddr 127.0.0.0/8 drop",
            "guard: iifname \"a\" ip daddr 127.0.0.0/8 drop",
            "guard: iifname \"b\" ip saddr 127.0.0.0/8 drop",
            "guard: iifname \"b\" ip daddr 127.0.0.0/8 drop",
            "arriving: fib daddr type local jump published",
            "leaving: ip6 daddr ::1/128 accept",
            "leaving: fib daddr type local jump published",
            "leaving: fib daddr type local jump loopback",
            "passing: ct state established,related accept",
            "passing: iifname \"a\" oifname \"a\" accept",
            "pools: oifname \"a\" drop",
            "passing: iifname \"b\" oifname \"b\" accept",
            "pools: oifname \"b\" drop",
            "passing: ct status dnat accept",
            "passing: iifname \"a\" ct state invalid drop",
            "passing: iifname \"a\" jump pools",
            "passing: iifname \"a\" accept",
            "passing: iifname \"b\" jump pools",
            "passing: iifname \"b\" accept",
            "passing: oifname \"a\" drop",
            "passing: oifname \"b\" accept",
            "passing: meta nfproto ipv6 accept",
            "outward: ip saddr 10.0.3.0/24 oifname != \"a\" masquerade",
            "outward: ip saddr 10.0.3.0/24 oifname \"a\" ct status dnat masquerade",
            "outward: ip saddr 127.0.0.0/8 oifname \"a\" ct status dnat masquerade",
            "outward: ip6 saddr fd00::/64 oifname \"b\" ct status dnat masquerade",
            "outward: ip saddr 127.0.0.0/8 oifname \"b\" ct status dnat masquerade",
        ];
        assert_eq!(rules(&ruleset).iter().map(Rule::to_string).collect::<Vec<_>>(), expected);
        let open = Ruleset { isolated: false, ports: Vec::new(), ..ruleset };
        assert!(
            rules(&open).iter().all(|rule| rule.chain != Chain::Pools && rule.verdict != Verdict::Jump(Chain::Pools))
        );
    }
}
