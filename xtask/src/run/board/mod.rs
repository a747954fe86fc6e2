//! Stories on boards: a real firmware, a real bootloader and the distribution's kernel in QEMU, told by the same engine as
//! those of the device on this machine.
//!
//! | module | what |
//! |---|---|
//! | `rig` | the machine as the device of a story |
//! | `witness` | boots and ends, seen from outside |
//! | `cells` | the boot cells in the image of its disk |
//! | `desk` | the device's shell and its switches, for scripts |
//! | `bundles` | the base systems that it is updated to |

mod bundles;
mod cells;
mod desk;
pub(crate) mod rig;
mod witness;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use machine::{Disk, Kind, Plan};
use rustix::fs::FlockOperation;
use serde_json::json;

use self::cells::Cells;
use self::rig::{Board, Files};
use super::device::{self, ENDPOINT, WEB};
use super::image::contents;
use super::scene::Scene;
use super::stage::Stage;
use super::story::Story;
use super::story::event::Event;
use super::story::play::{self, World as _};
use super::story::show::Show;
use crate::arch::Arch;
use crate::bsp::{self, Conf};
use crate::image::{self, Made};
use crate::lane::{Lane, Teller, Told};
use crate::term::{Out, bold};
use crate::{cargo, setup};

/// Where stories of boards are.
const STORIES: &str = "tests/e2e/boards";

/// The story that `run --board` tells.
pub(super) const FIRST: &str = "updates";

/// The boards on which stories of containers are told too: each a kernel and a cgroup tree unlike this machine's, for its processor,
/// whose packages the images are made of.
pub(crate) const TOLD_CONTAINERS: &[&str] = &["qemu-x86_64-grub"];

/// What a story of containers may take there, as a factor: it says what it takes on this machine itself, which emulates that one
/// instruction by instruction.
const SLOWER: u64 = 5;

/// Megabytes of memory for whole systems in containers.
const MEMORY: u32 = 1024;

/// Megabytes of an image, and of the disk that it is on. Cards in QEMU have powers of two.
const IMAGE: u32 = 512;
const DISK: u64 = 1024;

/// The line that a device's trace comes on, as its kernel calls it.
fn trace(kind: Kind) -> &'static str {
    match kind {
        Kind::Arm64UBoot | Kind::Arm64Direct => "/dev/ttyS0",
        _ => "/dev/ttyS1",
    }
}

/// The boards on which stories are told.
const TOLD: &[&str] = &["qemu-x86_64-grub", "qemu-arm64-uboot", "qemu-arm-orangepi-pc"];

/// Boards on which the first story alone is told: the others take files out of a base system that is one image here.
const TOLD_FIRST: &[&str] = &["qemu-arm64-uboot-ab"];

