//! Where the boot files of a revision go on this board, and whether they have a place there at all.
//!
//! ```text
//!   arrives   bsp/run.json ──▶ does the firmware start such a thing? is there a slot that it fits in?     else refused
//!   staged    in place: its name beside that of what runs     by reboot: which names have to go first
//!   placed    object of the image ──▶ slot                    where the firmware reads trails: nothing is left to do
//!   at rest   the bootloader of the default ──▶ the copy that does not boot, which boots then
//! ```
//!
//! Everything here blocks and belongs to the thread of the store, while the loop goes on and feeds the watchdog. How a slot is
//! written is [`metal::slots`]' matter, and how a bootloader is, [`metal::bootloader`]'s.

use std::fmt;

use boards_api::slots::Boots;
use formats::bsp_json::{Boot, Bsp};
use formats::document::DocumentError;
use formats::object::ObjectId;
use formats::state::Revision;
use metal::bootloader::{self, Pair};
use metal::slots::{Image, SlotError, Slots};
use statemachine::boot::Wanted;
use statemachine::bootloader::{Reason, Replacement};
use statemachine::ids::RevisionId;
use statemachine::journal::Transition;
use statemachine::update::Evicts;
use store::objects::{ObjectError, Objects};

use crate::boards::Part;

/// The places of a board.
pub struct Places {
    /// What its firmware starts.
    pub boots: &'static [Boots],
    /// Its slots; `None` where the firmware reads trails.
    pub slots: Option<Slots<Part>>,
    /// Where its bootloader lies.
    pub bootloader: Bootloader,
}

/// Where the bootloader of a device lies.
#[derive(Default)]
pub enum Bootloader {
    /// In one copy, as far as the board and the settings say.
    #[default]
    Flashed,
    /// In two copies, as they say.
    Twins(Box<dyn Pair + Send>),
    /// In two copies, as they say, and this device has not got them.
    Absent(String),
}

/// What an update starts from.
#[derive(Clone, Debug)]
pub struct Stand {
    /// What runs.
    pub running: Option<RevisionId>,
    /// What the boot cell names.
    pub wanted: Wanted,
}

