//! When the lines of a log were read: marks that lie beside it, so that the log itself is what was written and no more.
//!
//! ```text
//!   0   8   "cairnLT1"
//!   8   8   the log that it belongs to, as the device tells files apart
//!   16  8   a mark or a clock, and so on                       bits of the number:  0      24        63
//!           mark    a line begins there, and was read then              offset in the log │ time │ 0
//!           clock   whose life the marks after it are of, and when      life, 16 bits     │ began │ 1
//! ```
//!
//! Numbers are little-endian. A *time* is milliseconds since PID 1 began its *life*; *began* is when that was, in hundredths
//! of a second since 1970, and 0 while no clock was set. A device may have no clock for as long as it lives, and what it
//! counts by itself is never wrong.
//!
//! Nothing is synced, so after a power cut the end may be missing, torn or zero, and the log shorter than its marks say:
//! a mark is given up for one after it that stands before it, or at the same place. The reader takes any bytes.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

/// How a file of marks begins.
const MAGIC: &[u8; 8] = b"cairnLT1";
/// Bytes of the head.
pub const HEAD: usize = 16;
/// Bytes of an entry.
pub const ENTRY: usize = 8;
/// The longest file of marks that is read, in bytes.
pub const BYTES_MAX: usize = HEAD + ENTRY * 16 * 1024;
/// The most times that come with one piece of a log.
pub const TIMES_MAX: usize = 128;

const OFFSET_BITS: u32 = 24;
const IS_CLOCK: u64 = 1 << 63;
/// A time, and when a life began.
const TIME_MAX: u64 = (1 << 39) - 1;

/// Now, for whoever reads a log or writes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Tells this life of PID 1 from others.
    pub life: u16,
    /// Milliseconds since that began.
    pub up: u64,
    /// Milliseconds since 1970, if the clock was ever set.
    pub unix: Option<u64>,
}

impl Now {
    /// When this life began, in the unit of the file; 0 if nobody knows.
    #[must_use]
    pub fn began(&self) -> u64 {
        let began = self.unix.and_then(|unix| unix.checked_sub(self.up)).map(|began| began / 10);
        began.filter(|began| *began <= TIME_MAX).unwrap_or(0)
    }
}

/// A line of a log, and when it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Where it begins.
    pub offset: u64,
    /// In which life of PID 1.
    pub life: u16,
    /// Milliseconds since that began.
    pub up: u64,
    /// Milliseconds since 1970, as far as anybody knows.
    pub unix: Option<u64>,
}

/// From when on somebody wants to see a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Since {
    /// This life of PID 1.
    Boot,
    /// So many seconds ago.
    Ago(u64),
    /// Seconds since 1970.
    Unix(u64),
}

/// The head of the marks of this log.
#[must_use]
pub fn head(log: u64) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    let (magic, id) = bytes.split_at_mut(8);
    magic.copy_from_slice(MAGIC);
    id.copy_from_slice(&log.to_le_bytes());
    bytes
}

/// The entry of a line; `None` where it lies, or when it was, is more than an entry holds.
#[must_use]
pub fn mark(offset: u64, up: u64) -> Option<[u8; ENTRY]> {
    let fits = offset >> OFFSET_BITS == 0 && up <= TIME_MAX;
    // Nothing but zeros is what a power cut leaves.
    fits.then(|| (offset | up.max(1) << OFFSET_BITS).to_le_bytes())
}

/// The entry of a life of PID 1: [`Now::began`].
#[must_use]
pub fn clock(life: u16, began: u64) -> [u8; ENTRY] {
    (u64::from(life) | (began & TIME_MAX) << OFFSET_BITS | IS_CLOCK).to_le_bytes()
}

/// The marks of a log of this length, in the order of its lines. None, if they belong to another.
#[must_use]
pub fn read(bytes: &[u8], log: u64, length: u64) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let Some(entries) = bytes.get(..bytes.len().min(BYTES_MAX)).and_then(|bytes| bytes.strip_prefix(&head(log)[..]))
    else {
        return marks;
    };
    let (mut life, mut began) = (0, 0);
    // The first mark of this life for which no clock was set yet.
    let mut unknown = None;
    for entry in entries.chunks_exact(ENTRY) {
        let Ok(entry) = entry.try_into().map(u64::from_le_bytes) else { continue };
        let (low, time) = (entry & ((1 << OFFSET_BITS) - 1), entry >> OFFSET_BITS & TIME_MAX);
        if entry & IS_CLOCK != 0 {
            let next = u16::try_from(low & 0xffff).unwrap_or_default();
            if next == life && time != 0 {
                let first: usize = unknown.take().unwrap_or(marks.len());
                for mark in marks.iter_mut().skip(first).filter(|mark| mark.unix.is_none()) {
                    mark.unix = Some(time * 10 + mark.up);
                }
            }
            if next != life {
                unknown = None;
            }
            (life, began) = (next, time);
        } else if entry != 0 && low < length {
            while marks.last().is_some_and(|last| last.offset >= low) {
                marks.pop();
            }
            let unix = (began != 0).then(|| began * 10 + time);
            if unix.is_none() {
                unknown = unknown.filter(|first| *first <= marks.len()).or(Some(marks.len()));
            }
            marks.push(Mark { offset: low, life, up: time, unix });
        }
    }
    marks
}

