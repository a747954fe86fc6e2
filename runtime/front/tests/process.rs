//! The helper as a process: confined, and still at work.
//!
//! This program is both the test and the helper under test, which it starts as itself with the argument `front`. As
//! root it looks at what the kernel says about the helper; as anybody else it can show only that a helper which cannot
//! be confined does not serve, and does that.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test with a main of its own; a panic is its failure"
)]

use std::env;
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use formats::control::{Ask, Caller, FRAME_MAX, Listener, Reply, Tell, decode_ask, encode};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
    recv, sendmsg, shutdown, socketpair,
};

type Test = (&'static str, fn());

const AS_ROOT: &[Test] = &[
    ("it_is_nobody_and_still_answers", it_is_nobody_and_still_answers),
    ("nothing_but_its_channel_is_taken_for_it", nothing_but_its_channel_is_taken_for_it),
];

const AS_ANYBODY: &[Test] = &[("it_does_not_serve_unconfined", it_does_not_serve_unconfined)];

/// Speaks as much of the language of test programs as runners need: `--list`, `--exact NAME`, `--ignored`.
fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "front") {
        return helper();
    }
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let all = if rustix::process::getuid().is_root() { AS_ROOT } else { AS_ANYBODY };
    let named = |name: &str| args.iter().any(|arg| arg == name);
    let tests = all.iter().filter(|(name, _)| !has("--ignored") && (!has("--exact") || named(name)));
    for (name, test) in tests {
        if has("--list") {
            println!("{name}: test");
        } else {
            test();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

/// What PID 1 leaves as descriptor 3 comes as the standard input here, because that is what a safe program can hand on.
fn helper() -> ExitCode {
    let channel = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).unwrap();
    assert_eq!(channel.as_raw_fd(), 3);
    let _ = channel.into_raw_fd();
    front::main("of a test")
}

fn start() -> (Child, OwnedFd) {
    let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    (start_with(other.into()), own)
}

fn start_with(input: Stdio) -> Child {
    Command::new(env::current_exe().unwrap()).arg("front").stdin(input).spawn().unwrap()
}

fn it_is_nobody_and_still_answers() {
    let (mut child, channel) = start();
    let path = env::temp_dir().join(format!("front-process-{}", child.id()));
    let socket = UnixListener::bind(&path).unwrap();
    let frame = encode(&Tell::Listen(Listener::Control(Caller::Device))).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)));
    sendmsg(&channel, &[IoSlice::new(&frame)], &mut control, SendFlags::empty()).unwrap();

    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(b"POST /storage/gc HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n").unwrap();
    let mut packet = vec![0; FRAME_MAX];
    let (_, length) = recv(&channel, &mut packet[..], RecvFlags::empty()).unwrap();
    let Ask { id, .. } = decode_ask(&packet[..length]).unwrap();
    let answer = encode(&Tell::Answer { id, result: Ok(Reply::Reclaimed(7)) }).unwrap();
    sendmsg(&channel, &[IoSlice::new(&answer)], &mut SendAncillaryBuffer::default(), SendFlags::empty()).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n\r\n{\"reclaimed\":7}"), "{text}");

    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let mut threads = 0;
    for task in tasks {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let (user, group) = (front::USER, front::GROUP);
        assert_eq!(field("Uid:"), format!("{user} {user} {user} {user}"));
        assert_eq!(field("Gid:"), format!("{group} {group} {group} {group}"));
        assert_eq!(field("Groups:"), "");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
        threads += 1;
    }
    // The executor's, and the reactor's of async-io, which it started under the filter.
    assert_eq!(threads, 2);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let limit =
        |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(4).unwrap();
    assert_eq!(limit("Max core file size"), "0");

    shutdown(&channel, Shutdown::Both).unwrap();
    assert!(child.wait().unwrap().success());
    std::fs::remove_file(path).unwrap();
}

fn nothing_but_its_channel_is_taken_for_it() {
    let stream = UnixStream::pair().unwrap().0;
    assert!(!start_with(OwnedFd::from(stream).into()).wait().unwrap().success());
    assert!(!start_with(Stdio::null()).wait().unwrap().success());
}

fn it_does_not_serve_unconfined() {
    let (mut child, channel) = start();
    assert!(!child.wait().unwrap().success());
    // It went without taking anything.
    drop(channel);
}
