//! Consoles that are terminals: what the container sees, and what comes out at the other end.

use container::Spawned;
use container::console;
use container::launch::{Launch, Output};
use harness::{PATIENCE, Result, is_ready, wait};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use statemachine::container::Outcome;

use crate::world::World;

fn launch(world: &World, script: &str) -> Launch {
    let mut launch = world.launch(script);
    launch.process.output = Output::Terminal;
    launch
}

/// The controlling end.
fn taken(spawned: &Spawned) -> Result<OwnedFd> {
    let way = spawned.console.as_ref().ok_or("there is no console")?;
    assert!(is_ready(way)?, "no terminal comes");
    Ok(console::take(way)?.ok_or("the stage has no terminal")?)
}

/// What is written there, until it says this.
fn heard(terminal: &OwnedFd, word: &str) -> Result<String> {
    let mut text = String::new();
    while !text.contains(word) {
        let mut piece = [0; 1024];
        let length = if is_ready(terminal)? { rustix::io::read(terminal, &mut piece)? } else { 0 };
        if length == 0 {
            return Err(format!("{word:?} does not come after {text:?}").into());
        }
        text += &String::from_utf8_lossy(piece.get(..length).unwrap_or_default());
    }
    Ok(text)
}

// Who leads a session takes a terminal for its own by opening it, so that comes last.
const SCRIPT: &str = "(echo x > /dev/tty) 2> /dev/null || echo 'nobody controls it'; tty; ls -1 /dev/pts; \
     test -c /dev/console && tty < /dev/console; stat -c '%u:%g %a' /dev/pts/0; \
     setsid sh -c 'exec > /tmp/out; echo kept; echo from afar > /dev/console'; read line; echo \"heard $line\"";

fn converse(world: &World, launch: &Launch) -> Result {
    let (spawned, group) = world.start(launch)?;
    let terminal = taken(&spawned)?;
    let said = heard(&terminal, "from afar\r\n")?;
    let all = "nobody controls it\r\n/dev/pts/0\r\n0\r\nptmx\r\n/dev/console\r\n0:5 620\r\nfrom afar\r\n";
    assert_eq!(said, all);
    rustix::io::write(&terminal, b"you\n")?;
    heard(&terminal, "heard you")?;
    let run = wait(spawned)?;
    // What the stage itself would have to say goes to the pipe, and is nothing.
    assert_eq!((run.outcome, run.log.as_str()), (Outcome::Code(0), ""));
    group.end(PATIENCE)?;
    Ok(())
}

pub(crate) fn a_system_has_a_terminal_as_its_console_which_controls_nobody(world: &World) -> Result {
    converse(world, &launch(world, SCRIPT))
}

pub(crate) fn a_console_for_users_of_its_own_is_as_for_every_container(world: &World) -> Result {
    let mut launch = crate::users::launch(world, SCRIPT);
    launch.process.output = Output::Terminal;
    converse(world, &launch)
}

pub(crate) fn a_console_that_is_hung_up_is_one_again_when_it_is_opened(world: &World) -> Result {
    // The end of whom a terminal controls hangs it up for everybody.
    let script = "setsid -c sh -c 'echo before' < /dev/console; sleep 1; echo after > /dev/console; sleep 1000";
    let (spawned, group) = world.start(&launch(world, script))?;
    let terminal = taken(&spawned)?;
    let kept = console::other_end(&terminal)?;
    heard(&terminal, "before")?;
    heard(&terminal, "after").or_else(|_| {
        // It was seen hung up, as PID 1 sees it.
        drop(kept);
        let _again = console::other_end(&terminal)?;
        heard(&terminal, "after")
    })?;
    group.end(PATIENCE)?;
    let _ = wait(spawned)?;
    Ok(())
}

pub(crate) fn a_console_comes_beside_as_many_terminals_as_a_container_may_make(world: &World) -> Result {
    let script = "echo $(ls /dev/pts); exec 3<>/dev/ptmx && echo one; (exec 4<>/dev/ptmx) 2>/dev/null || echo no more; sleep 1000";
    let mut launch = launch(world, script);
    launch.dev = launch.dev.map(|dev| container::launch::Dev { ptys: 1, ..dev });
    let (spawned, group) = world.start(&launch)?;
    let said = heard(&taken(&spawned)?, "no more\r\n")?;
    assert_eq!(said, "0 ptmx\r\none\r\nno more\r\n");
    group.end(PATIENCE)?;
    let _ = wait(spawned)?;
    Ok(())
}

pub(crate) fn a_stage_that_fails_before_there_is_a_console_leaves_none(world: &World) -> Result {
    let mut launch = launch(world, "true");
    launch.root.layers = vec!["/nowhere".to_owned()];
    let (spawned, group) = world.start(&launch)?;
    let way = spawned.console.as_ref().ok_or("there is no console")?;
    assert!(is_ready(way)?);
    assert!(console::take(way)?.is_none());
    assert!(wait(spawned)?.failure.is_some());
    group.end(PATIENCE)?;
    launch.dev = None;
    assert_eq!(launch.encode(), Err(container::launch::LaunchError::Terminal));
    Ok(())
}

pub(crate) fn the_end_of_a_container_ends_what_its_console_says(world: &World) -> Result {
    let (spawned, group) = world.start(&launch(world, "echo bye"))?;
    let terminal = taken(&spawned)?;
    let run = wait(spawned)?;
    assert_eq!(run.outcome, Outcome::Code(0));
    // What was written before is still there.
    assert_eq!(heard(&terminal, "bye\r\n")?, "bye\r\n");
    assert_eq!(rustix::io::read(&terminal, &mut [0; 8]), Err(Errno::IO));
    group.end(PATIENCE)?;
    Ok(())
}
