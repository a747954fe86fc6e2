//! Looking into images: what differs between two of them, wherever they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use snapbox::{assert_data_eq, str};

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

impl Bench {
    /// Packs a directory beside the repository as an image in it.
    pub(crate) fn packed(&self, directory: &Path, path: &str, options: &[&str]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        // Replaced and not added to; what is committed is a copy.
        let _ = fs::remove_file(self.path(path));
        let mut tool = Command::new("mksquashfs");
        tool.arg(directory).arg(self.path(path)).args(["-quiet", "-no-progress", "-all-time", "0"]);
        let done = tool.args(["-mkfs-time", "1000000000"]).args(options).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// A container whose image is committed, and whose next one is in the work tree.
    fn with_two_images() -> Self {
        let bench = Self::with_web();
        let root = bench.top().join("root");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::write(root.join("usr/bin/web"), vec![b'a'; 2_000_000]).unwrap();
        fs::write(root.join("usr/bin/same"), "same").unwrap();
        fs::write(root.join("usr/bin/old"), "12345").unwrap();
        std::os::unix::fs::symlink("web", root.join("usr/bin/link")).unwrap();
        bench.packed(&root, "web/root.squashfs", &["-comp", "xz", "-p", "usr/bin/same m 644 0 0"]);
        bench.ok(&["commit", "-m", "an image"]);
        fs::write(root.join("usr/bin/web"), vec![b'b'; 2_000_000]).unwrap();
        fs::remove_file(root.join("usr/bin/old")).unwrap();
        fs::write(root.join("usr/bin/x"), vec![0; 1_200_000]).unwrap();
        bench.packed(&root, "web/root.squashfs", &["-comp", "zstd", "-p", "usr/bin/same m 4755 0 7"]);
        bench
    }
}

#[test]
fn a_difference_is_told_down_to_the_files_in_an_image() {
    let bench = Bench::with_two_images();
    bench.write("web/lxc.container.conf", "lxc.init.cmd = /bin/web -v\n");
    let ran = bench.ok(&["diff", "--files"]);
    assert_data_eq!(
        ran.stdout,
        str![[r#"
~ web/lxc.container.conf (24 B → 27 B)
web/root.squashfs: - usr/bin/old (5 B)
web/root.squashfs: ~ usr/bin/same mode 644 → 4755, owner 0:0 → 0:7
web/root.squashfs: ~ usr/bin/web (2.00 MB)
web/root.squashfs: + usr/bin/x (1.20 MB)

"#]]
    );
    let sum = "2 paths of the state; inside of images 1 new, 1 gone, 2 changed: 3.20 MB in, 2.00 MB out\n";
    assert!(ran.stderr.ends_with(sum), "{}", ran.stderr);
    assert!(bench.ok(&["diff"]).stdout.starts_with("{\n\t\"web/lxc.container.conf\": \""));
    bench.ok(&["reset", "--hardlink"]);
    let ran = bench.ok(&["diff", "--files"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "nothing differs\n"));
}

#[test]
fn programs_get_the_same_as_json() {
    let bench = Bench::with_two_images();
    let ran = bench.ok(&["diff", "--files", "--json"]);
    assert_data_eq!(
        ran.stdout,
        str![[r#"
{
    "changes": [
        {
            "path": "web/root.squashfs",
            "change": "changed",
            "bytes_before": [..],
            "bytes": [..],
            "files": [
                {
                    "path": "usr/bin/old",
                    "change": "removed",
                    "from": {
                        "kind": "file",
                        "mode": "0644",
                        "uid": 0,
                        "gid": 0,
                        "size": 5
                    }
                },
                {
                    "path": "usr/bin/same",
                    "change": "changed",
                    "in": [
                        "mode",
                        "owner"
                    ],
...
    "summary": {
        "added": 1,
        "removed": 1,
        "changed": 2,
        "bytes_in": 3200000,
        "bytes_out": 2000005
    }
}

"#]]
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn both_sides_may_be_elsewhere_and_only_parts_of_them() {
    let bench = Bench::with_two_images();
    let first = bench.top().join("first.tgz").to_str().unwrap().to_owned();
    bench.ok(&["export", &first]);
    bench.ok(&["commit", "-m", "second"]);
    bench.write("etc/new.conf", "new");
    bench.ok(&["add", "etc"]);
    let tree = bench.ok(&["diff", "--files", &first]).stdout;
    assert!(tree.contains("web/root.squashfs: + usr/bin/x (1.20 MB)\n"), "{tree}");
    assert!(tree.starts_with("~ _sigs/web.json (") && tree.contains("\n+ etc/new.conf (3 B)\n"), "{tree}");
    let back = bench.ok(&["diff", "--files", ".#web", &first]).stdout;
    assert!(back.contains("web/root.squashfs: - usr/bin/x (1.20 MB)\n"), "{back}");
    assert!(!back.contains("_sigs") && !back.contains("etc"), "{back}");
    bench.refused(&["diff", "--files", "http://127.0.0.1:1/x"], &["is not on this machine", "pvr clone"]);
    assert_eq!(bench.run(&["diff", &first]).code, 2);
}

#[test]
fn an_image_that_cannot_be_read_is_told_as_a_whole_and_why() {
    let bench = Bench::with_two_images();
    let mut bytes = bench.bytes("web/root.squashfs");
    bytes[20] = 3;
    bench.write("web/root.squashfs", bytes);
    let ran = bench.ok(&["diff", "--files"]);
    assert!(ran.stdout.starts_with("~ web/root.squashfs ("), "{}", ran.stdout);
    let why =
        "web/root.squashfs: the new image: it is packed by lzo, which is not read here; it is compared as a whole";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn the_layers_of_an_app_are_told_beside_its_files() {
    let bench = Bench::new();
    let base = || Layer::new().file("bin/web", "#!/bin/sh\n");
    let image = |text| {
        let own = Layer::new().file("etc/web.conf", text);
        Image::new(r#"{"Cmd":["/bin/web"]}"#).layer(base(), Packed::Gzip).layer(own, Packed::Gzip)
    };
    bench.layout("one", &[image("one")]);
    bench.layout("two", &[image("two")]);
    bench.app(&["add", "web", "--from", "oci:../one"]);
    bench.ok(&["add"]);
    bench.ok(&["commit", "-m", "one"]);
    bench.app(&["add", "web", "--from", "oci:../two", "--force"]);
    let ran = bench.ok(&["diff", "--files"]);
    assert!(ran.stdout.contains("web/root.squashfs: ~ etc/web.conf (3 B)\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("web/root.squashfs: 1 layer as before, 1 gone, 1 new\n"), "{}", ran.stderr);
}

#[test]
fn a_damaged_object_is_not_compared_at_all() {
    let bench = Bench::with_two_images();
    let id = bench.revision().get("web/root.squashfs").unwrap().object_id().unwrap();
    let object = bench.path(&format!(".pvr/objects/{id}"));
    let mut bytes = fs::read(&object).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&object, bytes).unwrap();
    let ran = bench.refused(&["diff", "--files"], &["web/root.squashfs: its object", "does not have the bytes"]);
    assert_eq!(ran.stdout, "");
}
