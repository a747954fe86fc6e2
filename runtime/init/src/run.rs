//! The role `init`: from the first instruction of PID 1 to the last.
//!
//! ```text
//!   kernel's file systems ▸ settings ▸ storage ▸ board ▸ what runs: verified, assembled
//!      │              └─ one of these fails, or what runs may not run: the boot is spent, or stays (stranded)
//!      ▼
//!   threads ▸ helpers ▸ Core::run ▸ … ▸ nothing left of any container ▸ reboot(2)
//! ```
//!
//! Three facts about smol as PID 1. Its reactor is a thread of its own from the first descriptor on, so nothing may
//! allocate between `clone3` and `exec` (the stage is this program, executed anew). Only [`Core`] waits for children:
//! a second waiter would steal exit codes. Durable writes are on a thread that nobody can cancel, never in a future
//! that could be dropped half-way.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use container::cgroup::{Instance, Trees};
use container::signals::{self, Told};
use formats::control::{Caller, Listener};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use smol::channel::{Sender, bounded};
use smol::{Async, LocalExecutor};
use statemachine::boot::TrialKind;
use statemachine::ids::RevisionId;
use statemachine::update::Running;
use store::trails::Depth;

use crate::boards::{self, Opened, Questions};
use crate::clock::Clock;
use crate::core::{Core, Ending, Message, Parts, QUEUE};
use crate::early;
use crate::engine::{Engine, Paths};
use crate::helpers::Helpers;
use crate::holdings::{Candidate, HoldError, Holdings};
use crate::pairing::Pairings;
use crate::settings::{self, Settings};
use crate::stranded::{self, Firmware};
use crate::threads::Worker;
use crate::trace::{Trace, hex};
use crate::updater::Updater;
use crate::voice::Voice;

/// How many connections may wait at the endpoint.
const BACKLOG: i32 = 16;

/// Becomes PID 1. It returns only where it is not: `words` are its arguments.
pub fn main(words: &[String]) -> ExitCode {
    let clock = Clock::start();
    if !rustix::process::getpid().is_init() {
        eprintln!("cairn init is PID 1 of a device, and this is process {}", rustix::process::getpid().as_raw_pid());
        eprintln!("to try a device in a directory of this machine: cargo xtask run");
        return ExitCode::from(2);
    }
    let paths = Paths::under(Path::new("/"));
    let console = rustix::io::dup(rustix::stdio::stdout()).ok().map(File::from);
    let log = Rc::new(Voice::new(clock, console, paths.storage.join("logs")));
    let mut firmware = Firmware::default();
    let ended = prepare(words, clock, &log, &paths, &mut firmware).and_then(|ready| ready.run(clock, Rc::clone(&log)));
    let (ending, arg) = ended.unwrap_or_else(|why| (stranded::wait_for_end(firmware, &log, &why), None));
    rustix::fs::sync();
    let ended = match ending {
        Ending::Restart => container::power::restart(arg),
        Ending::PowerOff => container::power::power_off(),
    };
    // The kernel has refused to end: a PID 1 that returns ends the boot in its own way.
    eprintln!("cairn: the kernel does not reboot: {ended}");
    ExitCode::FAILURE
}

type End = (Ending, Option<&'static std::ffi::CStr>);

/// Everything that a boot needs before anything is decided.
struct Ready {
    settings: Settings,
    trace: Arc<Trace>,
    holdings: Holdings,
    engine: Arc<Engine>,
    helpers: Instance,
    opened: Opened,
    pairings: Pairings,
    current: Option<Arc<Candidate>>,
    warnings: Vec<String>,
}

/// Opens everything, and tells on the way what is known of the `firmware`, so that a failure is answered rightly.
fn prepare(
    words: &[String],
    clock: Clock,
    log: &Voice,
    paths: &Paths,
    firmware: &mut Firmware,
) -> Result<Ready, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    *firmware = Firmware::from_words(&words.join(" "));
    early::prepare().map_err(|error| text(&error))?;
    *firmware = Firmware::from_words(&settings::words(words));
    let settings = Settings::read(words).map_err(|error| text(&error))?;
    *firmware = Firmware::of_board(&settings);
    log.info("boot", &format_args!("{}: {}", settings.fit, settings.words));
    let trace = Arc::new(Trace::new(clock, trace_of(&settings)));
    let holdings = Holdings::open(&paths.storage, settings.clone()).map_err(|error| text(&error))?;
    let trees = Trees::detect().map_err(|error| text(&error))?;
    let instance = Instance::open(&trees, "containers").map_err(|error| text(&error))?;
    let helpers = Instance::open(&trees, "helpers").map_err(|error| text(&error))?;
    helpers.sweep(Duration::from_secs(5)).map_err(|error| text(&error))?;
    let engine = Arc::new(Engine::new(paths.clone(), instance));
    engine.sweep().map_err(|error| text(&error))?;
    let questions =
        Questions { holds: &|id| holdings.trails.load(id).is_ok(), verifies: &|id| load(&holdings, id).is_ok() };
    let opened = boards::open(&settings, &paths.storage, &questions).map_err(|error| text(&error))?;
    let mut warnings = opened.warnings.clone();
    for warning in &warnings {
        log.warn("flash", warning);
    }
    let (pairings, warning) = Pairings::load(&paths.storage);
    if let Some(warning) = warning {
        log.warn("pairing", &warning);
        warnings.push(warning);
    }
    let current = match &opened.boot.running {
        Running::Recovery => None,
        Running::Revision(id) => match load(&holdings, id) {
            Ok(candidate) => Some(Arc::new(candidate)),
            // Not opened and not renewed, this boot counts for the firmware, which goes on along its list.
            Err(error) if opened.boot.kind == TrialKind::Counted => return Err(format!("revision {id}: {error}")),
            // Other firmware would boot it again for ever: better to be up and say so.
            Err(error) => {
                warnings.push(format!("revision {id} may not run: {error}"));
                None
            }
        },
    };
    Ok(Ready { settings, trace, holdings, engine, helpers, opened, pairings, current, warnings })
}

