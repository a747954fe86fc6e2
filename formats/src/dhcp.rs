//! DHCP as a client needs it (RFC 2131, options of RFC 2132): what it asks, and what servers answer.
//!
//! ```text
//!   0    op · htype 1 · hlen 6 · hops     4   xid           8   secs · flags
//!   12   ciaddr   16   yiaddr   20   siaddr   24   giaddr   28   chaddr
//!   44   sname, file: not read           236  63 82 53 63  240  options: code · length · bytes, …, 255
//! ```
//!
//! An answer is taken if it is ours (transaction and hardware address), and if a host can have the address that it gives:
//! what is read here is what PID 1 sets. Options that nobody asked for are passed over; one that is asked for and has
//! another length than it must have is an error. Of an option that stands twice the last counts.

use core::fmt;
use core::net::Ipv4Addr;

/// The port of servers.
pub const SERVER: u16 = 67;

/// The port of clients.
pub const CLIENT: u16 = 68;

/// Bytes of everything that a client sends; servers of old drop what is shorter.
pub const ASK_LEN: usize = 300;

/// The longest answer that is read. A client says nothing else, so no server sends more than 576 with its headers.
pub const ANSWER_MAX: usize = 576;

const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const OPTIONS: usize = 240;

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const ADDRESS: u8 = 50;
const LEASE: u8 = 51;
const KIND: u8 = 53;
const SERVER_ID: u8 = 54;
const WANTED: u8 = 55;
const END: u8 = 255;

/// Whose conversation it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Party {
    /// The transaction.
    pub xid: u32,
    /// The Ethernet address.
    pub hardware: [u8; 6],
}

/// What a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// For offers.
    Discover,
    /// For what one server has offered.
    Select {
        /// The address.
        address: Ipv4Addr,
        /// The server.
        server: Ipv4Addr,
    },
    /// For more time with an address that is in use.
    Renew {
        /// The address.
        address: Ipv4Addr,
    },
}

/// What a server gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// An address that a host can have.
    pub address: Ipv4Addr,
    /// How many bits of it name the network, 1 to 30.
    pub prefix: u8,
    /// The way to other networks, if it lies in this one.
    pub router: Option<Ipv4Addr>,
    /// Who gives it.
    pub server: Ipv4Addr,
    /// For how many seconds; [`u32::MAX`]: for ever.
    pub seconds: u32,
}

/// What a server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It would give this.
    Offer(Lease),
    /// It gives this.
    Ack(Lease),
    /// What was asked for is not to be had from this server.
    Nak(Ipv4Addr),
}

/// Why bytes are no answer to this client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// They end too early, or are no answer of DHCP over Ethernet.
    Form,
    /// It is for somebody else.
    NotOurs,
    /// An option has another length than it must have, or runs over the end.
    Option(u8),
    /// An option is missing.
    Missing(u8),
    /// A host cannot have this address in this network.
    Address(Ipv4Addr),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("this is no answer of a DHCP server"),
            Self::NotOurs => f.write_str("this answer of a DHCP server is for somebody else"),
            Self::Option(code) => write!(f, "the DHCP server sends option {code} with a length that it cannot have"),
            Self::Missing(code) => write!(f, "the DHCP server does not send option {code}"),
            Self::Address(address) => write!(f, "the DHCP server gives {address}, which no host can have"),
        }
    }
}

impl core::error::Error for Error {}

/// Writes what a client asks. Whoever has no address yet wants the answer sent to everybody.
#[must_use]
pub fn ask(party: Party, ask: Ask) -> [u8; ASK_LEN] {
    let mut bytes = [0; ASK_LEN];
    let mut at = 0;
    let mut put = |from: &[u8]| {
        bytes.iter_mut().skip(at).zip(from).for_each(|(to, byte)| *to = *byte);
        at += from.len();
    };
    let (flags, own, kind) = match ask {
        Ask::Discover => (0x80, Ipv4Addr::UNSPECIFIED, 1),
        Ask::Select { .. } => (0x80, Ipv4Addr::UNSPECIFIED, 3),
        Ask::Renew { address } => (0, address, 3),
    };
    put(&[1, 1, 6, 0]);
    put(&party.xid.to_be_bytes());
    put(&[0, 0, flags, 0]);
    put(&own.octets());
    put(&[0; 12]);
    put(&party.hardware);
    put(&[0; OPTIONS - 34 - COOKIE.len()]);
    put(&COOKIE);
    put(&[KIND, 1, kind, WANTED, 3, MASK, ROUTER, LEASE]);
    if let Ask::Select { address, server } = ask {
        put(&[ADDRESS, 4]);
        put(&address.octets());
        put(&[SERVER_ID, 4]);
        put(&server.octets());
    }
    put(&[END]);
    bytes
}

