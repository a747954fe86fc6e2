//! What can be asked for: the one table that the help, the manual pages and the completions of shells come from.

use crate::help::Tool;

/// What the program is.
pub const TOOL: Tool = Tool {
    name: "pvtx",
    about: "changes the state of a device, part by part",
    long: "pvtx changes the state of a device part by part, on the device itself or inside one of its containers, and hands \
           it over as one new revision; or it makes the storage of a device that is not running.",
    commands: COMMANDS,
    options: OPTIONS,
    flags: FLAGS,
    exits: EXITS,
};

const COMMANDS: &[(&str, &str)] = &[
    (
        "begin current|empty|PATH [OBJECTS]",
        "begin with what the device runs, with nothing, or with a state: a trail, or a file; with a directory OBJECTS the \
         transaction is local",
    ),
    ("add FILE|-", "put a package in, in place of its older version: a tar, with gzip or without, or the keys alone"),
    ("remove PART", "take a part out: web, _config/web, or what _sigs/web.json signs"),
    ("show", "the state as it is now"),
    ("commit [locals/NAME]", "hand it to the device, and say the name of the revision; `pvcontrol cmd run` runs it"),
    ("deploy DIR", "of a local one: make DIR its trail, in place of what is there"),
    ("abort", "forget the transaction"),
    ("queue new DIR OBJECTS", "collect changes in DIR, for another time; their objects go to OBJECTS"),
    ("queue unpack FILE|-", "put a package at the end of the queue"),
    ("queue remove PART", "put a removal at the end of the queue"),
    (
        "queue process [current|empty|PATH [DIR OBJECTS]]",
        "begin a local transaction, with `current` unless another is named, and do what the queue says, in order",
    ),
    ("help [COMMAND]", "this, or the help of one command"),
];

const OPTIONS: &[(&str, &str)] = &[
    (
        "-s, --socket PATH",
        "the control socket; else the first of /run/pantavisor/pv/pv-ctrl, /pv/pv-ctrl, /pantavisor/pv-ctrl",
    ),
    (
        "-d, --dir PATH",
        "where the transaction is kept; else PVTXDIR, else /var/cache/pvtx for root and ~/.local/share/pvtx for others, \
         below PREFIX",
    ),
    ("-v, --verbose", "tell requests and answers, and what changes"),
    ("-h, --help", "this, or the help of one command"),
];

const FLAGS: &[(&str, &str, &str)] = &[
    ("commit", "-m, --message TEXT", "what is new in it"),
    ("commit", "--json", "the name and the digest of the revision as JSON"),
];

const EXITS: &str = "\
exit codes:
  0 done   1 called wrongly, or no control socket   48 no space   60 not the object it is called
  70 no good state   75 not now, try again later   255 anything else
";
