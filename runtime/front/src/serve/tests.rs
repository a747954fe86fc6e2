//! The whole helper, from real sockets to what PID 1 is asked, and back.

#[path = "fake.rs"]
mod fake;
#[path = "programs.rs"]
mod programs;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use formats::control::{Action, Call, Caller, Listener, Upload};
use formats::object::ObjectId;
use formats::pairing::TokenHash;
use statemachine::ids::RevisionId;

use super::*;
use fake::{World, ask, parts, request_bytes, talk};

fn quick() -> Times {
    let short = Duration::from_millis(400);
    Times { idle: short, head: short, stall: Duration::from_millis(600), grace: Duration::from_secs(1) }
}

fn named(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

#[test]
fn who_asks_is_the_socket_and_what_is_asked_is_the_route() {
    let world = World::new(Times::default());
    let web = world.control(Caller::Container("web".into()));
    for (request, body, call) in [
        ("GET /containers", "", Call::Containers),
        (
            "PUT /containers/db",
            r#"{"action":"stop"}"#,
            Call::ActOnContainer { name: "db".into(), action: Action::Stop },
        ),
        (
            "PUT /daemons/front",
            r#"{"action":"start"}"#,
            Call::ActOnDaemon { name: "front".into(), action: Action::Start },
        ),
        ("POST /signal", r#"{"type":"ready","payload":""}"#, Call::Signal { kind: "ready".into() }),
        ("POST /commands", r#"{"op":"REBOOT_DEVICE","payload":""}"#, Call::Reboot),
        ("POST /commands", r#"{"op":"ROLLBACK"}"#, Call::Rollback),
        ("POST /storage/gc", "", Call::Collect),
        ("POST /selftest", "", Call::Rewrite),
        ("GET /steps/current/progress", "", Call::Progress(named("locals/now"))),
        (
            "PUT /steps/locals/x/commitmsg",
            "why",
            Call::SetMessage { revision: named("locals/x"), message: "why".into() },
        ),
    ] {
        let answer = ask(&web, request, body.as_bytes());
        assert_eq!(parts(&answer).0, 200, "{request}: {answer}");
        let (caller, asked) = world.device.lock().unwrap().asked.pop().unwrap();
        assert_eq!((caller, asked), (Caller::Container("web".into()), call), "{request}");
    }
    assert_eq!(parts(&ask(&web, "POST /storage/gc", b"")).1, r#"{"reclaimed":4096}"#);
    assert_eq!(
        parts(&ask(&web, "POST /selftest", b"")).1,
        r#"[{"law":"barrier","fault":null},{"law":"write wanted","fault":"torn"}]"#
    );
    assert_eq!(parts(&ask(&web, "GET /daemons", b"")).1, r#"[{"name":"front","pid":9,"respawn":true}]"#);
    assert_eq!(parts(&ask(&web, "GET /buildinfo", b"")), (200, "cairn of a test"));
    assert_eq!(parts(&ask(&web, "GET /xconnect-graph", b"")), (200, "[]"));
    let device = ask(&web, "GET /device", b"");
    assert!(
        parts(&device).1.contains(r#""revision":"locals/now","default":null,"previous":null,"factory":"0""#),
        "{device}"
    );
}

#[test]
fn what_pid_1_refuses_is_refused_with_its_words_and_time() {
    let world = World::new(Times::default());
    let (nobody, device) = (world.control(Caller::Container("nobody".into())), world.control(Caller::Device));
    for request in
        ["GET /containers", "GET /buildinfo", "GET /xconnect-graph", "GET /steps/current", "POST /storage/gc"]
    {
        let answer = ask(&nobody, request, b"");
        assert_eq!(parts(&answer), (403, r#"{"Error":"not with this role"}"#), "{request}");
    }
    world.device.lock().unwrap().busy = true;
    let answer = ask(&device, "POST /commands", br#"{"op":"LOCAL_RUN","payload":"7"}"#);
    assert_eq!(parts(&answer), (503, r#"{"Error":"an update is under way"}"#));
    assert!(answer.contains("\r\nRetry-After: 600\r\n"), "{answer}");
}

#[test]
fn what_makes_no_sense_never_reaches_pid_1() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    for (request, body, code) in [
        ("GET /nothing", "", 400),
        ("GET /container", "", 400),
        ("DELETE /containers", "", 400),
        ("PUT /containers", "", 400),
        ("GET /containers/..", "", 400),
        ("GET /wakelocks", "", 400),
        ("POST /commands", r#"{"op":"L","payload":"7"}"#, 400),
        ("PUT /containers/web", r#"{"action":"explode"}"#, 400),
        ("PUT /steps/7", "{}", 400),
        ("PUT /steps/locals/x/commitmsg", "", 400),
        ("GET /objects/123", "", 400),
    ] {
        let answer = ask(&device, request, body.as_bytes());
        assert_eq!(parts(&answer).0, code, "{request}: {answer}");
    }
    let answer = ask(&device, "GET /nothing", b"");
    assert_eq!(parts(&answer).1, r#"{"Error":"unknown endpoint: /nothing"}"#);
    let long = vec![b'x'; 5000];
    for request in ["POST /commands", "POST /signal", "PUT /containers/web", "PUT /steps/locals/x/commitmsg"] {
        assert_eq!(parts(&ask(&device, request, &long)).0, 507, "{request}");
    }
    let mut client = UnixStream::connect(&device).unwrap();
    assert_eq!(parts(&talk(&mut client, &request_bytes("GET /containers", "evil.example", b""))).0, 403);
    assert_eq!(world.asked(), []);
}

#[test]
fn an_object_goes_in_and_comes_out_piece_by_piece() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let id = ObjectId::of(&bytes);
    assert_eq!(parts(&ask(&device, &format!("PUT /objects/{id}"), &bytes)), (200, ""));
    let answer = ask(&device, &format!("GET /objects/{id}"), b"");
    assert!(answer.contains("\r\nContent-Length: 200000\r\n"));
    assert_eq!(parts(&answer).1.as_bytes(), bytes);
    assert_eq!(parts(&ask(&device, "GET /objects", b"")).1, format!(r#"[{{"sha256":"{id}","size":"200000"}}]"#));
    // Sent again, it is heard out and kept as it is.
    assert_eq!(parts(&ask(&device, &format!("PUT /objects/{id}"), &bytes)).0, 200);
    assert_eq!(parts(&ask(&device, &format!("GET /objects/{}", ObjectId::of(b"other")), b"")).0, 404);
    let empty = ObjectId::of(b"");
    assert_eq!(parts(&ask(&device, &format!("PUT /objects/{empty}"), b"")).0, 200);
    assert_eq!(parts(&ask(&device, &format!("GET /objects/{empty}"), b"")), (200, ""));
}

#[test]
fn a_long_list_is_asked_for_page_by_page_and_shown_as_one() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    let objects = (0..600_u32).map(|n| n.to_be_bytes().to_vec()).map(|bytes| (ObjectId::of(&bytes), bytes));
    world.device.lock().unwrap().objects = objects.collect();
    let answer = ask(&device, "GET /objects", b"");
    assert_eq!(parts(&answer).1.matches("sha256").count(), 600);
    assert_eq!(world.asked().len(), 3);
}

#[test]
fn a_state_is_put_and_read_back() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    let state = format!("{{\"#spec\":\"{}\"}}", "x".repeat(100_000));
    assert_eq!(parts(&ask(&device, "PUT /steps/locals/now", state.as_bytes())).0, 200);
    for request in ["GET /steps/current", "GET /steps/locals/now"] {
        assert_eq!(parts(&ask(&device, request, b"")).1, state);
    }
    assert_eq!(parts(&ask(&device, "GET /steps/7", b"")).0, 404);
}

#[test]
fn two_requests_on_one_connection_are_answered_in_turn() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    let mut client = UnixStream::connect(&device).unwrap();
    let first = "PUT /steps/locals/x/commitmsg HTTP/1.1\r\nHost:\r\nContent-Length: 3\r\n\r\nabc";
    let second = "GET /xconnect-graph HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n";
    let answers = talk(&mut client, format!("{first}{second}").as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.ends_with("[]"), "{answers}");
    let message = Call::SetMessage { revision: named("locals/x"), message: "abc".into() };
    assert_eq!(world.asked(), [message, Call::Device]);
}

#[test]
fn a_body_that_nobody_wanted_is_not_the_next_request() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    let mut client = UnixStream::connect(&device).unwrap();
    let hidden = "POST /storage/gc HTTP/1.1\r\nHost:\r\n\r\n";
    let first = format!("GET /containers HTTP/1.1\r\nHost:\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
    let answers =
        talk(&mut client, format!("{first}GET /groups HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n").as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(world.asked(), [Call::Containers, Call::Groups]);
}

#[test]
fn a_request_with_two_meanings_has_none() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    let inner = "POST /storage/gc HTTP/1.1\r\nHost:\r\n\r\n";
    for (fields, code) in [
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inner.len()), 400),
        ("Transfer-Encoding: chunked\r\n".into(), 501),
        ("Content-Length: 0\r\nContent-Length: 5\r\n".into(), 400),
        ("Content-Length: 5\n".into(), 400),
        (format!("X: {}\r\n", "x".repeat(10_000)), 431),
    ] {
        let mut client = UnixStream::connect(&device).unwrap();
        let text = format!("POST /storage/gc HTTP/1.1\r\nHost:\r\n{fields}\r\n0\r\n\r\n{inner}");
        let answers = talk(&mut client, text.as_bytes());
        assert_eq!(
            (parts(&answers).0, answers.matches("Connection: close").count()),
            (code, 1),
            "{fields:?} {answers}"
        );
    }
    let mut client = UnixStream::connect(&device).unwrap();
    assert_eq!(parts(&talk(&mut client, b"\x16\x03\x01 hello\n")).0, 400);
    assert_eq!(world.asked(), []);
}

#[test]
fn a_client_that_waits_for_leave_gets_it_or_an_answer() {
    let world = World::new(quick());
    let device = world.control(Caller::Device);
    let id = ObjectId::of(b"abc");
    let mut client = UnixStream::connect(&device).unwrap();
    let head = |length| {
        format!("PUT /objects/{id} HTTP/1.1\r\nHost:\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n")
    };
    client.write_all(head(3).as_bytes()).unwrap();
    let mut leave = [0; 25];
    client.read_exact(&mut leave).unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(parts(&talk(&mut client, b"abc")).0, 200);
    // No room for this one: it is told so, and not asked to send it.
    let other = ObjectId::of(b"abcd");
    let mut client = UnixStream::connect(&device).unwrap();
    let answer = talk(&mut client, head(20_000_000).replace(&id.to_string(), &other.to_string()).as_bytes());
    assert_eq!(parts(&answer), (507, r#"{"Error":"full"}"#));
}

#[test]
fn a_body_that_ends_early_leaves_nothing_behind() {
    let world = World::new(quick());
    let device = world.control(Caller::Device);
    let id = ObjectId::of(b"abc");
    let head = format!("PUT /objects/{id} HTTP/1.1\r\nHost:\r\nContent-Length: 100000\r\n\r\n");
    // One hangs up, one only stops sending.
    let mut gone = UnixStream::connect(&device).unwrap();
    gone.write_all(head.as_bytes()).unwrap();
    gone.write_all(&[b'x'; 70_000]).unwrap();
    drop(gone);
    let mut silent = UnixStream::connect(&device).unwrap();
    assert_eq!(talk(&mut silent, [head.as_bytes(), b"abc"].concat().as_slice()), "");
    let asked = world.asked();
    let abandoned = asked.iter().filter(|call| matches!(call, Call::Abandon { .. })).count();
    assert_eq!((abandoned, world.device.lock().unwrap().open_uploads()), (2, 0), "{asked:?}");
    assert!(!asked.iter().any(|call| matches!(call, Call::Finish { .. })));
}

#[test]
fn who_sends_a_head_drop_by_drop_is_cut_and_others_are_served() {
    let world = World::new(quick());
    let device = world.control(Caller::Device);
    let begun = Instant::now();
    let mut slow: Vec<UnixStream> = (0..PLACES_EACH - 1).map(|_| UnixStream::connect(&device).unwrap()).collect();
    let mut cut = 0;
    while cut < slow.len() && begun.elapsed() < Duration::from_secs(10) {
        cut = slow.iter_mut().map(|client| client.write_all(b"G")).filter(Result::is_err).count();
        assert_eq!(parts(&ask(&device, "GET /xconnect-graph", b"")).0, 200);
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(cut, slow.len());
}

#[test]
fn who_sends_a_body_drop_by_drop_is_cut_although_it_never_stalls() {
    let world = World::new(quick());
    let device = world.control(Caller::Device);
    let mut client = UnixStream::connect(&device).unwrap();
    client.write_all(b"PUT /containers/web HTTP/1.1\r\nHost:\r\nContent-Length: 1000\r\n\r\n").unwrap();
    let begun = Instant::now();
    while client.write_all(b" ").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_millis(700));
    assert_eq!(world.asked(), []);
}

#[test]
fn who_asks_and_does_not_read_gives_the_place_back() {
    let world = World::new(quick());
    let device = world.control(Caller::Device);
    let bytes = vec![b'x'; 3_000_000];
    let id = ObjectId::of(&bytes);
    world.device.lock().unwrap().objects.insert(id, bytes);
    let mut deaf: Vec<UnixStream> = (0..PLACES_EACH).map(|_| UnixStream::connect(&device).unwrap()).collect();
    for client in &mut deaf {
        client.write_all(format!("GET /objects/{id} HTTP/1.1\r\nHost:\r\n\r\n").as_bytes()).unwrap();
    }
    assert_eq!(parts(&ask(&device, "GET /xconnect-graph", b"")).0, 200);
    let mut rest = Vec::new();
    deaf[0].read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 3_000_000);
}

#[test]
fn a_listener_serves_so_many_and_the_others_wait_their_turn() {
    let world = World::new(Times::default());
    let device = world.control(Caller::Device);
    let mut held: Vec<UnixStream> = (0..PLACES_EACH).map(|_| UnixStream::connect(&device).unwrap()).collect();
    for client in &mut held {
        client.write_all(b"GET /xconnect-graph HTTP/1.1\r\nHost:\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
    }
    let mut next = UnixStream::connect(&device).unwrap();
    next.write_all(&request_bytes("GET /xconnect-graph", "", b"")).unwrap();
    next.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(next.read(&mut [0; 1]).is_err());
    drop(held.pop());
    next.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    next.read_exact(&mut [0; 12]).unwrap();
    // Another socket has places of its own.
    let web = world.control(Caller::Container("web".into()));
    assert_eq!(parts(&ask(&web, "GET /xconnect-graph", b"")).0, 200);
}

#[test]
fn a_listener_that_is_closed_takes_its_connections_with_it() {
    let world = World::new(Times::default());
    let caller = Caller::Container("web".into());
    let web = world.control(caller.clone());
    let mut client = UnixStream::connect(&web).unwrap();
    client.write_all(b"GET /xconnect-graph HTTP/1.1\r\nHost:\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 12]).unwrap();
    world.close(Listener::Control(caller));
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    // The test's own copy of the listening socket was closed when it was handed over.
    assert!(UnixStream::connect(&web).is_err());
}

fn at(world: &World, address: std::net::SocketAddr, request: &str, body: &[u8]) -> String {
    let _ = world;
    talk(&mut TcpStream::connect(address).unwrap(), &request_bytes(request, &address.to_string(), body))
}

#[test]
fn a_revision_is_cloned_posted_and_run_as_the_network() {
    let world = World::new(Times::default());
    let address = world.endpoint();
    world.device.lock().unwrap().states.insert("locals/now".into(), br##"{"#spec":"s"}"##.to_vec());
    let base = format!("http://{address}/cgi-bin/pvr");
    let remote = at(&world, address, "GET /cgi-bin/.pvrremote", b"");
    assert!(parts(&remote).1.contains(&format!(r#""json-get-url":"{base}/steps/current/state""#)), "{remote}");
    assert!(parts(&remote).1.contains(&format!(r#""objects-endpoint":"{base}/objects","#)), "{remote}");
    assert_eq!(parts(&at(&world, address, "GET /cgi-bin/pvr/steps/current/state", b"")).1, r##"{"#spec":"s"}"##);

    let id = ObjectId::of(b"root");
    let record = format!(r#"{{"id":"","objectname":"web/root","sha256sum":"{id}","size":"4"}}"#);
    let answer = at(&world, address, "POST /cgi-bin/pvr/objects/", record.as_bytes());
    assert!(parts(&answer).1.contains(&format!(r#""signed-puturl":"{base}/objects/{id}/bytes""#)), "{answer}");
    assert_eq!(parts(&at(&world, address, &format!("PUT /cgi-bin/pvr/objects/{id}/bytes"), b"root")).0, 200);
    let answer = at(&world, address, "POST /cgi-bin/pvr/objects/", record.as_bytes());
    assert_eq!(parts(&answer).0, 409);
    assert!(answer.contains("\r\nPantahub-Object-Type: object\r\n"), "{answer}");
    let answer = at(&world, address, &format!("GET /cgi-bin/pvr/objects/{id}"), b"");
    assert!(parts(&answer).1.contains(r#""size":"4""#), "{answer}");
    assert_eq!(parts(&at(&world, address, &format!("GET /cgi-bin/pvr/objects/{id}/bytes"), b"")).1, "root");

    let post = br##"{"commit-msg":"new","rev":-1,"state":{"#spec": "s"}}"##;
    let answer = at(&world, address, "POST /cgi-bin/pvr/post", post);
    let (code, body) = parts(&answer);
    assert_eq!(code, 200, "{answer}");
    assert!(body.starts_with(r#"{"rev":-1,"revlocal":"locals/pvr-"#), "{answer}");
    let calls = world.asked();
    let [Call::Begin { what: Upload::State(name), .. }, Call::Put { .. }, Call::Finish { .. }, message, run] =
        &calls[calls.len() - 5..]
    else {
        panic!("{calls:?}")
    };
    assert_eq!(*message, Call::SetMessage { revision: name.clone(), message: "new".into() });
    assert_eq!(*run, Call::Run { revision: name.clone(), retry: false });
    let device = world.device.lock().unwrap();
    assert_eq!(device.states[name.as_str()], br##"{"#spec": "s"}"##);
    assert!(device.asked.iter().all(|(caller, _)| *caller == Caller::Network(None)));
}

#[test]
fn an_object_that_will_not_fit_is_refused_when_it_is_announced() {
    let world = World::new(Times::default());
    let address = world.endpoint();
    let record =
        |size: u64| format!(r#"{{"objectname":"web/root","sha256sum":"{}","size":"{size}"}}"#, ObjectId::of(b"x"));
    let announced = |size| parts(&at(&world, address, "POST /cgi-bin/pvr/objects/", record(size).as_bytes())).0;
    assert_eq!(announced(99_000_000), 507);
    assert_eq!(announced(1), 200);
    // Nothing waits for an object that was only announced.
    assert!(matches!(world.asked()[..], [.., Call::Begin { size: 1, .. }, Call::Abandon { .. }]));
}

#[test]
fn who_looks_for_an_answer_only_after_the_last_byte_sees_what_is_wrong() {
    let world = World::new(Times::default());
    let address = world.endpoint();
    let head = format!("PUT /cgi-bin/pvr/objects/{}/bytes HTTP/1.1\r\nHost: {address}\r\n", ObjectId::of(b"x"));
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(format!("{head}Content-Length: 20000000\r\n\r\n").as_bytes()).unwrap();
    for _ in 0..20 {
        client.write_all(&[b'x'; 1_000_000]).unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(parts(&answer).0, 507);
}

#[test]
fn a_busy_device_says_when_to_post_again() {
    let world = World::new(Times::default());
    let address = world.endpoint();
    world.device.lock().unwrap().busy = true;
    let answer = at(&world, address, "POST /cgi-bin/pvr/post", br#"{"rev":"locals/x","state":{}}"#);
    assert_eq!(parts(&answer).0, 503);
    assert!(answer.contains("\r\nRetry-After: 600\r\n"), "{answer}");
}

#[test]
fn the_endpoint_answers_no_page_and_no_name_that_others_can_give() {
    let world = World::new(Times::default());
    let address = world.endpoint();
    let get = |fields: &str| {
        let text = format!("GET /.pvrremote HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
        parts(&talk(&mut TcpStream::connect(address).unwrap(), text.as_bytes())).0
    };
    assert_eq!(get("Host: device.local\r\n"), 200);
    assert_eq!(get("Host: evil.example\r\n"), 403);
    assert_eq!(get("Host:\r\n"), 403);
    assert_eq!(get("Host: localhost\r\nOrigin: http://localhost\r\n"), 403);
    let answer = at(&world, address, "PUT /cgi-bin/pvr/steps/current/state", b"{}");
    assert_eq!(parts(&answer).0, 405);
    assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
    for request in ["GET /containers", "POST /commands", "GET /"] {
        assert_eq!(parts(&at(&world, address, request, b"")).0, 404, "{request}");
    }
    let head = format!("POST /cgi-bin/pvr/post HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9999999\r\n\r\n");
    assert_eq!(parts(&talk(&mut TcpStream::connect(address).unwrap(), head.as_bytes())).0, 413);
    assert_eq!(world.asked(), []);
}

#[test]
fn who_has_no_token_gets_no_further_than_the_entry_and_the_pairing() {
    let world = World::new(Times::default());
    let address = world.endpoint();
    world.device.lock().unwrap().states.insert("locals/now".into(), b"{}".to_vec());
    world.device.lock().unwrap().tokens = Some(Vec::new());
    let with = |token: &str, request: &str, body: &str| {
        let fields = format!("Host: {address}\r\n{token}Content-Length: {}\r\nConnection: close\r\n", body.len());
        let text = format!("{request} HTTP/1.1\r\n{fields}\r\n{body}");
        talk(&mut TcpStream::connect(address).unwrap(), text.as_bytes())
    };
    let id = ObjectId::of(b"root");
    let record = format!(r#"{{"objectname":"web/root","sha256sum":"{id}","size":"4"}}"#);
    let requests = [
        ("GET /cgi-bin/pvr/steps/current/state".to_owned(), ""),
        ("GET /cgi-bin/pvr/steps/locals/now/progress".into(), ""),
        (format!("GET /cgi-bin/pvr/objects/{id}"), ""),
        (format!("GET /cgi-bin/pvr/objects/{id}/bytes"), ""),
        (format!("PUT /cgi-bin/pvr/objects/{id}/bytes"), "root"),
        ("POST /cgi-bin/pvr/objects/".into(), record.as_str()),
        ("POST /cgi-bin/pvr/post".into(), "this would be refused if it were read"),
        ("DELETE /cgi-bin/pvr/pair".into(), ""),
    ];
    for token in ["", "Authorization: Bearer other\r\n", "Authorization: Basic t0ken\r\n"] {
        for (request, body) in &requests {
            let answer = with(token, request, body);
            assert_eq!(parts(&answer), (401, "pair first\n"), "{token} {request}");
            assert!(answer.contains("\r\nWWW-Authenticate: Bearer realm=\"cairn\"\r\n"), "{answer}");
        }
    }
    assert_eq!(parts(&with("", "GET /.pvrremote", "")).0, 200);
    let answer = with("", "POST /cgi-bin/pvr/pair", r#"{"code":"WRNG2345","name":"me"}"#);
    assert_eq!(parts(&answer), (429, "burnt\n"));
    assert!(answer.contains("\r\nRetry-After: 60\r\n"), "{answer}");
    assert_eq!(parts(&with("", "GET /cgi-bin/pvr/pair", "")).0, 405);
    assert_eq!(parts(&with("", "POST /cgi-bin/pvr/pair", &"x".repeat(2000))).0, 413);
    let answer = with("", "POST /pair", r#"{"code":"ABCD2345","name":"me"}"#);
    assert_eq!(parts(&answer), (200, r#"{"token":"t0ken"}"#));
    let token = "Authorization: Bearer t0ken\r\n";
    assert_eq!(parts(&with(token, "GET /cgi-bin/pvr/steps/current/state", "")), (200, "{}"));
    assert_eq!(parts(&with(token, "POST /cgi-bin/pvr/objects/", &record)).0, 200);
    assert_eq!(parts(&with(token, "DELETE /cgi-bin/pvr/pair", "")).0, 200);
    let asked = &world.device.lock().unwrap().asked;
    assert_eq!(asked.last(), Some(&(Caller::Network(Some(TokenHash::of("t0ken"))), Call::Leave)));
    assert!(!format!("{asked:?}").contains("2345"));
}

#[test]
fn a_code_is_made_and_pairings_are_listed_and_removed_on_the_control_socket_only() {
    let world = World::new(Times::default());
    let (device, address) = (world.control(Caller::Device), world.endpoint());
    assert_eq!(parts(&ask(&device, "POST /pairings", b"")), (200, r#"{"code":"ABCD2345","expires_in":300}"#));
    let list = r#"[{"fingerprint":"0123456789ab","name":"me@host","date":"2000-02-29T00:00:00Z"}]"#;
    assert_eq!(parts(&ask(&device, "GET /pairings", b"")), (200, list));
    assert_eq!(parts(&ask(&device, "DELETE /pairings/me@host", b"")), (200, ""));
    assert_eq!(world.asked().last(), Some(&Call::Unpair { who: "me@host".into() }));
    for request in ["DELETE /pairings", "PUT /pairings", "DELETE /pairings/a%20b", "DELETE /containers/web"] {
        assert_eq!(parts(&ask(&device, request, b"")).0, 400, "{request}");
    }
    for request in ["POST /pairings", "GET /pairings", "POST /cgi-bin/pvr/pairings"] {
        assert_eq!(parts(&at(&world, address, request, b"")).0, 404, "{request}");
    }
    assert_eq!(world.asked().len(), 3);
}
