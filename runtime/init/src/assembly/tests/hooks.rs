//! Hooks: programs of the container, and those that the reference adds.

use super::*;

#[test]
fn a_hook_is_a_program_of_the_container_and_what_the_reference_adds_is_built_in() {
    let lines = "lxc.hook.version = 0\nlxc.hook.start = /bin/a 'b c'\nlxc.hook.mount = /lib/pantavisor/pv/export.sh\n\
                 lxc.hook.start = /bin/d\n";
    let program = program("", lines).unwrap();
    let hooks = [&["/bin/a", "b c", "web", "lxc", "start"][..], &["/bin/d", "web", "lxc", "start"]];
    assert_eq!(program.launch.process.hooks, hooks);
}
