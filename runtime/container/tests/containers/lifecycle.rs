//! From the start of a container to its end, and what is told about it.

use std::fs;
use std::time::{Duration, Instant};

use container::cgroup::Limit;
use container::failure::{EXIT_CODE, Failure, Step};
use container::launch::{Mount, Namespaces};
use container::{Launch, halt, reaper};
use harness::{PATIENCE, Result, wait};
use rustix::io::Errno;
use rustix::process::Signal;
use statemachine::container::Outcome;

use crate::world::{World, read_until};

/// A script that has said `up` and then only waits.
const WAITS: &str = "echo up; while true; do sleep 1000; done";

pub(crate) fn the_program_is_pid_one_inside_and_a_child_of_this_process_outside(world: &World) -> Result {
    let (spawned, group) = world.start(&world.launch(&format!("echo pid $$ of $PPID; {WAITS}")))?;
    assert!(read_until(&spawned, "up")?.contains("pid 1 of 0\n"));
    let pid = spawned.pid.as_raw_pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).ok_or("no parent")?;
    assert_eq!(parent, std::process::id().to_string());
    assert!(status.starts_with("Name:\tsh\n"), "{status}");
    // No monitor: between the two, and beside them, there is nothing but the shell and its `sleep`.
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()))?;
    assert_eq!(children.trim(), pid.to_string());
    group.kill()?;
    assert_eq!(wait(spawned)?.outcome, Outcome::Signal(9));
    group.remove()?;
    Ok(())
}

pub(crate) fn an_exit_code_and_a_signal_are_told_apart(world: &World) -> Result {
    assert_eq!(world.run(&world.launch("exit 7"))?.outcome, Outcome::Code(7));
    assert_eq!(world.run(&world.launch("exit 137"))?.outcome, Outcome::Code(137));
    // As PID 1 of its own it could not even kill itself.
    let mut shared = world.launch("kill -SEGV $$");
    shared.namespaces.pid = false;
    assert_eq!(world.run(&shared)?.outcome, Outcome::Signal(11));
    let (spawned, group) =
        world.start(&world.launch("trap 'exit 3' TERM; echo up; while true; do sleep 0.05; done"))?;
    read_until(&spawned, "up")?;
    rustix::process::pidfd_send_signal(&spawned.pidfd, Signal::TERM)?;
    assert_eq!(wait(spawned)?.outcome, Outcome::Code(3));
    group.end(Duration::from_secs(5))?;
    Ok(())
}

pub(crate) fn a_container_gets_its_own_arguments_variables_and_directory(world: &World) -> Result {
    let mut launch = world.launch("");
    launch.process.argv = ["sh", "-c", "echo $0 $1; env; pwd; id", "zero", "one two"].map(String::from).into();
    launch.process.env.push(("container".into(), "lxc".into()));
    launch.process.cwd = "/srv".into();
    launch.process.uid = 1000;
    launch.process.gid = 100;
    launch.process.groups = vec![7];
    let log = world.output(&launch)?;
    assert!(log.starts_with("zero one two\n"), "{log}");
    assert!(log.contains("container=lxc\n") && log.contains("PATH=/bin\n") && log.contains("\n/srv\n"), "{log}");
    assert!(log.contains("uid=1000 gid=100 groups=7"), "{log}");
    assert!(!log.contains("CARGO"), "{log}");
    Ok(())
}

pub(crate) fn nothing_of_the_parent_is_inherited(world: &World) -> Result {
    // Descriptors that somebody has forgotten to close on exec (so many that they are not all replaced by those of the
    // stage), and a blocked signal; SIGPIPE is ignored in every Rust program.
    let file = fs::File::open("/proc/self/status")?;
    let forgotten = (0..20).map(|_| rustix::io::dup(&file)).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
    let log = world.output(
        &world.launch("grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls /proc/self/fd; ls -l /proc/self/fd; umask"),
    );
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut()) };
    let log = log?;
    drop(forgotten);
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(log.contains(&format!("{set}:\t0000000000000000\n")), "{log}");
    }
    // Three, and the one with which `ls` lists them.
    assert!(log.contains("\n0\n1\n2\n3\n"), "{log}");
    assert_eq!(log.matches("-> pipe:").count(), 2, "{log}");
    assert_eq!(log.matches("0 -> /dev/null").count(), 1, "{log}");
    assert!(log.ends_with("0022\n"), "{log}");
    Ok(())
}

