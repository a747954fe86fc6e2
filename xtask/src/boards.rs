//! `boards`: what each board costs in lines, against its budget.
//!
//! Promises: it finds every board of this tree by the crates below `boards/` that implement one, and fails if a board is
//! above its budget, is called otherwise than its directory, or is no row of `boards/all`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use crate::term::{bold, green, red};
use crate::{Json, cargo};

/// What is counted.
pub(crate) const COUNTED: &str = "\
Counted is the Rust of a board's src/ without its tests (#[cfg(test)]), blank lines and lines that are only a comment. The
boot script, counted in the same way, stands beside it: it has no budget, since how long it is, is a matter of its language.
";

/// Lines of a board whose kernels lie in trails.
const BUDGET: usize = 120;

/// Lines of a board with slots.
const BUDGET_SLOTS: usize = 200;

#[derive(Args)]
pub(crate) struct Options {
    /// The crates of boards that are elsewhere [default: all of this tree]
    crates: Vec<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// A board as its sources say it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Board {
    /// The directory of its crate.
    pub(crate) dir: PathBuf,
    /// [`boards_api::Board::NAME`].
    pub(crate) name: String,
    /// The type that implements it.
    pub(crate) of_type: String,
    slots: bool,
    rust: usize,
    script: usize,
}

impl Board {
    /// Reads the sources of a crate. `None`: it has no board.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let mut sources = String::new();
        let mut script = 0;
        for path in rust_files(&dir.join("src"))? {
            let text = read(&path)?;
            for (_, rest) in text.match_indices("include_str!(\"").map(|(at, start)| text.split_at(at + start.len())) {
                let name = rest.split('"').next().unwrap_or_default();
                script += lines_of_script(&read(&path.with_file_name(name))?);
            }
            sources.push_str(&text);
        }
        let between = |before: &str, after: char| {
            let (_, rest) = sources.split_once(before)?;
            Some(rest.split_once(after)?.0.trim().to_owned())
        };
        let Some(of_type) = between("impl Board for ", '{') else { return Ok(None) };
        let name = between("const NAME: &'static str = \"", '"')
            .with_context(|| format!("the board in {} has no NAME = \"…\"", dir.display()))?;
        let slots = sources.contains("const PLACES: Places = Places::Slots");
        Ok(Some(Self { dir: dir.to_owned(), name, of_type, slots, rust: lines_of_rust(&sources), script }))
    }

    fn budget(&self) -> usize {
        if self.slots { BUDGET_SLOTS } else { BUDGET }
    }

    /// Why it costs too much, if it does.
    pub(crate) fn over(&self) -> Option<String> {
        let (rust, budget) = (self.rust, self.budget());
        (rust > budget).then(|| format!("has {rust} lines of Rust, and a board of its kind has at most {budget}"))
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let out = options.json.out();
    let (boards, wrong) = if options.crates.is_empty() { ours()? } else { elsewhere(&options.crates)? };
    if options.json.json {
        let rows = boards.iter().map(|board| {
            json!({ "board": board.name, "directory": board.dir, "slots": board.slots, "rust": board.rust,
                    "script": board.script, "budget": board.budget(), "passed": board.over().is_none() })
        });
        let rows = rows.collect::<Vec<_>>();
        println!("{:#}", json!({ "command": "boards", "passed": wrong.is_empty(), "boards": rows, "failures": wrong }));
    }
    out.line(bold(out, "board                  rust  budget  script"));
    for board in &boards {
        out.line(format!("{:<20} {:>6} {:>7} {:>7}", board.name, board.rust, board.budget(), board.script));
    }
    wrong.iter().for_each(|(place, what)| out.line(format!("{} {place}: {what}", red(out, "failed"))));
    if !wrong.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    out.line(green(out, "every board is within its budget"));
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with a board, and where.
type Wrong = (String, String);

/// What is wrong with the boards of this tree.
pub(crate) fn check() -> Result<Vec<Wrong>> {
    ours().map(|(_, wrong)| wrong)
}

/// The boards of this tree, sorted by name.
pub(crate) fn ours() -> Result<(Vec<Board>, Vec<Wrong>)> {
    let mut boards = Vec::new();
    for entry in fs::read_dir(cargo::root().join("boards")).context("cannot read boards/")? {
        let dir = entry?.path();
        if dir.join("Cargo.toml").is_file() {
            boards.extend(Board::read(&dir)?);
        }
    }
    boards.sort_by(|one, other| one.name.cmp(&other.name));
    let rows: BTreeSet<_> = boards_all::ENTRIES.iter().map(|entry| entry.name).collect();
    let wrong = boards.iter().flat_map(|board| {
        let dir = board.dir.file_name().unwrap_or_default().to_string_lossy();
        let called = (*dir != *board.name).then(|| format!("its board is called {}", board.name));
        let listed = (!rows.contains(&*board.name)).then(|| "is no row of boards/all".to_owned());
        let place = format!("boards/{dir}");
        [board.over(), called, listed].into_iter().flatten().map(move |what| (place.clone(), what))
    });
    let wrong = wrong.collect();
    Ok((boards, wrong))
}

/// Boards of somebody else, who has no list that we know.
fn elsewhere(crates: &[PathBuf]) -> Result<(Vec<Board>, Vec<Wrong>)> {
    let mut boards = Vec::new();
    for dir in crates {
        match Board::read(dir)? {
            Some(board) => boards.push(board),
            None => bail!("{} is no crate of a board: nothing in its src/ says `impl Board for`", dir.display()),
        }
    }
    let wrong = boards.iter().filter_map(|board| Some((board.dir.display().to_string(), board.over()?))).collect();
    Ok((boards, wrong))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// All of them below a directory, sorted.
fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        match entry?.path() {
            path if path.is_dir() => files.extend(rust_files(&path)?),
            path if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            _ => {}
        }
    }
    files.sort();
    Ok(files)
}

