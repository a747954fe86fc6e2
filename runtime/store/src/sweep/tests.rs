//! What a sweep removes, and above all what it does not.

use std::os::unix::fs::symlink;

use super::*;
use crate::testing::{Scratch, id, revision};

/// A device with three revisions: `0`, `7` and `locals/x` have an object of their own and share another.
fn device() -> Scratch {
    let scratch = Scratch::new();
    let shared = scratch.put(b"shared");
    let mut base = None;
    for name in ["0", "7", "locals/x"] {
        let own = scratch.put(name.as_bytes());
        // `db` never changes, `web` always does.
        let members = format!(
            r#""db/run.json":{{}},"db/x":"{shared}","web/run.json":{{}},"web/x":"{own}","web/src.json":"{own}""#
        );
        scratch.trails().stage(&revision(&members), &id(name), base.as_ref(), &scratch.objects()).unwrap();
        std::fs::create_dir_all(scratch.path().join(format!("disks/rev/{name}/web/data"))).unwrap();
        base = Some(id(name));
    }
    scratch
}

fn roots(names: &[&str]) -> Roots {
    let mut roots = Roots::new();
    names.iter().for_each(|name| roots.keep(id(name), Reason::Default));
    roots
}

fn sweep_to(scratch: &Scratch, names: &[&str]) -> Result<Swept, SweepError> {
    sweep(&scratch.trails(), &scratch.objects(), &roots(names))
}

fn objects(of: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = of.iter().map(|bytes| ObjectId::of(bytes.as_bytes()).to_string()).collect();
    names.sort();
    names
}

#[test]
fn what_the_roots_name_stays_and_the_rest_goes() {
    let scratch = device();
    let swept = sweep_to(&scratch, &["7"]).unwrap();
    assert_eq!((swept.revisions, swept.volumes, swept.objects, &swept.left[..]), (2, 1, 2, &[][..]));
    assert!(swept.bytes > 0);
    assert_eq!(scratch.trails().list(), Ok(vec![id("7")]));
    assert_eq!(scratch.names("objects"), objects(&["7", "shared"]));
    assert_eq!(scratch.names("trails/locals"), [""; 0]);
    assert_eq!(scratch.names("disks/rev"), ["0", "7", "locals"], "0 is where db of 7 has its data");
    assert_eq!(scratch.names("disks/rev/locals"), [""; 0]);
    assert_eq!(sweep_to(&scratch, &["7"]), Ok(Swept::default()), "a second sweep finds nothing");
}

#[test]
fn the_volumes_of_a_later_revision_keep_the_key_of_an_earlier_one() {
    let scratch = device();
    sweep_to(&scratch, &["locals/x"]).unwrap();
    assert_eq!(scratch.names("disks/rev"), ["0", "locals"]);
    assert_eq!(scratch.names("disks/rev/locals"), ["x"]);
}

#[test]
fn volumes_on_a_disk_of_their_own_go_with_the_others() {
    let scratch = device();
    for path in ["big/rev/0/web/data", "big/rev/locals/x/web/data", "big/perm/web/data", "small/perm/web"] {
        std::fs::create_dir_all(scratch.path().join("pv/volume-disk").join(path)).unwrap();
    }
    symlink("big", scratch.path().join("pv/volume-disk/link")).unwrap();
    let swept = sweep_to(&scratch, &["7"]).unwrap();
    assert_eq!((swept.volumes, &swept.left[..]), (2, &[][..]));
    assert_eq!(scratch.names("pv/volume-disk/big/rev"), ["0", "locals"]);
    assert_eq!(scratch.names("pv/volume-disk/big/rev/locals"), [""; 0]);
    assert!(scratch.has("pv/volume-disk/big/perm/web/data") && scratch.has("pv/volume-disk/small/perm/web"));
}

#[test]
fn what_is_discarded_is_gone_with_all_below_and_nothing_beside() {
    let scratch = device();
    let outside = scratch.path().join("outside");
    for path in ["a/gone/b/c", "a/stays", "outside"] {
        std::fs::create_dir_all(scratch.path().join(path)).unwrap();
    }
    std::fs::write(outside.join("x"), "x").unwrap();
    symlink(&outside, scratch.path().join("a/gone/b/link")).unwrap();
    discard(scratch.path(), "a/gone").unwrap();
    assert_eq!(scratch.names("a"), ["stays"]);
    assert!(scratch.has("outside/x"));
    discard(scratch.path(), "a/gone").unwrap();
    discard(scratch.path(), "no/such").unwrap();
}

