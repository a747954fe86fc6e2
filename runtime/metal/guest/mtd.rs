//! PID 1 of a machine that has a real MTD layer over memory: what [`metal::mtd`] promises, asked of a kernel.
//!
//! ```text
//!   phram     wanted  slot-a  slot-b  twin  twin        as NOR: erase blocks of 64 KiB, bytes are programmed
//!   nandsim   small pages of 512 bytes, erase blocks of 16 KiB, its own check bytes, one bad block
//! ```
//!
//! `cargo xtask test mtd` builds it, gives it to the kernel with these modules, and waits for its last line. It says a line for each
//! law, and switches the machine off.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails, and its machine with it"
)]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::panic::catch_unwind;
use std::path::Path;

use boards_api::cell::{Cell as _, RawPair};
use boards_api::codecs::Raw;
use boards_api::env::Codec as _;
use boards_api::media::{SECTOR, Sectors as _};
use boards_api::slots::Shape;
use formats::bootenv::uboot::Head;
use formats::object::ObjectId;
use metal::disks::Roots;
use metal::modules;
use metal::mtd::{self, Fault, Geometry, Mtd, Partition};
use metal::slots::{Image, Slots};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;

/// Bytes of an erase block of the memory that plays NOR flash.
const ERASE: u64 = 64 << 10;

/// Everything that is asked.
const LAWS: [(&str, fn()); 7] = [
    ("names are exact, and two of one name are an error", names),
    ("the geometry is the kernel's", geometry),
    ("a pair is replaced, each copy in its erase block", pair),
    ("a write keeps the rest of its erase blocks", neighbours),
    ("what was opened to read is never written", to_read),
    ("a slot gives its image back", slots),
    ("small NAND is written, and one with a bad block is refused", nand),
];

fn main() {
    for (kind, place) in [("devtmpfs", "/dev"), ("sysfs", "/sys"), ("proc", "/proc")] {
        mount(kind, place, kind, MountFlags::empty(), None).unwrap();
    }
    let loaded = modules::load(Path::new(modules::LIST)).unwrap();
    println!("{} modules, refused: {:?}", loaded.new, loaded.refused);
    let mut held = 0;
    for (law, ask) in LAWS {
        let holds = catch_unwind(ask).is_ok();
        println!("{} {law}", if holds { "holds:  " } else { "broken: " });
        held += usize::from(holds);
    }
    println!("mtd: {held} of {} laws hold", LAWS.len());
    let error = reboot(RebootCommand::PowerOff);
    panic!("the machine stays on: {error:?}");
}

fn listed() -> Vec<Partition> {
    mtd::list(&Roots::of_machine()).unwrap()
}

fn partition(name: &str) -> Partition {
    let listed = listed();
    mtd::named(&listed, name).unwrap().unwrap_or_else(|| panic!("no {name} in {listed:?}")).clone()
}

/// All of a partition, read past us.
fn raw(partition: &Partition) -> Vec<u8> {
    fs::read(&partition.node).unwrap()
}

