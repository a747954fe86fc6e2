//! The role `init`: from the first instruction of PID 1 to the last.
//!
//! ```text
//!   kernel's file systems ▸ settings ▸ modules, watchdog, marks ▸ storage ▸ board ▸ what runs: verified, assembled
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
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use container::cgroup::{Instance, Trees};
use container::signals::{self, Told};
use formats::control::{Caller, Listener};
use metal::disks::Device;
use metal::modprobe::Modprobe;
use metal::modules;
use metal::slots::Slots;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use smol::channel::{Sender, bounded};
use smol::{Async, LocalExecutor};
use statemachine::boot::TrialKind;
use statemachine::ids::RevisionId;
use statemachine::update::Running;
use store::trails::Depth;

use crate::base;
use crate::boards::{self, AnyBoard, Opened, Questions, Storage};
use crate::check;
use crate::clock::Clock;
use crate::core::{Core, Ending, Message, Parts, QUEUE};
use crate::early;
use crate::engine::{Engine, Paths};
use crate::guard::Guard;
use crate::helpers::Helpers;
use crate::holdings::{Candidate, HoldError, Holdings};
use crate::marks::Marks;
use crate::pairing::Pairings;
use crate::recovery::{self, Addressing};
use crate::seed::{Begun, Seeder};
use crate::settings::{self, Settings};
use crate::storage::{self, Access, Hands, Mender};
use crate::stranded::{self, Firmware};
use crate::threads::Worker;
use crate::trace::{Trace, hex};
use crate::updater::Updater;
use crate::voice::Voice;

/// How many connections may wait at the endpoint.
const BACKLOG: i32 = 16;

/// Becomes PID 1 of a device that is one of these `boards`. It returns only where it is not: `words` are its arguments.
pub fn main(words: &[String], boards: &[AnyBoard]) -> ExitCode {
    if rustix::process::getpid().is_init() {
        rest::begin_without_caches();
    }
    let clock = Clock::start();
    rest::share_one_heap();
    if !rustix::process::getpid().is_init() {
        eprintln!("cairn init is PID 1 of a device, and this is process {}", rustix::process::getpid().as_raw_pid());
        eprintln!("to try a device in a directory of this machine: cargo xtask run");
        return ExitCode::from(2);
    }
    let paths = Paths::under(Path::new("/"));
    let console = rustix::io::dup(rustix::stdio::stdout()).ok().map(File::from);
    let log = Rc::new(Voice::new(clock, console, paths.storage.join("logs")));
    let (mut firmware, guard) = (Firmware::default(), Guard::default());
    // Before any thread: one that does not block them takes the end of a child from whoever waits for it.
    let signals = signals::open();
    let ended = prepare(words, boards, clock, &log, &paths, &mut firmware, &guard)
        .and_then(|ready| ready.run(clock, Rc::clone(&log), &guard, signals));
    let (ending, arg) = ended.unwrap_or_else(|why| (stranded::wait_for_end(firmware, &log, &guard, &why), None));
    guard.feed();
    rustix::fs::sync();
    if ending == Ending::PowerOff {
        guard.disarm();
    }
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
    marks: Marks,
    /// The storage, if PID 1 has mounted it, and what goes on there.
    mounted: Option<(PathBuf, Seeder)>,
    pairings: Pairings,
    current: Option<Arc<Candidate>>,
    warnings: Vec<String>,
    /// Why the storage cannot be written, if it cannot.
    read_only: Option<String>,
}

