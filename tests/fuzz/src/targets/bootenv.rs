//! Laws of the boot cells.

use boards_api::takeover::{Grubenv, LENGTH, Text, UbootTxt};
use formats::bootenv::uboot::{self, Head};
use formats::bootenv::vars::Vars;
use formats::bootenv::{autoboot, grub, key, label, raw, reference};
use statemachine::boot::{TRIAL_ATTEMPTS_CEILING, Trial, Wanted};
use statemachine::ids::RevisionId;

const HEADS: [Head; 2] = [Head::Plain, Head::Flagged];

pub(crate) fn raw_wanted(bytes: &[u8]) {
    for (head, bytes) in sectors(bytes) {
        let Ok(wanted) = raw::decode_wanted(&bytes, head) else { continue };
        possible(&wanted);
        let again = raw::encode_wanted(&wanted, head).expect("what was read has room");
        assert_eq!(raw::decode_wanted(&again, head), Ok(wanted));
    }
}

pub(crate) fn raw_spent(bytes: &[u8]) {
    for (head, bytes) in sectors(bytes) {
        let Ok(spent) = raw::decode_spent(&bytes, head) else { continue };
        let again = raw::encode_spent(&spent, head).expect("what was read has room");
        assert_eq!(raw::decode_spent(&again, head), Ok(spent));
    }
}

pub(crate) fn grub_wanted(bytes: &[u8]) {
    let Ok(wanted) = grub::decode_wanted(bytes) else { return };
    possible(&wanted);
    assert_eq!(grub::encode_wanted(&wanted).expect("what was read has room"), *bytes);
}

pub(crate) fn grub_spent(bytes: &[u8]) {
    let Ok(spent) = grub::decode_spent(bytes) else { return };
    assert_eq!(grub::encode_spent(&spent).expect("what was read has room"), *bytes);
}

pub(crate) fn autoboot(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    sealed.resize(autoboot::FILE, b'\n');
    reseal(&mut sealed);
    for bytes in [bytes, &sealed] {
        let Ok((wanted, partitions)) = autoboot::decode(bytes) else { continue };
        possible(&wanted);
        assert_eq!(autoboot::encode(&wanted, partitions).expect("what was read has room"), *bytes);
    }
}

/// The sum of a text that may be an `autoboot.txt`, put right.
fn reseal(file: &mut [u8]) {
    let key = b"\n#cairn_sum=";
    let Some(at) = file.windows(key.len()).position(|window| window == key) else { return };
    let sum = format!("{:08x}", super::crc32(&file[..at + 1]));
    if let Some(place) = file.get_mut(at + key.len()..at + key.len() + 8) {
        place.copy_from_slice(sum.as_bytes());
    }
}

pub(crate) fn label(bytes: &[u8]) {
    for (head, bytes) in sectors(bytes) {
        let Ok(held) = label::decode(&bytes, head) else { continue };
        let names: Vec<_> = held.iter().collect();
        assert!(names.iter().all(|name| held.holds(name)));
        let again = label::encode(&names, head).expect("what was read has room");
        assert!(label::decode(&again, head).expect("what was written can be read").iter().eq(names));
    }
}

pub(crate) fn grubenv(bytes: &[u8]) {
    taken_over::<Grubenv>(bytes, b'#');
    let mut block = bytes.to_vec();
    block.resize(grub::BLOCK, b'#');
    let Ok(before) = grub::open(&block) else { return };
    if let Ok(read) = reference::decode(before) {
        possible(&read);
    }
    let Ok(block) = reference::encode_grubenv(before, &sample()) else { return };
    let after = grub::open(&block).expect("what was written can be read");
    stored(before, after, &[reference::TRYING]);
}

