//! Trails as boot scripts find them, after full disks, power cuts and symbolic links.

use std::os::unix::fs::{MetadataExt, symlink};

use formats::progress::{Message, Report, Status};

use super::*;
use crate::testing::{Scratch, id, revision};

const WEB: &str = r#""web/run.json":{ "name" : "web" }"#;

/// A storage with the objects of a small device and a revision of it.
fn device() -> (Scratch, Verified<Revision>) {
    let scratch = Scratch::new();
    let [kernel, initrd, dtb, addon, root] =
        ["kernel", "initrd", "dtb", "addon", "root"].map(|bytes| scratch.put(bytes.as_bytes()));
    let bsp = r#"{"linux":"kernel.img","initrd":"pantavisor","fdt":"b.dtb","addons":["a.xz4","pantavisor"]}"#;
    let members = format!(
        r#""bsp/run.json":{bsp},"bsp/kernel.img":"{kernel}","bsp/pantavisor":"{initrd}","bsp/b.dtb":"{dtb}",
        "bsp/a.xz4":"{addon}",{WEB},"web/root.squashfs":"{root}","_config/web/etc/my site.json":[ 1.50 ],
        "web/src.json":{{}},"_sigs/web.json":{{}},"web/copy of root":"{root}""#
    );
    (scratch, revision(&members))
}

fn stage(scratch: &Scratch, revision: &Verified<Revision>, name: &str) -> Result<Staged, TrailError> {
    scratch.trails().stage(revision, &id(name), None, &scratch.objects())
}

fn check(scratch: &Scratch, revision: &Verified<Revision>, depth: Depth) -> Result<Vec<String>, TrailError> {
    scratch.trails().check(revision, &id("7"), &scratch.objects(), depth)
}

fn inode(scratch: &Scratch, rel: &str) -> u64 {
    scratch.path().join(rel).symlink_metadata().unwrap().ino()
}

