//! Rules are read as BusyBox reads them, and what is not done here is named.

use alloc::string::ToString;

use super::*;

fn read(lines: &[&str]) -> Rules {
    parse(lines).unwrap()
}

fn parse(lines: &[&str]) -> Result<Rules, DocumentError> {
    let lines: Vec<_> = lines.iter().map(|line| format!("{line:?}")).collect();
    let text = format!(r#"{{"rules":[{}]}}"#, lines.join(","));
    rules(&ContainerName::parse("web").unwrap(), &text, &mut Vec::new())
}

fn device(name: &str) -> String {
    format!("MAJOR=188\nMINOR=3\nDEVNAME={name}\nDEVTYPE=port\n")
}

/// `path link uid:gid mode` of a device of this name.
fn node(rules: &[&str], name: &str) -> Option<String> {
    let uevent = device(name);
    let node = read(rules).node(&Device::of(&uevent, "tty").unwrap())?;
    let link = node.link.unwrap_or_else(|| "-".into());
    Some(format!("{} {link} {}:{} {:o}", node.path, node.uid, node.gid, node.mode))
}

fn made(rules: &[&str], name: &str, expected: &str) {
    assert_eq!(node(rules, name).as_deref(), Some(expected), "{rules:?} {name}");
}

#[test]
fn the_first_rule_that_is_about_a_device_decides_unless_it_lets_others_have_a_word() {
    made(&[".* 0:0 666"], "ttyUSB3", "ttyUSB3 - 0:0 666");
    made(&["ttyUSB[0-9]+ 0:20 660", ".* 0:0 666"], "ttyUSB3", "ttyUSB3 - 0:20 660");
    made(&["tty 0:20 660", ".* 7:8 0600"], "ttyUSB3", "ttyUSB3 - 7:8 600");
    made(&["-ttyUSB.* 0:20 660", "ttyUSB.* 0:5 640"], "ttyUSB3", "ttyUSB3 - 0:5 640");
    made(&["-ttyUSB.* root:20 660", "sd.* 0:5 640"], "ttyUSB3", "ttyUSB3 - 0:20 660");
    assert_eq!(node(&["sd.* 0:0 660", "  # tty.* 0:0 666", ""], "ttyUSB3"), None);
    assert_eq!(node(&["tty.* 0:0 666 !", ".* 0:0 666"], "ttyUSB3"), None);
}

#[test]
fn a_rule_can_be_about_numbers_and_about_what_the_kernel_says() {
    for line in ["@188,3 0:0 666", "@188,0-9 0:0 666", "$DEVTYPE=p.*t 0:0 666", "SUBSYSTEM=tty;.* 0:0 666"] {
        made(&[line], "ttyUSB3", "ttyUSB3 - 0:0 666");
    }
    made(&["SUBSYSTEM=^t;DEVTYPE=or;ttyUSB. 0:0 666"], "ttyUSB3", "ttyUSB3 - 0:0 666");
    for line in [
        "@188,4 0:0 666",
        "@4,3 0:0 666",
        "$DEVTYPE=por 0:0 666",
        "$NOTHING=.* 0:0 666",
        "SUBSYSTEM=^ty$;.* 0:0 666",
        "SUBSYSTEM=usb;.* 0:0 666",
    ] {
        assert_eq!(node(&[line], "ttyUSB3"), None, "{line}");
    }
}

#[test]
fn a_node_can_have_another_name_and_a_link_at_its_own() {
    made(&["tty(USB)([0-9]+) 0:0 666 =modem/%2-%1"], "ttyUSB3", "modem/3-USB - 0:0 666");
    made(&["ttyUSB.* 0:0 666 >modem/"], "ttyUSB3", "modem/ttyUSB3 ttyUSB3 0:0 666");
    made(&["input/event[0-9]+ 0:0 640"], "input/event12", "input/event12 - 0:0 640");
    // As scripts know it that look into one directory of the kernel.
    made(&["event([0-9]+) 0:0 640 =keys/"], "input/event12", "keys/event12 - 0:0 640");
    made(&["event([0-9]+) 0:0 640 =keys/%1"], "input/event12", "keys/12 - 0:0 640");
    made(&["ttyUSB(x?)(.) 0:0 640 =%1a%2%9"], "ttyUSB3", "a3 - 0:0 640");
}

#[test]
fn what_every_container_has_in_dev_is_nothing_that_a_rule_is_about() {
    for name in USUAL.iter().chain(&["stderr"]) {
        assert_eq!(node(&[".* 0:0 600"], name), None, "{name}");
        assert_eq!(node(&[&format!(".* 0:0 600 ={name}")], "ttyUSB3"), None, "{name}");
    }
    assert_eq!(node(&[".* 0:0 600 =pts/x"], "ttyUSB3"), None);
    // A name that only becomes one with the device's.
    assert_eq!(node(&["tty(.*) 0:0 600 =%9/x"], "ttyUSB3"), None);
}

#[test]
fn patterns_are_extended_regular_expressions_of_whole_names() {
    for (pattern, name, is_about) in [
        ("ttyUSB3", "ttyUSB3", true),
        ("ttyUSB", "ttyUSB3", false),
        ("USB3", "ttyUSB3", false),
        ("^ttyUSB3$", "ttyUSB3", true),
        ("(null0|zero0|ttyUSB[0-9])", "ttyUSB3", true),
        ("sd[a-z]|ttyUSB.", "ttyUSB3", true),
        ("[vs]d[a-z][0-9]*", "vda12", true),
        ("[vs]d[a-z][0-9]*", "xda12", false),
        ("[^t].*", "ttyUSB3", false),
        ("[]t]+USB3", "ttUSB3", true),
        ("[a-]x", "-x", true),
        ("t{2}yUSB3", "ttyUSB3", true),
        ("t{3}yUSB3", "ttyUSB3", false),
        ("t{1,}yUSB3", "ttyUSB3", true),
        ("t{0,1}yUSB3", "ttyUSB3", false),
        ("(tt|y|US|B|3){5}", "ttyUSB3", true),
        ("(t*)*(.?)+", "ttyUSB3", true),
        ("tty[[:upper:]]+[[:digit:]]", "ttyUSB3", true),
        (r"a\.b", "a.b", true),
        (r"a\.b", "axb", false),
        ("", "x", false),
        ("(|x)y", "y", true),
    ] {
        let line = format!("{pattern} 0:0 666");
        // A line that begins with the owner has no pattern at all.
        let found = if pattern.is_empty() { None } else { node(&[&line], name) };
        assert_eq!(found.is_some(), is_about, "{pattern} {name}");
    }
}

#[test]
fn a_pattern_that_could_take_for_ever_does_not() {
    let name = "x".repeat(NAME_MAX - 1) + "y";
    assert_eq!(node(&["(x*)*(x*)*(x*)*(x|x|x)* 0:0 666"], &name), None);
    assert_eq!(node(&["((((x?){8}){8})*)* 0:0 666"], &name), None);
}

#[test]
fn what_is_no_rule_is_refused_with_its_column() {
    for (line, why) in [
        ("tty.*", "column 6: a rule has a pattern"),
        ("tty.* 0:0", "column 10: a rule has a pattern"),
        ("tty.* 0:0 # 666", "column 11: a rule has a pattern"),
        ("tty.* 0 666", "column 7: OWNER:GROUP are numbers"),
        ("tty.* root:tty 666", "column 7: OWNER:GROUP are numbers"),
        ("tty.* 0:4294967295 666", "column 7: OWNER:GROUP"),
        ("tty.* 0:+1 666", "column 7: OWNER:GROUP"),
        ("tty.* 0:0 668", "column 11: a mode is written"),
        ("tty.* 0:0 4755", "column 11: a mode is written"),
        ("tty.* 0:0 +66", "column 11: a mode is written"),
        ("@4 0:0 666", "column 1: @MAJOR,MINOR"),
        ("-@4,9-3 0:0 666", "column 2: @MAJOR,MINOR"),
        ("$x 0:0 666", "column 2: VARIABLE=pattern"),
        ("x;.* 0:0 666", "column 1: VARIABLE=pattern"),
        ("A=b;C=(;.* 0:0 666", "column 8: a group or set"),
        ("tty.* 0:0 666 =../x", "column 16: a name lies below /dev"),
        ("tty.* 0:0 666 =/x", "column 16: a name lies below /dev"),
        ("tty.* 0:0 666 =", "column 16: a name lies below /dev"),
        ("tty.* 0:0 666 @/bin/x", "column 15: no program is run"),
        ("tty.* 0:0 666 =x *run", "column 18: no program is run"),
        ("tty.* 0:0 666 ! $run", "column 17: no program is run"),
        ("tty.* 0:0 666 run", "column 15: nothing is read"),
        ("tty* 0:0 666 =a =b", "column 17: nothing is read"),
        ("tty(a 0:0 666", "column 6: a group or set"),
        ("tty[a 0:0 666", "column 4: a group or set"),
        ("tty) 0:0 666", "column 4: this is not read"),
        ("*tty 0:0 666", "column 1: there is nothing to repeat"),
        ("ty{,2} 0:0 666", "column 3: there is nothing to repeat"),
        ("ty{2,1} 0:0 666", "column 3: there is nothing to repeat"),
        ("ty{999} 0:0 666", "column 3: there is nothing to repeat"),
        ("ty{2,999} 0:0 666", "column 3: there is nothing to repeat"),
        ("t[z-a] 0:0 666", "column 5: a range"),
        ("t\\w 0:0 666", "column 3: this is not read"),
        ("t[[:word:]] 0:0 666", "column 2: this is not read"),
        ("a^b 0:0 666", "column 2: this is not read"),
        ("a$b 0:0 666", "column 2: this is not read"),
        ("((a{99}){99}){99} 0:0 666", "column 1: this is more"),
        ("(x{0}{255}{255}{255}{255}{255}) 0:0 666", "column 1: this is more"),
        ("ä( 0:0 666", "column 3: a group or set"),
    ] {
        let error = parse(&["ok 0:0 666", line]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("web/mdev.json: rules[1]: {why}")), "{line}: {error}");
    }
    let deep = format!("{}x{} 0:0 666", "(".repeat(40), ")".repeat(40));
    assert!(parse(&[&deep]).unwrap_err().to_string().contains("this is more"));
    assert!(parse(&[&format!("{} 0:0 666", "x".repeat(600))]).unwrap_err().to_string().contains("column 513"));
}

