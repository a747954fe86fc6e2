//! What is handed over with a request, and what is not.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use formats::control::{Call, Caller};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::pipe;

use super::fake::{World, ask, parts};
use crate::http::conn::Times;

const BODY: &str = r#"{"argv":["ls","-l"],"env":["A=b"],"terminal":false}"#;

fn pipes() -> Vec<OwnedFd> {
    let pairs = [pipe().unwrap(), pipe().unwrap()];
    pairs.into_iter().flat_map(|(from, to)| [from, to]).collect()
}

/// Asks with `Expect`, and hands these over once it may go on; with how often that was said.
fn hand_over(path: &Path, body: &str, handed: &[OwnedFd]) -> (bool, String) {
    hand_over_to("programs", path, body, handed)
}

fn hand_over_to(what: &str, path: &Path, body: &str, handed: &[OwnedFd]) -> (bool, String) {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST /containers/web/{what} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).unwrap();
    let mut bytes = [0; 4096];
    let length = client.read(&mut bytes).unwrap();
    let mut text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let goes_on = text.starts_with("HTTP/1.1 100 ");
    if goes_on {
        text.clear();
        let handed: Vec<BorrowedFd<'_>> = handed.iter().map(OwnedFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(handed.is_empty() || control.push(SendAncillaryMessage::ScmRights(&handed)));
        sendmsg(&client, &[IoSlice::new(body.as_bytes())], &mut control, SendFlags::NOSIGNAL).unwrap();
    }
    client.read_to_string(&mut text).unwrap();
    (goes_on, text)
}

#[test]
fn what_is_handed_over_after_the_word_to_go_on_comes_to_pid_1() {
    let world = World::new(Times::default());
    let path = world.control(Caller::Device);
    let (goes_on, answer) = hand_over(&path, BODY, &pipes());
    assert!(goes_on && answer.ends_with(r#"{"id":7}"#), "{answer}");
    assert!(matches!(&world.asked()[..], [Call::Containers, Call::Execute(program)] if program.argv == ["ls", "-l"]));
    let (socket, _other) = UnixStream::pair().unwrap();
    let end = pipes().remove(1);
    let (_, answer) = hand_over(&path, &BODY.replace("false", "true"), &[socket.into(), end]);
    assert!(answer.ends_with(r#"{"id":7}"#), "{answer}");
    assert_eq!(world.device.lock().unwrap().handed, [4, 2]);
}

#[test]
fn nothing_but_pipes_and_a_socket_is_passed_on() {
    let world = World::new(Times::default());
    let path = world.control(Caller::Device);
    let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let three = || pipes().into_iter().take(3);
    let with_terminal = BODY.replace("false", "true");
    for (body, handed) in [
        (BODY, Vec::new()),
        (BODY, three().collect()),
        (BODY, three().chain([file()]).collect()),
        (BODY, pipes().into_iter().chain([file()]).collect()),
        (with_terminal.as_str(), vec![file(), pipes().remove(1)]),
        (with_terminal.as_str(), pipes()),
        (r#"{"argv":[]}"#, pipes()),
    ] {
        let (_, answer) = hand_over(&path, body, &handed);
        assert_eq!(parts(&answer).0, 400, "{body} {}: {answer}", handed.len());
    }
    assert!(world.asked().iter().all(|call| *call == Call::Containers));
}

#[test]
fn a_socket_for_a_console_comes_to_pid_1_and_nothing_else_does() {
    let world = World::new(Times::default());
    let path = world.control(Caller::Device);
    let sockets = || UnixStream::pair().unwrap();
    let (_, answer) = hand_over_to("console", &path, "{}", &[sockets().0.into()]);
    assert_eq!(parts(&answer).0, 200, "{answer}");
    assert!(matches!(&world.asked()[..], [Call::Containers, Call::Attach { name }] if name == "web"));
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let (one, other) = sockets();
    for handed in [vec![], vec![file], vec![pipes().remove(1)], vec![one.into(), other.into()]] {
        let (_, answer) = hand_over_to("console", &path, "{}", &handed);
        assert_eq!(parts(&answer).0, 400, "{answer}");
    }
    let path = world.control(Caller::Container("nobody".into()));
    let (goes_on, answer) = hand_over_to("console", &path, "{}", &[sockets().0.into()]);
    assert!(!goes_on && parts(&answer).0 == 403, "{answer}");
    assert_eq!(world.device.lock().unwrap().handed, [1]);
}

#[test]
fn who_may_not_is_refused_before_anything_is_handed_over() {
    let world = World::new(Times::default());
    let path = world.control(Caller::Container("nobody".into()));
    let (goes_on, answer) = hand_over(&path, BODY, &pipes());
    assert!(!goes_on && parts(&answer).0 == 403, "{answer}");
    // Who does not wait has handed over nothing.
    let path = world.control(Caller::Device);
    assert_eq!(parts(&ask(&path, "POST /containers/web/programs", BODY.as_bytes())).0, 417);
}

#[test]
fn a_log_comes_as_it_is_with_the_place_where_it_goes_on() {
    let world = World::new(Times::default());
    let path = world.control(Caller::Device);
    let answer = ask(&path, "GET /containers/web/log", b"");
    assert!(answer.contains("\r\nLog-Place: 3-4\r\n") && answer.ends_with("\r\n\r\na\0b"), "{answer}");
    let answer = ask(&path, "GET /containers/web/log/3-4", b"");
    assert!(answer.contains("\r\nLog-Place: 3-4\r\n") && answer.contains("\r\nLog-Lost: 1\r\n"), "{answer}");
    let answer = ask(&path, "GET /containers/web/log/ago-600", b"");
    assert!(!answer.contains("Log-Times") && answer.ends_with("\r\n\r\nSince(Ago(600))"), "{answer}");
    let answer = ask(&path, "GET /containers/web/timed-log/boot", b"");
    assert!(answer.contains("\r\nLog-Times: 0/5/\r\n") && answer.ends_with("Since(Boot)"), "{answer}");
}
