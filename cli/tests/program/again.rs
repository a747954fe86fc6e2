//! Containers that are made again: of their src.json, of what their image is now, of the state that they came from.

use std::fs;

use formats::json;

use crate::bench::{Bench, Ran};
use crate::images::{Image, Layer, Packed};

const CONFIG: &str = r#"{"Env":["PATH=/bin"],"Entrypoint":["web"],"User":"web","Volumes":{"/var/lib/web":{}}}"#;

/// An image whose user and program have to be looked up in it, behind links.
fn image(contents: &str) -> Image {
    let layer = Layer::new()
        .file("usr/etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/srv:/bin/sh\n")
        .put(tar::EntryType::Symlink, "etc/passwd", 0o777, (0, 0), "../usr/etc/passwd")
        .file("usr/bin/web", contents)
        .put(tar::EntryType::Symlink, "bin", 0o777, (0, 0), "usr/bin");
    Image::new(CONFIG).layer(layer, Packed::Gzip)
}

/// All files of a directory of the work tree with what is in them.
fn files(bench: &Bench, directory: &str) -> Vec<(String, Vec<u8>)> {
    let mut list: Vec<_> = bench
        .everything()
        .into_iter()
        .filter(|path| path.starts_with(&format!("{}/", bench.path(directory).display())))
        .map(|path| (path.clone(), fs::read(&path).unwrap_or_default()))
        .collect();
    list.sort();
    list
}

/// It fails as a person's matter, says all of this, and nothing is there that was not.
fn stays(bench: &Bench, args: &[&str], parts: &[&str]) -> Ran {
    let before = files(bench, ".");
    let ran = bench.with(&[], &[&["app"], args].concat());
    assert_eq!(ran.code, 1, "{args:?}: {}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "{args:?} should say {part:?}: {}", ran.stderr);
    }
    assert_eq!(files(bench, "."), before);
    ran
}

fn edit(bench: &Bench, path: &str, from: &str, to: &str) {
    let text = bench.read(path);
    assert!(text.contains(from), "{path} has no {from:?}: {text}");
    bench.write(path, text.replacen(from, to, 1));
}

