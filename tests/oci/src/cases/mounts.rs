//! Mounts, and the file systems that every container has.

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::table::How::{Calls, Inside, Unsayable, Wrong};
use crate::table::{Case, Change, PLAIN};
use crate::world::{World, add, put};

const MOUNTS: &str = "config.md#mounts";
const DEFAULT: &str = "config-linux.md#default-filesystems";
const INFO: &str = "cat /proc/self/mountinfo";

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "mounts/bind",
        section: MOUNTS,
        how: Inside {
            with: |c| bind(c, "/mnt", &["bind"]),
            without: PLAIN,
            script: "cat /mnt/file; echo new > /mnt/new && cat /mnt/new",
            holds: |seen| seen.says("shared") && seen.says("new"),
        },
    },
    Case {
        name: "mounts/bind-read-only",
        section: MOUNTS,
        how: Inside {
            with: |c| bind(c, "/mnt", &["rbind", "ro"]),
            without: |c| bind(c, "/mnt", &["rbind", "rw"]),
            script: "cat /mnt/file; touch /mnt/new 2>&1",
            holds: |seen| seen.says("shared") && seen.log.contains("Read-only file system"),
        },
    },
    Case {
        name: "mounts/bind-options",
        section: MOUNTS,
        how: Inside {
            with: |c| bind(c, "/mnt", &["bind", "nosuid", "nodev", "noexec", "noatime"]),
            without: |c| bind(c, "/mnt", &["bind"]),
            script: INFO,
            holds: |seen| has_options(&seen.log, "/mnt", &["nosuid", "nodev", "noexec", "noatime"]),
        },
    },
    Case {
        name: "mounts/bind-file",
        section: MOUNTS,
        how: Inside {
            with: |c| {
                let mount = json!({"destination": "/etc/passwd", "source": "shared/file", "options": ["bind", "ro"]});
                add(c, "/mounts", mount);
            },
            without: PLAIN,
            script: "cat /etc/passwd",
            holds: |seen| seen.says("shared"),
        },
    },
    Case {
        name: "mounts/tmpfs",
        section: MOUNTS,
        how: Inside {
            with: |c| tmpfs(c, "/mnt", &["nosuid", "nodev", "noexec", "size=64k", "mode=0711"]),
            without: |c| tmpfs(c, "/mnt", &[]),
            script: "cat /proc/self/mountinfo; stat -c 'mode %a' /mnt",
            holds: |seen| {
                has_options(&seen.log, "/mnt", &["nosuid", "nodev", "noexec"])
                    && seen.log.lines().any(|line| line.contains(" /mnt ") && line.contains("size=64k"))
                    && seen.says("mode 711")
            },
        },
    },
    Case {
        name: "mounts/tmpfs-read-only",
        section: MOUNTS,
        how: Inside {
            with: |c| tmpfs(c, "/mnt", &["ro"]),
            without: |c| tmpfs(c, "/mnt", &["rw"]),
            script: "touch /mnt/new 2>&1; echo ended",
            holds: |seen| seen.log.contains("Read-only file system") && seen.says("ended"),
        },
    },
    Case {
        name: "mounts/last-word",
        section: MOUNTS,
        how: Inside {
            with: |c| tmpfs(c, "/mnt", &["ro", "noexec", "rw", "exec"]),
            without: |c| tmpfs(c, "/mnt", &["ro", "noexec"]),
            script: "/bin/busybox cp /bin/busybox /mnt/true; /mnt/true && echo ran",
            holds: |seen| seen.says("ran"),
        },
    },
    Case {
        name: "mounts/order",
        section: MOUNTS,
        how: Inside {
            with: |c| {
                tmpfs(c, "/mnt", &[]);
                bind(c, "/mnt/below", &["bind"]);
            },
            without: |c| {
                bind(c, "/mnt", &["bind"]);
                tmpfs(c, "/mnt", &[]);
            },
            script: "ls /mnt; cat /mnt/below/file",
            holds: |seen| seen.says("below") && seen.says("shared"),
        },
    },
    Case {
        name: "mounts/destination-is-made",
        section: MOUNTS,
        how: Inside {
            with: |c| {
                put(c, "/root/readonly", json!(false));
                bind(c, "/some/new/place", &["bind"]);
            },
            without: |c| put(c, "/root/readonly", json!(false)),
            script: "cat /some/new/place/file",
            holds: |seen| seen.says("shared"),
        },
    },
    Case {
        name: "mounts/destination-relative",
        section: MOUNTS,
        how: Wrong { with: |c| bind(c, "mnt", &["bind"]), words: "no absolute path" },
    },
    Case { name: "mounts/source-missing", section: MOUNTS, how: Calls(missing) },
    Case { name: "mounts/propagation-slave-and-private", section: MOUNTS, how: Calls(slave) },
    Case {
        name: "mounts/propagation-shared",
        section: MOUNTS,
        how: Unsayable { with: |c| bind(c, "/mnt", &["rbind", "rshared"]), words: "\"rshared\" is no option" },
    },
    Case {
        name: "mounts/propagation-unbindable",
        section: MOUNTS,
        how: Unsayable { with: |c| bind(c, "/mnt", &["rbind", "runbindable"]), words: "\"runbindable\" is no option" },
    },
    Case {
        name: "mounts_recursive/rro",
        section: MOUNTS,
        how: Unsayable { with: |c| bind(c, "/mnt", &["rbind", "rro"]), words: "\"rro\" is no option" },
    },
    Case {
        name: "mounts/tmpcopyup",
        section: MOUNTS,
        how: Unsayable { with: |c| bind(c, "/mnt", &["bind", "tmpcopyup"]), words: "\"tmpcopyup\" is no option" },
    },
    Case {
        name: "mounts/idmap",
        section: MOUNTS,
        how: Unsayable {
            with: |c| {
                let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
                let mount = json!({"destination": "/mnt", "source": "shared", "options": ["bind"],
                    "uidMappings": map, "gidMappings": map});
                add(c, "/mounts", mount);
            },
            words: "maps ids of one mount",
        },
    },
    Case {
        name: "default/proc",
        section: DEFAULT,
        how: Inside {
            with: PLAIN,
            without: |c| without(c, "/proc"),
            script: "cat /proc/self/mountinfo || echo nothing",
            holds: |seen| has_options(&seen.log, "/proc", &["nosuid", "nodev", "noexec"]),
        },
    },
    Case {
        name: "default/sys",
        section: DEFAULT,
        how: Inside {
            with: PLAIN,
            without: |c| without(c, "/sys"),
            script: INFO,
            holds: |seen| {
                has_options(&seen.log, "/sys", &["nosuid", "nodev", "noexec", "ro"]) && seen.log.contains(" - sysfs ")
            },
        },
    },
    Case {
        name: "default/dev-pts",
        section: DEFAULT,
        how: Inside {
            with: PLAIN,
            without: |c| tmpfs(c, "/dev/pts", &[]),
            script: "grep ' /dev/pts ' /proc/self/mountinfo; stat -c '%a %F' /dev/pts/ptmx",
            holds: |seen| seen.log.contains(" - devpts ") && seen.says("666 character special file"),
        },
    },
    Case {
        name: "default/dev-shm",
        section: DEFAULT,
        how: Inside {
            with: PLAIN,
            without: |c| bind(c, "/dev/shm", &["bind"]),
            script: "cat /proc/self/mountinfo; stat -c 'mode %a' /dev/shm",
            holds: |seen| has_options(&seen.log, "/dev/shm", &["nosuid", "nodev", "noexec"]) && seen.says("mode 1777"),
        },
    },
    Case {
        name: "mounts/mqueue",
        section: MOUNTS,
        how: Inside {
            with: |c| {
                let options = json!(["nosuid", "noexec", "nodev"]);
                let mount =
                    json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": options});
                add(c, "/mounts", mount);
            },
            without: PLAIN,
            script: INFO,
            holds: |seen| seen.log.lines().any(|line| line.contains(" /dev/mqueue ") && line.contains(" - mqueue ")),
        },
    },
    Case {
        name: "mounts/cgroup",
        section: MOUNTS,
        how: Inside {
            with: |c| {
                let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]});
                add(c, "/mounts", mount);
            },
            without: PLAIN,
            script: "cat /proc/self/mountinfo; cat /sys/fs/cgroup/cgroup.procs",
            holds: |seen| {
                has_options(&seen.log, "/sys/fs/cgroup", &["nosuid", "nodev", "noexec", "ro"]) && seen.says("1")
            },
        },
    },
    Case { name: "mounts/unknown-file-system", section: MOUNTS, how: Calls(unknown) },
];

