//! `bsp`: the base system of a board as a bundle that `pvr` adds like any other: kernel, initramfs, device tree, modules,
//! firmware.
//!
//! ```text
//!   bsp-containers/BOARD/bsp.toml ──bump──▶ bsp.lock ──build──▶ target/boards/BOARD/bsp/bsp/run.json
//!                                                                                       kernel.img
//!                                                                                       cairn            (initramfs)
//!                                                                                       modules_RELEASE.squashfs
//!                                                                                       …
//! ```
//!
//! Promises: the same recipe, lock, program, settings and keys give the same bytes. Packages are unpacked below the target
//! directory and never installed. What depends on the kernel alone is made once.

mod bundle;
mod command;
mod cpio;
mod device_tree;
mod fit;
mod initramfs;
mod modules;
mod recipe;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use formats::object::ObjectId;
use serde_json::{Value, json};

use crate::arch::Arch;
use crate::build::{self, Profile};
use crate::term::Out;
use crate::{cargo, packages};
use initramfs::{Compression, Contents};
use modules::Modules;
use recipe::Recipe;
use source::Source;

pub(crate) use command::{Options, run};
pub(crate) use fit::FIT;
pub(crate) use initramfs::Conf;
pub(crate) use recipe::DEFAULT;

/// The name of the initramfs in a bundle.
const INITRAMFS: &str = "cairn";

/// A bundle that is wanted.
pub(crate) struct Wish<'a> {
    pub(crate) board: &'a str,
    /// [`DEFAULT`], or another of the board's.
    pub(crate) recipe: &'a str,
    /// `None`: the quickest.
    pub(crate) profile: Option<Profile>,
    /// A program that is there; `None`: built.
    pub(crate) program: Option<&'a Path>,
    /// Kernel and modules of somebody else; `None`: the packages that are pinned.
    pub(crate) from: Option<&'a Path>,
    /// Where the bundle goes; `None`: into [`target`], in place of the last one of this recipe.
    pub(crate) into: Option<&'a Path>,
    /// Settings over those of the recipe.
    pub(crate) conf: &'a Conf,
    /// Files, `NAME.pem`.
    pub(crate) trust: &'a [PathBuf],
}

impl<'a> Wish<'a> {
    /// What a board usually gets.
    pub(crate) fn new(board: &'a str, conf: &'a Conf, trust: &'a [PathBuf]) -> Self {
        Self { board, recipe: DEFAULT, profile: None, program: None, from: None, into: None, conf, trust }
    }
}

/// A bundle that is there.
pub(crate) struct Bsp {
    /// The directory in which `bsp/` is.
    pub(crate) dir: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) fdt: Option<PathBuf>,
    /// Kernel and initramfs in one, where the firmware starts such a thing.
    pub(crate) fit: Option<PathBuf>,
    /// What the board adds to the kernel's command line.
    pub(crate) command_line: String,
    /// What `uname -r` says.
    pub(crate) release: String,
}

