//! The helpers of PID 1: this program in other roles, which parse what containers and people send.
//!
//! ```text
//!   role `front`   own user, no capabilities     a socket pair of packets ◀─▶ PID 1
//! ```
//!
//! Killing a helper costs the calls it was answering and nothing else: its sockets are PID 1's, so whoever connects
//! meanwhile waits. It is started again after a second, then two, up to a minute.

use std::collections::{BTreeMap, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::Path;
use std::rc::Rc;

use container::cgroup::Instance;
use container::spawn_helper;
use formats::control::program::DESCRIPTORS_MAX;
use formats::control::{
    Action, Ask, Caller, DaemonView, FRAME_MAX, Listener, Refused, Reply, Status, Tell, decode_ask, encode,
};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, listen, recv, recvmsg, sendmsg, socket_with, socketpair,
};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use smol::channel::Sender;
use smol::{Async, LocalExecutor};
use statemachine::container::{Outcome, Span, Time};

use crate::core::Message;
use crate::handed::Handed;
use crate::pipes;
use crate::voice::Voice;

/// What the one helper is called.
const FRONT: &str = "front";

/// The longest wait before it is started again.
const LONGEST: Span = Span::seconds(60);

/// A helper that ran this long is started again at once.
const HEALTHY: Span = Span::seconds(60);

/// How many connections may wait at a socket.
const BACKLOG: i32 = 64;

/// Packets that may wait until the helper takes them; a helper that takes none is ended.
const UNSENT_MAX: usize = 1024;

/// Calls that may wait for their answers; a helper that asks on and on is ended.
const ASKED_MAX: usize = 1024;

/// Why a helper is ended that passes on what is not to be passed on.
const MISUSED: &str = "descriptors came that belong to no call";

/// What comes from a helper.
pub enum FromHelper {
    /// A call, of this life, and what came with it.
    Asked(u64, Ask, Handed),
    /// It takes packets again.
    Listens,
    /// It does not speak, or does not make sense. The number is that of its life.
    Broken(u64, String),
}

struct Life {
    number: u64,
    pid: Pid,
    pidfd: OwnedFd,
    channel: Rc<Async<OwnedFd>>,
    since: Time,
}

struct Packet {
    bytes: Vec<u8>,
    socket: Option<OwnedFd>,
}

/// The helpers of a device.
pub struct Helpers {
    instance: Instance,
    tell: Sender<Message>,
    tasks: Rc<LocalExecutor<'static>>,
    sockets: BTreeMap<String, (Listener, OwnedFd)>,
    life: Option<Life>,
    lives: u64,
    wait: Span,
    again: Option<Time>,
    unsent: VecDeque<Packet>,
    /// The calls that wait for an answer: our number, and the helper's.
    asked: BTreeMap<u32, u32>,
    asks: u32,
}

impl Helpers {
    /// None runs yet. `instance` is where their groups are made.
    #[must_use]
    pub fn new(instance: Instance, tell: Sender<Message>, tasks: Rc<LocalExecutor<'static>>) -> Self {
        Self {
            instance,
            tell,
            tasks,
            sockets: BTreeMap::new(),
            life: None,
            lives: 0,
            wait: Span::seconds(1),
            again: None,
            unsent: VecDeque::new(),
            asked: BTreeMap::new(),
            asks: 0,
        }
    }

