//! Links of the device that a container has for a while, and how they come home.
//!
//! ```text
//!   device               eth1 ──lend──▶ container's: lan0      alias: cairn eth1 1500 52:54:00:12:34:56
//!   the container ends,  eth1 ◀─take_back── lan0               by whoever holds its namespace
//!   whoever held it has  lan0 or dev7, as the kernel calls a link that a namespace has left behind
//!   ended with it        eth1 ◀─come_home── by its alias
//! ```
//!
//! What a link was at home stands in its alias (`IFLA_IFALIAS`), which goes wherever the link goes and which the kernel alone
//! keeps: nothing else has to survive for it to come home.

use std::fmt;
use std::str::FromStr;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::{Inside, LINK_MAC, LINK_MTU, LINK_NAME, LINK_NAMESPACE, Link, NEW_LINK, Route, error, number_of};
use super::{link_change, link_head};
use crate::Error;
use crate::names::{Mac, Name};

/// `IFLA_IFALIAS`
pub(super) const LINK_ALIAS: u16 = 20;
/// How an alias begins that was made here.
const MARK: &str = "cairn";

/// What a link is at home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Home {
    /// Its name.
    pub name: Name,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Its Ethernet address, if it has one.
    pub mac: Option<Mac>,
}

impl Route {
    /// Gives a link to another namespace, to have it back: it remembers what it was. Gives its number there.
    ///
    /// # Errors
    /// As for [`Self::give`].
    pub fn lend(&mut self, name: &Name, inside: &Inside<'_>, there: &mut Self) -> Result<(u32, Home), Error> {
        let link = self.known("link", name, "give it to a container")?;
        let home = Home { name: name.clone(), mtu: link.mtu, mac: link.mac.and_then(Mac::new) };
        self.alias(&link, &home.to_string())?;
        let lent = self.give(name, inside);
        if lent.is_err() {
            // What it was says the error that is told.
            let _ = self.alias(&link, "");
        }
        lent?;
        Ok((there.known("link", inside.name, "find it in its container")?.index, home))
    }

    /// Called on the namespace that it was lent to: gives a link back, down, and as it was.
    ///
    /// # Errors
    /// It is not there, or a link at home has its name by now; then it is there under another.
    pub fn take_back(&mut self, index: u32, home: &Home, to: BorrowedFd<'_>, at_home: &mut Self) -> Result<(), Error> {
        let object = format!("link {}", home.name);
        let doing = "take it back from a container";
        let Some(link) = self.by_index(index)? else {
            return Err(error(&object, doing, "", Errno::NODEV.into()));
        };
        let give = |route: &mut Self, name: &str| {
            route.order((NEW_LINK, 0), &object, doing, "", &mut |writer| {
                writer.raw(&link_head(link.index, 0));
                writer.text(LINK_NAME, name);
                writer.attribute(LINK_NAMESPACE, &number_of(to));
            })
        };
        if let Err(refused) = give(self, home.name.as_str()) {
            // By now it may be there, under the name that it has: the kernel moves first. Better under any than left to chance;
            // by its alias it has its own again when that is free.
            let is_here = self.by_index(index)?.is_some();
            let moved =
                if is_here && refused.errno == Errno::EXIST { give(self, &format!("back{index}")) } else { Ok(()) };
            return moved.and(Err(refused));
        }
        let back = at_home.known("link", &home.name, doing)?;
        at_home.restore(&back, home)
    }

    /// Links of this namespace that were lent and were left behind by the kernel have their names back.
    ///
    /// # Errors
    /// The first link that cannot be what it was; the others are.
    pub fn come_home(&mut self) -> Result<(), Error> {
        let mut done = Ok(());
        let links = self.links()?;
        for link in &links {
            let Ok(home) = link.alias.parse::<Home>() else { continue };
            done = done.and(self.restore(link, &home));
        }
        done
    }

    /// Has a link of this namespace be what it was at home.
    fn restore(&mut self, link: &Link, home: &Home) -> Result<(), Error> {
        let object = format!("link {}, {} at home", link.name, home.name);
        let doing = "make it what it was";
        if link.is_up() && link.name != home.name.as_str() {
            // One that is up cannot be renamed.
            self.order((NEW_LINK, 0), &object, doing, "", &mut |writer| {
                writer.raw(&link_change(link.index, 0, super::UP));
            })?;
        }
        self.order((NEW_LINK, 0), &object, doing, "", &mut |writer| {
            writer.raw(&link_head(link.index, 0));
            if link.name != home.name.as_str() {
                writer.text(LINK_NAME, home.name.as_str());
            }
            if link.mtu != home.mtu {
                writer.attribute(LINK_MTU, &home.mtu.to_ne_bytes());
            }
            if let Some(mac) = home.mac.map(Mac::octets).filter(|mac| link.mac != Some(*mac)) {
                writer.attribute(LINK_MAC, &mac);
            }
        })?;
        self.alias(link, "")
    }

    fn alias(&mut self, link: &Link, text: &str) -> Result<(), Error> {
        let object = format!("link {}", link.name);
        self.order((NEW_LINK, 0), &object, "note what it is at home", "", &mut |writer| {
            writer.raw(&link_head(link.index, 0));
            writer.attribute(LINK_ALIAS, text.as_bytes());
        })
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK} {} {}", self.name, self.mtu)?;
        self.mac.map_or(Ok(()), |mac| write!(f, " {mac}"))
    }
}

impl FromStr for Home {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let (mark, name, mtu) = (words.next(), words.next().ok_or(())?, words.next().ok_or(())?);
        let mac = words.next().map(str::parse).transpose().map_err(|_: Error| ())?;
        let plain = mtu.bytes().all(|digit| digit.is_ascii_digit()) && words.next().is_none() && mark == Some(MARK);
        let home = Self { name: name.parse().map_err(|_: Error| ())?, mtu: mtu.parse().map_err(|_| ())?, mac };
        if plain { Ok(home) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_is_at_home_reads_back_and_an_alias_of_somebody_else_is_none() {
        for text in ["cairn eth1 1500 52:54:00:12:34:56", "cairn can0 72"] {
            assert_eq!(text.parse::<Home>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "uplink",
            "cairn",
            "cairn eth1",
            "cairn eth1 +1",
            "cairn eth1 x",
            "cairn e/1 1500",
            "Cairn eth1 1500",
            "cairn eth1 1500 52:54",
            "cairn eth1 1500 52:54:00:12:34:56 x",
            "cairn  eth1 1500",
        ] {
            assert_eq!(text.parse::<Home>(), Err(()), "{text:?}");
        }
    }
}
