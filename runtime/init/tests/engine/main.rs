//! Containers of a planned revision for real: on this kernel, as root, from a squashfs with BusyBox in it. This program
//! is also the stage that it starts, as PID 1 is on a device; therefore it has a main of its own, which speaks as much
//! of the protocol of test programs as `cargo test` and `cargo nextest` use.
//!
//! Nothing is skipped: without root, or without a program that is needed, a test fails and says so. After every test
//! [`world::invariant_nothing_is_left`] looks for mounts, loop devices, groups, processes and descriptors.

mod life;
mod volumes;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use world::{Result, World};

/// One test: a sentence, and what shows it.
type Test = (&'static str, fn(&World) -> Result);

/// Names the functions of a module as tests.
macro_rules! tests {
    ($($module:ident :: { $($test:ident),* $(,)? })*) => { &[$($((stringify!($test), $module::$test),)*)*] };
}

const TESTS: &[Test] = tests! {
    life::{
        a_planned_container_runs_and_leaves_nothing,
        a_container_is_asked_to_end_by_the_signal_that_it_takes,
        a_container_that_does_not_listen_is_killed,
        a_stage_that_fails_says_where,
        a_limit_that_this_device_lacks_starts_nothing,
        device_nodes_are_those_that_the_rules_leave,
        what_an_earlier_life_has_left_is_swept,
    }
    volumes::{
        each_storage_lives_as_long_as_it_says,
        a_changed_container_begins_with_empty_memory,
        a_mount_that_fails_leaves_nothing_of_the_others,
        objects_of_the_store_are_never_written,
        files_of_the_revision_lie_over_the_image,
        an_overlay_of_a_directory_keeps_what_is_written,
        mounting_and_unmounting_again_changes_nothing,
        a_link_in_storage_does_not_lead_out,
        an_image_without_a_writable_layer_is_a_root_as_it_is,
    }
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == container::spawn::ROLE) {
        return container::stage::main();
    }
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    // Values of options that test programs take with a blank.
    let mut words = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--format" | "--test-threads" | "--skip" | "--color" => drop(rest.next()),
            flag if flag.starts_with('-') => {}
            word => words.push(word),
        }
    }
    let wanted = |name: &str| {
        words.is_empty() || words.iter().any(|word| if has("--exact") { name == *word } else { name.contains(word) })
    };
    // No test is an ignored one.
    let tests = TESTS.iter().filter(|(name, _)| wanted(name) && !has("--ignored"));
    if has("--list") {
        tests.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (passed, failed) = tests.partition::<Vec<&Test>, _>(|(name, test)| passes(name, *test));
    println!("\nengine: {} passed; {} failed", passed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one test in a world of its own, one after the other: there is one reaper per process.
fn passes(name: &str, test: fn(&World) -> Result) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let before = world::descriptors()?;
        let world = World::new()?;
        let result = test(&world);
        let traces = world.traces();
        drop(world);
        result.and_then(|()| world::invariant_nothing_is_left(&traces, before))
    }));
    match result {
        Ok(Ok(())) => {
            println!("test {name} ... ok");
            return true;
        }
        Ok(Err(error)) => println!("test {name} ... FAILED\n    {error}"),
        Err(_) => println!("test {name} ... FAILED (see the panic above)"),
    }
    false
}