/// Why a revision has no place here.
#[derive(Debug)]
pub enum PlaceError {
    /// It has nothing that could be put into a slot.
    NoBase,
    /// Its base system is not understood.
    Base(DocumentError),
    /// The firmware does not start what it brings.
    Kind {
        /// The member of `bsp/run.json`.
        brings: &'static str,
        /// What the firmware starts.
        boots: &'static [Boots],
    },
    /// It brings a compressed image.
    Compressed(String),
    /// It brings a bootloader, and the board has one copy of it.
    Flashed(String),
    /// It brings a bootloader, and the two copies cannot be used.
    Copies {
        /// The bootloader.
        name: String,
        /// Why not.
        why: String,
    },
    /// It brings a bootloader that a copy has no room for.
    Room {
        /// The bootloader.
        image: Image,
        /// What a copy has room for.
        room: u64,
        /// The answer.
        why: Reason,
    },
    /// It brings archives that a boot script would add to the initramfs.
    Addons,
    /// Its image is no object of its own.
    NoObject(String),
    /// The image is not here.
    Object(ObjectError),
    /// The slots.
    Slot(SlotError),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBase => {
                f.write_str("there is no bsp/run.json, so there is nothing for a slot of this board; add its bsp")
            }
            Self::Base(error) => error.fmt(f),
            Self::Kind { brings, boots } => {
                write!(f, "bsp/run.json brings {brings:?}, and the firmware of this board starts ")?;
                for (index, boots) in boots.iter().enumerate() {
                    write!(f, "{}{:?}", if index > 0 { " or " } else { "" }, member(*boots))?;
                }
                Ok(())
            }
            Self::Compressed(name) => {
                write!(f, "{name} is compressed, and an image is written as it is; add it without compression")
            }
            Self::Copies { name, why } => write!(
                f,
                "{name} is a bootloader, and cannot be replaced here: {why}; take \"bootloader\" out of bsp/run.json, and \
                 flash it"
            ),
            Self::Room { image: Image { name, length, .. }, room, why } => {
                write!(f, "{name} is a bootloader of {length} bytes, and a copy has room for {room}: {why}")
            }
            Self::Flashed(name) => write!(
                f,
                "{name} is a bootloader, and this board has one copy of its own: a power cut while it is replaced would \
                 leave none; take \"bootloader\" out of bsp/run.json, and flash it"
            ),
            Self::Addons => f.write_str(
                "bsp/run.json brings \"addons\", and nothing adds them to the one image of a slot; put them into the image",
            ),
            Self::NoObject(name) => write!(f, "{name} is no object, so it is no image"),
            Self::Object(error) => error.fmt(f),
            Self::Slot(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PlaceError {}

impl From<ObjectError> for PlaceError {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl From<SlotError> for PlaceError {
    fn from(error: SlotError) -> Self {
        Self::Slot(error)
    }
}

/// The member of `bsp/run.json` that brings such a thing.
fn member(boots: Boots) -> &'static str {
    match boots {
        Boots::Linux => "linux",
        Boots::Fit => "fit",
        Boots::Partition => "rpiab",
    }
}

impl Places {
    /// Whether the boot files of a revision have a place on this board, now or after others have made room.
    ///
    /// # Errors
    /// [`PlaceError`] says why they never will.
    pub fn check(&self, revision: &Revision, objects: &Objects) -> Result<(), PlaceError> {
        let bsp = Bsp::of(revision, &mut Vec::new()).map_err(PlaceError::Base)?;
        if let Some((image, pair)) =
            bsp.as_ref().map(|bsp| self.bootloader(revision, bsp, objects)).transpose()?.flatten()
        {
            pair.active().map_err(|why| PlaceError::Copies { name: image.name, why })?;
        }
        let Some(slots) = &self.slots else {
            return bsp.map_or(Ok(()), |bsp| starts(self.boots, &bsp.boot));
        };
        let bsp = bsp.ok_or(PlaceError::NoBase)?;
        starts(self.boots, &bsp.boot)?;
        if !bsp.addons.is_empty() {
            return Err(PlaceError::Addons);
        }
        Ok(slots.check_room(&image(revision, &bsp.boot, objects)?)?)
    }

    /// Makes the bootloader that the default brings what boots, if it brings one. Each step that changes something is said
    /// before it is done. Tells which copy boots from now on, if that has changed.
    ///
    /// # Errors
    /// Why it does not boot, in words. What boots is whole.
    pub fn renew_bootloader(
        &self,
        default: &Revision,
        objects: &Objects,
        say: &mut dyn FnMut(String),
    ) -> Result<Option<String>, String> {
        let words = |error: &dyn fmt::Display| error.to_string();
        let Some(bsp) = Bsp::of(default, &mut Vec::new()).map_err(|error| words(&error))? else { return Ok(None) };
        let Some((image, pair)) = self.bootloader(default, &bsp, objects).map_err(|error| words(&error))? else {
            return Ok(None);
        };
        bootloader::renew(pair, &image, || objects.open_object(image.id).map_err(|error| words(&error)), say)
    }

    /// The bootloader that a revision brings, and the copies that it has room in.
    fn bootloader(
        &self,
        revision: &Revision,
        bsp: &Bsp,
        objects: &Objects,
    ) -> Result<Option<(Image, &dyn Pair)>, PlaceError> {
        let Some(file) = &bsp.bootloader else { return Ok(None) };
        let name = format!("bsp/{file}");
        let pair = match &self.bootloader {
            Bootloader::Flashed => return Err(PlaceError::Flashed(name)),
            Bootloader::Absent(why) => return Err(PlaceError::Copies { name, why: why.clone() }),
            Bootloader::Twins(pair) => &**pair,
        };
        let (image, room) = (object(revision, file, objects)?, pair.room());
        match Replacement::fits(image.length, room) {
            Ok(()) => Ok(Some((image, pair))),
            Err(why) => Err(PlaceError::Room { image, room, why }),
        }
    }

    /// Makes what can be made ready while the boot cell still says what it said. What has to go from it is told.
    ///
    /// # Errors
    /// [`PlaceError`]: nothing that the boot cell names was touched.
    pub fn prepare(
        &mut self,
        id: &RevisionId,
        revision: &Revision,
        by: Transition,
        stand: &Stand,
        objects: &Objects,
    ) -> Result<Evicts, PlaceError> {
        let Some(slots) = &mut self.slots else { return Ok(Evicts::default()) };
        match (by, &stand.running) {
            (Transition::InPlace, Some(running)) => {
                slots.share(id, running, &stand.wanted)?;
                Ok(Evicts::default())
            }
            // Nothing runs that it could be switched in for, as the machine knows.
            (Transition::InPlace, None) => Ok(Evicts::default()),
            (Transition::Reboot, running) => {
                let image = image(revision, &of(revision)?, objects)?;
                Ok(slots.evicts(id, running.as_ref(), &stand.wanted, &image)?)
            }
        }
    }

    /// Puts the boot files where the firmware looks for them.
    ///
    /// # Errors
    /// [`PlaceError`]: nothing that the boot cell names was touched.
    pub fn place(
        &mut self,
        id: &RevisionId,
        revision: &Revision,
        stand: &Stand,
        objects: &Objects,
    ) -> Result<(), PlaceError> {
        let Some(slots) = &mut self.slots else { return Ok(()) };
        let image = image(revision, &of(revision)?, objects)?;
        let mut source = objects.open_object(image.id)?;
        Ok(slots.place(id, stand.running.as_ref(), &stand.wanted, &image, &mut source)?)
    }
}

fn of(revision: &Revision) -> Result<Boot, PlaceError> {
    let bsp = Bsp::of(revision, &mut Vec::new()).map_err(PlaceError::Base)?;
    Ok(bsp.ok_or(PlaceError::NoBase)?.boot)
}

fn starts(boots: &'static [Boots], boot: &Boot) -> Result<(), PlaceError> {
    let brought = match boot {
        Boot::Linux { .. } => Boots::Linux,
        Boot::Fit(_) => Boots::Fit,
        Boot::Rpiab(_) => Boots::Partition,
    };
    if boots.contains(&brought) { Ok(()) } else { Err(PlaceError::Kind { brings: member(brought), boots }) }
}

/// The one image of a base system.
fn image(revision: &Revision, boot: &Boot, objects: &Objects) -> Result<Image, PlaceError> {
    let (Boot::Fit(file) | Boot::Rpiab(file) | Boot::Linux { kernel: file, .. }) = boot;
    object(revision, file, objects)
}

/// A file of a base system that is written as it is.
fn object(revision: &Revision, file: &str, objects: &Objects) -> Result<Image, PlaceError> {
    let name = format!("bsp/{file}");
    if name.ends_with(".gz") {
        return Err(PlaceError::Compressed(name));
    }
    let id: Option<ObjectId> = revision.get(&name).and_then(|entry| entry.object_id());
    let id = id.ok_or_else(|| PlaceError::NoObject(name.clone()))?;
    let length = objects.size(id)?.ok_or(ObjectError::Missing(id))?;
    Ok(Image { name, id, length })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Read;
    use std::path::PathBuf;

    use board_generic_uboot_ab::UbootAb;
    use board_rpi_tryboot::RpiTryboot;
    use boards_api::Board as _;
    use boards_api::media::{SECTOR, Sectors as _};
    use boards_api::uboot_slots::FIT_AT;
    use metal::window::Window;
    use statemachine::bootloader::Twin;
    use statemachine::ids::Digest;
    use store::dir::Dir;
    use store::file::FileSectors;

    use super::*;
    use crate::boards::Medium;

    const FIT: &[u8] = b"an image of kernel, initramfs and device tree";
    const ROOM: u64 = 4096;

    struct Bench {
        dir: tempfile::TempDir,
        objects: Objects,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let objects = Objects::open(&Dir::open(dir.path()).unwrap()).unwrap();
            objects.put(ObjectId::of(FIT), &mut &FIT[..], 1 << 20).unwrap();
            let long = [7; ROOM as usize + 1];
            objects.put(ObjectId::of(&long), &mut &long[..], 1 << 20).unwrap();
            for slot in ["a", "b"] {
                std::fs::write(dir.path().join(slot), vec![0; usize::try_from(FIT_AT + ROOM).unwrap()]).unwrap();
            }
            Self { dir, objects }
        }

        fn slots(&self) -> Places {
            let slot = |name| {
                let sectors = FileSectors::open(&self.dir.path().join(name)).unwrap();
                (name, Window::whole(Medium::Disk(sectors)).unwrap())
            };
            let slots = Slots::new(UbootAb::SHAPE.unwrap(), vec![slot("a"), slot("b")], None);
            Places { boots: UbootAb::BOOTS, slots: Some(slots), bootloader: Bootloader::Flashed }
        }
    }

    /// Two copies of a bootloader in files, the name of the one that boots in a third; power for so many changes.
    struct InFiles {
        dir: PathBuf,
        changes: Cell<usize>,
    }

    impl InFiles {
        const ROOM: usize = 1024;

        fn new(bench: &Bench) -> Self {
            let dir = bench.dir.path().to_owned();
            for copy in ["first", "second"] {
                std::fs::write(dir.join(copy), [b'o'; Self::ROOM]).unwrap();
            }
            std::fs::write(dir.join("boots"), "first").unwrap();
            Self { dir, changes: Cell::new(usize::MAX) }
        }

        fn places(self) -> Places {
            Places { boots: &[Boots::Fit], slots: None, bootloader: Bootloader::Twins(Box::new(self)) }
        }

        fn change(&self) -> Result<(), String> {
            self.changes.set(self.changes.get().checked_sub(1).ok_or("no power")?);
            Ok(())
        }

        fn sectors(&self, copy: Twin) -> FileSectors {
            FileSectors::open(&self.dir.join(self.name(copy))).unwrap()
        }
    }

    impl Pair for InFiles {
        fn name(&self, copy: Twin) -> &str {
            if copy == Twin::First { "first" } else { "second" }
        }

        fn room(&self) -> u64 {
            Self::ROOM as u64
        }

        fn active(&self) -> Result<Twin, String> {
            match std::fs::read_to_string(self.dir.join("boots")).unwrap().as_str() {
                "first" => Ok(Twin::First),
                "second" => Ok(Twin::Second),
                other => Err(format!("{other} boots")),
            }
        }

        fn digest(&self, copy: Twin, length: u64) -> Result<Digest, String> {
            Ok(bootloader::digest(&mut self.sectors(copy), length).unwrap())
        }

        fn write(&self, copy: Twin, bytes: &mut dyn Read, length: u64) -> Result<(), String> {
            assert_ne!(self.active(), Ok(copy), "the copy that boots is written");
            self.change()?;
            self.sectors(copy).write(0, &[0; SECTOR]).unwrap();
            self.change()?;
            bootloader::fill(&mut self.sectors(copy), bytes, length).map_err(|error| error.to_string())
        }

        fn switch(&self, to: Twin) -> Result<(), String> {
            self.change()?;
            std::fs::write(self.dir.join("boots"), self.name(to)).unwrap();
            self.change()
        }
    }

    /// A revision with this `bsp/run.json`; `""`: with none.
    fn revision(base: &str) -> Revision {
        let (fit, long) = (ObjectId::of(FIT), ObjectId::of(&[7; ROOM as usize + 1]));
        let base = if base.is_empty() { String::new() } else { format!(r#","bsp/run.json":{base}"#) };
        let files: String = ["k", "i", "x.fit", "x.img", "x.img.gz", "u-boot.bin"]
            .iter()
            .map(|file| format!(r#","bsp/{file}":"{fit}""#))
            .collect();
        let text = format!(
            r##"{{"#spec":"pantavisor-service-system@1"{base}{files},"bsp/long.fit":"{long}","bsp/in.json":{{}}}}"##
        );
        Revision::parse(text.as_bytes()).unwrap()
    }

    fn id(name: &str) -> RevisionId {
        RevisionId::parse(name).unwrap()
    }

    fn stand(default: &str, previous: Option<&str>) -> Stand {
        let previous = previous.map(id);
        let wanted = Wanted { nonce: 1, default: id(default), previous, factory: None, trial: None };
        Stand { running: Some(id(default)), wanted }
    }

    #[test]
    fn what_has_no_place_on_a_board_is_refused_when_it_arrives() {
        let bench = Bench::new();
        let trails = |boots| Places { boots, slots: None, bootloader: Bootloader::Flashed };
        let (ab, pi) = (bench.slots(), Places { boots: RpiTryboot::BOOTS, ..bench.slots() });
        let files = trails(&[Boots::Linux]);
        let twins = InFiles::new(&bench).places();
        let absent = Places { bootloader: Bootloader::Absent("there is no eMMC".into()), ..trails(&[Boots::Fit]) };
        for (places, base, why) in [
            (&ab, "", "there is no bsp/run.json"),
            (&ab, r#"{"linux":"k","initrd":"i"}"#, r#"brings "linux", and the firmware of this board starts "fit""#),
            (&ab, r#"{"fit":"long.fit"}"#, "bsp/long.fit has 4097 bytes, and slot a has room for 4096"),
            (&ab, r#"{"fit":"in.json"}"#, "bsp/in.json is no object"),
            (&ab, r#"{"fit":"x.fit","addons":["i"]}"#, "addons"),
            (&ab, r#"{"fit":"x.fit","bootloader":"u-boot.bin"}"#, "bsp/u-boot.bin is a bootloader"),
            (&pi, r#"{"fit":"x.fit"}"#, r#"starts "rpiab""#),
            (&pi, r#"{"rpiab":"x.img.gz"}"#, "bsp/x.img.gz is compressed"),
            (&files, r#"{"fit":"x.fit"}"#, r#"brings "fit", and the firmware of this board starts "linux""#),
            (&files, r#"{"linux":"k","initrd":"i","bootloader":"u-boot.bin"}"#, "one copy of its own"),
            (
                &absent,
                r#"{"fit":"x.fit","bootloader":"u-boot.bin"}"#,
                "cannot be replaced here: there is no eMMC; take",
            ),
            (&twins, r#"{"fit":"x.fit","bootloader":"long.fit"}"#, "of 4097 bytes, and a copy has room for 1024"),
            (&twins, r#"{"fit":"x.fit","bootloader":"x.img.gz"}"#, "bsp/x.img.gz is compressed"),
            (&twins, r#"{"fit":"x.fit","bootloader":"in.json"}"#, "bsp/in.json is no object"),
        ] {
            let error = places.check(&revision(base), &bench.objects).unwrap_err().to_string();
            assert!(error.contains(why), "{base}: {error}");
        }
        for (places, base) in [
            (&ab, r#"{"fit":"x.fit"}"#),
            (&pi, r#"{"rpiab":"x.img"}"#),
            (&files, r#"{"linux":"k","initrd":"i"}"#),
            (&files, ""),
            (&twins, r#"{"fit":"x.fit","bootloader":"u-boot.bin"}"#),
            (&trails(board_host::Host::BOOTS), r#"{"fit":"x.fit"}"#),
        ] {
            assert!(places.check(&revision(base), &bench.objects).is_ok(), "{base}");
        }
    }

    #[test]
    fn the_bootloader_of_the_default_boots_after_any_cut_and_one_that_brings_none_leaves_it_as_it_is() {
        let brings = revision(r#"{"fit":"x.fit","bootloader":"u-boot.bin"}"#);
        let mut cuts = 0;
        for changes in 0.. {
            let bench = Bench::new();
            let twins = InFiles { changes: Cell::new(changes), ..InFiles::new(&bench) };
            let read = |name: &str| std::fs::read(bench.dir.path().join(name)).unwrap();
            let (mut said, objects) = (Vec::new(), &bench.objects);
            let done = twins.places().renew_bootloader(&brings, objects, &mut |line| said.push(line));
            let boots = String::from_utf8(read("boots")).unwrap();
            assert!(boots == "first" && read("first") == [b'o'; InFiles::ROOM] || read("second").starts_with(FIT));
            // The next boot of the same default.
            let power = || InFiles { dir: bench.dir.path().to_owned(), changes: Cell::new(usize::MAX) }.places();
            let again = power().renew_bootloader(&brings, objects, &mut |line| said.push(line)).unwrap();
            assert_eq!(again.is_some(), boots == "first", "cut after {changes}");
            assert!(read("second").starts_with(FIT) && read("boots") == b"second" && !said.is_empty());
            for default in [&brings, &revision(r#"{"fit":"x.fit"}"#), &revision("")] {
                let mut say = |line: String| panic!("{line}");
                assert_eq!(power().renew_bootloader(default, objects, &mut say), Ok(None));
            }
            if done.is_ok() {
                break;
            }
            cuts += 1;
        }
        assert_eq!(cuts, 3, "before the write, within it, before the switch; after the switch it is done");
    }

    #[test]
    fn a_device_that_boots_from_neither_copy_refuses_a_bootloader_and_a_default_that_brings_one_says_so() {
        let bench = Bench::new();
        let (twins, brings) = (InFiles::new(&bench), revision(r#"{"fit":"x.fit","bootloader":"u-boot.bin"}"#));
        std::fs::write(bench.dir.path().join("boots"), "the user area").unwrap();
        let places = twins.places();
        let error = places.check(&brings, &bench.objects).unwrap_err().to_string();
        assert!(error.contains("cannot be replaced here: the user area boots; take"), "{error}");
        let why = places.renew_bootloader(&brings, &bench.objects, &mut |line| panic!("{line}")).unwrap_err();
        assert!(why.contains("neither copy is known to boot (the user area boots)"), "{why}");
        // One that came with the device, and was never received.
        let flashed = Places { boots: &[Boots::Fit], slots: None, bootloader: Bootloader::Flashed };
        let why = flashed.renew_bootloader(&brings, &bench.objects, &mut |line| panic!("{line}")).unwrap_err();
        assert!(why.contains("one copy of its own"), "{why}");
    }

    #[test]
    fn an_update_by_reboot_goes_to_the_other_slot_and_one_in_place_shares_that_of_what_runs() {
        let bench = Bench::new();
        let mut places = bench.slots();
        let (fit, objects) = (revision(r#"{"fit":"x.fit"}"#), &bench.objects);
        places.place(&id("1"), &fit, &stand("0", None), objects).unwrap();
        let after_one = stand("1", None);
        assert_eq!(places.prepare(&id("2"), &fit, Transition::Reboot, &after_one, objects).unwrap(), Evicts::default());
        places.place(&id("2"), &fit, &after_one, objects).unwrap();
        places.prepare(&id("3"), &fit, Transition::InPlace, &stand("2", Some("1")), objects).unwrap();
        let held = |places: &mut Places| {
            let slots = places.slots.as_mut().unwrap().held().into_iter();
            slots
                .map(|(_, held)| held.iter().map(RevisionId::to_string).collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(held(&mut places), ["1", "2 3"]);
        let evicts = places.prepare(&id("4"), &fit, Transition::Reboot, &stand("3", Some("1")), objects);
        assert_eq!(evicts.unwrap(), Evicts { previous: true, factory: false });
        let written = std::fs::read(bench.dir.path().join("b")).unwrap();
        assert_eq!(written[usize::try_from(FIT_AT).unwrap()..][..FIT.len()], *FIT);
    }
}
