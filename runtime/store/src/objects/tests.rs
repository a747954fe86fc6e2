//! What the store takes, refuses and leaves behind.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::testing::Scratch;

/// A stream that breaks after its bytes.
struct Broken<'b>(&'b [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into) {
            Ok(0) => Err(ErrorKind::ConnectionReset.into()),
            read => read,
        }
    }
}

#[test]
fn what_was_put_is_read_back_under_its_hash() {
    let scratch = Scratch::new();
    let (objects, bytes) = (scratch.objects(), vec![7; 100_000]);
    let id = ObjectId::of(&bytes);
    assert_eq!(objects.put(id, &mut &bytes[..], 100_000), Ok(Put::Stored { bytes: 100_000 }));
    let mut read = Vec::new();
    objects.open_object(id).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!((read, objects.size(id), objects.verify(id)), (bytes, Ok(Some(100_000)), Ok(())));
    let mode = scratch.path().join(format!("objects/{id}")).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[test]
fn a_wrong_hash_a_broken_stream_and_one_too_long_leave_nothing() {
    let scratch = Scratch::new();
    let (objects, id) = (scratch.objects(), ObjectId::of(b"good"));
    let found = ObjectId::of(b"evil");
    assert_eq!(objects.put(id, &mut &b"evil"[..], 9), Err(ObjectError::Refused { id, found }));
    assert_eq!(objects.put(id, &mut &b"good"[..], 3), Err(ObjectError::TooLarge { id, limit: 3 }));
    let kind = ErrorKind::ConnectionReset;
    assert_eq!(objects.put(id, &mut Broken(b"go"), 9), Err(ObjectError::Stream { id, kind }));
    assert_eq!(scratch.names("objects"), [""; 0]);
    assert_eq!((objects.size(id), objects.verify(id)), (Ok(None), Err(ObjectError::Missing(id))));
}

#[test]
fn an_object_that_is_here_is_drained_and_not_written() {
    let scratch = Scratch::new();
    let (objects, id) = (scratch.objects(), scratch.put(b"good"));
    let inode = |scratch: &Scratch| scratch.path().join(format!("objects/{id}")).metadata().unwrap().ino();
    let before = inode(&scratch);
    let mut offered = &b"good"[..];
    assert_eq!(objects.put(id, &mut offered, 9), Ok(Put::Present));
    assert_eq!((offered.len(), inode(&scratch)), (0, before));
    assert_eq!(objects.put(id, &mut &[0; 100][..], 9), Err(ObjectError::TooLarge { id, limit: 9 }));
}

#[test]
fn a_damaged_object_is_told_and_replaced_by_the_next_good_one() {
    let scratch = Scratch::new();
    let (objects, id) = (scratch.objects(), scratch.put(b"good"));
    std::fs::write(scratch.path().join(format!("objects/{id}")), "gooh").unwrap();
    assert_eq!(objects.verify(id), Err(ObjectError::Damaged { id, found: ObjectId::of(b"gooh") }));
    assert!(objects.put(id, &mut &b"evil"[..], 9).is_err());
    assert_eq!(scratch.text(&format!("objects/{id}")), "gooh", "what was here stays until there is better");
    assert_eq!(objects.put(id, &mut &b"good"[..], 9), Ok(Put::Stored { bytes: 4 }));
    assert_eq!(objects.verify(id), Ok(()));
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let scratch = Scratch::one_megabyte();
    let (objects, bytes) = (scratch.objects(), vec![1; 2 << 20]);
    let id = ObjectId::of(&bytes);
    let error = objects.put(id, &mut &bytes[..], u64::MAX).unwrap_err();
    assert!(matches!(error, ObjectError::NoSpace { written, .. } if (500_000..=1 << 20).contains(&written)), "{error}");
    assert!(error.to_string().contains("collect garbage"));
    assert_eq!(scratch.names("objects"), [""; 0]);
    let small = vec![2; 900_000];
    assert!(objects.put(ObjectId::of(&small), &mut &small[..], u64::MAX).is_ok(), "the room is free again");
}

#[test]
fn what_cannot_fit_is_known_before_it_comes() {
    let scratch = Scratch::one_megabyte();
    let (objects, id) = (scratch.objects(), ObjectId::of(b"x"));
    assert_eq!(objects.room_for(id, 500_000), Ok(()));
    let error = objects.room_for(id, 2 << 20).unwrap_err();
    assert!(matches!(error, ObjectError::NoRoom { free, .. } if (500_000..=1 << 20).contains(&free)), "{error}");
    assert!(error.to_string().contains("needs 2097152 bytes"), "{error}");
}

#[test]
fn temporaries_of_a_power_cut_are_removed_at_boot_and_nothing_else_is() {
    let scratch = Scratch::new();
    let (objects, id) = (scratch.objects(), scratch.put(b"good"));
    let half = ObjectId::of(b"half");
    let garbage = ["x.tmp".to_owned(), format!("{half}.x.tmp"), format!("{half}..tmp"), "README".to_owned()];
    let leftovers = [format!("{half}.tmp"), format!("{half}.0.tmp"), format!("{half}.17.tmp")];
    for name in leftovers.iter().chain(&garbage) {
        std::fs::write(scratch.path().join("objects").join(name), "ha").unwrap();
    }
    assert_eq!(objects.clear_leftovers(), Ok(3));
    let mut left = garbage.to_vec();
    left.push(id.to_string());
    left.sort();
    assert_eq!(scratch.names("objects"), left);
}

#[test]
fn a_temporary_in_the_way_of_a_new_one_is_stepped_over() {
    let scratch = Scratch::new();
    let id = ObjectId::of(b"good");
    let objects = scratch.objects();
    let next = NEXT.load(Ordering::Relaxed);
    for number in next..next + 50 {
        std::fs::write(scratch.path().join(format!("objects/{id}.{number}.tmp")), "ha").unwrap();
    }
    assert_eq!(objects.put(id, &mut &b"good"[..], 9), Ok(Put::Stored { bytes: 4 }));
}

#[test]
fn a_symbolic_link_in_place_of_an_object_is_neither_read_nor_linked() {
    let scratch = Scratch::new();
    let objects = scratch.objects();
    let id = ObjectId::of(b"secret");
    std::fs::write(scratch.path().join("secret"), "secret").unwrap();
    symlink("../secret", scratch.path().join(format!("objects/{id}"))).unwrap();
    assert!(matches!(objects.open_object(id), Err(ObjectError::Dir(DirError::Link { .. }))));
    assert!(matches!(objects.link(id, scratch.dir(), "out"), Err(ObjectError::Dir(DirError::Kind { .. }))));
    assert!(objects.put(id, &mut &b"secret"[..], 9).is_err());
    assert!(!scratch.has("out"));
}

#[test]
fn a_symbolic_link_in_place_of_the_store_is_refused() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path().join("else")).unwrap();
    symlink("else", scratch.path().join("objects")).unwrap();
    assert!(matches!(Objects::open(scratch.dir()), Err(DirError::Link { .. })));
}

#[test]
fn a_link_takes_the_place_of_another_file_and_never_leads_outside() {
    let scratch = Scratch::new();
    let (objects, id) = (scratch.objects(), scratch.put(b"good"));
    scratch.dir().make("t/a").unwrap();
    std::fs::write(scratch.path().join("t/a/x"), "other").unwrap();
    symlink("..", scratch.path().join("t/up")).unwrap();
    let dir = scratch.dir().sub("t").unwrap();
    assert_eq!(objects.link(id, &dir, "a/x"), Ok(true));
    assert_eq!(objects.link(id, &dir, "a/x"), Ok(false));
    assert_eq!(objects.link(id, &dir, "new/deep/y"), Ok(true));
    assert_eq!(scratch.text("t/a/x") + &scratch.text("t/new/deep/y"), "goodgood");
    assert!(objects.link(id, &dir, "up/z").is_err());
    assert!(!scratch.has("z"));
    let missing = ObjectId::of(b"missing");
    assert_eq!(objects.link(missing, &dir, "m"), Err(ObjectError::Missing(missing)));
}