#[test]
fn what_src_json_says_is_enough_to_make_the_container_again_without_its_image() {
    for template in ["confined", "builtin-lxc-docker"] {
        let bench = Bench::new();
        let layout = bench.layout("image", &[image("1")]);
        let mut more =
            vec!["--group", "app", "--status-goal", "STARTED", "--after", "db", "--env", "A=b c", "--grant", "host"];
        more.extend([
            "--volume",
            "/data:revision@disk",
            "--volume",
            "ovl:/etc:boot",
            "--volume",
            "lxc-overlay:permanent",
        ]);
        more.extend(["--pool", "apps", "--ip", "10.0.3.9", "--publish", "8080:80", "--config", "StopSignal=SIGQUIT"]);
        more.extend(["--arg-json", r#"PV_AUTO_RECOVERY={"policy":"always"}"#, "--arg", "PV_DRIVERS_REQUIRED=wifi"]);
        if template == "confined" {
            more.extend(["--users", "own", "--tasks", "64", "--device", "/dev/ttyUSB0", "--cap", "sys_time"]);
            more.extend(["--mount", "/etc/x:/etc/x", "--arg-json", r#"PV_CONFINED_LIMITS=["memory.max = 10M"]"#]);
        }
        bench.app(&[&["add", "web", "--from", "oci:../image", "--template", template], &more[..]].concat());
        let made = files(&bench, "web");
        fs::remove_dir_all(&layout.0).unwrap();
        bench.app(&["install", "web"]);
        assert_eq!(files(&bench, "web"), made, "{template}");
        // As a checkout writes it: other blanks, members in another order.
        for file in ["web/src.json", "web/run.json"] {
            let value = |text: &str| json::parse(text.as_bytes(), json::Limits::STATE).unwrap().to_json();
            bench.write(file, value(&value(&bench.read(file)).canonical()).pretty());
        }
        bench.app(&["install", "web"]);
        for (path, bytes) in &made {
            assert!(fs::read(path).unwrap() == *bytes || path.ends_with("/src.json"), "{template}: {path}");
        }
        let src = bench.read("web/src.json");
        assert!(src.starts_with("{\n  \"#spec\"") && src.find("\"args\"") < src.find("\"config\""), "{src}");
    }
}

#[test]
fn an_edit_of_src_json_becomes_one_of_the_container_and_what_is_somebodys_stays() {
    let bench = Bench::new();
    bench.layout("image", &[image("1")]);
    bench.app(&["add", "web", "--from", "oci:../image", "--env", "A=1"]);
    edit(&bench, "web/src.json", "\"A=1\"", "\"A=2\", \"B=3\"");
    edit(&bench, "web/src.json", "{\n", "{\n  \"mine\": {\"x\": [1.50]},\n  \"config\": {\"User\": \"0:5\"},\n");
    bench.write("web/mdev.json", r#"{"rules":[]}"#);
    bench.write("web/more/deep/file", "x");
    std::os::unix::fs::symlink("more", bench.path("web/link")).unwrap();
    let root = std::os::unix::fs::MetadataExt::ino(&fs::metadata(bench.path("web/root.squashfs")).unwrap());
    bench.app(&["install", "web"]);
    let config = bench.read("web/lxc.container.conf");
    assert!(config.contains("= A=2\nlxc.environment = B=3\n") && !config.contains("A=1"), "{config}");
    assert!(config.contains("lxc.init.uid = 0\nlxc.init.gid = 5\n"), "{config}");
    let src = bench.read("web/src.json");
    assert!(src.contains("\"mine\": {\n   \"x\": [\n    1.50\n"), "{src}");
    assert_eq!(bench.read("web/more/deep/file"), "x");
    assert_eq!(bench.read("web/mdev.json"), r#"{"rules":[]}"#);
    assert_eq!(fs::read_link(bench.path("web/link")).unwrap().to_str(), Some("more"));
    let again = std::os::unix::fs::MetadataExt::ino(&fs::metadata(bench.path("web/root.squashfs")).unwrap());
    assert_eq!(root, again, "the image was packed again for nothing");
    // A container without a program has no configuration of one.
    edit(&bench, "web/src.json", "\"args\": {", "\"args\": {\"PV_STATUS_GOAL\": \"MOUNTED\",");
    bench.app(&["install", "web"]);
    assert!(!bench.path("web/lxc.container.conf").exists() && !bench.path("web/seccomp.bpf").exists());
}

#[test]
fn lines_that_somebody_wrote_are_named_and_not_lost_unless_that_is_meant() {
    for noted in [true, false] {
        let bench = Bench::new();
        bench.layout("image", &[image("1")]);
        bench.app(&["add", "web", "--from", "oci:../image", "--group", "app"]);
        if !noted {
            // As tools leave it that know nothing of the note.
            let src = bench.read("web/src.json");
            let note = src.find(",\n  \"rendered\"").unwrap();
            bench.write("web/src.json", format!("{}\n }}", &src[..note]));
        }
        bench.app(&["install", "web"]);
        let config = bench.read("web/lxc.container.conf");
        let line = "lxc.prlimit.nofile = 1024";
        bench.write("web/lxc.container.conf", format!("{config}{line}\n").replace("lxc.tty.max = 8\n", ""));
        edit(&bench, "web/run.json", "\"group\": \"app\"", "\"group\": \"app\",\n\"dev-log\": true");
        let ran = stays(
            &bench,
            &["install", "web"],
            &["lxc.container.conf: + lxc.prlimit.nofile = 1024\n", "lxc.container.conf: - lxc.tty.max = 8\n"],
        );
        assert!(
            ran.stderr.contains("run.json: + \"dev-log\": true\n") && ran.stderr.contains("--force"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stderr.matches("conf: ").count(), 2, "{}", ran.stderr);
        bench.layout("image", &[image("2")]);
        stays(&bench, &["update", "web"], &["by hand would be lost", "PV_LXC_EXTRA_CONF"]);
        bench.app(&["install", "web", "--force"]);
        assert_eq!(bench.read("web/lxc.container.conf"), config);
        // What is said in src.json stays.
        edit(&bench, "web/src.json", "\"args\": {", &format!("\"args\": {{\"PV_LXC_EXTRA_CONF\": \"{line}\","));
        bench.app(&["update", "web"]);
        assert!(bench.read("web/lxc.container.conf").ends_with(&format!("{line}\n")));
    }
}

#[test]
fn an_image_is_fetched_again_only_where_it_is_not_the_one_that_is_named() {
    let bench = Bench::new();
    let layout = bench.layout("image", &[image("1")]);
    bench.app(&["add", "web", "--from", "oci:../image"]);
    let made = files(&bench, "web");
    fs::remove_file(bench.path("web/root.squashfs")).unwrap();
    bench.app(&["install", "web"]);
    assert_eq!(files(&bench, "web"), made);
    bench.write("web/root.squashfs.docker-digest", "oci:../image@sha256:0");
    bench.write("web/root.squashfs", "another");
    bench.app(&["install", "web"]);
    assert_eq!(files(&bench, "web"), made);
    // Without the image that it names there is nothing to make it of.
    fs::remove_file(bench.path("web/root.squashfs")).unwrap();
    fs::remove_dir_all(&layout.0).unwrap();
    bench.layout("image", &[image("2")]);
    stays(&bench, &["install", "web"], &["is another image now", "pvr app update web"]);
    stays(&bench, &["install", "none"], &["no container \"none\""]);
    bench.write("odd/src.json", r#"{"template":"mine"}"#);
    stays(&bench, &["install", "odd"], &["odd/src.json: `template`: \"mine\" is not known", "confined and builtin"]);
    bench.write("odd/src.json", r#"{"template":"confined"}"#);
    stays(&bench, &["install", "odd"], &["odd/src.json names no image"]);
    bench.write("odd/src.json", "{");
    stays(&bench, &["install", "odd"], &["odd/src.json: line 1"]);
}

#[test]
fn an_update_does_nothing_until_its_image_is_another() {
    let bench = Bench::new();
    bench.layout("image", &[image("1")]);
    bench.app(&["add", "web", "--from", "oci:../image:amd64", "--env", "A=1"]);
    bench.write("web/mdev.json", r#"{"rules":[]}"#);
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    let (made, times) = (files(&bench, "web"), fs::metadata(bench.path("web")).unwrap().modified().unwrap());
    let said = bench.app(&["update", "web"]).stderr;
    assert!(said.contains("web is up to date: it is still oci:../image@sha256:"), "{said}");
    assert_eq!(
        (files(&bench, "web"), fs::metadata(bench.path("web")).unwrap().modified().unwrap()),
        (made.clone(), times)
    );
    let old = bench.read("web/root.squashfs.docker-digest");
    fs::remove_dir_all(bench.top().join("image")).unwrap();
    bench.layout("image", &[image("2")]);
    let said = bench.app(&["update", "web", "--json"]);
    assert!(said.stderr.contains("Updating web from oci:../image@sha256:"), "{}", said.stderr);
    assert!(said.stdout.contains("\"changed\": true") && said.stdout.contains("\"name\": \"web\""), "{}", said.stdout);
    assert!(said.stdout.contains("\"files\": [") && said.stdout.contains("\"summary\""), "{}", said.stdout);
    let new = bench.read("web/root.squashfs.docker-digest");
    assert!(new != old && bench.read("web/src.json").contains(&new));
    assert!(bench.read("web/lxc.container.conf").contains("= A=1\n") && bench.path("web/mdev.json").exists());
    let changed: Vec<_> =
        files(&bench, "web").into_iter().filter(|file| !made.contains(file)).map(|(path, _)| path).collect();
    let names = ["root.squashfs", "root.squashfs.docker-digest", "src.json"];
    assert_eq!(changed, names.map(|name| bench.path("web").join(name).display().to_string()));
    // Another image with the same arguments, and the way it is packed.
    bench.layout("other", &[Image::small(r#"{"Cmd":["/bin/web"]}"#)]);
    let said = bench.app(&["update", "web", "--from", "oci:../other", "-o", "-comp gzip"]);
    assert!(said.stdout.contains("web/root.squashfs: "), "it tells the files: {}", said.stdout);
    assert!(said.stderr.contains(" as before, "), "it tells the layers: {}", said.stderr);
    let src = bench.read("web/src.json");
    for part in ["\"docker_name\": \"oci:../other\"", "\"format_options\": \"-comp gzip\"", "\"A=1\""] {
        assert!(src.contains(part), "{part}: {src}");
    }
    assert!(!src.contains("docker_tag") && bench.read("web/lxc.container.conf").contains("lxc.init.cmd = /bin/web\n"));
    stays(&bench, &["update", "web", "--platform", "riscv64"], &["no image for linux/riscv64"]);
    assert_eq!(bench.run(&["app", "update"]).code, 2);
    assert_eq!(bench.run(&["app", "update", "web", "--all"]).code, 2);
}

#[test]
fn one_that_cannot_be_updated_keeps_none_of_the_others_back() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.layout(name, &[image("1")]);
        bench.app(&["add", name, "--from", &format!("oci:../{name}")]);
        fs::remove_dir_all(bench.top().join(name)).unwrap();
        if name != "b" {
            bench.layout(name, &[image("2")]);
        }
    }
    let (b, c) = (files(&bench, "b"), files(&bench, "c"));
    let ran = bench.with(&[], &["app", "update", "--all", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("error: b: ") && ran.stderr.contains("1 of 3 are as they were"), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches("\"changed\": true").count(), 2, "{}", ran.stdout);
    assert!(files(&bench, "b") == b && files(&bench, "c") != c);
}

#[test]
fn a_file_of_this_machine_is_found_again_from_any_directory() {
    let bench = Bench::new();
    bench.layout("image", &[image("1")]);
    fs::create_dir_all(bench.path("below")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let mut command = bench.command(&["app", "add", "web", "--from", "oci:../../image"]);
    let ran: Ran = command.current_dir(bench.path("below")).env("PATH", &path).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    fs::remove_file(bench.path("web/root.squashfs")).unwrap();
    bench.app(&["install", "web"]);
    bench.app(&["add", "here", "--from", "oci:../image"]);
    let mut command = bench.command(&["app", "update", "here"]);
    let ran: Ran = command.current_dir(bench.path("below")).env("PATH", &path).output().unwrap().into();
    assert!(ran.code == 0 && ran.stderr.contains("here is up to date"), "{}", ran.stderr);
}

#[test]
fn an_image_that_is_checked_by_its_device_has_a_new_tree_when_it_is_another() {
    let bench = Bench::new();
    bench.layout("image", &[image("1")]);
    bench.app(&["add", "web", "--from", "oci:../image", "--template", "builtin-lxc-docker"]);
    bench.ok(&["dm", "convert", "web"]);
    let tables = |bench: &Bench| (bench.read("web/_dm/root.squashfs.json"), bench.bytes("web/root.squashfs.hash"));
    let old = tables(&bench);
    bench.app(&["install", "web"]);
    assert!(bench.read("web/run.json").contains("\"root-volume\": \"dm:root.squashfs\""));
    assert!(tables(&bench) == old);
    fs::remove_dir_all(bench.top().join("image")).unwrap();
    bench.layout("image", &[image("2")]);
    bench.app(&["update", "web"]);
    assert!(tables(&bench) != old);
    bench.ok(&["dm", "verify"]);
}