fn bind(config: &mut Value, target: &str, options: &[&str]) {
    add(config, "/mounts", json!({"destination": target, "type": "none", "source": "shared", "options": options}));
}

fn tmpfs(config: &mut Value, target: &str, options: &[&str]) {
    add(config, "/mounts", json!({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options}));
}

fn without(config: &mut Value, target: &str) {
    if let Some(mounts) = config.pointer_mut("/mounts").and_then(Value::as_array_mut) {
        mounts.retain(|mount| mount["destination"] != target);
    }
}

/// The line of the mount that is on top at a place.
fn line<'a>(info: &'a str, target: &str) -> Option<Vec<&'a str>> {
    let fields = |line: &'a str| line.split(' ').collect::<Vec<_>>();
    info.lines().rev().map(fields).find(|fields| fields.get(4) == Some(&target))
}

fn has_options(info: &str, target: &str, wanted: &[&str]) -> bool {
    let options = line(info, target).and_then(|fields| fields.get(5).copied());
    options.is_some_and(|options| wanted.iter().all(|want| options.split(',').any(|option| option == *want)))
}

/// What the kernel says of propagation: `shared:N`, `master:N`; nothing of what is private.
pub(super) fn optional_fields(info: &str, target: &str) -> Option<Vec<String>> {
    let fields = line(info, target)?;
    Some(fields.into_iter().skip(6).take_while(|field| *field != "-").map(str::to_owned).collect())
}

