//! `pvr history`, and the way back: `pvr reset --to`.

use std::fs;

use base64ct::{Base64, Encoding as _};
use formats::object::ObjectId;

use crate::bench::{Bench, Ran};

/// The program at a moment.
fn at(bench: &Bench, seconds: u64, args: &[&str]) -> Ran {
    let ran: Ran = bench.command(args).env("SOURCE_DATE_EPOCH", seconds.to_string()).output().unwrap().into();
    assert_eq!(ran.code, 0, "pvr {args:?}: {}", ran.stderr);
    ran
}

/// Two commits: the second changes an object, adds a file, removes another.
fn two() -> (Bench, String, String) {
    let bench = Bench::with_web();
    let first = bench.read(".pvr/json");
    bench.write("web/root.squashfs", "second");
    bench.write("web/etc/new.conf", "new");
    fs::remove_file(bench.path("web/src.json")).unwrap();
    bench.ok(&["add"]);
    at(&bench, 1_795_341_600, &["commit", "-m", "web: second\nwith \u{1b}[2J"]);
    let second = bench.read(".pvr/json");
    (bench, first, second)
}

fn hash(state: &str) -> String {
    ObjectId::of(state.as_bytes()).to_string()
}

#[test]
fn each_commit_is_an_entry_with_its_parent_time_signer_and_paths() {
    let (bench, first, second) = two();
    let said = bench.ok(&["history"]).stdout;
    let lines: Vec<&str> = said.lines().collect();
    let (key, short) = (bench.ok(&["sig", "key"]).stdout, |text: &str| text[..8].to_owned());
    let der: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let signer = ObjectId::of(&Base64::decode_vec(&der).unwrap()).to_string();
    assert_eq!(
        lines[..6],
        [
            &format!(
                "~0   {} 2026-11-22T10:00:00Z commit ({}) web: second with  [2J",
                short(&hash(&second)),
                short(&signer)
            ),
            "     A web/etc/new.conf",
            "     C _sigs/web.json",
            "     C web/root.squashfs",
            "     D web/src.json",
            lines[5]
        ]
    );
    assert!(lines[5].starts_with(&format!("~1   {} 20", short(&hash(&first)))), "{said}");
    assert!(lines[5].ends_with(" first"), "{said}");
    assert_eq!(bench.ok(&["log", "-n", "1"]).stdout.lines().count(), 5);
    let json = bench.ok(&["history", "--json", "-n", "1"]).stdout;
    for part in [hash(&first), hash(&second), signer, "2026-11-22T10:00:00Z".into(), "web: second\\nwith".into()] {
        assert!(json.contains(&part), "{part}: {json}");
    }
    bench.write("web/root.squashfs", "third");
    bench.ok(&["commit", "--no-sign"]);
    assert!(bench.ok(&["history", "-n", "1"]).stdout.contains("commit (not signed)"));
}

#[test]
fn the_state_of_then_is_shown_byte_for_byte() {
    let (bench, first, second) = two();
    for (text, state) in [("~0", &second), ("~1", &first), (&hash(&first)[..6], &first), (&hash(&second), &second)] {
        assert_eq!(&bench.ok(&["history", "show", "-c", text]).stdout, state, "{text}");
    }
    assert!(bench.ok(&["history", "show", "~1"]).stdout.starts_with("{\n"));
    bench.refused(&["history", "show", "~2"], &["the history has 2", "hint:"]);
    bench.refused(&["history", "show", "abc"], &["at least four digits"]);
    bench.refused(&["history", "show", "00000000"], &["is no state of this history"]);
    bench.refused(&["history", "show", "~x"], &["~0 is the newest"]);
    // A commit that changes nothing is none.
    bench.ok(&["commit"]);
    assert_eq!(bench.ok(&["history", "--json"]).stdout.matches("\"command\"").count(), 2);
}

