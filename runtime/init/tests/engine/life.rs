//! From the start of an assembled container to its end.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;

use container::cgroup::{Instance, Trees};
use container::enter::{Report, Streams};
use container::failure::Step;
use container::reaper;
use formats::control::Program;
use harness::Result;
use init::assembly::Assembled;
use init::engine::{Engine, Running};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use statemachine::container::Outcome;

use crate::world::{BOOT, World, config, read_until, wait};

/// A script that has said `up` and then only waits.
const WAITS: &str = "echo up; while true; do sleep 1000; done";

/// Nothing is mounted below the runtime directory, and no group of a container is there.
fn invariant_all_is_down(world: &World) -> Result {
    world.engine.forget("web")?;
    assert_eq!(world.mounted()?, [""; 0]);
    assert!(!world.engine.paths().volumes("web").exists());
    let groups = harness::groups(&format!("{}/web", world.ground.name));
    assert!(groups.is_empty(), "{groups:?}");
    Ok(())
}

pub(crate) fn an_assembled_container_runs_and_leaves_nothing(world: &World) -> Result {
    let assembled = world.assemble(BOOT, "echo hello; cat /etc/origin; echo $container; ls -d /pantavisor", "")?;
    fs::create_dir_all(world.engine.paths().control("web"))?;
    let running = world.start(&assembled)?;
    assert_eq!(world.mounted()?.len(), 3, "the image, its overlay in memory, and where that is kept");
    let run = wait(running)?;
    assert_eq!((run.outcome, run.failure), (Outcome::Code(0), None));
    assert_eq!(run.log, "hello\nimage\npv-app\n/pantavisor\n");
    world.engine.unmount("web")?;
    invariant_all_is_down(world)
}

pub(crate) fn a_container_is_asked_to_end_by_the_signal_that_it_takes(world: &World) -> Result {
    for (signal, code) in [("TERM", 3), ("PWR", 4)] {
        let script = format!("trap 'exit {code}' {signal}; echo up; while true; do sleep 0.05; done");
        let assembled = world.assemble(BOOT, &script, "")?;
        let running = world.start(&assembled)?;
        read_until(&running, "up")?;
        world.engine.terminate(&assembled, &running)?;
        assert_eq!(wait(running)?.outcome, Outcome::Code(code), "{signal}");
        world.engine.unmount("web")?;
    }
    Ok(())
}

pub(crate) fn a_container_that_names_a_signal_is_asked_by_that_one(world: &World) -> Result {
    let script = "trap 'exit 3' TERM; trap 'exit 5' USR1; echo up; while true; do sleep 0.05; done";
    let assembled = world.assemble(BOOT, script, "lxc.signal.halt = SIGUSR1\n")?;
    let running = world.start(&assembled)?;
    read_until(&running, "up")?;
    world.engine.terminate(&assembled, &running)?;
    assert_eq!(wait(running)?.outcome, Outcome::Code(5));
    world.engine.unmount("web")?;
    Ok(())
}

pub(crate) fn what_lines_say_of_limits_and_the_kernel_holds_inside_and_nowhere_else(world: &World) -> Result {
    let (name, here) = ("net.ipv4.ip_local_port_range", fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?);
    let lines = format!(
        "lxc.namespace.keep = user\nlxc.mount.auto = proc\nlxc.sysctl.{name} = 4000 4001\nlxc.prlimit.nofile = 77:99\n\
         lxc.prlimit.locks = 5\nlxc.init.groups = 27,4\nlxc.proc.oom_score_adj = 321\n"
    );
    let script = "cat /proc/sys/net/ipv4/ip_local_port_range; ulimit -n; grep -E '^Max file locks' /proc/self/limits; id -G; \
                  cat /proc/self/oom_score_adj";
    let run = world.run(&world.assemble(BOOT, script, &lines)?)?;
    let words: Vec<&str> = run.log.split_ascii_whitespace().collect();
    let expected = ["4000", "4001", "77", "Max", "file", "locks", "5", "5", "locks", "0", "27", "4", "321"];
    // Ids in whatever order the program prints them.
    assert_eq!(
        (words.len(), words.get(..9), words.last()),
        (expected.len(), expected.get(..9), expected.last()),
        "{}",
        run.log
    );
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?, here);
    world.engine.unmount("web")?;
    Ok(())
}

