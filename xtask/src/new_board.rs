//! `new-board`: the crate of a board, made from that of another: here, or in a workspace of a vendor.
//!
//! ```text
//!   here                                 elsewhere (--out DIR)
//!   boards/NAME/                         DIR/board/              the board, and the laws as its tests
//!   a line in the workspace              DIR/program/            the program `cairn` that knows this board
//!   what is left is listed               DIR/bsp-containers/     the recipe of its kernel, where there is one
//!                                        DIR/Cargo.toml          Cairn by path; profiles and lints as here
//! ```
//!
//! Promises: nothing that exists is written over, and what was begun and failed is taken away again. A new board does
//! what the old one did, under its own name, so that the first change of a port is a change of something that works.

mod vendor;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::json;

use crate::boards::{self, Board};
use crate::term::{bold, green};
use crate::{Json, cargo, tree};

/// Names below `boards/` that are no boards.
const RESERVED: &[&str] = &["all", "api", "examples", "laws"];

/// What a partition's label and a host name can hold as well.
const LONGEST: usize = 32;

#[derive(Args)]
pub(crate) struct Options {
    /// Its name, as in `compatible` of a signed revision: words of a-z and 0-9 with `-` between them
    #[arg(value_parser = parse)]
    name: Name,
    /// The board to begin with; `cargo xtask boards` lists them
    #[arg(long, value_name = "BOARD")]
    like: String,
    /// A directory that does not exist yet, for a repository of its own [default: boards/NAME here]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// The name of a board, and what is derived from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name(String);

fn parse(name: &str) -> Result<Name> {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    ensure!(name.len() <= LONGEST, "{name} is longer than {LONGEST} characters");
    ensure!(
        name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split(['-', '_']).all(word),
        "a name has words of a-z and 0-9 with `-` between them, and begins with a letter"
    );
    ensure!(!RESERVED.contains(&name), "{name} is the name of something else in boards/");
    Ok(Name(name.to_owned()))
}

impl Name {
    /// `acme-two`.
    fn as_str(&self) -> &str {
        &self.0
    }

    /// `acme-two`, as packages are called.
    fn package(&self) -> String {
        self.0.replace('_', "-")
    }

    /// `acme_two`, as crates are called.
    fn krate(&self) -> String {
        self.0.replace('-', "_")
    }

    /// `AcmeTwo`.
    fn as_type(&self) -> String {
        let capital = |word: &str| {
            word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1)).collect::<String>()
        };
        self.0.split(['-', '_']).map(capital).collect()
    }
}

/// What was made.
pub(crate) struct Made {
    pub(crate) dir: PathBuf,
    /// What is to be done next, a line each.
    next: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let out = options.json.out();
    let made = make(&options.name, &options.like, options.out.as_deref())?;
    if options.json.json {
        println!(
            "{:#}",
            json!({
                "command": "new-board", "passed": true, "board": options.name.as_str(), "like": options.like,
                "directory": made.dir, "next": made.next,
            })
        );
    }
    out.line(green(out, &format!("{}: {} like {}", made.dir.display(), options.name.as_str(), options.like)));
    out.line(bold(out, "next:"));
    made.next.iter().for_each(|step| out.line(format!("  {step}")));
    Ok(ExitCode::SUCCESS)
}

/// The same for a caller in this program.
pub(crate) fn make_elsewhere(name: &str, like: &str, dir: &Path) -> Result<Made> {
    make(&parse(name)?, like, Some(dir))
}

fn make(name: &Name, like: &str, elsewhere: Option<&Path>) -> Result<Made> {
    let (known, _) = boards::ours()?;
    if let Some(taken) = known.iter().find(|board| board.name == name.as_str()) {
        bail!("there is a board {} already, in {}", name.as_str(), taken.dir.display());
    }
    let names = || known.iter().map(|board| board.name.as_str()).collect::<Vec<_>>().join(", ");
    let like = known.iter().find(|board| board.name == like);
    let like =
        Like::of(like.with_context(|| format!("there is no such board to begin with; there are: {}", names()))?)?;
    like.has_room_for(name)?;
    match elsewhere {
        None => here(name, &like),
        Some(dir) => vendor::make(name, &like, dir),
    }
}