/// Reads what a server answers.
///
/// # Errors
/// [`Error`]; such bytes are to be passed over.
pub fn answer(party: Party, bytes: &[u8]) -> Result<Answer, Error> {
    let (head, options) = bytes.split_at_checked(OPTIONS).ok_or(Error::Form)?;
    if bytes.len() > ANSWER_MAX || !head.starts_with(&[2, 1, 6]) || !head.ends_with(&COOKIE) {
        return Err(Error::Form);
    }
    if field(head, 4) != Some(party.xid.to_be_bytes()) || head.get(28..34) != Some(&party.hardware) {
        return Err(Error::NotOurs);
    }
    let (mut kind, mut mask, mut router, mut server, mut seconds) = (None, None, None, None, None);
    let mut rest = options;
    loop {
        let (code, behind) = rest.split_first().ok_or(Error::Form)?;
        rest = match *code {
            0 => behind,
            END => break,
            code => {
                let wrong = Error::Option(code);
                let (length, behind) = behind.split_first().ok_or(wrong)?;
                let (value, behind) = behind.split_at_checked((*length).into()).ok_or(wrong)?;
                let four = || <[u8; 4]>::try_from(value).map_err(|_| wrong);
                match code {
                    KIND => kind = Some(<[u8; 1]>::try_from(value).map_err(|_| wrong)?),
                    MASK => mask = Some(u32::from_be_bytes(four()?)),
                    // There may be several; the first is preferred.
                    ROUTER if value.len() % 4 == 0 => router = field(value, 0).map(Ipv4Addr::from),
                    ROUTER => return Err(wrong),
                    LEASE => seconds = Some(u32::from_be_bytes(four()?)),
                    SERVER_ID => server = Some(Ipv4Addr::from(four()?)),
                    _ => {}
                }
                behind
            }
        };
    }
    let [kind] = kind.ok_or(Error::Missing(KIND))?;
    let server = server.ok_or(Error::Missing(SERVER_ID))?;
    if kind == 6 {
        return Ok(Answer::Nak(server));
    }
    let mask = mask.ok_or(Error::Missing(MASK))?;
    let seconds = seconds.ok_or(Error::Missing(LEASE))?;
    let address = Ipv4Addr::from(field(head, 16).ok_or(Error::Form)?);
    let prefix = u8::try_from(mask.leading_ones()).unwrap_or(0);
    if mask.count_ones() != mask.leading_ones() || !is_host(address, prefix) {
        return Err(Error::Address(address));
    }
    let router = router.filter(|router| *router != address && is_beside(*router, address, prefix));
    let lease = Lease { address, prefix, router, server, seconds };
    match kind {
        2 => Ok(Answer::Offer(lease)),
        5 => Ok(Answer::Ack(lease)),
        _ => Err(Error::Form),
    }
}

fn field(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The network mask of a prefix.
#[must_use]
pub fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0))
}

/// Whether a host can have this address in a network of this prefix, 1 to 30.
#[must_use]
pub fn is_host(address: Ipv4Addr, prefix: u8) -> bool {
    let host = address.to_bits() & !mask(prefix).to_bits();
    let strange = address.octets()[0] == 0 || address.is_loopback() || address.octets()[0] >= 224;
    (1..=30).contains(&prefix) && !strange && host != 0 && host != !mask(prefix).to_bits()
}

