//! Whole commands against a socket that answers from a list.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use formats::object::ObjectId;

use crate::failure::Failure;
use crate::{args, run};

/// Answers each connection with the next of these, and keeps what was asked.
pub(crate) struct Device {
    directory: tempfile::TempDir,
    asked: JoinHandle<Vec<String>>,
}

impl Device {
    pub(crate) fn answering(answers: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(directory.path().join("pv-ctrl")).unwrap();
        let answer_all = move || answers.into_iter().map(|answer| exchange(&socket, &answer)).collect();
        Self { directory, asked: std::thread::spawn(answer_all) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("pv-ctrl")
    }

    fn run(&self, line: &str) -> (Result<(), Box<Failure>>, String) {
        self.run_on(line, false)
    }

    fn run_on(&self, line: &str, is_terminal: bool) -> (Result<(), Box<Failure>>, String) {
        let words = ["-s".into(), self.socket().into()].into_iter().chain(line.split(' ').map(OsString::from));
        let mut out = Vec::new();
        let (options, command) = args::parse(words).unwrap();
        let done = run::run(options, command, &mut out, is_terminal).map(|code| assert_eq!(code, 0));
        (done, String::from_utf8(out).unwrap())
    }

    pub(crate) fn asked(self) -> Vec<String> {
        self.asked.join().unwrap()
    }
}

fn exchange(socket: &UnixListener, answer: &str) -> String {
    let mut stream = socket.accept().unwrap().0;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            // An early answer is given before the body is there.
            if body.len() >= length.parse().unwrap() || !answer.starts_with("HTTP/1.1 200") {
                stream.write_all(answer.as_bytes()).unwrap();
                return text.replacen("\r\nHost: localhost\r\n", " ", 1).replacen("Connection: close\r\n", "", 1);
            }
        }
        let read = stream.read(&mut piece).unwrap();
        bytes.extend_from_slice(&piece[..read]);
    }
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn refusal(code: u16, fields: &str, message: &str) -> String {
    let body = format!(r#"{{"Error":"{message}"}}"#);
    format!("HTTP/1.1 {code} No\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

#[test]
fn a_pipe_gets_the_answer_and_a_terminal_gets_a_table() {
    let list = r#"[{"name":"web","status":"STARTED"}]"#;
    let device = Device::answering(vec![ok(list), ok(r#"{"revision":"7"}"#), ok(list), ok("[]"), ok(list)]);
    assert_eq!(device.run("ls").1, format!("{list}\n"));
    let (_, text) = device.run_on("ls", true);
    assert!(text.starts_with("revision  7\n") && text.contains("\nNAME") && text.contains("\nweb"), "{text}");
    assert!(device.run("--table groups ls").1.starts_with("NAME  STATUS"));
    assert_eq!(device.run_on("--json containers ls", true).1, format!("{list}\n"));
    let asked = device.asked();
    assert_eq!(asked[0], "GET /containers HTTP/1.1 Content-Length: 0\r\n\r\n");
}

#[test]
fn orders_are_what_the_device_understands() {
    let device = Device::answering(vec![ok(""); 5]);
    for line in ["containers stop web", "signal ready", "cmd run locals/x --retry", "cmd reboot why", "rollback"] {
        let (done, text) = device.run(line);
        assert_eq!((done.is_ok(), text.as_str()), (true, ""), "{line}");
    }
    let asked: Vec<String> = device
        .asked()
        .iter()
        .map(|text| text.replace(" HTTP/1.1 Content-Length: ", " ").replace("\r\n\r\n", " "))
        .collect();
    assert_eq!(
        asked,
        [
            r#"PUT /containers/web 17 {"action":"stop"}"#,
            r#"POST /signal 29 {"type":"ready","payload":""}"#,
            r#"POST /commands 52 {"op":"LOCAL_RUN","payload":"locals/x","retry":true}"#,
            r#"POST /commands 38 {"op":"REBOOT_DEVICE","payload":"why"}"#,
            r#"POST /commands 30 {"op":"ROLLBACK","payload":""}"#,
        ]
    );
}

#[test]
fn a_code_is_shown_to_a_person_as_it_is_typed_and_to_a_script_as_json() {
    let answer = r#"{"code":"ABCD2345","expires_in":300}"#;
    let list = r#"[{"fingerprint":"0123456789ab","name":"me@host","date":""}]"#;
    let device = Device::answering(vec![ok(answer), ok(answer), ok(list), ok(list), ok("")]);
    assert_eq!(device.run_on("pair", true).1, "ABCD2345\nvalid for 5 minutes and one `pvr login ADDRESS`\n");
    assert_eq!(device.run("pair").1, format!("{answer}\n"));
    assert_eq!(device.run_on("pair ls", true).1, "NAME     DATE  FINGERPRINT\nme@host        0123456789ab\n");
    assert_eq!(device.run("pair ls").1, format!("{list}\n"));
    device.run("pair rm me@host").0.unwrap();
    let asked: Vec<_> = device.asked().iter().map(|text| text.split(" HTTP").next().unwrap().to_owned()).collect();
    assert_eq!(
        asked,
        ["POST /pairings", "POST /pairings", "GET /pairings", "GET /pairings", "DELETE /pairings/me@host"]
    );
}

#[test]
fn what_containers_use_takes_two_looks_as_a_table_and_one_as_json() {
    let answer = |us: u64| format!(r#"[{{"name":"web","pid":7,"status":"READY","usage":{{"cpu_us":{us}}}}}]"#);
    let device = Device::answering(vec![ok(&answer(0)), ok(&answer(900_000_000)), ok("[]")]);
    let text = device.run_on("top", true).1;
    assert!(
        text.lines().nth(1).is_some_and(|line| line.starts_with("web   READY   ") && line.ends_with('%')),
        "{text}"
    );
    assert_eq!(device.run("top").1, "[]\n");
    assert_eq!(device.asked().len(), 3);
}

#[test]
fn an_object_is_sent_whole_and_kept_in_a_file() {
    let bytes = "x".repeat(300_000);
    let id = ObjectId::of(bytes.as_bytes());
    let device = Device::answering(vec![ok(""), ok(&bytes)]);
    let file = device.directory.path().join("object");
    std::fs::write(&file, &bytes).unwrap();
    device.run(&format!("objects put {} {id}", file.display())).0.unwrap();
    let copy = device.directory.path().join("copy");
    let (done, text) = device.run(&format!("-f {} objects get {id}", copy.display()));
    assert_eq!((done.is_ok(), text.as_str()), (true, ""));
    assert_eq!(std::fs::read_to_string(copy).unwrap(), bytes);
    let asked = device.asked();
    assert_eq!(asked[0], format!("PUT /objects/{id} HTTP/1.1 Content-Length: 300000\r\n\r\n{bytes}"));
}

#[test]
fn a_state_is_put_with_its_message() {
    let device = Device::answering(vec![ok(""), ok("")]);
    let file = device.directory.path().join("state");
    std::fs::write(&file, "{}").unwrap();
    device.run(&format!("-m first steps put {} locals/x", file.display())).0.unwrap();
    let asked = device.asked();
    assert!(asked[0].starts_with("PUT /steps/locals/x ") && asked[0].ends_with("{}"), "{asked:?}");
    assert!(asked[1].starts_with("PUT /steps/locals/x/commitmsg ") && asked[1].ends_with("first"), "{asked:?}");
}

#[test]
fn a_refusal_has_the_words_of_the_device_and_a_code_for_scripts() {
    let device = Device::answering(vec![
        refusal(503, "Retry-After: 600\r\n", "an update is under way"),
        refusal(507, "", "full"),
        refusal(422, "", "another hash"),
        refusal(404, "", "no such revision"),
    ]);
    // Longer than what a socket holds: the device refuses in the middle of it.
    let file = device.directory.path().join("object");
    std::fs::write(&file, vec![b'x'; 4_000_000]).unwrap();
    let put = format!("objects put {} {}", file.display(), ObjectId::of(b"x"));
    for (line, code, text) in [
        ("cmd run 7", 75, "an update is under way (HTTP 503); try again in 600 seconds"),
        (&put, 48, "full (HTTP 507)"),
        (&put, 60, "another hash (HTTP 422)"),
        ("steps get 7", 255, "no such revision (HTTP 404)"),
    ] {
        let failure = device.run(line).0.unwrap_err();
        assert_eq!((failure.exit_code(), failure.to_string().as_str()), (code, text), "{line}");
    }
}

#[test]
fn an_answer_that_ends_early_is_no_answer() {
    let device = Device::answering(vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".into(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "hello\r\n\r\n".into(),
    ]);
    for line in ["groups ls", "steps get 7", "buildinfo"] {
        assert!(matches!(device.run(line).0.map_err(|failure| *failure), Err(Failure::Answer(_))), "{line}");
    }
}

#[test]
fn without_a_socket_nothing_is_asked() {
    let words = ["-s", "/nowhere/pv-ctrl", "ls"].map(OsString::from);
    let (options, command) = args::parse(words.into_iter()).unwrap();
    let failure = run::run(options, command, &mut Vec::new(), false).unwrap_err();
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().starts_with("/nowhere/pv-ctrl not found"), "{failure}");
}

#[test]
fn a_log_is_asked_for_from_a_time_on_and_goes_on_from_the_place_that_it_came_to() {
    let piece =
        |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len());
    let first = piece("Log-Place: 3-9\r\nLog-Times: 0/5/,4/6/\r\n", "one\ntwo\n");
    let device = Device::answering(vec![first, piece("Log-Place: 3-9\r\n", "")]);
    let (done, out) = device.run("logs --since 10m --timestamps -n 1 web");
    assert!(done.is_ok());
    assert_eq!(out, "0.006s two\n");
    let asked = device.asked();
    assert!(asked[0].starts_with("GET /containers/web/timed-log/ago-600 "), "{asked:?}");
    assert!(asked[1].starts_with("GET /containers/web/timed-log/3-9 "), "{asked:?}");
}
