//! A device on the network: its endpoint as documented, in a thread, with faults that a test asks for.
//!
//! It checks what a device checks (hashes, sizes, that the objects of a revision are there) and notes every request.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use formats::json::{Limits, parse};
use formats::object::ObjectId;
use formats::state::Revision;

const BASE: &str = "/cgi-bin/pvr";

/// A device. It runs as long as the test does.
pub(crate) struct Device {
    port: u16,
    store: Arc<Mutex<Store>>,
}

/// What it has and what came.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) state: String,
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// `METHOD /path` of every request, in order; with `Range` if there was one.
    pub(crate) log: Vec<String>,
    /// The same with `Authorization`, where there was one.
    pub(crate) shown: Vec<(String, Option<String>)>,
    /// A code that is good for one token.
    pub(crate) code: Option<String>,
    /// Who lets nobody in without one of these.
    pub(crate) tokens: Option<Vec<String>>,
    /// What callers are called who were paired.
    pub(crate) names: Vec<String>,
    /// Bodies of the revisions that were posted.
    pub(crate) posted: Vec<String>,
    /// What the progress is, one per question; the last one stays.
    pub(crate) progress: VecDeque<Progress>,
    /// Whether it knows ranges.
    pub(crate) has_ranges: bool,
    /// How long each answer takes.
    pub(crate) delay: Duration,
    /// The most requests that were being answered together.
    pub(crate) most_at_once: usize,
    at_once: usize,
    faults: Vec<(String, VecDeque<Fault>)>,
}

#[derive(Clone)]
pub(crate) enum Progress {
    Report(&'static str),
    Gone,
}

/// What goes wrong.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It answers so.
    Answer(u16, &'static str, String),
    /// The connection ends after so many bytes of the body.
    Breaks(usize),
    /// The body is other bytes of the same length.
    Lies,
    /// The body has more bytes than were announced.
    Swells,
    /// Nothing comes.
    Hangs,
    /// No fault this time.
    Works,
}

struct Request {
    method: String,
    path: String,
    host: String,
    authorization: Option<String>,
    from: Option<usize>,
    has_length: bool,
    body: Vec<u8>,
}

impl Device {
    /// A device that runs a state with these objects.
    pub(crate) fn running(state: &str, objects: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let objects = objects.into_iter().map(|bytes| (ObjectId::of(&bytes).to_string(), bytes)).collect();
        let store = Store { state: state.into(), objects, has_ranges: true, ..Store::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let device = Self { port: listener.local_addr().unwrap().port(), store: Arc::new(Mutex::new(store)) };
        let store = device.store.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let store = store.clone();
                // A client that goes away in the middle is its own matter.
                std::thread::spawn(move || drop(serve(&stream, &store)));
            }
        });
        device
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Requests that begin so (`GET /x`) fail like this, one after the other, the last one for ever; the latest of such orders counts.
    pub(crate) fn fails(&self, request: &str, faults: &[Fault]) {
        self.store().faults.insert(0, (request.into(), faults.iter().cloned().collect()));
    }

    /// Requests so far that contain this.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.store().log.iter().filter(|line| line.contains(part)).count()
    }
}

impl Store {
    fn fault(&mut self, request: &Request) -> Fault {
        let line = format!("{} {}", request.method, request.path);
        let Some((_, faults)) = self.faults.iter_mut().find(|(prefix, _)| line.starts_with(prefix)) else {
            return Fault::Works;
        };
        if faults.len() > 1 { faults.pop_front().unwrap() } else { faults[0].clone() }
    }
}

