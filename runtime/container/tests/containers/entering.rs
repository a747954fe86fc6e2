//! Programs that enter a container that runs: with its rights, in its namespaces and its group, and never beyond its end.

use std::fs;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use container::cgroup::Group;
use container::enter::{Entered, Entry, REPORT_MAX, Report, Streams, enter};
use container::failure::Step;
use container::launch::{Capabilities, Launch, Resource, Rlimit};
use container::spawn::SpawnError;
use container::{Spawned, reaper};
use harness::{PATIENCE, Result, wait};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::termios::{Winsize, tcsetwinsize};
use statemachine::container::Outcome;

use crate::confinement::filter;
use crate::world::{World, read_until};

/// A script that has said `up` and then only waits.
const WAITS: &str = "echo up; while true; do sleep 1000; done";

/// What a process is: rights, limits, place. The same words from whoever has the same.
const SELF: &str = "id; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; ulimit -n; cat /proc/self/oom_score_adj; \
                    for one in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$one; done; cat /proc/self/cgroup; \
                    env | grep -v -E '^(PWD|SHLVL|OLDPWD|_)='; umask; pwd";

/// A program that has entered, and our ends of its pipes.
struct Inside {
    first: Pid,
    input: Option<OwnedFd>,
    output: OwnedFd,
    report: OwnedFd,
}

fn entry(launch: &Launch, group: &Group, argv: &[&str]) -> Entry {
    let mut process = launch.process.clone();
    process.argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let cgroups = group.joined().map(|dir| dir.display().to_string()).collect();
    Entry { cgroups, process, terminal: false, user: false }
}

fn begin(launch: &Launch, group: &Group, spawned: &Spawned, argv: &[&str]) -> Result<Inside> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let ((input, to), (from, output)) = (pipe()?, pipe()?);
    let errors = output.try_clone()?;
    let streams = Streams::Pipes { input, output, errors };
    assert!(streams.are_harmless());
    let Entered { pid, report } =
        enter(&entry(launch, group, argv), group, (spawned.pid, spawned.pidfd.as_fd()), streams)?;
    Ok(Inside { first: pid, input: Some(to), output: from, report })
}

/// What was reported, and how the program ended, if there ever was one. Both children are gone then.
fn end(first: Pid, report: OwnedFd) -> Result<(Report, Option<Outcome>)> {
    end_with(first, report, &[])
}