fn lines_of_script(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

/// Lines of formatted Rust: what is only for tests ends with the brace or semicolon at its own depth.
fn lines_of_rust(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if code.starts_with("#[cfg(test)]") {
            let depth = line.len() - code.len();
            let last = |line: &&str| {
                let code = line.trim_start();
                line.len() - code.len() == depth && (code.starts_with('}') || code.ends_with(';'))
            };
            lines.by_ref().find(last);
        } else if !code.is_empty() && !code.starts_with("//") {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_comments_and_blank_lines_are_not_counted() {
        let text = "//! Head.\n\nuse a::b;\n#[cfg(test)]\nextern crate std;\n\n/// Doc.\nfn f() {\n    // Why.\n    g();\n}\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {\n        f();\n    }\n}\nconst LAST: u8 = 1;\n";
        assert_eq!(lines_of_rust(text), 5);
        assert_eq!(lines_of_script("# Head\n\n  setenv a b\nreset\n"), 2);
    }

    #[test]
    fn the_boards_of_this_tree_are_found_and_within_their_budgets() {
        let (boards, wrong) = ours().unwrap();
        let found: BTreeSet<_> = boards.iter().map(|board| board.name.as_str()).collect();
        assert_eq!(found, boards_all::ENTRIES.iter().map(|entry| entry.name).collect());
        assert_eq!(wrong, []);
    }

    #[test]
    fn a_board_one_line_above_its_budget_fails_and_slots_cost_more() {
        let board = |rust, slots| Board {
            dir: "boards/acme".into(),
            name: "acme".into(),
            of_type: "Acme".into(),
            slots,
            rust,
            script: 1000,
        };
        assert_eq!(board(120, false).over(), None);
        assert!(board(121, false).over().is_some_and(|what| what.starts_with("has 121 lines")));
        assert_eq!(board(200, true).over(), None);
        assert!(board(201, true).over().is_some());
    }
}