fn serve(stream: &TcpStream, store: &Mutex<Store>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let (fault, answer) = {
            let mut store = store.lock().unwrap();
            let range = request.from.map(|from| format!(" from {from}")).unwrap_or_default();
            store.log.push(format!("{} {}{range}", request.method, request.path));
            store.shown.push((format!("{} {}", request.method, request.path), request.authorization.clone()));
            store.at_once += 1;
            store.most_at_once = store.most_at_once.max(store.at_once);
            let fault = store.fault(&request);
            let answer = match &fault {
                Fault::Answer(status, headers, body) => {
                    Some((*status, (*headers).to_owned(), body.clone().into_bytes()))
                }
                Fault::Hangs => None,
                _ => answer(&mut store, &request),
            };
            (fault, answer)
        };
        let delay = store.lock().unwrap().delay;
        std::thread::sleep(delay);
        store.lock().unwrap().at_once -= 1;
        let Some((status, headers, mut body)) = answer else {
            if matches!(fault, Fault::Hangs) {
                std::thread::sleep(Duration::from_secs(20));
            }
            return Ok(());
        };
        let mut length = body.len();
        match fault {
            Fault::Breaks(after) => body.truncate(after),
            Fault::Lies => body.iter_mut().for_each(|byte| *byte = !*byte),
            Fault::Swells => {
                body.extend(std::iter::repeat_n(0, 1 << 20));
                length = body.len();
            }
            _ => {}
        }
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n")?;
        stream.write_all(&body)?;
        if body.len() < length {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut request = Request {
        method,
        path,
        host: String::new(),
        authorization: None,
        from: None,
        has_length: true,
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "transfer-encoding" => request.has_length = false,
            "host" => request.host = value.into(),
            "authorization" => request.authorization = Some(value.into()),
            "range" => {
                request.from = Some(value.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap())
            }
            _ => {}
        }
    }
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

type Answer = (u16, String, Vec<u8>);

fn text(status: u16, text: impl Into<String>) -> Option<Answer> {
    Some((status, "Content-Type: text/plain\r\n".into(), text.into().into_bytes()))
}

fn json(status: u16, text: impl Into<String>) -> Option<Answer> {
    Some((status, "Content-Type: application/json\r\n".into(), text.into().into_bytes()))
}

fn answer(store: &mut Store, request: &Request) -> Option<Answer> {
    let base = format!("http://{}{BASE}", request.host);
    let path = request.path.strip_prefix(BASE).unwrap_or(&request.path);
    if !request.has_length {
        return text(411, "devices want a Content-Length");
    }
    let is_open = path.ends_with("/.pvrremote") || (request.method == "POST" && path == "/pair");
    let token = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
    if let Some(tokens) = &store.tokens
        && !is_open
        && !tokens.iter().any(|known| Some(known.as_str()) == token)
    {
        return Some((401, "WWW-Authenticate: Bearer realm=\"cairn\"\r\n".into(), b"pair first".to_vec()));
    }
    match (request.method.as_str(), path) {
        ("POST", "/pair") if store.tokens.is_some() => paired(store, request),
        ("DELETE", "/pair") => {
            let tokens = store.tokens.as_mut().unwrap();
            tokens.retain(|known| Some(known.as_str()) != token);
            text(200, "")
        }
        ("GET", "/.pvrremote" | "/cgi-bin/.pvrremote") => json(
            200,
            format!(
                r#"{{"pvr-spec":"pvr-pantahub-1","json-get-url":"{base}/steps/current/state","json-key":"state",
                "objects-endpoint":"{base}/objects","post-url":"{base}/steps","post-fields":["commit-msg"],
                "post-fields-opt":["rev"],"step-get-url":"{base}/steps/current"}}"#
            ),
        ),
        ("GET", "/steps/current/state") => json(200, store.state.clone()),
        ("PUT", "/steps/current/state") => text(405, "revisions are posted"),
        ("POST", "/objects/") => {
            let record = parse(&request.body, Limits::DOCUMENT).unwrap();
            let member = |name: &str| record.as_object().unwrap().get(name).unwrap().as_str().unwrap().to_owned();
            let (id, size) = (member("sha256sum"), member("size"));
            size.parse::<u64>().unwrap();
            if store.objects.contains_key(&id) {
                return json(409, format!(r#"{{"sha256sum":"{id}"}}"#));
            }
            json(200, format!(r#"{{"sha256sum":"{id}","size":"{size}","signed-puturl":"{base}/up/{id}?sig=1"}}"#))
        }
        ("POST", "/steps") => posted(store, request),
        ("GET", path) if path.ends_with("/progress") => {
            let next =
                if store.progress.len() > 1 { store.progress.pop_front() } else { store.progress.front().cloned() };
            match next {
                Some(Progress::Report(report)) => json(200, report),
                Some(Progress::Gone) => None,
                None => text(404, "no such revision"),
            }
        }
        ("GET", path) if path.starts_with("/objects/") => {
            let id = path.trim_start_matches("/objects/").trim_end_matches("/blob");
            let Some(bytes) = store.objects.get(id) else { return text(404, "no such object") };
            if !path.ends_with("/blob") {
                let size = bytes.len();
                let record =
                    format!(r#"{{"sha256sum":"{id}","size":"{size}","signed-geturl":"{base}/objects/{id}/blob"}}"#);
                return json(200, record);
            }
            match request.from.filter(|_| store.has_ranges) {
                Some(from) if from >= bytes.len() => text(416, ""),
                Some(from) => {
                    let range = format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
                    Some((206, range, bytes.iter().skip(from).copied().collect()))
                }
                None => Some((200, String::new(), bytes.clone())),
            }
        }
        ("PUT", path) if path.starts_with("/up/") => {
            let id = path.trim_start_matches("/up/").trim_end_matches("?sig=1");
            if ObjectId::of(&request.body).to_string() != id {
                return text(422, "the bytes do not have that hash");
            }
            store.objects.insert(id.into(), request.body.clone());
            text(200, "")
        }
        _ => text(404, "nothing here"),
    }
}

fn paired(store: &mut Store, request: &Request) -> Option<Answer> {
    let body = parse(&request.body, Limits::DOCUMENT).unwrap();
    let member = |name: &str| body.as_object().unwrap().get(name).unwrap().as_str().unwrap().to_owned();
    if store.code.take_if(|code| *code == member("code")).is_none() {
        return text(403, "this is not the code; 4 more wrong ones burn it");
    }
    store.names.push(member("name"));
    let token = format!("t0ken-{}", store.names.len());
    store.tokens.as_mut().unwrap().push(token.clone());
    json(200, format!(r#"{{"token":"{token}"}}"#))
}

fn posted(store: &mut Store, request: &Request) -> Option<Answer> {
    let body = parse(&request.body, Limits::STATE).unwrap();
    let member = |name: &str| body.as_object().unwrap().get(name);
    let revision = match Revision::parse(member("state").unwrap().raw().as_bytes()) {
        Ok(revision) => revision,
        Err(error) => return text(422, error.to_string()),
    };
    if let Some((key, _)) = revision.objects().find(|(_, id)| !store.objects.contains_key(&id.to_string())) {
        return text(422, format!("the object of {key} is not here"));
    }
    store.posted.push(String::from_utf8(request.body.clone()).unwrap());
    let (rev, local) = match member("rev").unwrap().raw() {
        "-1" => ("-1".to_owned(), "locals/made-1".to_owned()),
        name if name.starts_with('"') => ("-1".to_owned(), name.trim_matches('"').to_owned()),
        number => (number.to_owned(), String::new()),
    };
    let digest = revision.digest();
    json(200, format!(r#"{{"rev":{rev},"revlocal":"{local}","state-sha":"{digest}","trail-id":"dev-7"}}"#))
}