/// The same, with others that end meanwhile.
fn end_with(first: Pid, report: OwnedFd, others: &[Pid]) -> Result<(Report, Option<Outcome>)> {
    let mut bytes = Vec::new();
    fs::File::from(report).take(REPORT_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let report = Report::decode(&bytes)?;
    let (mut left, mut outcome) = ([others, &[first]].concat(), None);
    left.extend(report.pid);
    let until = Instant::now() + PATIENCE;
    while !left.is_empty() {
        match reaper::next()? {
            Some((pid, how)) => {
                left.retain(|one| *one != pid);
                outcome = (Some(pid) == report.pid).then_some(how).or(outcome);
            }
            None if Instant::now() > until => return Err("it does not end".into()),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    Ok((report, outcome))
}

impl Inside {
    fn finish(mut self) -> Result<(String, Report, Option<Outcome>)> {
        drop(self.input.take());
        let mut said = Vec::new();
        fs::File::from(self.output).read_to_end(&mut said)?;
        let (report, outcome) = end(self.first, self.report)?;
        Ok((String::from_utf8_lossy(&said).into_owned(), report, outcome))
    }
}

/// Runs a container that waits, and what is to be done meanwhile.
fn while_up(world: &World, launch: &Launch, work: impl FnOnce(&Group, &Spawned, &str) -> Result) -> Result {
    let (spawned, group) = world.start(launch)?;
    let said = read_until(&spawned, "up\n")?;
    let done = work(&group, &spawned, &said);
    group.kill()?;
    let ended = wait(spawned);
    group.end(PATIENCE)?;
    done.and(ended.map(drop))
}

pub(crate) fn what_enters_is_what_the_container_is(world: &World) -> Result {
    for (uid, no_new_privs) in [(0, false), (0, true), (1000, true)] {
        let mut launch = world.launch(&format!("{SELF}; {WAITS}"));
        let process = &mut launch.process;
        (process.uid, process.gid, process.groups) = (uid, uid, vec![4, 27]);
        process.capabilities = Capabilities { bounding: 0b1010_0000, ambient: if uid == 0 { 0 } else { 0b10_0000 } };
        process.no_new_privs = no_new_privs;
        process.limits = vec![Rlimit { resource: Resource::OpenFiles, soft: Some(77), hard: Some(99) }];
        process.oom_score_adj = 321;
        process.env.push(("LIGHT".into(), "on".into()));
        process.seccomp = Some(filter(libc::SYS_sethostname)?);
        while_up(world, &launch, |group, spawned, said| {
            let (inside, report, outcome) = begin(&launch, group, spawned, &["sh", "-c", SELF])?.finish()?;
            assert_eq!((report.failure, outcome), (None, Some(Outcome::Code(0))), "{inside}");
            assert!(inside.contains("Seccomp:\t2\n") && inside.contains("321\n"), "{inside}");
            assert_eq!(format!("{inside}up\n"), said);
            let (said, _, _) = begin(&launch, group, spawned, &["sh", "-c", "hostname x || echo refused"])?.finish()?;
            assert!(said.ends_with("refused\n"), "{said}");
            Ok(())
        })?;
    }
    Ok(())
}

pub(crate) fn who_enters_has_the_users_of_the_container(world: &World) -> Result {
    for shared in [false, true] {
        let mut launch = crate::users::launch(world, &format!("{SELF}; cat /proc/self/uid_map; {WAITS}"));
        launch.namespaces.pid = !shared;
        let process = &mut launch.process;
        process.capabilities.bounding = 0b1010_0000;
        process.no_new_privs = true;
        // More than whoever has users of its own could take.
        process.limits = vec![Rlimit { resource: Resource::OpenFiles, soft: Some(77), hard: Some(99) }];
        process.oom_score_adj = 321;
        process.seccomp = Some(filter(libc::SYS_sethostname)?);
        while_up(world, &launch, |group, spawned, said| {
            let script = format!("{SELF}; cat /proc/self/uid_map");
            let (inside, report, outcome) = begin(&launch, group, spawned, &["sh", "-c", &script])?.finish()?;
            assert_eq!((report.failure, outcome), (None, Some(Outcome::Code(0))), "{inside}");
            assert!(inside.starts_with("uid=0 gid=0") && inside.contains("Seccomp:\t2\n"), "{inside}");
            assert_eq!(format!("{inside}up\n"), said);
            // And outside it is who the container is.
            let mut waits = begin(&launch, group, spawned, &["sh", "-c", "echo in; cat"])?;
            let mut word = [0; 3];
            rustix::io::read(&waits.output, &mut word)?;
            let status = |pid: Pid| fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid()));
            let ids =
                |text: String| text.lines().filter(|line| line.starts_with(['U', 'G'])).map(str::to_owned).collect();
            let own: Vec<String> = ids(status(spawned.pid)?);
            let own_groups = harness::groups(&format!("{}/one", world.ground.name));
            let v2 = own_groups.iter().find(|dir| dir.join("cgroup.kill").exists()).ok_or("no group")?;
            let members = fs::read_to_string(v2.join("cgroup.procs"))?;
            let others: Vec<_> = members
                .lines()
                .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
                .filter(|pid| *pid != spawned.pid)
                .collect();
            assert!(!others.is_empty());
            for pid in others {
                let its: Vec<String> = ids(status(pid)?);
                assert_eq!(its, own);
            }
            drop(waits.input.take());
            waits.finish().map(drop)
        })?;
    }
    Ok(())
}

pub(crate) fn an_entered_program_has_nothing_of_the_device_open(world: &World) -> Result {
    let launch = world.launch(WAITS);
    while_up(world, &launch, |group, spawned, _| {
        let script = "ls -l /proc/$$/fd | grep -o '[0-9]* -> .*' | grep -v 'pipe:'; readlink /proc/$$/root; \
                      readlink /proc/$$/cwd";
        let (said, _, outcome) = begin(&launch, group, spawned, &["sh", "-c", script])?.finish()?;
        assert_eq!((said.as_str(), outcome), ("/\n/\n", Some(Outcome::Code(0))));
        Ok(())
    })
}

pub(crate) fn the_end_of_an_entered_program_is_told_and_why_there_is_none(world: &World) -> Result {
    let launch = world.launch(WAITS);
    world.file("image/bin/plain", "no program\n")?;
    while_up(world, &launch, |group, spawned, _| {
        let run = |argv: &[&str]| begin(&launch, group, spawned, argv)?.finish();
        assert_eq!(run(&["sh", "-c", "exit 7"])?.2, Some(Outcome::Code(7)));
        assert_eq!(run(&["sh", "-c", "kill -9 $$"])?.2, Some(Outcome::Signal(9)));
        for (program, errno) in [("/bin/none", Errno::NOENT), ("none", Errno::NOENT), ("/bin/plain", Errno::ACCESS)] {
            let (_, report, outcome) = run(&[program])?;
            let failure = report.failure.ok_or("it runs")?;
            assert_eq!((failure.step, failure.errno), (Step::Exec, errno.raw_os_error()), "{program}");
            assert_eq!((failure.path.as_str(), outcome), (program, Some(Outcome::Code(127))));
        }
        Ok(())
    })
}

pub(crate) fn bytes_go_in_and_out_as_they_are(world: &World) -> Result {
    let launch = world.launch(WAITS);
    let bytes: Vec<u8> = (0..5_u32 << 20).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    while_up(world, &launch, |group, spawned, _| {
        let mut inside = begin(&launch, group, spawned, &["cat"])?;
        let mut input = fs::File::from(inside.input.take().ok_or("no input")?);
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || input.write_all(&sent));
        let mut back = Vec::new();
        fs::File::from(inside.output).read_to_end(&mut back)?;
        sender.join().map_err(|_| "the sender panicked")??;
        assert!(back == bytes, "{} bytes came back", back.len());
        assert_eq!(end(inside.first, inside.report)?.1, Some(Outcome::Code(0)));
        Ok(())
    })
}

