//! Cells and slots on flash that loses power in the middle of an erase or of a program, and what the kernel lists.

use boards_api::cell::{Cell, CellError, RawPair};
use boards_api::codecs::Raw;
use boards_api::env::Codec as _;
use boards_api::media::{SECTOR, Sectors as _};
use boards_api::slots::Shape;
use formats::bootenv::reference;
use formats::bootenv::uboot::Head;
use formats::object::ObjectId;
use sim::nor::{NorFault, SimNor, Writes};
use sim::{Fuel, Tear};
use statemachine::boot::{Trial, Wanted};
use statemachine::ids::RevisionId;

use super::*;
use crate::disks::fake::Tree;
use crate::slots::{Image, Slots};

const ERASE: usize = 2048;
const PAGE: usize = 256;

/// Pages of 256 bytes, as SPI flash has them; each is torn on its own, and so is each erase.
#[derive(Clone, Debug)]
struct Nor {
    flash: SimNor<PAGE, ERASE>,
    geometry: Geometry,
    bad: Option<u64>,
    locked: bool,
}

impl Nor {
    fn erased(blocks: usize) -> Self {
        let geometry = Geometry { size: (blocks * ERASE) as u64, erase: ERASE as u32, write: PAGE as u32 };
        Self { flash: SimNor::erased(blocks, Writes::Once, &Fuel::unlimited()), geometry, bad: None, locked: false }
    }

    fn blocks(blocks: usize) -> Blocks<Self> {
        Blocks::new(Self::erased(blocks)).unwrap()
    }
}

impl Chip for Nor {
    type Error = NorFault;

