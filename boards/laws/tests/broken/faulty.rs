//! A board that is right in everything but what its [`Fault`] replaces.

use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;

use boards_api::board::{Board, Booted, Layout, Media, Rests, Role};
use boards_api::cell::{Cell, OneSector, RawPair};
use boards_api::codecs::Raw;
use boards_api::env::BootEnv;
use boards_api::media::{SECTOR, Sectors};
use boards_api::provision::{At, New, Piece};
use boards_api::slots::{Boots, Places, Shape};
use boards_api::{TrialKind, uboot};
use formats::bootenv::Error;
use formats::bootenv::raw;
use formats::bootenv::uboot::Head;
use statemachine::boot::{Note, Wanted};

/// Where the copies lie.
pub(crate) const AT: [u64; 2] = [0, uboot::APART];

/// Two partitions of sectors.
pub(crate) struct Cells<S> {
    pub(crate) wanted: S,
    pub(crate) spent: S,
}

/// What went wrong, in words.
#[derive(Debug)]
pub(crate) struct Words(pub(crate) String);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Words {}

pub(crate) fn words(error: impl fmt::Display) -> Words {
    Words(error.to_string())
}

/// One sector as it stands there.
pub(crate) fn sector(sectors: &mut impl Sectors, at: u64) -> Result<[u8; SECTOR], Words> {
    let mut bytes = [0; SECTOR];
    sectors.read(at, &mut bytes).map_err(words)?;
    Ok(bytes)
}

/// What a fault may replace. Everything here is right: a pair for U-Boot, and its note.
pub(crate) trait Fault {
    const LAYOUT: Layout = uboot::LAYOUT;
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Trails;
    const SHAPE: Option<Shape> = None;
    const BOOTS: &'static [Boots] = &[Boots::Linux];
    const RESTS: Rests = Rests::OnNothing;
    const MENDS_NOTE: bool = false;
    const SCRIPT: &'static [&'static str] = &[uboot::PICK, uboot::TRAILS];

    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        let bytes = raw::encode_wanted(wanted, Head::Plain).map_err(words)?;
        RawPair::<_, Raw<false>>::new(&mut cells.wanted, AT).replace(&bytes).map_err(words)
    }

    fn load<S: Sectors>(cells: &mut Cells<S>) -> Result<Wanted, Words> {
        let mut bytes = [0; SECTOR];
        RawPair::<_, Raw<false>>::new(&mut cells.wanted, AT).read(&mut bytes).map_err(words)?;
        raw::decode_wanted(&bytes, Head::Plain).map_err(words)
    }

    fn note<S: Sectors>(cells: &mut Cells<S>) -> Note {
        let mut bytes = [0; SECTOR];
        match OneSector::new(&mut cells.spent, 0, SECTOR).read(&mut bytes) {
            Ok(_) => raw::note(&bytes, Head::Plain),
            Err(_) => Note::Unreadable,
        }
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        boards_api::provision::raw_cells::<false>(new, &AT.map(At::Byte), At::Byte(0), put)
    }

    fn booted(cmdline: &str) -> Option<Booted> {
        Booted::from_cmdline(cmdline, Self::PLACES)
    }

    fn reboot_arg(trial: bool) -> Option<&'static CStr> {
        let _ = trial;
        None
    }
}

/// No fault.
pub(crate) struct Sound;

impl Fault for Sound {}

/// The board.
pub(crate) struct Faulty<F>(PhantomData<F>);

/// Its environment.
pub(crate) struct FaultyEnv<S, F> {
    cells: Cells<S>,
    fault: PhantomData<F>,
}

impl<S: Sectors, F: Fault> BootEnv for FaultyEnv<S, F> {
    type Error = Words;

    fn load(&mut self) -> (Result<Wanted, Words>, Note) {
        (F::load(&mut self.cells), F::note(&mut self.cells))
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Words> {
        F::store(&mut self.cells, wanted)
    }
}

impl<F: Fault> Board for Faulty<F> {
    const NAME: &'static str = "faulty";
    const LAYOUT: Layout = F::LAYOUT;
    const TRIAL: TrialKind = F::TRIAL;
    const PLACES: Places = F::PLACES;
    const SHAPE: Option<Shape> = F::SHAPE;
    const BOOTS: &'static [Boots] = F::BOOTS;
    const RESTS: Rests = F::RESTS;
    const MENDS_NOTE: bool = F::MENDS_NOTE;
    const SCRIPT: &'static [&'static str] = F::SCRIPT;
    type Env<M: Media> = FaultyEnv<M::Sectors, F>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        let cells = Cells { wanted: media.sectors(Role::Wanted)?, spent: media.sectors(Role::Spent)? };
        Some(FaultyEnv { cells, fault: PhantomData })
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        F::provision(new, put)
    }

    fn booted(cmdline: &str) -> Option<Booted> {
        F::booted(cmdline)
    }

    fn reboot_arg(trial: bool) -> Option<&'static CStr> {
        F::reboot_arg(trial)
    }
}