pub(crate) fn a_container_that_does_not_listen_is_killed(world: &World) -> Result {
    let assembled = world.assemble(BOOT, WAITS, "")?;
    let running = world.start(&assembled)?;
    read_until(&running, "up")?;
    world.engine.terminate(&assembled, &running)?;
    world.engine.kill("web")?;
    assert_eq!(wait(running)?.outcome, Outcome::Signal(9));
    world.engine.unmount("web")?;
    world.engine.kill("web")?;
    invariant_all_is_down(world)
}

pub(crate) fn a_stage_that_fails_says_where(world: &World) -> Result {
    let run =
        world.run(&world.assemble(BOOT, WAITS, "lxc.mount.entry = /no/such mnt none bind,create=dir 0 0\n")?)?;
    let failure = run.failure.ok_or("it runs")?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Source, "/no/such"));
    let said = "cannot open the source /no/such: No such file or directory (os error 2); the container does not start \
                without it unless the entry says optional";
    assert_eq!(failure.to_string(), said);
    invariant_all_is_down(world)
}

pub(crate) fn a_limit_that_this_device_lacks_starts_nothing(world: &World) -> Result {
    let assembled = world.assemble(BOOT, WAITS, "lxc.cgroup2.nothing.max = 1\n")?;
    let mounts = world.mount(&assembled)?;
    let error = world.engine.start(&assembled, &mounts).err().ok_or("it runs")?.to_string();
    assert!(error.contains("lxc.cgroup2.nothing.max cannot be honoured on this device"), "{error}");
    assert!(error.contains("the cgroup controller nothing"), "{error}");
    world.engine.unmount("web")?;
    invariant_all_is_down(world)
}

pub(crate) fn a_limit_that_it_can_do_without_is_left_out_where_this_device_lacks_it(world: &World) -> Result {
    let lines = |more: &str| format!("lxc.cgroup2.pids.max = 64\n{more}");
    let without = fs::read_to_string("/proc/self/mounts")?;
    let without: Vec<_> = without.lines().filter(|line| !line.contains("pids")).collect();
    let trees = Trees::parse(&without.join("\n")).ok_or("no cgroup2 is mounted")?;
    let counts = fs::read_to_string(trees.root().join("cgroup.controllers"))?.contains("pids");
    let engine = Engine::new(world.engine.paths().clone(), Instance::open(&trees, &world.ground.name)?);
    let lacking: &[&str] = if counts { &[] } else { &["lxc.cgroup2.pids.max"] };

    let optional = lines(
        "cairn.optional = lxc.cgroup2.pids.max\nlxc.cgroup2.nothing.max = 1\ncairn.optional = lxc.cgroup2.nothing.max\n",
    );
    let assembled = world.assemble(BOOT, "echo runs", &optional)?;
    let running = engine.start(&assembled, &world.mount(&assembled)?)?;
    assert_eq!(running.missed, [lacking, &["lxc.cgroup2.nothing.max"]].concat());
    assert_eq!(wait(running)?.output()?, "runs\n");
    world.engine.unmount("web")?;

    // The same where it is there, and where it is asked for.
    let assembled = world.assemble(BOOT, "true", &lines("cairn.optional = lxc.cgroup2.pids.max\n"))?;
    let running = world.start(&assembled)?;
    assert_eq!((running.missed.len(), running.group.usage().tasks.is_some()), (0, true));
    wait(running)?;
    world.engine.unmount("web")?;
    let assembled = world.assemble(BOOT, "true", &lines(""))?;
    let started = engine.start(&assembled, &world.mount(&assembled)?);
    assert_eq!(started.is_ok(), counts, "a limit that was asked for is not there, and it runs");
    world.engine.unmount("web")?;
    invariant_all_is_down(world)
}

pub(crate) fn device_nodes_are_those_that_the_rules_leave(world: &World) -> Result {
    let script = "echo x > /dev/null && echo null; echo x > /dev/full; cat /dev/zero 2>/dev/null || echo no zero";
    let lines = "lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 rw\n";
    let log = world.output(BOOT, script, lines)?;
    assert!(log.contains("null\n") && log.ends_with("no zero\n"), "{log}");
    Ok(())
}

/// What `pvr app add` writes about device nodes, and further rules.
pub(crate) fn usual(more: &str) -> String {
    let rule = |(major, minor): &(u32, Option<u32>)| {
        let minor = minor.map_or("*".to_owned(), |minor| minor.to_string());
        format!("lxc.cgroup.devices.allow = c {major}:{minor} rwm\n")
    };
    let usual: String = formats::lxc::privileges::USUAL_DEVICES.iter().map(rule).collect();
    format!("lxc.cgroup.devices.deny = a\n{usual}{more}")
}