/// Where everything of a board is built.
pub(crate) fn target(board: &str) -> Result<PathBuf> {
    let dir = cargo::target_directory()?.join("boards").join(board);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// The architecture of a board.
pub(crate) fn arch(board: &str) -> Result<Arch> {
    Ok(Recipe::read(board, DEFAULT)?.architecture)
}

/// Whether a board has this recipe.
pub(crate) fn has_recipe(board: &str, name: &str) -> bool {
    Recipe::read(board, name).is_ok()
}

/// Makes a bundle.
pub(crate) fn make(wish: &Wish<'_>, out: Out) -> Result<Bsp> {
    let recipe = Recipe::read(wish.board, wish.recipe)?;
    let target = target(wish.board)?;
    let (source, fixed) = fixed_part(wish, &recipe, &target, out)?;
    let initramfs = initramfs(wish, &recipe, &source, out)?;

    let dir = wish.into.map_or_else(|| target.join(wish.recipe), Path::to_owned);
    let name = dir.file_name().with_context(|| format!("{} is no place for a bundle", dir.display()))?;
    let new = dir.with_file_name(format!("{}.{}.new", name.to_string_lossy(), std::process::id()));
    let bsp = new.join("bsp");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&bsp).with_context(|| format!("cannot create {}", bsp.display()))?;
    for entry in fs::read_dir(&fixed)? {
        let entry = entry?;
        let place = bsp.join(entry.file_name());
        // Nobody changes a file of a bundle in place, so a link will do where one can be.
        if fs::hard_link(entry.path(), &place).is_err() {
            bundle::copy(&entry.path(), &place)?;
        }
    }
    fs::write(bsp.join(INITRAMFS), initramfs)?;
    if let Some(wish) = &recipe.fit {
        let parts = (bsp.join(bundle::KERNEL), bsp.join(INITRAMFS));
        let image = fit::make(wish, recipe.architecture, (&parts.0, &parts.1), &new.join("fit"))?;
        fs::write(bsp.join(FIT), image)?;
        // They are in it, and belong to the bundle no more.
        fs::rename(&parts.0, new.join(bundle::KERNEL))?;
        fs::rename(&parts.1, new.join(INITRAMFS))?;
    }
    write_json(&bsp.join("run.json"), &run_json(&recipe, &source))?;
    write_json(&bsp.join("build.json"), &build_json(wish, &recipe, &source)?)?;
    if !recipe.drivers.is_empty() {
        write_json(&bsp.join("drivers.json"), &json!({ "#spec": "driver-aliases@1", "all": recipe.drivers }))?;
    }
    if dir.exists() {
        // What is replaced must be a bundle: `--output` may name anything.
        if !dir.join("bsp/run.json").is_file() {
            bail!("{} is there and is no bundle", dir.display());
        }
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::rename(&new, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let parts = if recipe.fit.is_some() { dir.clone() } else { dir.join("bsp") };
    Ok(Bsp {
        kernel: parts.join(bundle::KERNEL),
        initrd: parts.join(INITRAMFS),
        fit: recipe.fit.as_ref().map(|_| dir.join("bsp").join(FIT)),
        fdt: recipe.kernel.fdt.as_ref().map(|fdt| dir.join("bsp").join(fdt)),
        command_line: recipe.kernel.command_line,
        release: source.release,
        dir,
    })
}

/// The kernel of a recipe, and an initramfs with a program of somebody else's and these modules, each with its parameters, instead
/// of what the recipe has.
pub(crate) fn bare(board: &str, recipe: &str, program: &Path, early: &[&str], out: Out) -> Result<(PathBuf, Vec<u8>)> {
    let mut recipe = Recipe::read(board, recipe)?;
    recipe.modules.early = early.iter().map(|&wish| wish.to_owned()).collect();
    let source = Source::packages(&recipe, &recipe.lock()?, out)?;
    let program = build::accept(program, recipe.architecture)?;
    let archive = initramfs::archive(&Contents {
        program: &fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?,
        conf: &Conf::default(),
        trust: &[],
        early: &bundle::early(&recipe, &Modules::read(&source.modules)?)?,
    })?;
    Ok((source.image, Compression::Gzip.pack(&archive)?))
}

/// What depends on the kernel and the recipe alone: kept if it comes from packages, made anew if from a directory, whose
/// bytes nobody has pinned.
fn fixed_part(wish: &Wish<'_>, recipe: &Recipe, target: &Path, out: Out) -> Result<(Source, PathBuf)> {
    let kernels = target.join("kernels");
    match wish.from {
        Some(dir) => {
            let source = Source::directory(dir, recipe)?;
            let place = kernels.join("directory");
            let _ = fs::remove_dir_all(&place);
            let place = packages::once(&place, |new| bundle::write(recipe, &source, new, out))?;
            Ok((source, place))
        }
        None => {
            let lock = recipe.lock()?;
            let source = Source::packages(recipe, &lock, out)?;
            let key = ObjectId::of(format!("{}\n{}", recipe.text, toml::to_string(&lock)?).as_bytes()).to_string();
            let place = packages::once(&kernels.join(key), |new| bundle::write(recipe, &source, new, out))?;
            Ok((source, place))
        }
    }
}

fn initramfs(wish: &Wish<'_>, recipe: &Recipe, source: &Source, out: Out) -> Result<Vec<u8>> {
    let arch = recipe.architecture;
    let program = match wish.program {
        Some(program) => build::accept(program, arch)?,
        None => build::build(wish.board, wish.profile.unwrap_or(Profile::of(arch)), out)?.path,
    };
    let conf = Conf::default().set("board", wish.board).with(&recipe.conf()).with(wish.conf);
    let trust = wish.trust.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, fs::read(path).with_context(|| format!("cannot read {}", path.display()))?))
    });
    let mut trust: Vec<(String, Vec<u8>)> = trust.collect::<Result<_>>()?;
    trust.sort();
    if trust.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        bail!("two of the keys have the same file name");
    }
    let archive = initramfs::archive(&Contents {
        program: &fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?,
        conf: &conf,
        trust: &trust,
        early: &bundle::early(recipe, &Modules::read(&source.modules)?)?,
    })?;
    let compression = Compression::of(&source.config);
    let mut packed = compression.pack(&archive)?;
    for addon in addons(recipe, out)? {
        packed.extend(compression.pack(&addon)?);
    }
    Ok(packed)
}