/// A revision that may run, with every file of its trail in its place.
fn load(holdings: &Holdings, id: &RevisionId) -> Result<Candidate, HoldError> {
    let candidate = holdings.candidate(id)?;
    holdings.check(&candidate, Depth::Links)?;
    Ok(candidate)
}

/// The descriptor that the command line names.
fn trace_of(settings: &Settings) -> Option<File> {
    let number: u32 = settings.value("cairn.trace")?.parse().ok()?;
    // Opened anew: this program has no claim to a number. Neither a pipe that nobody reads nor a full one is waited for.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    let path = format!("/proc/self/fd/{number}");
    std::fs::OpenOptions::new().append(true).custom_flags(flags).open(path).ok()
}

impl Ready {
    fn run(self, clock: Clock, log: Rc<Voice>) -> Result<End, String> {
        let Self { settings, trace, holdings, engine, helpers, opened, pairings, current, warnings } = self;
        let Opened { flash, boot, reboot_arg, .. } = opened;
        if let Running::Revision(id) = &boot.running {
            log.keep(id);
        }
        for warning in current.iter().flat_map(|current| &current.assembly.warnings) {
            log.warn("revision", warning);
        }
        let (tell, messages) = bounded(QUEUE);
        let tasks = Rc::new(LocalExecutor::new());
        watch_signals(&tasks, tell.clone()).map_err(|error| format!("signals cannot be watched: {error}"))?;
        let wrong = |error: std::io::Error| format!("no thread: {error}");
        let updater = Updater::start(settings.limits, flash, Arc::clone(&trace), tell.clone()).map_err(wrong)?;
        let store = Worker::start("store", holdings).map_err(wrong)?;
        let mounts = Worker::start("mounts", Arc::clone(&engine)).map_err(wrong)?;
        trace.tell("began", |json| {
            let limits = postcard::to_allocvec(&settings.limits).unwrap_or_default();
            json.with("limits", hex(&limits).as_str())
        });
        let mut helpers = Helpers::new(helpers, tell.clone(), Rc::clone(&tasks));
        if let Err(why) = helpers.listen_for(&Caller::Device, &engine.paths().run) {
            log.error("front", &why);
        }
        match endpoint(&settings.endpoint) {
            Ok(socket) => helpers.serve(Listener::Endpoint, socket),
            Err(errno) => log.error("front", &format_args!("cannot listen on {}: {errno}", settings.endpoint)),
        }
        let parts = Parts {
            settings,
            clock,
            trace,
            log,
            updater,
            store,
            mounts,
            engine,
            helpers,
            pairings,
            current,
            tell,
            tasks: Rc::clone(&tasks),
            warnings,
        };
        let (ending, trial) = smol::block_on(tasks.run(Core::new(parts).run(boot, messages)));
        Ok((ending, reboot_arg(trial)))
    }
}

fn endpoint(address: &SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // The address may come later than PID 1: a container brings the network up.
    match family {
        AddressFamily::INET => sockopt::set_ip_freebind(&socket, true)?,
        _ => sockopt::set_ipv6_freebind(&socket, true)?,
    }
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Signals as messages: children, and what a host or a keyboard has for PID 1.
fn watch_signals(tasks: &LocalExecutor<'static>, tell: Sender<Message>) -> std::io::Result<()> {
    let signals = Async::new(signals::open()?)?;
    let task = tasks.spawn(async move {
        while signals.readable().await.is_ok() {
            while let Ok(Some(told)) = signals::next(&signals) {
                let message = match told {
                    Told::Child => Message::ChildEnded,
                    Told::Restart => Message::EndAsked(Ending::Restart),
                    Told::End => Message::EndAsked(Ending::PowerOff),
                };
                if tell.send(message).await.is_err() {
                    return;
                }
            }
        }
    });
    task.detach();
    Ok(())
}