/// The first mark from when on a log is wanted.
#[must_use]
pub fn first(marks: &[Mark], since: Since, now: Now) -> Option<&Mark> {
    if since == Since::Boot {
        // Two lives may have one number, but none goes back in time.
        let (mut at, mut before) = (marks.len(), now.up);
        for mark in marks.iter().rev().take_while(|mark| mark.life == now.life) {
            if mark.up > before {
                break;
            }
            (at, before) = (at.saturating_sub(1), mark.up);
        }
        return marks.get(at);
    }
    let ms = |seconds: u64| seconds.saturating_mul(1000);
    marks.iter().find(|mark| match since {
        Since::Boot => false,
        Since::Ago(seconds) if mark.life == now.life => mark.up.saturating_add(ms(seconds)) >= now.up,
        Since::Ago(seconds) => {
            mark.unix.zip(now.unix).is_some_and(|(unix, now)| unix.saturating_add(ms(seconds)) >= now)
        }
        Since::Unix(seconds) => mark.unix.is_some_and(|unix| unix >= ms(seconds)),
    })
}

impl Since {
    /// Reads what [`Display`](core::fmt::Display) writes: `boot`, `ago-600`, `at-1763805600`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| digits.parse().ok();
        let since = match (text, text.strip_prefix("ago-"), text.strip_prefix("at-")) {
            ("boot", ..) => Self::Boot,
            (_, Some(digits), _) => Self::Ago(number(digits)?),
            (.., Some(digits)) => Self::Unix(number(digits)?),
            _ => return None,
        };
        (alloc::format!("{since}") == text).then_some(since)
    }

    /// Reads what a person writes: `boot`, `90s`, `10m`, `2h`, `3d`, `2026-11-22`, `2026-11-22T10:00:00Z`.
    #[must_use]
    pub fn of_person(text: &str) -> Option<Self> {
        if text == "boot" {
            return Some(Self::Boot);
        }
        if let Some(seconds) = crate::date::parse(text) {
            return Some(Self::Unix(seconds));
        }
        let unit = text.bytes().last()?;
        let seconds: u64 = match unit {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        let digits = text.get(..text.len().checked_sub(1)?)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(seconds).map(Self::Ago)
    }
}

impl core::fmt::Display for Since {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Boot => f.write_str("boot"),
            Self::Ago(seconds) => write!(f, "ago-{seconds}"),
            Self::Unix(seconds) => write!(f, "at-{seconds}"),
        }
    }
}

/// From a byte of a piece on: when it was read, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Time {
    /// Which byte of the piece.
    pub at: u32,
    /// Since PID 1 began. `None`: nobody knows.
    pub up: Option<u64>,
    /// Since 1970, as far as anybody knows.
    pub unix: Option<u64>,
}

/// Times as one line of text: `AT/UP/UNIX,…`, with nothing in the place of what nobody knows.
#[must_use]
pub fn to_text(times: &[Time]) -> String {
    let mut text = String::new();
    for (at, time) in times.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // A `String` takes everything.
        let _ = write!(text, "{comma}{}/", time.at);
        let _ = time.up.map_or(Ok(()), |up| write!(text, "{up}"));
        text.push('/');
        let _ = time.unix.map_or(Ok(()), |unix| write!(text, "{unix}"));
    }
    text
}

/// Reads such a line; `None` if it is none, or longer than one can be.
#[must_use]
pub fn of_text(text: &str) -> Option<Vec<Time>> {
    let number = |text: &str| match text {
        "" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let mut times = Vec::new();
    for one in text.split(',').filter(|_| !text.is_empty()) {
        let mut parts = one.split('/');
        let at = parts.next()?.parse().ok()?;
        let (up, unix) = (number(parts.next()?)?, number(parts.next()?)?);
        if parts.next().is_some() || times.len() >= TIMES_MAX {
            return None;
        }
        times.push(Time { at, up, unix });
    }
    Some(times)
}

#[cfg(test)]
mod tests;
