//! A table in one transaction.
//!
//! ```text
//!   begin ▸ add table ▸ delete table ▸ add table ▸ add chains ▸ add rules ▸ end
//!           └── so that there is one to be deleted, whatever was there
//! ```

use rustix::io::Errno;
use rustix::net::netlink;

use super::rules::{CHAINS, Chain, rules};
use super::{NEEDS, Ruleset, TABLE, encode};
use crate::Error;
use crate::route::error;
use crate::socket::{Refusal, Socket};
use crate::wire::Writer;

/// `NFNL_MSG_BATCH_…`, which are for this subsystem.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
/// `NFT_MSG_…` of it.
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_CREATE`, `NLM_F_APPEND`.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// `NFPROTO_INET`
const INET: u8 = 1;
/// Messages before the first chain.
const TABLES: usize = 3;

/// Has the kernel follow this value and nothing else, in the namespace of the calling thread. If it refuses, what was
/// there stays.
///
/// The kernel waits until nobody follows the old rules any more, which takes it some milliseconds, however few they are.
/// Whoever has the value of the last time need not call this.
///
/// # Errors
/// The value contradicts itself, or the kernel lacks something.
pub fn replace(ruleset: &Ruleset) -> Result<(), Error> {
    ruleset.check()?;
    let rules = rules(ruleset);
    let mut batch = Batch::open("replace it")?;
    batch.add(NEW_TABLE, CREATE, &mut encode::table);
    batch.add(DELETE_TABLE, 0, &mut encode::table);
    batch.add(NEW_TABLE, CREATE, &mut encode::table);
    for chain in CHAINS {
        let passes = chain != Chain::Passing || ruleset.transit;
        batch.add(NEW_CHAIN, CREATE, &mut |writer| encode::chain(writer, chain, passes));
    }
    for rule in &rules {
        batch.add(NEW_RULE, CREATE | APPEND, &mut |writer| encode::rule(writer, rule));
    }
    // It is there: this changes nothing, and is acknowledged when all before it has been done.
    batch.add(NEW_TABLE, CREATE | ACKNOWLEDGE, &mut encode::table);
    batch.commit(&|at| {
        let chain = at.checked_sub(TABLES)?;
        let rule =
            chain.checked_sub(CHAINS.len()).and_then(|rule| rules.get(rule)).map(|rule| format!("rule \"{rule}\""));
        rule.or_else(|| CHAINS.get(chain).map(|chain| format!("chain {}", chain.name())))
    })
}

/// Removes the table. There may be none.
///
/// # Errors
/// The process may not, or the kernel has no nftables.
pub fn remove() -> Result<(), Error> {
    let mut batch = Batch::open("remove it")?;
    batch.add(NEW_TABLE, CREATE, &mut encode::table);
    batch.add(DELETE_TABLE, ACKNOWLEDGE, &mut encode::table);
    batch.commit(&|_| None)
}

/// Messages that the kernel obeys together or not at all.
struct Batch {
    socket: Socket,
    writer: Writer,
    /// What the whole is to do.
    doing: &'static str,
    /// The number of the message that begins it, and of that which came last.
    first: u32,
    last: u32,
}

impl Batch {
    fn open(doing: &'static str) -> Result<Self, Error> {
        let mut socket = Socket::open(Some(netlink::NETFILTER)).map_err(|errno| refused(doing, None, errno.into()))?;
        let first = socket.sequence();
        let mut batch = Self { socket, writer: Writer::new(), doing, first, last: first };
        batch.edge(BEGIN, first);
        Ok(batch)
    }

    fn add(&mut self, kind: u16, flags: u16, fill: &mut dyn FnMut(&mut Writer)) {
        self.last = self.socket.sequence();
        let open = self.writer.begin(kind, REQUEST | flags, self.last);
        // `struct nfgenmsg`
        self.writer.raw(&[INET, 0, 0, 0]);
        fill(&mut self.writer);
        self.writer.end(open);
    }

    fn edge(&mut self, kind: u16, sequence: u32) {
        let open = self.writer.begin(kind, REQUEST, sequence);
        let [high, low] = SUBSYSTEM.to_be_bytes();
        self.writer.raw(&[0, 0, high, low]);
        self.writer.end(open);
    }

    /// Has the kernel obey. `about` says what a message was about that it refused, by its place among those added.
    fn commit(mut self, about: &dyn Fn(usize) -> Option<String>) -> Result<(), Error> {
        let end = self.socket.sequence();
        self.edge(END, end);
        self.socket.exchange(self.writer, self.first, self.last, &mut |_| Ok(())).map_err(|refusal| {
            let at = refusal.sequence.checked_sub(self.first).and_then(|at| at.checked_sub(1));
            let about = at.and_then(|at| usize::try_from(at).ok()).and_then(about);
            refused(self.doing, about, refusal)
        })
    }
}

fn refused(doing: &'static str, about: Option<String>, refusal: Refusal) -> Error {
    let object = match about {
        Some(about) => format!("nftables, table inet {TABLE}, {about}"),
        None => format!("nftables, table inet {TABLE}"),
    };
    // Of an expression or a kind of chain that it does not have the kernel says that it does not find it.
    let is_missing = refusal.errno == Errno::NOENT;
    let error = error(object, doing, NEEDS, refusal);
    if is_missing { Error { needs: NEEDS, ..error } } else { error }
}