fn starts_not(world: &mut World, with: Change, words: &str) -> Result<Option<String>> {
    let (bundle, id) = (world.bundle(with, "echo up")?, world.id());
    let done = world.front.create(&id, &bundle).and_then(|()| world.front.start(&id));
    let Err(error) = done else { bail!("it runs all the same") };
    let said = format!("{error:#}");
    ensure!(said.contains(words), "it says nothing of {words:?}: {said}");
    Ok(None)
}

fn missing(world: &mut World) -> Result<Option<String>> {
    let with: Change = |c| {
        add(c, "/mounts", json!({"destination": "/mnt", "source": "/nowhere/at/all", "options": ["bind"]}));
    };
    starts_not(world, with, "/nowhere/at/all")
}

fn unknown(world: &mut World) -> Result<Option<String>> {
    let with: Change = |c| {
        add(c, "/mounts", json!({"destination": "/mnt", "type": "nosuchfs", "source": "x", "options": []}));
    };
    starts_not(world, with, "no such file system")
}

/// What the machine mounts there later is seen in a mount that follows, and in no other.
fn slave(world: &mut World) -> Result<Option<String>> {
    let late = |world: &mut World, with: Change| -> Result<bool> {
        let script = "echo up; for one in 1 2 3 4 5 6 7 8 9; do \
                      test -e /mnt/late/file && echo seen && exit; sleep 0.1; done";
        let (bundle, id) = (world.bundle(with, script)?, world.id());
        let place = Mounted::on(&bundle.join("shared"))?;
        run("mount", &["--make-shared", &place.0])?;
        std::fs::create_dir(bundle.join("shared/late"))?;
        world.front.create(&id, &bundle)?;
        world.front.start(&id)?;
        let running = world.front.running(&id)?;
        harness::read_until(&running.log, &running.error, "up").map_err(|error| anyhow!("{error}"))?;
        let below = Mounted::on(&bundle.join("shared/late"))?;
        std::fs::write(bundle.join("shared/late/file"), "")?;
        let seen = world.end(&id)?;
        drop((below, place));
        Ok(seen.says("seen"))
    };
    ensure!(late(world, |c| bind(c, "/mnt", &["rbind", "rslave"]))?, "what is mounted later is not seen");
    ensure!(!late(world, |c| bind(c, "/mnt", &["rbind", "rprivate"]))?, "a private mount shows it, too");
    Ok(None)
}

/// A file system in memory, for as long as this lives.
struct Mounted(String);

impl Mounted {
    fn on(place: &Path) -> Result<Self> {
        let place = place.display().to_string();
        run("mount", &["-t", "tmpfs", "tmpfs", &place])?;
        Ok(Self(place))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays is found by the invariant.
        let _ = run("umount", &["-l", &self.0]);
    }
}

fn run(program: &str, args: &[&str]) -> Result<String> {
    harness::host(program, args).map_err(|error| anyhow!("{error}"))
}
