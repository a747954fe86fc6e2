//! A stage of `test`: a vendor's board, as `new-board` makes it, far from this workspace.
//!
//! Promises: it builds there, passes the laws there, costs no more lines than a board may; its program knows that board
//! and no other; the tool of its workspace makes an image of it, and boots that to the goals of its factory revision; and
//! the laws fail once it is broken. Every command is one that `docs/porting.md` tells a person.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::boards::Board;
use crate::term::Out;
use crate::{cargo, new_board};

const NAME: &str = "acme";
const LIKE: &str = "qemu-arm64-uboot";

/// What the console of the factory revision says once all of its containers have reached their goals.
const GOALS: [&str; 4] = ["[heart]: STARTED", "[link]: STARTED", "[shell]: STARTED", "[ready]: READY"];

/// Seconds that it has for that: many times what it takes where nothing else runs.
const PATIENCE: &str = "300";

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
    let run = |args: &[&str]| cargo::must(&mut command(&made.dir, args)?, out);
    run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    run(&["test", "--quiet"])?;
    run(&["build"])?;
    knows(&cargo::target_directory()?.join(format!("debug/{NAME}-cairn")))?;
    boots(&made.dir, out)?;
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

/// Built in our own target directory, where most of it is already, and the packages of `setup` are.
fn command(dir: &Path, args: &[&str]) -> Result<Command> {
    let mut command = cargo::command(args.iter().copied());
    command.current_dir(dir).env("CARGO_TARGET_DIR", cargo::target_directory()?);
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

/// The vendor's own tool makes a disk for the board, and switches on a machine that has it.
fn boots(dir: &Path, out: Out) -> Result<()> {
    let image = dir.join("target").join(format!("{NAME}.img"));
    let on_image = |verb: &str, option: &str| {
        let mut command = command(dir, &["xtask", verb, "--board", NAME, option])?;
        command.arg(&image);
        anyhow::Ok(command)
    };
    fs::create_dir_all(dir.join("target"))?;
    cargo::must(&mut on_image("image", "--output")?, out)?;
    let mut boot = on_image("qemu", "--image")?;
    // A key that somebody hits here is not for the device.
    boot.args(["--within", PATIENCE]).args(GOALS.iter().flat_map(|goal| ["--until", goal])).stdin(Stdio::null());
    cargo::must(&mut boot, out)
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
