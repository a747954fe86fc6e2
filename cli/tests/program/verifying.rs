//! `pvr verify`: all that a device would refuse, wherever the state is.

use std::fs;

use formats::object::ObjectId;

use crate::bench::{Bench, RUN_JSON, golden};

const IMAGE: &str = "hsqs and then some";

/// A repository whose state a device takes.
fn sound() -> Bench {
    let bench = Bench::with_web();
    bench.write("web/root.squashfs", IMAGE);
    bench.write("web/run.json", RUN_JSON.replace(r#""group""#, r#""root-volume":"root.squashfs","group""#));
    bench.ok(&["commit", "-m", "an image"]);
    bench
}

/// The findings of a call that finds something.
fn findings(bench: &Bench, args: &[&str]) -> Vec<String> {
    let ran = bench.refused(args, &["a device would refuse this state"]);
    ran.stdout.lines().map(str::to_owned).collect()
}

fn object(bench: &Bench, bytes: &str) -> std::path::PathBuf {
    bench.path(".pvr/objects").join(ObjectId::of(bytes.as_bytes()).to_string())
}

#[test]
fn a_state_that_devices_take_has_no_findings_wherever_it_is() {
    let bench = sound();
    let ran = bench.ok(&["verify"]);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("2 objects") && ran.stderr.contains("2 signatures that count"), "{}", ran.stderr);
    bench.ok(&["export", "../all.tgz"]);
    bench.ok(&["deploy", "../storage/trails/0"]);
    for place in ["../all.tgz", "../storage/trails/0", "."] {
        assert_eq!(bench.ok(&["verify", place]).stdout, "", "{place}");
    }
    let json = bench.ok(&["verify", "--json"]).stdout;
    assert!(json.contains(r#""findings": []"#) && json.contains(&bench.revision().digest().to_string()), "{json}");
    let bytes = IMAGE.len() + "lxc.init.cmd = /bin/web\n".len();
    assert!(json.contains(&format!(r#""bytes": {bytes},"#)), "{json}");
}

#[test]
fn every_document_and_object_is_looked_at_whatever_becomes_of_the_others() {
    let bench = sound();
    bench.write("db/lxc.container.conf", "lxc.init.cmd = /bin/db\n");
    bench.write("db/run.json", RUN_JSON.replace("web", "db"));
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    let conf = "lxc.no.such.key = 1\n";
    fs::write(object(&bench, conf), conf).unwrap();
    let state = bench.read(".pvr/json");
    let web = ObjectId::of(b"lxc.init.cmd = /bin/web\n").to_string();
    let state = state
        .replace(
            &format!(r#""web/lxc.container.conf":"{web}""#),
            &format!(r#""web/lxc.container.conf":"{}""#, ObjectId::of(conf.as_bytes())),
        )
        .replacen(r#""group":"app","name":"db""#, r#""group":"none","name":"db""#, 1);
    bench.write(".pvr/json", state);
    fs::write(object(&bench, IMAGE), "not an image").unwrap();
    fs::remove_file(object(&bench, "lxc.init.cmd = /bin/db\n")).unwrap();
    let found = findings(&bench, &["verify"]);
    for part in [
        "db/run.json: group: this revision has no group \"none\"",
        "web/lxc.container.conf: line 1: lxc.no.such.key",
        "web/root.squashfs: it has no squashfs file system",
        "web/root.squashfs: its object has other bytes than its name says",
        "db/lxc.container.conf: its object ",
        "_sigs/web.json: the signature does not count",
        "_sigs/db.json: the signature does not count",
        "web/run.json: nobody who is trusted has signed it",
    ] {
        assert!(found.iter().any(|line| line.starts_with(part)), "{part}: {found:#?}");
    }
    // What asks for no signatures hears the rest.
    let found = findings(&bench, &["verify", "--policy", "disabled"]);
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn a_state_that_was_written_otherwise_is_not_the_one_that_tools_hash() {
    let bench = sound();
    let state = bench.read(".pvr/json");
    bench.write(".pvr/json", state.replacen("{", "{ ", 1));
    assert_eq!(findings(&bench, &["verify"]).len(), 1, "the signatures are over the parts, which are as they were");
    bench.write(".pvr/json", "{");
    assert!(findings(&bench, &["verify"])[0].starts_with("json: line 1"));
    bench.write(".pvr/json", r##"{"#spec":"other@1"}"##);
    assert!(findings(&bench, &["verify"])[0].contains("other@1"));
}

#[test]
fn who_is_trusted_is_said_or_is_the_developer() {
    let bench = Bench::with_golden("es256.json");
    let (ca, stranger) = (golden("keys/ca.crt.pem"), golden("keys/stranger.crt.pem"));
    let unknown = findings(&bench, &["verify", "--cacerts", stranger.to_str().unwrap()]);
    assert!(unknown.iter().any(|line| line.contains("no trusted authority issued it")), "{unknown:#?}");
    assert!(unknown.iter().any(|line| line.contains("nobody who is trusted has signed it")), "{unknown:#?}");
    let ran = bench.run(&["verify", "--cacerts", ca.to_str().unwrap(), "--json"]);
    assert!(!ran.stdout.contains("does not count"), "{}", ran.stdout);
    let nobody = findings(&bench, &["verify"]);
    assert!(nobody.iter().any(|line| line.contains("no public key is trusted")), "{nobody:#?}");
    bench.refused(&["verify", "--pubkey", "web/nothing.pem"], &["web/nothing.pem"]);
    assert_eq!(bench.run(&["verify", "--policy", "loose"]).code, 2);
}

#[test]
fn what_is_wrong_with_a_trail_is_found_in_the_trail() {
    let bench = sound();
    let id = "lxc.init.cmd = /bin/web\n";
    bench.ok(&["deploy", "../storage/trails/0"]);
    let trail = bench.top().join("storage/trails/0");
    for (file, bytes) in [("web/run.json", "{}"), ("web/lxc.container.conf", "other"), ("extra", "x")] {
        let _ = fs::remove_file(trail.join(file));
        fs::write(trail.join(file), bytes).unwrap();
    }
    fs::remove_file(trail.join("web/root.squashfs")).unwrap();
    fs::remove_file(bench.top().join("storage/objects").join(ObjectId::of(id.as_bytes()).to_string())).unwrap();
    let ran = bench.refused(&["verify", "../storage/trails/0"], &["for 4 reasons", "warning: extra: is in the trail"]);
    for part in [
        "web/lxc.container.conf: its object ",
        "web/lxc.container.conf: the file in the trail has other bytes",
        "web/root.squashfs: the trail does not have this file",
        "web/run.json: the file in the trail has another text",
    ] {
        assert!(ran.stdout.lines().any(|line| line.starts_with(part)), "{part}: {}", ran.stdout);
    }
}

#[test]
fn a_bundle_that_lacks_or_spoils_an_object_says_which() {
    let bench = sound();
    bench.ok(&["export", "-p", "web", "../part.tgz"]);
    let found = findings(&bench, &["verify", "../part.tgz"]);
    assert!(found.iter().all(|line| line.contains("nobody who is trusted has signed it")), "{found:#?}");
    assert_eq!(bench.ok(&["verify", "../part.tgz", "--policy", "lenient"]).stdout, "");
    let tar = bench.top().join("spoilt.tar");
    let mut writer = tar::Builder::new(fs::File::create(&tar).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        writer.append_data(&mut header, name, bytes).unwrap();
    };
    add("json", bench.read(".pvr/json").as_bytes());
    add(&format!("objects/{}", ObjectId::of(IMAGE.as_bytes())), b"hsqs but others");
    writer.into_inner().unwrap();
    let found = findings(&bench, &["verify", "../spoilt.tar"]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("web/lxc.container.conf: its object") && found[0].contains("is missing"),
        "{found:#?}"
    );
    assert!(found[1].starts_with("web/root.squashfs: its object has other bytes"), "{found:#?}");
}
