//! The bytes of netlink, both ways. All numbers are the machine's own unless a family says otherwise.
//!
//! ```text
//!   message    u32 length · u16 kind · u16 flags · u32 sequence · u32 port · payload      next begins at a multiple of 4
//!   payload    a fixed head of the kind, then attributes
//!   attribute  u16 length, of these four bytes too · u16 kind, its two highest bits are flags · value, padded to 4
//! ```
//!
//! A reader never goes beyond what it was given, and ends: each message and attribute is at least as long as its head.

use std::fmt;

/// The head of a message, in bytes.
pub const HEAD: usize = 16;
/// The head of an attribute, in bytes.
const ATTRIBUTE: usize = 4;
/// That an attribute has attributes in it, and that its value is in network order.
const FLAGS: u16 = 0xC000;
const NESTED: u16 = 0x8000;

/// The most that is kept of what the kernel says in words, in bytes.
const WORDS_MAX: usize = 160;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_CAPPED`: an answer has only the head of the request in it. `NLM_F_ACK_TLVS`: attributes follow that.
const CAPPED: u16 = 0x100;
const HAS_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`
const WORDS: u16 = 1;

/// What the kernel sent is cut off, or not of the form above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a netlink message ends before its end")
    }
}

impl std::error::Error for Malformed {}

/// Messages to be sent, one after the other.
#[derive(Clone, Default, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    too_long: bool,
}

/// Where an attribute began that is not complete.
#[must_use]
#[derive(Debug)]
pub struct Open(usize);

impl Writer {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a message; [`Self::end`] completes it.
    pub fn begin(&mut self, kind: u16, flags: u16, sequence: u32) -> Open {
        let open = Open(self.bytes.len());
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&sequence.to_ne_bytes());
        // The port is the socket's own, which the kernel knows.
        self.raw(&[0; 4]);
        open
    }

    /// Completes a message.
    pub fn end(&mut self, open: Open) {
        let length = u32::try_from(self.bytes.len().saturating_sub(open.0));
        self.patch(open.0, &length.unwrap_or(0).to_ne_bytes());
        self.pad();
    }

    /// Bytes as they are: the fixed head of a kind.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An attribute with its value.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let open = self.nest(kind & !FLAGS);
        self.raw(value);
        self.close(open);
    }

    /// An attribute with a text, which ends with a NUL.
    pub fn text(&mut self, kind: u16, text: &str) {
        let open = self.nest(kind & !FLAGS);
        self.raw(text.as_bytes());
        self.raw(&[0]);
        self.close(open);
    }

    /// Begins an attribute that has attributes in it; [`Self::close`] completes it.
    pub fn list(&mut self, kind: u16) -> Open {
        self.nest(kind & !FLAGS | NESTED)
    }

    fn nest(&mut self, kind: u16) -> Open {
        let open = Open(self.bytes.len());
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        open
    }

    /// Completes an attribute.
    pub fn close(&mut self, open: Open) {
        match u16::try_from(self.bytes.len().saturating_sub(open.0)) {
            Ok(length) => self.patch(open.0, &length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        self.pad();
    }

    /// The bytes; `None` if an attribute is longer than its length can say.
    #[must_use]
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.too_long).then_some(self.bytes)
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message that the kernel sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Its kind.
    pub kind: u16,
    /// `NLM_F_…`
    pub flags: u16,
    /// That of the request which it answers.
    pub sequence: u32,
    /// Behind its head.
    pub payload: &'a [u8],
}

/// What a message says about a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// A part of the answer.
    Part(&'a [u8]),
    /// The answer ends, or the request was carried out: zero. Otherwise what is wrong, as a positive number, and what
    /// the kernel says about it in words.
    End(i32, &'a str),
}

impl<'a> Message<'a> {
    /// What it says.
    ///
    /// # Errors
    /// It is too short for its kind.
    pub fn answer(&self) -> Result<Answer<'a>, Malformed> {
        match self.kind {
            // Without a payload in kernels that never fail in the middle of a list.
            DONE if self.payload.is_empty() => Ok(Answer::End(0, "")),
            DONE => {
                let (error, rest) = number(self.payload)?;
                Ok(Answer::End(error, if self.flags & HAS_ATTRIBUTES == 0 { "" } else { words(rest)? }))
            }
            ERROR => {
                let (error, request) = number(self.payload)?;
                if self.flags & HAS_ATTRIBUTES == 0 {
                    return Ok(Answer::End(error, ""));
                }
                let head = request.first_chunk::<4>().ok_or(Malformed)?;
                let length = if self.flags & CAPPED == 0 { u32::from_ne_bytes(*head) } else { HEAD as u32 };
                let length = usize::try_from(length).map_err(|_| Malformed)?.checked_next_multiple_of(4);
                let rest = request.get(length.ok_or(Malformed)?..).ok_or(Malformed)?;
                Ok(Answer::End(error, words(rest)?))
            }
            _ => Ok(Answer::Part(self.payload)),
        }
    }
}

