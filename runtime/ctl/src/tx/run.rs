//! Each command: what it reads, what it works out in memory, and the one write at its end.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use formats::json::Limits;
use formats::state::Revision;
use rustix::rand::{GetRandomFlags, getrandom};
use statemachine::ids::RevisionId;
use store::deploy::deploy;
use store::dir::Dir;
use store::objects::Objects;
use store::trails::TrailError;

use super::args::{Base, Command, Options, Source};
use super::help::TOOL;
use super::parts::{Parts, Removed};
use super::place::{Place, Queued, Status, Target, state_at, storage};
use super::queue;
use super::shelf::{Shelf, object};
use crate::client::{Body, Client};
use crate::failure::{About, Failure};
use crate::tx::Result;

/// Does what is wanted; states and names go to `out`.
pub(super) fn run(options: &Options, command: Command, out: &mut dyn Write) -> Result<()> {
    if let Command::Help(topic) = &command {
        return print(out, &TOOL.text(topic.as_deref()));
    }
    let work = Work { options, place: Place::open(options.dir.as_deref())? };
    match command {
        Command::Help(_) => Ok(()),
        Command::Begin(base, objects) => work.begin(&base, objects.as_deref()),
        Command::Add(source) => work.add(&source),
        Command::Remove(part) => work.remove(&part),
        Command::Show => print(out, &(work.place.transaction()?.2.text() + "\n")),
        Command::Commit { name, message, json } => work.commit(name, message.as_deref(), json, out),
        Command::Deploy(dir) => work.deploy(&dir),
        // Whatever is there.
        Command::Abort => work.place.end(work.place.status().unwrap_or_default()),
        Command::QueueNew(dir, objects) => work.queue_new(&dir, &objects),
        Command::QueueUnpack(source) => work.queue_unpack(&source),
        Command::QueueRemove(part) => queue::remove(&work.queue()?.dir, &part),
        Command::QueueProcess(base, queue) => work.queue_process(&base, queue),
    }
}

struct Work<'o> {
    options: &'o Options,
    place: Place,
}

