//! Each command as its requests.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::time::Instant;

use formats::json::{Json, Limits};
use formats::metadata::VALUE_MAX;

use crate::args::{Command, Form, Options, Source};
use crate::client::{Body, Client, TEXT_MAX};
use crate::failure::{About, Failure};
use crate::{console, exec, help, logs, show, top};

/// From this size on a person is told how far it is.
const LONG: u64 = 1024 * 1024;

/// Does what is wanted, and gives the exit code; lists and bytes go to `out`.
pub(crate) fn run(
    options: Options,
    command: Command,
    out: &mut dyn Write,
    is_terminal: bool,
) -> Result<u8, Box<Failure>> {
    match command {
        Command::Exec(wanted) => {
            let mut client = Client::find(options.socket)?;
            client.verbose = options.verbose;
            exec::run(&client, &wanted)
        }
        Command::Console(container) => {
            let mut client = Client::find(options.socket)?;
            client.verbose = options.verbose;
            console::run(&client, &container, out)
        }
        Command::Help(topic) => print(out, &help::TOOL.text(topic.as_deref())).map(|()| 0),
        command => answer(options, command, out, is_terminal).map(|()| 0),
    }
}

/// Does what is done by requests and their answers.
fn answer(options: Options, command: Command, out: &mut dyn Write, is_terminal: bool) -> Result<(), Box<Failure>> {
    let mut client = Client::find(options.socket)?;
    client.verbose = options.verbose;
    let mut file;
    let (out, is_terminal): (&mut dyn Write, bool) = match &options.output {
        None => (out, is_terminal),
        Some(path) => {
            file = File::create(path).map_err(Failure::io(format!("cannot write {}", path.display())))?;
            (&mut file, false)
        }
    };
    let tables = match options.form {
        Form::Table => true,
        Form::Json => false,
        Form::Fitting => is_terminal,
    };
    let list = |path: &str| client.get(path, About::Other)?.text(TEXT_MAX);
    let shown = |path: &str, table: fn(&str) -> Result<String, Box<Failure>>| {
        let text = list(path)?;
        if tables { table(&text) } else { Ok(text + "\n") }
    };
    match command {
        Command::Help(_) | Command::Exec(_) | Command::Console(_) => Ok(()),
        Command::Device => print(out, &shown("/device", show::device)?),
        Command::Containers if tables => {
            let device = show::device(&list("/device")?)?;
            print(out, &format!("{device}\n{}", show::containers(&list("/containers")?)?))
        }
        Command::Containers => print(out, &shown("/containers", show::containers)?),
        Command::Inspect(name) => print(out, &shown(&format!("/containers/{}", name.as_str()), show::inspected)?),
        Command::Logs(wanted) => logs::run(&client, &wanted, out),
        Command::Top if tables => {
            let (before, since) = (list("/containers")?, Instant::now());
            std::thread::sleep(top::PAUSE);
            let after = list("/containers")?;
            print(out, &top::table_of(&before, &after, since.elapsed())?)
        }
        Command::Top => print(out, &(list("/containers")? + "\n")),
        Command::Groups => print(out, &shown("/groups", show::groups)?),
        Command::Daemons if tables => print(out, &show::processes(&list("/containers")?, &list("/daemons")?)?),
        Command::Daemons => print(out, &(list("/daemons")? + "\n")),
        Command::Objects => print(out, &shown("/objects", show::objects)?),
        Command::Steps => print(out, &shown("/steps", show::steps)?),
        Command::Metadata(of) => print(out, &shown(&format!("/{}", of.word()), show::metadata)?),
        Command::SetMetadata(of, key, value) => {
            let value = value.map_or_else(typed, |value| Ok(value.into_bytes()))?;
            client.send("PUT", &format!("/{}/{key}", of.word()), &value).map(drop)
        }
        Command::RemoveMetadata(of, key) => client.send("DELETE", &format!("/{}/{key}", of.word()), b"").map(drop),
        Command::Graph => print(out, &(list("/xconnect-graph")? + "\n")),
        Command::Collect => {
            let text = client.send("POST", "/storage/gc", b"")?.text(TEXT_MAX)?;
            if tables { print(out, &show::reclaimed(&text)?) } else { print(out, &(text + "\n")) }
        }
        Command::Pairings => print(out, &shown("/pairings", show::pairings)?),
        Command::Pair => {
            let text = client.send("POST", "/pairings", b"")?.text(TEXT_MAX)?;
            if tables { print(out, &show::code(&text)?) } else { print(out, &(text + "\n")) }
        }
        Command::Unpair(who) => client.send("DELETE", &format!("/pairings/{who}"), b"").map(drop),
        Command::Act(kind, name, action) => {
            let body = Json::object().with("action", action).compact();
            client.send("PUT", &format!("/{kind}/{}", name.as_str()), body.as_bytes()).map(drop)
        }
        Command::Drivers => print(out, &shown("/drivers", show::drivers)?),
        Command::ActOnDrivers(name, action) => {
            let below = name.map_or_else(String::new, |name| format!("/{name}"));
            client.send("PUT", &format!("/drivers{below}/{action}"), b"").map(drop)
        }
        Command::Signal(kind) => {
            let body = Json::object().with("type", kind).with("payload", "").compact();
            client.send("POST", "/signal", body.as_bytes()).map(drop)
        }
        Command::Run { op, revision, retry } => {
            let mut body = Json::object().with("op", op).with("payload", revision.to_string());
            if retry {
                body.set("retry", true);
            }
            client.send("POST", "/commands", body.compact().as_bytes()).map(drop)
        }
        Command::Order(op, message) => {
            let body = Json::object().with("op", op).with("payload", message).compact();
            client.send("POST", "/commands", body.as_bytes()).map(drop)
        }
        Command::BuildInfo => client.get("/buildinfo", About::Other)?.copy(out, &mut |_, _| {}),
        Command::GetObject(id) => {
            let answer = client.get(&format!("/objects/{id}"), About::Object)?;
            // Bytes on a terminal and a line about them would be one mess.
            let mut progress = Progress::new("received", !is_terminal);
            answer.copy(out, &mut |done, all| progress.tell(done, all))
        }
        Command::PutObject(source, id) => {
            let (mut bytes, length) = open(source)?;
            let mut progress = Progress::new("sent", true);
            let body = Body { bytes: &mut *bytes, length };
            let watch = &mut |done, all| progress.tell(done, all);
            client.request("PUT", &format!("/objects/{id}"), body, About::Object, watch).map(drop)
        }
        Command::GetStep(name) => client.get(&format!("/steps/{name}"), About::State)?.copy(out, &mut |_, _| {}),
        Command::PutStep(source, name) => {
            let (mut bytes, length) = open(source)?;
            let path = format!("/steps/{name}");
            client.request("PUT", &path, Body { bytes: &mut *bytes, length }, About::State, &mut |_, _| {})?;
            match options.message {
                Some(message) => client.send("PUT", &format!("{path}/commitmsg"), message.as_bytes()).map(drop),
                None => Ok(()),
            }
        }
        Command::Progress(name) => {
            let text = client.get(&format!("/steps/{name}/progress"), About::State)?.text(TEXT_MAX)?;
            print(out, &(text + "\n"))
        }
    }
}