/// Opens everything, and tells on the way what is known of the `firmware`, so that a failure is answered rightly.
#[inline(never)] // What it needs of the stack is over before the loop needs its own.
fn prepare(
    words: &[String],
    boards: &[AnyBoard],
    clock: Clock,
    log: &Voice,
    paths: &Paths,
    firmware: &mut Firmware,
    guard: &Guard,
) -> Result<Ready, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    *firmware = Firmware::from_words(&words.join(" "));
    let moving = early::prepare().map_err(|error| text(&error))?;
    *firmware = Firmware::from_words(&settings::words(words));
    let mut settings = Settings::read(words).map_err(|error| text(&error))?;
    boards::listen(boards, &mut settings, Path::new(boards::DEVICE_TREE));
    *firmware = Firmware::of_board(boards, &settings);
    log.info("boot", &format_args!("{}: {}", settings.fit, settings.shown()));
    settings.remarks.iter().for_each(|remark| log.warn("boot", remark));
    let trace = Arc::new(trace_of(&settings, clock, log));
    let mut marks = Marks::new(settings.has("cairn.mark"));
    if settings.storage.is_some() {
        machine(&settings, log, guard, &mut marks);
    }
    trace.tell("booted", |json| {
        let role = settings.value("cairn.role").unwrap_or_default();
        json.with("role", role).with("mark", marks.any()).with("kept", marks.is_kept())
    });
    let mounted = mount_storage(&settings, log, paths, firmware.is_recovery(), guard)?;
    let (device, access) = mounted.map_or((None, Access::Write), |(device, access)| (Some(device), access));
    let read_only = access.why_not_written();
    if let (Some(why), true) = (&read_only, firmware.is_trial()) {
        // What it writes is part of what is judged, and nothing it has written would be there at its next boot.
        return Err(format!("{why}, and no revision is tried on that"));
    }
    // At once: what is verified below takes a slow device half a minute, in which it gathers random numbers.
    let mounted = device.as_ref().map(|_| seeded(&paths.storage, log));
    let growing = device.as_ref().filter(|_| read_only.is_none());
    if let Some(device) = growing.filter(|_| boards::has_growing_storage(boards, &settings)) {
        match storage::grow(device, &paths.storage, &mut || guard.feed()) {
            Ok(None) => {}
            Ok(Some((from, to))) => log.info("storage", &format_args!("grown from {} to {} MiB", from >> 20, to >> 20)),
            Err(why) => log.warn("storage", &format_args!("it stays as large as it is: {why}")),
        }
    }
    let holdings = Holdings::open(&paths.storage, settings.clone()).map_err(|error| text(&error))?;
    if read_only.is_none() {
        holdings.clear_leftovers().map_err(|error| text(&error))?;
    }
    moving.arrive().map_err(|error| text(&error))?;
    let trees = Trees::detect().map_err(|error| text(&error))?;
    let instance = Instance::open(&trees, "containers").map_err(|error| text(&error))?;
    let helpers = Instance::open(&trees, "helpers").map_err(|error| text(&error))?;
    helpers.sweep(Duration::from_secs(5)).map_err(|error| text(&error))?;
    let engine = Engine::new(paths.clone(), instance).with_modules(Modprobe::here(settings.words.clone()));
    let engine = Arc::new(if read_only.is_some() { engine.read_only() } else { engine });
    engine.sweep().map_err(|error| text(&error))?;
    let questions = Questions {
        holds: &|id| holdings.trails.load(id).is_ok(),
        verifies: &|id| load(&holdings, id).is_ok(),
        marked: marks.any(),
    };
    let storage = Storage { directory: &paths.storage, device: device.as_ref() };
    guard.feed();
    let mut opened = boards::open(boards, &settings, storage, &questions).map_err(|error| text(&error))?;
    guard.feed();
    for (slot, held) in opened.places.slots.iter_mut().flat_map(Slots::held) {
        let held: Vec<_> = held.iter().map(RevisionId::as_str).collect();
        log.info(
            "slots",
            &format_args!("{slot} holds {}", if held.is_empty() { "nothing".into() } else { held.join(", ") }),
        );
    }
    let mut warnings = opened.warnings.clone();
    for warning in &warnings {
        log.warn("flash", warning);
    }
    warnings.extend(read_only.clone());
    warnings.extend(marks.words());
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
    if let (Some(current), Some(_)) = (&current, &device) {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let (mounted, missing) = base::mount(&current.revision, &paths.trail(&current.id), Path::new("/"), &release);
        mounted.iter().for_each(|what| log.info("base", what));
        for what in missing {
            log.warn("base", &what);
            warnings.push(what);
        }
    }
    Ok(Ready {
        settings,
        trace,
        holdings,
        engine,
        helpers,
        opened,
        marks,
        mounted,
        pairings,
        current,
        warnings,
        read_only,
    })
}