/// The board to begin with.
struct Like {
    board: Board,
    package: String,
    krate: String,
    /// Names of its dependencies, those of its tests among them.
    dependencies: Vec<String>,
}

impl Like {
    fn of(board: &Board) -> Result<Self> {
        // Its bootloader is a program that belongs to this tree, and no device has it.
        ensure!(board.name != "host", "host is this machine, and nothing is ported from it");
        let path = board.dir.join("Cargo.toml");
        let manifest: toml::Table = toml::from_str(&read(&path)?).with_context(|| path.display().to_string())?;
        let text = |table: &str, key: &str| {
            let text = manifest.get(table).and_then(|table| table.get(key)?.as_str()).map(str::to_owned);
            text.with_context(|| format!("{} has no {key} in [{table}]", path.display()))
        };
        let tables =
            ["dependencies", "dev-dependencies"].into_iter().filter_map(|table| manifest.get(table)?.as_table());
        let dependencies = tables.flat_map(|table| table.keys().cloned()).collect();
        let (package, krate) = (text("package", "name")?, text("lib", "name")?);
        Ok(Self { board: board.clone(), package, krate, dependencies })
    }

    /// A type of that name must not be one that the sources use.
    fn has_room_for(&self, name: &Name) -> Result<()> {
        for path in tree::files(&self.board.dir)?.iter().filter(|path| path.extension().is_some_and(|end| end == "rs"))
        {
            if words(&read(path)?).any(|word| word == name.as_type()) {
                bail!(
                    "{} would be the type {}, which {} uses for something else",
                    name.as_str(),
                    name.as_type(),
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// The crate as files, under another name. `package` is what its package is called.
    fn renamed(&self, name: &Name, package: &str) -> Result<Vec<(PathBuf, String)>> {
        let old = &self.board.of_type;
        let mut renamed = Vec::new();
        for path in tree::files(&self.board.dir)? {
            let within = path.strip_prefix(&self.board.dir).unwrap_or(&path).to_owned();
            // What stands there was found out about the other board, and says nothing of this one.
            if within == Path::new("README.md") {
                continue;
            }
            let text = read(&path)?
                .replace(&self.package, package)
                .replace(&self.krate, &format!("board_{}", name.krate()))
                .replace(&self.board.name, name.as_str());
            let mut text = replace_word(&text, old, &name.as_type());
            if within == Path::new("Cargo.toml") {
                text = described(&text, name);
            }
            if within == Path::new("src/lib.rs") {
                text.insert_str(0, &head(name, &self.board.name));
            }
            renamed.push((within, text));
        }
        renamed.push(("README.md".into(), readme(name, &self.board.name)));
        Ok(renamed)
    }
}

fn head(name: &Name, like: &str) -> String {
    format!(
        "//! The board {}. It began as {like}, and the lines below are still those of that board: change them with the code.\n//!\n",
        name.as_str()
    )
}

fn described(manifest: &str, name: &Name) -> String {
    let line = |line: &str| match line.starts_with("description = ") {
        true => format!("description = \"{} as a board\"\n", name.as_str()),
        false => format!("{line}\n"),
    };
    manifest.lines().map(line).collect()
}

fn readme(name: &Name, like: &str) -> String {
    format!(
        "# {name}\n\n> **Never run on hardware.** It began as a copy of `{like}` under another name and passes the laws as that one does.\n\
         > Nothing below this line is known until somebody has seen it; then write it down.\n\n\
         | To find out | |\n|---|---|\n\
         | Loader: which version, where it lies, who updates it | |\n\
         | Disk: which, with what erase groups, whose table | |\n\
         | Serial line: pins, voltage, speed; how to stop the loader | |\n\
         | Flashing: the steps from a bare board | |\n\
         | Script: does it run, is each write that fails noticed | |\n\
         | Protection: who can reach the prompt, what is verified before `cairn` runs | |\n",
        name = name.as_str()
    )
}

/// In this workspace.
fn here(name: &Name, like: &Like) -> Result<Made> {
    let (root, dir) = (cargo::root(), cargo::root().join("boards").join(name.as_str()));
    let manifest = root.join("Cargo.toml");
    let (package, text) = (format!("cairn-board-{}", name.package()), read(&manifest)?);
    let text = listed(&text, name, &like.board.name, &like.package)?;
    write_all(&dir, &like.renamed(name, &package)?)?;
    if let Err(error) = fs::write(&manifest, text) {
        fs::remove_dir_all(&dir)?;
        return Err(error).with_context(|| format!("cannot write {}", manifest.display()));
    }
    let (like, row) = (&like.board.name, name.as_type());
    let next = vec![
        format!("cargo test -p {package}                 # the laws"),
        format!("a row of boards/all: `pub use` of {row}, ENTRIES, with_board!, and its Cargo.toml"),
        format!("a row of OURS in runtime/init/src/boards.rs, for its architecture, and its Cargo.toml"),
        format!("bsp-containers/{}/bsp.toml, as in {like}", name.as_str()),
        "what its firmware starts, in xtask/src/image/firmware.rs".to_owned(),
        format!("boards/{}/README.md, and the rows in boards/README.md and ARCHITECTURE.md", name.as_str()),
        "docs/porting.md says the rest".to_owned(),
    ];
    Ok(Made { dir, next })
}

/// The manifest of the workspace with the new board behind the old one, wherever that stands.
fn listed(manifest: &str, name: &Name, like: &str, package: &str) -> Result<String> {
    let member = format!("    \"boards/{like}\",");
    let dependency = format!("board-{} = {{ package = \"{package}\",", like.replace('_', "-"));
    let (mut lines, mut added) = (String::new(), 0);
    for line in manifest.lines() {
        lines.push_str(line);
        lines.push('\n');
        if line == member {
            lines.push_str(&format!("    \"boards/{}\",\n", name.as_str()));
            added += 1;
        } else if line.starts_with(&dependency) {
            let package = name.package();
            lines.push_str(&format!(
                "board-{package} = {{ package = \"cairn-board-{package}\", path = \"boards/{}\" }}\n",
                name.as_str()
            ));
            added += 1;
        }
    }
    ensure!(
        added == 3,
        "Cargo.toml names {like} in {added} places, and not as a member, a default member and a dependency"
    );
    Ok(lines)
}

/// Writes the files of a directory that does not exist, all or none.
fn write_all(dir: &Path, files: &[(PathBuf, String)]) -> Result<()> {
    ensure!(fs::symlink_metadata(dir).is_err(), "{} exists already", dir.display());
    let (parent, name) =
        dir.parent().zip(dir.file_name()).with_context(|| format!("{} is no place for a crate", dir.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let new = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = files.iter().try_for_each(|(path, text)| {
        let path = new.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text))
    });
    let done = written.and_then(|()| fs::rename(&new, dir)).with_context(|| format!("cannot write {}", dir.display()));
    if done.is_err() {
        // Best effort: what is reported is why there is no crate.
        let _ = fs::remove_dir_all(&new);
    }
    done
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn is_of_a_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign| !is_of_a_word(sign))
}

/// `QemuArm64` becomes `Acme`, and `QemuArm64Uboot` stays.
fn replace_word(text: &str, old: &str, new: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(old) {
        replaced.push_str(before);
        let whole = !before.ends_with(is_of_a_word) && !after.starts_with(is_of_a_word);
        replaced.push_str(if whole { new } else { old });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests;
