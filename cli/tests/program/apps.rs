//! Containers made of images: what is in them afterwards, and what is left when they cannot be made.
#![expect(clippy::indexing_slicing, reason = "a test that is wrong about a length fails")]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use snapbox::{assert_data_eq, str};
use tar::EntryType;

use crate::bench::{Bench, Ran};
use crate::images::{Image, Layer, Layout, Packed};

const CONFIG: &str = r#"{"Env":["PATH=/bin","A=b c"],"Entrypoint":["web"],"Cmd":["-c","x \"y\""],"User":"web","WorkingDir":"/srv","Volumes":{"/var/lib/web":{}}}"#;

impl Bench {
    pub(crate) fn app(&self, args: &[&str]) -> Ran {
        let ran = self.with(&[], &[&["app"], args].concat());
        assert_eq!(ran.code, 0, "pvr app {args:?}: {}", ran.stderr);
        ran
    }

    pub(crate) fn layout(&self, name: &str, images: &[Image]) -> Layout {
        Layout::of(&self.top().join(name), images)
    }

    /// What is in the work tree and in the books, by name.
    pub(crate) fn everything(&self) -> Vec<String> {
        let found = Command::new("find")
            .arg(self.repo())
            .args(["-not", "-name", "lock", "-not", "-name", "known"])
            .output()
            .unwrap();
        String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// It fails as somebody's matter, says all of this, and nothing is there that was not.
    pub(crate) fn nothing(&self, code: i32, env: &[(&str, &str)], args: &[&str], parts: &[&str]) -> Ran {
        let before = self.everything();
        let ran = self.with(env, &[&["app", "add"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{args:?} should say {part:?}: {}", ran.stderr);
        }
        assert_eq!(self.everything(), before);
        ran
    }
}

fn passwd(layer: Layer) -> Layer {
    layer.file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/srv:/bin/sh\n").file("bin/web", "#!/bin/sh\n")
}

#[test]
fn a_container_is_made_committed_looked_at_and_removed() {
    let bench = Bench::new();
    bench.layout("image", &[Image::new(CONFIG).layer(passwd(Layer::new()), Packed::Zstd)]);
    let more = ["--group", "app", "--status-goal", "STARTED", "--env", "X=1"];
    let said = bench.app(&[&["add", "web", "--from", "oci:../image"], &more[..]].concat()).stderr;
    assert!(said.contains("warning: /var/lib/web is empty and root's on a new device"), "{said}");
    assert_data_eq!(
        bench.read("web/lxc.container.conf"),
        str![[r#"
lxc.tty.max = 8
lxc.pty.max = 1024
lxc.cgroup.devices.deny = a
lxc.cgroup.devices.allow = c 1:3 rwm
lxc.cgroup.devices.allow = c 1:5 rwm
lxc.cgroup.devices.allow = c 1:7 rwm
lxc.cgroup.devices.allow = c 1:8 rwm
lxc.cgroup.devices.allow = c 1:9 rwm
lxc.cgroup.devices.allow = c 5:0 rwm
lxc.cgroup.devices.allow = c 5:1 rwm
lxc.cgroup.devices.allow = c 5:2 rwm
lxc.cgroup.devices.allow = c 136:* rwm
lxc.cgroup2.pids.max = 1024
cairn.optional = lxc.cgroup2.pids.max
lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/upper
lxc.init.cmd = /bin/web -c 'x "y"'
lxc.init.cwd = /srv
lxc.init.uid = 101
lxc.init.gid = 102
lxc.environment = PATH=/bin
lxc.environment = A=b c
lxc.environment = HOME=/srv
lxc.environment = X=1
lxc.namespace.keep = user net
lxc.mount.auto = proc:mixed sys:ro
lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,ro,create=file,optional 0 0
lxc.mount.entry = tmpfs run tmpfs rw,nosuid,nodev,relatime,mode=755,create=dir 0 0
lxc.mount.entry = /volumes/web/docker--var-lib-web var/lib/web none bind,rw,create=dir 0 0
lxc.cap.keep = none
lxc.no_new_privs = 1
lxc.seccomp.profile = seccomp.bpf

"#]]
    );
    let src = bench.read("web/src.json");
    assert!(
        src.starts_with("{\n  \"#spec\": \"service-manifest-src@1\",\n  \"template\": \"confined\",\n  \"args\": {\n"),
        "{src}"
    );
    let marker = bench.read("web/root.squashfs.docker-digest");
    assert!(marker.starts_with("oci:../image@sha256:") && src.contains(&marker), "{marker}");
    bench.ok(&["add", "web"]);
    bench.ok(&["commit"]);
    bench.strict().unwrap();
    assert_eq!(bench.ok(&["app", "ls"]).stdout, "web\n");
    let info = bench.ok(&["app", "info", "web"]).stdout;
    for part in [
        "source      oci:../image",
        "group       app",
        "goal        STARTED",
        "user 101, group 102",
        "capabilities none",
        "system calls that seccomp.bpf allows; it can start on x86_64, i386",
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    bench.write("_config/web/etc/x", "1");
    bench.ok(&["add"]);
    let said = bench.ok(&["app", "rm", "web"]).stderr;
    assert!(said.contains("Removing web\nRemoving _sigs/web.json\nRemoving _config/web\n"), "{said}");
    assert!(!bench.path("web").exists() && !bench.path("_config").exists());
    bench.ok(&["commit"]);
    assert!(!bench.read(".pvr/json").contains("web/"));
    bench.refused(&["app", "info", "web"], &["no container \"web\"", "pvr app ls"]);
    bench.refused(&["app", "rm", "../x"], &["no container"]);
}

#[test]
fn an_image_that_starts_an_init_is_a_system_and_confined_as_any_other() {
    let bench = Bench::new();
    let made = |name: &str, config: &str| {
        let layer = passwd(Layer::new()).file("sbin/init", "#!/bin/sh\n").file("init", "#!/bin/sh\n");
        bench.layout(name, &[Image::new(config).layer(layer, Packed::Zstd)]);
        bench.app(&["add", name, "--from", &format!("oci:../{name}")]);
        bench.read(&format!("{name}/lxc.container.conf"))
    };
    let system = made("os", r#"{"Cmd":["/sbin/init"]}"#);
    for line in [
        "lxc.environment = SYSTEMD_GETTY_AUTO=0",
        "lxc.mount.auto = proc:mixed sys:ro cgroup:rw",
        "lxc.mount.entry = tmpfs run/lock tmpfs rw,nosuid,nodev,noexec,relatime,mode=1777,size=5m,create=dir 0 0",
        "lxc.cap.keep = chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service sys_chroot \
         sys_boot audit_write setfcap",
        "lxc.no_new_privs = 1",
        "lxc.seccomp.profile = seccomp.bpf",
    ] {
        assert!(system.lines().any(|one| one == line), "{line}: {system}");
    }
    bench.ok(&["add", "os"]);
    bench.ok(&["commit"]);
    bench.strict().unwrap();
    // Neither an init that looks after one program, nor one without the rights to.
    for (name, config) in [("one", r#"{"Cmd":["/init","web"]}"#), ("user", r#"{"Cmd":["/sbin/init"],"User":"web"}"#)] {
        let app = made(name, config);
        assert!(!app.contains("cgroup:rw") && !app.contains("sys_boot") && !app.contains("run/lock"), "{app}");
    }
}

#[test]
fn the_older_template_is_line_for_line_what_existing_tools_write() {
    let bench = Bench::new();
    let bare = || Image::new("{}").layer(Layer::new().file("sbin/init", ""), Packed::Plain);
    bench.layout("bare", &[bare()]);
    bench.app(&["add", "min", "--from", "oci:../bare", "--template", "builtin-lxc-docker"]);
    assert_data_eq!(
        bench.read("min/lxc.container.conf"),
        str![[r#"
lxc.tty.max = 8
lxc.pty.max = 1024
lxc.cgroup.devices.allow = a
lxc.rootfs.path = overlayfs:/volumes/min/root.squashfs:/volumes/min/lxc-overlay/upper
lxc.init.cmd = /sbin/init
lxc.namespace.keep = user  net  ipc
lxc.mount.auto = proc  sys:rw  cgroup
lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0
lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0

"#]]
    );
    assert_data_eq!(
        bench.read("min/run.json"),
        str![[r##"
{
	"#spec": "service-manifest-run@1",
	"name": "min",
	"config": "lxc.container.conf",
	"drivers": {
		"manual": [],
		"required": [],
		"optional": []
	},
	"storage": {
		"lxc-overlay": {
			"persistence": "boot"
		}
	},
	"type": "lxc",
	"root-volume": "root.squashfs",
	"volumes": []
}
"##]]
    );
    bench.layout("full", &[Image::new(CONFIG).layer(passwd(Layer::new()), Packed::Plain)]);
    let volumes = ["--volume", "/a/b:revision@disk", "--volume", "lxc-overlay:permanent"];
    let ran =
        bench.app(&[&["add", "--from", "oci:../full", "--template", "builtin-lxc-docker"], &volumes[..]].concat());
    assert!(ran.stderr.contains("wants to run as \"web\""), "{}", ran.stderr);
    let config = bench.read("full/lxc.container.conf");
    for line in [
        "lxc.init.cmd = web \"-c\" 'x \"y\"'\nlxc.init.cwd = /srv\nlxc.environment = PATH=/bin\n",
        "/volumes/full/docker--a-b a/b none bind,rw,create=dir 0 0\nlxc.mount.entry = /volumes/full/docker--var-lib-web var/lib/web none",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let run = bench.read("full/run.json");
    assert!(run.contains("\"persistence\": \"revision\",\n\t\t\t\"disk\": \"disk\""), "{run}");
    assert!(run.contains("\"lxc-overlay\": {\n\t\t\t\"persistence\": \"permanent\""), "{run}");
    bench.app(&["add", "data", "--from", "oci:../bare", "--status-goal", "MOUNTED"]);
    let run = bench.read("data/run.json");
    assert!(
        !bench.path("data/lxc.container.conf").exists() && !run.contains("\"type\"") && !run.contains("\"config\"")
    );
}

/// What `unsquashfs` lists: name to type, mode, numbers of owner and group, size or device, link.
fn listed(bench: &Bench, image: &str) -> BTreeMap<String, String> {
    let output = Command::new("unsquashfs").args(["-lln", "-d", ""]).arg(bench.path(image)).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (head, path) = line.split_once(" /")?;
        let words: Vec<_> = head.split_whitespace().collect();
        // Dates are the last two words before the name.
        let what = words[..words.len() - 2].join(" ");
        Some((path.to_owned(), what))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn everything_that_a_tar_can_hold_is_in_the_squashfs_as_it_was() {
    let bench = Bench::new();
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let below = Layer::new()
        .put(EntryType::Directory, "tmp", 0o1777, (0, 0), "")
        .put(EntryType::Regular, "bin/su", 0o4755, (0, 0), "su")
        .put(EntryType::Regular, "bin/old", 0o644, (0, 0), "old")
        .put(EntryType::Regular, "opaque/a", 0o644, (0, 0), "a")
        .put(EntryType::Char, "dev/null", 0o666, (0, 0), "1:3")
        .put(EntryType::Block, "dev/sda", 0o660, (0, 6), "8:0")
        .put(EntryType::Symlink, "lib", 0o777, (0, 0), "usr/lib")
        .put(EntryType::Regular, "usr/bin/qemu-arm-static", 0o755, (0, 0), "x");
    let above = Layer::new()
        .put(EntryType::Regular, "bin/.wh.old", 0o644, (0, 0), "")
        .put(EntryType::Regular, "opaque/.wh..wh..opq", 0o644, (0, 0), "")
        .put(EntryType::Regular, "opaque/b", 0o640, (1000, 3_000_000), "bb")
        .put(EntryType::Link, "bin/doas", 0o644, (0, 0), "bin/su")
        .put(EntryType::Fifo, "run/pipe", 0o600, (0, 0), "")
        .put(EntryType::Regular, "lib/so", 0o755, (0, 0), "through a link")
        .xattr("security.capability", capability)
        .put(EntryType::Regular, "bin/ping", 0o755, (0, 0), "ping")
        .put(EntryType::Regular, &long, 0o600, (0, 0), "long");
    bench.layout("image", &[Image::new("{}").layer(below, Packed::Gzip).layer(above, Packed::Zstd)]);
    bench.app(&["add", "all", "--from", "oci:../image"]);
    let found = listed(&bench, "all/root.squashfs");
    let directories =
        ["dev", "opaque", "proc", "run", "sys", "tmp", "usr", "usr/bin", "usr/lib", "var", "var/run", "var/tmp", "bin"];
    let files = [
        ("bin/doas", "-rwsr-xr-x 0/0 2"),
        ("bin/ping", "-rwxr-xr-x 0/0 4"),
        ("bin/su", "-rwsr-xr-x 0/0 2"),
        ("dev/null", "crw-rw-rw- 0/0 1, 3"),
        ("dev/sda", "brw-rw---- 0/6 8, 0"),
        ("lib -> usr/lib", "lrwxrwxrwx 0/0 7"),
        ("opaque/b", "-rw-r----- 1000/3000000 2"),
        ("run/pipe", "prw------- 0/0 0"),
        ("usr/lib/so", "-rwxr-xr-x 0/0 14"),
        (long.as_str(), "-rw------- 0/0 4"),
    ];
    for (name, what) in files {
        assert_eq!(found.get(name).map(String::as_str), Some(what), "{name}: {found:#?}");
    }
    for name in directories {
        let wanted = if name == "tmp" { "drwxrwxrwt 0/0" } else { "drwxr-xr-x 0/0" };
        assert!(found[name].starts_with(wanted), "{name}: {found:#?}");
    }
    // The root itself, and the directory of the long name.
    assert_eq!(found.len(), files.len() + directories.len() + 1, "{found:#?}");
    // Contents, links and attributes as the kernel's format has them.
    let out = bench.top().join("out");
    // As nobody in particular it makes no devices, and says so; the files are there all the same.
    let mut unpack = Command::new("unsquashfs");
    unpack.args(["-q", "-n", "-d"]).arg(&out).arg(bench.path("all/root.squashfs")).output().unwrap();
    assert_eq!(fs::read_to_string(out.join(&long)).unwrap(), "long");
    let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(out.join(name)).unwrap());
    assert_eq!(inode("bin/su"), inode("bin/doas"));
    if rustix::process::geteuid().is_root() {
        let mut value = [0; 64];
        let len = rustix::fs::getxattr(out.join("bin/ping"), "security.capability", &mut value).unwrap();
        assert_eq!(&value[..len], capability);
    }
}

#[test]
fn the_same_image_is_the_same_file_wherever_and_whenever() {
    let bench = Bench::new();
    let image =
        || Image::new("{}").layer(passwd(Layer::new()), Packed::Gzip).layer(Layer::new().file("x", "y"), Packed::Plain);
    bench.layout("one", &[image()]);
    bench.layout(
        "two",
        &[Image::new("{}").layer(passwd(Layer::new()), Packed::Zstd).layer(Layer::new().file("x", "y"), Packed::Gzip)],
    );
    bench.app(&["add", "a", "--from", "oci:../one"]);
    // The clock of the writer goes in whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    bench.app(&["add", "b", "--from", "oci:../one"]);
    bench.app(&["add", "c", "--from", "oci:../two"]);
    let read = |name: &str| fs::read(bench.path(name).join("root.squashfs")).unwrap();
    assert!(read("a") == read("b"), "another time");
    assert!(read("a") == read("c"), "layers that are packed otherwise");
    let ran = bench.with(&[("SOURCE_DATE_EPOCH", "86400")], &["app", "add", "d", "--from", "oci:../one"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let said = Command::new("unsquashfs").arg("-s").arg(bench.path("d/root.squashfs")).output().unwrap().stdout;
    assert!(String::from_utf8(said).unwrap().contains("Jan  2"), "SOURCE_DATE_EPOCH is the time");
    bench.nothing(1, &[("SOURCE_DATE_EPOCH", "4294967295")], &["e", "--from", "oci:../one"], &["from the future"]);
    bench.nothing(1, &[("SOURCE_DATE_EPOCH", "x")], &["e", "--from", "oci:../one"], &["SOURCE_DATE_EPOCH"]);
}

#[test]
fn a_platform_is_picked_or_what_there_is_is_listed() {
    let bench = Bench::new();
    bench.layout("image", &[Image::small("{}"), Image::small("{}").on("arm64", "v8")]);
    bench.nothing(1, &[], &["web", "--from", "oci:../image"], &["linux/amd64, linux/arm64/v8", "--platform"]);
    let wrong = ["web", "--from", "oci:../image", "--platform", "riscv64"];
    bench.nothing(1, &[], &wrong, &["no image for linux/riscv64", "linux/amd64, linux/arm64/v8"]);
    bench.app(&["add", "web", "--from", "oci:../image", "--platform", "aarch64"]);
    assert!(bench.read("web/src.json").contains("\"docker_platform\": \"linux/arm64\""));
    bench.write("_hostconfig/pvr/docker.json", r#"{"platforms":["linux/arm/v7","linux/amd64"]}"#);
    bench.app(&["add", "--from", "oci:../image", "--force"]);
    assert!(bench.read("image/src.json").contains("\"docker_platform\": \"linux/amd64\""));
    // An image that is said to be for one and is for another.
    bench.layout("lone", &[Image::small("{}").on("arm64", "")]);
    bench.nothing(
        1,
        &[],
        &["x", "--from", "oci:../lone:arm64"],
        &["the image is for linux/arm64, not for linux/arm/v7 or linux/amd64"],
    );
}

#[test]
fn a_container_that_is_there_stays_unless_it_is_to_be_replaced() {
    let bench = Bench::new();
    bench.layout("image", &[Image::small("{}")]);
    bench.write("web/mine", "precious");
    bench.nothing(1, &[], &["web", "--from", "oci:../image"], &["there is a web already", "--force"]);
    bench.app(&["add", "web", "--from", "oci:../image", "--force"]);
    assert!(bench.path("web/root.squashfs").exists() && !bench.path("web/mine").exists());
    bench.nothing(1, &[], &["bsp", "--from", "oci:../image"], &["cannot be called \"bsp\""]);
    assert_eq!(bench.everything().iter().filter(|path| path.contains("/.pvr/app.")).count(), 0);
}

#[test]
fn archives_are_images_too() {
    let bench = Bench::new();
    let layout = bench.layout("image", &[Image::small("{}")]);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", &layout.0).unwrap();
    fs::write(bench.top().join("web.tar"), archive.into_inner().unwrap()).unwrap();
    bench.app(&["add", "--from", "oci-archive:../web.tar"]);
    bench.app(&["add", "same", "--from", "oci:../image"]);
    let read = |name: &str| fs::read(bench.path(name).join("root.squashfs")).unwrap();
    assert!(read("web") == read("same"));
    // As `docker save` writes: layers by name, as plain tars or links to them.
    let layer = Layer::new().file("bin/web", "#!/bin/sh\n").done();
    let id = cli::image::digest::Digest::of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2020-10-10T10:10:10Z","config":{{}},"rootfs":{{"diff_ids":["{id}"]}}}}"#
    );
    let manifest = r#"[{"Config":"c.json","RepoTags":["team/web:1"],"Layers":["l/layer.tar"]},{"Config":"none","RepoTags":["b:1"],"Layers":[]}]"#;
    let text = |layer: Layer, path: &str, bytes: &[u8]| {
        layer.put(EntryType::Regular, path, 0o644, (0, 0), std::str::from_utf8(bytes).unwrap())
    };
    let archive = text(
        text(text(Layer::new(), "c.json", config.as_bytes()), "manifest.json", manifest.as_bytes()),
        "k/layer.tar",
        &layer,
    );
    let archive = archive.put(EntryType::Symlink, "l/layer.tar", 0o777, (0, 0), "../k/layer.tar").done();
    fs::write(bench.top().join("save.tar"), &archive).unwrap();
    bench.app(&["add", "saved", "--from", "docker-archive:../save.tar:team/web:1"]);
    assert!(read("saved") == read("same"));
    bench.nothing(1, &[], &["x", "--from", "docker-archive:../save.tar"], &["several images", "team/web:1, b:1"]);
    bench.nothing(1, &[], &["x", "--from", "docker-archive:../save.tar:c"], &["no such image"]);
    fs::write(bench.top().join("short.tar"), &archive[..archive.len() / 2]).unwrap();
    bench.nothing(1, &[], &["x", "--from", "docker-archive:../short.tar"], &["ends in the middle"]);
    bench.nothing(1, &[], &["x", "--from", "docker-archive:../none.tar"], &["cannot open", "none.tar: No such file"]);
    bench.nothing(1, &[], &["x", "--from", "oci:../image:none"], &["no such tag", "amd64"]);
    bench.nothing(1, &[], &["x", "--from", "oci:.."], &["index.json is missing", "OCI layout"]);
}

#[test]
fn an_image_that_is_damaged_or_means_harm_is_refused_by_name() {
    let bench = Bench::new();
    for (number, (path, why)) in [("/etc/x", "begins with `/`"), ("../../x", "holds `..`")].into_iter().enumerate() {
        let image = Image::small("{}").layer(Layer::new().raw(path), Packed::Gzip);
        bench.layout(&format!("bad{number}"), &[image]);
        let from = format!("oci:../bad{number}");
        bench.nothing(1, &[], &["web", "--from", &from], &["layer 2", path, why]);
    }
    let plain = Image::new("{}").layer(Layer::new().file("bin/web", "#!/bin/sh\n"), Packed::Plain);
    let layer = bench.layout("image", &[plain]).layer();
    let bytes = fs::read(&layer).unwrap();
    fs::write(&layer, &bytes[..bytes.len() - 1]).unwrap();
    bench.nothing(1, &[], &["web", "--from", "oci:../image"], &["it ends after"]);
    let mut wrong = bytes.clone();
    wrong[30] ^= 1;
    fs::write(&layer, &wrong).unwrap();
    bench.nothing(1, &[], &["web", "--from", "oci:../image"], &["came as other bytes", "sha256:"]);
    fs::write(&layer, &bytes).unwrap();
    bench.nothing(1, &[], &["web", "--from", "oci:../image", "--max-bytes", "1000"], &["--max-bytes"]);
    bench.nothing(1, &[], &["web", "--from", "oci:../image", "--max-files", "2"], &["more than 2"]);
    for (number, (config, why)) in [
        (r#"{"Env":["A=b\nlxc.cap.keep = sys_admin"]}"#, "cannot be a container"),
        (r#"{"Cmd":["a","'\" x"]}"#, "one line"),
        (r#"{"User":"nobody"}"#, "\"nobody\", which is not in its /etc/passwd"),
        (r#"{"Volumes":{"/a/b":{},"/a-b":{}}}"#, "one directory"),
        (r#"{"Volumes":{"/../a":{}}}"#, "volume"),
        (r#"{"WorkingDir":"../a"}"#, "lxc.init.cwd"),
        (r#"{"Cmd":7}"#, "`config.Cmd` is no list"),
    ]
    .into_iter()
    .enumerate()
    {
        bench.layout(&format!("config{number}"), &[Image::small(config)]);
        let from = format!("oci:../config{number}");
        bench.nothing(1, &[], &["web", "--from", &from], &[why]);
        let env = config.contains("Env").then_some("control character");
        let docker = ["web", "--from", &from, "--template", "builtin-lxc-docker"];
        if let Some(why) = env {
            bench.nothing(1, &[], &docker, &[why]);
        }
    }
}

#[test]
fn a_missing_tool_is_named_with_its_package() {
    let bench = Bench::new();
    bench.layout("image", &[Image::small("{}")]);
    bench.nothing(
        1,
        &[("PATH", "/nowhere")],
        &["web", "--from", "oci:../image"],
        &["mksquashfs is not installed", "squashfs-tools"],
    );
    bench.nothing(1, &[], &["web", "--from", "oci:../image", "-o", "-comp none"], &["mksquashfs ends with"]);
    bench.app(&["add", "web", "--from", "oci:../image", "-o", "-comp gzip"]);
    assert!(bench.read("web/src.json").contains("\"format_options\": \"-comp gzip\""));
}

#[test]
fn a_container_carries_the_filter_of_its_architecture_and_the_same_each_time() {
    let bench = Bench::new();
    let of = |architecture, variant| {
        let program = r#"{"Cmd":["/bin/web"]}"#;
        Image::new(program).on(architecture, variant).layer(Layer::new().file("bin/web", ""), Packed::Plain)
    };
    let (all, places) = ([of("amd64", ""), of("arm64", ""), of("arm", "v7"), of("mips", "")], "oci:../all");
    bench.layout("all", &all);
    for (name, platform, golden) in
        [("pc", "amd64", "x86_64"), ("big", "arm64", "aarch64"), ("small", "arm/v7", "aarch64")]
    {
        let platform = format!("linux/{platform}");
        let said = bench.app(&["add", name, "--from", places, "--platform", &platform]).stderr;
        assert!(!said.contains("warning"), "{said}");
        let golden = format!("{}/../tests/formats/golden/seccomp-{golden}.bpf", env!("CARGO_MANIFEST_DIR"));
        let written = || fs::read(bench.path(&format!("{name}/seccomp.bpf"))).unwrap();
        assert!(written() == fs::read(&golden).unwrap(), "{platform}");
        bench.app(&["add", name, "--from", places, "--platform", &platform, "--force"]);
        assert!(written() == fs::read(&golden).unwrap(), "{platform}, again");
    }
    let said = bench.app(&["add", "other", "--from", places, "--platform", "linux/mips"]).stderr;
    assert!(said.contains("no table of its system calls"), "{said}");
    assert!(!bench.path("other/seccomp.bpf").exists());
    assert!(!bench.read("other/lxc.container.conf").contains("seccomp"));
    assert!(bench.ok(&["app", "info", "other"]).stdout.contains("every system call"));
    bench.app(&["add", "old", "--from", places, "--platform", "linux/amd64", "--template", "builtin-lxc-docker"]);
    assert!(!bench.path("old/seccomp.bpf").exists());
}

#[test]
fn a_container_is_stopped_by_the_signal_that_its_image_names() {
    let bench = Bench::new();
    for (name, config, line) in [
        ("quits", r#"{"StopSignal":"SIGQUIT"}"#, "lxc.signal.halt = SIGQUIT\n"),
        ("waits", r#"{"StopSignal":"37"}"#, "lxc.signal.halt = SIGRTMIN+3\n"),
        ("silent", "{}", ""),
        ("odd", r#"{"StopSignal":"SIGNAL"}"#, ""),
    ] {
        bench.layout(name, &[Image::new(config).layer(Layer::new().file("sbin/init", ""), Packed::Plain)]);
        let said = bench.app(&["add", name, "--from", &format!("oci:../{name}")]).stderr;
        let written = bench.read(&format!("{name}/lxc.container.conf"));
        assert!(written.contains(line) && (!line.is_empty() || !written.contains("lxc.signal")), "{written}");
        assert_eq!(said.contains("which is no signal"), name == "odd", "{said}");
    }
}

#[test]
fn what_an_included_file_grants_is_told_too() {
    let bench = Bench::new();
    bench.layout("image", &[Image::new("{}").layer(Layer::new().file("sbin/init", ""), Packed::Plain)]);
    bench.app(&["add", "web", "--from", "oci:../image"]);
    let config = bench.read("web/lxc.container.conf");
    assert!(config.contains("lxc.namespace.keep"), "{config}");
    fs::write(bench.path("web/lxc.container.conf"), config + "lxc.include = more\nlxc.namespace.keep =\n").unwrap();
    let more = "lxc.mount.auto = sys:rw\nlxc.namespace.clone = pid mnt uts\nlxc.mount.entry = /exports/db/run db none bind,ro 0 0\n";
    fs::write(bench.path("web/more"), more).unwrap();
    let said = bench.ok(&["app", "info", "web"]).stdout;
    for part in ["writes to all of /sys", "shares with the device user net ipc cgroup", "sees /exports/db/run\n"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    fs::remove_file(bench.path("web/more")).unwrap();
    let ran = bench.with(&[], &["app", "info", "web"]);
    assert!(ran.code != 0 && ran.stderr.contains("web/more"), "{}", ran.stderr);
}

#[test]
fn a_filter_that_a_device_would_refuse_is_not_committed() {
    let bench = Bench::new();
    bench.layout("image", &[Image::new("{}").layer(Layer::new().file("sbin/init", ""), Packed::Plain)]);
    bench.app(&["add", "web", "--from", "oci:../image"]);
    let filter = fs::read(bench.path("web/seccomp.bpf")).unwrap();
    fs::remove_file(bench.path("web/seccomp.bpf")).unwrap();
    bench.ok(&["add"]);
    bench.refused(&["commit"], &["lxc.seccomp.profile", "web/seccomp.bpf is not in the state"]);
    bench.write("web/seccomp.bpf", "2\nallowlist\n");
    bench.ok(&["add"]);
    bench.refused(&["commit"], &["web/seccomp.bpf", "12 bytes are no compiled filter"]);
    fs::write(bench.path("web/seccomp.bpf"), filter).unwrap();
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
}

#[test]
fn a_filter_is_compiled_for_other_capabilities_and_of_a_profile() {
    let bench = Bench::new();
    bench.ok(&["app", "seccomp", "--platform", "linux/arm64", "-o", "plain.bpf"]);
    bench.ok(&[
        "app",
        "seccomp",
        "--platform",
        "linux/arm64",
        "--keep",
        "sys_time",
        "--keep",
        "chown",
        "-o",
        "time.bpf",
    ]);
    assert_ne!(fs::read(bench.path("plain.bpf")).unwrap(), fs::read(bench.path("time.bpf")).unwrap());
    bench.write("profile", "2\ndenylist\nmount errno 1\n");
    bench.ok(&["app", "seccomp", "profile", "--platform", "arm", "-o", "text.bpf"]);
    assert_ne!(fs::read(bench.path("plain.bpf")).unwrap(), fs::read(bench.path("text.bpf")).unwrap());
    bench.write("profile", "2\nallowlist\nmount\n");
    let compile = ["app", "seccomp", "profile", "--platform", "arm", "-o", "x.bpf"];
    bench.refused(&compile, &["lets no program start anywhere; compile one for arm"]);
    bench.write("profile", "2\nallowlist\nmuont\n");
    bench.refused(&compile, &["profile: line 3: no architecture has a call \"muont\""]);
    bench.refused(&["app", "seccomp", "--platform", "mips", "-o", "x.bpf"], &["no table", "riscv64"]);
    bench.refused(
        &["app", "seccomp", "--platform", "arm", "--keep", "time", "-o", "x.bpf"],
        &["\"time\" is no capability"],
    );
}
