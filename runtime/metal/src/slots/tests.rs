//! Two slots on media that lose power, read as a firmware reads them: by their labels.

use formats::bootenv::uboot::Head;
use sim::block::SimBlock;
use sim::{Fuel, Tear};

use super::*;

const SECTORS: usize = 16;
const IMAGE_AT: u64 = 2 * SECTOR as u64;
const SHAPE: Shape = Shape { labels: &[0, SECTOR as u64], head: Head::Flagged, image: IMAGE_AT };
/// As in a FAT: the label is a sector within the image.
const WITHIN: Shape = Shape { labels: &[4 * SECTOR as u64], head: Head::Plain, image: 0 };

type Sim = Slots<SimBlock>;

fn id(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

/// The image of a revision: no whole number of sectors, and different in each one but where a label may lie.
fn bytes(of: &str) -> Vec<u8> {
    let mut bytes = format!("image of {of}; ").into_bytes().repeat(SECTOR);
    bytes.truncate(7 * SECTOR + 100);
    bytes[4 * SECTOR..5 * SECTOR].fill(0);
    bytes
}

fn image(bytes: &[u8]) -> Image {
    Image { name: "bsp/pantavisor.fit".into(), id: ObjectId::of(bytes), length: bytes.len() as u64 }
}

fn wanted(default: &str, previous: &str) -> Wanted {
    let previous = (!previous.is_empty()).then(|| id(previous));
    Wanted { nonce: 1, default: id(default), previous, factory: None, trial: None }
}

fn blank(shape: Shape, booted: Option<Slot>) -> Sim {
    let slot = || SimBlock::filled(SECTORS, 0, &Fuel::unlimited());
    Slots::new(shape, vec![("a", slot()), ("b", slot())], booted)
}

fn put(slots: &mut Sim, new: &str, running: &str, wanted: &Wanted) -> Result<(), SlotError> {
    let bytes = bytes(new);
    slots.place(&id(new), Some(&id(running)), wanted, &image(&bytes), &mut &bytes[..])
}

/// Slot a holds 2, the default that runs; slot b holds 1.
fn device(shape: Shape) -> Sim {
    let mut slots = blank(shape, None);
    put(&mut slots, "1", "0", &wanted("0", "")).unwrap();
    slots.slots.reverse();
    put(&mut slots, "2", "1", &wanted("1", "")).unwrap();
    slots.slots.iter_mut().zip(["a", "b"]).for_each(|((name, _), is)| *name = is);
    slots.booted = Some(Slot(0));
    assert_eq!(held(&mut slots), ["a: 2", "b: 1"]);
    slots
}

fn held(slots: &mut Sim) -> Vec<String> {
    let text = |(name, held): (&str, Vec<RevisionId>)| {
        let held: Vec<_> = held.iter().map(RevisionId::as_str).collect();
        format!("{name}: {}", held.join(" "))
    };
    slots.held().into_iter().map(text).collect()
}

/// What the firmware would start for a revision: the image of the last slot with its name.
fn started(slots: &mut Sim, revision: &str) -> Option<Vec<u8>> {
    let at = slots.held().iter().rposition(|(_, held)| held.contains(&id(revision)))?;
    let mut read = bytes(revision);
    let start = slots.shape.image;
    let label = slots.shape.labels[0];
    let (_, sectors) = &mut slots.slots[at];
    sectors.read(start, &mut read).unwrap();
    if label > start {
        read[4 * SECTOR..5 * SECTOR].fill(0);
    }
    Some(read)
}

/// Cuts power at every operation of `work`, in every way, and looks at what is left; then the work is done once more.
fn cut_everywhere(
    made: &Sim,
    tears: &[Tear],
    work: impl Fn(&mut Sim) -> Result<(), SlotError>,
    look: impl Fn(&mut Sim, bool),
) {
    let mut cuts = 0;
    for tear in tears {
        for operation in 0.. {
            let mut slots = made.clone();
            let fuel = Fuel::limited(operation, *tear, operation);
            slots.media().for_each(|media| media.power_on(&fuel));
            let done = work(&mut slots).is_ok();
            slots.media().for_each(|media| media.power_on(&Fuel::unlimited()));
            look(&mut slots, done);
            if done {
                break;
            }
            cuts += 1;
            work(&mut slots).unwrap();
            look(&mut slots, true);
        }
    }
    assert!(cuts >= tears.len() * 2, "{cuts} cuts");
}

#[test]
fn after_any_cut_the_default_is_untouched_and_a_half_written_slot_holds_nothing() {
    for (shape, tears) in [(SHAPE, &Tear::ALL[..]), (WITHIN, &Tear::ATOMIC[..])] {
        let made = device(shape);
        let kept = made.slots[0].1.media().to_vec();
        let wanted = wanted("2", "");
        let look = |slots: &mut Sim, done: bool| {
            assert_eq!(slots.slots[0].1.media(), kept, "the slot of the default was written");
            let b = held(slots)[1].clone();
            assert!(b == "b: 3" || !done && ["b: ", "b: 1"].contains(&&*b), "{b}, done: {done}");
            for revision in ["1", "3"] {
                assert!(started(slots, revision).is_none_or(|read| read == bytes(revision)), "{b} is not whole");
            }
        };
        cut_everywhere(&made, tears, |slots| put(slots, "3", "2", &wanted), look);
    }
}

#[test]
fn after_any_cut_of_an_update_in_place_what_ran_is_held_with_its_image() {
    for (shape, tears) in [(SHAPE, &Tear::ALL[..]), (WITHIN, &Tear::ATOMIC[..])] {
        let wanted = wanted("2", "1");
        let look = |slots: &mut Sim, done: bool| {
            let both = held(slots);
            assert!(both[0] == "a: 2 3" || !done && both[0] == "a: 2", "{both:?}");
            assert_eq!((both[1].as_str(), started(slots, "2")), ("b: 1", Some(bytes("2"))));
            assert!(started(slots, "3").is_none_or(|read| read == bytes("2")));
        };
        cut_everywhere(&device(shape), tears, |slots| slots.share(&id("3"), &id("2"), &wanted), look);
    }
}

#[test]
fn a_name_stands_in_one_label_only() {
    // A name that was given up in place, and comes again with an image of its own.
    let mut slots = device(SHAPE);
    slots.share(&id("3"), &id("2"), &wanted("2", "")).unwrap();
    put(&mut slots, "3", "2", &wanted("2", "")).unwrap();
    assert_eq!(held(&mut slots), ["a: 2", "b: 3"]);
    // And the other way round; nothing is left of the slot that it was in.
    slots.share(&id("3"), &id("2"), &wanted("2", "")).unwrap();
    assert_eq!(held(&mut slots), ["a: 2 3", "b: "]);
}

#[test]
fn names_that_nothing_wants_make_room_in_a_label() {
    let mut slots = device(SHAPE);
    for number in 3..40 {
        let name = format!("locals/{}{number}", "n".repeat(80));
        slots.share(&id(&name), &id("2"), &wanted("2", "1")).unwrap();
        assert_eq!(held(&mut slots)[0], format!("a: 2 {name}"));
    }
}

#[test]
fn what_a_slot_holds_whole_is_not_written_again_and_what_it_holds_damaged_is() {
    let mut slots = device(SHAPE);
    let (bytes, wanted) = (bytes("1"), wanted("2", "1"));
    let ask = |slots: &mut Sim| slots.evicts(&id("1"), Some(&id("2")), &wanted, &image(&bytes)).unwrap();
    assert_eq!(ask(&mut slots), Evicts::default());
    put(&mut slots, "1", "2", &wanted).unwrap();
    assert_eq!(slots.verify(&id("1"), &image(&bytes)), Ok("b"));
    assert!(matches!(slots.verify(&id("9"), &image(&bytes)), Err(SlotError::NotHeld(_))));
    slots.slots[1].1.damage(usize::try_from(IMAGE_AT).unwrap() + 700, b"rot");
    assert!(matches!(slots.verify(&id("1"), &image(&bytes)), Err(SlotError::Differs { slot: "b", .. })));
    assert_eq!(ask(&mut slots), Evicts { previous: true, factory: false });
    assert_eq!(put(&mut slots, "1", "2", &wanted), Err(SlotError::Named("b")), "the boot cell still names it");
    put(&mut slots, "1", "2", &self::wanted("2", "")).unwrap();
    assert_eq!(started(&mut slots, "1"), Some(bytes.clone()));
}

#[test]
fn what_the_boot_cell_names_is_told_before_it_goes() {
    let mut slots = device(SHAPE);
    let bytes = bytes("3");
    let evicts = slots.evicts(&id("3"), Some(&id("2")), &wanted("2", "1"), &image(&bytes));
    assert_eq!(evicts, Ok(Evicts { previous: true, factory: false }));
    assert_eq!(put(&mut slots, "3", "2", &wanted("2", "1")), Err(SlotError::Named("b")));
    assert_eq!(held(&mut slots), ["a: 2", "b: 1"]);
}

#[test]
fn the_slot_that_runs_is_never_taken_even_if_its_label_has_gone() {
    let mut slots = device(SHAPE);
    for at in [0, SECTOR] {
        slots.slots[0].1.damage(at, &[0; SECTOR]);
    }
    put(&mut slots, "3", "2", &wanted("2", "")).unwrap();
    assert_eq!(held(&mut slots), ["a: ", "b: 3"]);
    assert_eq!(put(&mut slots, "4", "2", &wanted("3", "")), Err(SlotError::NoneFree));
    // An update in place labels it again.
    slots.share(&id("5"), &id("2"), &wanted("2", "")).unwrap();
    assert_eq!(held(&mut slots), ["a: 2 5", "b: 3"]);
}

#[test]
fn what_does_not_fit_or_is_not_what_it_should_be_is_told_with_image_and_slot() {
    let wanted = wanted("2", "");
    let attempt = |image: &Image, bytes: &[u8]| {
        let mut slots = device(WITHIN);
        let error = slots.place(&id("3"), Some(&id("2")), &wanted, image, &mut &bytes[..]).unwrap_err();
        (error.to_string(), held(&mut slots)[1].clone())
    };
    let good = bytes("3");
    let (why, left) = attempt(&Image { length: 99_999, ..image(&good) }, &good);
    assert_eq!(why, "bsp/pantavisor.fit has 99999 bytes, and slot a has room for 8192");
    assert_eq!(left, "b: 1");
    let (why, left) = attempt(&image(&[]), &[]);
    assert_eq!((why.as_str(), left.as_str()), ("bsp/pantavisor.fit is empty, and nothing could start it", "b: 1"));
    let mut taken = good.clone();
    taken[4 * SECTOR + 7] = 1;
    let (why, left) = attempt(&image(&taken), &taken);
    assert!(why.contains("something at byte 2048") && left == "b: 1", "{why}; {left}");
    let (why, left) = attempt(&image(&good), &good[..1000]);
    assert!(why.contains("bsp/pantavisor.fit cannot be read") && left == "b: 1", "{why}; {left}");
    // Only the medium tells this, so the slot was written, and holds nothing.
    let (why, left) = attempt(&Image { id: ObjectId::of(b"other"), ..image(&good) }, &good);
    assert!(why.starts_with("slot b does not give back") && left == "b: ", "{why}; {left}");
}

#[test]
fn an_image_of_many_pieces_arrives_whole() {
    let bytes: Vec<u8> = (0..2 * PIECE + 777).map(|at| (at / 97).to_le_bytes()[0]).collect();
    let slot = || SimBlock::filled(4 * PIECE / SECTOR, 0xEE, &Fuel::unlimited());
    let mut slots = Slots::new(SHAPE, vec![("a", slot()), ("b", slot())], None);
    slots.place(&id("3"), None, &wanted("2", ""), &image(&bytes), &mut &bytes[..]).unwrap();
    let start = usize::try_from(IMAGE_AT).unwrap();
    assert_eq!(slots.slots[0].1.media()[start..start + bytes.len()], bytes);
    assert_eq!(held(&mut slots), ["a: 3", "b: "]);
}