/// Whatever stood in the file of a device that is taken over: what is written there is read.
fn taken_over<T: Text>(bytes: &[u8], filling: u8) {
    let mut old = bytes.to_vec();
    old.resize(LENGTH, filling);
    if let Ok((read, _)) = T::read(&old) {
        possible(&read);
    }
    let Ok(new) = T::write(&old, &sample()) else { return };
    assert_eq!(T::read(&new).map(|(read, _)| read), Ok(sample()));
}

pub(crate) fn uboot_txt(bytes: &[u8]) {
    pv_env(bytes);
    taken_over::<UbootTxt>(bytes, 0);
    let Ok(before) = reference::open_txt(bytes) else { return };
    if let Ok(read) = reference::decode(before) {
        possible(&read);
    }
    let Ok(file) = reference::encode_txt(before, &sample()) else { return };
    let after = reference::open_txt(&file).expect("what was written can be read");
    stored(before, after, &[]);
}

/// The same bytes as a list in flash.
fn pv_env(bytes: &[u8]) {
    let Ok(before) = reference::open_mtd(bytes) else { return };
    if let Ok(read) = reference::decode(before) {
        possible(&read);
    }
    let mut partition = vec![0; reference::MTD_SIZE];
    if reference::encode_mtd(before, &sample(), &mut partition).is_ok() {
        let after = reference::open_mtd(&partition).expect("what was written can be read");
        stored(before, after, &[]);
    }
}

pub(crate) fn uboot_env(bytes: &[u8]) {
    for head in HEADS {
        let mut sealed = bytes.to_vec();
        seal(&mut sealed, head);
        for bytes in [bytes, &sealed] {
            let Ok(env) = uboot::open(bytes, head) else { continue };
            let mut again = vec![0; bytes.len() + 1];
            uboot::write(env.vars, &[], head, env.flag, &mut again).expect("what was read has room");
            let again = uboot::open(&again, head).expect("what was written can be read");
            assert_eq!(again.flag, env.flag);
            assert!(again.vars.iter().eq(env.vars.iter()));
        }
    }
}

/// Our variables as they were stored, all others as they were. `note` is the firmware's, where a store may clear it.
fn stored(before: Vars<'_>, after: Vars<'_>, note: &[&str]) {
    assert_eq!(reference::decode(after), Ok(sample()));
    let ours =
        [reference::REV, reference::TRY, key::NONCE, key::PREVIOUS, key::FACTORY, key::MAX, key::ISSUED, key::SUM];
    let is_ours = |name: &[u8]| ours.iter().chain(note).any(|key| key.as_bytes() == name);
    let others = |vars: Vars<'_>| -> Vec<(Vec<u8>, Vec<u8>)> {
        vars.iter().filter(|var| !is_ours(var.name)).map(|var| (var.name.to_vec(), var.value.to_vec())).collect()
    };
    assert_eq!(others(before), others(after));
}

fn possible(wanted: &Wanted) {
    assert!(wanted.trial.as_ref().is_none_or(|trial| (1..=TRIAL_ATTEMPTS_CEILING).contains(&trial.max)));
}

fn sample() -> Wanted {
    let revision = |name| RevisionId::parse(name).expect("a name");
    Wanted {
        nonce: 70_000,
        default: revision("locals/desk"),
        previous: Some(revision("12")),
        factory: Some(revision("0")),
        trial: Some(Trial { revision: revision("13"), max: 4, issued: 1 }),
    }
}

/// The bytes as they came, and cut or filled to a sector with the checksum put right, for both heads.
fn sectors(bytes: &[u8]) -> impl Iterator<Item = (Head, Vec<u8>)> + '_ {
    HEADS.into_iter().flat_map(move |head| {
        let mut sealed = bytes.to_vec();
        sealed.resize(raw::SECTOR, 0);
        seal(&mut sealed, head);
        [(head, bytes.to_vec()), (head, sealed)]
    })
}

fn seal(bytes: &mut [u8], head: Head) {
    let Some(data) = bytes.get(head.width()..) else { return };
    let checksum = super::crc32(data);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
}
