//! The life of a container: which operations there are, when they are errors, and what they leave.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use statemachine::container::Outcome;

use crate::spec::Status;
use crate::table::How::{Calls, Unsayable, Wrong};
use crate::table::{Case, PLAIN};
use crate::world::{STAYS, World, put};

/// How often is looked for what comes in an instant.
const MOMENTS: u32 = 200;

pub(crate) const ALL: &[Case] = &[
    Case { name: "create/name", section: "runtime.md#create", how: Calls(name) },
    Case { name: "create/taken", section: "runtime.md#create", how: Calls(taken) },
    Case { name: "create/no-bundle", section: "bundle.md#container-format", how: Calls(no_bundle) },
    Case { name: "create/not-started", section: "runtime.md#create", how: Calls(not_started) },
    Case { name: "config_updates_without_affect", section: "runtime.md#create", how: Calls(changed) },
    Case {
        name: "misc_props/version",
        section: "config.md#specification-version",
        how: Wrong { with: |c| put(c, "/ociVersion", json!("2.0.0")), words: "ociVersion" },
    },
    Case { name: "misc_props/unknown", section: "config.md#extensibility", how: Calls(unknown) },
    Case { name: "misc_props/malformed", section: "config.md#extensibility", how: Calls(malformed) },
    Case { name: "misc_props/annotations", section: "config.md#annotations", how: Calls(annotations) },
    Case {
        name: "misc_props/vm",
        section: "config.md#extensibility",
        how: Unsayable { with: |c| put(c, "/vm", json!({"kernel": {"path": "/k"}})), words: "/vm: no key of LXC" },
    },
    Case { name: "start/unknown", section: "runtime.md#start", how: Calls(start_unknown) },
    Case { name: "start/running", section: "runtime.md#start", how: Calls(start_running) },
    Case { name: "start/stopped", section: "runtime.md#start", how: Calls(start_stopped) },
    Case {
        name: "start/no-process",
        section: "config.md#process",
        how: Wrong { with: |c| put(c, "/process", Value::Null), words: "/process" },
    },
    Case { name: "start/no-program", section: "runtime.md#start", how: Calls(no_program) },
    Case { name: "state/unknown", section: "runtime.md#query-state", how: Calls(state_unknown) },
    Case { name: "state", section: "runtime.md#state", how: Calls(state) },
    Case { name: "pidfile", section: "runtime.md#state", how: Calls(pid) },
    Case { name: "kill/unknown", section: "runtime.md#kill", how: Calls(kill_unknown) },
    Case { name: "kill/created", section: "runtime.md#kill", how: Calls(kill_created) },
    Case { name: "kill/stopped", section: "runtime.md#kill", how: Calls(kill_stopped) },
    Case { name: "kill_no_effect", section: "runtime.md#kill", how: Calls(kill_no_effect) },
    Case { name: "killsig", section: "runtime.md#kill", how: Calls(signals) },
    Case { name: "delete/unknown", section: "runtime.md#delete", how: Calls(delete_unknown) },
    Case { name: "delete/created", section: "runtime.md#delete", how: Calls(delete_created) },
    Case { name: "delete/running", section: "runtime.md#delete", how: Calls(delete_running) },
    Case { name: "delete_resources", section: "runtime.md#delete", how: Calls(delete_resources) },
    Case { name: "delete_only_create_resources", section: "runtime.md#delete", how: Calls(delete_only_own) },
];

type Shown = Result<Option<String>>;

/// All is as it must be.
const FINE: Shown = Ok(None);

/// An operation that must be an error, with these words.
fn must_fail<T>(done: Result<T>, words: &str) -> Result<()> {
    match done {
        Ok(_) => bail!("it is no error, and must be one: {words}"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains(words), "it is another error than {words:?}: {said}");
            Ok(())
        }
    }
}

fn status(world: &mut World, id: &str) -> Result<Status> {
    Ok(world.front.state(id)?.status)
}

fn must_be(world: &mut World, id: &str, wanted: Status) -> Result<()> {
    let is = status(world, id)?;
    ensure!(is == wanted, "{id} is {is}, and must be {wanted}");
    Ok(())
}

