//! `pvr plan`: what a post would do is told before, and is what it does.

use std::fs;

use formats::object::ObjectId;

use crate::bench::{Bench, Ran};
use crate::device::Device;

fn run_json(name: &str, more: &str) -> String {
    format!(
        r##"{{"#spec":"service-manifest-run@1","name":"{name}","type":"lxc","config":"lxc.container.conf","root-volume":"root.squashfs"{more}}}"##
    )
}

/// Containers `base` (a part of the system), `db`, and `web`, which has a volume of `db` mounted; and a device with them.
fn both() -> (Bench, Device) {
    let bench = Bench::new();
    bench.write("bsp/kernel.img", "kernel");
    bench.write("bsp/pantavisor", "initramfs");
    bench.write("bsp/run.json", r#"{"linux":"kernel.img","initrd":"pantavisor"}"#);
    for (name, group) in [("base", "root"), ("db", "app"), ("web", "app")] {
        bench.write(&format!("{name}/run.json"), run_json(name, &format!(r#","group":"{group}""#)));
        bench.write(&format!("{name}/root.squashfs"), format!("hsqs of {name}"));
        bench.write(&format!("{name}/lxc.container.conf"), "lxc.init.cmd = /bin/x\n");
    }
    bench.write(
        "web/lxc.container.conf",
        "lxc.init.cmd = /bin/x\nlxc.mount.entry = /volumes/db/root.squashfs srv none bind,ro,create=dir 0 0\n",
    );
    bench.ok(&["add"]);
    bench.ok(&["commit", "-m", "first"]);
    let objects = fs::read_dir(bench.path(".pvr/objects")).unwrap();
    let objects = objects.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let device = Device::running(&bench.read(".pvr/json"), objects);
    (bench, device)
}

fn line<'r>(ran: &'r Ran, name: &str) -> Vec<&'r str> {
    let lines = ran.stdout.lines().filter_map(|line| line.strip_prefix(&format!("{name:<10} ")));
    lines.collect()
}

#[test]
fn what_is_the_same_does_nothing_and_nothing_is_written_anywhere() {
    let (bench, device) = both();
    let before = bench.books();
    let ran = bench.ok(&["plan", &device.url()]);
    assert!(line(&ran, "way")[0].starts_with("nothing to do"), "{}", ran.stdout);
    assert_eq!(line(&ran, "untouched"), ["base", "db", "web"]);
    assert!(line(&ran, "sends")[0].starts_with("0 objects, 0 B; "), "{}", ran.stdout);
    assert_eq!(bench.books(), before);
    assert!(device.store().log.iter().all(|line| line.starts_with("GET ")), "{:?}", device.store().log);
}

#[test]
fn a_change_of_an_app_is_in_place_and_takes_along_who_uses_it() {
    let (bench, device) = both();
    bench.write("db/root.squashfs", "hsqs of db, the second one");
    bench.write("new/run.json", run_json("new", r#","group":"app""#));
    bench.write("new/root.squashfs", "hsqs of new");
    bench.write("new/lxc.container.conf", "lxc.init.cmd = /bin/x\n");
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    let ran = bench.ok(&["plan", &device.url()]);
    assert_eq!(line(&ran, "way"), ["in place: containers stop and start, the device stays up"]);
    assert_eq!(line(&ran, "started"), ["new"]);
    assert_eq!(line(&ran, "restarted"), ["db: db/root.squashfs differs", "web: it uses volumes of db"]);
    assert_eq!(line(&ran, "untouched"), ["base"]);
    let bytes = "hsqs of db, the second one".len() + "hsqs of new".len();
    assert_eq!(line(&ran, "sends"), [format!("2 objects, {bytes} B; 6 are there")]);
    assert!(
        line(&ran, "flash")[0].starts_with(&format!("+{bytes} B; {} B can be freed", "hsqs of db".len())),
        "{}",
        ran.stdout
    );
    assert!(line(&ran, "rights")[0].starts_with("new is new and has more than a confined container"), "{}", ran.stdout);
    let json = bench.ok(&["plan", &device.url(), "--json"]).stdout;
    for part in [
        r#""way": "in-place""#,
        r#""refused": []"#,
        &format!(r#""bytes": {bytes},"#),
        &ObjectId::of(b"hsqs of new").to_string(),
        r#""name": "web",
            "becomes": "restarted",
            "because": "it uses volumes of db""#,
    ] {
        assert!(json.contains(part), "{part}: {json}");
    }
    // What was told is what a post does.
    bench.ok(&["post", &device.url()]);
    assert_eq!(device.count("PUT /cgi-bin/pvr/up/"), 2);
    device.store().state = bench.read(".pvr/json");
    assert!(line(&bench.ok(&["plan"]), "way")[0].starts_with("nothing to do"), "the device is remembered");
}

#[test]
fn a_change_of_the_base_or_of_a_system_container_is_a_reboot_and_says_why() {
    let (bench, device) = both();
    bench.write("bsp/kernel.img", "another kernel");
    bench.ok(&["commit"]);
    let ran = bench.ok(&["plan", &device.url()]);
    assert_eq!(line(&ran, "way"), ["REBOOT: bsp/kernel.img differs, and belongs to no container"]);
    assert_eq!(line(&ran, "restarted").len(), 3, "{}", ran.stdout);
    bench.write("bsp/kernel.img", "kernel");
    bench.write("base/root.squashfs", "hsqs, another");
    bench.ok(&["commit"]);
    let ran = bench.ok(&["plan", &device.url()]);
    let why = "REBOOT: a file of base differs, and its restart policy is system: a part of the base";
    assert_eq!(line(&ran, "way"), [why]);
    let empty = Device::running("{}", []);
    empty.fails("GET /cgi-bin/pvr/steps/current/state", &[crate::device::Fault::Answer(404, "", String::new())]);
    let ran = bench.ok(&["plan", &empty.url()]);
    assert_eq!(line(&ran, "way"), ["REBOOT: nothing runs there that could be switched"]);
    assert_eq!(line(&ran, "started").len(), 3, "{}", ran.stdout);
}

#[test]
fn the_work_tree_is_planned_as_it_would_be_committed_and_stays_as_it_is() {
    let (bench, device) = both();
    bench.write("web/root.squashfs", "hsqs of web, edited");
    let before = bench.books();
    assert!(line(&bench.ok(&["plan", &device.url()]), "way")[0].starts_with("nothing"));
    let ran = bench.ok(&["plan", &device.url(), "--worktree"]);
    assert_eq!(line(&ran, "restarted"), ["web: web/root.squashfs differs"]);
    assert_eq!(line(&ran, "unsigned"), [""; 0], "a commit would sign it: {}", ran.stdout);
    assert_eq!(bench.books(), before);
    bench.write("web/run.json", run_json("web", r#","group":"none""#));
    bench.write("db/root.squashfs", "no image");
    let ran = bench.refused(&["plan", &device.url(), "-w"], &["for 2 reasons"]);
    assert_eq!(
        line(&ran, "refused"),
        [
            "web/run.json: group: this revision has no group \"none\"",
            "db/root.squashfs: it has no squashfs file system in it; make the image anew"
        ]
    );
    assert!(line(&ran, "way")[0].starts_with("nobody can tell"), "{}", ran.stdout);
}

#[test]
fn what_a_device_would_refuse_ends_with_1_and_its_reasons() {
    let (bench, device) = both();
    bench.write("web/root.squashfs", "hsqs of web, second");
    bench.ok(&["commit", "--no-sign"]);
    let ran = bench.refused(&["plan", &device.url()], &["for one reason"]);
    assert_eq!(line(&ran, "refused"), ["_sigs/web.json: the signature does not fit this state"]);
    bench.ok(&["commit"]);
    bench.ok(&["plan", &device.url()]);
    fs::write(bench.path(".pvr/objects").join(ObjectId::of(b"hsqs of web, second").to_string()), "hsqs of other bytes")
        .unwrap();
    let ran = bench.refused(&["plan", &device.url()], &["for one reason"]);
    assert!(line(&ran, "refused")[0].contains("other bytes than its name says"), "{}", ran.stdout);
    fs::remove_file(bench.path(".pvr/objects").join(ObjectId::of(b"hsqs of web, second").to_string())).unwrap();
    let ran = bench.refused(&["plan", &device.url()], &["for one reason"]);
    assert!(line(&ran, "refused")[0].contains("is neither here nor there"), "{}", ran.stdout);
    // The device has it, although what it runs does not name it: then nothing has to be sent.
    let id = ObjectId::of(b"hsqs of web, second").to_string();
    device.store().objects.insert(id, b"hsqs of web, second".to_vec());
    assert!(line(&bench.ok(&["plan", &device.url()]), "sends")[0].starts_with("0 objects"));
}

#[test]
fn another_product_is_refused_and_a_directory_or_bundle_is_as_good_as_a_device() {
    let (bench, _) = both();
    bench.write("device.json", r#"{"compatible":["rpi4/kiosk"]}"#);
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    bench.ok(&["export", "../old.tgz"]);
    bench.command(&["clone", "repo", "old"]).current_dir(bench.top()).status().unwrap();
    bench.write("device.json", r#"{"compatible":["rpi5/kiosk"]}"#);
    bench.ok(&["commit"]);
    for place in ["../old.tgz", "../old"] {
        let ran = bench.refused(&["plan", place], &["for one reason"]);
        let wanted = "device.json: compatible: it is made for rpi5/kiosk, and what runs there for rpi4/kiosk";
        assert_eq!(line(&ran, "refused"), [wanted]);
        assert_eq!(line(&ran, "way"), ["REBOOT: device.json differs, and belongs to no container"]);
    }
    bench.refused(&["plan"], &["remembers no device", "hint:"]);
    bench.refused(&["plan", "../old#web"], &["parts (web) are not posted"]);
}
