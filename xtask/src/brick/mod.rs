//! `try-to-brick`: a board under QEMU takes updates, good and bad, and its power goes whenever somebody presses a key.
//!
//! | module | what |
//! |---|---|
//! | `device` | the board as the device of `machine::ordeal` |
//! | `watch` | what it does and what it rests on, from its events |
//! | `deck` | the updates |
//! | `keys`, `screen` | the person |
//!
//! Promises: the terminal is as it was, however it ends; nothing is left running; what the device did is followed as a path
//! of the model; it exits with 0 only if the device is none and nothing beside it has failed.

mod deck;
mod device;
mod keys;
mod screen;
mod watch;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Error, Result, bail};
use clap::Args;
use machine::ordeal::{self, Dice, Fault, Tally, Timer, Update};
use serde_json::{Value, json};

use self::deck::Deck;
use self::device::Subject;
use self::keys::Keys;
use self::screen::Screen;
use crate::qemu::terminal::Terminal;
use crate::run::board::rig::Files;
use crate::run::board::{Prepared, Wish, patience, prepare};
use crate::run::follow;
use crate::run::scene::Scene;
use crate::run::stage::Stage;
use crate::term::{bold, green, red};
use crate::{Json, setup};

/// What `--help` ends with.
pub(crate) const BRICK: &str = "\
Any key cuts the power, at once and as often as you like; q ends it when the last update is decided, Ctrl-C at once.

A brick is a device that
  - says nothing for 2 minutes, starts 10 times by itself, or is not at rest after 15 minutes
    (CAIRN_PATIENCE is a factor, for a busy host),
  - stays in recovery, or takes no more updates,
  - rests on a bad update, or on neither the last good one nor the one before,
  - does not keep a good one although nobody has cut its power.
It may go back further when its firmware was cut three times in a row: so many boots are what a revision has.";

/// The name of the scene, below the target directory.
const SCENE: &str = "try-to-brick";

/// How often a timer looks, and for how many looks a device boots and takes an update.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u64 = 300;

#[derive(Args)]
pub(crate) struct Options {
    /// The board
    #[arg(long, value_name = "BOARD", value_parser = machine::BOARDS.map(|(name, _)| name))]
    board: String,
    /// Cut the power N times at moments of chance, and end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    auto: Option<u32>,
    /// The same updates again, and with --auto the same moments [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    #[command(flatten)]
    json: Json,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let out = options.json.out();
    if options.auto.is_none() && !std::io::stdin().is_terminal() {
        bail!("nobody can press a key here: the standard input is no terminal. `--auto N` cuts the power N times");
    }
    setup::ensure(out)?;
    let seed = options.seed.map_or_else(chance, Ok)?;
    let again = options.auto.map(|cuts| format!(" --auto {cuts}")).unwrap_or_default();
    out.line(bold(out, &format!("\nTrying to brick {}", options.board)));
    out.line(format!("the same again: cargo xtask try-to-brick --board {}{again} --seed {seed}", options.board));
    let start = Instant::now();
    let scene = Scene::open(SCENE)?;
    let files = Files::in_dir(&scene.path(""))?;
    let wish = Wish { conf: &BTreeMap::new(), arguments: "", of_containers: false };
    let Prepared { rig, variables, factory } = prepare(&scene, &options.board, &wish, &files, start, out)?;
    let stage = Stage::new(&scene, rig, start, variables)?;
    let hint = if options.auto.is_none() { "any key cuts the power, q ends" } else { "Ctrl-C ends" };
    let screen = Rc::new(RefCell::new(Screen::new(out, hint)));
    let deck = Deck::new(&scene.path("bundles"), Dice::new(seed));
    let patience = u32::try_from(patience())?;
    let mut device = Subject::new(stage, scene.path("work"), &factory, deck, Rc::clone(&screen), patience)?;
    let tally = undergo(&mut device, options.auto, seed, &screen);
    let mut rig = device.into_rig();
    let tail = rig.tail();
    rig.stop()?;
    let logs = format!("logs: {}", scene.path("logs").display());
    let tally = tally.map_err(|fault| Error::from_boxed(fault).context(logs.clone()))?;
    if tally.bricks() > 0 {
        out.line(format!("{tail}\n{logs}"));
    }
    let followed = follow(&files.events, out);
    let passed = tally.bricks() == 0 && followed.is_ok();
    let (cuts, text) = (tally.cuts(), if tally.bricks() == 0 { "no brick" } else { "a brick" });
    let text = format!("{text} after {cuts} power cuts, {:.0} s", start.elapsed().as_secs_f64());
    out.line(if passed { green(out, &text) } else { red(out, &text) });
    if options.json.json {
        println!("{:#}", told(&options.board, seed, &tally, passed));
    }
    followed?;
    if passed {
        // Large, and only of use to who looks for a fault.
        fs::remove_file(scene.path("disk.img")).context("cannot remove the disk")?;
        fs::remove_dir_all(scene.path("work")).context("cannot remove the repositories")?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// From the first boot to the last verdict. The terminal is that of a person for so long only.
fn undergo(device: &mut Subject<'_>, auto: Option<u32>, seed: u64, screen: &RefCell<Screen>) -> Result<Tally, Fault> {
    let show = |tally: &Tally| screen.borrow_mut().table(tally);
    let tally = match auto {
        Some(cuts) => {
            let mut timer = Timer::new(cuts, Dice::new(seed), LOOKS, || std::thread::sleep(LOOK));
            ordeal::undergo(device, &mut timer, show)
        }
        None => {
            let _terminal = Terminal::keys()?;
            let mut keys = Keys::new(std::io::stdin(), Dice::new(seed));
            ordeal::undergo(device, &mut keys, show)
        }
    }?;
    screen.borrow_mut().last(&tally);
    Ok(tally)
}

fn told(board: &str, seed: u64, tally: &Tally, passed: bool) -> Value {
    let updates = |update| json!({ "kept": tally.updated(update), "undone": tally.before(update) });
    json!({
        "command": "try-to-brick", "passed": passed, "board": board, "seed": seed,
        "updates": { "good": updates(Update::Good), "bad": updates(Update::Bad) },
        "cuts": tally.cuts(), "while": tally.hits().collect::<BTreeMap<_, _>>(),
        "bricks": tally.bricks(), "why": tally.brick(),
    })
}

/// A seed that is easy to type.
fn chance() -> Result<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock stands before 1970")?;
    Ok(Dice::new(u64::try_from(now.as_nanos() & u128::from(u64::MAX))?).roll(1_000_000))
}
