//! What containers and people send to a device: requests, paths, names of hosts, posted revisions, codes; who is paired; and
//! options.

use container::enter::Report;
use formats::control::console::Word;
use formats::control::program::End;
use formats::control::{self as control_frames, Ask, Call, Caller};
use formats::json::{self, Limits};
use formats::options::Options;
use formats::pairing::{self, Code};
use front::control::{body, route as control};
use front::endpoint::{self, host, pair, post as posts};
use front::http::{Head, Method, head};

pub(crate) fn request(bytes: &[u8]) {
    let Ok(Some((read, length))) = head::read(bytes) else { return };
    assert!(length <= bytes.len() && length <= head::HEAD_MAX);
    // Where it ends does not depend on what follows, and no beginning of it is a request.
    assert_eq!(head::read(&bytes[..length]), Ok(Some((read.clone(), length))));
    assert_eq!(head::read(&bytes[..length - 1]), Ok(None));
    // Of a token there is only its hash.
    let read = Head { token: None, ..read };
    assert_eq!(head::read(plain(&read).as_bytes()).map(|again| again.map(|(head, _)| head)), Ok(Some(read.clone())));
    path(read.path.as_bytes());
    if let Some(host) = read.host.filter(|host| host::may_name_us(host)) {
        // It stands in URLs as it is.
        assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte)), "{host:?}");
    }
}

/// The same request as a writer without any freedom writes it.
fn plain(head: &Head) -> String {
    let method = match head.method {
        Method::Get => "GET",
        Method::Put => "PUT",
        Method::Post => "POST",
        Method::Delete => "DELETE",
        Method::Other => "OTHER",
    };
    let version = u8::from(head.host.is_some() && (head.keeps || head.waits));
    let mut text = format!("{method} {} HTTP/1.{version}\r\nContent-Length: {}\r\n", head.path, head.length);
    for (there, field) in [
        (head.host.is_some(), format!("Host: {}", head.host.as_deref().unwrap_or_default())),
        (head.has_origin, "Origin: null".into()),
        (head.waits, "Expect: 100-continue".into()),
        (!head.keeps, "Connection: close".into()),
    ] {
        if there {
            text.push_str(&field);
            text.push_str("\r\n");
        }
    }
    text + "\r\n"
}

pub(crate) fn path(bytes: &[u8]) {
    let Ok(path) = str::from_utf8(bytes) else { return };
    if let Ok(route) = control::route(path) {
        assert_eq!(route.to_string(), path);
    }
    if let Ok(route) = endpoint::route::route(path) {
        assert_eq!(endpoint::route::route(&route.to_string()), Ok(route));
    }
    let routed = control::route(path).is_ok() || endpoint::route::route(path).is_ok();
    assert!(!routed || (path.len() < 256 && path.split('/').all(|name| !matches!(name, "." | ".."))), "{path:?}");
}

pub(crate) fn post(bytes: &[u8]) {
    let _ = (body::action(bytes), body::signal(bytes), body::command(bytes), posts::record(bytes), pair::read(bytes));
    let Ok(posted) = posts::post(bytes) else { return };
    let limits = Limits { bytes: posts::POST_MAX, ..Limits::STATE };
    let state = json::parse(posted.state.as_bytes(), limits).expect("a text of its own");
    assert_eq!(state.raw(), posted.state);
    let name = posted.name.unwrap_or_else(|| posts::chosen_name(posted.state, 1).expect("a name"));
    assert!(name.as_str().starts_with("locals/"), "{name}");
}

pub(crate) fn program(bytes: &[u8]) {
    if let Ok(read) = body::program("web", bytes) {
        assert_eq!(read.check(), Ok(()));
        let call = Call::Execute(Box::new(read));
        let ask = Ask { id: 1, caller: Caller::Device, call };
        // What was read is a frame, and that frame is read as the same.
        assert_eq!(control_frames::decode_ask(&control_frames::encode(&ask).expect("a frame")), Ok(ask));
    }
    if let Ok(signal) = body::program_signal(bytes) {
        assert!((1..=64).contains(&signal));
    }
    if let Ok(Ask { call: Call::Execute(program), .. }) = control_frames::decode_ask(bytes) {
        assert_eq!(program.check(), Ok(()));
    }
    if let Some(end) = str::from_utf8(bytes).ok().and_then(End::parse) {
        assert_eq!(end.line().as_bytes(), bytes);
    }
    if let Some(word) = Word::parse(bytes) {
        assert_eq!(word.packet(), bytes);
    }
    if let Ok(report) = Report::decode(bytes) {
        assert!(report.pid.is_none_or(|pid| pid.as_raw_nonzero().get() > 0));
    }
}

pub(crate) fn pairings(bytes: &[u8]) {
    if let Ok(list) = pairing::read(bytes) {
        assert_eq!(pairing::write(&list).as_bytes(), bytes);
        assert!(list.len() <= pairing::PAIRINGS_MAX && list.iter().all(|known| pairing::is_name(&known.name)));
    }
    let Some(code) = str::from_utf8(bytes).ok().and_then(Code::parse) else { return };
    let shown = code.reveal();
    assert_eq!(shown.expose().len(), pairing::CODE_LEN);
    assert_eq!(Code::parse(shown.expose()), Some(code));
}

pub(crate) fn options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (mut said, mut remarks) = (Options::default(), Vec::new());
    said.add_file(text, &mut remarks);
    let before = said.clone();
    let of_file = remarks.len();
    said.add_command_line(text, &mut remarks);
    assert!(
        said.signatures.map(|(mode, _)| mode) >= before.signatures.map(|(mode, _)| mode),
        "a command line asks for less"
    );
    assert!(of_file <= text.lines().count() && remarks.len() - of_file <= text.split_ascii_whitespace().count());
    for remark in &remarks {
        assert!(remark.key.len() <= 51 && remark.key.bytes().all(|byte| byte.is_ascii_graphic()), "{remark}");
    }
}