/// Makes a machine that is ours usable: its modules, its watchdog; and hears how its last boot has ended.
fn machine(settings: &Settings, log: &Voice, guard: &Guard, marks: &mut Marks) {
    early::panics_restart(log);
    match modules::load(Path::new(modules::LIST)) {
        Ok(loaded) => {
            loaded.refused.iter().for_each(|refused| log.warn("modules", refused));
            let bytes = if early::root_is_memory() { modules::discard(Path::new(modules::LIST)) } else { 0 };
            log.info("modules", &format_args!("{} loaded, {bytes} bytes let go", loaded.new));
        }
        Err(error) => log.warn("modules", &error),
    }
    if let Some(seconds) = settings.watchdog {
        marks.add_watchdog(guard.arm(seconds, log));
    }
    marks.add_records(log);
    if let Some(words) = marks.words() {
        log.warn("marks", &words);
    }
}

/// Mounts the storage of a machine that is ours. `None`: it is somebody else's.
fn mount_storage(
    settings: &Settings,
    log: &Voice,
    paths: &Paths,
    is_recovery: bool,
    guard: &Guard,
) -> Result<Option<(Device, Access)>, String> {
    let Some(place) = &settings.storage else { return Ok(None) };
    let program = Path::new(check::PROGRAM);
    let mender = Mender::new(program, settings.value(storage::REPAIR), is_recovery);
    let mut hands = Hands {
        pause: &mut |pause| {
            guard.feed();
            thread::sleep(pause);
        },
        say: &mut |line| log.warn("storage", &line),
    };
    let taken = storage::take(place, settings.storage_wait, &paths.storage, mender, &mut hands);
    if early::root_is_memory() {
        // Like the modules: it is memory, and was needed once.
        let _ = std::fs::remove_file(program);
    }
    let (device, access) = taken.map_err(|error| error.to_string())?;
    guard.feed();
    match &access {
        Access::Write => log.info("storage", &device),
        Access::Read(why) => log.error("storage", &format_args!("{device}: {why}")),
    }
    Ok(Some((device, access)))
}

/// Begins with random numbers.
fn seeded(storage: &Path, log: &Voice) -> (PathBuf, Seeder) {
    let (seeder, begun) = Seeder::begin(storage);
    match begun {
        Ok(Begun::Counted) => log.info("seed", &"random numbers begin with the seed of the boot before"),
        Ok(Begun::Mixed | Begun::Without) => log.info("seed", &"no seed counts; the kernel gathers random numbers"),
        Err(error) => log.warn("seed", &error),
    }
    (storage.to_owned(), seeder)
}

/// A revision that may run, with every file of its trail in its place.
fn load(holdings: &Holdings, id: &RevisionId) -> Result<Candidate, HoldError> {
    let candidate = holdings.candidate(id)?;
    holdings.check(&candidate, Depth::Links)?;
    Ok(candidate)
}

/// Where the trace goes: to the descriptor that the command line names, else to the node that the settings do.
fn trace_of(settings: &Settings, clock: Clock, log: &Voice) -> Trace {
    let number = settings.value("cairn.trace").and_then(|number| number.parse::<u32>().ok());
    if let Some(number) = number {
        // Opened anew: this program has no claim to a number. Neither a pipe that nobody reads nor a full one is waited
        // for.
        let sink = open_sink(Path::new(&format!("/proc/self/fd/{number}")), OFlags::NONBLOCK);
        return Trace::new(clock, sink.ok());
    }
    let Some(node) = &settings.trace else { return Trace::new(clock, None) };
    match open_sink(node, OFlags::NOCTTY) {
        Ok(line) => Trace::on_line(clock, line),
        Err(error) => {
            log.warn("trace", &format_args!("{}: {error}", node.display()));
            Trace::new(clock, None)
        }
    }
}

