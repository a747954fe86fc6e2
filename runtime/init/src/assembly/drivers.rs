//! The drivers that a container declares, found in what the base system says of them.
//!
//! A name that nothing of the revision knows can never be loaded: the revision is refused where a container requires it, and a
//! person hears of it otherwise. A name that is known and not for this board is a matter of the board: what the firmware
//! tells may be another thing in the next boot, so that is no reason to refuse a revision that has run before.

use formats::bsp_json::{Boot, Bsp};
use formats::document::DocumentError;
use formats::drivers_json::{Aliases, Board, Entry, KEY};
use formats::run_json::Manifest;
use formats::state::Revision;

use super::{AssemblyError, Refusal};

/// How much a container wants a driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wish {
    /// It does not start without.
    Required,
    /// It is loaded before the start, if it can be.
    Optional,
    /// It is loaded when the container asks for it.
    Manual,
}

impl Wish {
    /// The word as tools know it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Required => "REQUIRED",
            Self::Optional => "OPTIONAL",
            Self::Manual => "MANUAL",
        }
    }
}

/// A driver that a container declares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Driver {
    /// Its name.
    pub name: String,
    /// How much it is wanted.
    pub wish: Wish,
    /// The modules behind it, or why there are none on this board.
    pub entries: Result<Vec<Entry>, String>,
}

/// Every name of a document, as drivers for which nobody has asked.
#[must_use]
pub fn all(aliases: &Aliases, board: &Board) -> Vec<Driver> {
    let driver = |name: &str| aliases.on(board, name).map(|entries| (name.to_owned(), entries));
    let fitting = aliases.names().into_iter().filter_map(driver);
    fitting.map(|(name, entries)| Driver { name, wish: Wish::Optional, entries: Ok(entries) }).collect()
}

/// A board as its firmware tells it. Of the device tree it seldom does, which the revision does then.
///
/// # Errors
/// The base system cannot be read.
pub fn board_of(revision: &Revision, told: &Board) -> Result<Board, DocumentError> {
    let mut board = told.clone();
    if board.dtb.is_none()
        && let Some(Boot::Linux { fdt, .. }) = Bsp::of(revision, &mut Vec::new())?.map(|bsp| bsp.boot)
    {
        board.dtb = fdt;
    }
    Ok(board)
}

/// The drivers of a container, those that it requires first.
pub(super) fn of(
    manifest: &Manifest,
    aliases: &Aliases,
    board: &Board,
    warnings: &mut Vec<String>,
) -> Result<Vec<Driver>, AssemblyError> {
    let mut drivers: Vec<Driver> = Vec::new();
    let lists = &manifest.drivers;
    let wishes = [
        ("required", Wish::Required, &lists.required),
        ("optional", Wish::Optional, &lists.optional),
        ("manual", Wish::Manual, &lists.manual),
    ];
    for (list, wish, names) in wishes {
        for name in names {
            let mut doubt =
                |why: &str| warnings.push(format!("{}/run.json: drivers.{list}: {name}: {why}", manifest.name));
            if drivers.iter().any(|driver| driver.name == *name) {
                doubt("is named twice; the stronger wish counts");
                continue;
            }
            let entries = match aliases.on(board, name) {
                Some(entries) => Ok(entries),
                None if aliases.knows(name) => {
                    let selectors: Vec<_> = aliases.selectors(name).map(ToString::to_string).collect();
                    Err(format!("{KEY} has it under {} only, which is not this board", selectors.join(", ")))
                }
                None if wish == Wish::Required => {
                    let place = format!("drivers.{list}");
                    return Err(AssemblyError::member(manifest, place, Refusal::Driver(name.clone())));
                }
                None => {
                    doubt("bsp/drivers.json does not have it, so it cannot be loaded");
                    Err(format!("{KEY} does not have it"))
                }
            };
            drivers.push(Driver { name: name.clone(), wish, entries });
        }
    }
    Ok(drivers)
}
