//! Hooks. The ones that run in the container are the engine's; no program of the device is run for a container.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::spec::Status;
use crate::table::How::{Calls, Inside, Unsayable};
use crate::table::{Case, PLAIN};
use crate::world::{World, add};

const HOOKS: &str = "config.md#posix-platform-hooks";
const REFUSED: &str = "no program of the device is run for a container";

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "hooks/start-container",
        section: HOOKS,
        how: Inside {
            with: |c| hook(c, "startContainer", "echo hook"),
            without: PLAIN,
            script: "echo program",
            holds: |seen| seen.log == "hook\nprogram\n",
        },
    },
    Case {
        name: "hooks/order",
        section: HOOKS,
        how: Inside {
            with: |c| {
                hook(c, "startContainer", "echo first");
                hook(c, "startContainer", "echo second");
            },
            without: |c| {
                hook(c, "startContainer", "echo second");
                hook(c, "startContainer", "echo first");
            },
            script: "echo program",
            holds: |seen| seen.log == "first\nsecond\nprogram\n",
        },
    },
    Case {
        name: "hooks/in-the-container",
        section: HOOKS,
        how: Inside {
            with: |c| hook(c, "startContainer", "echo hook: $(readlink /proc/self/ns/mnt) $(ls -d /masked)"),
            without: PLAIN,
            script: "echo program: $(readlink /proc/self/ns/mnt) $(ls -d /masked)",
            holds: |seen| seen.of("hook:").is_some() && seen.of("hook:") == seen.of("program:"),
        },
    },
    Case { name: "hooks/start-container-fails", section: HOOKS, how: Calls(fails) },
    Case { name: "hooks_stdin", section: HOOKS, how: Calls(stdin) },
    Case {
        name: "hooks/timeout",
        section: HOOKS,
        how: Unsayable {
            with: |c| add(c, "/hooks/startContainer", json!({"path": "/bin/true", "timeout": 3})),
            words: "a time or variables of its own",
        },
    },
    Case { name: "prestart", section: HOOKS, how: Unsayable { with: |c| hook(c, "prestart", "true"), words: REFUSED } },
    Case {
        name: "hooks/create-runtime",
        section: HOOKS,
        how: Unsayable { with: |c| hook(c, "createRuntime", "true"), words: REFUSED },
    },
    Case {
        name: "hooks/create-container",
        section: HOOKS,
        how: Unsayable { with: |c| hook(c, "createContainer", "true"), words: REFUSED },
    },
    Case {
        name: "poststart",
        section: HOOKS,
        how: Unsayable { with: |c| hook(c, "poststart", "true"), words: REFUSED },
    },
    Case { name: "poststop", section: HOOKS, how: Unsayable { with: |c| hook(c, "poststop", "true"), words: REFUSED } },
];

fn hook(config: &mut Value, kind: &str, script: &str) {
    let hook = json!({"path": "/bin/sh", "args": ["/bin/sh", "-c", script]});
    add(config, &format!("/hooks/{kind}"), hook);
}

/// The program is not run, the container stops, and whoever starts it is told.
fn fails(world: &mut World) -> Result<Option<String>> {
    let (bundle, id) = (world.bundle(|c| hook(c, "startContainer", "exit 7"), "echo program")?, world.id());
    world.front.create(&id, &bundle)?;
    let Err(error) = world.front.start(&id) else { anyhow::bail!("the container runs all the same") };
    let said = format!("{error:#}");
    ensure!(said.contains("/bin/sh ended with code 7"), "it says nothing of the hook: {said}");
    ensure!(world.front.state(&id)?.status == Status::Stopped, "it has not stopped");
    let log = world.front.log(&id)?;
    ensure!(!log.contains("program"), "the program has run: {log:?}");
    Ok(None)
}

/// A hook is to read the state of its container. If one does some day, this case is no longer to be skipped.
fn stdin(world: &mut World) -> Result<Option<String>> {
    let seen = world.run(|c| hook(c, "startContainer", "echo read: $(wc -c)"), "echo program")?;
    ensure!(seen.says("program"), "{seen}");
    match seen.of("read:") {
        Some("0") => Ok(Some("the input of a hook has ended: the words behind its own are what it is told".into())),
        Some(_) => Ok(None),
        None => anyhow::bail!("the hook has not run: {seen}"),
    }
}
