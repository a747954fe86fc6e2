//! `qemu`: the image of a board, run on the machine that the board is for, with its console on this terminal.
//!
//! ```text
//!   keys ──▶ Ctrl-A ? ──▶ orders: end, power button, reset, power cut
//!     └── everything else ──▶ serial line ──▶ console ──▶ here, and target/qemu/BOARD.log
//! ```
//!
//! Promises: the terminal is as it was, however it ends; nothing is left running; with `--snapshot` the image stays as
//! it is.

mod keys;
pub(crate) mod terminal;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use machine::{Disk, End, Machine, Plan, Stuck};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use self::keys::Order;
use self::terminal::Terminal;
use crate::term::{Out, bold, red};
use crate::{Json, cargo, vendor};

/// The port of the endpoint for `pvr` in the guest.
const ENDPOINT: u16 = 12368;

/// How often the machine is looked at: shorter than a person notices.
const LOOK: Duration = Duration::from_millis(50);

/// The keys, the first three as QEMU has them.
const KEYS: &str = "\
Keys on its console:
  Ctrl-A x       end
  Ctrl-A h       help
  Ctrl-A Ctrl-A  a Ctrl-A for the device
  Ctrl-A b       press the power button
  Ctrl-A r       press the reset button
  Ctrl-A k       cut the power, and switch on again";

#[derive(Args)]
#[command(after_help = KEYS)]
pub(crate) struct Options {
    /// The board
    #[arg(long)]
    board: String,
    /// Its image, which is changed as the disk of a device is [default: target/images/BOARD.img]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Megabytes of memory
    #[arg(long, value_name = "MEGABYTES")]
    memory: Option<u32>,
    /// Leave the image as it is, and forget at the end what was written
    #[arg(long)]
    snapshot: bool,
    /// Forward a port of loopback to a port of the device; the endpoint (12368) always is
    #[arg(long, value_name = "[HOSTPORT:]DEVPORT")]
    publish: Vec<Port>,
    /// Cut the power that long after it was switched on, and end
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    power_cut_after: Option<Duration>,
    /// End as soon as its console has said this; 1 if it does not in time. Can be given more than once: all of them
    #[arg(long, value_name = "TEXT", requires = "within", conflicts_with = "power_cut_after")]
    until: Vec<String>,
    /// How long that may take since it was switched on
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "until")]
    within: Option<Duration>,
    #[command(flatten)]
    json: Json,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let out = options.json.out();
    let log = cargo::target_directory()?.join("qemu").join(format!("{}.log", options.board));
    let mut machine = build(&options, &log)?;
    let ports: BTreeMap<_, _> = machine.ports().collect();
    for (guest, host) in &ports {
        out.line(format!("127.0.0.1:{host} is port {guest} of the device"));
    }
    out.line(format!("log: {}; {} helps", log.display(), bold(out, "Ctrl-A h")));
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    let terminal = Terminal::raw()?;
    let mut awaited = Awaited { texts: options.until.clone(), within: options.within };
    let end = watch(&mut machine, &keys::read(), &interrupted, options.power_cut_after, &mut awaited, out);
    drop(terminal);
    let end = end?;
    out.line(format!("\nthe machine is off: {end}"));
    if options.json.json {
        let result = json!({
            "command": "qemu", "board": options.board, "end": end.to_string(), "ports": ports,
            "starts": machine.starts(), "resets": machine.resets(), "log": log, "unsaid": awaited.texts,
        });
        println!("{result}");
    }
    for text in &awaited.texts {
        out.line(format!("{} its console has not said {text:?}", red(out, "failed")));
    }
    let failed = matches!(end, End::Died { .. }) || !awaited.texts.is_empty();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn build(options: &Options, log: &Path) -> Result<Machine> {
    let (out, target) = (options.json.out(), cargo::target_directory()?);
    let kind = vendor::machine(&options.board)?;
    let usual = || target.join("images").join(format!("{}.img", options.board));
    let image = options.image.clone().unwrap_or_else(usual);
    if !image.is_file() {
        bail!("there is no {}: make it with `cargo xtask image --board {}`", image.display(), options.board);
    }
    let dir = log.parent().unwrap_or(target);
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let disk = if options.snapshot { Disk::copy_of(image) } else { Disk::of(image) };
    let plan = Plan::new(kind).disk(disk).log(log).packages(target.join("packages"));
    let plan = plan.listen(move |raw| out.bytes(raw)).forward_from(ENDPOINT, ENDPOINT);
    let plan = options.publish.iter().fold(plan, |plan, port| plan.forward_from(port.host, port.guest));
    let plan = if kind.has_watchdog() { plan.watchdog() } else { plan };
    let plan = options.memory.into_iter().fold(plan, Plan::memory);
    Ok(plan.build()?)
}

