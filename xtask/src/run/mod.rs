//! `run`: a device on this machine, and the story that it is taken through.
//!
//! ```text
//!   tools      pvr, cairn, cairn-host of this tree          image, registry    what apps are made of
//!   factory    a signed state, made with pvr                device             boots it
//!   story      tests/e2e/*.toml, told event by event        scene              nothing stays behind
//! ```
//!
//! Promises: it needs no registry on the internet; what the device did is followed as a path of the model; it changes nothing on the machine outside of the target directory;
//! what it has started ends with it, or with `--stop`.

pub(crate) mod board;
mod boots;
mod device;
pub(crate) mod factory;
mod figures;
pub(crate) mod image;
pub(crate) mod leaks;
mod live;
pub(crate) mod memory;
mod outside;
mod picture;
pub(crate) mod pvr;
mod registry;
pub(crate) mod scene;
pub(crate) mod stage;
pub(crate) mod start;
pub(crate) mod story;
mod stuck;
pub(crate) mod tools;
pub(crate) mod update;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use self::device::{Device, quoted};
use self::factory::Factory;
use self::registry::Registry;
use self::scene::Scene;
use self::stage::{Stage, StandIn};
use self::story::Story;
use self::story::event::Event;
use self::story::play::{self, World as _};
use self::story::show::Show;
use self::tools::Tools;
use crate::arch::Arch;
use crate::explore::Explorer;
use crate::term::{Out, bold, green};
use crate::{cargo, setup};

/// The name of the scene, below the target directory.
const SCENE: &str = "first-light";

/// What a device on this machine is called where stories name boards.
const BOARD: &str = "host";

/// Where the stories are.
const STORIES: &str = "tests/e2e";

/// Among them, stories that need images of whole systems.
pub(crate) const CONTAINERS: &str = "containers";

/// The story of an image that a person names.
const ANY_IMAGE: &str = "any-image";

/// The image that the story makes its app of.
const IMAGE: &str = "nginx:stable-alpine";