/// A value of metadata from the standard input, without the end of its last line.
fn typed() -> Result<Vec<u8>, Box<Failure>> {
    let mut bytes = Vec::new();
    // One more than there can be, and its end: the device says that it is too long.
    let most = VALUE_MAX as u64 + 2;
    io::stdin().take(most).read_to_end(&mut bytes).map_err(Failure::io("cannot read the standard input"))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

/// The bytes of an upload, and how many they are.
fn open(source: Source) -> Result<(Box<dyn io::Read>, u64), Box<Failure>> {
    match source {
        Source::File(path) => {
            let cannot = || Failure::io(format!("cannot read {}", path.display()));
            let file = File::open(&path).map_err(cannot())?;
            let length = file.metadata().map_err(cannot())?.len();
            Ok((Box::new(file), length))
        }
        Source::Input(Some(length)) => Ok((Box::new(io::stdin()), length)),
        // Only a state: it is read whole to know how long it is.
        Source::Input(None) => {
            let (mut bytes, most) = (Vec::new(), Limits::STATE.bytes as u64);
            let input = io::stdin().take(most + 1).read_to_end(&mut bytes);
            input.map_err(Failure::io("cannot read the standard input"))?;
            if bytes.len() as u64 > most {
                return Err(Failure::usage(format!("a state has at most {most} bytes")));
            }
            let length = bytes.len() as u64;
            Ok((Box::new(io::Cursor::new(bytes)), length))
        }
    }
}

/// A line on a terminal about something long.
pub(crate) struct Progress {
    verb: &'static str,
    shown: bool,
    percent: Option<u64>,
}

impl Progress {
    pub(crate) fn new(verb: &'static str, wanted: bool) -> Self {
        Self { verb, shown: wanted && io::stderr().is_terminal(), percent: None }
    }

    pub(crate) fn tell(&mut self, done: u64, all: Option<u64>) {
        let Some(all) = all.filter(|all| self.shown && *all >= LONG) else { return };
        let percent = done.saturating_mul(100) / all;
        if self.percent.replace(percent) == Some(percent) {
            return;
        }
        let end = if done >= all { "\n" } else { "" };
        // It is only for a person who looks.
        let _ = write!(io::stderr(), "\r{percent:>3}% of {} MiB {}{end}", all / LONG, self.verb);
    }
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), Box<Failure>> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::io("cannot write the answer"))
}