pub(crate) fn a_confined_container_has_its_own_nodes_its_terminals_and_what_is_granted(world: &World) -> Result {
    let entry = "lxc.mount.entry = /dev/loop-control dev/granted none bind,rw,create=file 0 0\n";
    // Without a terminal there is nothing behind `tty`, and one that is locked cannot be opened: neither is a refusal.
    let script = "for node in null zero full random urandom; do : < /dev/$node && echo $node; done; (: < /dev/tty) 2>&1; \
                  exec 3<>/dev/ptmx; ls /dev/pts; (: < /dev/pts/0) 2>&1; rm /etc/origin && echo removed; \
                  mknod /tmp/mem c 1 1 2>&1; mknod /tmp/disk b 8 0 2>&1; (: <> /dev/granted) 2>&1 && echo opened";
    let log = |more: &str| world.output(BOOT, &[script, "; true"].concat(), &(usual(more) + entry));
    let refused = log("")?;
    assert!(refused.starts_with("null\nzero\nfull\nrandom\nurandom\n"), "{refused}");
    assert!(refused.contains("\n0\n") && refused.contains("removed\n"), "{refused}");
    for path in ["/tmp/mem", "/tmp/disk", "/dev/granted"] {
        let is_refused = |line: &&str| line.contains(path) && line.contains("Operation not permitted");
        assert_eq!(refused.lines().filter(is_refused).count(), 1, "{path}: {refused}");
    }
    assert_eq!(refused.matches("not permitted").count(), 3, "{refused}");
    let granted = log("lxc.cgroup.devices.allow = c 10:237 rw\n")?;
    assert!(granted.ends_with("opened\n") && !refused.contains("opened"), "{granted}");
    Ok(())
}

pub(crate) fn a_program_that_cannot_run_here_says_why(world: &World) -> Result {
    // A head of ELF for a machine that there is none of.
    let foreign = format!("\u{7f}ELF\u{2}\u{1}\u{1}{}\u{2}\0\u{7f}\u{7f}{}", "\0".repeat(9), "\0".repeat(100));
    let files = [
        ("foreign", foreign.as_str(), 0o755, "it is for another machine, or no program"),
        ("plain", "#!/bin/sh\n", 0o644, "it is no file, or may not be executed"),
        ("script", "#!/bin/no-shell\n", 0o755, "it is not in the root, or its interpreter is not"),
    ];
    for (name, text, mode, why) in files {
        let file = world.file(&format!("_config/web/bin/{name}"), text)?;
        fs::set_permissions(file, fs::Permissions::from_mode(mode))?;
        let config = config("web", "true", "").replace("/bin/sh -c \"true\"", &format!("/bin/{name}"));
        let failure = world.run(&world.assemble_whole(BOOT, &config)?)?.failure.ok_or("it runs")?.to_string();
        assert!(failure.starts_with(&format!("cannot execute /bin/{name}: ")) && failure.ends_with(why), "{failure}");
    }
    invariant_all_is_down(world)
}

pub(crate) fn what_an_earlier_life_has_left_is_swept(world: &World) -> Result {
    let running = world.start(&world.assemble(BOOT, WAITS, "")?)?;
    read_until(&running, "up")?;
    world.reborn().sweep()?;
    assert_eq!(wait(running)?.outcome, Outcome::Signal(9));
    invariant_all_is_down(world)
}

/// A program on its way into a container: its first child, the program, and what it has said and reported.
fn enter(
    world: &World,
    assembled: &Assembled,
    running: &Running,
    argv: &[String],
) -> Result<(Pid, fs::File, fs::File)> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let ((input, _), (from, output)) = (pipe()?, pipe()?);
    let streams = Streams::Pipes { input, errors: output.try_clone()?, output };
    let wanted = Program { container: "web".into(), argv: argv.to_vec(), ..Program::default() };
    let entered = world.engine.enter(assembled, &running.group, (running.pid, &running.pidfd), wanted, streams)?;
    Ok((entered.pid, fs::File::from(from), fs::File::from(entered.report)))
}