pub(crate) fn a_failing_step_is_reported_with_its_place(world: &World) -> Result {
    type Change = fn(&mut Launch) -> std::result::Result<(), container::launch::MountError>;
    let missing = world.ground.path("missing");
    let mut table: Vec<(Launch, Step, String, Errno)> = Vec::new();
    let mut add = |change: Change, step, path: &str, errno| -> Result {
        let mut launch = world.launch("true");
        change(&mut launch)?;
        table.push((launch, step, path.to_owned(), errno));
        Ok(())
    };
    let exec = |launch: &mut Launch| {
        launch.process.argv = vec!["/bin/no-such".into()];
        Ok(())
    };
    add(exec, Step::Exec, "/bin/no-such", Errno::NOENT)?;
    let directory = |launch: &mut Launch| {
        launch.process.argv = vec!["/tmp".into()];
        Ok(())
    };
    add(directory, Step::Exec, "/tmp", Errno::ACCESS)?;
    let cwd = |launch: &mut Launch| {
        launch.process.cwd = "/no/such".into();
        Ok(())
    };
    add(cwd, Step::Cwd, "/no/such", Errno::NOENT)?;
    let source = |launch: &mut Launch| {
        launch.mounts.push(Mount::from_fstab("/no/such", "srv", "none", ["bind"])?);
        Ok(())
    };
    add(source, Step::Source, "/no/such", Errno::NOENT)?;
    let no_directory = |launch: &mut Launch| {
        launch.mounts.push(Mount::from_fstab("/dev/null/x", "srv", "none", ["bind"])?);
        Ok(())
    };
    add(no_directory, Step::Source, "/dev/null/x", Errno::NOTDIR)?;
    let target = |launch: &mut Launch| {
        launch.mounts.push(Mount::from_fstab("/tmp", "no/such", "none", ["bind"])?);
        Ok(())
    };
    add(target, Step::Target, "no/such", Errno::NOENT)?;
    let kind = |launch: &mut Launch| {
        launch.mounts.push(Mount::from_fstab("none", "srv", "nosuchfs", [])?);
        Ok(())
    };
    add(kind, Step::Mount, "srv", Errno::NODEV)?;
    let cgroup = |launch: &mut Launch| {
        launch.process.oom_score_adj = 2000;
        Ok(())
    };
    add(cgroup, Step::Cgroup, "/proc/self/oom_score_adj", Errno::INVAL)?;
    let filter = |launch: &mut Launch| {
        launch.process.seccomp = Some(vec![0xff; 8]);
        Ok(())
    };
    add(filter, Step::Seccomp, "", Errno::INVAL)?;
    let mut layer = world.launch("true");
    layer.root.layers.push(missing.clone());
    table.push((layer, Step::Layer, missing, Errno::NOENT));
    for (launch, step, path, errno) in table {
        let run = world.run(&launch)?;
        assert_eq!(run.failure, Some(Failure { step, path, errno: errno.raw_os_error() }));
        assert_eq!(run.outcome, Outcome::Code(EXIT_CODE));
    }
    Ok(())
}

pub(crate) fn killing_the_group_kills_all_of_it(world: &World) -> Result {
    // With the pids of the device, so that it is not the end of a pid namespace that ends them.
    let mut launch = world.launch(&format!("setsid sleep 1001 & (setsid sleep 1002 &) ; {WAITS}"));
    launch.namespaces = Namespaces { pid: false, ..Namespaces::OWN };
    let (spawned, group) = world.start(&launch)?;
    read_until(&spawned, "up")?;
    let procs = || fs::read_to_string(world_procs(world));
    while procs()?.lines().count() < 4 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pids = procs()?;
    assert!(group.is_populated()?);
    group.kill()?;
    assert_eq!(wait(spawned)?.outcome, Outcome::Signal(9));
    group.end(Duration::from_secs(10))?;
    for pid in pids.lines() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!stat.contains("sleep") || stat.contains(") Z "), "{stat}");
    }
    Ok(())
}

fn world_procs(world: &World) -> String {
    let v2 = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|dir| std::path::Path::new(&format!("{dir}/cgroup.controllers")).exists());
    format!("{}/{}/one/cgroup.procs", v2.unwrap_or_default(), world.ground.name)
}

pub(crate) fn a_frozen_container_stands_still_and_goes_on(world: &World) -> Result {
    let (spawned, group) = world.start(&world.launch("echo up; while true; do sleep 0.01; echo tick; done"))?;
    read_until(&spawned, "tick")?;
    group.freeze(true)?;
    while !group.is_frozen()? {
        std::thread::sleep(Duration::from_millis(1));
    }
    // What was on its way before.
    rustix::io::ioctl_fionbio(&spawned.log, true)?;
    while rustix::io::read(&spawned.log, &mut [0; 4096]).is_ok() {}
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(rustix::io::read(&spawned.log, &mut [0; 4096]), Err(Errno::AGAIN));
    rustix::io::ioctl_fionbio(&spawned.log, false)?;
    group.freeze(false)?;
    read_until(&spawned, "tick")?;
    group.freeze(true)?;
    group.kill()?;
    assert_eq!(wait(spawned)?.outcome, Outcome::Signal(9));
    group.remove()?;
    Ok(())
}

