//! What can be asked for, as text.

/// Each command: its words, and what it does.
const COMMANDS: &[(&str, &str)] = &[
    ("ls", "the device, and its containers"),
    ("device", "the device alone: revision, what it falls back to, the last update"),
    ("containers ls", "the containers of the running revision"),
    ("top", "what containers use: processor, memory, processes, disks"),
    ("containers start|stop|restart NAME", "only containers whose restart policy is `container`"),
    (
        "exec [-t] [-e NAME=VALUE]… CONTAINER [--] PROGRAM [ARGUMENT…]",
        "run a program in a container, with its rights; -t: with a terminal, as it is when input and output are one",
    ),
    (
        "exec -d [-e NAME=VALUE]… CONTAINER [--] PROGRAM [ARGUMENT…]",
        "the same without waiting for it: it has no input, and what it writes is in the log of the container",
    ),
    (
        "logs [-f] [-n LINES] [--since TIME] [--timestamps] CONTAINER",
        "what it has written; -n: the last lines; -f: and what it writes from now on; --since: what the device has read since \
         10m (also s, h, d) ago, since boot, or since a day or 2026-11-22T10:00:00Z; --timestamps: and when",
    ),
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
    ("cmd run REVISION [--retry]", "go to a revision that is here; --retry: although it was tried and found bad"),
    ("cmd run-commit REVISION", "the same: a revision commits itself once its goals are met"),
    ("cmd reboot [MESSAGE]", "end this boot and begin another"),
    ("cmd poweroff [MESSAGE]", "end this boot"),
    ("cmd run-gc", "remove what no revision needs"),
    ("rollback", "go back to the revision before"),
    ("buildinfo", "what the runtime was built from"),
    ("objects ls", "objects that are here"),
    ("objects get SHA256", "the bytes of one, to the standard output or to -f FILE"),
    ("objects put FILE SHA256", "bring one; -SIZE instead of FILE reads that many bytes from the standard input"),
    ("steps ls", "revisions that are here"),
    ("steps get REVISION|current", "the state of one"),
    ("steps put FILE locals/NAME", "bring the state of a new one; its objects must be here. FILE may be -"),
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
];

const OPTIONS: &str = "\
options:
  -s, --socket PATH    the control socket; else the first of /run/pantavisor/pv/pv-ctrl, /pv/pv-ctrl, /pantavisor/pv-ctrl
  -f, --output FILE    write there instead of to the standard output
  -m, --message TEXT   what is new, for steps put
      --table          lists as tables; that is so on a terminal
      --json           lists as JSON; that is so everywhere else
  -v, --verbose        tell requests and answers
  -h, --help           this, or the help of one command

exit codes:
  0 done   1 called wrongly, or no control socket   48 no space   60 not the object it is called
  70 no good state   75 not now, try again later   255 anything else
  of exec: that of the program, 128 and the signal that has ended it, 127 if it is not there, 126 if it cannot be executed
";

/// The help of one command, or of all.
pub(crate) fn text(topic: Option<&str>) -> String {
    let of_topic = |words: &&(&str, &str)| topic.is_none_or(|topic| words.0.split(' ').next() == Some(topic));
    let mut chosen: Vec<_> = COMMANDS.iter().filter(of_topic).collect();
    if chosen.is_empty() {
        chosen = COMMANDS.iter().collect();
    }
    let mut text = String::from("usage: pvcontrol [OPTION…] COMMAND\n\n");
    for (words, help) in chosen {
        text += &format!("  {words:<37} {help}\n");
    }
    text + "\n" + OPTIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_command_is_about_that_command() {
        let steps = text(Some("steps"));
        assert!(steps.contains("steps put FILE locals/NAME") && !steps.contains("rollback"), "{steps}");
        assert!(text(Some("nothing")).contains("rollback"));
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
                .replace(['[', ']'], "");
            let read = crate::args::parse(line.split(' ').map(Into::into));
            assert!(read.is_ok(), "{line}: {}", read.err().map_or_else(String::new, |error| error.to_string()));
        }
    }
}
