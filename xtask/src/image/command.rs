//! The command: from the name of a board to the file of its disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use boards_all::with_board;
use boards_api::board::Role;
use boards_api::slots::Slot;
use clap::Args;
use serde_json::json;

use super::build::{Built, beside, build, map_path};
use super::factory::Made;
use super::source::{Filling, From, ImageSource, Item};
use super::table::Kind;
use super::{factory, firmware};
use crate::bsp::{Bsp, Conf, DEFAULT};
use crate::build::Profile;
use crate::run::board::alone;
use crate::term::{Out, green};
use crate::{Json, cargo, vendor};

#[derive(Args)]
pub(crate) struct Options {
    /// The board
    #[arg(long)]
    board: String,
    /// Where the image goes, and OUTPUT.bmap beside it [default: target/images/BOARD.img]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What the storage holds: objects/ and trails/0/, as `pvr deploy` makes them [default: a demonstration]
    #[arg(long, value_name = "DIR")]
    storage: Option<PathBuf>,
    /// Files for the recovery partition: kernel, initrd, fdt [default: those of the demonstration]
    #[arg(long, value_name = "DIR", requires = "storage")]
    recovery: Option<PathBuf>,
    /// The base system of the demonstration: bsp-containers/BOARD/RECIPE.toml
    #[arg(long, default_value = DEFAULT, conflicts_with = "storage")]
    recipe: String,
    /// How the program of the demonstration is built; see `cargo xtask build`
    #[arg(long, conflicts_with = "storage")]
    profile: Option<Profile>,
    /// More files for the FAT that the firmware reads
    #[arg(long, value_name = "DIR")]
    firmware: Option<PathBuf>,
    /// Words that the boot script adds to the kernel's command line, such as mem=64M
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    arguments: String,
    /// The partition table; no board of this tree needs another than a GPT
    #[arg(long, value_enum, default_value_t = Kind::Gpt)]
    table: Kind,
    /// How large the disk is [default: a power of two that holds everything]
    #[arg(long, value_name = "MEGABYTES")]
    size: Option<u32>,
    #[command(flatten)]
    json: Json,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let out = options.json.out();
    let output = match &options.output {
        Some(output) => output.clone(),
        None => usual(&options.board)?,
    };
    let built = make(options, &output, out)?;
    if options.json.json {
        let partitions = built.partitions.iter().map(
            |partition| json!({ "label": partition.label, "start": partition.start(), "bytes": partition.bytes() }),
        );
        println!(
            "{:#}",
            json!({
                "command": "image", "passed": true, "board": options.board, "image": output, "map": map_path(&output),
                "bytes": built.bytes, "mapped": built.map.bytes(), "partitions": partitions.collect::<Vec<_>>(),
            })
        );
    }
    out.line(format!("{:>14} {:>14}  partition", "byte", "bytes"));
    for (number, partition) in (1..).zip(&built.partitions) {
        out.line(format!("{:>14} {:>14}  {number} {}", partition.start(), partition.bytes(), partition.label));
    }
    let (image, mapped) = (built.bytes >> 20, built.map.bytes() >> 20);
    out.line(green(out, &format!("{}: {image} MiB, of which {mapped} are written to a disk", output.display())));
    Ok(ExitCode::SUCCESS)
}

/// The image of a board for `flash`.
pub(crate) fn for_flashing(board: &str, out: Out) -> Result<PathBuf> {
    let output = usual(board)?;
    make(&Options::usual(board), &output, out)?;
    Ok(output)
}

/// The image of a board for a story: the usual device with further settings and arguments of its kernel, and so many
/// megabytes of disk.
pub(crate) fn for_story(
    board: &str,
    conf: &Conf,
    arguments: &str,
    megabytes: u32,
    output: &Path,
    out: Out,
) -> Result<(Built, Made)> {
    let mut source = of_board(board, Kind::Gpt)?;
    source.arguments = arguments.to_owned();
    source.size = Some(u64::from(megabytes) << 20);
    let options = Options::usual(board);
    in_work(output, |work| {
        let made = demonstration(&mut source, &options, conf, work, out)?;
        Ok((build(&source, output)?, made))
    })
}

