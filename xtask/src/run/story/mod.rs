//! A story: a file of steps that a device is taken through, each with what must come of it.
//!
//! ```toml
//!   title = "First light"                   # what it is about
//!   size = "16M"                            # of the device's storage; 256M unless it says so
//!   memory = "64M"                          # for all of the device; as much as there is unless it says so
//!   conf = { attempts = "2" }               # settings of PID 1, on a board
//!   boards = ["BOARD"]                      # a story of boards that others cannot tell
//!   images = ["debian-systemd", "shop:2"]   # whole systems that it makes apps of: library/NAME:latest; versions of services
//!   arguments = { BOARD = "mem=64M" }       # words for the kernel of a board
//!   [[step]]
//!   name = "a changed page"                 # what the timeline shows
//!   boards = ["BOARD"]                      # a step that others leave out
//!   dir = "my-device"                       # where it runs, below the directory of the run
//!   save = { BEFORE = "pid heart" }         # variables from the output of commands, kept for all later steps
//!   run = "pvr post"                        # for `sh -eu`; must succeed, or fail with `fails = true`
//!   output = ["posted"]                     # texts that its output must have
//!   show = true                             # the timeline shows its output
//!   kill = { on = { event = "up" }, times = 3 }     # PID 1 is killed then; `cut`: the power goes
//!   expect = [{ event = "commit" }]         # events, in this order, others between them
//!   never = [{ event = "container" }]       # events that must not come before the step is over
//!   wait = 2                                # seconds for which it goes on when everything else has come
//!   within = 60                             # seconds that all of it may take
//! ```

pub(crate) mod event;
pub(crate) mod play;
pub(crate) mod show;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use self::event::Pattern;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Story {
    pub(crate) title: String,
    pub(crate) size: Option<String>,
    pub(crate) memory: Option<String>,
    /// Settings of PID 1 on a board.
    #[serde(default)]
    pub(crate) conf: BTreeMap<String, String>,
    /// Images of whole systems that it needs.
    #[serde(default)]
    pub(crate) images: Vec<String>,
    /// Which boards can tell it, if not all can.
    boards: Option<Vec<String>>,
    /// Words for the kernel's command line, by board.
    #[serde(default)]
    arguments: BTreeMap<String, String>,
    pub(crate) step: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// Which boards take it, if not all do.
    boards: Option<Vec<String>>,
    pub(crate) dir: Option<String>,
    #[serde(default)]
    pub(crate) save: BTreeMap<String, String>,
    pub(crate) run: Option<String>,
    #[serde(default)]
    pub(crate) fails: bool,
    #[serde(default)]
    pub(crate) output: Vec<String>,
    #[serde(default)]
    pub(crate) show: bool,
    pub(crate) kill: Option<Strike>,
    pub(crate) cut: Option<Strike>,
    #[serde(default)]
    pub(crate) expect: Vec<Pattern>,
    #[serde(default)]
    pub(crate) never: Vec<Pattern>,
    #[serde(default)]
    pub(crate) wait: u64,
    #[serde(default = "a_minute")]
    pub(crate) within: u64,
}

/// When the device is hit, and how often.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Strike {
    pub(crate) on: Pattern,
    #[serde(default = "once")]
    pub(crate) times: u32,
}

fn is_among(boards: Option<&Vec<String>>, board: &str) -> bool {
    boards.is_none_or(|boards| boards.iter().any(|other| other == board))
}

fn a_minute() -> u64 {
    60
}

fn once() -> u32 {
    1
}

impl Story {
    /// Reads a story. What could never be told is an error here and not in the middle.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Whether this board can tell it.
    pub(crate) fn is_of(&self, board: &str) -> bool {
        is_among(self.boards.as_ref(), board)
    }

    /// The same without the steps that this board does not take.
    pub(crate) fn on(mut self, board: &str) -> Self {
        self.step.retain(|step| is_among(step.boards.as_ref(), board));
        self
    }

    /// The words for the kernel of this board.
    pub(crate) fn arguments(&self, board: &str) -> &str {
        self.arguments.get(board).map_or("", String::as_str)
    }

    fn parse(text: &str) -> Result<Self> {
        let story: Self = toml::from_str(text)?;
        for (number, step) in story.step.iter().enumerate() {
            let name = &step.name;
            if story.step.iter().take(number).any(|other| other.name == *name) {
                bail!("two steps are called \"{name}\"");
            }
            if step.run.is_none() && step.expect.is_empty() {
                bail!("\"{name}\" neither does nor expects anything");
            }
            if step.run.is_none() && (step.fails || !step.output.is_empty()) {
                bail!("\"{name}\" says what must come of a script, and has none");
            }
            if !step.never.is_empty() && step.expect.is_empty() && step.wait == 0 {
                bail!("\"{name}\" has no time in which its `never` could come: add `expect` or `wait`");
            }
        }
        Ok(story)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(steps: &str) -> String {
        format!("{:#}", Story::parse(&format!("title = \"t\"\n{steps}")).err().expect("a mistake"))
    }

    #[test]
    fn every_story_of_the_project_can_be_read() {
        let stories = ["tests/e2e", "tests/e2e/boards", "tests/e2e/containers"].map(|dir| {
            let paths = std::fs::read_dir(crate::cargo::root().join(dir)).unwrap().map(|entry| entry.unwrap().path());
            paths.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect::<Vec<_>>()
        });
        assert!(stories.iter().all(|stories| stories.len() >= 3));
        let stories: Vec<_> = stories.into_iter().flatten().collect();
        for path in stories {
            let story = Story::read(&path).unwrap();
            assert!(!story.step.is_empty());
            let named = story.boards.iter().chain(story.step.iter().filter_map(|step| step.boards.as_ref())).flatten();
            for board in named.chain(story.arguments.keys()) {
                assert!(machine::Kind::of_board(board).is_some(), "{}: no machine for {board}", path.display());
            }
        }
    }

    #[test]
    fn a_board_takes_its_own_steps_and_those_of_everybody() {
        let step = |name: &str, boards: &str| format!("[[step]]\nname = \"{name}\"\nrun = \"x\"\n{boards}\n");
        let text = [
            "title = \"t\"\n".into(),
            step("all", ""),
            step("a's", "boards = [\"a\"]"),
            step("b's", "boards = [\"b\"]"),
        ];
        let names = |board: &str| {
            let story = Story::parse(&text.concat()).unwrap().on(board);
            story.step.into_iter().map(|step| step.name).collect::<Vec<_>>()
        };
        assert_eq!((names("a"), names("c")), (vec!["all".to_owned(), "a's".into()], vec!["all".into()]));
    }

    #[test]
    fn what_could_never_be_told_is_found_before_it_begins() {
        assert!(wrong("[[step]]\nname = \"a\"").contains("neither does nor expects"));
        assert!(
            wrong("[[step]]\nname = \"a\"\nrun = \"x\"\n[[step]]\nname = \"a\"\nrun = \"x\"").contains("two steps")
        );
        assert!(wrong("[[step]]\nname = \"a\"\nrun = \"x\"\nexpects = []").contains("unknown field"));
        let never = "[[step]]\nname = \"a\"\nrun = \"x\"\nnever = [{ event = \"boot\" }]";
        assert!(wrong(never).contains("no time in which"));
        assert!(wrong("[[step]]\nname = \"a\"\nexpect = [{ event = \"boot\" }]\nfails = true").contains("has none"));
    }
}