    /// Serves `pv-ctrl` for a caller, in a directory of its own.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen_for(&mut self, caller: &Caller, dir: &Path) -> Result<(), String> {
        let key = key(&Listener::Control(caller.clone()));
        if self.sockets.contains_key(&key) {
            return Ok(());
        }
        let cannot = |what: &str, why: &dyn std::fmt::Display| format!("cannot {what} in {}: {why}", dir.display());
        std::fs::create_dir_all(dir).map_err(|error| cannot("make the directory", &error))?;
        let path = dir.join("pv-ctrl");
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|errno| cannot("make a socket", &errno))?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("replace the socket", &error));
            }
            _ => {}
        }
        let address = SocketAddrUnix::new(&path).map_err(|errno| cannot("name a socket", &errno))?;
        bind(&socket, &address).map_err(|errno| cannot("bind a socket", &errno))?;
        // Any user of a container may speak; what it may say is decided by whose socket it is.
        let mode = if *caller == Caller::Device { 0o600 } else { 0o666 };
        rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(mode))
            .map_err(|errno| cannot("open the socket to its users", &errno))?;
        listen(&socket, BACKLOG).map_err(|errno| cannot("listen", &errno))?;
        self.serve(Listener::Control(caller.clone()), socket);
        Ok(())
    }

    /// Serves a socket that is bound and listens.
    pub fn serve(&mut self, listener: Listener, socket: OwnedFd) {
        if listener == Listener::Endpoint {
            // An answer is a head and a body: without this its body waits until the client has acknowledged the head, which
            // takes 40 ms each time. What is accepted inherits it. Where it cannot be had, answers are only late.
            let _ = set_tcp_nodelay(&socket, true);
        }
        self.hand_over(&listener, &socket);
        self.sockets.insert(key(&listener), (listener, socket));
    }

    /// Serves a caller no longer.
    pub fn close(&mut self, caller: &Caller) {
        let listener = Listener::Control(caller.clone());
        if self.sockets.remove(&key(&listener)).is_some() {
            self.send(&Tell::Close(listener), None);
        }
    }

    /// Takes a call in, under a number of our own: a helper that was started again counts from the beginning, and must
    /// not be told what the one before it has asked.
    pub fn admit(&mut self, life: u64, ask: Ask) -> Option<Ask> {
        self.life.as_ref().filter(|known| known.number == life)?;
        if self.asked.len() >= ASKED_MAX {
            self.kill();
            return None;
        }
        self.asks = self.asks.wrapping_add(1);
        self.asked.insert(self.asks, ask.id);
        Some(Ask { id: self.asks, ..ask })
    }

    /// Whether somebody waits for an answer.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Answers a call. Whose helper has ended hears nothing.
    pub fn answer(&mut self, id: u32, result: Result<Reply, Refused>) {
        let Some(id) = self.asked.remove(&id) else { return };
        self.send(&Tell::Answer { id, result }, None);
    }

    /// Starts what should run.
    pub fn start(&mut self, log: &Voice, now: Time) {
        self.again = None;
        if self.life.is_some() {
            return;
        }
        if let Err(why) = self.live(log, now) {
            log.error(FRONT, &why);
            self.rest(now);
        }
    }

    fn live(&mut self, log: &Voice, now: Time) -> Result<(), String> {
        let words = |doing: &'static str| move |errno: Errno| format!("cannot {doing}: {errno}");
        let (own, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(words("make a socket pair"))?;
        let group = self.instance.create(FRONT).map_err(|error| error.to_string())?;
        let cgroup = group.open().map_err(|error| error.to_string())?;
        let spawned = spawn_helper(c"front", its.as_fd(), cgroup.as_fd()).map_err(|error| error.to_string())?;
        let own = Async::new(own).map_err(|error| format!("cannot watch the helper: {error}"))?;
        let channel = Rc::new(own);
        self.lives += 1;
        pipes::keep_log(&self.tasks, spawned.log, log.log_of_helper(FRONT));
        self.listen_to(self.lives, Rc::clone(&channel));
        log.info(FRONT, &format_args!("runs as {}", spawned.pid.as_raw_nonzero()));
        self.life = Some(Life { number: self.lives, pid: spawned.pid, pidfd: spawned.pidfd, channel, since: now });
        self.unsent.clear();
        let sockets: Vec<_> = self
            .sockets
            .values()
            .filter_map(|(listener, socket)| Some((listener.clone(), socket.try_clone().ok()?)))
            .collect();
        for (listener, socket) in sockets {
            self.hand_over(&listener, &socket);
        }
        Ok(())
    }

    /// Takes what it asks, packet by packet. The queue of messages is bounded, so a flood waits in the socket.
    fn listen_to(&self, number: u64, channel: Rc<Async<OwnedFd>>) {
        let tell = self.tell.clone();
        let task = self.tasks.spawn(async move {
            let why = loop {
                let (packet, handed) = match receive(&channel) {
                    Ok((packet, _)) if packet.is_empty() => break None,
                    Ok(received) => received,
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => match channel.readable().await {
                        Ok(()) => continue,
                        Err(error) => break Some(error.to_string()),
                    },
                    Err(errno) => break Some(errno.to_string()),
                };
                match decode_ask(&packet) {
                    Ok(Ask { call, .. }) if !handed.as_slice().is_empty() && !call.hands_over() => {
                        break Some(MISUSED.to_owned());
                    }
                    Ok(ask) => {
                        let _ = tell.send(Message::Helper(FromHelper::Asked(number, ask, handed))).await;
                    }
                    Err(error) => break Some(error.to_string()),
                }
            };
            if let Some(why) = why {
                let _ = tell.send(Message::Helper(FromHelper::Broken(number, why))).await;
            }
        });
        task.detach();
    }

    fn hand_over(&mut self, listener: &Listener, socket: &OwnedFd) {
        if let Ok(socket) = socket.try_clone() {
            self.send(&Tell::Listen(listener.clone()), Some(socket));
        }
    }

    fn send(&mut self, tell: &Tell, socket: Option<OwnedFd>) {
        if self.life.is_none() {
            return;
        }
        let bytes = encode(tell).or_else(|error| {
            // An answer that is too long is an answer all the same.
            let Tell::Answer { id, .. } = tell else { return Err(error) };
            let refused = Refused::new(Status::Internal, format!("the answer does not fit: {error}"));
            encode(&Tell::Answer { id: *id, result: Err(refused) })
        });
        let Ok(bytes) = bytes else { return };
        self.unsent.push_back(Packet { bytes, socket });
        self.flush();
    }

    /// Sends what the helper takes. It takes more later, and asks before that: each call is a reason to try again.
    pub fn flush(&mut self) {
        let Some(life) = &self.life else { return };
        while let Some(packet) = self.unsent.front() {
            match send_one(&life.channel, packet) {
                Ok(()) => {
                    self.unsent.pop_front();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // It has ended; the reaper tells.
                Err(_) => return self.unsent.clear(),
            }
        }
        if self.unsent.len() > UNSENT_MAX {
            self.kill();
        } else if !self.unsent.is_empty() {
            let (channel, tell) = (Rc::clone(&life.channel), self.tell.clone());
            let task = self.tasks.spawn(async move {
                if channel.writable().await.is_ok() {
                    let _ = tell.send(Message::Helper(FromHelper::Listens)).await;
                }
            });
            task.detach();
        }
    }

    /// It does not make sense: ends it, to begin anew.
    pub fn broken(&mut self, log: &Voice, number: u64, why: &str) {
        if self.life.as_ref().is_some_and(|life| life.number == number) {
            log.error(FRONT, &format_args!("ended, because of what it said: {why}"));
            self.kill();
        }
    }

    /// It has passed something on that no caller could have had it pass on: ends it, to begin anew.
    pub fn misused(&mut self, log: &Voice) {
        if let Some(number) = self.life.as_ref().map(|life| life.number) {
            self.broken(log, number, MISUSED);
        }
    }

    /// Whether a child that has ended was a helper.
    pub fn ended(&mut self, log: &Voice, pid: Pid, outcome: Outcome, now: Time) -> bool {
        let Some(life) = self.life.take_if(|life| life.pid == pid) else { return false };
        log.warn(FRONT, &format_args!("has ended: {outcome:?}"));
        self.unsent.clear();
        self.asked.clear();
        if life.since.after(HEALTHY) <= now {
            self.wait = Span::seconds(1);
        }
        self.rest(now);
        true
    }

    fn rest(&mut self, now: Time) {
        self.again = Some(now.after(self.wait));
        self.wait = Span(self.wait.0.saturating_mul(2)).min(LONGEST);
    }

    /// When something has to be started again.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.again
    }

    /// Time has passed.
    pub fn elapse(&mut self, log: &Voice, now: Time) {
        if self.again.is_some_and(|at| at <= now) {
            self.start(log, now);
        }
    }

    fn kill(&self) {
        if let Some(life) = &self.life {
            // One that has ended is as good as killed.
            let _ = pidfd_send_signal(&life.pidfd, Signal::KILL);
        }
    }

    /// What tools see. None can be stopped for good ([`Self::act`]), so each is started again.
    #[must_use]
    pub fn views(&self) -> Vec<DaemonView> {
        let pid = self.life.as_ref().map(|life| life.pid.as_raw_nonzero().get().unsigned_abs());
        vec![DaemonView { name: FRONT.to_owned(), pid, respawn: true }]
    }

    /// Does what a tool wants.
    ///
    /// # Errors
    /// There is no such helper, or it is the one that would have to answer.
    pub fn act(&mut self, log: &Voice, name: &str, action: Action, now: Time) -> Result<Reply, Refused> {
        if name != FRONT {
            return Err(Refused::new(Status::NotFound, format!("there is no helper {name:?}")));
        }
        match action {
            Action::Start => self.start(log, now),
            Action::Restart => self.kill(),
            Action::Stop => {
                let message = "front is what answers you: without it nobody could start it again; restart it instead";
                return Err(Refused::new(Status::Conflict, message));
            }
        }
        Ok(Reply::Done)
    }
}

