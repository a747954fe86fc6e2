//! `test mtd`: what [`metal::mtd`] promises of flash in erase blocks, asked of a real kernel under QEMU.
//!
//! ```text
//!   runtime/metal/guest/mtd.rs ──static──▶ /init ─┐
//!   phram, nandsim, pinned with the kernel ───────┴─▶ initramfs ──▶ PC, no disk ──▶ "mtd: 7 of 7 laws hold"
//! ```
//!
//! A host's kernel seldom has MTD, and its flash is nobody's to erase: the kernel for every machine plays flash in memory.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use machine::{Kind, Plan};

use crate::bsp;
use crate::cargo;
use crate::sizes::TARGET;
use crate::term::Out;

const PACKAGE: &str = "cairn-metal";
const PROGRAM: &str = "mtd";

/// The kernel for every machine has what the one for clouds leaves out.
const BOARD: &str = "qemu-x86_64-grub";
const RECIPE: &str = "generic";

/// NOR by these names, each with its place in memory, its bytes and those of an erase block; NAND with pages of 512 bytes, in
/// erase blocks: a partition of 16, one of 16 of which the fifth is bad, and the rest.
const MODULES: [&str; 2] = [
    "phram phram=wanted,0x4000000,0x20000,0x10000 phram=slot-a,0x4100000,0x80000,0x10000 \
     phram=slot-b,0x4200000,0x80000,0x10000 phram=twin,0x4300000,0x10000,0x10000 phram=twin,0x4310000,0x10000,0x10000",
    "nandsim first_id_byte=0x20 second_id_byte=0x33 parts=16,16 badblocks=20",
];

/// The memory that the modules use is none of the kernel's.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 quiet memmap=4M$0x4000000";

/// From power to the last line, in emulation.
const BOOT: Duration = Duration::from_secs(180);

/// Builds it, boots it, and reads what it says.
pub(crate) fn check(out: Out) -> Result<()> {
    let (kernel, archive) = bsp::bare(BOARD, RECIPE, &build(out)?, &MODULES, out)?;
    let target = cargo::target_directory()?;
    let dir = target.join("test-mtd");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let initrd = dir.join("initramfs");
    fs::write(&initrd, archive).with_context(|| format!("cannot write {}", initrd.display()))?;
    let plan = Plan::new(Kind::X86_64Direct).kernel(kernel, COMMAND_LINE).initrd(initrd).no_reboot();
    let mut machine = plan.log(dir.join("console.log")).packages(target.join("packages")).build()?;
    machine.start()?;
    let said = machine.expect(" laws hold", BOOT)?.before;
    machine.quit()?;
    said.lines()
        .filter(|line| line.starts_with("holds:") || line.starts_with("broken:"))
        .for_each(|line| out.line(line));
    let verdict = said.lines().last().unwrap_or_default();
    match verdict.strip_prefix("mtd: ").and_then(|counts| counts.split_once(" of ")) {
        Some((held, all)) if held == all && held != "0" => Ok(()),
        _ => bail!("{verdict} laws hold; what it said is in {}", dir.join("console.log").display()),
    }
}

/// A program that is alone in its initramfs.
fn build(out: Out) -> Result<PathBuf> {
    let mut command =
        cargo::command(["build", "--quiet", "--target", TARGET, "--package", PACKAGE, "--example", PROGRAM]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").env("CARGO_PROFILE_DEV_STRIP", "symbols");
    cargo::must(&mut command, out)?;
    Ok(cargo::target_directory()?.join(TARGET).join("debug/examples").join(PROGRAM))
}
