//! A workspace for the board of a vendor: everything of Cairn comes by path from this checkout, and nothing is copied but
//! what has to stand in the root of a workspace: profiles, lints, the lock file.
//!
//! The program of a device is built from there, with that board and no other: see `cairn::main`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::{Like, Made, Name, read, write_all};
use crate::cargo;
use crate::tree;

/// Files of the root that tools read from the root of any workspace.
const OF_THE_ROOT: &[&str] = &["Cargo.lock", "clippy.toml", "rustfmt.toml"];

/// Profiles that a vendor's workspace needs: that of the program, and no explorers.
const PROFILE: &str = "release";

pub(super) fn make(name: &Name, like: &Like, dir: &Path) -> Result<Made> {
    let root = cargo::root();
    let dir = std::path::absolute(dir).with_context(|| format!("{} is no place for a workspace", dir.display()))?;
    let ours: Table = toml::from_str(&read(&root.join("Cargo.toml"))?).context("Cargo.toml")?;
    let package = format!("board-{}", name.package());
    let mut made = vec![
        (PathBuf::from("Cargo.toml"), workspace(name, like, &ours, root)?),
        (PathBuf::from(".gitignore"), "/target/\n".to_owned()),
        (PathBuf::from("README.md"), readme(name, root)),
        (PathBuf::from("program/Cargo.toml"), program(name, &package)),
        (PathBuf::from("program/src/main.rs"), main(name)),
        (PathBuf::from("xtask/Cargo.toml"), tool(name, &package)),
        (PathBuf::from("xtask/src/main.rs"), tool_main(name, like)),
        (
            PathBuf::from(".cargo/config.toml"),
            format!("[alias]\nxtask = \"run --quiet --package {}-xtask --\"\n", name.package()),
        ),
    ];
    for (path, text) in like.renamed(name, &package)? {
        let text = if path == Path::new("Cargo.toml") { without_layer(&text) } else { text };
        made.push((Path::new("board").join(path), text));
    }
    let recipe = root.join("bsp-containers").join(&like.board.name);
    if recipe.is_dir() {
        for path in tree::files(&recipe)? {
            let within = path.strip_prefix(&recipe).unwrap_or(&path);
            made.push((Path::new("bsp-containers").join(name.as_str()).join(within), read(&path)?));
        }
    }
    for file in OF_THE_ROOT {
        made.push((PathBuf::from(file), read(&root.join(file))?));
    }
    write_all(&dir, &made)?;
    let (board, package) = (name.as_str(), name.package());
    let next = vec![
        format!("cd {}", dir.display()),
        "cargo test                           # the laws".to_owned(),
        format!(
            "cargo build                          # the program: target/debug/{package}-cairn buildinfo names the board"
        ),
        "cargo xtask setup                    # what an image is made with".to_owned(),
        format!("cargo xtask image --board {board}"),
        format!("cargo xtask qemu --board {board}       # where QEMU has its machine"),
        format!("{} says the rest", root.join("docs/porting.md").display()),
    ];
    Ok(Made { dir, next })
}

/// The root of the workspace.
fn workspace(name: &Name, like: &Like, ours: &Table, root: &Path) -> Result<String> {
    let at = |table: &Table, keys: &[&str]| {
        let mut value = Some(Value::Table(table.clone()));
        for key in keys {
            value = value.and_then(|value| value.get(key).cloned());
        }
        value.with_context(|| format!("Cargo.toml has no {}", keys.join(".")))
    };
    let mut dependencies = Table::new();
    for dependency in &like.dependencies {
        let mut value = at(ours, &["workspace", "dependencies", dependency])?;
        if let Some(path) = value.get_mut("path") {
            *path = absolute(root, path.as_str().unwrap_or_default());
        }
        dependencies.insert(dependency.clone(), value);
    }
    let by_path = |path: Value| Value::Table(Table::from_iter([("path".to_owned(), path)]));
    let board = format!("board-{}", name.package());
    dependencies.insert(board, by_path("board".into()));
    dependencies.insert("cairn".to_owned(), by_path(absolute(root, "runtime/cairn")));
    dependencies.insert("xtask".to_owned(), by_path(absolute(root, "xtask")));
    let workspace = Table::from_iter([
        ("resolver".to_owned(), at(ours, &["workspace", "resolver"])?),
        // The tool is built when somebody calls it.
        ("default-members".to_owned(), Value::Array(vec!["board".into(), "program".into()])),
        ("members".to_owned(), Value::Array(vec!["board".into(), "program".into(), "xtask".into()])),
        ("package".to_owned(), at(ours, &["workspace", "package"])?),
        ("dependencies".to_owned(), Value::Table(dependencies)),
        ("lints".to_owned(), at(ours, &["workspace", "lints"])?),
    ]);
    let profile = Table::from_iter([(PROFILE.to_owned(), at(ours, &["profile", PROFILE])?)]);
    let all = Table::from_iter([
        ("workspace".to_owned(), Value::Table(workspace)),
        ("profile".to_owned(), Value::Table(profile)),
    ]);
    let head = format!(
        "# {}: its board, and the program of a device with it. Cairn comes from the paths below; in a repository, name it by\n\
         # git and rev in their place. Profiles and lints are those of Cairn: cargo takes them from this file only.\n\n",
        name.as_str()
    );
    Ok(head + &toml::to_string(&all)?)
}