#[test]
fn a_trail_is_laid_out_as_boot_scripts_and_tools_expect_it() {
    let (scratch, revision) = device();
    assert_eq!(stage(&scratch, &revision, "locals/x"), Ok(Staged::New));
    let at = |rel: &str| scratch.text(&format!("trails/locals/x/{rel}"));
    assert_eq!(at(".pvr/json"), revision.text());
    assert_eq!(at(".pvr/config"), format!(r#"{{"ObjectsDir":"{}/objects"}}"#, scratch.path().display()));
    assert_eq!(at("web/run.json"), r#"{ "name" : "web" }"#);
    assert_eq!(at("_config/web/etc/my site.json"), "[ 1.50 ]");
    let boot = ["pv-kernel.img", "pv-initrd.img", "pv-fdt.dtb", "pv-initrd.img.0", "pv-initrd.img.1"];
    assert_eq!(boot.map(|name| at(&format!(".pv/{name}"))), ["kernel", "initrd", "dtb", "addon", "initrd"]);
    let booted = boot_files(&revision, &RevisionId::parse("locals/x").unwrap()).unwrap();
    let booted: Vec<_> = booted.iter().map(|(path, object)| (path.trim_start_matches(".pv/"), *object)).collect();
    let bytes = [&b"kernel"[..], b"initrd", b"dtb", b"addon", b"initrd"];
    assert_eq!(booted, boot.into_iter().zip(bytes.map(ObjectId::of)).collect::<Vec<_>>());
    let object = format!("objects/{}", ObjectId::of(b"root"));
    for link in ["web/root.squashfs", "web/copy of root"] {
        assert_eq!(inode(&scratch, &format!("trails/locals/x/{link}")), inode(&scratch, &object));
    }
    assert_eq!(scratch.names("trails/locals/x/web"), ["copy of root", "root.squashfs", "run.json"]);
    assert_eq!(scratch.names("trails/locals/x"), [".pv", ".pvr", "_config", "bsp", "web"]);
    assert_eq!(scratch.names("trails/locals"), ["x"], "nothing is left beside it");
}

#[test]
fn an_image_of_one_piece_gets_the_name_that_its_boot_script_knows() {
    let scratch = Scratch::new();
    let image = scratch.put(b"image");
    let cases =
        [("fit", "my.fit", "pantavisor.fit"), ("rpiab", "pi.img", "rpiboot.img"), ("rpiab", "p.gz", "rpiboot.img.gz")];
    for (number, (member, file, link)) in cases.into_iter().enumerate() {
        let members = format!(r#""bsp/run.json":{{"{member}":"{file}"}},"bsp/{file}":"{image}""#);
        stage(&scratch, &revision(&members), &number.to_string()).unwrap();
        assert_eq!(scratch.text(&format!("trails/{number}/.pv/{link}")), "image");
    }
}

#[test]
fn what_was_staged_is_loaded_to_the_byte() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    assert_eq!(scratch.trails().load(&id("7")).unwrap(), revision.text().as_bytes());
    assert_eq!(scratch.trails().load(&id("8")), Err(TrailError::Missing(id("8").into())));
    assert_eq!(scratch.trails().list(), Ok(vec![id("7")]));
}

#[test]
fn staging_twice_is_harmless_and_puts_back_what_is_missing() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    let before = inode(&scratch, "trails/7");
    assert_eq!(stage(&scratch, &revision, "7"), Ok(Staged::Already { cured: vec![] }));
    std::fs::remove_dir_all(scratch.path().join("trails/7/web")).unwrap();
    let cured = ["web/run.json", "web/root.squashfs", "web/copy of root"].map(String::from).to_vec();
    assert_eq!(stage(&scratch, &revision, "7"), Ok(Staged::Already { cured }));
    assert_eq!((inode(&scratch, "trails/7"), scratch.text("trails/7/web/root.squashfs")), (before, "root".into()));
}

#[test]
fn a_name_that_another_state_has_is_refused_and_the_other_stays() {
    let (scratch, first) = device();
    stage(&scratch, &first, "7").unwrap();
    assert_eq!(stage(&scratch, &revision(WEB), "7"), Err(TrailError::Taken(id("7").into())));
    assert_eq!(scratch.trails().load(&id("7")).unwrap(), first.text().as_bytes());
}

#[test]
fn a_missing_object_stops_staging_and_leaves_nothing() {
    let (scratch, _) = device();
    let missing = ObjectId::of(b"missing");
    let error = stage(&scratch, &revision(&format!(r#"{WEB},"web/x":"{missing}""#)), "8").unwrap_err();
    let why = ObjectError::Missing(missing);
    assert_eq!(error, TrailError::Object { revision: id("8").into(), key: "web/x".into(), why });
    assert_eq!(scratch.names("trails"), [""; 0]);
}

#[test]
fn what_boots_must_be_an_object() {
    let scratch = Scratch::new();
    let members = r#""bsp/run.json":{"fit":"fit.json"},"bsp/fit.json":{}"#;
    let error = stage(&scratch, &revision(members), "1").unwrap_err();
    assert_eq!(error, TrailError::NotAnObject { revision: id("1").into(), key: "bsp/fit.json".into() });
    assert_eq!(scratch.names("trails"), [""; 0]);
}

#[test]
fn a_full_disk_stops_staging_and_leaves_nothing() {
    let scratch = Scratch::one_megabyte();
    let large = "x".repeat(600_000);
    let members = format!(r#"{WEB},"a.json":["{large}"],"b.json":["{large}"]"#);
    let error = stage(&scratch, &revision(&members), "locals/a").unwrap_err();
    assert!(matches!(error, TrailError::Dir(DirError::NoSpace { .. })), "{error}");
    assert_eq!(scratch.names("trails/locals"), [""; 0]);
    assert_eq!(stage(&scratch, &revision(WEB), "locals/a"), Ok(Staged::New), "the room is free again");
}

#[test]
fn wherever_the_disk_is_full_a_trail_is_whole_or_not_there() {
    let page = 4096;
    let (mut failed, mut whole) = (0, 0);
    for free in 0..16 {
        let scratch = Scratch::one_megabyte();
        let object = scratch.put(b"root");
        let revision = revision(&format!(r#"{WEB},"web/root.squashfs":"{object}","a.json":1,"b/c/d.json":2"#));
        scratch.trails();
        let mut filler = std::fs::File::create(scratch.path().join("filler")).unwrap();
        while std::io::Write::write(&mut filler, &vec![1; page]).is_ok() {}
        let full = filler.metadata().unwrap().len();
        filler.set_len(full - free * page as u64).unwrap();
        match stage(&scratch, &revision, "7") {
            Ok(staged) => {
                assert_eq!((staged, check(&scratch, &revision, Depth::Hashes)), (Staged::New, Ok(vec![])));
                whole += 1;
            }
            Err(error) => {
                assert!(matches!(error, TrailError::Dir(DirError::NoSpace { .. })), "{error}");
                assert_eq!(scratch.names("trails"), [""; 0], "{free} pages free");
                failed += 1;
            }
        }
    }
    assert!(failed > 3 && whole > 3, "{failed} {whole}");
}

#[test]
fn a_half_trail_of_a_power_cut_is_replaced() {
    let (scratch, revision) = device();
    let trails = scratch.path().join("trails");
    // One that we were building, and one that another tool was writing in place.
    std::fs::create_dir_all(trails.join(".7.new/web/old")).unwrap();
    std::fs::create_dir_all(trails.join("8/web/old")).unwrap();
    assert_eq!(stage(&scratch, &revision, "7"), Ok(Staged::New));
    assert_eq!(stage(&scratch, &revision, "8"), Ok(Staged::New));
    assert_eq!(scratch.names("trails"), ["7", "8"]);
    assert!(!scratch.has("trails/7/web/old") && !scratch.has("trails/8/web/old"));
}

#[test]
fn leftovers_are_removed_at_boot_and_trails_are_not() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "locals/x").unwrap();
    for name in [".8.new/.pvr", ".9.old/web", "locals/.y.new/web"] {
        std::fs::create_dir_all(scratch.path().join("trails").join(name)).unwrap();
    }
    scratch.trails().clear_leftovers().unwrap();
    assert_eq!((scratch.names("trails"), scratch.names("trails/locals")), (vec!["locals".into()], vec!["x".into()]));
}

#[test]
fn a_whole_trail_needs_no_cure() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    assert_eq!(check(&scratch, &revision, Depth::Links), Ok(vec![]));
    assert_eq!(check(&scratch, &revision, Depth::Hashes), Ok(vec![]));
}

#[test]
fn files_that_are_missing_or_changed_are_put_back() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    let trail = scratch.path().join("trails/7");
    std::fs::remove_file(trail.join(".pv/pv-kernel.img")).unwrap();
    std::fs::remove_file(trail.join("web/root.squashfs")).unwrap();
    std::fs::write(trail.join("web/root.squashfs"), "not a link").unwrap();
    std::fs::write(trail.join("web/run.json"), "{ \"name\" : \"evil\" }").unwrap();
    let cured = check(&scratch, &revision, Depth::Links).unwrap();
    assert_eq!(cured, ["web/run.json", "web/root.squashfs", ".pv/pv-kernel.img"]);
    assert_eq!(scratch.text("trails/7/web/root.squashfs"), "root");
    assert_eq!(check(&scratch, &revision, Depth::Hashes), Ok(vec![]));
}

#[test]
fn a_damaged_object_is_found_by_its_hash_and_never_put_back() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    let object = ObjectId::of(b"root");
    std::fs::write(scratch.path().join(format!("objects/{object}")), "roof").unwrap();
    assert_eq!(check(&scratch, &revision, Depth::Links), Ok(vec![]));
    let why = ObjectError::Damaged { id: object, found: ObjectId::of(b"roof") };
    let damaged = TrailError::Object { revision: id("7").into(), key: "web/root.squashfs".into(), why };
    assert_eq!(check(&scratch, &revision, Depth::Hashes), Err(damaged.clone()));
    std::fs::remove_file(scratch.path().join("trails/7/web/root.squashfs")).unwrap();
    assert_eq!(check(&scratch, &revision, Depth::Links), Err(damaged));
    scratch.put(b"root");
    assert_eq!(check(&scratch, &revision, Depth::Hashes).unwrap(), ["web/root.squashfs", "web/copy of root"]);
}

#[test]
fn an_object_that_only_the_trail_has_goes_back_to_the_store_if_it_is_right() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    let object = ObjectId::of(b"root");
    let stored = scratch.path().join(format!("objects/{object}"));
    std::fs::remove_file(&stored).unwrap();
    assert_eq!(check(&scratch, &revision, Depth::Links).unwrap(), ["web/root.squashfs", "web/copy of root"]);
    assert_eq!(scratch.objects().verify(object), Ok(()));
    std::fs::remove_file(&stored).unwrap();
    std::fs::write(scratch.path().join("trails/7/web/root.squashfs"), "roof").unwrap();
    let error = check(&scratch, &revision, Depth::Links).unwrap_err();
    assert!(matches!(error, TrailError::Object { why: ObjectError::Damaged { .. }, .. }), "{error}");
    assert!(!stored.exists());
}

#[test]
fn a_state_that_changed_on_the_disk_is_told_and_not_cured() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    std::fs::write(scratch.path().join("trails/7/.pvr/json"), "{}").unwrap();
    assert_eq!(check(&scratch, &revision, Depth::Links), Err(TrailError::Changed(id("7").into())));
}

#[test]
fn a_symbolic_link_in_a_trail_leads_nowhere() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    std::fs::create_dir(scratch.path().join("victim")).unwrap();
    std::fs::remove_dir_all(scratch.path().join("trails/7/web")).unwrap();
    symlink("../../victim", scratch.path().join("trails/7/web")).unwrap();
    assert!(check(&scratch, &revision, Depth::Links).is_err());
    std::fs::remove_dir_all(scratch.path().join("trails/7/.pv")).unwrap();
    symlink("../../victim", scratch.path().join("trails/7/.pv")).unwrap();
    assert!(scratch.trails().mark_done(&id("7")).is_err());
    symlink("../victim", scratch.path().join("trails/8")).unwrap();
    assert!(stage(&scratch, &revision, "8").is_err());
    assert_eq!(scratch.names("victim"), [""; 0]);
}