/// Whether a host can have the first address in the network of the second.
#[must_use]
pub fn is_beside(one: Ipv4Addr, other: Ipv4Addr, prefix: u8) -> bool {
    is_host(one, prefix) && (one.to_bits() ^ other.to_bits()) & mask(prefix).to_bits() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const ME: Party = Party { xid: 0x0102_0304, hardware: [2, 0, 0, 0, 0, 9] };

    fn lease() -> Lease {
        Lease {
            address: [10, 0, 2, 15].into(),
            prefix: 24,
            router: Some([10, 0, 2, 2].into()),
            server: [10, 0, 2, 2].into(),
            seconds: 86_400,
        }
    }

    /// An answer as a server writes it, with these options before the end.
    fn written(address: [u8; 4], options: &[&[u8]]) -> Vec<u8> {
        let mut bytes = std::vec![0; OPTIONS];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[4..8].copy_from_slice(&ME.xid.to_be_bytes());
        bytes[16..20].copy_from_slice(&address);
        bytes[28..34].copy_from_slice(&ME.hardware);
        bytes[236..].copy_from_slice(&COOKIE);
        options.iter().for_each(|option| bytes.extend_from_slice(option));
        bytes.push(END);
        bytes
    }

    const FROM: &[u8] = &[SERVER_ID, 4, 10, 0, 2, 2];
    const NET: &[u8] = &[MASK, 4, 255, 255, 255, 0];
    const DAY: &[u8] = &[LEASE, 4, 0, 1, 0x51, 0x80];
    const WAY: &[u8] = &[ROUTER, 8, 10, 0, 2, 2, 10, 0, 2, 3];

    #[test]
    fn what_a_server_gives_is_read_in_any_order_and_with_options_that_nobody_asked_for() {
        let ack = written([10, 0, 2, 15], &[&[KIND, 1, 5], FROM, DAY, WAY, NET]);
        assert_eq!(answer(ME, &ack), Ok(Answer::Ack(lease())));
        let offer = written([10, 0, 2, 15], &[&[0, 0, 12, 2, b'h', b'i'], NET, WAY, DAY, &[KIND, 1, 2], FROM]);
        assert_eq!(answer(ME, &offer), Ok(Answer::Offer(lease())));
        let nak = written([0; 4], &[&[KIND, 1, 6], FROM]);
        assert_eq!(answer(ME, &nak), Ok(Answer::Nak(lease().server)));
    }

    #[test]
    fn no_beginning_of_an_answer_is_one_and_none_of_somebody_else() {
        let ack = written([10, 0, 2, 15], &[&[KIND, 1, 5], FROM, DAY, WAY, NET]);
        for length in 0..ack.len() {
            assert!(answer(ME, &ack[..length]).is_err(), "{length}");
        }
        assert_eq!(answer(Party { xid: 7, ..ME }, &ack), Err(Error::NotOurs));
        assert_eq!(answer(Party { hardware: [7; 6], ..ME }, &ack), Err(Error::NotOurs));
        let own = ask(ME, Ask::Discover);
        assert_eq!(answer(ME, &own), Err(Error::Form));
        let long: Vec<u8> = ack.iter().copied().chain([0; ANSWER_MAX]).collect();
        assert_eq!(answer(ME, &long), Err(Error::Form));
    }

    #[test]
    fn an_address_that_no_host_can_have_is_refused() {
        for address in
            [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [10, 0, 2, 0], [10, 0, 2, 255]]
        {
            let ack = written(address, &[&[KIND, 1, 5], FROM, DAY, NET]);
            assert_eq!(answer(ME, &ack), Err(Error::Address(address.into())));
        }
        for mask in [[0; 4], [255; 4], [255, 255, 255, 254], [255, 0, 255, 0]] {
            let [a, b, c, d] = mask;
            let ack = written([10, 0, 2, 15], &[&[KIND, 1, 5], FROM, DAY, &[MASK, 4, a, b, c, d]]);
            assert!(matches!(answer(ME, &ack), Err(Error::Address(_))), "{mask:?}");
        }
    }

    #[test]
    fn a_router_in_another_network_is_passed_over_and_an_option_of_a_wrong_length_is_not() {
        let away: &[u8] = &[ROUTER, 4, 192, 168, 0, 1];
        let read = answer(ME, &written([10, 0, 2, 15], &[&[KIND, 1, 5], FROM, DAY, NET, away]));
        assert_eq!(read, Ok(Answer::Ack(Lease { router: None, ..lease() })));
        for wrong in [&[ROUTER, 3, 1, 2, 3][..], &[LEASE, 2, 0, 9], &[KIND, 0], &[MASK, 5, 255, 255, 255, 0, 0]] {
            let read = answer(ME, &written([10, 0, 2, 15], &[&[KIND, 1, 5], FROM, DAY, NET, wrong]));
            assert_eq!(read, Err(Error::Option(wrong[0])));
        }
    }

    #[test]
    fn only_who_has_an_address_is_answered_there() {
        let broadcast = |bytes: &[u8]| bytes[10] == 0x80;
        let discover = ask(ME, Ask::Discover);
        assert!(broadcast(&discover) && discover[12..16] == [0; 4]);
        assert_eq!(discover[236..249], [0x63, 0x82, 0x53, 0x63, KIND, 1, 1, WANTED, 3, MASK, ROUTER, LEASE, END]);
        let select = ask(ME, Ask::Select { address: lease().address, server: lease().server });
        assert!(broadcast(&select) && select[12..16] == [0; 4]);
        assert_eq!(select[248..261], [ADDRESS, 4, 10, 0, 2, 15, SERVER_ID, 4, 10, 0, 2, 2, END]);
        let renew = ask(ME, Ask::Renew { address: lease().address });
        assert!(!broadcast(&renew) && renew[12..16] == [10, 0, 2, 15]);
        assert_eq!(renew[248], END);
    }
}
