//! The base systems that a story updates a board to, good and bad: each made as a product makes its own.
//!
//! ```text
//!   kernel           another kernel of the distribution; where the board has no recipe for one, the same in other bytes
//!   initramfs        the same kernel; this program with fewer attempts for a trial, and a shorter watchdog if there is one
//!   exits            PID 1 returns at once
//!   hangs            PID 1 arms the watchdog and does nothing more
//!   hangs-for-ever   the same where the machine has no watchdog
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use machine::Kind;

use crate::arch::Arch;
use crate::bsp::{self, Wish};
use crate::build::toolchain;
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
    if other == bsp::DEFAULT {
        let names = ["kernel.img", bsp::FIT].map(|name| dir.join("kernel/bsp").join(name));
        names.iter().filter(|file| file.is_file()).try_for_each(|file| lengthen(file))?;
    }
    let has_watchdog = Kind::of_board(board).is_some_and(Kind::has_watchdog);
    let shorter = made.conf.clone().set("attempts", "2");
    make("initramfs", &if has_watchdog { shorter.set("watchdog", "30") } else { shorter }, &program)?;
    let arch = bsp::arch(board)?;
    let cc = if arch == Arch::host()? { PathBuf::from("cc") } else { toolchain::cc(arch, out)? };
    make("exits", &made.conf, &compile(&cc, "exits", EXITS, dir)?)?;
    let hangs = if has_watchdog { "hangs" } else { "hangs-for-ever" };
    make(hangs, &made.conf, &compile(&cc, "hangs", HANGS, dir)?)
}

/// Makes other bytes of a kernel, after all that it reads of itself.
fn lengthen(kernel: &Path) -> Result<()> {
    let mut bytes = fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
    bytes.resize(bytes.len() + 512, 0);
    // It may be a link to the kernel that everybody has.
    fs::remove_file(kernel)
        .and_then(|()| fs::write(kernel, bytes))
        .with_context(|| format!("cannot write {}", kernel.display()))
}

/// A static program.
fn compile(cc: &Path, name: &str, text: &str, dir: &Path) -> Result<PathBuf> {
    let (source, program) = (dir.join(format!("{name}.c")), dir.join(format!("{name}.program")));
    fs::write(&source, text).with_context(|| format!("cannot write {}", source.display()))?;
    quiet(Command::new(cc).args(["-static", "-s", "-O1", "-o"]).arg(&program).arg(&source))?;
    Ok(program)
}