#[test]
fn nothing_goes_while_it_is_not_known_what_runs_or_boots() {
    let scratch = device();
    assert_eq!(sweep(&scratch.trails(), &scratch.objects(), &Roots::new()), Err(SweepError::NoRoots));
    let mut pinned = Roots::new();
    pinned.keep(id("7"), Reason::Pinned);
    assert_eq!(sweep(&scratch.trails(), &scratch.objects(), &pinned), Err(SweepError::NoRoots));
    let absent = SweepError::Absent { revision: id("8").into(), reason: Reason::Default };
    assert_eq!(sweep_to(&scratch, &["7", "8"]), Err(absent));
    assert_eq!((scratch.trails().list().unwrap().len(), scratch.names("objects").len()), (3, 4));
}

#[test]
fn a_pinned_revision_that_runs_counts_as_running_in_whatever_order_it_is_said() {
    for reasons in [[Reason::Pinned, Reason::Running], [Reason::Running, Reason::Pinned]] {
        let mut roots = Roots::new();
        reasons.into_iter().for_each(|reason| roots.keep(id("7"), reason));
        assert_eq!(roots.reason(&id("7")), Some(Reason::Running));
    }
}

#[test]
fn nothing_goes_while_a_kept_revision_cannot_be_read() {
    for (file, bytes) in [(".pvr/json", "{"), (".pv/volumes", "db"), (".pvr/json", "")] {
        let scratch = device();
        let path = scratch.path().join("trails/7").join(file);
        std::fs::write(&path, bytes).unwrap();
        let error = sweep_to(&scratch, &["0", "7"]).unwrap_err();
        assert!(matches!(&error, SweepError::Unreadable { revision, .. } if **revision == id("7")), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(sweep_to(&scratch, &["0", "7"]), Err(SweepError::Unreadable { .. })));
        assert_eq!((scratch.trails().list().unwrap().len(), scratch.names("objects").len()), (3, 4));
    }
}

#[test]
fn a_link_in_place_of_a_kept_revision_stops_the_sweep() {
    let scratch = device();
    std::fs::rename(scratch.path().join("trails/7"), scratch.path().join("else")).unwrap();
    symlink("../else", scratch.path().join("trails/7")).unwrap();
    assert!(matches!(sweep_to(&scratch, &["0", "7"]), Err(SweepError::Unreadable { .. })));
    assert_eq!(scratch.names("objects").len(), 4);
}

#[test]
fn an_object_stays_by_the_states_and_not_by_its_links() {
    let scratch = device();
    // A kept one that lost its link, and garbage that has one elsewhere.
    std::fs::remove_file(scratch.path().join("trails/7/web/x")).unwrap();
    let garbage = scratch.put(b"garbage");
    scratch.objects().link(garbage, scratch.dir(), "elsewhere").unwrap();
    sweep_to(&scratch, &["7"]).unwrap();
    assert_eq!(scratch.names("objects"), objects(&["7", "shared"]));
    assert_eq!(scratch.text("elsewhere"), "garbage");
}