impl Work<'_> {
    /// The device, found when it is needed: a local transaction may have none.
    fn client(&self) -> Result<Client> {
        let mut client = Client::find(self.options.socket.clone())?;
        client.verbose = self.options.verbose;
        Ok(client)
    }

    fn none_is_open(&self) -> Result<Status> {
        let status = self.place.status()?;
        if status.transaction.is_some() {
            return Err(Failure::usage("there is a transaction already: commit, deploy or abort it".into()));
        }
        Ok(status)
    }

    fn begin(&self, base: &Base, objects: Option<&Path>) -> Result<()> {
        let status = self.none_is_open()?;
        let target = objects.map(absolute).transpose()?.map_or(Target::Device, Target::Local);
        if let Target::Local(objects) = &target {
            Shelf::local(objects)?;
        }
        self.open(status, target, &self.base(base)?)
    }

    fn open(&self, status: Status, target: Target, parts: &Parts) -> Result<()> {
        self.place.keep(parts)?;
        self.place.set(&Status { transaction: Some(target), ..status })
    }

    fn base(&self, base: &Base) -> Result<Parts> {
        let parts = match base {
            Base::Empty => return Ok(Parts::empty()),
            Base::Current => {
                let answer = self.client()?.get("/steps/current", About::State)?;
                Parts::parse(answer.text(Limits::STATE.bytes as u64)?.as_bytes(), "the state of the device")?
            }
            Base::Path(path) if path.is_dir() => state_at(&path.join(".pvr/json"))?,
            Base::Path(path) => state_at(path)?,
        };
        parts.revision()?;
        Ok(parts)
    }

    fn add(&self, source: &Source) -> Result<()> {
        let (_, target, mut parts) = self.place.transaction()?;
        let (mut bytes, what) = open(source)?;
        let package = Shelf::open(&target, || self.client())?.take(&mut bytes, &what)?;
        let removed = parts.add(&package.parts)?;
        self.place.keep(&parts)?;
        self.tell(&removed);
        Ok(())
    }

    fn remove(&self, part: &str) -> Result<()> {
        let (_, _, mut parts) = self.place.transaction()?;
        let removed = parts.remove(part)?;
        parts.revision()?;
        self.place.keep(&parts)?;
        self.tell(&removed);
        Ok(())
    }

    fn commit(&self, name: Option<RevisionId>, message: Option<&str>, json: bool, out: &mut dyn Write) -> Result<()> {
        let (status, target, parts) = self.place.transaction()?;
        if target != Target::Device {
            return Err(Failure::usage("this transaction is local: `pvtx deploy DIR` is its end".into()));
        }
        let revision = parts.revision()?;
        let name = name.map_or_else(|| new_name(&revision), Ok)?;
        let path = format!("/steps/{name}");
        let client = self.client()?;
        let mut text = revision.text().as_bytes();
        let length = text.len() as u64;
        client.request("PUT", &path, Body { bytes: &mut text, length }, About::State, &mut |_, _| {})?;
        self.place.end(status)?;
        if json {
            // Neither has a character that would need an escape.
            print(out, &format!("{{\"revision\":\"{name}\",\"sha256\":\"{}\"}}\n", revision.digest()))?;
        } else {
            print(out, &format!("{name}\n"))?;
        }
        match message {
            Some(message) => client.send("PUT", &format!("{path}/commitmsg"), message.as_bytes()).map(drop),
            None => Ok(()),
        }
    }

    fn deploy(&self, dir: &Path) -> Result<()> {
        let (status, target, parts) = self.place.transaction()?;
        let Target::Local(objects) = target else {
            return Err(Failure::usage("this transaction is of a device: `pvtx commit` is its end".into()));
        };
        let dir = absolute(dir)?;
        let leaf = dir.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        let (Some(parent), Some(leaf)) = (dir.parent(), leaf) else {
            return Err(Failure::usage(format!("{}: a trail needs a name of its own", dir.display())));
        };
        fs::create_dir_all(parent).map_err(Failure::at("cannot make", parent))?;
        let disk = |path: &Path| {
            fs::metadata(path).map(|metadata| metadata.dev()).map_err(Failure::at("cannot look at", path))
        };
        if disk(parent)? != disk(&objects)? {
            let (objects, dir) = (objects.display(), dir.display());
            return Err(Failure::wrong(format!("{objects} and {dir} are on two file systems, and links need one")));
        }
        let store = Objects::at(Dir::open(&objects).map_err(storage)?);
        let parent = Dir::open(parent).map_err(storage)?;
        deploy(&parts.revision()?, &store, &parent, leaf).map_err(|error| trail(&error))?;
        self.place.end(status)
    }

    fn queue(&self) -> Result<Queued> {
        let none = || Failure::usage("there is no queue; `pvtx queue new DIR OBJECTS` makes one".into());
        self.place.status()?.queue.ok_or_else(none)
    }

    fn queue_new(&self, dir: &Path, objects: &Path) -> Result<()> {
        let (status, queue) = (self.place.status()?, Queued { dir: absolute(dir)?, objects: absolute(objects)? });
        Shelf::local(&queue.objects)?;
        queue::begin(&queue.dir)?;
        self.place.set(&Status { queue: Some(queue), ..status })
    }

    fn queue_unpack(&self, source: &Source) -> Result<()> {
        let queue = self.queue()?;
        let (mut bytes, what) = open(source)?;
        let package = Shelf::local(&queue.objects)?.take(&mut bytes, &what)?;
        let name = match source {
            Source::Input => None,
            Source::File(path) => path.file_name().and_then(|name| name.to_str()?.split('.').next()),
        };
        queue::add(&queue.dir, name.filter(|name| !name.is_empty()).unwrap_or("package"), &package.parts)
    }

    fn queue_process(&self, base: &Base, other: Option<(PathBuf, PathBuf)>) -> Result<()> {
        let status = self.none_is_open()?;
        let queue = match other {
            Some((dir, objects)) => Queued { dir: absolute(&dir)?, objects: absolute(&objects)? },
            None => self.queue()?,
        };
        let mut parts = self.base(base)?;
        for name in queue::names(&queue.dir)? {
            let told = |error: Box<Failure>| Failure::own(error.exit_code(), format!("{name}: {error}"));
            self.tell(&queue::apply(&queue.dir, &name, &mut parts).map_err(told)?);
        }
        parts.revision()?;
        Shelf::local(&queue.objects)?;
        self.open(status, Target::Local(queue.objects), &parts)
    }

    fn tell(&self, Removed { gone, kept }: &Removed) {
        if self.options.verbose {
            let gone = gone.iter().map(|key| format!("- {key}\n"));
            let kept = kept.iter().map(|(key, signature)| format!("= {key}, signed by {signature} too\n"));
            // If nobody reads it, nobody does.
            let _ = gone.chain(kept).try_for_each(|line| io::stderr().write_all(line.as_bytes()));
        }
    }
}

fn open(source: &Source) -> Result<(Box<dyn Read>, String)> {
    match source {
        Source::Input => Ok((Box::new(io::stdin()), "the standard input".into())),
        Source::File(path) => {
            let file = File::open(path).map_err(Failure::at("cannot read", path))?;
            Ok((Box::new(file), path.display().to_string()))
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(env::current_dir().map_err(Failure::io("there is no directory here"))?.join(path))
}

/// `locals/pvtx-TIME-DIGEST-RANDOM`: for people the time, for programs no name twice.
fn new_name(revision: &Revision) -> Result<RevisionId> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let digest = revision.digest().to_string();
    let mut random = [0; 2];
    getrandom(&mut random, GetRandomFlags::empty()).map_err(|errno| Failure::io("no random number")(errno.into()))?;
    let random = u16::from_ne_bytes(random);
    let name = format!("locals/pvtx-{seconds}-{}-{random:04x}", digest.get(..8).unwrap_or_default());
    RevisionId::parse(&name).map_err(|error| Failure::wrong(format!("{name}: {error}")))
}

/// A failure of a trail, with the code for it.
fn trail(error: &TrailError) -> Box<Failure> {
    let exit = match error {
        TrailError::Dir(why) => return storage(why.clone()),
        TrailError::Object { why, .. } => object(why).exit_code(),
        TrailError::Bsp { .. } | TrailError::NotAnObject { .. } => 70,
        _ => 255,
    };
    Failure::own(exit, error.to_string())
}

fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::io("cannot write the answer"))
}