impl Options {
    fn usual(board: &str) -> Self {
        Self {
            board: board.to_owned(),
            output: None,
            storage: None,
            recovery: None,
            recipe: DEFAULT.to_owned(),
            profile: None,
            firmware: None,
            arguments: String::new(),
            table: Kind::Gpt,
            size: None,
            json: Json { json: false },
        }
    }
}

fn usual(board: &str) -> Result<PathBuf> {
    let dir = cargo::target_directory()?.join("images");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.join(format!("{board}.img")))
}

/// What a board alone decides, without the files of any product.
pub(crate) fn of_board(board: &str, table: Kind) -> Result<ImageSource> {
    let theirs = vendor::board(board).map(|board| board.image(table));
    match theirs.or_else(|| with_board!(board, B => ImageSource::of::<B>(table))) {
        Some(source) => source,
        None => {
            let names: Vec<_> = boards_all::ENTRIES.iter().map(|entry| entry.name).chain(vendor::names()).collect();
            bail!("there is no board {board}; there are: {}", names.join(", "))
        }
    }
}

fn make(options: &Options, output: &Path, out: Out) -> Result<Built> {
    let _alone = alone()?;
    let mut source = of_board(&options.board, options.table)?;
    source.arguments = options.arguments.clone();
    source.size = options.size.map(|size| u64::from(size) << 20);
    in_work(output, |work| {
        fill(&mut source, options, work, out)?;
        build(&source, output)
    })
}

/// With a directory for passing files beside an image.
fn in_work<T>(output: &Path, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let work = beside(output, "work");
    if work.is_dir() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let made = make(&work);
    // Best effort: what is reported is why there is no image.
    let _ = fs::remove_dir_all(&work);
    made
}

fn fill(source: &mut ImageSource, options: &Options, work: &Path, out: Out) -> Result<()> {
    if let Some(dir) = &options.firmware {
        for item in firmware::directory(dir)? {
            source.add(Role::Firmware, item)?;
        }
    }
    let Some(storage) = &options.storage else {
        return demonstration(source, options, &Conf::default(), work, out).map(drop);
    };
    firmware::add(source, options.firmware.is_some(), work, out)?;
    if !storage.join("trails/0").is_dir() {
        bail!("{} has no trails/0; make it with: pvr deploy {0}/trails/0", storage.display());
    }
    if let Some(dir) = &options.recovery {
        for item in firmware::directory(dir)? {
            source.add(Role::Recovery, item)?;
        }
    }
    store(source, storage)
}

/// The device that an image of ours is, with further settings.
fn demonstration(source: &mut ImageSource, options: &Options, conf: &Conf, work: &Path, out: Out) -> Result<Made> {
    firmware::add(source, options.firmware.is_some(), work, out)?;
    let kind = factory::Kind { recipe: &options.recipe, profile: options.profile, conf };
    let made = factory::make(&options.board, &kind, work, out)?;
    recovery(source, &made.bsp)?;
    store(source, &made.storage)?;
    Ok(made)
}

fn store(source: &mut ImageSource, storage: &Path) -> Result<()> {
    if let Some(shape) = source.shape {
        let links = storage.join("trails/0/.pv");
        let images = ["pantavisor.fit", "rpiboot.img"].map(|name| links.join(name));
        let image = images.iter().find(|image| image.is_file()).with_context(|| {
            format!("{} has no image for a slot; its bsp/run.json needs \"fit\" or \"rpiab\"", links.display())
        })?;
        source.lay(Role::Slot(Slot(0)), shape.image, super::read(image)?)?;
    }
    let Some(label) = source.layout.partition(Role::Store).map(|partition| partition.label) else {
        bail!("board {} has no storage", source.board);
    };
    source.fill(label, Filling::Tree(storage.to_owned()))
}

/// A kernel and the program in a place of their own.
fn recovery(source: &mut ImageSource, bsp: &Bsp) -> Result<()> {
    if let Some(fit) = &bsp.fit {
        return source.lay(Role::Recovery, 0, super::read(fit)?);
    }
    let fdt = bsp.fdt.as_ref().map(|fdt| ("fdt", fdt));
    for (name, path) in [("kernel", &bsp.kernel), ("initrd", &bsp.initrd)].into_iter().chain(fdt) {
        source.add(Role::Recovery, Item::new(name, From::File(path.clone())))?;
    }
    Ok(())
}
