//! Tells the program which source it was built from. Outside a git checkout it is built all the same.
//!
//! `CAIRN_COMMIT` overrides what git says, for builders that work from an archive and want the same bytes every time.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CAIRN_COMMIT");
    // Grows with every commit and checkout; cargo would always build again if a named file did not exist.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| std::path::Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let commit = std::env::var("CAIRN_COMMIT").ok().or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=CAIRN_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=CAIRN_TARGET={}", std::env::var("TARGET").as_deref().unwrap_or("unknown"));
}

/// One line from git. `None`: no git, no checkout, or no commit yet.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}
