//! What can be asked for: the one table that the help, the manual pages and the completions of shells come from.

/// A program with commands, as it is told of.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// How it is called.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// The same, as a paragraph.
    pub long: &'static str,
    /// Each command: its words, and what it does.
    pub commands: &'static [(&'static str, &'static str)],
    /// What any command takes: its words, and what it does.
    pub options: &'static [(&'static str, &'static str)],
    /// What one command takes besides: its words, the words of the option, and what it does.
    pub flags: &'static [(&'static str, &'static str, &'static str)],
    /// What the exit code says.
    pub exits: &'static str,
}

/// What the program is.
pub const TOOL: Tool = Tool {
    name: "pvcontrol",
    about: "shows and steers a running device",
    long: "pvcontrol shows and steers a running device, on the device itself or inside one of its containers, over its \
           control socket. On a terminal lists are tables; into a pipe or a file goes the JSON of the device, as it came.",
    commands: COMMANDS,
    options: OPTIONS,
    flags: FLAGS,
    exits: EXITS,
};

/// Each command: its words, and what it does.
const COMMANDS: &[(&str, &str)] = &[
    ("ls", "the device, and its containers"),
    ("device", "the device alone: revision, what it falls back to, the last update"),
    ("containers ls", "the containers of the running revision"),
    ("top", "what containers use: processor, memory, processes, disks"),
    ("containers start|stop|restart NAME", "only containers whose restart policy is `container`"),
    (
        "exec [-t] [-d] [-e NAME=VALUE]… CONTAINER [--] PROGRAM [ARGUMENT…]",
        "run a program in a container, with its rights; without -t and -d as a filter",
    ),
    ("logs [-f] [-n LINES] [--since TIME] [--timestamps] CONTAINER", "what it has written, as far as it is kept"),
    (
        "console CONTAINER",
        "the console of one that is a system, on this terminal: Ctrl-A q leaves, Ctrl-A Ctrl-A types a Ctrl-A",
    ),
    (
        "inspect CONTAINER",
        "one container, whole: what runs, its limits and what it uses, and what it may do to the device",
    ),
    ("start|stop|restart CONTAINER", "short for containers start, and so on"),
    ("groups ls", "groups of containers and their worst status"),
    ("signal ready", "say that this container is ready"),
    ("cmd run REVISION [--retry]", "go to a revision that is here"),
    ("cmd run-commit REVISION", "the same: a revision commits itself once its goals are met"),
    ("cmd reboot [MESSAGE]", "end this boot and begin another"),
    ("cmd poweroff [MESSAGE]", "end this boot"),
    ("cmd run-gc", "remove what no revision needs"),
    ("rollback", "go back to the revision before"),
    ("usrmeta ls", "what the owner of the device has it know"),
    (
        "usrmeta save KEY VALUE|-",
        "have it know that; - reads the value from the standard input; KEY is NAME.REST for one container",
    ),
    ("usrmeta delete KEY", "have it forget that"),
    ("devmeta ls", "what the device says of itself, and what containers have found"),
    ("devmeta save KEY VALUE|-", "say that of the device"),
    ("devmeta delete KEY", "say that no longer"),
    ("buildinfo", "what the runtime was built from"),
    ("objects ls", "objects that are here"),
    ("objects get SHA256", "the bytes of one, to the standard output or to -f FILE"),
    ("objects put FILE SHA256", "bring one; -SIZE instead of FILE reads that many bytes from the standard input"),
    ("steps ls", "revisions that are here"),
    ("steps get REVISION|current", "the state of one"),
    ("steps put [-m TEXT] FILE locals/NAME", "bring the state of a new one; its objects must be here. FILE may be -"),
    ("steps show-progress REVISION|current", "how far its update is"),
    ("drivers ls", "drivers that this container declares, and whether they are loaded"),
    ("drivers load|unload [NAME]", "of this container, one that is manual, or all of them"),
    ("daemons ls", "containers, then helpers of the runtime"),
    ("daemons start|stop|restart NAME", "one helper of the runtime"),
    ("graph ls", "links between containers"),
    ("pair", "a code by which somebody on the network can be paired; `pvr login` asks for it"),
    ("pair ls", "who is paired, and may use the endpoint from outside"),
    ("pair rm NAME|FINGERPRINT", "forget one"),
    ("storage gc", "remove what no revision needs, and say how much that was"),
    ("help [COMMAND]", "this, or the help of one command"),
];

/// What any command takes: its words, and what it does.
const OPTIONS: &[(&str, &str)] = &[
    (
        "-s, --socket PATH",
        "the control socket; else the first of /run/pantavisor/pv/pv-ctrl, /pv/pv-ctrl, /pantavisor/pv-ctrl",
    ),
    ("-f, --output FILE", "write there instead of to the standard output"),
    ("--table", "lists as tables; that is so on a terminal"),
    ("--json", "lists as JSON; that is so everywhere else"),
    ("-v, --verbose", "tell requests and answers"),
    ("-h, --help", "this, or the help of one command"),
];

/// What one command takes besides: its words, the words of the option, and what it does.
const FLAGS: &[(&str, &str, &str)] = &[
    ("exec", "-t, --terminal", "with a terminal, as it is when input and output are one"),
    ("exec", "-d, --detach", "wait for nothing: it has no input, and what it writes is in the log of the container"),
    ("exec", "-e, --env NAME=VALUE", "a variable of it; may stand several times"),
    ("logs", "-f, --follow", "and what it writes from now on"),
    ("logs", "-n, --lines, --tail LINES", "no more than the last lines"),
    (
        "logs",
        "--since TIME",
        "what was read since then: 90s, 10m, 2h, 3d ago; boot; 2026-11-22 or 2026-11-22T10:00:00Z",
    ),
    ("logs", "--timestamps", "each line behind the time at which the device has read it"),
    ("cmd run", "--retry", "although it was tried and found bad"),
    ("steps put", "-m, --message TEXT", "what is new in it"),
];