fn open_sink(path: &Path, flags: OFlags) -> std::io::Result<File> {
    // The bits are those of open(2), whatever their sign.
    let flags = flags.bits().cast_signed();
    std::fs::OpenOptions::new().append(true).custom_flags(flags).open(path)
}

impl Ready {
    #[inline(never)]
    fn run(
        self,
        clock: Clock,
        log: Rc<Voice>,
        guard: &Guard,
        signals: Result<OwnedFd, rustix::io::Errno>,
    ) -> Result<End, String> {
        let Self {
            mut settings,
            trace,
            mut holdings,
            engine,
            helpers,
            opened,
            marks,
            mounted,
            pairings,
            current,
            warnings,
            read_only,
        } = self;
        let Opened { flash, boot, reboot_arg, places, .. } = opened;
        holdings.places = Some(places);
        if let Running::Revision(id) = &boot.running {
            log.keep(id);
        }
        for warning in current.iter().flat_map(|current| &current.assembly.warnings) {
            log.warn("revision", warning);
        }
        let (tell, messages) = bounded(QUEUE);
        let tasks = Rc::new(LocalExecutor::new());
        guard.watch(&tasks);
        let signals = signals.map_err(std::io::Error::from);
        let watched = signals.and_then(|signals| watch_signals(&tasks, tell.clone(), signals));
        watched.map_err(|error| format!("signals cannot be watched: {error}"))?;
        let wrong = |error: std::io::Error| format!("no thread: {error}");
        let logs = engine.paths().storage.join("logs");
        // Without a thread to spare the records stay, and are told once more.
        let put_away = Box::new(move || drop(thread::Builder::new().spawn(move || marks.put_away(&logs))));
        let updater = Updater::start(settings.limits, flash, Arc::clone(&trace), tell.clone(), put_away);
        let updater = updater.map_err(wrong)?;
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
        // No container brings a network up in recovery. On a machine of somebody else that is not ours to do.
        if boot.running == Running::Recovery && mounted.is_some() && settings.recovery != Addressing::Off {
            settings.endpoint = recovery::everywhere(settings.endpoint);
            recovery::serve(&tasks, settings.recovery, Rc::clone(&log));
        }
        match endpoint(&settings.endpoint) {
            Ok(socket) => helpers.serve(Listener::Endpoint, socket),
            Err(errno) => log.error("front", &format_args!("cannot listen on {}: {errno}", settings.endpoint)),
        }
        let parts = Parts {
            settings,
            clock,
            trace,
            log: Rc::clone(&log),
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
            read_only: read_only.clone(),
        };
        // On the heap, once: on the stack each layer around it would have a copy, and a stack never shrinks.
        let work: Pin<Box<dyn Future<Output = (Ending, bool)>>> = Box::pin(Core::new(parts).run(boot, messages));
        // Of the stack and the heap, a boot has needed more than the loop will.
        rest::give_back(rest::Stack::of_this_thread());
        let (ending, trial) = smol::block_on(tasks.run(work));
        // With the tasks go the logs that they have open.
        drop(tasks);
        if let Some((storage, seeder)) = mounted.filter(|_| read_only.is_none()) {
            if let Err(error) = seeder.end() {
                log.warn("seed", &error);
            }
            log.let_go();
            if let Err(errno) = storage::rest(&storage) {
                log.warn("storage", &format_args!("not at rest, the next boot replays its journal: {errno}"));
            }
        }
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
fn watch_signals(tasks: &LocalExecutor<'static>, tell: Sender<Message>, signals: OwnedFd) -> std::io::Result<()> {
    let signals = Async::new(signals)?;
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