/// Switches it on, does what the keys say, and stays until it is off.
fn watch(
    machine: &mut Machine,
    orders: &Receiver<Order>,
    interrupted: &AtomicBool,
    cut_after: Option<Duration>,
    awaited: &mut Awaited,
    out: Out,
) -> Result<End> {
    machine.start()?;
    let began = machine.mark("switched on");
    while machine.is_on() {
        if awaited.is_over(|| machine.since(began), machine.elapsed()) {
            return Ok(machine.quit()?);
        }
        match orders.recv_timeout(LOOK) {
            Ok(Order::Press(bytes)) => machine.keyboard()?.press(&bytes).context("cannot type")?,
            Ok(Order::End) => return Ok(machine.quit()?),
            Ok(Order::PowerButton) => machine.power_button()?,
            Ok(Order::Reset) => machine.reset()?,
            Ok(Order::PowerCut) => {
                machine.power_cut()?;
                out.bytes(b"\r\n-- power cut --\r\n");
                machine.start()?;
            }
            Ok(Order::Help) => out.bytes(format!("\r\n{}\r\n", KEYS.replace('\n', "\r\n")).as_bytes()),
            Err(RecvTimeoutError::Timeout) => {}
            // The standard input has ended: nobody types any more.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
        }
        if interrupted.load(Ordering::Relaxed) {
            return Ok(machine.quit()?);
        }
        if cut_after.is_some_and(|time| machine.elapsed() >= time) {
            machine.power_cut()?;
        } else if let Some(stuck) = machine.unstick()? {
            out.bytes(match stuck {
                Stuck::Reset => b"\r\n-- its warm reset hangs: power cut, and on again --\r\n".as_slice(),
                Stuck::Halt => b"\r\n-- it cannot switch itself off: power cut --\r\n",
            });
        }
    }
    machine.end().cloned().context("the machine was never on")
}

/// What its console is still to say, and until when.
struct Awaited {
    texts: Vec<String>,
    within: Option<Duration>,
}

impl Awaited {
    /// Whether nothing more has to be waited for: everything was said, or it is too late.
    fn is_over(&mut self, console: impl FnOnce() -> String, elapsed: Duration) -> bool {
        let Some(within) = self.within else { return false };
        let console = console();
        self.texts.retain(|text| !console.contains(text));
        self.texts.is_empty() || elapsed >= within
    }
}

/// `[HOSTPORT:]DEVPORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port {
    host: Option<u16>,
    guest: u16,
}

impl FromStr for Port {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, guest) = text.split_once(':').map_or((None, text), |(host, guest)| (Some(host), guest));
        Ok(Self { host: host.map(str::parse).transpose()?, guest: guest.parse()? })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_this_machine_may_be_left_to_chance() {
        assert_eq!("8080:80".parse(), Ok(Port { host: Some(8080), guest: 80 }));
        assert_eq!("80".parse(), Ok(Port { host: None, guest: 80 }));
        assert!("80:".parse::<Port>().is_err() && "70000".parse::<Port>().is_err());
    }

    #[test]
    fn what_was_said_is_waited_for_no_more_and_what_was_not_in_time_stays() {
        let texts = || ["[a]: READY".to_owned(), "[b]: READY".to_owned()].to_vec();
        let mut awaited = Awaited { texts: texts(), within: Some(Duration::from_secs(9)) };
        assert!(!awaited.is_over(|| "[b]: READY".into(), Duration::ZERO));
        assert!(awaited.is_over(|| "[a]: READY".into(), Duration::ZERO) && awaited.texts.is_empty());
        let mut late = Awaited { texts: texts(), within: Some(Duration::from_secs(9)) };
        assert!(late.is_over(|| "[a]: READY".into(), Duration::from_secs(9)));
        assert_eq!(late.texts, ["[b]: READY"]);
        assert!(
            !Awaited { texts: Vec::new(), within: None }.is_over(String::new, Duration::MAX),
            "nobody waits for anything"
        );
    }

    #[test]
    fn a_time_is_a_number_of_seconds_that_has_come_true_some_day() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(seconds("-1").is_err() && seconds("soon").is_err());
    }
}