fn name(world: &mut World) -> Shown {
    let bundle = world.bundle(PLAIN, "true")?;
    must_fail(world.front.create("", &bundle), "no name")?;
    must_fail(world.front.create("../up", &bundle), "no name")?;
    world.front.create("fine", &bundle)?;
    FINE
}

fn taken(world: &mut World) -> Shown {
    let (bundle, id) = (world.bundle(PLAIN, STAYS)?, world.id());
    world.front.create(&id, &bundle)?;
    must_fail(world.front.create(&id, &bundle), "of this name")?;
    must_be(world, &id, Status::Created)?;
    world.front.start(&id)?;
    must_be(world, &id, Status::Running)?;
    FINE
}

fn no_bundle(world: &mut World) -> Shown {
    let (bundle, id) = (world.bundle(PLAIN, "true")?, world.id());
    must_fail(world.front.create(&id, &bundle.join("missing")), "no bundle")?;
    fs::rename(bundle.join("config.json"), bundle.join("other.json"))?;
    must_fail(world.front.create(&id, &bundle), "config.json")?;
    fs::rename(bundle.join("other.json"), bundle.join("config.json"))?;
    world.front.create(&id, &bundle)?;
    FINE
}

/// Its program has not run: it would have written to a directory of the machine.
fn not_started(world: &mut World) -> Shown {
    let id = world.id();
    let bundle = world.bundle(mounted, "touch /mnt/ran")?;
    world.front.create(&id, &bundle)?;
    must_be(world, &id, Status::Created)?;
    std::thread::sleep(Duration::from_millis(50));
    ensure!(!bundle.join("shared/ran").exists(), "the program has run although nobody has started it");
    world.front.start(&id)?;
    let outcome = world.front.wait(&id)?;
    ensure!(bundle.join("shared/ran").exists(), "the program has not run: {outcome:?}");
    FINE
}

fn mounted(config: &mut Value) {
    let mount = json!({ "destination": "/mnt", "source": "shared", "options": ["bind"] });
    crate::world::add(config, "/mounts", mount);
}

fn changed(world: &mut World) -> Shown {
    let (bundle, id) = (world.bundle(PLAIN, "echo first")?, world.id());
    world.front.create(&id, &bundle)?;
    let text = fs::read_to_string(bundle.join("config.json"))?;
    let changed = text.replace("echo first", "echo second");
    ensure!(changed != text, "nothing was changed");
    fs::write(bundle.join("config.json"), changed)?;
    world.front.start(&id)?;
    let seen = world.end(&id)?;
    ensure!(seen.says("first") && !seen.says("second"), "{seen}");
    // Of the changed bundle there is another one.
    world.front.create(&id, &bundle)?;
    world.front.start(&id)?;
    let seen = world.end(&id)?;
    ensure!(seen.says("second"), "{seen}");
    FINE
}

fn unknown(world: &mut World) -> Shown {
    let seen = world.run(|c| put(c, "/org.example.future", json!({"a": [1]})), "echo up")?;
    ensure!(seen.says("up"), "{seen}");
    FINE
}

fn malformed(world: &mut World) -> Shown {
    let id = world.id();
    for text in ["", "{", "[]", r#"{"ociVersion": 1}"#] {
        let bundle = world.write(text)?;
        must_fail(world.front.create(&id, &bundle), "")?;
        ensure!(world.front.state(&id).is_err(), "{id} is there");
    }
    FINE
}

fn annotations(world: &mut World) -> Shown {
    let id = world.start_and_wait(|c| put(c, "/annotations", json!({"org.example.key": "value"})), STAYS)?;
    let state = world.front.state(&id)?;
    ensure!(state.annotations.get("org.example.key").is_some_and(|value| value == "value"), "{state:?}");
    let plain = world.stays()?;
    ensure!(world.front.state(&plain)?.annotations.is_empty(), "annotations that nobody has given");
    FINE
}

fn start_unknown(world: &mut World) -> Shown {
    must_fail(world.front.start("nobody"), "no such container")?;
    FINE
}