#[derive(Args)]
pub(crate) struct Options {
    /// Tell it on a board under QEMU instead of on this machine
    #[arg(long, value_name = "BOARD", value_parser = machine::BOARDS.map(|(name, _)| name), conflicts_with_all = ["image", "stop"])]
    board: Option<String>,
    /// Tell this story of tests/e2e/boards, or `containers/NAME`
    #[arg(long, value_name = "NAME", requires = "board", default_value = board::FIRST)]
    story: String,
    /// Print every event as a line of JSON, and stop the device at the end
    #[arg(long)]
    json: bool,
    /// Fail unless everything comes as the story tells it, and stop the device at the end
    #[arg(long)]
    check: bool,
    /// Make the app of this image, from whatever registry has it, and tell a shorter story
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// Stop the device that an earlier run has left
    #[arg(long, conflicts_with_all = ["json", "check", "image"])]
    stop: bool,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    if options.stop {
        let text = if Scene::stop_left(SCENE)? { "stopped" } else { "nothing runs" };
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let show = if options.json { Show::Json } else { Show::Timeline(Out::Stdout) };
    setup::ensure(show.out())?;
    if let Some(board) = &options.board {
        board::tell(board, &options.story, show)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = if options.image.is_some() { ANY_IMAGE } else { "first-light" };
    let mut telling = Telling::begin(SCENE, name, options.image.as_deref(), show)?;
    telling.tell()?;
    if options.json || options.check {
        telling.scene.stop()?;
    } else {
        telling.leave()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every story that is told without being asked for an image, by name.
pub(crate) fn stories() -> Result<Vec<String>> {
    let mut names = stories_of(STORIES)?;
    names.retain(|name| name != ANY_IMAGE);
    Ok(names)
}

/// Those of containers with real systems in them, by the names that [`check`] takes.
pub(crate) fn containers() -> Result<Vec<String>> {
    let names = stories_of(&format!("{STORIES}/{CONTAINERS}"))?;
    Ok(names.into_iter().map(|name| format!("{CONTAINERS}/{name}")).collect())
}

fn stories_of(dir: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(cargo::root().join(dir)).with_context(|| format!("cannot read {dir}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".toml").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Tells a story and leaves nothing behind, as a stage of `test`.
pub(crate) fn check(name: &str, out: Out) -> Result<()> {
    let mut telling = Telling::begin(&format!("test-{}", name.replace('/', "-")), name, None, Show::Timeline(out))?;
    telling.tell()?;
    telling.scene.stop()
}

/// What the script of a step has said when the story was told, and the directory that it ran in.
pub(crate) fn said(name: &str, step: &str, out: Out) -> Result<(String, String)> {
    let mut telling = Telling::begin(&format!("docs-{name}"), name, None, Show::Kept(out, Vec::new()))?;
    telling.tell()?;
    telling.scene.stop()?;
    let home = telling.scene.path("work").display().to_string();
    let Show::Kept(_, told) = telling.show else { bail!("nothing was kept of the story") };
    let said = told.into_iter().find(|(name, _)| name == step).map(|(_, said)| said);
    Ok((said.with_context(|| format!("{name} has no step {step:?} that shows what it says"))?, home))
}

/// A story, and the device that it is about.
struct Telling {
    story: Story,
    scene: Scene,
    device: Device,
    /// For scripts, and for a person afterwards.
    variables: BTreeMap<String, String>,
    start: Instant,
    show: Show,
}

impl Telling {
    /// Everything up to the moment in which the device is switched on.
    fn begin(scene: &str, story: &str, image: Option<&str>, show: Show) -> Result<Self> {
        let story = Story::read(&cargo::root().join(format!("{STORIES}/{story}.toml")))?.on(BOARD);
        let tools = Tools::build(show.out())?;
        show.out().line(bold(show.out(), &format!("\n{}", story.title)));
        let start = Instant::now();
        let mut scene = Scene::open(scene)?;
        let (device, variables) = prepare(&mut scene, &tools, &story, image, show.out())?;
        Ok(Self { story, scene, device, variables, start, show })
    }

    fn tell(&mut self) -> Result<()> {
        let booted = u64::try_from(self.start.elapsed().as_millis())?;
        self.device.start(&mut self.scene)?;
        let rig = StandIn::new(&self.device, booted);
        let mut stage = Stage::new(&self.scene, rig, self.start, self.variables.clone())?;
        let told = play::play(&self.story, &mut stage, &mut self.show);
        let over = json!({ "story": self.story.title, "is": if told.is_ok() { "over" } else { "broken-off" } });
        self.show.event(&Event::new("story", stage.now(), over));
        let told = told.and_then(|()| follow(&self.device.events, self.show.out()));
        if told.is_err() {
            let threads = self.scene.pid(device::NAME).map(stuck::threads_below).unwrap_or_default();
            std::fs::write(self.scene.path("logs/threads.txt"), threads)?;
            let logs = [self.scene.path("logs"), self.scene.path("device/console.log")];
            self.show.out().line(format!("logs: {}, {}", logs[0].display(), logs[1].display()));
        }
        told
    }

    /// Leaves the device running. Says what runs, what to try, and how it ends.
    fn leave(&mut self) -> Result<()> {
        let env = self.scene.path("env");
        let export = |(name, value): (&String, &String)| format!("export {name}={}\n", quoted(Path::new(value)));
        std::fs::write(&env, self.variables.iter().map(export).collect::<String>())?;
        self.scene.keep();
        let out = self.show.out();
        out.line(green(out, "\nThe device runs on. Try:"));
        let work = self.scene.path("work/my-device");
        out.line(format!("  . {}    # pvr and pvcontrol, with the keys and the registry of this run", env.display()));
        out.line("  pvcontrol ls");
        out.line(format!("  fetch http://{}/", self.device.web));
        out.line(format!("  cd {}    # change something, then:", work.display()));
        out.line("  pvr add . && pvr commit -m 'mine' && pvr post -m 'mine'");
        out.line("\n  cargo xtask run --stop    # ends it");
        Ok(())
    }
}

/// What the device did is a path of the model, or the story fails however it came out.
pub(crate) fn follow(events: &Path, out: Out) -> Result<()> {
    let mut replay = Explorer::FOLLOW.command(&[events.to_string_lossy()]);
    let output = replay.output().with_context(|| format!("cannot run `{}`", cargo::shown(&replay)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the run is no path of the model:\n{}{}", said, String::from_utf8_lossy(&output.stderr));
    }
    out.line(format!("\nfollowed as a path of the model: {}", said.trim()));
    Ok(())
}

/// The images, the factory state, the device, and the variables of scripts.
fn prepare(
    scene: &mut Scene,
    tools: &Tools,
    story: &Story,
    image: Option<&str>,
    out: Out,
) -> Result<(Device, BTreeMap<String, String>)> {
    let mirrors = offer(scene, story, out)?;
    let factory = Factory::make(scene, tools)?;
    let device = Device::create(scene, tools, &factory, story)?;
    let bin = scene.place("bin")?;
    device.write_programs(&bin, &tools.pvr)?;
    let inherited = std::env::var("PATH").unwrap_or_default();
    let mut variables = BTreeMap::from([
        ("PATH".to_owned(), format!("{}:{inherited}", bin.display())),
        ("PVR_CONFIG_DIR".to_owned(), factory.keys.display().to_string()),
        ("PVR_CACHE_DIR".to_owned(), scene.path("cache").display().to_string()),
        ("ROOT".to_owned(), cargo::root().display().to_string()),
        ("DEVICE".to_owned(), "127.0.0.1".to_owned()),
        ("IMAGES".to_owned(), scene.path("images").display().to_string()),
        ("PLATFORM".to_owned(), Arch::host()?.platform()),
        ("ENDPOINT".to_owned(), device.endpoint.clone()),
        ("WEB".to_owned(), device.web.clone()),
        ("IMAGE".to_owned(), image.unwrap_or(IMAGE).to_owned()),
        // No proxy stands between us and loopback, whatever the environment says.
        ("NO_PROXY".to_owned(), "127.0.0.1".to_owned()),
        ("no_proxy".to_owned(), "127.0.0.1".to_owned()),
    ]);
    if image.is_none() {
        variables.extend([mirrors]);
    }
    Ok((device, variables))
}

/// Serves the images that scripts name, and those of the story, for as long as the scene is. The result is the variable by which
/// `pvr` finds them.
fn offer(scene: &mut Scene, story: &Story, out: Out) -> Result<(String, String)> {
    let registry = Registry::start(scene)?;
    for (name, image) in image::contents::images()? {
        scene.go_on()?;
        registry.push(name, &image)?;
        // The same as files, for `pvr app add --from oci:DIR`.
        image.write_layout(&scene.place(&format!("images/{}", name.replace([':', '/'], "-")))?, name)?;
    }
    for name in &story.images {
        scene.go_on()?;
        let tag = if name.contains(':') { "" } else { ":latest" };
        registry.push(&format!("library/{name}{tag}"), &image::systems::image(name, out)?)?;
    }
    Ok(("PVR_MIRRORS".to_owned(), format!("docker.io={}", registry.url)))
}
