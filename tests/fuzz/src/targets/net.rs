//! What the kernel says about networks, and how people write addresses.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use ::net::wire::{Answer, Malformed, Writer, attributes, messages};
use ::net::{Cidr, Home, Mac, Name, route};

type Attributes<'a> = Vec<(u16, &'a [u8])>;

pub(crate) fn packet(bytes: &[u8]) {
    // Up to the first that is malformed, all of them count.
    let read: Vec<_> = messages(bytes).map_while(Result::ok).collect();
    let mut writer = Writer::new();
    for message in &read {
        let open = writer.begin(message.kind, message.flags, message.sequence);
        writer.raw(message.payload);
        writer.end(open);
        if let Ok(Answer::End(_, words)) = message.answer() {
            assert!(words.len() <= message.payload.len() && !words.contains('\0'));
        }
        for head in [0, 4, 8, 16] {
            let behind = message.payload.get(head..).unwrap_or_default();
            same_attributes(behind);
        }
        let _ = route::address(message.payload);
        if let Ok(link) = route::link(message.payload) {
            assert!(!link.name.contains('\0') && link.name.len() + link.kind.len() <= message.payload.len());
        }
    }
    let written = writer.finish().expect("no attribute was written");
    assert_eq!(messages(&written).collect::<Result<Vec<_>, Malformed>>().as_deref(), Ok(&read[..]));
}

fn same_attributes(bytes: &[u8]) {
    let Ok(read) = attributes(bytes).collect::<Result<Attributes<'_>, Malformed>>() else { return };
    let mut writer = Writer::new();
    read.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
    let written = writer.finish().expect("each was as long as its length says");
    assert_eq!(attributes(&written).collect::<Result<Attributes<'_>, Malformed>>(), Ok(read));
}

pub(crate) fn addressing(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    shown_as_read::<Name>(text);
    shown_as_read::<Mac>(text);
    shown_as_read::<Cidr>(text);
    if let Ok(home) = text.parse::<Home>() {
        assert_eq!(home.to_string().parse(), Ok(home));
    }
    if let Ok(cidr) = text.parse::<Cidr>() {
        assert!(cidr.contains(cidr.address()) && cidr.contains(cidr.network().address()));
        assert_eq!(cidr.network(), cidr.network().network());
    }
}

fn shown_as_read<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(read) => assert_eq!(read.to_string().parse::<T>().ok().as_ref(), Some(&read)),
        // Of hostile text, an error shows one line that is not endless.
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.len() < 1024 && !shown.contains('\n'), "{shown}");
        }
    }
}