pub(crate) fn what_asks_a_container_whether_it_is_ready_is_confined_as_its_own_program_and_ends_with_it(
    world: &World,
) -> Result {
    let facts = "id; pwd; echo $A; ulimit -n; cat /proc/self/cgroup; \
                 grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups)' /proc/self/status; \
                 for ns in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$ns; done";
    let asks = format!(r#","status_goal":"READY","readiness":{{"exec":["sh","-c","{facts}; exit 3"],"retries":1}}"#);
    let lines = "lxc.init.uid = 1000\nlxc.init.gid = 1000\nlxc.init.cwd = /srv\nlxc.environment = A=1\n\
                 lxc.prlimit.nofile = 77:99\nlxc.no_new_privs = 1\nlxc.cap.keep = chown\n";
    let assembled = world.assemble(&[BOOT, &asks].concat(), &format!("{facts}; echo that is all; {WAITS}"), lines)?;
    let readiness = assembled.manifest.readiness.clone().ok_or("its manifest says how")?;
    let running = world.start(&assembled)?;
    let own = read_until(&running, "that is all\nup")?;
    let (first, mut from, mut report) = enter(world, &assembled, &running, &readiness.exec)?;
    let (mut said, mut told) = (String::new(), Vec::new());
    from.read_to_string(&mut said)?;
    report.read_to_end(&mut told)?;
    assert_eq!(own.split("that is all").next(), Some(said.as_str()), "other rights than those of its own program");
    assert!(said.starts_with("uid=1000 gid=1000") && said.contains("NoNewPrivs:\t1"), "{said}");
    let program = Report::decode(&told)?.pid.ok_or("it did not run")?;
    let mut left = vec![(first, Outcome::Code(0)), (program, Outcome::Code(3))];

    // One that does not end by itself.
    let (first, mut from, mut report) = enter(world, &assembled, &running, &["sleep".into(), "1000".into()])?;
    report.read_to_end(&mut told)?;
    let program = Report::decode(told.get(5..).unwrap_or_default())?.pid.ok_or("it did not run")?;
    left.extend([(first, Outcome::Code(0)), (program, Outcome::Signal(9))]);
    world.engine.kill("web")?;
    from.read_to_string(&mut said)?;
    let own = running.pid;
    left.push((own, Outcome::Signal(9)));
    while !left.is_empty() {
        if let Some((pid, outcome)) = reaper::next()? {
            left.retain(|(one, expected)| {
                assert!(*one != pid || *expected == outcome, "{pid:?}: {outcome:?} and not {expected:?}");
                *one != pid
            });
        }
    }
    world.engine.unmount("web")?;
    drop(running);
    invariant_all_is_down(world)
}

pub(crate) fn a_program_enters_as_the_configuration_says_and_with_variables_of_its_caller(world: &World) -> Result {
    let lines = "lxc.init.uid = 1000\nlxc.init.gid = 1000\nlxc.init.cwd = /srv\nlxc.environment = A=1\n\
                 lxc.environment = B=2\nlxc.prlimit.nofile = 77:99\nlxc.no_new_privs = 1\n";
    let assembled = world.assemble(BOOT, WAITS, lines)?;
    let running = world.start(&assembled)?;
    read_until(&running, "up")?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let ((input, _), (from, output)) = (pipe()?, pipe()?);
    let streams = Streams::Pipes { input, errors: output.try_clone()?, output };
    let script = "id -u; pwd; echo $A $B $C; ulimit -n; grep NoNewPrivs /proc/self/status";
    let wanted = Program {
        container: "web".into(),
        argv: ["sh", "-c", script].map(String::from).into(),
        env: vec!["B=of the caller".into(), "C=3".into()],
        terminal: false,
        detached: false,
    };
    let entered = world.engine.enter(&assembled, &running.group, (running.pid, &running.pidfd), wanted, streams)?;
    let (mut said, mut report) = (String::new(), Vec::new());
    fs::File::from(from).read_to_string(&mut said)?;
    fs::File::from(entered.report).read_to_end(&mut report)?;
    let report = Report::decode(&report)?;
    assert_eq!(said, "1000\n/srv\n1 of the caller 3\n77\nNoNewPrivs:\t1\n");
    let mut left: Vec<_> = [Some(entered.pid), report.pid].into_iter().flatten().collect();
    while !left.is_empty() {
        if let Some((pid, outcome)) = reaper::next()? {
            assert_eq!(outcome, Outcome::Code(0));
            left.retain(|one| *one != pid);
        }
    }
    world.engine.kill("web")?;
    wait(running)?;
    world.engine.unmount("web")?;
    invariant_all_is_down(world)
}
