//! Users of a container's own: who they are outside, and how far they reach.
//!
//! Not shown here: that limits may be higher than the heir could set them, for which the machine of the test may lack the
//! right itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use container::failure::Step;
use container::launch::{
    Attributes, CgroupMode, Create, Launch, Mount, ProcMode, Range, Resource, Rlimit, Source, SysMode, TARGETS_MASKED,
    TARGETS_READ_ONLY, Users,
};
use container::{Spawned, spawn_held};
use harness::{PATIENCE, Result, host, wait};
use rustix::fd::AsFd as _;
use rustix::io::Errno;
use statemachine::container::Outcome;

use crate::world::{World, read_until};

/// Where the ranges of the tests begin.
const FIRST: u32 = 7_000_000;
const OTHER: u32 = 8_000_000;

fn users(first: u32) -> Users {
    let range = vec![Range { inside: 0, outside: first, count: 65536 }];
    Users { uids: range.clone(), gids: range }
}

/// A container with users of its own that runs a script.
pub(crate) fn launch(world: &World, script: &str) -> Launch {
    Launch { users: Some(users(FIRST)), ..world.launch(script) }
}

/// A volume of the container, at `/data`.
fn volume(world: &World, name: &str) -> Result<Mount> {
    fs::create_dir_all(world.ground.dir.join(name))?;
    Ok(Mount {
        source: Source::Within { dir: world.ground.path(name), path: String::new(), recursive: true, create: false },
        target: "data".into(),
        attributes: Attributes::default(),
        create: Some(Create::Dir),
        optional: false,
    })
}

fn status(spawned: &Spawned, key: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{}/status", spawned.pid.as_raw_pid()))?;
    Ok(text.lines().find_map(|line| line.strip_prefix(key)).ok_or("no such line")?.trim().to_owned())
}

pub(crate) fn root_inside_is_nobody_outside(world: &World) -> Result {
    let script = "id -u; id -g; echo $$; echo up; while true; do sleep 1000; done";
    let (spawned, group) = world.start(&launch(world, script))?;
    let log = read_until(&spawned, "up");
    let said = ["Uid:", "Gid:", "PPid:"].map(|key| status(&spawned, key));
    let namespaces = ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"].map(|kind| {
        let read = |who: &str| fs::read_link(format!("/proc/{who}/ns/{kind}"));
        Ok::<_, std::io::Error>(read(&spawned.pid.as_raw_pid().to_string())? != read("self")?)
    });
    group.kill()?;
    wait(spawned)?;
    group.remove()?;
    assert_eq!(log?, "0\n0\n1\nup\n");
    let [uids, gids, parent] = said;
    let all = [FIRST; 4].map(|id| id.to_string()).join("\t");
    assert_eq!((uids?, gids?, parent?), (all.clone(), all, std::process::id().to_string()));
    for own in namespaces {
        assert!(own?);
    }
    Ok(())
}

pub(crate) fn files_have_the_ids_of_inside_on_their_disk_whatever_the_range(world: &World) -> Result {
    let on_disk = |path: &str| -> Result<(u32, u32)> {
        let stat = fs::metadata(world.ground.dir.join(path))?;
        Ok((stat.uid(), stat.gid()))
    };
    world.file("image/etc/theirs", "")?;
    std::os::unix::fs::chown(world.ground.dir.join("image/etc/theirs"), Some(33), Some(34))?;
    let mut one = launch(
        world,
        "echo one > /data/f; chown 33:34 /data/f; echo x > /etc/new; echo y >> /etc/theirs; \
         stat -c '%u:%g' /data /data/f /etc/new /etc/theirs /bin/busybox /tmp",
    );
    one.mounts.push(volume(world, "data")?);
    assert_eq!(world.output(&one)?, "0:0\n33:34\n0:0\n33:34\n0:0\n0:0\n");
    assert_eq!((on_disk("data/f")?, on_disk("upper/etc/new")?), ((33, 34), (0, 0)));
    assert_eq!(on_disk("upper/etc/theirs")?, (33, 34), "what is copied up keeps its owner");
    // Another range, and then the users of the device: the same files.
    let script = "cat /data/f; stat -c '%u:%g' /data/f /etc/new; rm /data/f && echo two > /data/g";
    let mut other = Launch { users: Some(users(OTHER)), ..launch(world, script) };
    other.mounts.push(volume(world, "data")?);
    assert_eq!(world.output(&other)?, "one\n33:34\n0:0\n");
    assert_eq!(on_disk("data/g")?, (0, 0));
    let mut plain = Launch { users: None, ..launch(world, "stat -c '%u:%g' /data/g /etc/new; cat /data/g") };
    plain.mounts.push(volume(world, "data")?);
    assert_eq!(world.output(&plain)?, "0:0\n0:0\ntwo\n");
    Ok(())
}

