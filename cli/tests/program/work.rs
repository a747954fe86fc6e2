//! A day's work: init, add, commit, change, look, commit again, reset.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use crate::bench::{Bench, RUN_JSON, golden};
use snapbox::{assert_data_eq, str};

#[test]
fn from_nothing_to_a_second_commit() {
    let bench = Bench::new();
    assert_data_eq!(bench.read(".pvr/json"), str![[r##"{"#spec":"pantavisor-service-system@1"}"##]]);
    bench.write("web/run.json", RUN_JSON);
    bench.write("web/lxc.container.conf", "lxc.init.cmd = /bin/web\n");
    bench.write("notes.txt", "mine");
    assert_data_eq!(
        bench.ok(&["status"]).stdout,
        str![[r#"
? notes.txt
? web/lxc.container.conf
? web/run.json

"#]]
    );
    bench.ok(&["add", "web"]);
    assert_data_eq!(
        bench.ok(&["status"]).stdout,
        str![[r#"
? notes.txt
A web/lxc.container.conf
A web/run.json

"#]]
    );
    let said = bench.ok(&["commit", "-m", "first"]).stderr;
    assert!(said.contains("Adding inline web/run.json\n"), "{said}");
    assert!(said.contains("Adding raw web/lxc.container.conf with sha "), "{said}");
    assert_eq!(bench.ok(&["status"]).stdout, "? notes.txt\n");
    assert_eq!(bench.ok(&["diff"]).stdout, "{}\n");
    assert_eq!(bench.read(".pvr/commitmsg"), "first");
    assert!(!bench.path(".pvr/new").exists());

    bench.write("web/run.json", RUN_JSON.replace("\"app\"", "\"root\""));
    fs::remove_file(bench.path("web/lxc.container.conf")).unwrap();
    assert_data_eq!(
        bench.ok(&["diff"]).stdout,
        str![[r#"
{
	"web/lxc.container.conf": null,
	"web/run.json": {
		"group": "root"
	}
}

"#]]
    );
    bench.refused(&["commit"], &["web/run.json: config: this revision has no file \"web/lxc.container.conf\""]);
    bench.write("web/lxc.container.conf", "lxc.init.cmd = /bin/web --new\n");
    assert_eq!(bench.ok(&["s"]).stdout, "? notes.txt\nC web/lxc.container.conf\nC web/run.json\n");
    let said = bench.ok(&["ci"]).stderr;
    assert!(said.contains("Committing (raw): web/lxc.container.conf\nCommitting (inline): web/run.json\n"), "{said}");
    assert_eq!(bench.read(".pvr/commitmsg"), "** No commit message **");
    assert_eq!(bench.ok(&["commit"]).stderr, "nothing to commit\n");
}

#[test]
fn a_golden_state_is_checked_out_clean_and_comes_back_byte_for_byte() {
    for name in ["es256.json", "es384.json", "rs256.json", "keys-only.json", "doublestar.json"] {
        let bench = Bench::with_golden(name);
        bench.ok(&["reset"]);
        assert_eq!(bench.ok(&["status"]).stdout, "", "{name}");
        let expected = fs::read_to_string(golden(name)).unwrap();
        assert_eq!(bench.ok(&["json", "-c"]).stdout, expected);
        // From the files alone, by way of the indented form: the same bytes.
        bench.write(".pvr/json", r##"{"#spec":"pantavisor-service-system@1"}"##);
        fs::remove_dir_all(bench.path(".pvr/objects")).unwrap();
        bench.ok(&["add", "."]);
        bench.ok(&["commit", "--no-sign"]);
        assert_eq!(bench.read(".pvr/json"), expected, "{name}");
    }
}

#[test]
fn null_in_a_new_inline_file_is_kept() {
    let bench = Bench::new();
    bench.write("_hostconfig/x.json", r#"{"a":null,"big":12345678901234567890}"#);
    bench.ok(&["add"]);
    bench.ok(&["commit", "--no-sign"]);
    assert!(bench.read(".pvr/json").contains(r#""_hostconfig/x.json":{"a":null,"big":12345678901234567890}"#));
    assert_eq!(bench.ok(&["status"]).stdout, "");
}

#[test]
fn a_json_file_can_be_an_object_and_stays_one() {
    let bench = Bench::new();
    bench.write("data/x.json", "not JSON at all");
    bench.refused(&["add"], &["data/x.json: line 1, column 2", "hint: ", "--raw"]);
    assert!(!bench.path(".pvr/new").exists());
    bench.ok(&["add", "--raw", "data/x.json"]);
    bench.ok(&["commit", "--no-sign"]);
    bench.write("data/x.json", "{}");
    bench.ok(&["commit", "--no-sign"]);
    let id = formats::object::ObjectId::of(b"{}");
    assert!(bench.read(".pvr/json").contains(&format!(r#""data/x.json":"{id}""#)));
}

#[test]
fn add_takes_files_directories_and_patterns_also_from_below() {
    let bench = Bench::new();
    for file in ["a/x", "a/b/y", "c/x", "d e/x", "top"] {
        bench.write(file, "1");
    }
    let below = bench.command(&["add", "b", "../top"]).current_dir(bench.path("a")).output().unwrap();
    assert!(below.status.success());
    bench.ok(&["add", "?/x"]);
    assert_eq!(bench.ok(&["status"]).stdout, "A a/b/y\nA a/x\nA c/x\n? d e/x\nA top\n");
    bench.refused(&["add", "none"], &["nothing here is called \"none\""]);
    bench.refused(&["add", "../x"], &["outside of the repository"]);
}

#[test]
fn status_as_json_is_for_programs() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", "other");
    bench.write("new \"name\"", "");
    assert_eq!(
        bench.ok(&["status", "--json"]).stdout,
        "[\n    {\n        \"path\": \"new \\\"name\\\"\",\n        \"status\": \"?\"\n    },\n    {\n        \
         \"path\": \"web/root.squashfs\",\n        \"status\": \"C\"\n    }\n]\n"
    );
}

#[test]
fn reset_brings_back_what_was_committed_and_leaves_the_rest() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", "spoilt");
    fs::remove_file(bench.path("web/run.json")).unwrap();
    bench.write("mine", "stays");
    bench.ok(&["add", "mine"]);
    let said = bench.ok(&["checkout"]).stderr;
    assert_eq!(said.matches("Writing").count(), 5, "inline files get the indented form too: {said}");
    assert_eq!(bench.read("web/root.squashfs"), "not a real image");
    assert!(bench.read("web/run.json").starts_with("{\n    \"#spec\": "));
    assert_eq!(bench.read("mine"), "stays");
    assert_eq!(bench.ok(&["status"]).stdout, "? mine\n");
    assert_eq!(bench.ok(&["reset"]).stderr, "", "the second time there is nothing to do");
}

#[test]
fn reset_with_hard_links_shares_read_only_files_with_the_pool() {
    let bench = Bench::with_web();
    bench.ok(&["reset", "--hardlink"]);
    let id = formats::object::ObjectId::of(b"not a real image");
    let (file, object) = (
        bench.path("web/root.squashfs").metadata().unwrap(),
        bench.path(&format!(".pvr/objects/{id}")).metadata().unwrap(),
    );
    assert_eq!((file.ino(), file.mode() & 0o777), (object.ino(), 0o444));
    assert_eq!(bench.read("web/src.json"), r##"{"#spec":"service-manifest-src@1"}"##);
    bench.ok(&["reset"]);
    assert_eq!(bench.path("web/root.squashfs").metadata().unwrap().nlink(), 1);
}

#[test]
fn reset_finds_a_damaged_object_before_it_writes_and_follows_no_link() {
    let bench = Bench::with_web();
    fs::remove_dir_all(bench.path("web")).unwrap();
    symlink("/tmp", bench.path("web")).unwrap();
    bench.refused(&["reset"], &["web is in the way", "links are not followed"]);
    fs::remove_file(bench.path("web")).unwrap();
    let id = formats::object::ObjectId::of(b"not a real image");
    fs::write(bench.path(&format!(".pvr/objects/{id}")), "other bytes").unwrap();
    bench.refused(&["reset"], &["web/root.squashfs", &id.to_string(), "does not have the bytes"]);
    fs::remove_file(bench.path(&format!(".pvr/objects/{id}"))).unwrap();
    bench.refused(&["reset"], &["web/root.squashfs", "is not in the pool"]);
    assert!(!bench.path("web").exists());
}

#[test]
fn repositories_may_share_a_pool() {
    let bench = Bench::new();
    let pool = bench.top().join("pool");
    bench.ok(&["init", "--objects", pool.to_str().unwrap(), "../other"]);
    fs::write(bench.top().join("other/x"), "shared").unwrap();
    for args in [&["add"][..], &["commit"]] {
        assert!(bench.command(args).current_dir(bench.top().join("other")).output().unwrap().status.success());
    }
    assert!(pool.join(formats::object::ObjectId::of(b"shared").to_string()).is_file());
    assert!(!bench.top().join("other/.pvr/objects").exists());
}

#[test]
fn what_shells_and_people_read_is_made_from_the_arguments() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(bench.ok(&["completion", shell]).stdout.contains("commit"), "{shell}");
    }
    bench.ok(&["man", "man"]);
    for page in ["pvr.1", "pvr-commit.1", "pvr-sig-ls.1"] {
        assert!(bench.read(&format!("man/{page}")).starts_with(".ie"), "{page}");
    }
    for command in ["init", "add", "commit", "sig", "deploy"] {
        assert!(bench.ok(&[command, "--help"]).stdout.contains("Examples:"), "{command}");
    }
}

#[test]
fn colours_are_for_terminals_only_and_an_unread_output_is_no_panic() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", "other");
    assert_eq!(bench.ok(&["status"]).stdout, "C web/root.squashfs\n");
    let forced = bench.command(&["status"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(forced.stdout.starts_with(b"\x1b["));
    let none = bench.command(&["status"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert_eq!(none.stdout[0], b'C');
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let closed = bench.command(&["status"]).stdout(full).output().unwrap();
    assert_eq!((closed.status.code(), closed.stderr.as_slice()), (Some(1), &b""[..]));
}

#[test]
fn a_checkpoint_is_a_document_with_its_time_and_a_commit_that_fails_leaves_none() {
    let bench = Bench::with_web();
    bench.write("web/run.json", "{");
    bench.refused(&["commit", "--checkpoint"], &["web/run.json"]);
    assert!(!bench.path("checkpoint.json").exists() && !bench.path(".pvr/new").exists());
    bench.write("web/run.json", RUN_JSON);
    let said = bench.ok(&["commit", "-c", "-m", "good"]).stderr;
    assert!(said.contains("Adding inline checkpoint.json"), "{said}");
    let state = bench.read(".pvr/json");
    let (_, rest) = state.split_once(r#""checkpoint.json":{"major":"20"#).unwrap();
    assert!(rest.get(.."26-11-22T00:00:00Z".len()).is_some_and(|time| time.ends_with('Z')), "{rest}");
    assert!(bench.strict().is_ok());
}

#[test]
fn a_large_file_is_read_once_and_again_when_it_has_changed() {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", vec![7; 1 << 20]);
    bench.ok(&["commit"]);
    // What was written just now may be written again in the same tick of the clock.
    std::thread::sleep(std::time::Duration::from_secs(4));
    bench.ok(&["status"]);
    assert!(bench.read(".pvr/known").contains("web/root.squashfs"));
    let reads = |args: &[&str]| {
        let script = "exec strace -f -qq -e trace=read -P web/root.squashfs -P $PWD/web/root.squashfs \"$@\"";
        let mut strace = std::process::Command::new("sh");
        strace
            .args(["-c", script, "sh"])
            .arg(assert_cmd::cargo::cargo_bin!("pvr"))
            .args(args)
            .current_dir(bench.repo());
        let output = strace.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains("read(")).count()
    };
    assert_eq!(reads(&["status"]), 0);
    bench.write("web/root.squashfs", vec![8; 1 << 20]);
    assert!(reads(&["status"]) > 0);
    assert_eq!(bench.ok(&["status"]).stdout, "C web/root.squashfs\n");
    fs::write(bench.path(".pvr/known"), "{").unwrap();
    assert_eq!(bench.ok(&["status"]).stdout, "C web/root.squashfs\n");
}