fn start_running(world: &mut World) -> Shown {
    let id = world.stays()?;
    let pid = world.front.running(&id)?.pid;
    must_fail(world.front.start(&id), "started once")?;
    must_be(world, &id, Status::Running)?;
    ensure!(world.front.running(&id)?.pid == pid, "it is another one now");
    FINE
}

fn start_stopped(world: &mut World) -> Shown {
    let id = world.start(PLAIN, "echo once")?;
    world.front.wait(&id)?;
    must_fail(world.front.start(&id), "started once")?;
    must_be(world, &id, Status::Stopped)?;
    let log = world.front.log(&id)?;
    ensure!(log.matches("once").count() == 1, "it has run again: {log:?}");
    FINE
}

fn no_program(world: &mut World) -> Shown {
    let (bundle, id) = (world.bundle(|c| put(c, "/process/args", json!(["/bin/missing"])), "")?, world.id());
    world.front.create(&id, &bundle)?;
    must_fail(world.front.start(&id), "/bin/missing")?;
    must_be(world, &id, Status::Stopped)?;
    FINE
}

/// A member of a state as others read it; null if there is none.
fn of(state: &Value, name: &str) -> Value {
    state.get(name).cloned().unwrap_or_default()
}

fn state_unknown(world: &mut World) -> Shown {
    must_fail(world.front.state("nobody"), "no such container")?;
    FINE
}

fn state(world: &mut World) -> Shown {
    let (bundle, id) = (world.bundle(PLAIN, "echo up; trap 'exit 3' TERM; while true; do sleep 1; done")?, world.id());
    world.front.create(&id, &bundle)?;
    let created = serde_json::to_value(world.front.state(&id)?)?;
    ensure!(of(&created, "id") == *id && of(&created, "status") == "created", "{created}");
    ensure!(of(&created, "bundle").as_str() == bundle.to_str(), "{created}");
    ensure!(of(&created, "ociVersion").as_str().is_some_and(|version| version.starts_with("1.")), "{created}");
    ensure!(of(&created, "pid").as_i64().is_some_and(|pid| pid > 0), "{created}");
    world.front.start(&id)?;
    let running = serde_json::to_value(world.front.state(&id)?)?;
    ensure!(of(&running, "status") == "running" && of(&running, "pid") == of(&created, "pid"), "{running}");
    world.front.kill(&id, Signal::KILL)?;
    world.front.wait(&id)?;
    let stopped = serde_json::to_value(world.front.state(&id)?)?;
    ensure!(of(&stopped, "status") == "stopped" && stopped.get("pid").is_none(), "{stopped}");
    FINE
}

/// The number in the state is that of its first process, as this machine counts.
fn pid(world: &mut World) -> Shown {
    let id = world.stays()?;
    let pid = world.front.state(&id)?.pid.context("no pid")?;
    // The kernel closes what tells of the start before it has laid out the words of the program.
    let words = || fs::read_to_string(format!("/proc/{pid}/cmdline"));
    let mut name = words()?;
    for _ in 0..MOMENTS {
        if !name.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        name = words()?;
    }
    ensure!(name.contains("sleep"), "{pid} is {name:?}");
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:")).context("no NSpid")?;
    ensure!(inside.split_whitespace().last() == Some("1"), "its first process is not 1 in there: {inside}");
    FINE
}

fn kill_unknown(world: &mut World) -> Shown {
    must_fail(world.front.kill("nobody", Signal::TERM), "no such container")?;
    FINE
}

fn kill_created(world: &mut World) -> Shown {
    let (bundle, id) = (world.bundle(PLAIN, STAYS)?, world.id());
    world.front.create(&id, &bundle)?;
    world.front.kill(&id, Signal::KILL)?;
    world.front.wait(&id)?;
    must_be(world, &id, Status::Stopped)?;
    must_fail(world.front.start(&id), "started once")?;
    world.front.delete(&id)?;
    FINE
}

fn kill_stopped(world: &mut World) -> Shown {
    let id = world.start(PLAIN, "true")?;
    world.front.wait(&id)?;
    must_fail(world.front.kill(&id, Signal::TERM), "stopped")?;
    must_be(world, &id, Status::Stopped)?;
    FINE
}