pub(crate) fn what_is_of_the_device_stays_the_device_s(world: &World) -> Result {
    let secret = world.file("secret/file", "secret\n")?;
    let open = world.file("open/file", "open\n")?;
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600))?;
    let script = "cat /srv/file; cat /open/file; echo x > /open/file; chown 0 /open/file; chmod 666 /open/file; \
                  touch /open/new; stat -c %u /open/file; mknod /tmp/null c 1 3; mknod /dev/sda b 8 0; \
                  mount -t ext4 /dev/vda /tmp; echo done";
    let mut launch = launch(world, script);
    for (from, to) in [(&secret, "srv"), (&open, "open")] {
        let dir = from.parent().ok_or("no parent")?.display().to_string();
        launch.mounts.push(Mount::from_fstab(&dir, to, "none", ["bind", "create=dir"])?);
    }
    let log = world.output(&launch)?;
    for refused in [
        "cat: can't open '/srv/file': Permission denied",
        "can't create /open/file: Permission denied",
        "chown: /open/file: Operation not permitted",
        "chmod: /open/file: Operation not permitted",
        "touch: /open/new: Permission denied",
        "mknod: /tmp/null: Operation not permitted",
        "mknod: /dev/sda: Operation not permitted",
    ] {
        assert!(log.contains(refused), "{refused}: {log}");
    }
    assert!(log.contains("\n65534\n") && log.contains("open\n") && log.ends_with("done\n"), "{log}");
    assert!(log.lines().any(|line| line.starts_with("mount:")), "{log}");
    assert_eq!(fs::read_to_string(&open)?, "open\n");
    Ok(())
}

pub(crate) fn its_mounts_cannot_be_taken_apart(world: &World) -> Result {
    let open = world.file("open/file", "open\n")?;
    fs::set_permissions(&open, PermissionsExt::from_mode(0o666))?;
    let mut launch = launch(
        world,
        "mount -o remount,bind,rw /open; echo x > /open/file; umount /open; umount /proc/keys; umount /proc; \
         mount -o remount,bind,rw /proc/sys; mount -o remount,bind,dev /; \
         mount -t tmpfs mine /tmp && mount -o remount,bind,ro /tmp && mount -o remount,bind,rw /tmp && \
         touch /tmp/x && umount /tmp && echo own; cat /open/file; wc -c < /proc/keys",
    );
    let dir = world.ground.path("open");
    launch.mounts.push(Mount::from_fstab(&dir, "open", "none", ["bind", "ro", "create=dir"])?);
    launch.masked = TARGETS_MASKED.iter().map(ToString::to_string).collect();
    launch.read_only = TARGETS_READ_ONLY.iter().map(ToString::to_string).collect();
    let log = world.output(&launch)?;
    assert!(log.ends_with("own\nopen\n0\n"), "its own mounts are its own: {log}");
    assert!(log.contains("/open/file: Read-only file system"), "{log}");
    assert_eq!(log.lines().filter(|line| line.starts_with("umount: can't")).count(), 3, "{log}");
    assert_eq!(log.lines().filter(|line| line.starts_with("mount: ")).count(), 3, "{log}");
    assert_eq!(fs::read_to_string(open)?, "open\n");
    Ok(())
}