/// A negative error number, as a positive one, and what follows.
fn number(payload: &[u8]) -> Result<(i32, &[u8]), Malformed> {
    let (number, rest) = payload.split_first_chunk::<4>().ok_or(Malformed)?;
    Ok((i32::from_ne_bytes(*number).checked_neg().ok_or(Malformed)?, rest))
}

fn words(bytes: &[u8]) -> Result<&str, Malformed> {
    for attribute in attributes(bytes) {
        let (kind, value) = attribute?;
        if kind == WORDS {
            return Ok(text(value.get(..value.len().min(WORDS_MAX)).unwrap_or_default()));
        }
    }
    Ok("")
}

/// A text up to its NUL, as far as it is one.
#[must_use]
pub fn text(value: &[u8]) -> &str {
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    str::from_utf8(value).unwrap_or_default()
}

/// The messages of a packet, up to the first that is malformed.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    Parts { rest: bytes, next: message }
}

/// The attributes of a payload behind its fixed head, with their kinds, up to the first that is malformed.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    Parts { rest: bytes, next: attribute }
}

/// A part and what is behind it.
type Read<'a, T> = Result<(T, &'a [u8]), Malformed>;

/// What is read of bytes, and how: one part after the other.
struct Parts<'a, T> {
    rest: &'a [u8],
    next: fn(&'a [u8]) -> Read<'a, T>,
}

impl<T> Iterator for Parts<'_, T> {
    type Item = Result<T, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = (self.next)(self.rest);
        self.rest = read.as_ref().map_or(&[], |(_, rest)| *rest);
        Some(read.map(|(part, _)| part))
    }
}

fn message(bytes: &[u8]) -> Read<'_, Message<'_>> {
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *bytes.first_chunk::<HEAD>().ok_or(Malformed)?;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).map_err(|_| Malformed)?;
    let (payload, rest) = cut(bytes, length, HEAD)?;
    let [kind, flags] = [[k0, k1], [f0, f1]].map(u16::from_ne_bytes);
    Ok((Message { kind, flags, sequence: u32::from_ne_bytes([s0, s1, s2, s3]), payload }, rest))
}

fn attribute(bytes: &[u8]) -> Read<'_, (u16, &[u8])> {
    let [l0, l1, k0, k1] = *bytes.first_chunk::<ATTRIBUTE>().ok_or(Malformed)?;
    let (value, rest) = cut(bytes, u16::from_ne_bytes([l0, l1]).into(), ATTRIBUTE)?;
    Ok(((u16::from_ne_bytes([k0, k1]) & !FLAGS, value), rest))
}

/// What is behind the head of a part of this length, and what is behind the part. The last may lack its padding.
fn cut(bytes: &[u8], length: usize, head: usize) -> Read<'_, &[u8]> {
    let value = bytes.get(head..length).ok_or(Malformed)?;
    let padded = length.checked_next_multiple_of(4).ok_or(Malformed)?;
    Ok((value, bytes.get(padded..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to a request with an error, words about it, and what comes before those.
    fn refusal(flags: u16, error: i32, request: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        let open = writer.begin(ERROR, flags | HAS_ATTRIBUTES, 7);
        writer.raw(&error.to_ne_bytes());
        writer.raw(request);
        writer.attribute(2, &[0; 4]);
        writer.text(WORDS, "Unknown device type");
        writer.end(open);
        writer.finish().unwrap()
    }

    #[test]
    fn what_the_kernel_says_in_words_is_found_behind_the_request_however_much_of_that_it_sends_back() {
        let mut request = Writer::new();
        let open = request.begin(16, 5, 7);
        request.raw(&[9; 22]);
        request.end(open);
        let request = request.finish().unwrap();
        for bytes in [refusal(CAPPED, -95, &request[..HEAD]), refusal(0, -95, &request)] {
            let all: Vec<_> = messages(&bytes).collect::<Result<_, _>>().unwrap();
            assert_eq!(all.iter().map(|message| message.sequence).collect::<Vec<_>>(), [7]);
            assert_eq!(all[0].answer(), Ok(Answer::End(95, "Unknown device type")));
        }
    }

    #[test]
    fn what_is_cut_off_anywhere_is_malformed_and_nothing_is_read_beyond_it() {
        let whole = refusal(CAPPED, -1, &[0; HEAD]);
        for length in 1..whole.len() {
            let read: Result<Vec<_>, _> = messages(&whole[..length]).collect();
            assert_eq!(read, Err(Malformed), "{length}");
        }
        // Lengths that lie: of nothing, of less than a head, of more than there is.
        for length in [0_u32, 15, whole.len() as u32 + 1, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&bytes).collect::<Vec<_>>(), [Err(Malformed)], "{length}");
        }
        assert_eq!(attributes(&[3, 0, 1, 0]).collect::<Vec<_>>(), [Err(Malformed)]);
    }

    #[test]
    fn an_attribute_that_is_too_long_for_its_length_is_not_sent_cut_off() {
        let mut writer = Writer::new();
        writer.attribute(1, &[0; 0xFFFF]);
        assert_eq!(writer.finish(), None);
    }
}
