//! Programs of a container that are run before its own.

use container::failure::{EXIT_CODE, Step};
use container::launch::Capabilities;
use harness::Result;
use statemachine::container::Outcome;

use crate::world::World;

fn hook(script: &str) -> Vec<String> {
    ["sh", "-c", script, "hook", "box", "lxc", "start"].map(String::from).into()
}

pub(crate) fn hooks_run_in_order_in_the_container_with_its_rights_and_then_its_program(world: &World) -> Result {
    let mut launch = world.launch("echo program $$");
    launch.process.uid = 1000;
    launch.process.capabilities = Capabilities { bounding: 0, ambient: 0 };
    launch.process.no_new_privs = true;
    let first = hook("echo one $*; hostname; id -u; echo $PPID");
    let second = hook("grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status; echo two");
    launch.process.hooks = vec![first, second];
    let said = world.output(&launch)?;
    let bounding = format!("CapBnd:\t{:016x}", 0);
    let expected = ["one box lxc start", "box", "1000", "1", &bounding, "NoNewPrivs:\t1", "two", "program 1", ""];
    assert_eq!(said, expected.join("\n"));
    Ok(())
}

pub(crate) fn a_hook_that_fails_is_named_with_its_code_and_the_program_does_not_run(world: &World) -> Result {
    for (script, code) in [("exit 3", 3), ("kill -9 $$", 137)] {
        let mut launch = world.launch("echo ran");
        launch.process.hooks = vec![hook(script), hook("echo after")];
        let run = world.run(&launch)?;
        let failure = run.failure.ok_or("no failure")?;
        assert_eq!((failure.step, failure.path.as_str(), failure.errno), (Step::Hook, "sh", code));
        assert_eq!(failure.to_string(), format!("cannot start: the hook sh ended with code {code}"));
        assert_eq!((run.outcome, run.log.as_str()), (Outcome::Code(EXIT_CODE), ""));
    }
    let mut launch = world.launch("echo ran");
    launch.process.hooks = vec![vec!["/bin/no-such".into()]];
    let failure = world.run(&launch)?.failure.ok_or("no failure")?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Exec, "/bin/no-such"));
    Ok(())
}
