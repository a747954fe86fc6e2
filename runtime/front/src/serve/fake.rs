//! A PID 1 for tests: it keeps objects and revisions in memory and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use formats::control::{
    Ask, Call, Caller, ContainerView, DaemonView, DeviceView, FRAME_MAX, LawView, Listener, LogFrom, LogPiece,
    LogPlace, ObjectView, PAGE_MAX, PIECE_MAX, PairingView, Refused, Reply, Status, StepView, Tell, Upload, decode_ask,
    encode,
};
use formats::object::ObjectId;
use formats::pairing::{Secret, TokenHash};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use statemachine::ids::RevisionId;

use crate::http::conn::Times;

/// What the fake device holds.
#[derive(Default)]
pub(super) struct Device {
    pub(super) asked: Vec<(Caller, Call)>,
    pub(super) objects: BTreeMap<ObjectId, Vec<u8>>,
    pub(super) states: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<u32, (Upload, u64, Vec<u8>)>,
    pub(super) busy: bool,
    /// How many descriptors came with each call that had any.
    pub(super) handed: Vec<usize>,
    /// Who has no token of these is not let in from the network.
    pub(super) tokens: Option<Vec<TokenHash>>,
}

/// `front` in a thread, with this device at the other end.
pub(super) struct World {
    pub(super) device: Arc<Mutex<Device>>,
    channel: Arc<OwnedFd>,
    front: Option<JoinHandle<std::io::Result<()>>>,
    directory: PathBuf,
}

impl World {
    pub(super) fn new(times: Times) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let own = Arc::new(own);
        let device = Arc::new(Mutex::new(Device::default()));
        let (channel, known) = (Arc::clone(&own), Arc::clone(&device));
        std::thread::spawn(move || answer_all(&channel, &known));
        let front =
            std::thread::spawn(move || super::run(other, "cairn of a test", times, rest::Stack::of_this_thread()));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("front-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self { device, channel: own, front: Some(front), directory }
    }

    /// Has the control socket of this caller served.
    pub(super) fn control(&self, caller: Caller) -> PathBuf {
        let path = self.directory.join(format!("{caller:?}").replace(|c: char| !c.is_alphanumeric(), "_"));
        let socket = UnixListener::bind(&path).unwrap();
        self.tell(&Tell::Listen(Listener::Control(caller)), Some(socket.as_fd()));
        path
    }

    /// Has an endpoint served.
    pub(super) fn endpoint(&self) -> SocketAddr {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        self.tell(&Tell::Listen(Listener::Endpoint), Some(socket.as_fd()));
        socket.local_addr().unwrap()
    }

    pub(super) fn close(&self, listener: Listener) {
        self.tell(&Tell::Close(listener), None);
    }

    pub(super) fn asked(&self) -> Vec<Call> {
        self.device.lock().unwrap().asked.iter().map(|(_, call)| call.clone()).collect()
    }

    fn tell(&self, tell: &Tell, socket: Option<std::os::fd::BorrowedFd<'_>>) {
        let frame = encode(tell).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(socket) = &socket {
            assert!(control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(socket))));
        }
        sendmsg(&self.channel, &[IoSlice::new(&frame)], &mut control, SendFlags::empty()).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        rustix::net::shutdown(&self.channel, rustix::net::Shutdown::Both).unwrap();
        let ended = self.front.take().unwrap().join().unwrap();
        let _ = std::fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn answer_all(channel: &OwnedFd, device: &Mutex<Device>) {
    let mut packet = vec![0; FRAME_MAX + 1];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let length =
            recvmsg(channel, &mut [IoSliceMut::new(&mut packet)], &mut control, RecvFlags::empty()).unwrap().bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handed) = message {
                device.lock().unwrap().handed.push(handed.count());
            }
        }
        if length == 0 {
            return;
        }
        let Ask { id, caller, call } = decode_ask(&packet[..length]).unwrap();
        let result = device.lock().unwrap().answer(caller, call);
        let frame = encode(&Tell::Answer { id, result }).unwrap();
        sendmsg(channel, &[IoSlice::new(&frame)], &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL).unwrap();
    }
}