fn id(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn stand(nonce: u32, default: &str) -> Wanted {
    Wanted { nonce, default: id(default), previous: None, factory: None, trial: None }
}

fn names() {
    let listed = listed();
    listed.iter().for_each(|partition| println!("  {partition}: {:?} {}", partition.geometry, partition.kind));
    assert_eq!(mtd::named(&listed, "Wanted"), Ok(None));
    let error = mtd::named(&listed, "twin").unwrap_err();
    assert!(error.numbers == [3, 4], "{error}");
}

fn geometry() {
    let wanted = partition("wanted");
    assert_eq!(wanted.geometry, Geometry { size: 2 * ERASE, erase: ERASE as u32, write: 1 });
    let flash = wanted.open().unwrap();
    assert_eq!((flash.size(), flash.check_apart(Some(ERASE))), (2 * ERASE, Ok(())));
    let error = flash.check_apart(Some(4096)).unwrap_err().to_string();
    assert!(error.contains("mtd0: it is erased in blocks of 65536 bytes"), "{error}");
}

fn pair() {
    let wanted = partition("wanted");
    for nonce in 1..4 {
        let mut bytes = [0; 2 * SECTOR];
        let length = Raw::<true>::encode_wanted(&stand(nonce, "0"), &mut bytes).unwrap();
        let new = &bytes[..length];
        RawPair::<_, Raw<true>>::new(wanted.open().unwrap(), [0, ERASE]).replace(new).unwrap();
        let mut read = [0; SECTOR];
        RawPair::<_, Raw<true>>::new(wanted.open_to_read().unwrap(), [0, ERASE]).read(&mut read).unwrap();
        assert_eq!(read, *new);
        let flash = raw(&wanted);
        for copy in flash.chunks(ERASE as usize) {
            assert_eq!(copy[..SECTOR], *new);
        }
    }
}

fn neighbours() {
    let partition = partition("wanted");
    let before = raw(&partition);
    let at = ERASE - SECTOR as u64;
    partition.open().unwrap().write(at, &[0x5A; 2 * SECTOR]).unwrap();
    let mut expected = before;
    expected[at as usize..][..2 * SECTOR].fill(0x5A);
    assert_eq!(raw(&partition), expected);
}

fn to_read() {
    let partition = partition("wanted");
    let before = raw(&partition);
    let error = partition.open_to_read().unwrap().write(0, &[1; SECTOR]).unwrap_err();
    assert!(matches!(error.fault, Fault::Chip { doing: "erasing", .. }), "{error}");
    assert_eq!(raw(&partition), before);
}

fn slots() {
    const SHAPE: Shape = Shape { labels: &[0, ERASE], head: Head::Flagged, image: 2 * ERASE };
    let open = |name| partition(name).open().unwrap();
    // As it might come: what was there before is no erased flash.
    open("slot-b").write(2 * ERASE, &vec![0x33; 2 * ERASE as usize]).unwrap();
    let mut slots: Slots<Mtd> = Slots::new(SHAPE, vec![("a", open("slot-a")), ("b", open("slot-b"))], None);
    for (new, running) in [("1", "0"), ("2", "1"), ("3", "2")] {
        let mut bytes = format!("image of {new}; ").into_bytes().repeat(30_000);
        bytes.truncate(5 * ERASE as usize + 700);
        let image = Image { name: "bsp/x.fit".into(), id: ObjectId::of(&bytes), length: bytes.len() as u64 };
        slots.place(&id(new), Some(&id(running)), &stand(1, running), &image, &mut &bytes[..]).unwrap();
        let slot = slots.verify(&id(new), &image).unwrap();
        let flash = raw(&partition(&format!("slot-{slot}")));
        assert_eq!(flash[2 * ERASE as usize..][..bytes.len()], bytes);
    }
    assert!(slots.holds(&id("2")) && slots.holds(&id("3")) && !slots.holds(&id("1")));
}

fn nand() {
    let whole = partition("NAND simulator partition 0");
    assert_eq!((whole.geometry.erase, whole.geometry.write, whole.kind.as_str()), (16 << 10, 512, "nand"));
    let mut flash = whole.open().unwrap();
    for fill in [1, 2] {
        flash.write(15 << 10, &[fill; 2 * SECTOR + (1 << 10)]).unwrap();
        let mut seen = [0; 4];
        flash.read((15 << 10) - 2, &mut seen).unwrap();
        assert_eq!(seen, [0xFF, 0xFF, fill, fill]);
    }
    let mut last = [0];
    fs::File::open(&whole.node).unwrap().read_exact_at(&mut last, (17 << 10) - 1).unwrap();
    assert_eq!(last, [2]);
    let error = partition("NAND simulator partition 1").open().unwrap_err();
    assert_eq!(error.fault, Fault::Bad(4 * (16 << 10)), "{error}");
}