/// A signal that it does not handle does not end a first process, and changes no state.
fn kill_no_effect(world: &mut World) -> Shown {
    let id = world.stays()?;
    world.front.kill(&id, Signal::USR1)?;
    std::thread::sleep(Duration::from_millis(50));
    must_be(world, &id, Status::Running)?;
    world.front.kill(&id, Signal::KILL)?;
    let outcome = world.front.wait(&id)?;
    ensure!(outcome == Outcome::Signal(9), "{outcome:?}");
    FINE
}

fn signals(world: &mut World) -> Shown {
    let all = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM, Signal::TERM];
    for signal in all {
        let script = "for one in 1 2 3 10 12 14 15; do trap 'exit '$((one + 40)) $one; done; echo up; \
                      while true; do sleep 0.05; done";
        let id = world.start_and_wait(PLAIN, script)?;
        world.front.kill(&id, signal)?;
        let outcome = world.front.wait(&id)?;
        let wanted = Outcome::Code(signal.as_raw() + 40);
        ensure!(outcome == wanted, "{signal:?} came as {outcome:?}, and not as {wanted:?}");
        world.front.delete(&id)?;
    }
    FINE
}

fn delete_unknown(world: &mut World) -> Shown {
    must_fail(world.front.delete("nobody"), "no such container")?;
    FINE
}

fn delete_created(world: &mut World) -> Shown {
    let (bundle, id) = (world.bundle(PLAIN, "echo up")?, world.id());
    world.front.create(&id, &bundle)?;
    must_fail(world.front.delete(&id), "stopped")?;
    must_be(world, &id, Status::Created)?;
    world.front.start(&id)?;
    let seen = world.end(&id)?;
    ensure!(seen.says("up"), "{seen}");
    FINE
}

fn delete_running(world: &mut World) -> Shown {
    let id = world.stays()?;
    must_fail(world.front.delete(&id), "stopped")?;
    must_be(world, &id, Status::Running)?;
    FINE
}

fn delete_resources(world: &mut World) -> Shown {
    let id = world.stays()?;
    let traces = |world: &World| -> Result<(usize, usize)> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let own = format!("{}/", world.name());
        let mounts = mounts.lines().filter(|line| line.contains(&own) && line.contains(&format!("/{id}/"))).count();
        Ok((world.groups(&id).len(), mounts))
    };
    let (groups, mounts) = traces(world)?;
    ensure!(groups > 0 && mounts > 0, "it has {groups} groups and {mounts} mounts, so nothing could be left");
    world.front.kill(&id, Signal::KILL)?;
    world.front.wait(&id)?;
    world.front.delete(&id)?;
    let left = traces(world)?;
    ensure!(left == (0, 0), "groups and mounts are left: {left:?}");
    ensure!(world.front.state(&id).is_err(), "it is still there");
    // The name is free again.
    let bundle = world.bundle(PLAIN, "echo again")?;
    world.front.create(&id, &bundle)?;
    world.front.start(&id)?;
    let seen = world.end(&id)?;
    ensure!(seen.says("again"), "{seen}");
    FINE
}

/// The bundle, what it mounts of the machine, and another container of the same bundle.
fn delete_only_own(world: &mut World) -> Shown {
    let bundle = world.bundle(mounted, STAYS)?;
    let (one, other) = (world.id(), world.id());
    for id in [&one, &other] {
        world.front.create(id, &bundle)?;
        world.front.start(id)?;
    }
    world.front.kill(&one, Signal::KILL)?;
    world.front.wait(&one)?;
    world.front.delete(&one)?;
    must_be(world, &other, Status::Running)?;
    ensure!(!world.groups(&other).is_empty(), "the groups of the other one are gone");
    let kept = bundle.join("rootfs/bin/sh").exists() && fs::read_to_string(bundle.join("shared/file"))? == "shared\n";
    ensure!(kept && bundle.join("config.json").exists(), "of the bundle something is gone");
    FINE
}