pub(crate) fn its_namespaces_are_under_its_rule_and_those_of_the_device_are_not(world: &World) -> Result {
    let script = "hostname other && hostname; ip link set lo down && echo down; \
                  echo 1 > /proc/sys/net/ipv4/ip_forward && echo forwards; echo 7 > /proc/sys/vm/swappiness || echo no; \
                  ls /proc | grep -c '^[0-9]'; ls /sys/class/net";
    let mut launch = launch(world, script);
    launch.proc = Some(ProcMode::Writable);
    launch.sys = Some(SysMode::ReadOnly);
    let log = world.output(&launch)?;
    assert!(log.starts_with("other\ndown\nforwards\n") && log.contains("\nno\n"), "{log}");
    assert!(log.lines().any(|line| line == "lo") && !log.contains("eth"), "{log}");
    let pids: u32 = log.lines().find_map(|line| line.parse().ok()).ok_or("no number")?;
    assert!((1..=5).contains(&pids), "processes of the device are in its /proc: {log}");
    // Of the device: the network, whose name it sees and cannot change, and the host name.
    launch.process.argv = ["sh", "-c", "ip link set lo mtu 1400; hostname other; true"].map(String::from).into();
    launch.hostname = None;
    launch.namespaces.net = false;
    launch.namespaces.uts = false;
    let log = world.output(&launch)?;
    assert_eq!(log.lines().filter(|line| line.starts_with("ip") || line.starts_with("hostname")).count(), 2, "{log}");
    Ok(())
}

pub(crate) fn dev_and_console_are_as_for_every_container(world: &World) -> Result {
    let log = world.output(&launch(
        world,
        "ls /dev; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; \
         test -c /dev/ptmx && echo ptmx; echo y > /dev/shm/x && cat /dev/shm/x; stat -c '%u:%g' /dev /dev/null /dev/shm; \
         stat -c %a /dev/null; setsid sh -c 'exec > /tmp/out; echo kept; echo hello > /dev/console'; \
         sh -c 'echo err > /dev/stderr'; mount -t devpts -o newinstance x /tmp && ls /tmp",
    ))?;
    let names = "console\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    let rest = "3\n5\nptmx\ny\n0:0\n0:0\n0:0\n666\nhello\nerr\nptmx\n";
    assert_eq!(log, format!("{names}{rest}"));
    Ok(())
}

pub(crate) fn rights_limits_and_filters_are_in_force_there_too(world: &World) -> Result {
    let mut launch = launch(
        world,
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; id -u; id -G; ulimit -H -n; cat /proc/self/oom_score_adj; \
         hostname other || echo refused",
    );
    launch.process.capabilities.bounding = 1 << 10 | 1 << 21;
    launch.process.capabilities.ambient = 1 << 10;
    launch.process.uid = 1000;
    launch.process.gid = 1001;
    launch.process.groups = vec![5, 1002];
    launch.process.no_new_privs = true;
    launch.process.seccomp = Some(crate::confinement::filter(libc::SYS_sethostname)?);
    let hard = host("sh", &["-c", "ulimit -H -n"])?.trim().parse::<u64>()? - 7;
    launch.process.limits = vec![Rlimit { resource: Resource::OpenFiles, soft: Some(64), hard: Some(hard) }];
    launch.process.oom_score_adj = 300;
    let log = world.output(&launch)?;
    for (set, value) in [("Bnd", 1 << 10 | 1 << 21), ("Eff", 1 << 10), ("Amb", 1 << 10)] {
        assert!(log.contains(&format!("Cap{set}:\t{value:016x}\n")), "{log}");
    }
    assert!(log.contains("NoNewPrivs:\t1\n") && log.contains("Seccomp:\t2\n"), "{log}");
    assert!(log.contains(&format!("\n1000\n1001 5 1002\n{hard}\n300\n")) && log.ends_with("refused\n"), "{log}");
    Ok(())
}

pub(crate) fn it_divides_its_own_group_and_no_limit_of_it(world: &World) -> Result {
    let mut launch = launch(
        world,
        "cd /sys/fs/cgroup; mkdir own && echo $$ > own/cgroup.procs && cat /proc/self/cgroup | grep ^0:; \
         for f in cgroup.max.depth cgroup.freeze memory.max pids.max; do \
         test -e $f && (echo 1 > $f) 2>/dev/null && echo wrote $f; done; echo $$ > cgroup.procs",
    );
    launch.cgroup = Some(CgroupMode::Writable);
    launch.sys = Some(SysMode::ReadOnly);
    assert_eq!(world.output(&launch)?, "0::/own\n");
    Ok(())
}

