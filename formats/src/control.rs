//! The frames between PID 1 and its unprivileged helper `front`, which speaks HTTP with containers and people.
//!
//! ```text
//!   container ── HTTP ──▶ front ── Ask ───────▶ PID 1        one packet each, at most FRAME_MAX bytes,
//!                               ◀── Tell ──────              postcard, not one byte after it
//! ```
//!
//! A socket pair of kind `SOCK_SEQPACKET` carries them, so a frame is a packet and needs no length. Both ends are one
//! program, so the frames have no version. PID 1 takes an `Ask` for what it is: bounded data from a process that may be
//! in the hands of somebody else. It answers each with one [`Tell::Answer`] of the same number, in any order.
//!
//! Two calls come with descriptors: [`Call::Execute`] with ends of pipes that the caller has made, see [`program`];
//! [`Call::Attach`] with a socket, see [`console`].
//!
//! Nothing is streamed: what is longer than a frame is read and written piece by piece ([`Call::ReadObject`],
//! [`Call::Put`]), each piece asked for. So neither side ever holds more than a frame of the other's.
//!
//! Words for people (statuses, goals) travel as the text that tools show; who decides by them has the types.

pub mod console;
pub mod program;
mod view;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use statemachine::ids::RevisionId;

use crate::metadata::{self, Metadata};
use crate::object::ObjectId;
use crate::pairing::{Secret, TokenHash};

pub use program::Program;
pub use view::{
    ContainerView, DaemonView, DeviceView, DriverView, GroupView, InspectView, InterfaceView, LawView, LogFrom,
    LogPiece, LogPlace, NetworkView, ObjectView, PairingView, PressureView, RecoveryView, StepView, UpdateView,
    UsageView,
};

/// The largest frame in bytes.
pub const FRAME_MAX: usize = 96 * 1024;

/// The most bytes of an object or a state in one frame.
pub const PIECE_MAX: usize = 64 * 1024;

/// The most entries of a list in one answer; the next page begins after the last one.
pub const PAGE_MAX: usize = 256;

/// The longest text of a caller in a call: a commit message, an action, the type of a signal.
pub const TEXT_MAX: usize = 256;

/// Who speaks, as the socket on which it did tells. Of the request itself comes one thing: the hash of a token.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Caller {
    /// A program in the device's own namespaces.
    Device,
    /// A container, through its own socket.
    Container(String),
    /// Somebody on the network, through the endpoint, with the token that was presented.
    Network(Option<TokenHash>),
}

impl Call {
    /// Whether descriptors come with it.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        matches!(self, Self::Execute(_) | Self::Attach { .. })
    }
}

/// What `front` asks of PID 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Comes back with the answer.
    pub id: u32,
    /// On whose behalf.
    pub caller: Caller,
    /// What.
    pub call: Call,
}

/// What PID 1 tells `front`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Tell {
    /// One socket comes with this packet (`SCM_RIGHTS`), bound and listening: serve it.
    Listen(Listener),
    /// Serve it no longer.
    Close(Listener),
    /// The answer to the [`Ask`] of this number.
    Answer {
        /// Its number.
        id: u32,
        /// What came of it.
        result: Result<Reply, Refused>,
    },
}

/// A listening socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Listener {
    /// `pv-ctrl`, a UNIX socket of this caller alone.
    Control(Caller),
    /// The endpoint for `pvr`, a TCP socket.
    Endpoint,
}