#[test]
fn a_document_that_is_none_is_refused_and_members_that_are_not_known_are_told() {
    let name = ContainerName::parse("web").unwrap();
    for (text, why) in [
        ("[]", "must be an object"),
        ("{}", "rules: is missing"),
        (r#"{"rules":"x"}"#, "rules: must be an array"),
        (r#"{"rules":[7]}"#, "rules[0]: must be a string"),
    ] {
        let error = rules(&name, text, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let mut warnings = Vec::new();
    assert!(rules(&name, r#"{"rules":[],"x":1}"#, &mut warnings).unwrap().is_empty());
    assert_eq!(warnings.len(), 1);
}

#[test]
fn a_device_without_a_node_or_with_a_name_that_leads_elsewhere_is_none() {
    for uevent in ["", "MAJOR=1\nMINOR=2\n", "DEVNAME=x\nMAJOR=1\n", "DEVNAME=../x\nMAJOR=1\nMINOR=2\n"] {
        assert_eq!(Device::of(uevent, "mem"), None, "{uevent}");
    }
    let long = device(&"x".repeat(NAME_MAX + 1));
    assert_eq!(Device::of(&long, "mem"), None);
}

#[test]
fn only_what_comes_or_goes_and_has_a_node_is_worth_a_look() {
    for (message, is) in [
        (&b"add@/devices/x\0ACTION=add\0DEVNAME=ttyUSB0\0"[..], true),
        (b"remove@/x\0ACTION=remove\0SEQNUM=7\0DEVNAME=sda", true),
        (b"change@/x\0ACTION=change\0DEVNAME=sda\0", false),
        (b"add@/devices/net/veth0\0ACTION=add\0INTERFACE=veth0\0", false),
        (b"libudev\0\xfe\xed\xca\xfe", false),
        (b"", false),
    ] {
        assert_eq!(is_about_a_node(message), is, "{message:?}");
    }
}