pub(crate) fn a_terminal_is_one_of_the_container_and_has_the_size_that_is_set(world: &World) -> Result {
    let mut launch = world.launch(WAITS);
    (launch.process.uid, launch.process.gid) = (1000, 1000);
    while_up(world, &launch, |group, spawned, _| {
        let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let streams = Streams::Terminal(other);
        assert!(streams.are_harmless());
        let script = "read line; tty; stty size; test -O $(tty) && echo mine; sleep 1000";
        let entry = Entry { terminal: true, ..entry(&launch, group, &["sh", "-c", script]) };
        let Entered { pid, report } = enter(&entry, group, (spawned.pid, spawned.pidfd.as_fd()), streams)?;
        let terminal = receive(&own)?;
        tcsetwinsize(&terminal, Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 })?;
        rustix::io::write(&terminal, b"go\n")?;
        let mut said = String::new();
        while !said.contains("mine") {
            let mut piece = [0; 256];
            let length = rustix::io::read(&terminal, &mut piece)?;
            said += &String::from_utf8_lossy(piece.get(..length).unwrap_or_default());
        }
        assert!(said.contains("/dev/pts/0\r\n33 111\r\nmine"), "{said:?}");
        // Ctrl-C.
        rustix::io::write(&terminal, &[3])?;
        assert_eq!(end(pid, report)?.1, Some(Outcome::Signal(2)));
        Ok(())
    })
}

fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0; 8])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let terminal = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    terminal.ok_or_else(|| "no terminal came".into())
}