/// A piece of work for PID 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// [`Reply::Device`]
    Device,
    /// [`Reply::Containers`]
    Containers,
    /// [`Reply::Groups`]
    Groups,
    /// [`Reply::Daemons`]
    Daemons,
    /// Start, stop or restart a container. [`Reply::Done`]: it was accepted.
    ActOnContainer {
        /// Which.
        name: String,
        /// What is done with it.
        action: Action,
    },
    /// Start, stop or restart a helper.
    ActOnDaemon {
        /// Which.
        name: String,
        /// What is done with it.
        action: Action,
    },
    /// The calling container says this about itself: `ready`.
    Signal {
        /// The type of the signal.
        kind: String,
    },
    /// [`Reply::Drivers`]: those that the calling container declares.
    Drivers,
    /// Load, or give up, what the calling container has declared as manual.
    ActOnDrivers {
        /// One of them; `None` is all.
        name: Option<String>,
        /// Load it.
        load: bool,
    },
    /// [`Reply::Objects`], sorted, after this one.
    Objects {
        /// The last of the page before.
        after: Option<ObjectId>,
    },
    /// [`Reply::Piece`]
    ReadObject {
        /// Which.
        id: ObjectId,
        /// Where the piece starts.
        offset: u64,
    },
    /// Whether an object is here: [`Reply::Size`], or [`Status::NotFound`].
    SizeOfObject(ObjectId),
    /// An upload begins: [`Reply::Upload`], or [`Reply::Done`] if it is here already.
    Begin {
        /// What.
        what: Upload,
        /// Its size in bytes.
        size: u64,
    },
    /// The next piece of an upload, in order.
    Put {
        /// The number that [`Reply::Upload`] gave.
        upload: u32,
        /// At most [`PIECE_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// All pieces are here: check it and put it in its place.
    Finish {
        /// Which upload.
        upload: u32,
    },
    /// Forget the upload.
    Abandon {
        /// Which upload.
        upload: u32,
    },
    /// [`Reply::Steps`], sorted by name, after this one.
    Steps {
        /// The last of the page before.
        after: Option<RevisionId>,
    },
    /// The state of a revision: [`Reply::Piece`]. `None` is what runs.
    ReadStep {
        /// Which.
        revision: Option<RevisionId>,
        /// Where the piece starts.
        offset: u64,
    },
    /// [`Reply::Text`]: the progress document.
    Progress(RevisionId),
    /// Keep what the maker of a revision says about it.
    SetMessage {
        /// Which.
        revision: RevisionId,
        /// At most [`TEXT_MAX`] bytes.
        message: String,
    },
    /// Go to a revision that is here, or that an upload has brought. [`Reply::Done`]: it was accepted.
    Run {
        /// Which.
        revision: RevisionId,
        /// Also if its content was tried before and found bad.
        retry: bool,
    },
    /// Go back to the previous revision.
    Rollback,
    /// End this boot, and begin another.
    Reboot,
    /// End this boot.
    PowerOff,
    /// Remove what no root names: [`Reply::Reclaimed`].
    Collect,
    /// Write journal and boot cells once more as they are, and read them back: [`Reply::Laws`].
    Rewrite,
    /// Whether the caller may go on, asked before a long body is read. [`Reply::Done`]
    Enter,
    /// Make a code by which somebody on the network can be paired: [`Reply::Code`].
    OfferPairing,
    /// [`Reply::Pairings`]
    Pairings,
    /// Forget a pairing.
    Unpair {
        /// Its fingerprint, or its name if no other has it.
        who: String,
    },
    /// Somebody on the network says the code: [`Reply::Token`].
    Pair {
        /// What was typed, at most [`TEXT_MAX`] bytes.
        code: Secret,
        /// What the caller is called.
        name: String,
    },
    /// Forget the pairing of the token that the caller presents.
    Leave,
    /// Start a program in a container that runs: [`Reply::Program`]. Descriptors come with the packet.
    Execute(Box<Program>),
    /// Attach the caller to the console of a container that runs, until one of both ends. A descriptor comes with the packet.
    Attach {
        /// Which.
        name: String,
    },
    /// What one container is and may do: [`Reply::Inspected`].
    Inspect {
        /// Which.
        name: String,
    },
    /// What a container has written: [`Reply::Log`].
    ReadLog {
        /// Which.
        name: String,
        /// Where it begins.
        from: LogFrom,
        /// Whether it is to come with its times.
        timed: bool,
    },
    /// [`Reply::Metadata`], sorted, after this key.
    Metadata {
        /// Whose.
        of: Metadata,
        /// The last of the page before.
        after: Option<String>,
    },
    /// Keep a value.
    SetMetadata {
        /// Whose.
        of: Metadata,
        /// Under which key.
        key: String,
        /// At most [`metadata::VALUE_MAX`] bytes.
        value: String,
    },
    /// Forget a value.
    RemoveMetadata {
        /// Whose.
        of: Metadata,
        /// Under which key.
        key: String,
    },
    /// Send a signal to a program that was started so.
    SignalProgram {
        /// The number that [`Reply::Program`] gave.
        program: u32,
        /// Its number.
        signal: u8,
    },
}

/// What is done with a container or a helper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Up.
    Start,
    /// Down, until it is started again.
    Stop,
    /// Down and up.
    Restart,
}

