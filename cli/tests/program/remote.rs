//! Commands that go over the network, against a device that does what it should, and one that does not.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Ran, noted};
use crate::device::{Device, Fault, Progress};

/// A bench that has committed a container, and a device that runs it.
fn both() -> (Bench, Device) {
    let bench = Bench::with_web();
    // Large enough to come in more than one piece.
    bench.write("web/root.squashfs", vec![7; 300_000]);
    bench.ok(&["commit", "-m", "web: first"]);
    let device = of(&bench);
    (bench, device)
}

fn of(bench: &Bench) -> Device {
    let objects = fs::read_dir(bench.path(".pvr/objects")).unwrap();
    Device::running(&bench.read(".pvr/json"), objects.map(|entry| fs::read(entry.unwrap().path()).unwrap()))
}

/// The program beside the repository.
fn beside(bench: &Bench, args: &[&str]) -> Ran {
    noted(args, bench.command(args).current_dir(bench.top()).output().unwrap().into())
}

/// It fails with this code, says all of this, and what to do.
fn fails(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "should say {part:?}: {}", ran.stderr);
    }
}

/// What lies beside the repository.
fn names(bench: &Bench) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(bench.top()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A clone of the device, at `copy`.
fn in_clone(bench: &Bench, args: &[&str]) -> Ran {
    noted(args, bench.command(args).current_dir(bench.top().join("copy")).output().unwrap().into())
}

fn cloned(bench: &Bench, device: &Device) {
    let ran = beside(bench, &["clone", &device.url(), "copy"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn a_clone_has_the_state_byte_for_byte_and_every_file() {
    let (bench, device) = both();
    for (number, end) in ["", "/", "/cgi-bin", "/cgi-bin/pvr", "/cgi-bin/pvr/"].iter().enumerate() {
        let copy = format!("copy{number}");
        let ran = beside(&bench, &["clone", &format!("{}{end}", device.url()), &copy]);
        assert_eq!(ran.code, 0, "{end}: {}", ran.stderr);
        let root = bench.top().join(&copy);
        let json: Ran = bench.command(&["json", "-c"]).current_dir(&root).output().unwrap().into();
        assert_eq!(json.stdout, device.store().state);
        assert_eq!(fs::read(root.join("web/root.squashfs")).unwrap(), vec![7; 300_000]);
        let status: Ran = bench.command(&["status"]).current_dir(&root).output().unwrap().into();
        assert_eq!(status.stdout, "");
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        let config = fs::read_to_string(root.join(".pvr/config")).unwrap();
        let url = format!("{}{}", device.url(), end.trim_end_matches('/'));
        assert!(config.contains(&format!("\"DefaultGetUrl\": \"{url}\"")), "{config}");
        assert!(config.contains(&format!("\"DefaultPostUrl\": \"{url}\"")), "{config}");
    }
    let ran = beside(&bench, &["clone", &format!("127.0.0.1:{}", device.url().rsplit(':').next().unwrap())]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    fails(&beside(&bench, &["clone", &device.url(), "copy0"]), 1, &["copy0 exists and is not empty", "hint:"]);
}

#[test]
fn parts_and_other_repositories_can_be_cloned() {
    let (bench, device) = both();
    let ran = beside(&bench, &["clone", &format!("{}#web/run.json,_sigs", device.url()), "copy"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json = in_clone(&bench, &["json", "-c"]).stdout;
    assert!(json.contains("web/run.json") && json.contains("#spec") && !json.contains("web/root.squashfs\""), "{json}");
    assert_eq!(device.count("/blob"), 0, "no object was asked for");
    for from in ["repo", "repo/.pvr"] {
        let ran = beside(&bench, &["clone", from, &from.replace("repo", "copy-of-repo").replace("/.", "-")]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    assert_eq!(fs::read(bench.top().join("copy-of-repo-pvr/web/root.squashfs")).unwrap(), vec![7; 300_000]);
}

#[test]
fn a_download_that_breaks_goes_on_where_it_broke() {
    let (bench, device) = both();
    let big = formats::object::ObjectId::of(&[7; 300_000]);
    let blob = format!("GET /cgi-bin/pvr/objects/{big}/blob");
    device.fails(&blob, &[Fault::Breaks(100_000), Fault::Breaks(50_000), Fault::Works]);
    cloned(&bench, &device);
    let log = device.store().log.clone();
    let from: Vec<_> = log.iter().filter_map(|line| line.strip_prefix(&blob)).collect();
    assert_eq!(from, ["", " from 100000", " from 150000"], "{log:?}");
    let left = fs::read_dir(bench.top().join("copy/.pvr/objects")).unwrap();
    let partial = left.filter(|entry| entry.as_ref().unwrap().path().extension().is_some());
    assert_eq!(partial.count(), 0, "no partial file is left");
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let (bench, device) = both();
    device.store().has_ranges = false;
    let big = formats::object::ObjectId::of(&[7; 300_000]);
    device.fails(&format!("GET /cgi-bin/pvr/objects/{big}/blob"), &[Fault::Breaks(100_000), Fault::Works]);
    cloned(&bench, &device);
    assert_eq!(fs::read(bench.top().join("copy/web/root.squashfs")).unwrap(), vec![7; 300_000]);
}

#[test]
fn what_another_run_left_is_taken_up_and_thrown_away_if_it_is_wrong() {
    let (bench, device) = both();
    let big = formats::object::ObjectId::of(&[7; 300_000]);
    let pool = bench.top().join("pool");
    for (left, first) in
        [(vec![7; 200_000], " from 200000"), (vec![8; 200_000], " from 200000"), (vec![7; 300_000], "")]
    {
        fs::create_dir(&pool).unwrap();
        fs::write(pool.join(format!("{big}.part")), &left).unwrap();
        device.store().log.clear();
        let ran = beside(&bench, &["clone", "--objects", "pool", &device.url(), "copy"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(device.count(&format!("{big}/blob{first}")), usize::from(left.len() < 300_000), "{left:?}");
        assert_eq!(fs::read(bench.top().join("copy/web/root.squashfs")).unwrap(), vec![7; 300_000]);
        fs::remove_dir_all(&pool).unwrap();
        fs::remove_dir_all(bench.top().join("copy")).unwrap();
    }
}

#[test]
fn what_cannot_be_had_leaves_nothing_and_says_why() {
    let big = formats::object::ObjectId::of(&[7; 300_000]);
    let blob = format!("GET /cgi-bin/pvr/objects/{big}/blob");
    let record = format!("GET /cgi-bin/pvr/objects/{big}");
    let state = "GET /cgi-bin/pvr/steps/current/state";
    let info = "GET /.pvrremote";
    let page = || Fault::Answer(200, "Content-Type: text/html\r\n", "<html>log in</html>".into());
    let says = |status, text: &str| Fault::Answer(status, "", text.into());
    let around = || Fault::Answer(302, "Location: /.pvrremote\r\n", String::new());
    let lies = |text: &str| says(200, text);
    let elsewhere = format!(r#"{{"sha256sum":"{big}","size":"1","signed-geturl":"file:///etc/passwd"}}"#);
    let other =
        format!(r#"{{"sha256sum":"{}","size":"1","signed-geturl":"http://x"}}"#, formats::object::ObjectId::of(b""));
    let cases: Vec<(&str, Fault, i32, &[&str])> = vec![
        (&blob, Fault::Lies, 3, &["sent other bytes for web/root.squashfs", "hint:"]),
        (&blob, Fault::Breaks(0), 4, &["broke", "hint: run the command again"]),
        (&blob, Fault::Swells, 3, &["longer than the 300000 bytes that were announced"]),
        (&blob, says(404, "gone"), 3, &["does not know", "gone"]),
        (&blob, page(), 3, &["is a web page"]),
        (&record, says(404, "gone"), 3, &["status 404", "hint: web/root.squashfs needs this object"]),
        (&record, lies(&elsewhere), 4, &["signed-geturl is not an absolute address"]),
        (&record, lies(&other), 4, &["about another object"]),
        (&record, lies("[]"), 4, &["not an object"]),
        (state, says(500, "no\u{1b}[2Jmemory"), 3, &["status 500", "no [2Jmemory"]),
        (state, page(), 4, &["is a web page", "hint:"]),
        (state, lies("{"), 3, &["steps/current/state: line 1", "nothing was changed"]),
        (state, lies(r##"{"#spec":"pantavisor-service-system@1","../x":"1"}"##), 3, &["\"../x\" cannot be used"]),
        (state, lies(r##"{"#spec":"other@1"}"##), 3, &["other@1"]),
        (state, lies(&" ".repeat((2 << 20) + 1)), 4, &["longer than"]),
        (info, page(), 4, &["is a web page", "12368"]),
        (info, around(), 4, &["in circles", "hint:"]),
        (info, says(401, "who are you"), 3, &["does not let us in", "who are you"]),
        (info, lies(r#"{"pvr-spec":"pvr-9"}"#), 4, &["it speaks \"pvr-9\""]),
        (info, lies(r#"{"pvr-spec":"pvr-pantahub-1"}"#), 4, &["it has no json-get-url"]),
    ];
    for (number, (request, fault, code, parts)) in cases.into_iter().enumerate() {
        let (bench, device) = both();
        device.fails(request, std::slice::from_ref(&fault));
        if request == info && matches!(fault, Fault::Answer(200, "Content-Type: text/html\r\n", _)) {
            device.fails("GET /cgi-bin/pvr/.pvrremote", &[fault]);
        }
        let before = names(&bench);
        let ran = beside(&bench, &["clone", &device.url(), "copy"]);
        fails(&ran, code, parts);
        assert!(!ran.stderr.contains('\u{1b}'), "{number}");
        assert_eq!(names(&bench), before, "{number}: nothing is left");
    }
}

#[test]
fn a_clone_that_is_killed_leaves_no_directory_and_the_next_one_sweeps() {
    let (bench, device) = both();
    let before = names(&bench);
    let big = formats::object::ObjectId::of(&[7; 300_000]);
    device.fails(&format!("GET /cgi-bin/pvr/objects/{big}/blob"), &[Fault::Hangs, Fault::Works]);
    let mut clone = bench.command(&["clone", &device.url(), "copy"]).current_dir(bench.top()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while device.count("/blob") < 2 {
        assert!(Instant::now() < end, "the clone asks for its objects");
        std::thread::sleep(Duration::from_millis(10));
    }
    clone.kill().unwrap();
    clone.wait().unwrap();
    assert!(!bench.top().join("copy").exists());
    assert_ne!(names(&bench), before);
    cloned(&bench, &device);
    fs::remove_dir_all(bench.top().join("copy")).unwrap();
    assert_eq!(names(&bench), before);
}

#[test]
fn objects_come_side_by_side_and_not_more_than_five_at_a_time() {
    let bench = Bench::with_web();
    for number in 0..20 {
        bench.write(&format!("web/data/{number}"), format!("object {number}"));
    }
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    let device = of(&bench);
    device.store().delay = Duration::from_millis(50);
    cloned(&bench, &device);
    assert_eq!(device.store().most_at_once, 5);
}

#[test]
fn who_does_not_answer_is_given_up_and_named() {
    let bench = Bench::with_web();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = beside(&bench, &["clone", &format!("http://{closed}"), "copy"]);
    fails(&ran, 4, &[&format!("{closed} refuses connections"), "hint: is the device on"]);
    fails(
        &beside(&bench, &["clone", "http://no-such-host.invalid", "copy"]),
        4,
        &["no host called no-such-host.invalid"],
    );
    let nothing = Device::running("{}", []);
    nothing.fails("GET", &[Fault::Answer(404, "", String::new())]);
    fails(&beside(&bench, &["clone", &nothing.url(), "copy"]), 3, &["neither a device nor a repository", "hint:"]);
    let deaf = Device::running("{}", []);
    deaf.fails("GET", &[Fault::Hangs]);
    let ran = beside(&bench, &["clone", "--timeout", "1", &deaf.url(), "copy"]);
    fails(&ran, 4, &["took too long", "hint:"]);
    let speaks = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = speaks.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in speaks.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &stream, b"SSH-2.0-dropbear\r\n\r\n\r\n");
        }
    });
    fails(&beside(&bench, &["clone", &format!("http://{address}"), "copy"]), 4, &[&address.to_string(), "hint:"]);
    fails(&beside(&bench, &["clone", "user/nick"]), 1, &["no hub is configured", "hint:"]);
}

#[test]
fn a_busy_device_is_given_the_time_that_it_asks_for() {
    let (bench, device) = both();
    let busy = |seconds| Fault::Answer(503, seconds, "an update is under way".into());
    device.fails("GET /cgi-bin/pvr/steps/current/state", &[busy("Retry-After: 1\r\n"), Fault::Works]);
    let ran = beside(&bench, &["clone", &device.url(), "copy"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("is busy; trying again in 1 s"), "{}", ran.stderr);
    bench.write("web/root.squashfs", "2");
    bench.ok(&["commit"]);
    device.fails("POST /cgi-bin/pvr/steps", &[busy("Retry-After: 3600\r\n")]);
    let ran = bench.run(&["post", &device.url()]);
    fails(
        &ran,
        3,
        &["not ready when the new revision was posted: an update is under way", "hint: try again in 3600 s"],
    );
    assert_eq!(device.count("POST /cgi-bin/pvr/steps"), 1);
}

#[test]
fn get_takes_the_new_state_over_and_reset_brings_its_files() {
    let (bench, device) = both();
    cloned(&bench, &device);
    assert!(in_clone(&bench, &["get"]).stderr.contains("nothing new"));
    bench.write("web/root.squashfs", "second");
    bench.write("web/new.conf", "x");
    fs::remove_file(bench.path("web/src.json")).unwrap();
    bench.ok(&["add"]);
    bench.ok(&["commit", "-m", "second"]);
    bench.ok(&["post", &device.url()]);
    device.store().state = bench.read(".pvr/json");
    device.store().log.clear();
    let ran = in_clone(&bench, &["get"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "A web/new.conf\nC _sigs/web.json\nC web/root.squashfs\nD web/src.json\n");
    assert_eq!(device.count("/blob"), 2, "only what is new");
    assert_eq!(in_clone(&bench, &["json", "-c"]).stdout, device.store().state);
    assert_eq!(in_clone(&bench, &["reset"]).code, 0);
    assert_eq!(fs::read(bench.top().join("copy/web/root.squashfs")).unwrap(), b"second");
}

#[test]
fn get_stops_before_it_loses_what_was_changed_here() {
    let (bench, device) = both();
    cloned(&bench, &device);
    let copy = |path: &str| bench.top().join("copy").join(path);
    bench.write("web/root.squashfs", "theirs");
    bench.write("web/extra", "theirs");
    bench.ok(&["add"]);
    bench.ok(&["commit"]);
    bench.ok(&["post", &device.url()]);
    device.store().state = bench.read(".pvr/json");
    let before = in_clone(&bench, &["json", "-c"]).stdout;
    // Not committed.
    fs::write(copy("web/root.squashfs"), "ours").unwrap();
    fs::write(copy("web/extra"), "ours too").unwrap();
    fails(&in_clone(&bench, &["get"]), 1, &["would be lost: web/extra, web/root.squashfs", "hint:"]);
    // The same bytes are no loss.
    fs::write(copy("web/extra"), "theirs").unwrap();
    fails(&in_clone(&bench, &["get"]), 1, &["would be lost: web/root.squashfs\n"]);
    // Committed and never posted.
    assert_eq!(in_clone(&bench, &["commit"]).code, 0);
    fails(&in_clone(&bench, &["get"]), 1, &["web/root.squashfs"]);
    assert_ne!(in_clone(&bench, &["json", "-c"]).stdout, before);
    // What is not touched is not asked about.
    let parts = "#web/extra";
    assert_eq!(in_clone(&bench, &["get", parts]).stdout, "A web/extra\n");
    let ran = in_clone(&bench, &["get", "--force", &device.url()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(in_clone(&bench, &["json", "-c"]).stdout, device.store().state);
    fails(&in_clone(&bench, &["get", "#wbe"]), 1, &["has a part \"wbe\"", "hint:"]);
    // Posted is not lost.
    let theirs = device.store().state.clone();
    assert_eq!(in_clone(&bench, &["reset"]).code, 0);
    fs::write(copy("web/root.squashfs"), "third").unwrap();
    assert_eq!(in_clone(&bench, &["commit"]).code, 0);
    assert_eq!(in_clone(&bench, &["post"]).code, 0);
    let ran = in_clone(&bench, &["get"]);
    assert_eq!(ran.code, 0, "the device went back: {}", ran.stderr);
    assert_eq!(in_clone(&bench, &["json", "-c"]).stdout, theirs);
}

#[test]
fn merge_keeps_what_they_do_not_have() {
    let (bench, device) = both();
    cloned(&bench, &device);
    fs::write(bench.top().join("copy/own"), "ours").unwrap();
    assert_eq!(in_clone(&bench, &["add", "own"]).code, 0);
    assert_eq!(in_clone(&bench, &["commit", "--no-sign"]).code, 0);
    bench.write("web/run.json", crate::bench::RUN_JSON.replace("\"app\"", "\"root\""));
    bench.ok(&["commit"]);
    bench.ok(&["post", &device.url()]);
    device.store().state = bench.read(".pvr/json");
    let ran = in_clone(&bench, &["merge", "#web,_sigs/web.json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "C _sigs/web.json\nC web/run.json\n"), "{}", ran.stderr);
    assert!(in_clone(&bench, &["json", "-c"]).stdout.contains("\"own\""));
}

#[test]
fn post_sends_what_is_missing_and_then_the_revision() {
    let (bench, device) = both();
    bench.write("web/root.squashfs", "second");
    bench.write("web/known", "the device has this one already");
    bench.ok(&["add"]);
    bench.ok(&["commit", "-m", "web: second"]);
    let known = b"the device has this one already".to_vec();
    device.store().objects.insert(formats::object::ObjectId::of(&known).to_string(), known);
    let ran = bench.ok(&["post", &device.url()]);
    let digest = bench.revision().digest().to_string();
    let sentence = format!("Successfully posted Revision locals/made-1 ({}) to device id dev-7\n", &digest[..8]);
    assert!(ran.stderr.contains(&sentence), "{}", ran.stderr);
    assert_eq!((ran.stdout.as_str(), device.count("PUT "), device.count("POST /cgi-bin/pvr/objects/")), ("", 1, 2));
    let state = bench.read(".pvr/json");
    assert_eq!(device.store().posted, [format!(r#"{{"commit-msg":"web: second","rev":-1,"state":{state}}}"#)]);
    // The address is remembered; the name, the message and more can be given.
    let args = ["post", "-m", "again", "--rev", "locals/x", "--retry", "-e", r#"{"meta":{"a":null}}"#];
    assert!(bench.ok(&args).stderr.contains("Revision locals/x ("));
    let wanted =
        format!(r#"{{"commit-msg":"again","meta":{{"a":null}},"retry":true,"rev":"locals/x","state":{state}}}"#);
    assert_eq!(device.store().posted[1], wanted);
    assert!(bench.ok(&["post", "--rev", "7"]).stderr.contains("Revision 7 ("));
    assert!(device.store().posted[2].contains(r#""rev":7,"#));
    assert_eq!(bench.run(&["post", "--rev", "locals/../x"]).code, 2);
    bench.refused(&["post", "-e", "[]"], &["envelope", "hint:"]);
    let long = "ä".repeat(200);
    assert!(bench.ok(&["post", "-m", &long]).stderr.contains("warning: devices keep 256 bytes"));
    assert!(device.store().posted[3].contains(&format!("\"{}\"", "ä".repeat(128))));
}

#[test]
fn a_device_in_recovery_runs_nothing_and_is_offered_every_object() {
    let (bench, device) = both();
    bench.write("web/root.squashfs", "second");
    bench.ok(&["add"]);
    bench.ok(&["commit", "-m", "web: second"]);
    let nothing = Fault::Answer(404, "", "the device is in recovery: no revision runs".into());
    device.fails("GET /cgi-bin/pvr/steps/current/state", &[nothing]);
    bench.ok(&["post", &device.url()]);
    let revision = bench.revision();
    let objects: std::collections::BTreeSet<_> = revision.objects().map(|(_, id)| id).collect();
    assert_eq!(device.count("POST /cgi-bin/pvr/objects/"), objects.len());
    assert_eq!(device.store().posted.len(), 1);
}

#[test]
fn a_post_that_is_refused_says_what_the_device_says() {
    let (bench, device) = both();
    device.fails(
        "POST /cgi-bin/pvr/steps",
        &[
            Fault::Answer(422, "", "State not fully covered by signatures".into()),
            Fault::Answer(507, "", "4 MB are missing".into()),
            Fault::Answer(409, "", "this content was tried and failed".into()),
        ],
    );
    let config = bench.read(".pvr/config");
    fails(&bench.run(&["post", &device.url()]), 3, &["(status 422): State not fully covered by signatures"]);
    fails(&bench.run(&["post", &device.url()]), 3, &["no room left", "4 MB are missing", "hint:"]);
    fails(&bench.run(&["post", &device.url()]), 3, &["(status 409): this content was tried and failed"]);
    assert_eq!(bench.read(".pvr/config"), config, "what failed is not remembered");
    bench.write("web/root.squashfs", "2");
    bench.ok(&["commit"]);
    device.fails("PUT /cgi-bin/pvr/up", &[Fault::Answer(422, "", "the bytes do not have that hash".into())]);
    fails(&bench.run(&["post", &device.url()]), 3, &["refused when web/root.squashfs was sent (status 422)"]);
    // Nothing is asked of a device when something is wrong here.
    let pool = bench.path(".pvr/objects").join(formats::object::ObjectId::of(b"2").to_string());
    fs::write(pool, "3").unwrap();
    bench.refused(&["post", &device.url()], &["web/root.squashfs: the object", "does not have the bytes"]);
    bench.refused(&["post"], &["remembers no device", "hint: pvr post ADDRESS"]);
    bench.refused(&["post", "."], &["is a directory", "pvr put"]);
    bench.refused(&["post", &format!("{}#web", device.url())], &["parts (web) cannot be sent"]);
    assert!(device.store().posted.is_empty());
}

#[test]
fn an_upload_that_breaks_is_sent_again() {
    let (bench, device) = both();
    bench.write("web/root.squashfs", vec![9; 2_000_000]);
    bench.ok(&["commit"]);
    device.fails("PUT /cgi-bin/pvr/up", &[Fault::Answer(502, "", String::new()), Fault::Works]);
    bench.ok(&["post", &device.url()]);
    assert_eq!((device.count("PUT "), device.store().posted.len()), (2, 1));
}

const QUEUED: Progress = Progress::Report(r#"{"status":"QUEUED","status-msg":"Retried 0 of 3","progress":5}"#);
const TESTING: Progress =
    Progress::Report(r#"{"status":"TESTING","status-msg":"Awaiting to see if update is stable","progress":75}"#);

#[test]
fn wait_ends_when_the_device_has_decided() {
    let (bench, device) = both();
    let done = Progress::Report(r#"{"status":"DONE","status-msg":"Update finished","progress":100}"#);
    device.store().progress = [QUEUED, QUEUED, Progress::Gone, TESTING, done].into();
    let ran = bench.ok(&["post", &device.url(), "--wait"]);
    let said: Vec<_> = ran.stderr.lines().skip_while(|line| !line.starts_with("Successfully")).skip(1).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[0], "QUEUED 5% Retried 0 of 3");
    assert!(said[1].ends_with("no answer; it may be rebooting"), "{said:?}");
    assert_eq!(said[3], "DONE 100% Update finished");
    assert_eq!(device.count("GET /cgi-bin/pvr/steps/locals/made-1/progress"), 5);
    let updated = Progress::Report(r#"{"status":"UPDATED","progress":100}"#);
    device.store().progress = [updated].into();
    assert!(bench.ok(&["post", "--wait=60"]).stderr.contains("after its next boot"));
}

#[test]
fn wait_fails_with_the_reason_of_the_device() {
    let (bench, device) = both();
    let wait = |progress: &[Progress], args: &[&str]| {
        device.store().progress = progress.iter().cloned().collect();
        bench.run(&[&["post", &device.url()], args].concat())
    };
    let refused = r#"{"status":"WONTGO","status-msg":"Signature validation failed","progress":100}"#;
    fails(&wait(&[Progress::Report(refused)], &["--wait"]), 3, &["error: the device refused locals/made-1: Signature"]);
    let failed =
        r#"{"status":"ERROR","status-msg":"Status goal not reached","progress":100,"logs":"web: exit 1\nx\u001b[2J"}"#;
    let ran = wait(&[TESTING, Progress::Report(failed)], &["--wait"]);
    fails(&ran, 3, &["tried and gave up locals/made-1: Status goal not reached", "  web: exit 1\n  x [2J"]);
    fails(&wait(&[TESTING], &["--wait=1"]), 3, &["not in use in the time", "it is TESTING 75%", "--wait=SECONDS"]);
    fails(&wait(&[Progress::Report("{}")], &["--wait"]), 4, &["cannot be used"]);
}

#[test]
fn put_is_for_repositories_and_devices_say_so() {
    let (bench, device) = both();
    fails(&bench.run(&["put", &device.url()]), 3, &["does not let its state be replaced", "pvr post"]);
    let other = bench.top().join("other");
    fs::create_dir(&other).unwrap();
    let init: Ran = bench.command(&["init"]).current_dir(&other).output().unwrap().into();
    assert_eq!(init.code, 0);
    assert!(bench.ok(&["put", "../other"]).stderr.contains("2 objects sent"));
    assert_eq!(fs::read_to_string(other.join(".pvr/json")).unwrap(), bench.read(".pvr/json"));
    let reset: Ran = bench.command(&["reset"]).current_dir(&other).output().unwrap().into();
    assert_eq!(reset.code, 0, "{}", reset.stderr);
    assert_eq!(fs::read(other.join("web/root.squashfs")).unwrap(), vec![7; 300_000]);
    bench.refused(&["put", "."], &["into itself"]);
    // A repository behind a URL.
    device.fails("PUT /cgi-bin/pvr/steps/current/state", &[Fault::Answer(200, "", "{}".into())]);
    bench.write("web/root.squashfs", "2");
    bench.ok(&["commit"]);
    assert!(bench.ok(&["put", &device.url()]).stderr.contains("1 objects sent"));
}

#[test]
fn objects_go_ahead_of_their_state_and_a_remote_is_shown_as_it_says() {
    let (bench, device) = both();
    bench.write("web/root.squashfs", "another image");
    bench.ok(&["commit", "-m", "second"]);
    let said = bench.ok(&["putobjects", &device.url()]).stderr;
    assert!(said.contains("1 objects sent"), "{said}");
    assert!(device.store().posted.is_empty());
    let ran = bench.ok(&["remoteinfo", &device.url()]);
    assert!(ran.stdout.contains("\"pvr-spec\": \"pvr-pantahub-1\""), "{}", ran.stdout);
    fails(&bench.run(&["stepinfo", &device.url()]), 3, &["keeps no record of its revisions", "--wait"]);
    bench.refused(&["remoteinfo", "."], &["is a directory"]);
    bench.refused(&["remoteinfo"], &["remembers no address"]);
    let other = Bench::new();
    let ran = bench.ok(&["putobjects", other.repo().to_str().unwrap()]);
    assert!(ran.stderr.contains("2 objects sent"), "{}", ran.stderr);
}