pub(crate) fn what_a_container_has_put_in_the_place_of_terminals_is_not_taken_for_one(world: &World) -> Result {
    let launch = world.launch(&format!("umount /dev/pts; mkdir -p /dev/pts; echo x > /dev/pts/ptmx; {WAITS}"));
    while_up(world, &launch, |group, spawned, _| {
        let (_own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let entry = Entry { terminal: true, ..entry(&launch, group, &["true"]) };
        let streams = Streams::Terminal(other);
        let Entered { pid, report } = enter(&entry, group, (spawned.pid, spawned.pidfd.as_fd()), streams)?;
        let (report, _) = end(pid, report)?;
        let failure = report.failure.ok_or("it runs")?;
        assert_eq!((failure.step, failure.errno), (Step::Terminal, Errno::NOTTY.raw_os_error()));
        Ok(())
    })
}

pub(crate) fn the_end_of_a_container_is_that_of_whoever_has_entered(world: &World) -> Result {
    for shared in [false, true] {
        let mut launch = world.launch(WAITS);
        launch.namespaces.pid = !shared;
        let (spawned, group) = world.start(&launch)?;
        read_until(&spawned, "up")?;
        let argv = ["sh", "-c", "setsid sleep 1000 & echo in; sleep 1000"];
        let inside = begin(&launch, &group, &spawned, &argv)?;
        let mut word = [0; 3];
        rustix::io::read(&inside.output, &mut word)?;
        assert_eq!(&word, b"in\n");
        // The program may be further than the one that tells of it.
        poll(&mut [PollFd::new(&inside.report, PollFlags::IN)], None)?;
        group.kill()?;
        assert_eq!(end_with(inside.first, inside.report, &[spawned.pid])?.1, Some(Outcome::Signal(9)));
        group.end(PATIENCE)?;
        assert!(!group.exists(), "somebody is left");
    }
    Ok(())
}

pub(crate) fn a_container_that_has_ended_is_not_entered(world: &World) -> Result {
    let launch = world.launch("echo up");
    let (spawned, group) = world.start(&launch)?;
    read_until(&spawned, "up")?;
    // Not reaped yet, so its number is still its own.
    poll(&mut [PollFd::new(&spawned.pidfd, PollFlags::IN)], None)?;
    match begin(&launch, &group, &spawned, &["true"]) {
        Ok(inside) => {
            let (report, outcome) = end_with(inside.first, inside.report, &[spawned.pid])?;
            assert_eq!((report.failure.map(|failure| failure.step), outcome), (Some(Step::Enter), None));
        }
        Err(error) => {
            assert!(matches!(error.downcast_ref(), Some(SpawnError::System(_))), "{error}");
            assert!(wait(spawned).is_ok());
        }
    }
    group.end(PATIENCE)?;
    Ok(())
}

pub(crate) fn a_group_below_that_of_a_container_is_found_by_its_member(world: &World) -> Result {
    let launch = world.launch(WAITS);
    while_up(world, &launch, |group, spawned, _| {
        let own = harness::groups(&format!("{}/one", world.ground.name));
        let v2 = own.iter().find(|dir| dir.join("cgroup.kill").exists()).ok_or("no group")?;
        let below = v2.join("below/deep");
        fs::create_dir_all(&below)?;
        fs::write(below.join("cgroup.procs"), spawned.pid.as_raw_pid().to_string())?;
        let found = rustix::fs::fstat(group.of_member(spawned.pid)?)?;
        assert_eq!(found.st_ino, rustix::fs::stat(&below)?.st_ino);
        // One of the device is no member, wherever it is.
        assert!(group.of_member(rustix::process::getpid()).is_err());
        Ok(())
    })
}

pub(crate) fn only_pipes_and_a_socket_for_a_terminal_are_handed_on(world: &World) -> Result {
    let pipes = || -> Result<_> { Ok((pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?)) };
    let file: OwnedFd = fs::File::open(world.file("secret", "x")?)?.into();
    let ((input, _a), (_b, output)) = pipes()?;
    assert!(!Streams::Pipes { input, output, errors: file.try_clone()? }.are_harmless());
    assert!(!Streams::Terminal(file).are_harmless());
    let null: OwnedFd = fs::File::open("/dev/null")?.into();
    let ((_, output), (_, errors)) = pipes()?;
    assert!(!Streams::Pipes { input: null, output, errors }.are_harmless());
    let network: OwnedFd = std::net::TcpListener::bind("127.0.0.1:0")?.into();
    assert!(!Streams::Terminal(network).are_harmless());
    Ok(())
}