impl Action {
    /// Reads the word of the REST interface.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Restart].into_iter().find(|action| action.word() == word)
    }

    /// The word of the REST interface.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// What is uploaded.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Upload {
    /// An object; its bytes must have this name as their hash.
    Object(ObjectId),
    /// The state of a revision of this name, which must verify, fit the device, and have all its objects here.
    State(RevisionId),
}

/// What PID 1 answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done, or has begun.
    Done,
    /// The device.
    Device(Box<DeviceView>),
    /// Its containers.
    Containers(Vec<ContainerView>),
    /// Its groups, in the order of starting.
    Groups(Vec<GroupView>),
    /// Its helpers.
    Daemons(Vec<DaemonView>),
    /// Drivers of a container.
    Drivers(Vec<DriverView>),
    /// A page of objects; fewer than [`PAGE_MAX`] are the last.
    Objects(Vec<ObjectView>),
    /// A page of revisions; fewer than [`PAGE_MAX`] are the last.
    Steps(Vec<StepView>),
    /// A piece: empty behind the end.
    Piece {
        /// At most [`PIECE_MAX`] bytes.
        bytes: Vec<u8>,
        /// The size of the whole in bytes.
        size: u64,
    },
    /// A size in bytes.
    Size(u64),
    /// The number of a new upload.
    Upload(u32),
    /// A document as text.
    Text(String),
    /// Bytes that were set free.
    Reclaimed(u64),
    /// What was tried.
    Laws(Vec<LawView>),
    /// A code for a person.
    Code {
        /// Its characters.
        code: Secret,
        /// Seconds for which it is valid.
        seconds: u16,
    },
    /// Who is paired.
    Pairings(Vec<PairingView>),
    /// The token of a new pairing.
    Token(Secret),
    /// One container.
    Inspected(Box<InspectView>),
    /// A piece of a log; empty at its end.
    Log(LogPiece),
    /// A page of metadata: keys and values. An empty one is the last.
    Metadata(Vec<(String, String)>),
    /// The number of a program that is on its way; how it ends is told where it was asked to be.
    Program(u32),
}

/// A call that was not followed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// What kind of refusal.
    pub status: Status,
    /// For the person who asked; it names the thing and what to do.
    pub message: String,
    /// Seconds after which it is worth asking again.
    pub retry_after: Option<u16>,
}

impl Refused {
    /// A refusal for which waiting is of no use.
    #[must_use]
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The kinds of refusal, each with its number in HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Status {
    /// The call makes no sense.
    BadRequest,
    /// The caller has to say who it is.
    Unauthorized,
    /// The caller may not.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// Not as things are.
    Conflict,
    /// The content is not good.
    Unprocessable,
    /// The caller has tried too often.
    TooMany,
    /// The device could not.
    Internal,
    /// Not now.
    Unavailable,
    /// No room.
    NoSpace,
}

impl Status {
    /// The status code of HTTP.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Unprocessable => 422,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::NoSpace => 507,
        }
    }
}

/// Why a packet is not a frame, or a value does not fit into one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// More than [`FRAME_MAX`] bytes.
    Size(usize),
    /// Not one frame of this program.
    Bytes,
    /// A text or a list is longer than a frame may have.
    Bound,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(bytes) => write!(f, "the frame has {bytes} bytes, at most {FRAME_MAX} fit"),
            Self::Bytes => f.write_str("the packet is not one frame of this program"),
            Self::Bound => f.write_str("a text or a piece in the frame is longer than it may be"),
        }
    }
}

impl core::error::Error for FrameError {}

/// A value as one packet.
///
/// # Errors
/// [`FrameError::Size`]
pub fn encode<T: Serialize>(frame: &T) -> Result<Vec<u8>, FrameError> {
    let bytes = postcard::to_allocvec(frame).map_err(|_| FrameError::Bytes)?;
    if bytes.len() > FRAME_MAX { Err(FrameError::Size(bytes.len())) } else { Ok(bytes) }
}