    fn number(&self) -> u32 {
        3
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn is_bad(&mut self, at: u64) -> Result<bool, NorFault> {
        Ok(self.bad == Some(at))
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), NorFault> {
        self.flash.read_now(at as u32, into)
    }

    fn erase(&mut self, at: u64) -> Result<(), NorFault> {
        if self.locked { Ok(()) } else { self.flash.erase_now(at as u32, at as u32 + ERASE as u32) }
    }

    fn program(&mut self, at: u64, bytes: &[u8]) -> Result<(), NorFault> {
        if self.locked { Ok(()) } else { self.flash.write_now(at as u32, bytes) }
    }
}

fn wanted(nonce: u32) -> Vec<u8> {
    let wanted = Wanted {
        nonce,
        default: RevisionId::factory(),
        previous: None,
        factory: Some(RevisionId::factory()),
        trial: None,
    };
    let mut bytes = [0; 2 * SECTOR];
    let length = Raw::<true>::encode_wanted(&wanted, &mut bytes).unwrap();
    bytes[..length].to_vec()
}

/// What a pair whose copies lie here reads.
fn read(flash: &Blocks<Nor>, at: [u64; 2]) -> Result<Vec<u8>, CellError<MtdError<NorFault>>> {
    let mut bytes = [0; SECTOR];
    RawPair::<_, Raw<true>>::new(flash.clone(), at).read(&mut bytes)?;
    Ok(bytes.to_vec())
}

fn replace(flash: &mut Blocks<Nor>, at: [u64; 2], with: &[u8]) -> Result<(), CellError<MtdError<NorFault>>> {
    RawPair::<_, Raw<true>>::new(flash, at).replace(with)
}

/// Every way to leave what power goes in.
fn tears() -> impl Iterator<Item = Tear> {
    Tear::ALL.into_iter().chain((1..PAGE as u16).step_by(17).map(Tear::At))
}

/// The flash after a store of `with` was cut at each of its operations, in every way; then `look`.
fn cut_everywhere(made: &Blocks<Nor>, at: [u64; 2], with: &[u8], mut look: impl FnMut(Blocks<Nor>)) {
    let mut cuts = 0;
    for tear in tears() {
        for operation in 0.. {
            let mut flash = made.clone();
            flash.chip().flash.power_on(&Fuel::limited(operation, tear, operation));
            let done = replace(&mut flash, at, with).is_ok();
            flash.chip().flash.power_on(&Fuel::unlimited());
            if done {
                break;
            }
            cuts += 1;
            look(flash);
        }
    }
    assert!(cuts > 100, "{cuts} cuts");
}

fn stored(blocks: usize, at: [u64; 2]) -> Blocks<Nor> {
    let mut flash = Nor::blocks(blocks);
    replace(&mut flash, at, &wanted(1)).unwrap();
    flash
}

#[test]
fn after_any_cut_a_pair_in_two_erase_blocks_is_old_or_new() {
    const AT: [u64; 2] = [0, ERASE as u64];
    let [old, new, next] = [1, 2, 3].map(wanted);
    cut_everywhere(&stored(2, AT), AT, &new, |mut flash| {
        let seen = read(&flash, AT).unwrap();
        assert!(seen == old || seen == new);
        // What the next store begins with is a block whose erase was cut.
        replace(&mut flash.clone(), AT, &next).unwrap();
        flash.chip().flash.power_on(&Fuel::limited(3, Tear::Garbage, 9));
        replace(&mut flash, AT, &next).unwrap_err();
        flash.chip().flash.power_on(&Fuel::unlimited());
        let again = read(&flash, AT).unwrap();
        assert!(again == seen || again == next, "a second cut uncovers something older");
    });
}

#[test]
fn two_copies_in_one_erase_block_do_not_hold_and_are_refused() {
    const AT: [u64; 2] = [0, SECTOR as u64];
    let flash = stored(1, AT);
    let mut lost = 0;
    cut_everywhere(&flash, AT, &wanted(2), |flash| lost += u32::from(read(&flash, AT) == Err(CellError::NotWhole)));
    assert!(lost > 0, "flash that keeps both needs no check");
    let error = flash.check_apart(Some(SECTOR as u64)).unwrap_err().to_string();
    let says = "mtd3: it is erased in blocks of 2048 bytes, and the copies of this board lie 512 bytes apart";
    assert!(error.starts_with(says), "{error}");
    assert!(flash.check_apart(Some(3 * SECTOR as u64)).is_err(), "they would share a block at some places");
    assert_eq!(flash.check_apart(Some(2 * ERASE as u64)), Ok(()));
    assert_eq!(flash.check_apart(None).unwrap_err().fault, Fault::OneCopy(ERASE as u32));
}

#[test]
fn the_one_list_of_the_reference_in_flash_does_not_survive_a_cut_behind_its_erase() {
    let id = |name: &str| RevisionId::parse(name).unwrap();
    let wanted = |nonce, default, trial: Option<&str>| {
        let trial = trial.map(|trial| Trial { revision: id(trial), max: 1, issued: 0 });
        Wanted { nonce, default: id(default), previous: None, factory: Some(id("0")), trial }
    };
    let (old, new) = (wanted(1, "71", Some("72")), wanted(2, "72", None));
    // Of a partition of 64 KiB, the part that flash so small has room for.
    let list = |wanted: &Wanted| {
        let mut partition = vec![0; reference::MTD_SIZE];
        reference::encode_mtd(reference::open_mtd(&[]).unwrap(), wanted, &mut partition).unwrap();
        assert!(partition[ERASE..].iter().all(|byte| *byte == 0));
        partition[..ERASE].to_vec()
    };
    let mut made = Nor::blocks(1);
    made.write(0, &list(&old)).unwrap();
    let (mut lost, mut cuts) = (0, 0);
    for tear in [Tear::Old, Tear::New, Tear::Half].into_iter().chain((1..PAGE as u16).map(Tear::At)) {
        for operation in 0.. {
            let mut flash = made.clone();
            flash.chip().flash.power_on(&Fuel::limited(operation, tear, operation));
            if flash.write(0, &list(&new)).is_ok() {
                break;
            }
            cuts += 1;
            let read = reference::open_mtd(flash.chip().flash.bytes()).and_then(reference::decode);
            // Without the sum it reads as others mean it, but never as a revision that nobody named.
            let known = |read: &Wanted| *read == old || *read == new || read.nonce == 0 && read.default == new.default;
            lost += u32::from(read.is_err());
            assert!(read.as_ref().is_err() || read.as_ref().is_ok_and(known), "{tear:?} {operation}: {read:?}");
        }
    }
    assert!(cuts > 1000 && lost > 0, "{lost} of {cuts} cuts leave no list");
}

#[test]
fn after_any_cut_a_label_on_flash_means_a_whole_image_and_the_default_is_untouched() {
    const BLOCK: u64 = ERASE as u64;
    const SHAPE: Shape = Shape { labels: &[0, BLOCK], head: Head::Flagged, image: 2 * BLOCK };
    let id = |name: &str| RevisionId::parse(name).unwrap();
    // Two blocks and a part of a third.
    let bytes = |of: &str| format!("image of {of}; ").into_bytes().repeat(400)[..2 * ERASE + 700].to_vec();
    let image = |bytes: &[u8]| Image { name: "x.fit".into(), id: ObjectId::of(bytes), length: bytes.len() as u64 };
    let stand = |default: &str| Wanted { nonce: 1, default: id(default), previous: None, factory: None, trial: None };
    let place = |slots: &mut Slots<Blocks<Nor>>, new: &str, running: &str| {
        let bytes = bytes(new);
        slots.place(&id(new), Some(&id(running)), &stand(running), &image(&bytes), &mut &bytes[..])
    };
    let mut made = Slots::new(SHAPE, vec![("a", Nor::blocks(5)), ("b", Nor::blocks(5))], None);
    place(&mut made, "1", "0").unwrap();
    place(&mut made, "2", "1").unwrap();
    let kept = made.media().nth(1).map(|media| media.chip().flash.bytes().to_vec());
    let mut cuts = 0;
    for tear in Tear::ALL {
        for operation in 0.. {
            let mut slots = made.clone();
            let fuel = Fuel::limited(operation, tear, operation);
            slots.media().for_each(|media| media.chip().flash.power_on(&fuel));
            let done = place(&mut slots, "3", "2").is_ok();
            slots.media().for_each(|media| media.chip().flash.power_on(&Fuel::unlimited()));
            assert_eq!(slots.media().nth(1).map(|media| media.chip().flash.bytes().to_vec()), kept);
            for revision in ["1", "3"] {
                let bytes = bytes(revision);
                let held = slots.holds(&id(revision));
                assert!(
                    !held || slots.verify(&id(revision), &image(&bytes)).is_ok(),
                    "{revision}, {tear:?} {operation}"
                );
            }
            if done {
                assert!(slots.holds(&id("3")));
                break;
            }
            cuts += 1;
            place(&mut slots, "3", "2").unwrap();
            assert!(slots.verify(&id("3"), &image(&bytes("3"))).is_ok());
        }
    }
    assert!(cuts > 100, "{cuts} cuts");
}

#[test]
fn a_write_keeps_what_else_its_erase_blocks_hold_and_touches_no_other() {
    let mut flash = Nor::blocks(4);
    flash.chip().flash.write_now(0, &[0x5A; 3 * ERASE]).unwrap();
    let before = flash.chip().flash.clone();
    let from = ERASE - SECTOR;
    flash.write(from as u64, &[7; 3 * SECTOR]).unwrap();
    let mut expected = before.bytes().to_vec();
    expected[from..from + 3 * SECTOR].fill(7);
    assert_eq!(flash.chip().flash.bytes(), expected);
    let mut seen = [0; 4];
    flash.read(from as u64 - 2, &mut seen).unwrap();
    assert_eq!((seen, flash.size()), ([0x5A, 0x5A, 7, 7], 4 * ERASE as u64));
    for (at, length) in [(100, SECTOR), (0, 100), (4 * ERASE as u64, SECTOR), (u64::MAX - 511, SECTOR)] {
        assert!(matches!(flash.write(at, &vec![0; length]).unwrap_err().fault, Fault::Range { .. }));
    }
    assert_eq!(flash.chip().flash.bytes(), expected);
}

#[test]
fn flash_that_is_locked_or_gives_something_else_back_is_an_error() {
    let mut flash = Nor::blocks(1);
    flash.chip().locked = true;
    let error = flash.write(SECTOR as u64, &[1; SECTOR]).unwrap_err();
    assert_eq!(error.fault, Fault::Differs(SECTOR as u64));
}

#[test]
fn a_geometry_whose_promise_cannot_be_kept_is_refused_and_so_is_a_bad_block() {
    let refused = |size, erase, write| {
        let nor = Nor { geometry: Geometry { size, erase, write }, ..Nor::erased(1) };
        Blocks::new(nor).unwrap_err().fault
    };
    assert_eq!(refused(1 << 20, 128 << 10, 2048), Fault::WriteSize(2048));
    assert_eq!(refused(1 << 20, 128 << 10, 0), Fault::WriteSize(0));
    assert_eq!(refused(1 << 20, 528, 1), Fault::EraseSize(528));
    assert_eq!(refused(4 << 20, 2 << 20, 1), Fault::EraseSize(2 << 20));
    assert_eq!(refused(1000, 512, 1), Fault::Size { size: 1000, erase: 512 });
    assert_eq!(refused(0, 512, 1), Fault::Size { size: 0, erase: 512 });
    let error = Blocks::new(Nor { bad: Some(ERASE as u64), ..Nor::erased(3) }).unwrap_err().to_string();
    assert!(error.starts_with("mtd3: the erase block at byte 2048 is bad"), "{error}");
}

/// Adds a partition as the kernel lists it.
fn put(tree: &Tree, device: &str, name: &str) {
    let dir = tree.roots.sys.join("class/mtd").join(device);
    std::fs::create_dir_all(&dir).unwrap();
    for (file, word) in
        [("name", name), ("type", "nor"), ("size", "131072"), ("erasesize", "65536"), ("writesize", "1")]
    {
        std::fs::write(dir.join(file), format!("{word}\n")).unwrap();
    }
}

#[test]
fn a_partition_is_found_by_its_exact_name_and_two_of_one_name_are_an_error() {
    let tree = Tree::new();
    assert_eq!(list(&tree.roots).unwrap(), []);
    for (device, name) in
        [("mtd0", "u-boot"), ("mtd0ro", "u-boot"), ("mtd10", "wanted"), ("mtd2", "spent "), ("mtd3", "twin")]
    {
        put(&tree, device, name);
    }
    let mut listed = list(&tree.roots).unwrap();
    listed.sort_by_key(|partition| partition.number);
    assert_eq!(
        listed.iter().map(Partition::to_string).collect::<Vec<_>>(),
        ["mtd0 (u-boot)", "mtd2 (spent )", "mtd3 (twin)", "mtd10 (wanted)"]
    );
    let found = named(&listed, "wanted").unwrap().unwrap();
    assert_eq!((&found.node, found.kind.as_str()), (&tree.roots.dev.join("mtd10"), "nor"));
    assert_eq!(found.geometry, Geometry { size: 128 << 10, erase: 64 << 10, write: 1 });
    for absent in ["Wanted", "want", "spent", ""] {
        assert_eq!(named(&listed, absent), Ok(None), "{absent}");
    }
    put(&tree, "mtd11", "twin");
    let error = named(&list(&tree.roots).unwrap(), "twin").unwrap_err().to_string();
    assert_eq!(error, "mtd3 and mtd11 are both called twin; give one of them another name");
}

#[test]
fn what_is_no_mtd_device_is_not_opened() {
    let tree = Tree::new();
    put(&tree, "mtd0", "wanted");
    let partition = list(&tree.roots).unwrap().remove(0);
    assert!(partition.open().unwrap_err().to_string().starts_with("mtd0: opening"));
    std::fs::write(&partition.node, [0xFF; 4096]).unwrap();
    assert!(partition.open_to_read().unwrap_err().to_string().starts_with("mtd0: MEMGETINFO"));
}