pub(crate) fn a_step_that_fails_on_either_side_is_reported_with_its_place(world: &World) -> Result {
    let fails = |change: &dyn Fn(&mut Launch)| -> Result<_> {
        let mut launch = launch(world, "");
        change(&mut launch);
        let run = world.run(&launch)?;
        assert_eq!(run.outcome, Outcome::Code(127), "{}", run.log);
        Ok(run.failure.ok_or("it runs")?)
    };
    let failure = fails(&|launch| launch.process.argv = vec!["/no/such".into()])?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Exec, "/no/such"));
    let missing = Mount::from_fstab("/no/such", "srv", "none", ["bind"])?;
    let failure = fails(&|launch| launch.mounts.push(missing.clone()))?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Source, "/no/such"));
    // A file system of which no kernel maps the owners.
    let failure = fails(&|launch| launch.root.layers.insert(0, "/proc/tty".into()))?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Map, "/proc/tty"));
    assert_eq!(failure.errno, Errno::INVAL.raw_os_error());
    assert!(failure.to_string().ends_with("this kernel cannot do that on their file system"), "{failure}");
    Ok(())
}

pub(crate) fn what_is_exported_across_ranges_is_a_stranger_s(world: &World) -> Result {
    use crate::exports::{Showcase, WAIT, begin, end, exporter, import, importer, run};
    let showcase = Showcase::new(world)?;
    let script = format!(
        "mkdir /data/sub; echo public > /data/f; echo private > /data/secret; chmod 600 /data/secret; \
         chmod 777 /data/sub; echo up; {WAIT}"
    );
    let exporter = Launch { users: Some(users(FIRST)), ..exporter(world, &showcase, "data", &script) };
    let one = begin(world, "one", &exporter)?;
    let script = "cat /in/f /in/secret; stat -c %u /in/f; touch /in/x; touch /in/sub/x && stat -c %u /in/sub/x";
    let importer = importer(world, &showcase, import("data"), script)?;
    let other = run(world, &Launch { users: Some(users(OTHER)), ..importer.clone() });
    let same = run(world, &Launch { users: Some(users(FIRST)), ..importer });
    end(one)?;
    let (other, same) = (other?.log, same?.log);
    assert!(other.starts_with("public\n") && other.contains("/in/secret': Permission denied"), "{other}");
    assert!(other.contains("\n65534\n") && other.contains("touch: /in/x: Permission denied"), "{other}");
    assert!(same.starts_with("public\nprivate\n0\n") && !same.contains("touch"), "{same}");
    showcase.withdraw()
}

pub(crate) fn an_import_comes_and_goes_for_users_of_its_own(world: &World) -> Result {
    use crate::exports::{Showcase, WAIT, begin, end, exporter, import, importer};
    let showcase = Showcase::new(world)?;
    let exporter = |word: &str| Launch {
        users: Some(users(FIRST)),
        ..exporter(world, &showcase, "data", &format!("echo {word} > /data/f; echo up; {WAIT}"))
    };
    let one = begin(world, "one", &exporter("first"))?;
    let wait_for = |word: &str| format!("until test \"$(cat /in/f 2>/dev/null)\" = \"{word}\"; do sleep 0.02; done");
    let script =
        format!("{}; echo up; {}; echo empty; {}; echo back", wait_for("first"), wait_for(""), wait_for("second"));
    let launch = Launch { users: Some(users(OTHER)), ..importer(world, &showcase, import("data"), &script)? };
    let other = begin(world, "other", &launch)?;
    end(one)?;
    showcase.withdraw()?;
    read_until(&other.0, "empty")?;
    let one = begin(world, "one", &exporter("second"))?;
    let run = wait(other.0)?;
    other.1.end(PATIENCE)?;
    end(one)?;
    assert_eq!((run.outcome, run.log.as_str()), (Outcome::Code(0), "back\n"));
    showcase.withdraw()
}

