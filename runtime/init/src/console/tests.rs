//! Consoles of terminals that tests make: what is kept, who reads and types, and when it ends.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fd::AsFd as _;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SocketFlags, SocketType, sendmsg, socketpair,
};
use rustix::pty::{OpenptFlags, openpt, unlockpt};
use rustix::termios::tcgetwinsize;

use super::*;
use crate::logs::Log;

/// A console of which the container's end is in our hands.
struct World {
    tasks: LocalExecutor<'static>,
    console: Option<Console>,
    container: std::fs::File,
    dir: PathBuf,
}

impl World {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("cairn-console-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let controlling = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&controlling).unwrap();
        let container = container::console::other_end(&controlling).unwrap().into();
        let (own, stage) = pair();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [controlling.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&stage, &[IoSlice::new(&0_i32.to_ne_bytes())], &mut control, SendFlags::empty()).unwrap();
        let tasks = LocalExecutor::new();
        let console = Console::new(&tasks, own, Log::new(dir.join("log"), 1 << 20).shared());
        let world = Self { tasks, console: Some(console), container, dir };
        world.until(|world| world.console.as_ref().unwrap().shared.controlling.borrow().is_some());
        world
    }

    /// Lets the tasks run until something is so.
    fn until(&self, so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !so(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not come: {:?}", self.log());
            self.pause(Duration::from_millis(2));
        }
    }

    fn pause(&self, time: Duration) {
        smol::block_on(self.tasks.run(async { smol::Timer::after(time).await }));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn attach(&self) -> Result<OwnedFd, Refusal> {
        let (own, other) = pair();
        self.console.as_ref().unwrap().attach(&self.tasks, other).map(|()| own)
    }

    fn readers(&self) -> usize {
        self.console.as_ref().unwrap().shared.readers.borrow().len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn say(reader: &OwnedFd, packet: &[u8]) {
    assert_eq!(send(reader, packet, SendFlags::DONTWAIT), Ok(packet.len()));
}

/// All that is there for a reader now; `None` after the end.
fn seen(reader: &OwnedFd) -> Option<String> {
    let (mut text, mut packet) = (String::new(), [0; 8192]);
    loop {
        match recv(reader, &mut packet[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return if text.is_empty() { None } else { Some(text) },
            Ok((length, _)) => text += std::str::from_utf8(&packet[..length]).unwrap(),
            Err(errno) => {
                assert_eq!(errno, Errno::AGAIN);
                return Some(text);
            }
        }
    }
}

#[test]
fn lines_are_kept_without_what_a_terminal_adds_wherever_a_piece_ends() {
    let mut lines = Lines::default();
    let pieces = [&b"one\r"[..], b"\ntwo\r\n", b"5%\r10%\r", b"\r\n", b"\r", b"x"];
    let kept: Vec<u8> = pieces.iter().flat_map(|piece| lines.plain(piece)).collect();
    assert_eq!(kept, b"one\ntwo\n5%\r10%\r\n\rx");
}

#[test]
fn what_is_written_is_kept_and_shown_and_what_is_typed_arrives() {
    let mut world = World::new("both");
    world.container.write_all(b"before\n").unwrap();
    world.until(|world| world.log() == "before\n");
    let reader = world.attach().unwrap();
    world.container.write_all(b"hello\n").unwrap();
    world.until(|world| world.log() == "before\nhello\n");
    assert_eq!(seen(&reader).unwrap(), "hello\r\n");
    say(&reader, &Word::Typed(b"ls\n").packet());
    say(&reader, &Word::Window { rows: 33, columns: 111 }.packet());
    // What is typed is echoed, as on any terminal.
    world.until(|world| world.log().ends_with("ls\n") && tcgetwinsize(&world.container).unwrap().ws_col == 111);
    let mut typed = [0; 3];
    world.container.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"ls\n");
}

#[test]
fn as_many_are_attached_as_may_be_and_who_says_what_nobody_understands_is_not() {
    let world = World::new("bounded");
    let readers: Vec<_> = (0..READERS_MAX).map(|_| world.attach().unwrap()).collect();
    assert_eq!(world.attach().map(drop), Err(Refusal::Full));
    say(&readers[0], &[7, 7]);
    world.until(|world| world.readers() == READERS_MAX - 1);
    let another = world.attach().unwrap();
    drop(readers);
    world.until(|world| world.readers() == 1);
    assert_eq!(seen(&another).as_deref(), Some(""));
}

#[test]
fn a_reader_without_room_misses_something_and_nobody_waits_for_it() {
    let world = World::new("slow");
    let reader = world.attach().unwrap();
    let mut container = world.container.try_clone().unwrap();
    let flood = std::thread::spawn(move || container.write_all(&b"0123456789abcde\n".repeat(40_000)).unwrap());
    world.until(|world| world.log().len() == 640_000);
    flood.join().unwrap();
    let first = seen(&reader).unwrap();
    assert!(first.len() < 600_000 && first.starts_with("0123456789abcde\r\n"), "{}", first.len());
    (&world.container).write_all(b"the end\n").unwrap();
    world.until(|world| world.log().ends_with("the end\n"));
    let rest = seen(&reader).unwrap();
    assert!(rest.contains("bytes are missing here]") && rest.ends_with("the end\r\n"), "{rest}");
}

#[test]
fn a_container_that_somebody_has_stopped_goes_on_when_nobody_is_left_to_say_so() {
    let world = World::new("stopped");
    let reader = world.attach().unwrap();
    // Ctrl-S
    say(&reader, &Word::Typed(&[19]).packet());
    world.pause(Duration::from_millis(100));
    let mut container = world.container.try_clone().unwrap();
    let writes = std::thread::spawn(move || container.write_all(b"after\n").unwrap());
    world.pause(Duration::from_millis(200));
    assert_eq!(world.log(), "");
    drop(reader);
    world.until(|world| world.log() == "after\n");
    writes.join().unwrap();
}

#[test]
fn the_end_is_told_after_all_that_was_written_before_it_whoever_still_has_the_terminal() {
    let mut world = World::new("end");
    let reader = world.attach().unwrap();
    world.container.write_all(b"bye\n").unwrap();
    drop(world.console.take());
    world.until(|world| world.log() == "bye\n" && world.tasks.is_empty());
    assert_eq!((seen(&reader).as_deref(), seen(&reader)), (Some("bye\r\n"), None));
    // Nobody reads there any more.
    assert_eq!(world.container.write(b"x").unwrap_err().raw_os_error(), Some(Errno::IO.raw_os_error()));
}

#[test]
fn a_stage_that_fails_leaves_no_console() {
    let (tasks, (own, stage)) = (LocalExecutor::new(), pair());
    let console = Console::new(&tasks, own, Log::new(Path::new("/dev/null/none").into(), 1).shared());
    assert_eq!(console.attach(&tasks, pair().0), Err(Refusal::NotYet));
    drop(stage);
    let begun = Instant::now();
    while !tasks.is_empty() && begun.elapsed() < Duration::from_secs(60) {
        smol::block_on(tasks.run(async { smol::Timer::after(Duration::from_millis(2)).await }));
    }
    assert!(tasks.is_empty());
}