fn absolute(root: &Path, path: &str) -> Value {
    root.join(path).to_string_lossy().into_owned().into()
}

/// The layer of a crate is a matter of Cairn's own workspace.
fn without_layer(manifest: &str) -> String {
    let mut kept = Vec::new();
    let mut of_layer = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            of_layer = line == "[package.metadata.cairn]";
        }
        if !of_layer {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

fn program(name: &Name, board: &str) -> String {
    let what = format!("The one program of a device that is {}", name.as_str());
    manifest(&format!("{}-cairn", name.package()), &what, &[board, "cairn"])
}

fn tool(name: &Name, board: &str) -> String {
    let what = format!("The commands of Cairn, for {} too", name.as_str());
    manifest(&format!("{}-xtask", name.package()), &what, &[board, "xtask"])
}

fn manifest(package: &str, description: &str, imports: &[&str]) -> String {
    let imports: String = imports.iter().map(|import| format!("{import}.workspace = true\n")).collect();
    format!(
        "[package]\nname = \"{package}\"\ndescription = \"{description}\"\n\
         version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
         authors.workspace = true\npublish.workspace = true\n\n[dependencies]\n{imports}\n[lints]\nworkspace = true\n"
    )
}

fn tool_main(name: &Name, like: &Like) -> String {
    let (board, krate, of_type, package) = (name.as_str(), name.krate(), name.as_type(), name.package());
    let like = &like.board.name;
    format!(
        "//! `cargo xtask`: the commands of Cairn, which know {board} here.\n#![forbid(unsafe_code)]\n\n\
         use std::process::ExitCode;\n\nuse board_{krate}::{of_type};\nuse xtask::{{AnyBoard, Vendor}};\n\n\
         /// Its firmware in an image, and its machine in QEMU, are those of `{like}`: take `like` away where they are not.\n\
         const BOARD: AnyBoard = AnyBoard::of::<{of_type}>().like(\"{like}\");\n\n\
         fn main() -> ExitCode {{\n    xtask::main_for(Vendor {{\n        \
         root: concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/..\"),\n        program: \"{package}-cairn\",\n        \
         boards: &[BOARD],\n    }})\n}}\n"
    )
}

fn main(name: &Name) -> String {
    let (board, krate, of_type) = (name.as_str(), name.krate(), name.as_type());
    format!(
        "//! The program of a device that is {board}: Cairn, with this board and no other.\n#![forbid(unsafe_code)]\n\n\
         use std::process::ExitCode;\n\nuse board_{krate}::{of_type};\nuse cairn::AnyBoard;\n\n\
         fn main() -> ExitCode {{\n    cairn::main(&[AnyBoard::of::<{of_type}>()])\n}}\n"
    )
}

fn readme(name: &Name, root: &Path) -> String {
    let (package, name, guide) = (name.package(), name.as_str(), root.join("docs/porting.md"));
    format!(
        "# {name}\n\n| | |\n|---|---|\n\
         | [`board/`](board/README.md) | the board: partitions, boot cells, boot script; `cargo test` runs the laws |\n\
         | `program/` | the program of a device, which knows this board: Cairn, called `{package}-cairn` |\n\
         | `xtask/` | `cargo xtask image --board {name}`, and every other command of Cairn |\n\
         | `bsp-containers/{name}/` | the recipe of its kernel, and which bytes that is; not there where the board before had none |\n\n\
         What a port consists of, in which order: {}.\n",
        guide.display()
    )
}