/// The archives of all addons, in the order of their names. They come from packages wherever the kernel comes from.
fn addons(recipe: &Recipe, out: Out) -> Result<Vec<Vec<u8>>> {
    if recipe.addons.is_empty() {
        return Ok(Vec::new());
    }
    let lock = recipe.lock()?;
    let archive = |(name, addon): (&String, &recipe::Addon)| {
        let locked = lock.addons.get(name).with_context(|| format!("the addon {name} is not pinned: bump it"))?;
        let tree = packages::pinned(&locked.pinned(recipe.architecture)?, out)?;
        let programs = addon.files.iter().map(|file| {
            let (place, path) = file.split_once(" from ").unwrap_or((file, file));
            let path = tree.join(path);
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok((place.to_owned(), bytes))
        });
        initramfs::addon(&programs.collect::<Result<Vec<_>>>()?)
    };
    recipe.addons.iter().map(archive).collect()
}

/// What the device boots and mounts.
fn run_json(recipe: &Recipe, source: &Source) -> Value {
    let mut run = match &recipe.fit {
        Some(_) => json!({ "fit": FIT }),
        None => json!({ "linux": bundle::KERNEL, "initrd": INITRAMFS, "addons": [] }),
    };
    let mut set = |key: String, value: String| run.as_object_mut().map(|members| members.insert(key, value.into()));
    set(format!("modules_{}", source.release), bundle::modules_name(&source.release));
    if recipe.firmware.is_some() {
        set("firmware".into(), bundle::FIRMWARE.into());
    }
    if let Some(fdt) = &recipe.kernel.fdt {
        set("fdt".into(), fdt.clone());
    }
    run
}

/// What the bundle was made of. A device does not read it.
fn build_json(wish: &Wish<'_>, recipe: &Recipe, source: &Source) -> Result<Value> {
    let packages = if wish.from.is_some() { Value::Null } else { serde_json::to_value(recipe.lock()?)? };
    Ok(json!({ "board": wish.board, "recipe": wish.recipe, "release": source.release, "packages": packages }))
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value}\n")).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use formats::bsp_json::{Boot, Bsp};
    use formats::state::Revision;

    use super::*;

    const RECIPE: &str = "architecture = 'armv7'\n[kernel]\npackage = 'linux-image-x'\nfdt = 'board.dtb'\n\
                          [modules]\nearly = []\nship = []\n[firmware]\npackage = 'f'\nfiles = []\n";

    #[test]
    fn a_device_understands_what_it_is_told_to_boot() {
        let recipe: Recipe = toml::from_str(RECIPE).unwrap();
        let source = Source {
            release: "6.1.0-50-armmp".into(),
            image: PathBuf::new(),
            config: String::new(),
            modules: PathBuf::new(),
            fdt: None,
            firmware: None,
        };
        let id = ObjectId::of(b"").to_string();
        let files = ["kernel.img", "cairn", "board.dtb", "modules_6.1.0-50-armmp.squashfs", "firmware.squashfs"];
        let files: String = files.iter().map(|file| format!(r#","bsp/{file}":"{id}""#)).collect();
        let run = run_json(&recipe, &source);
        let text = format!(r##"{{"#spec":"pantavisor-service-system@1","bsp/run.json":{run}{files}}}"##);
        let mut warnings = Vec::new();
        let bsp = Bsp::of(&Revision::parse(text.as_bytes()).unwrap(), &mut warnings).unwrap().unwrap();
        let boot = Boot::Linux { kernel: "kernel.img".into(), initrd: "cairn".into(), fdt: Some("board.dtb".into()) };
        assert_eq!(bsp.boot, boot);
        assert_eq!(bsp.modules_for("6.1.0-50-armmp").unwrap().file, "modules_6.1.0-50-armmp.squashfs");
        assert!(bsp.firmware.is_some() && warnings.is_empty());
    }

    #[test]
    fn the_settings_of_a_caller_win_over_those_of_the_recipe_and_the_board_is_always_named() {
        let recipe: Recipe = toml::from_str(&format!("{RECIPE}[conf]\nstorage = 'a'\nline = 'b'\n")).unwrap();
        let conf = Conf::default().set("board", "x").with(&recipe.conf()).with(&Conf::default().set("storage", "c"));
        let text = conf.to_string();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["board=x", "line=b", "storage=c"]);
    }
}
