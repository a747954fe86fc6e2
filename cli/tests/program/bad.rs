//! Bad input and bad luck: the message names file and place, and nothing has changed.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::bench::{Bench, RUN_JSON};

/// A commit of this file is refused with these words, and the books are as they were.
fn refused(path: &str, bytes: &str, parts: &[&str]) {
    let bench = Bench::with_web();
    bench.write(path, bytes);
    // With `./`, since a name may begin with a dash.
    let here = format!("./{path}");
    if bench.run(&["add", &here]).code != 0 {
        bench.refused(&["add", &here], parts);
    } else {
        let books = bench.books();
        bench.refused(&["commit"], parts);
        assert_eq!(bench.books(), books, "{path}");
    }
    let before = bench.read(".pvr/json");
    bench.ok(&["json", "-c"]);
    assert_eq!(bench.ok(&["json", "-c"]).stdout, before);
}

#[test]
fn what_a_device_refuses_is_not_committed() {
    refused("web/run.json", &RUN_JSON[..40], &["web/run.json: line 1, column 41: the text ends inside a value"]);
    refused("web/run.json", r#"{"name":"web","name":"db"}"#, &["web/run.json: line 1", "twice"]);
    refused("web/run.json", &RUN_JSON.replace("app", "none"), &["web/run.json: group", "no group \"none\""]);
    refused("web/run.json", &RUN_JSON.replace("\"lxc\"", "\"podman\""), &["web/run.json: type", "podman"]);
    refused("web/run.json", "[]", &["\"web/run.json\" must be an inline manifest"]);
    refused("web/run.json", &RUN_JSON.replace("lxc.container.conf", "../x"), &["web/run.json: config", "`..`"]);
    refused("web/lxc.container.conf", "lxc.init.cmd = /x\nlxc.nonsense = 1\n", &["web/lxc.container.conf: line 2"]);
    let veth = "lxc.init.cmd = /x\nlxc.net.0.type = veth\n";
    refused("web/lxc.container.conf", veth, &["web/lxc.container.conf: line 2: lxc.net.0.link: is missing"]);
    refused("device.json", r#"{"groups":[{"name":"x"},{"name":"x"}]}"#, &["device.json: groups", "\"x\" is taken"]);
    refused("bsp/run.json", r#"{"linux":"none","initrd":"i"}"#, &["bsp/run.json: linux", "no file \"bsp/none\""]);
    refused("web/deep/run.json", "{}", &["web/deep/run.json", "directly in the directory"]);
    refused("-web/run.json", "{}", &["-web/run.json"]);
    let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    refused("x.json", &format!("{id:?}"), &["x.json", "taken for the name of an object", "--raw"]);
    refused("_sigs/web.json", "{}", &["_sigs/web.json"]);
    refused("web/services.json", &"[".repeat(100), &["web/services.json: line 1, column", "nested deeper"]);
}

#[test]
fn a_broken_book_is_named() {
    let bench = Bench::with_web();
    let good = bench.read(".pvr/json");
    for (text, part) in [
        (good.replace("\"web/run.json\"", "\"web/../../run.json\""), "the key \"web/../../run.json\" cannot be used"),
        (good[..good.len() - 1].to_owned(), ".pvr/json: line 1, column"),
        (good.replace("\"web/run.json\"", "\"web/src.json\""), "twice"),
        (String::new(), ".pvr/json: line 1"),
    ] {
        bench.write(".pvr/json", &text);
        for args in [&["status"][..], &["diff"], &["commit"], &["reset"], &["deploy", "../d"], &["sig", "ls"]] {
            bench.refused(args, &[part]);
        }
        assert_eq!(bench.read(".pvr/json"), text);
    }
    bench.write(".pvr/json", good.replace("service-system@1", "service-system@9"));
    bench.refused(&["commit"], &["#spec", "service-system@9"]);
    bench.write(".pvr/json", good);
    bench.write(".pvr/config", r#"{"ObjectsDir":1}"#);
    bench.refused(&["status"], &[".pvr/config: ObjectsDir must be a string"]);
    bench.write(".pvr/config", "{}");
    bench.write(".pvr/new", "{");
    bench.refused(&["status"], &[".pvr/new: line 1", "pvr add"]);
}

#[test]
fn names_that_no_state_can_have_are_refused_and_links_are_said() {
    let bench = Bench::with_web();
    std::os::unix::fs::symlink("/etc/passwd", bench.path("web/link")).unwrap();
    assert!(bench.ok(&["add"]).stderr.contains("web/link: links and special files"));
    bench.refused(&["add", "web/link"], &["web/link is a link"]);
    bench.write("a\nb", "");
    bench.refused(&["status"], &["\"a\\nb\" cannot be in a state"]);
    fs::remove_file(bench.path("a\nb")).unwrap();
    fs::write(bench.repo().join(std::ffi::OsStr::from_bytes(b"x\xff")), "").unwrap();
    bench.refused(&["status"], &["is not UTF-8"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let bench = Bench::with_web();
    fs::set_permissions(bench.path("web/root.squashfs"), fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads everything, so somebody else looks, with a program that they can reach.
    let program = bench.top().join("pvr");
    fs::copy(assert_cmd::cargo::cargo_bin!("pvr"), &program).unwrap();
    fs::set_permissions(bench.top(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.arg("status").current_dir(bench.repo());
    if rustix::process::geteuid().is_root() {
        command.uid(65534);
    }
    let done = command.output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot read") && said.contains("web/root.squashfs: Permission denied"), "{said}");
    assert!(said.contains("hint: check owner and mode"), "{said}");
}

#[test]
fn two_at_once_are_told_of_each_other() {
    let bench = Bench::with_web();
    let holder = cli::repo::Repo::at(&bench.repo()).unwrap();
    let lock = holder.lock().unwrap();
    bench.write("web/root.squashfs", "2");
    let process = format!("process {}", std::process::id());
    for args in [&["commit"][..], &["add"], &["reset"], &["sig", "up"]] {
        bench.refused(args, &["another pvr", &process, "hint: wait"]);
    }
    assert_eq!(bench.ok(&["status"]).stdout, "C web/root.squashfs\n", "looking needs no lock");
    drop(lock);
    bench.ok(&["commit"]);
}

#[test]
fn many_at_once_leave_a_whole_state() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", vec![7; 4 << 20]);
    let all: Vec<_> = (0..6).map(|_| bench.command(&["commit"]).stderr(Stdio::piped()).spawn().unwrap()).collect();
    let mut done = 0;
    for one in all {
        let output = one.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() || said.contains("another pvr"), "{said}");
        done += usize::from(output.status.success());
    }
    assert!(done > 0);
    assert_eq!(bench.ok(&["status"]).stdout, "");
    bench.strict().unwrap();
}

#[test]
fn a_commit_that_is_killed_at_any_moment_leaves_the_old_state_or_the_new() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", "to know how long one takes");
    let start = Instant::now();
    bench.ok(&["commit"]);
    let whole = start.elapsed();
    let (mut old, mut new) = (0, 0);
    for round in 0..40_u32 {
        let before = bench.read(".pvr/json");
        bench.write("web/root.squashfs", format!("image {round}"));
        let mut commit = bench.command(&["commit"]).stderr(Stdio::null()).spawn().unwrap();
        // From the very beginning to twice the time that it takes.
        std::thread::sleep(whole * round / 20);
        let _ = commit.kill();
        commit.wait().unwrap();
        match bench.read(".pvr/json") == before {
            true => old += 1,
            false => {
                new += 1;
                bench.strict().unwrap();
            }
        }
        bench.ok(&["commit"]);
        bench.strict().unwrap();
        assert_eq!(bench.ok(&["status"]).stdout, "");
        let left =
            fs::read_dir(bench.path(".pvr")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(left.filter(|name| name.starts_with("new.")).count(), 0, "the next one sweeps");
    }
    assert!(old > 0 && new > 0, "killed too late or too early each time: {old} old, {new} new");
}

#[test]
fn a_write_that_fails_changes_nothing() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", vec![1; 1 << 20]);
    let books = bench.books();
    // Files may not become larger than this many blocks: the object does not fit, whoever runs the test.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" commit";
    let program = assert_cmd::cargo::cargo_bin!("pvr");
    let done = Command::new("sh")
        .args(["-c", script])
        .arg(program)
        .current_dir(bench.repo())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", bench.top())
        .output()
        .unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write") && said.contains(".pvr/objects"), "{said}");
    assert_eq!(bench.books(), books);
    bench.ok(&["commit"]);
    bench.strict().unwrap();
}

#[test]
fn a_full_disk_changes_nothing_wherever_it_becomes_full() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts a small disk to fill: run it as root");
    let bench = Bench::with_web();
    // A disk of a few pages, filled but for so many of them, in a mount namespace of its own.
    let script = r#"
        set -e
        mount -t tmpfs -o size=256k,mode=755 none "$DISK"
        cp -a "$REPO/." "$DISK/"
        cd "$DISK"
        printf '{"name":"web","type":"lxc","config":"lxc.container.conf","group":"root"}' > web/run.json
        head -c 20000 /dev/zero > web/root.squashfs
        head -c 1000000 /dev/zero > fill 2>/dev/null || true
        truncate -s "-$((4096 * $FREE))" fill
        before=$(cat .pvr/json _sigs/*; ls .pvr .pvr/objects _sigs)
        if "$PVR" commit 2> /dev/shm/said.$$; then echo committed; else
            after=$(cat .pvr/json _sigs/*; ls .pvr .pvr/objects _sigs)
            cat /dev/shm/said.$$
            # Objects that nothing names yet may stay.
            json() { printf %s "$1" | grep -v '^[0-9a-f]\{64\}$'; }
            test "$(json "$before")" = "$(json "$after")" && echo unchanged
        fi
        rm -f /dev/shm/said.$$
        rm fill
        "$PVR" commit 2>/dev/null && "$PVR" sig ls >/dev/null && echo well"#;
    let disk = bench.top().join("disk");
    fs::create_dir(&disk).unwrap();
    let (mut refusals, mut commits) = (0, 0);
    for free in 0..14 {
        let done = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .env("DISK", &disk)
            .env("REPO", bench.repo())
            .env("PVR", assert_cmd::cargo::cargo_bin!("pvr"))
            .env("FREE", free.to_string())
            .env("HOME", bench.top())
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(said.trim_end().ends_with("well"), "{free} pages free: {said}{complaint}");
        match said.contains("committed\n") {
            true => commits += 1,
            false => {
                assert!(said.contains("unchanged") && said.contains("hint: make room"), "{free}: {said}{complaint}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 2 && commits > 2, "{refusals} refused, {commits} committed");
}

#[test]
fn usage_and_places_without_a_repository() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["nonsense"]).code, 2);
    assert_eq!(bench.run(&[]).code, 2);
    assert_eq!(bench.run(&["--help"]).code, 0);
    assert_eq!(bench.run(&["--version"]).code, 0);
    bench.refused(&["init"], &["is a repository already"]);
    let outside = bench.command(&["status"]).current_dir(bench.top()).output().unwrap();
    assert_eq!(outside.status.code(), Some(1));
    assert!(String::from_utf8(outside.stderr).unwrap().contains("hint: `pvr init`"));
    bench.write("key.pem", "no key");
    fs::set_permissions(bench.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.refused(&["commit", "--key", "key.pem"], &["key.pem: the text holds no private key"]);
    bench.refused(&["commit", "--key", "none.pem"], &["cannot read the key none.pem"]);
}