/// What the exit code says.
const EXITS: &str = "\
exit codes:
  0 done   1 called wrongly, or no control socket   48 no space   60 not the object it is called
  70 no good state   75 not now, try again later   255 anything else
  of exec: that of the program, 128 and the signal that has ended it, 127 if it is not there, 126 if it cannot be executed
";

impl Tool {
    /// The help of one command, or of all.
    pub(crate) fn text(&self, topic: Option<&str>) -> String {
        let of_topic = |words: &str| topic.is_none_or(|topic| words.split(' ').next() == Some(topic));
        let is_known = self.commands.iter().any(|(words, _)| of_topic(words));
        let mut text = format!("usage: {} [OPTION…] COMMAND\n\n", self.name);
        for (words, help) in self.commands.iter().filter(|(words, _)| !is_known || of_topic(words)) {
            text += &format!("  {words:<37} {help}\n");
        }
        text += "\noptions:\n";
        let own = self.flags.iter().filter(|(command, ..)| topic.is_some() && of_topic(command));
        for (words, help) in
            own.map(|(_, words, help)| (words, help)).chain(self.options.iter().map(|(words, help)| (words, help)))
        {
            let indent = if words.starts_with("--") { 6 } else { 2 };
            text += &format!("{:indent$}{words:<width$} {help}\n", "", width = 26 - indent);
        }
        text + "\n" + self.exits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_command_is_about_that_command() {
        let steps = TOOL.text(Some("steps"));
        assert!(
            steps.contains("FILE locals/NAME") && steps.contains("-m, --message TEXT") && !steps.contains("rollback"),
            "{steps}"
        );
        assert!(TOOL.text(Some("nothing")).contains("rollback"));
    }

    /// All literals of the parser behind these words.
    fn literals<'s>(source: &'s str, after: &str) -> Vec<&'s str> {
        let calls = source.split(after).skip(1).filter_map(|rest| rest.split_once(')')).map(|(inside, _)| inside);
        calls.flat_map(|inside| inside.split(['"', '\'']).skip(1).step_by(2)).collect()
    }

    #[test]
    fn every_option_of_the_parser_is_in_the_help_of_its_command_and_the_other_way_round() {
        let (parser, _) = include_str!("args.rs").split_once("#[cfg(test)]").unwrap();
        let short: Vec<String> = literals(parser, "Arg::Short(").iter().map(|letter| format!("-{letter}")).collect();
        let long: Vec<String> = literals(parser, "Arg::Long(").iter().map(|word| format!("--{word}")).collect();
        let tables = OPTIONS.iter().map(|(words, _)| *words).chain(FLAGS.iter().map(|(_, words, _)| *words));
        let told: Vec<&str> =
            tables.flat_map(|words| words.split([',', ' '])).filter(|word| word.starts_with('-')).collect();
        assert!(short.len() > 9 && long.len() > 15, "{short:?} {long:?}");
        for option in short.iter().chain(&long) {
            assert!(told.contains(&option.as_str()), "{option} is in no table");
        }
        for option in told {
            assert!(short.iter().chain(&long).any(|known| known == option), "{option} is not read");
        }
        for (command, words, help) in FLAGS {
            let topic = TOOL.text(command.split(' ').next());
            assert!(topic.contains(words) && topic.contains(help), "{topic}");
        }
    }

    #[test]
    fn every_command_of_the_parser_is_in_the_help() {
        let (parser, _) = include_str!("args.rs").split_once("#[cfg(test)]").unwrap();
        let (_, parser) = parser.split_once("fn command(").unwrap();
        let (all, _) = parser.split_once("fn is_size").unwrap();
        let told = COMMANDS.iter().map(|(words, _)| *words).collect::<Vec<_>>().join(" ");
        let told: Vec<&str> = told.split([' ', '|']).collect();
        let mut verbs = 0;
        for line in all.lines().map(str::trim).filter(|line| line.starts_with("[\"")) {
            let (pattern, _) = line.split_once("=>").unwrap();
            for position in pattern.split([',', '[']).filter(|position| position.contains('"')) {
                // Of several spellings the first is the one that is told of.
                let verb = position.split('"').nth(1).unwrap();
                verbs += 1;
                // Old programs say that they are alive, which no device hears any more.
                assert!(told.contains(&verb) || ["-", "alive"].contains(&verb), "{verb} of {line} is not in the help");
            }
        }
        assert!(verbs > 50, "{verbs}");
    }

    #[test]
    fn every_command_that_is_promised_is_understood() {
        let id = "ab".repeat(32);
        for (words, _) in COMMANDS {
            let line = words
                .replace("start|stop|restart", "stop")
                .replace("load|unload", "load")
                .replace("REVISION|current", "current")
                .replace("REVISION", "7")
                .replace("NAME|FINGERPRINT", "me")
                .replace("SHA256", &id)
                .replace("LINES", "7")
                .replace("TIME", "10m")
                .replace("KEY", "web.a")
                .replace("VALUE|-", "b")
                .replace("[-d] ", "")
                .replace(['[', ']'], "");
            let read = crate::args::parse(line.split(' ').map(Into::into));
            assert!(read.is_ok(), "{line}: {}", read.err().map_or_else(String::new, |error| error.to_string()));
        }
    }
}