#[test]
fn volumes_stay_with_a_container_that_did_not_change() {
    let (scratch, first) = device();
    stage(&scratch, &first, "7").unwrap();
    let root = ObjectId::of(b"root");
    let second = revision(&format!(
        r#"{WEB},"web/root.squashfs":"{root}","web/copy of root":"{root}",
        "_config/web/etc/my site.json":[ 1.50 ],"db/run.json":{{}}"#
    ));
    scratch.trails().stage(&second, &id("8"), Some(&id("7")), &scratch.objects()).unwrap();
    assert_eq!(scratch.text("trails/7/.pv/volumes"), "web 7\n");
    assert_eq!(scratch.text("trails/8/.pv/volumes"), "db 8\nweb 7\n");
    // A trail of another tool has no such file: its own name is the key.
    std::fs::remove_file(scratch.path().join("trails/8/.pv/volumes")).unwrap();
    let keys = scratch.trails().volume_keys(&id("8"), &second).unwrap();
    assert_eq!(keys, VolumeKeys::own(&second, &id("8")));
    let gone = scratch.trails().stage(&second, &id("9"), Some(&id("5")), &scratch.objects());
    assert_eq!(gone, Err(TrailError::Missing(id("5").into())));
}

#[test]
fn a_note_that_stands_there_is_not_written_again() {
    let (scratch, revision) = device();
    stage(&scratch, &revision, "7").unwrap();
    let (trails, seven) = (scratch.trails(), id("7"));
    let file = || scratch.path().join("trails/7/.pv/progress").metadata().unwrap().ino();
    let done = Report::new(Status::Done, Message::FinishedWithRollbackPoint);
    trails.report(&seven, &done).unwrap();
    let first = file();
    trails.report(&seven, &done).unwrap();
    assert_eq!(file(), first);
    trails.report(&seven, &Report::new(Status::Testing, Message::AwaitingStability)).unwrap();
    assert_ne!(file(), first);
    trails.report(&seven, &done).unwrap();
    assert!(scratch.text("trails/7/.pv/progress").contains("DONE"));
}

#[test]
fn notes_are_replaced_whole_and_read_back() {
    let (scratch, revision) = device();
    let (trails, seven) = (scratch.trails(), id("7"));
    stage(&scratch, &revision, "7").unwrap();
    assert_eq!(trails.read_note(&seven, Note::Progress), Ok(None));
    for (status, message) in [(Status::Testing, Message::ReadyToRun), (Status::Done, Message::NotYetInstalled)] {
        let report = Report::new(status, message);
        trails.report(&seven, &report).unwrap();
        let text = trails.read_note(&seven, Note::Progress).unwrap().unwrap();
        assert_eq!(Report::parse(&text).unwrap(), report);
    }
    trails.mark_done(&seven).unwrap();
    trails.set_commit_message(&seven, "grüße").unwrap();
    assert_eq!(trails.read_note(&seven, Note::Done), Ok(Some(vec![])));
    assert_eq!(scratch.text("trails/7/.pv/commitmsg"), "grüße");
    let error = trails.set_commit_message(&seven, &"x".repeat(257)).unwrap_err();
    assert!(matches!(error, TrailError::Dir(DirError::TooLarge { limit: 256, .. })));
    assert_eq!(trails.mark_done(&id("8")), Err(TrailError::Missing(id("8").into())));
}
