//! One test after the other, each in a world of its own, and nothing left behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use crate::left::{descriptors, invariant_nothing_is_left};
use crate::request::Request;
use crate::{Ground, Result};

/// What a test finds. It takes everything away when it is dropped, also after a test that failed.
pub trait World: Sized {
    /// Makes it.
    ///
    /// # Errors
    /// Something is missing on this machine.
    fn new() -> Result<Self>;

    /// What it stands on.
    fn ground(&self) -> &Ground;
}

/// One test: a sentence, and what shows it.
pub type Test<W> = (&'static str, fn(&W) -> Result);

/// Names the functions of modules as tests: `module::{a_sentence, another_one}`.
#[macro_export]
macro_rules! tests {
    ($($module:ident :: { $($test:ident),* $(,)? })*) => { &[$($((stringify!($test), $module::$test),)*)*] };
}

/// The `main` of a test program. As the stage of a container it does that instead.
#[must_use]
pub fn main<W: World>(program: &str, tests: &[Test<W>]) -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|arg| arg == container::spawn::ROLE) {
        return container::stage::main();
    }
    let request = Request::parse(args);
    let tests = tests.iter().filter(|(name, _)| request.wants(name));
    if request.list {
        tests.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (passed, failed) = tests.partition::<Vec<&Test<W>>, _>(|(name, test)| passes(name, *test));
    println!("\n{program}: {} passed; {} failed", passed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one test, and prints what came of it.
pub fn passes<W: World>(name: &str, test: fn(&W) -> Result) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let before = descriptors()?;
        let world = W::new()?;
        let result = test(&world);
        let traces = world.ground().name.clone();
        drop(world);
        result.and_then(|()| invariant_nothing_is_left(&traces, before))
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