impl Device {
    fn answer(&mut self, caller: Caller, call: Call) -> Result<Reply, Refused> {
        self.asked.push((caller.clone(), call.clone()));
        if matches!(&caller, Caller::Container(name) if name == "nobody") {
            return Err(Refused::new(Status::Forbidden, "not with this role"));
        }
        if let (Caller::Network(token), Some(tokens)) = (&caller, &self.tokens)
            && !matches!(call, Call::Pair { .. })
            && !token.is_some_and(|token| tokens.contains(&token))
        {
            return Err(Refused::new(Status::Unauthorized, "pair first"));
        }
        let missing = || Refused::new(Status::NotFound, "there is no such thing");
        Ok(match call {
            Call::Device => Reply::Device(Box::new(device())),
            Call::Containers => Reply::Containers(vec![container()]),
            Call::Groups => Reply::Groups(Vec::new()),
            Call::Daemons => Reply::Daemons(vec![DaemonView { name: "front".into(), pid: Some(9), respawn: true }]),
            Call::Objects { after } => Reply::Objects(
                self.objects
                    .iter()
                    .map(|(id, bytes)| ObjectView { id: *id, size: bytes.len() as u64 })
                    .filter(|view| after.is_none_or(|after| view.id > after))
                    .take(PAGE_MAX)
                    .collect(),
            ),
            Call::Steps { .. } => Reply::Steps(self.states.keys().map(|name| step(name)).collect()),
            Call::SizeOfObject(id) => Reply::Size(self.objects.get(&id).ok_or_else(missing)?.len() as u64),
            Call::ReadObject { id, offset } => piece(self.objects.get(&id).ok_or_else(missing)?, offset),
            Call::ReadStep { revision, offset } => {
                let name = revision.map_or_else(|| "locals/now".into(), |revision| revision.to_string());
                piece(self.states.get(&name).ok_or_else(missing)?, offset)
            }
            Call::Progress(revision) => Reply::Text(format!("{{\"of\":\"{revision}\"}}")),
            Call::Begin { what: Upload::Object(id), .. } if self.objects.contains_key(&id) => Reply::Done,
            Call::Begin { size, .. } if size > 10_000_000 => return Err(Refused::new(Status::NoSpace, "full")),
            Call::Begin { what, size } => {
                let number = self.uploads.len() as u32 + 40;
                self.uploads.insert(number, (what, size, Vec::new()));
                Reply::Upload(number)
            }
            Call::Put { upload, bytes } => {
                assert!(!bytes.is_empty() && bytes.len() <= PIECE_MAX);
                self.uploads.get_mut(&upload).ok_or_else(missing)?.2.extend(bytes);
                Reply::Done
            }
            Call::Finish { upload } => self.finish(upload).ok_or_else(missing)?,
            Call::Abandon { upload } => {
                self.uploads.remove(&upload).ok_or_else(missing)?;
                Reply::Done
            }
            Call::Run { .. } if self.busy => {
                let message = "an update is under way".into();
                return Err(Refused { status: Status::Unavailable, message, retry_after: Some(600) });
            }
            Call::Execute(_) => Reply::Program(7),
            Call::ReadLog { from: LogFrom::After(place), .. } => {
                Reply::Log(LogPiece { bytes: Vec::new(), place: Some(place), lost: true, times: vec![] })
            }
            Call::ReadLog { from, timed, .. } => {
                let bytes = if from == LogFrom::Oldest { b"a\0b".into() } else { format!("{from:?}").into_bytes() };
                let time = formats::log_times::Time { at: 0, up: Some(5), unix: None };
                let place = Some(LogPlace { file: 3, offset: 4 });
                Reply::Log(LogPiece { bytes, place, lost: false, times: timed.then_some(time).into_iter().collect() })
            }
            Call::Collect => Reply::Reclaimed(4096),
            Call::Rewrite => Reply::Laws(vec![
                LawView { law: "barrier".into(), fault: None },
                LawView { law: "write wanted".into(), fault: Some("torn".into()) },
            ]),
            Call::OfferPairing => Reply::Code { code: Secret::new("ABCD2345"), seconds: 300 },
            Call::Pairings => Reply::Pairings(vec![PairingView {
                fingerprint: "0123456789ab".into(),
                name: "me@host".into(),
                date: Some(951_782_400),
            }]),
            Call::Pair { code, .. } if code.expose() != "ABCD2345" => {
                return Err(Refused { retry_after: Some(60), ..Refused::new(Status::TooMany, "burnt") });
            }
            Call::Pair { .. } => {
                self.tokens.get_or_insert_default().push(TokenHash::of("t0ken"));
                Reply::Token(Secret::new("t0ken"))
            }
            _ => Reply::Done,
        })
    }

    fn finish(&mut self, upload: u32) -> Option<Reply> {
        let (what, size, bytes) = self.uploads.remove(&upload)?;
        assert_eq!(bytes.len() as u64, size);
        match what {
            Upload::Object(id) => {
                assert_eq!(ObjectId::of(&bytes), id);
                self.objects.insert(id, bytes);
            }
            Upload::State(name) => {
                self.states.insert(name.to_string(), bytes);
            }
        }
        Some(Reply::Done)
    }

    pub(super) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }
}

fn piece(bytes: &[u8], offset: u64) -> Reply {
    let rest = &bytes[bytes.len().min(offset as usize)..];
    Reply::Piece { bytes: rest[..rest.len().min(PIECE_MAX)].to_vec(), size: bytes.len() as u64 }
}

fn device() -> DeviceView {
    DeviceView {
        board: "host".into(),
        revision: Some(RevisionId::parse("locals/now").unwrap()),
        default: None,
        previous: None,
        factory: Some(RevisionId::factory()),
        standing: "DONE".into(),
        update: None,
        uptime_ms: 1000,
        warnings: vec!["w".into()],
    }
}

fn container() -> ContainerView {
    ContainerView {
        name: "web".into(),
        group: "app".into(),
        status: "STARTED".into(),
        status_goal: "STARTED".into(),
        restart_policy: "system".into(),
        roles: Vec::new(),
        recovery: None,
        user_stopped: false,
        pid: None,
        restarts: 0,
        next_retry_ms: None,
        reason: None,
        usage: None,
        network: None,
    }
}

fn step(name: &str) -> StepView {
    StepView { revision: RevisionId::parse(name).unwrap(), message: String::new(), progress: None, date: None }
}

/// Either kind of connection.
pub(super) trait Client: std::io::Read + std::io::Write {
    fn wait_at_most(&self, time: Duration);
}

impl Client for UnixStream {
    fn wait_at_most(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl Client for TcpStream {
    fn wait_at_most(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

/// Sends bytes, and reads all that comes until the other end closes.
pub(super) fn talk(client: &mut impl Client, bytes: &[u8]) -> String {
    client.wait_at_most(Duration::from_secs(20));
    client.write_all(bytes).unwrap();
    let mut text = Vec::new();
    client.read_to_end(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// One request on a connection of its own.
pub(super) fn ask(path: &std::path::Path, request: &str, body: &[u8]) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    talk(&mut client, &request_bytes(request, "localhost", body))
}

/// `METHOD /path` with a body, as bytes.
pub(super) fn request_bytes(request: &str, host: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The code and the body of one answer.
pub(super) fn parts(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}