#[test]
fn the_way_back_brings_state_and_files_and_is_an_entry_itself() {
    let (bench, first, second) = two();
    bench.write("mine", "stays");
    let ran = bench.ok(&["reset", "--to", "~1"]);
    assert!(
        ran.stderr.contains("Removing web/etc/new.conf") && ran.stderr.contains("Writing web/src.json"),
        "{}",
        ran.stderr
    );
    assert_eq!(bench.read(".pvr/json"), first);
    assert_eq!(bench.read("web/root.squashfs"), "not a real image");
    assert!(!bench.path("web/etc").exists() && bench.read("mine") == "stays");
    assert_eq!(bench.ok(&["status"]).stdout, "? mine\n");
    bench.strict().unwrap();
    let said = bench.ok(&["history", "-n", "1"]).stdout;
    assert!(said.starts_with(&format!("~0   {} ", &hash(&first)[..8])) && said.contains(" reset "), "{said}");
    bench.ok(&["reset", "--to", &hash(&second)]);
    assert_eq!(bench.read(".pvr/json"), second);
    assert_eq!(bench.read("web/etc/new.conf"), "new");
    assert_eq!(bench.ok(&["status"]).stdout, "? mine\n");
}

#[test]
fn the_way_back_loses_nothing_and_says_what_is_missing() {
    let (bench, _, _) = two();
    let unchanged = |args: &[&str], parts: &[&str]| {
        let before = (bench.books(), bench.read("web/root.squashfs"));
        bench.refused(args, parts);
        assert_eq!((bench.books(), bench.read("web/root.squashfs")), before);
    };
    bench.write("web/root.squashfs", "edited");
    unchanged(&["reset", "--to", "~1"], &["would be lost: web/root.squashfs", "hint: commit it"]);
    bench.ok(&["reset"]);
    bench.write("web/src.json", "{}");
    unchanged(&["reset", "--to", "~1"], &["would be lost: web/src.json"]);
    fs::remove_file(bench.path("web/src.json")).unwrap();
    let id = ObjectId::of(b"not a real image").to_string();
    fs::remove_file(bench.path(".pvr/objects").join(&id)).unwrap();
    unchanged(&["reset", "--to", "~1"], &["not in the pool", &format!("web/root.squashfs ({id})"), "pvr get PLACE"]);
    fs::remove_dir_all(bench.path(".pvr/states")).unwrap();
    unchanged(&["reset", "--to", "~1"], &["is not kept any more"]);
}

#[test]
fn what_comes_from_elsewhere_is_an_entry_that_says_whence() {
    let (bench, first, second) = two();
    bench.ok(&["export", "../second.tgz"]);
    let beside = |args: &[&str], directory: &str| -> Ran {
        let ran: Ran = bench.command(args).current_dir(bench.top().join(directory)).output().unwrap().into();
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran
    };
    bench.ok(&["reset", "--to", "~1"]);
    beside(&["clone", "repo", "copy"], "");
    beside(&["import", "../second.tgz"], "copy");
    beside(&["get", "../repo", "--force"], "copy");
    beside(&["get", "../repo"], "copy");
    let said = beside(&["history"], "copy").stdout;
    let entries: Vec<&str> = said.lines().filter(|line| line.starts_with('~')).collect();
    assert_eq!(entries.len(), 3, "{said}");
    for (line, (state, words)) in entries.iter().zip([
        (&first, ["get", "/repo"]),
        (&second, ["import", "/second.tgz"]),
        (&first, ["clone", "/repo"]),
    ]) {
        assert!(line.contains(&hash(state)[..8]) && words.iter().all(|word| line.contains(word)), "{line}");
    }
    beside(&["put", "../copy"], "repo");
    bench.ok(&["reset", "--to", &hash(&second)]);
    bench.ok(&["put", "../copy"]);
    assert!(beside(&["history", "-n", "1"], "copy").stdout.contains(" put "));
}

#[test]
fn a_log_that_cannot_be_written_is_a_warning_and_one_that_cannot_be_read_says_so() {
    let bench = Bench::with_web();
    let log = bench.read(".pvr/history");
    fs::write(bench.path(".pvr/history"), format!("{log}{{\"torn")).unwrap();
    assert_eq!(bench.ok(&["history", "--json"]).stdout.matches("\"command\"").count(), 1);
    fs::write(bench.path(".pvr/history"), format!("no entry\n{log}")).unwrap();
    bench.refused(&["history"], &[".pvr/history: line 1:", "hint: remove the line"]);
    fs::remove_file(bench.path(".pvr/history")).unwrap();
    fs::create_dir(bench.path(".pvr/history")).unwrap();
    bench.write("web/root.squashfs", "2");
    let said = bench.ok(&["commit"]).stderr;
    assert!(
        said.contains("warning: the history was not written: cannot read") && said.contains("committed "),
        "{said}"
    );
}