pub(crate) fn a_container_that_uses_up_its_memory_is_told_by_that_name(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    group.limit(&Limit::Memory(Some(32 << 20)), &[])?;
    let spawned = world.start_in(&world.launch("exec tail /dev/zero"), &group)?;
    let run = wait(spawned)?;
    assert!(group.memory_kills()? > 0);
    assert_eq!(reaper::with_memory_kills(run.outcome, group.memory_kills()?), Outcome::OutOfMemory);
    group.end(Duration::from_secs(5))?;
    let run = world.run(&world.launch("true"))?;
    assert_eq!(reaper::with_memory_kills(run.outcome, 0), Outcome::Code(0));
    Ok(())
}

pub(crate) fn who_reboots_itself_or_powers_itself_off_is_told_by_that_name(world: &World) -> Result {
    let asks = |applet: &str| -> Result<Outcome> {
        let launch = world.launch(&format!("busybox {applet} -f; sleep 1000"));
        // With those of this machine it would be this machine that reboots.
        assert!(launch.namespaces.pid);
        Ok(reaper::with_own_processes(world.run(&launch)?.outcome))
    };
    assert_eq!(asks("reboot")?, Outcome::AskedReboot);
    assert_eq!(asks("poweroff")?, Outcome::AskedPowerOff);
    assert_eq!(asks("halt")?, Outcome::AskedPowerOff);
    // The same signals, sent by somebody, are not even heard by who does not handle them. A shell would.
    let mut waits = world.launch("");
    waits.process.argv = ["busybox", "sleep", "1000"].map(String::from).into();
    let (spawned, group) = world.start(&waits)?;
    let comm = format!("/proc/{}/comm", spawned.pid.as_raw_pid());
    while fs::read_to_string(&comm)? != "busybox\n" {
        std::thread::sleep(Duration::from_millis(1));
    }
    rustix::process::pidfd_send_signal(&spawned.pidfd, Signal::HUP)?;
    rustix::process::pidfd_send_signal(&spawned.pidfd, Signal::INT)?;
    std::thread::sleep(Duration::from_millis(60));
    assert!(group.is_populated()?);
    group.kill()?;
    assert_eq!(reaper::with_own_processes(wait(spawned)?.outcome), Outcome::Signal(9));
    group.remove()?;
    Ok(())
}

pub(crate) fn the_init_of_busybox_is_asked_in_its_own_language_and_powers_itself_off(world: &World) -> Result {
    let table = "::sysinit:/bin/busybox echo up\\n::shutdown:/bin/busybox echo down\\n";
    let launch =
        world.launch(&format!("printf '{table}' > /etc/inittab; ln -s /bin/busybox /tmp/init; exec /tmp/init"));
    assert!(launch.namespaces.pid);
    let (spawned, group) = world.start(&launch)?;
    read_until(&spawned, "up")?;
    // While it waits for signals the kernel shows it as one that blocks none: then it is known by its name alone.
    let status = format!("/proc/{}/status", spawned.pid.as_raw_pid());
    let limit = Instant::now() + PATIENCE;
    while !fs::read_to_string(&status)?.contains("SigBlk:\t0000000000000000") {
        assert!(Instant::now() < limit, "it never waits");
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = halt::ask(spawned.pid, &spawned.pidfd, None)?;
    let run = wait(spawned)?;
    assert_eq!(asked, Signal::POWER.as_raw(), "SIGTERM would mean a reboot");
    assert!(run.log.contains("down"), "{}", run.log);
    assert_eq!(reaper::with_own_processes(run.outcome), Outcome::AskedPowerOff);
    group.end(Duration::from_secs(5))?;
    Ok(())
}

pub(crate) fn a_container_cannot_have_more_tasks_than_its_limit(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    group.limit(&Limit::Tasks(Some(3)), &[])?;
    let spawned = world.start_in(&world.launch("for i in 1 2 3 4 5 6; do sleep 1000 & done; echo all"), &group)?;
    let run = wait(spawned)?;
    assert!(run.outcome != Outcome::Code(0) && !run.log.contains("all"), "{}", run.log);
    group.end(Duration::from_secs(5))?;
    Ok(())
}

pub(crate) fn what_an_earlier_life_has_left_is_swept(world: &World) -> Result {
    let (spawned, group) = world.start(&world.launch(WAITS))?;
    read_until(&spawned, "up")?;
    world.ground.instance.sweep(Duration::from_secs(10))?;
    assert_eq!(wait(spawned)?.outcome, Outcome::Signal(9));
    assert!(group.open().is_err());
    Ok(())
}