/// Reads an [`Ask`]. Texts and pieces are within their bounds.
///
/// # Errors
/// [`FrameError`]
pub fn decode_ask(packet: &[u8]) -> Result<Ask, FrameError> {
    let ask: Ask = decode(packet)?;
    let within = match &ask.call {
        Call::Put { bytes, .. } => bytes.len() <= PIECE_MAX,
        Call::ActOnContainer { name: text, .. }
        | Call::ActOnDaemon { name: text, .. }
        | Call::ActOnDrivers { name: Some(text), .. }
        | Call::Attach { name: text }
        | Call::Inspect { name: text }
        | Call::ReadLog { name: text, .. }
        | Call::Signal { kind: text }
        | Call::SetMessage { message: text, .. }
        | Call::Metadata { after: Some(text), .. }
        | Call::RemoveMetadata { key: text, .. }
        | Call::Unpair { who: text } => text.len() <= TEXT_MAX,
        Call::SetMetadata { key, value, .. } => key.len() <= TEXT_MAX && value.len() <= metadata::VALUE_MAX,
        Call::Execute(program) => program.container.len() <= TEXT_MAX && program.check().is_ok(),
        Call::Pair { code, name } => code.expose().len() <= TEXT_MAX && name.len() <= TEXT_MAX,
        _ => true,
    };
    if within { Ok(ask) } else { Err(FrameError::Bound) }
}

/// Reads a [`Tell`].
///
/// # Errors
/// [`FrameError`]
pub fn decode_tell(packet: &[u8]) -> Result<Tell, FrameError> {
    decode(packet)
}

fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<T, FrameError> {
    if packet.len() > FRAME_MAX {
        return Err(FrameError::Size(packet.len()));
    }
    match postcard::take_from_bytes(packet) {
        Ok((frame, [])) => Ok(frame),
        _ => Err(FrameError::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn ask(call: Call) -> Ask {
        Ask { id: 7, caller: Caller::Container("web".into()), call }
    }

    #[test]
    fn what_is_asked_is_what_is_heard() {
        let ask = ask(Call::Put { upload: 3, bytes: vec![1; PIECE_MAX] });
        assert_eq!(decode_ask(&encode(&ask).unwrap()), Ok(ask));
    }

    #[test]
    fn a_packet_is_one_frame_and_nothing_after_it() {
        let mut packet = encode(&ask(Call::Device)).unwrap();
        packet.push(0);
        assert_eq!(decode_ask(&packet), Err(FrameError::Bytes));
        assert_eq!(decode_ask(&[]), Err(FrameError::Bytes));
    }

    #[test]
    fn a_piece_or_a_text_beyond_its_bound_is_refused() {
        let long = ask(Call::Put { upload: 3, bytes: vec![1; PIECE_MAX + 1] });
        assert_eq!(decode_ask(&encode(&long).unwrap()), Err(FrameError::Bound));
        let long = ask(Call::Signal { kind: "x".repeat(TEXT_MAX + 1) });
        assert_eq!(decode_ask(&encode(&long).unwrap()), Err(FrameError::Bound));
    }

    #[test]
    fn no_code_and_no_token_is_shown_by_what_carries_it() {
        let code = Secret::new("ABCD2345");
        let shown = alloc::format!(
            "{:?} {:?} {:?} {:?}",
            ask(Call::Pair { code: code.clone(), name: "me".into() }),
            Reply::Code { code: code.clone(), seconds: 300 },
            Reply::Token(code.clone()),
            Caller::Network(Some(TokenHash::of(code.expose()))),
        );
        assert!(!shown.contains("ABCD2345"), "{shown}");
        let pair = ask(Call::Pair { code, name: "me".into() });
        assert_eq!(decode_ask(&encode(&pair).unwrap()), Ok(pair));
        let long = ask(Call::Pair { code: Secret::new("x".repeat(TEXT_MAX + 1)), name: "me".into() });
        assert_eq!(decode_ask(&encode(&long).unwrap()), Err(FrameError::Bound));
    }

    #[test]
    fn a_frame_that_is_too_large_is_never_sent() {
        let text = Tell::Answer { id: 1, result: Ok(Reply::Text("x".repeat(FRAME_MAX))) };
        assert!(matches!(encode(&text), Err(FrameError::Size(_))));
    }

    #[test]
    fn the_longest_page_fits_into_a_frame() {
        let name = RevisionId::parse(&"9".repeat(96)).unwrap();
        let step = StepView { revision: name, message: "m".repeat(TEXT_MAX), progress: None, date: Some(u64::MAX) };
        let page = Tell::Answer { id: 1, result: Ok(Reply::Steps(vec![step; PAGE_MAX])) };
        assert!(encode(&page).is_ok());
    }
}
