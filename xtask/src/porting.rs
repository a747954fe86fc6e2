//! A stage of `test`: a vendor's board, as `new-board` makes it, far from this workspace.
//!
//! Promises: it builds there, passes the laws there, fails them once it is broken there, costs no more lines than a board
//! may, and its program knows that board and no other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::boards::Board;
use crate::term::Out;
use crate::{cargo, new_board};

const NAME: &str = "acme";
const LIKE: &str = "qemu-arm64-uboot";

/// A line of the board, and a wrong one: its bootloader would want a flag that its cells then do not have.
const RIGHT: &str = "uboot::provision::<false>";
const WRONG: &str = "uboot::provision::<true>";

pub(crate) fn check(out: Out) -> Result<()> {
    let place = Place::new()?;
    let made = new_board::make_elsewhere(NAME, LIKE, &place.0.join(NAME))?;
    out.line(format!("{}: like {LIKE}", made.dir.display()));
    let board = Board::read(&made.dir.join("board"))?.context("what was made is no board")?;
    if let Some(over) = board.over() {
        anyhow::bail!("{NAME} {over}");
    }
    cargo::must(&mut command(&made.dir, &["clippy", "--all-targets", "--", "-D", "warnings"])?, out)?;
    cargo::must(&mut command(&made.dir, &["test"])?, out)?;
    cargo::must(&mut command(&made.dir, &["build"])?, out)?;
    knows(&target()?.join("debug/cairn"))?;
    can_fail(&made.dir)
}

/// A directory outside of everything, which goes with this value.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("cairn-porting-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Best effort: what stays is small, and in a directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Built beside our own target: what a vendor builds is called `cairn` too.
fn target() -> Result<PathBuf> {
    Ok(cargo::target_directory()?.join("porting"))
}

fn command(dir: &Path, args: &[&str]) -> Result<Command> {
    let mut command = cargo::command(args.iter().copied());
    command.current_dir(dir).env("CARGO_TARGET_DIR", target()?);
    Ok(command)
}

/// The program names the board and no other.
fn knows(program: &Path) -> Result<()> {
    let output = Command::new(program).arg("buildinfo").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let boards = said.lines().find_map(|line| line.strip_prefix("boards ")).map(str::trim);
    ensure!(boards == Some(NAME), "{} buildinfo says:\n{said}", program.display());
    Ok(())
}

/// The laws are tests that can fail.
fn can_fail(dir: &Path) -> Result<()> {
    let path = dir.join("board/src/lib.rs");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(text.contains(RIGHT), "{} has no {RIGHT} that could be broken", path.display());
    fs::write(&path, text.replace(RIGHT, WRONG))?;
    let output = command(dir, &["test", "--quiet", "--test", "laws"])?.output().context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let caught = format!("the board {NAME} breaks the law that what an image holds is loaded");
    ensure!(!output.status.success() && said.contains(&caught), "a broken board passes the laws:\n{said}");
    Ok(())
}