pub(crate) fn a_tmpfs_and_its_options_are_for_the_users_of_the_container(world: &World) -> Result {
    let mut launch = launch(world, "stat -c '%u:%g' /run /srv; touch /run/x && stat -c %u /run/x");
    launch.mounts.push(Mount::from_fstab("tmpfs", "run", "tmpfs", ["mode=755", "size=1m", "create=dir"])?);
    launch.mounts.push(Mount::from_fstab("tmpfs", "srv", "tmpfs", ["uid=33", "gid=34"])?);
    assert_eq!(world.output(&launch)?, "0:0\n33:34\n0\n");
    launch.mounts.push(Mount::from_fstab("tmpfs", "srv", "tmpfs", ["uid=65536"])?);
    let failure = world.run(&launch)?.failure.ok_or("it runs")?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Mount, "srv"), "no such user in there");
    Ok(())
}

pub(crate) fn a_start_that_is_cut_short_leaves_neither_half(world: &World) -> Result {
    let launch = launch(world, "while true; do sleep 1000; done");
    for round in 0..12 {
        let (spawned, group) = world.start(&launch)?;
        std::thread::sleep(std::time::Duration::from_micros(round * 500));
        group.kill()?;
        let run = wait(spawned)?;
        assert_eq!(run.outcome, Outcome::Signal(9), "{round}");
        group.end(PATIENCE)?;
    }
    Ok(())
}

pub(crate) fn a_container_that_is_held_waits_in_the_namespaces_of_its_users(world: &World) -> Result {
    let launch = launch(world, "cat /sys/class/net/late/address; id -u");
    let launch = Launch { sys: Some(SysMode::ReadOnly), ..launch };
    for released in [true, false] {
        let group = world.ground.instance.create("one")?;
        let launch =
            Launch { cgroups: group.joined().map(|dir| dir.display().to_string()).collect(), ..launch.clone() };
        let (spawned, held) = spawn_held(&launch, group.open()?.as_fd())?;
        let held = held.ok_or("it is not inside")?;
        let pid = spawned.pid.as_raw_pid().to_string();
        assert_ne!(fs::read_link(format!("/proc/{pid}/ns/user"))?, fs::read_link("/proc/self/ns/user")?);
        // What only somebody from outside can make in there.
        let add = "ip link add late address 02:00:00:00:00:07 type veth peer name other";
        host("nsenter", &["-t", &pid, "-n", "sh", "-c", add])?;
        if released {
            held.release()?;
            let run = wait(spawned)?;
            assert_eq!(run.output()?, "02:00:00:00:00:07\n0\n");
        } else {
            drop(held);
            group.kill()?;
            assert_eq!(wait(spawned)?.outcome, Outcome::Signal(9));
        }
        group.end(PATIENCE)?;
        assert!(!group.exists(), "somebody is left");
    }
    Ok(())
}

pub(crate) fn what_fails_before_there_are_users_is_told_and_nobody_is_held(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    let missing = world.ground.path("no-group");
    let launch = Launch { cgroups: vec![missing.clone()], ..launch(world, "true") };
    let (spawned, held) = spawn_held(&launch, group.open()?.as_fd())?;
    assert!(held.is_none(), "who is connected would be the builder, in the device's network");
    let failure = wait(spawned)?.failure.ok_or("it runs")?;
    assert_eq!((failure.step, failure.path), (Step::Cgroup, format!("{missing}/tasks")));
    group.end(PATIENCE)?;
    Ok(())
}

pub(crate) fn what_is_forbidden_in_addition_is_so_for_its_users(world: &World) -> Result {
    let nosuid = Attributes { nosuid: true, noexec: true, ..Attributes::default() };
    let mut launch = launch(
        world,
        "cp /bin/busybox /data/x; /data/x true || echo not run; mount -o remount,bind,exec,suid /data || echo refused; \
         grep ' /data ' /proc/self/mountinfo | grep -c nosuid.*noexec",
    );
    launch.mounts.push(volume(world, "data")?);
    launch.hardened = vec![("/data".into(), nosuid)];
    let log = world.output(&launch)?;
    assert!(log.contains("not run\n") && log.ends_with("refused\n1\n"), "{log}");
    Ok(())
}

pub(crate) fn settings_of_its_own_namespaces_are_made(world: &World) -> Result {
    let mut launch =
        launch(world, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/kernel/hostname");
    launch.sysctls = vec![("net/ipv4/ip_forward".into(), "1".into()), ("kernel/msgmax".into(), "12345".into())];
    assert_eq!(world.output(&launch)?, "1\n12345\nbox\n");
    Ok(())
}