/// The laws of every board, and every story on every board that can tell one, as a stage of `test`. One that fails does
/// not keep the others from being told; as many are told at a time as this machine has cores.
pub(crate) fn check(out: Out) -> Result<()> {
    let laws = ["test", "--quiet", "--workspace", "--no-fail-fast", "--test", "laws"];
    let mut wrong: Vec<_> = cargo::must(&mut cargo::command(laws), out).err().into_iter().collect();
    let mut stories_of_boards = Vec::new();
    for story in stories()? {
        let of = read(&story)?;
        let others = TOLD_FIRST.iter().filter(|_| story == FIRST);
        for board in TOLD.iter().chain(others).filter(|board| of.is_of(board)) {
            let args = ["run", "--check", "--board", board, "--story", &story].map(str::to_owned).into();
            stories_of_boards.push(Teller { name: format!("{board}-{story}"), args });
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lane = Lane::start(stories_of_boards, cores)?;
    while let Some(Told { name, seconds, said, result }) = lane.next() {
        out.line(said.trim_end());
        out.line(format!("{name}: {seconds:.0} s"));
        wrong.extend(result.err().map(|error| error.context(name)));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// Every story of boards, by name; the one of good updates first.
fn stories() -> Result<Vec<String>> {
    let dir = cargo::root().join(STORIES);
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {STORIES}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".toml").map(str::to_owned));
    }
    names.sort_by_key(|name| (name != FIRST, name.clone()));
    Ok(names)
}

/// One of boards, or `containers/NAME`.
fn read(name: &str) -> Result<Story> {
    let dir = if is_of_containers(name) { super::STORIES } else { STORIES };
    Story::read(&cargo::root().join(dir).join(format!("{name}.toml")))
}

fn is_of_containers(name: &str) -> bool {
    name.split_once('/').is_some_and(|(dir, _)| dir == super::CONTAINERS)
}

/// Tells one story and leaves nothing behind.
pub(crate) fn tell(board: &str, name: &str, mut show: Show) -> Result<()> {
    let out = show.out();
    setup::ensure(out)?;
    let mut story = read(name)?.on(board);
    let of_containers = is_of_containers(name);
    if !story.is_of(board) || of_containers && !TOLD_CONTAINERS.contains(&board) {
        bail!("{board} cannot tell the story {name}: see tests/e2e/README.md");
    }
    if of_containers && Arch::host()? != bsp::arch(board)? {
        bail!("the images of {name} are made of programs of this machine, and {board} has another processor");
    }
    let factor = if of_containers { SLOWER } else { 1 } * patience();
    for step in &mut story.step {
        step.within = step.within.saturating_mul(factor);
    }
    out.line(bold(out, &format!("\n{} ({board})", story.title)));
    let start = Instant::now();
    let mut scene = Scene::open(&format!("board-{board}-{}", name.replace('/', "-")))?;
    let files = Files::in_dir(&scene.path(""))?;
    // A registry that runs holds nothing that a board is made in.
    let mirrors = if of_containers { Some(super::offer(&mut scene, &story, out)?) } else { None };
    let wish = Wish { conf: &story.conf, arguments: story.arguments(board), of_containers };
    let Prepared { mut rig, mut variables, .. } = prepare(&scene, board, &wish, &files, start, out)?;
    variables.extend(mirrors);
    rig.start()?;
    let mut stage = Stage::new(&scene, rig, start, variables)?;
    let told = play::play(&story, &mut stage, &mut show);
    let over = json!({ "story": story.title, "is": if told.is_ok() { "over" } else { "broken-off" } });
    show.event(&Event::new("story", stage.now(), over));
    let mut rig = stage.into_rig();
    if told.is_err() {
        out.line(format!("{}\nlogs: {}", rig.tail(), scene.path("logs").display()));
    }
    rig.stop()?;
    told.and_then(|()| super::follow(&files.events, out))?;
    // Large, and only of use to who looks for a fault.
    fs::remove_file(scene.path("disk.img")).context("cannot remove the disk")
}

/// A factor for what a story may take on a busy host, as machines have it for their own limits.
pub(crate) fn patience() -> u64 {
    let said = std::env::var("CAIRN_PATIENCE").ok().and_then(|text| text.parse::<f64>().ok());
    // A whole number, and never less than the story says.
    (1..=100_u32).rev().find(|factor| said.is_some_and(|said| said >= f64::from(*factor))).map_or(1, u64::from)
}

/// A board that is about to be switched on.
pub(crate) struct Prepared {
    pub(crate) rig: Board,
    /// For scripts.
    pub(crate) variables: BTreeMap<String, String>,
    /// The factory revision, as it lies in the storage.
    pub(crate) factory: PathBuf,
}

/// What differs between devices of one board.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Settings of PID 1.
    pub(crate) conf: &'a BTreeMap<String, String>,
    /// Words for its kernel.
    pub(crate) arguments: &'a str,
    /// Whether it is there for its containers: it has memory and the port of a web server for them, no other base systems, and the
    /// words of scripts mean them.
    pub(crate) of_containers: bool,
}

