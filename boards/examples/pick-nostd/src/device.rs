//! The program of the microcontroller: walks the table, logs every answer, ends.
//!
//! Its one argument is the number of a cell whose answer it spoils: what a host must find.

mod bare;
mod log;

use crate::cells;

/// The first Rust that runs after a reset.
fn main() -> ! {
    let spoiled = bare::argument();
    cells::each(|number, case| {
        let mut answer = case.answer();
        if spoiled == Some(number) {
            answer.spoil();
        }
        defmt::info!("{=u32}: {} -> {}", number, case, answer);
    });
    log::flush();
    bare::exit(true)
}
