//! `image`: a whole disk for a board, ready to be flashed or booted; the same inputs give the same bytes.
//!
//! Promises: no root, no loop device, nothing of the host's configuration, clock or users in the image. The same board
//! and the same files give the same bytes, and an image that is there was finished.
//!
//! | module | what |
//! |---|---|
//! | `command` | from the name of a board to a file |
//! | `source` | what goes in: `ImageSource` |
//! | `firmware` | what the firmware starts: GRUB, `boot.scr`, a first-stage loader |
//! | `factory` | the storage of a demonstration, where nobody gives one |
//! | `cells` | the boot cells of a device that leaves the factory |
//! | `table` | GPT and MBR |
//! | `fat`, `ext4` | file systems without a clock |
//! | `build` | puts it together |
//! | `ranges`, `map` | which bytes of it have to be written |

pub(crate) mod build;
pub(crate) mod cells;
mod command;
mod ext4;
mod factory;
mod fat;
mod firmware;
pub(crate) mod map;
pub(crate) mod ranges;
pub(crate) mod source;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

pub(crate) use command::{Options, for_flashing, for_story, of_board, run};
pub(crate) use factory::Made;

/// Seconds: 1980-01-01, the first day that a FAT can say, on all file systems of an image. It is before whatever a device
/// without a battery takes for the time, once that knows better than 1970.
const TIME: &str = "315532800";

/// A program that makes file systems, in a place that the `PATH` of a user may lack, at the time of an image and without
/// the configuration of a host.
fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")).stdin(Stdio::null());
    command.envs([("LC_ALL", "C"), ("TZ", "UTC"), ("E2FSPROGS_FAKE_TIME", TIME), ("SOURCE_DATE_EPOCH", TIME)]);
    command.env("MTOOLSRC", "/dev/null").env("MTOOLS_SKIP_CHECK", "1").env_remove("DEBUGFS_PAGER");
    command
}

/// A file whole, or an error with its name.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
