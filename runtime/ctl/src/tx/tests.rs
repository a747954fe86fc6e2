//! Whole commands, in directories and against a socket that answers as a device does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use formats::object::ObjectId;

use super::package::tests::{archive, packed};
use super::parts::tests::signature;
use super::{args, run};
use crate::failure::Failure;
use crate::tests::{Device, ok, refusal};

const SPEC: &str = r##""#spec":"pantavisor-service-system@1""##;

/// A directory for transactions, and for everything that they are about.
struct Desk {
    dir: tempfile::TempDir,
    socket: PathBuf,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), socket: "/nowhere/pv-ctrl".into() }
    }

    fn with(device: &Device) -> Self {
        Self { socket: device.socket(), ..Self::new() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Words that begin with `@` are paths of the desk.
    fn run(&self, line: &str) -> Result<String, Box<Failure>> {
        let word = |word: &str| word.strip_prefix('@').map_or_else(|| word.into(), |below| self.path(below).into());
        let own = ["-d".into(), self.path("tx").into(), "-s".into(), self.socket.clone().into()];
        let (options, command) =
            args::parse(own.into_iter().chain(line.split(' ').map(word)).collect::<Vec<OsString>>().into_iter())?;
        let mut out = Vec::new();
        run::run(&options, command, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn ok(&self, line: &str) -> String {
        self.run(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The code and the words of a command that fails.
    fn no(&self, line: &str) -> (u8, String) {
        match self.run(line) {
            Ok(said) => panic!("{line}: {said}"),
            Err(failure) => (failure.exit_code(), failure.to_string()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn names(&self, name: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path(name))
            .unwrap()
            .map(|one| one.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A package of a container with one object.
    fn package(&self, file: &str, name: &str, root: &[u8]) -> ObjectId {
        let id = ObjectId::of(root);
        let sig = signature(&[&format!("{name}/**")], &[&format!("_sigs/{name}.json")]);
        let json = format!(
            r#"{{{SPEC},"_sigs/{name}.json":{sig},"{name}/root-{id}":"{id}","{name}/run.json":{{ "name":"{name}" }}}}"#
        );
        let members = [("json", json.as_bytes()), (&format!("objects/{id}"), root)];
        self.write(file, &packed(&archive(&members)));
        id
    }
}

#[test]
fn a_local_transaction_makes_a_trail_and_the_next_one_begins_with_it() {
    let desk = Desk::new();
    let id = desk.package("web.pvrexport.tgz", "web", b"root");
    desk.ok("begin empty @objects");
    desk.ok("add @web.pvrexport.tgz");
    let shown = desk.ok("show");
    assert!(shown.starts_with(&format!(r#"{{{SPEC},"_sigs/web.json":{{"#)), "{shown}");
    assert!(shown.ends_with("\"web/run.json\":{ \"name\":\"web\" }}\n"), "{shown}");
    desk.ok("deploy @trails/0");
    assert_eq!(desk.read("trails/0/.pvr/json") + "\n", shown);
    assert_eq!(desk.read(&format!("trails/0/web/root-{id}")), "root");
    assert_eq!((desk.names("objects"), desk.names("trails")), (vec![id.to_string()], vec!["0".into()]));
    assert_eq!(desk.no("show").0, 1, "deployed is over");
    desk.ok("begin @trails/0 @objects");
    assert_eq!(desk.ok("show"), shown);
    let newer = desk.package("web.tgz", "web", b"newer");
    desk.ok("add @web.tgz");
    desk.ok("deploy @trails/0");
    assert!(!desk.path(&format!("trails/0/web/root-{id}")).exists());
    assert_eq!(desk.read(&format!("trails/0/web/root-{newer}")), "newer");
}

#[test]
fn a_device_gets_what_it_lacks_then_the_state_and_the_name_is_told() {
    let (here, new) = (ObjectId::of(b"here"), ObjectId::of(b"new"));
    let current = format!(r#"{{{SPEC},"old/x":"{here}"}}"#);
    let list = format!(r#"[{{"sha256":"{here}","size":"4"}}]"#);
    let device = Device::answering(vec![ok(&current), ok(&list), ok(""), ok(""), ok(""), ok(&current), ok("")]);
    let desk = Desk::with(&device);
    let json = format!(r#"{{"web/a":"{here}","web/b":"{new}"}}"#);
    let (one, two) = (format!("objects/{here}"), format!("objects/{new}"));
    desk.write("p.tar", &archive(&[("json", json.as_bytes()), (&one, b"here"), (&two, b"new")]));
    desk.ok("begin current");
    desk.ok("add @p.tar");
    desk.ok("remove old");
    assert_eq!(desk.ok("commit locals/x -m why"), "locals/x\n");
    assert_eq!(desk.no("commit").0, 1, "committed is over");
    desk.ok("begin current");
    let name = desk.ok("commit --json");
    assert!(
        name.starts_with(r#"{"revision":"locals/pvtx-"#)
            && name.contains(&ObjectId::of(current.as_bytes()).to_string()),
        "{name}"
    );
    let asked = device.asked();
    let heads: Vec<_> = asked.iter().map(|text| text.split(" HTTP").next().unwrap()).collect();
    let put = format!("PUT /objects/{new}");
    assert_eq!(
        heads[..5],
        ["GET /steps/current", "GET /objects", &put, "PUT /steps/locals/x", "PUT /steps/locals/x/commitmsg"]
    );
    assert!(asked[2].ends_with("\r\n\r\nnew") && asked[4].ends_with("\r\n\r\nwhy"));
    assert!(asked[3].ends_with(&format!(r#"{{{SPEC},"web/a":"{here}","web/b":"{new}"}}"#)), "{}", asked[3]);
    assert!(heads[6].starts_with("PUT /steps/locals/pvtx-") && heads[6].len() < 80, "{}", heads[6]);
}

#[test]
fn a_device_that_has_no_time_or_no_trust_leaves_the_transaction_as_it_was() {
    let later = refusal(503, "Retry-After: 600\r\n", "an update is under way");
    let device = Device::answering(vec![later, refusal(422, "", "not signed"), ok("")]);
    let desk = Desk::with(&device);
    desk.ok("begin empty");
    assert_eq!(desk.no("commit locals/x").0, 75);
    assert_eq!(desk.no("commit locals/x"), (70, "not signed (HTTP 422)".into()));
    assert_eq!(desk.ok("commit locals/x"), "locals/x\n");
    drop(device.asked());
}

#[test]
fn an_upload_that_the_device_refuses_says_why() {
    let object = vec![b'x'; 4_000_000];
    let id = ObjectId::of(&object);
    let device = Device::answering(vec![ok("[]"), refusal(507, "", "no space")]);
    let desk = Desk::with(&device);
    let json = format!(r#"{{"web/a":"{id}"}}"#);
    desk.write("p", &archive(&[("json", json.as_bytes()), (&format!("objects/{id}"), &object)]));
    desk.ok("begin empty");
    assert_eq!(desk.no("add @p"), (48, "no space (HTTP 507)".into()));
    assert_eq!(desk.ok("show"), format!("{{{SPEC}}}\n"));
    drop(device.asked());
}

#[test]
fn a_package_that_cannot_be_used_leaves_everything_as_it_was() {
    let desk = Desk::new();
    let id = desk.package("good", "web", b"root");
    desk.ok("begin empty @objects");
    desk.ok("add @good");
    let before = (desk.read("tx/current.json"), desk.read("tx/.status"), desk.names("objects"));
    let (json, name) = (format!(r#"{{"a/b":"{id}"}}"#), format!("objects/{id}"));
    let missing = format!(r#"{{"a/b":"{}"}}"#, ObjectId::of(b"missing"));
    let whole = packed(&archive(&[("json", json.as_bytes())]));
    for (bytes, exit, why) in [
        (archive(&[("json", json.as_bytes()), (&name, b"other")]), 60, "other bytes"),
        (archive(&[("json", json.as_bytes()), ("../x", b"")]), 255, "../x"),
        (archive(&[("json", missing.as_bytes())]), 70, "neither in"),
        (br#"{"web":1}"#.to_vec(), 70, "web"),
        (br##"{"#spec":"another@1"}"##.to_vec(), 70, "another@1"),
        (br#"{"_sigs/x.json":{}}"#.to_vec(), 70, "_sigs/x.json"),
        (whole[..whole.len() / 2].to_vec(), 255, "too early"),
    ] {
        desk.write("bad", &bytes);
        let (code, said) = desk.no("add @bad");
        assert!(code == exit && said.contains(why), "{code} {said}");
        assert_eq!((desk.read("tx/current.json"), desk.read("tx/.status"), desk.names("objects")), before, "{why}");
    }
    assert_eq!(desk.no("add @nowhere").0, 255);
    assert_eq!(desk.no("remove nothing").0, 1);
}

#[test]
fn each_transaction_has_its_own_end_and_one_is_open_at_a_time() {
    let desk = Desk::new();
    for line in ["add x", "remove x", "show", "commit", "deploy @t"] {
        assert!(desk.no(line).1.contains("no transaction"), "{line}");
    }
    desk.ok("begin empty @objects");
    assert!(desk.no("begin empty").1.contains("already"));
    assert!(desk.no("queue process empty @q @o").1.contains("already"));
    assert!(desk.no("commit").1.contains("deploy"));
    for bad in ["deploy /", "deploy @t/..", "deploy @t/.hidden"] {
        assert_eq!(desk.no(bad).0, 1, "{bad}");
    }
    desk.ok("abort");
    desk.ok("abort");
    desk.ok("begin empty");
    assert!(desk.no("deploy @t").1.contains("commit"));
    assert_eq!(desk.names("tx"), [".lock", ".status", "current.json"]);
}

#[test]
fn a_state_that_none_could_run_is_nothing_to_begin_with() {
    let desk = Desk::new();
    for (text, why) in [("", "ends inside"), ("{}", "#spec"), (r##"{"#spec":"x"}"##, "only"), ("[]", "no state")] {
        desk.write("state", text.as_bytes());
        let (code, said) = desk.no("begin @state");
        assert!(code == 70 && said.contains(why), "{text}: {code} {said}");
    }
    std::fs::create_dir(desk.path("dir")).unwrap();
    assert_eq!(desk.no("begin @dir").0, 255);
    assert_eq!(desk.no("begin current").0, 1, "there is no device");
    assert_eq!(desk.no("show").0, 1);
}

#[test]
fn a_power_cut_between_two_files_leaves_no_transaction_or_all_of_it() {
    let desk = Desk::new();
    desk.write("state", format!(r#"{{{SPEC},"a.json":1}}"#).as_bytes());
    desk.ok("begin @state");
    let (status, state) = (desk.read("tx/.status"), desk.read("tx/current.json"));
    desk.ok("abort");
    assert_eq!(desk.names("tx"), [".lock", ".status"]);
    // Begun and cut before the status.
    desk.write("tx/current.json", state.as_bytes());
    assert!(desk.no("show").1.contains("no transaction"));
    desk.ok("begin empty");
    assert_eq!(desk.ok("show"), format!("{{{SPEC}}}\n"));
    // What was being replaced is no obstacle.
    desk.write("tx/.current.json.tmp", b"{\"half");
    desk.write("tx/..status.tmp", b"{\"half");
    desk.write("more", br#"{"b.json":2}"#);
    desk.write("tx/.status", status.as_bytes());
    std::fs::remove_file(desk.path("tx/current.json")).unwrap();
    assert!(desk.no("show").1.contains("current.json"));
    desk.ok("abort");
    // Of another version, too.
    desk.write("tx/.status", br#"{"pvtx":9}"#);
    assert!(desk.no("begin empty").1.contains("abort"));
    desk.ok("abort");
    desk.ok("begin @state @objects");
    desk.ok("add @more");
    assert_eq!(desk.ok("show"), format!("{{{SPEC},\"a.json\":1,\"b.json\":2}}\n"));
}

#[test]
fn a_queue_is_collected_now_and_made_later_in_its_order() {
    let desk = Desk::new();
    assert!(desk.no("queue unpack @x").1.contains("no queue"));
    let (web, app) = (desk.package("web.pvrexport.tgz", "web", b"web"), desk.package("app.tar", "app", b"app"));
    desk.ok("queue new @q @objects");
    desk.ok("queue unpack @web.pvrexport.tgz");
    desk.ok("queue unpack @app.tar");
    desk.ok("queue remove web");
    assert_eq!(desk.names("q"), ["001__web", "002__app", "003__web.remove"]);
    let mut objects = [web.to_string(), app.to_string()];
    objects.sort();
    assert_eq!(desk.names("objects"), objects);
    assert_eq!(desk.no("show").0, 1, "nothing is changed yet");
    desk.ok("queue process empty");
    let shown = desk.ok("show");
    assert!(shown.contains("\"app/run.json\"") && !shown.contains("web"), "{shown}");
    desk.ok("deploy @trails/locals/x");
    assert_eq!(desk.read("trails/locals/x/app/run.json"), r#"{ "name":"app" }"#);
    assert!(desk.no("queue new @q @objects").1.contains("entries already"));
    // Another one than the last, and one that does not come to its end.
    std::fs::create_dir(desk.path("other")).unwrap();
    desk.write("other/001__nothing.remove", b"");
    let (code, said) = desk.no("queue process @trails/locals/x @other @objects");
    assert!(code == 1 && said.contains("nothing"), "{code} {said}");
    assert_eq!(desk.no("show").0, 1);
    desk.package("bad", "web", b"web");
    let bytes = std::fs::read(desk.path("bad")).unwrap();
    desk.write("bad", &bytes[..bytes.len() - 20]);
    assert_eq!(desk.no("queue unpack @bad").0, 255);
    assert_eq!(desk.names("q").len(), 3);
}

#[test]
fn objects_on_another_disk_than_the_trail_are_no_objects_of_it() {
    let desk = Desk::new();
    let other = Path::new("/dev/shm");
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&path.metadata().unwrap());
    if !other.is_dir() || device(other) == device(desk.dir.path()) {
        eprintln!("skipped: this machine has no second file system at {}", other.display());
        return;
    }
    desk.ok("begin empty @objects");
    let there = tempfile::tempdir_in(other).unwrap();
    let (code, said) = desk.no(&format!("deploy {}/0", there.path().display()));
    assert!(code == 255 && said.contains("two file systems"), "{said}");
}