fn key(listener: &Listener) -> String {
    match listener {
        Listener::Control(Caller::Container(name)) => format!("container/{name}"),
        Listener::Control(Caller::Device) => "device".to_owned(),
        Listener::Control(Caller::Network(_)) | Listener::Endpoint => "endpoint".to_owned(),
    }
}

/// One packet, and the descriptors that came with it. It is asked for its length first: nearly all are short, and a buffer
/// for the longest would be memory that is never used again.
fn receive(channel: &Async<OwnedFd>) -> Result<(Vec<u8>, Handed), Errno> {
    let (_, length) = recv(channel, &mut [0; 0], RecvFlags::PEEK | RecvFlags::TRUNC)?;
    let mut packet = vec![0; length.min(FRAME_MAX + 1)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(channel, &mut [IoSliceMut::new(&mut packet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let handed = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(handed) => Some(handed),
        _ => None,
    });
    packet.truncate(got.bytes);
    Ok((packet, Handed::new(handed.flatten().collect())))
}

fn send_one(channel: &Async<OwnedFd>, packet: &Packet) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets: Vec<_> = packet.socket.iter().map(|socket| socket.as_fd()).collect();
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(channel, &[IoSlice::new(&packet.bytes)], &mut control, SendFlags::NOSIGNAL).map(|_| ())
}