/// The image of such a device, its machine, what it is updated to, and the variables of scripts.
pub(crate) fn prepare(
    scene: &Scene,
    board: &str,
    wish: &Wish<'_>,
    files: &Files,
    start: Instant,
    out: Out,
) -> Result<Prepared> {
    let kind = Kind::of_board(board).with_context(|| format!("no machine for {board}"))?;
    let conf = wish.conf.iter().fold(Conf::default(), |conf, (key, value)| conf.set(key, value));
    let conf = conf.set("trace", trace(kind));
    // What a selftest finds missing must not be what QEMU lacks of the hardware.
    let conf = if kind.has_watchdog() { conf } else { conf.set("watchdog", "off") };
    let image = scene.path("disk.img");
    let _alone = alone()?;
    let (built, made) = image::for_story(board, &conf, wish.arguments, IMAGE, &image, out)?;
    // As it is in the field: the disk is larger than what was made for the smallest one.
    File::options().write(true).open(&image)?.set_len(DISK << 20)?;
    scene.go_on()?;
    if !wish.of_containers {
        bundles::make(board, &made, &scene.path("bundles"), out)?;
    }
    let cells = Cells::open(board, &image, &built.partitions)?;
    let storage = built.partitions.last().context("an image without partitions")?.start();
    let packages = cargo::target_directory()?.join("packages");
    let plan = Plan::new(kind).disk(Disk::of(&image)).log(scene.path("logs/console.log")).packages(packages);
    let plan = plan.dir(scene.path("machine")).second_serial(&files.trace).forward(ENDPOINT);
    let plan = if kind.has_watchdog() { plan.watchdog() } else { plan };
    let plan = if wish.of_containers { plan.memory(MEMORY).forward(WEB) } else { plan };
    let machine = plan.build()?;
    let here = |port: u16| machine.port(port).map(|port| format!("127.0.0.1:{port}"));
    let mut variables = variables(scene, (&made, bsp::arch(board)?), wish.of_containers, files, (&image, storage))?;
    variables.insert("ENDPOINT".to_owned(), here(ENDPOINT)?);
    if wish.of_containers {
        variables.insert("WEB".to_owned(), here(WEB)?);
    }
    let rig = Board::new(machine, cells, files, u64::try_from(start.elapsed().as_millis())?)?;
    Ok(Prepared { rig, variables, factory: made.storage.join("trails/0") })
}

/// What a device is made of is made in places that all of them share, so one at a time is made, whoever makes it.
pub(crate) fn alone() -> Result<File> {
    let lock = cargo::target_directory()?.join("boards/lock");
    fs::create_dir_all(lock.parent().unwrap_or(&lock))?;
    let file = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", lock.display()))?;
    Ok(file)
}

/// Programs and variables for scripts.
fn variables(
    scene: &Scene,
    (made, arch): (&Made, Arch),
    of_containers: bool,
    files: &Files,
    (disk, storage): (&Path, u64),
) -> Result<BTreeMap<String, String>> {
    let (bin, images, keys) = (scene.place("bin")?, scene.place("images")?, scene.path("keys"));
    // A pairing is kept beside the keys, and is one of this run.
    copy(&made.keys, &keys)?;
    contents::shell(&made.busybox, arch)?.write_layout(&images.join("library-shell-latest"), "library/shell:latest")?;
    let mut programs: Vec<(&str, String)> = desk::PROGRAMS.map(|(name, text)| (name, text.to_owned())).to_vec();
    if of_containers {
        programs.extend(desk::of_containers());
    } else {
        programs.extend(desk::OF_DEVICES.map(|(name, text)| (name, text.to_owned())));
    }
    programs.extend(device::shared(&made.pvr));
    programs.extend([
        ("pair", PAIR.to_owned()),
        ("console", format!("cat {}\n", device::quoted(&scene.path("logs/console.log")))),
        ("on-disk", ON_DISK.to_owned()),
    ]);
    device::write_all(&bin, &programs)?;
    let inherited = std::env::var("PATH").unwrap_or_default();
    Ok(BTreeMap::from([
        ("PATH".to_owned(), format!("{}:{inherited}:/usr/sbin:/sbin", bin.display())),
        ("PVR_CONFIG_DIR".to_owned(), keys.display().to_string()),
        ("PVR_CACHE_DIR".to_owned(), scene.path("cache").display().to_string()),
        ("ROOT".to_owned(), cargo::root().display().to_string()),
        ("IMAGES".to_owned(), images.display().to_string()),
        ("PLATFORM".to_owned(), arch.platform()),
        ("BUNDLES".to_owned(), scene.path("bundles").display().to_string()),
        ("DESK".to_owned(), files.desk.display().to_string()),
        ("DISK".to_owned(), disk.display().to_string()),
        ("STORAGE".to_owned(), storage.to_string()),
        ("NO_PROXY".to_owned(), "127.0.0.1".to_owned()),
        ("no_proxy".to_owned(), "127.0.0.1".to_owned()),
    ]))
}

/// Makes this run's `pvr` one that the device lets in.
const PAIR: &str = r#"code=$(pvcontrol pair | sed -n 's/.*"code": *"\([A-Z0-9]*\)".*/\1/p' | grep .)
exec pvr login "http://$ENDPOINT" --code "$code"
"#;

/// Orders for `debugfs` on the storage of a machine that is off.
const ON_DISK: &str = r#"e2fsck -p "$DISK?offset=$STORAGE" > /dev/null || [ $? -lt 4 ]
for order do debugfs -w -R "$order" "$DISK?offset=$STORAGE" 2>&1; done
"#;

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place).with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