#[test]
fn objects_of_an_update_that_has_no_trail_yet_are_kept_by_its_state() {
    let scratch = device();
    let early = scratch.put(b"early");
    let mut roots = roots(&["7"]);
    roots.keep(id("8"), Reason::InFlight);
    roots.keep_objects_of(&revision(&format!(r#""web/run.json":{{}},"web/x":"{early}""#)));
    sweep(&scratch.trails(), &scratch.objects(), &roots).unwrap();
    assert_eq!(scratch.names("objects"), objects(&["7", "shared", "early"]));
    assert_eq!((roots.reason(&id("8")), roots.reason(&id("0"))), (Some(Reason::InFlight), None));
}

#[test]
fn strangers_in_storage_are_left_alone() {
    let scratch = device();
    let names =
        ["trails/backup", "trails/007", "disks/rev/lost+found", "disks/perm/web", "objects/dir", "logs/helpers"];
    for name in names {
        std::fs::create_dir_all(scratch.path().join(name)).unwrap();
    }
    std::fs::write(scratch.path().join("objects/README"), "x").unwrap();
    symlink("7", scratch.path().join("trails/current")).unwrap();
    assert_eq!(sweep_to(&scratch, &["7"]).unwrap().left, []);
    assert!(names.into_iter().chain(["objects/README", "trails/current"]).all(|name| scratch.has(name)));
}

#[test]
fn a_withdrawn_revision_leaves_its_objects_and_one_that_a_root_names_stays() {
    let scratch = device();
    let (trails, objects) = (scratch.trails(), scratch.names("objects"));
    assert_eq!(withdraw(&trails, &id("locals/x"), &roots(&["7", "locals/x"])), Ok(0));
    assert_eq!(trails.list().unwrap().len(), 3);
    assert!(withdraw(&trails, &id("locals/x"), &roots(&["7"])).is_ok_and(|bytes| bytes > 0));
    assert_eq!(trails.list(), Ok(vec![id("0"), id("7")]), "and no other goes, whatever the roots say");
    assert_eq!(scratch.names("objects"), objects);
    assert_eq!(withdraw(&trails, &id("locals/x"), &roots(&["7"])), Ok(0), "it is gone already");
}

#[test]
fn a_sweep_that_lost_power_is_carried_on_by_the_next() {
    let scratch = device();
    let trails = scratch.path().join("trails");
    // Power went after the rename, in the middle of the removal.
    std::fs::rename(trails.join("0"), trails.join(".0.old")).unwrap();
    std::fs::remove_dir_all(trails.join(".0.old/.pvr")).unwrap();
    let volumes = scratch.path().join("disks/rev/locals");
    std::fs::rename(volumes.join("x"), volumes.join(".x.old")).unwrap();
    let swept = sweep_to(&scratch, &["7"]).unwrap();
    assert_eq!((swept.revisions, swept.objects, swept.left), (1, 2, vec![]));
    assert_eq!(
        (scratch.names("trails"), scratch.names("disks/rev/locals")),
        (vec!["7".into(), "locals".into()], vec![])
    );
}

#[test]
fn what_is_mounted_is_left_and_named_and_the_rest_goes() {
    let scratch = device();
    let disk = Scratch::one_megabyte();
    std::fs::write(disk.path().join("data"), "precious").unwrap();
    let at = scratch.path().join("disks/rev/locals/x/web/data");
    rustix::mount::mount_bind(disk.path(), &at).unwrap();
    let swept = sweep_to(&scratch, &["7"]);
    let moved = scratch.path().join("disks/rev/locals/.x.old/web/data");
    let at = if moved.exists() { moved } else { at };
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::DETACH).unwrap();
    let swept = swept.unwrap();
    assert_eq!((swept.revisions, swept.volumes, swept.objects, swept.left.len()), (2, 0, 2, 1), "{:?}", swept.left);
    assert_eq!(disk.text("data"), "precious");
    assert_eq!(sweep_to(&scratch, &["7"]).unwrap().left, []);
    assert_eq!(scratch.names("disks/rev/locals"), [""; 0]);
}

#[test]
fn a_device_without_revision_volumes_is_swept_too() {
    let scratch = device();
    std::fs::remove_dir_all(scratch.path().join("disks")).unwrap();
    assert_eq!(sweep_to(&scratch, &["7"]).map(|swept| (swept.revisions, swept.volumes)), Ok((2, 0)));
}

#[test]
fn the_logs_of_a_revision_go_with_it_and_those_of_nobody_stay() {
    let scratch = device();
    for dir in ["logs/0/web", "logs/7/web", "logs/locals/x/web", "logs/helpers"] {
        std::fs::create_dir_all(scratch.path().join(dir)).unwrap();
        std::fs::write(scratch.path().join(dir).join("console.log"), "said").unwrap();
    }
    assert_eq!(sweep_to(&scratch, &["7"]).unwrap().logs, 2);
    assert_eq!(scratch.names("logs"), ["7", "helpers", "locals"]);
    assert_eq!(scratch.names("logs/locals"), [""; 0]);
}
