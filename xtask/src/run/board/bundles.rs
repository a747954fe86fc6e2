//! The base systems that a story updates a board to, good and bad: each made as a product makes its own.
//!
//! ```text
//!   kernel       another kernel of the distribution, where the board has a recipe for one
//!   initramfs    the same kernel; this program with fewer attempts for a trial, and a shorter watchdog
//!   exits        PID 1 returns at once
//!   hangs        PID 1 arms the watchdog and does nothing more
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::arch::Arch;
use crate::bsp::{self, Wish};
use crate::image::Made;
use crate::run::tools::quiet;
use crate::term::Out;

/// The recipe of another kernel, and what the story calls it.
const OTHER: &str = "generic";

const EXITS: &str = "int main(void) { return 7; }\n";

const HANGS: &str = include_str!("hangs.c");

/// Makes them in a directory. `after` is the recipe of the base that the last ones are made of.
pub(super) fn make(board: &str, made: &Made, dir: &Path, out: Out) -> Result<()> {
    let trust = [made.trust.clone()];
    let other = if bsp::has_recipe(board, OTHER) { OTHER } else { bsp::DEFAULT };
    let program = bsp::target(board)?.join("cairn");
    let make = |name: &str, conf: &bsp::Conf, program: &Path| {
        let into = dir.join(name);
        let wish = Wish { recipe: other, program: Some(program), into: Some(&into), ..Wish::new(board, conf, &trust) };
        bsp::make(&wish, out).with_context(|| format!("the base system {name}")).map(drop)
    };
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    make("kernel", &made.conf, &program)?;
    make("initramfs", &made.conf.clone().set("attempts", "2").set("watchdog", "30"), &program)?;
    if bsp::arch(board)? == Arch::host()? {
        for (name, text) in [("exits", EXITS), ("hangs", HANGS)] {
            make(name, &made.conf, &compile(name, text, dir)?)?;
        }
    }
    Ok(())
}

/// A static program of this machine.
fn compile(name: &str, text: &str, dir: &Path) -> Result<PathBuf> {
    let (source, program) = (dir.join(format!("{name}.c")), dir.join(format!("{name}.program")));
    fs::write(&source, text).with_context(|| format!("cannot write {}", source.display()))?;
    quiet(Command::new("cc").args(["-static", "-s", "-O1", "-o"]).arg(&program).arg(&source))?;
    Ok(program)
}
