//! What decides which modules of the kernel are loaded, aliases of a revision and the lists of `depmod`; and rules of policies.

use std::collections::BTreeSet;

use formats::drivers_json::{Aliases, Board};
use formats::mdev::{self, Device, USUAL};
use formats::modules::{Lists, ORDER_MAX, is_excluded, name_of, parameters, plain};
use formats::path::{self, ContainerName};
use formats::remount::{PATTERN_MAX, Rule};

pub(crate) fn aliases(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let Ok(aliases) = Aliases::parse(text, &mut Vec::new()) else { return };
    let board = Board { fit_config: Some("conf-a".into()), dtb: Some("a.dtb".into()), overlays: vec!["b.dtbo".into()] };
    for name in aliases.names() {
        assert_eq!(path::component(name), Ok(()));
        assert!(aliases.knows(name) && aliases.selectors(name).next().is_some());
        let fits = aliases.selectors(name).any(|selector| selector.fits(&board));
        assert_eq!(aliases.on(&board, name).is_some(), fits);
        for entry in aliases.on(&board, name).unwrap_or_default() {
            assert!(!entry.module.contains(['/', ' ', '\0']) && !entry.module.starts_with('-'));
            // Whatever metadata says, it says it in the words that are there.
            let count = |text: &str| text.split_ascii_whitespace().count();
            let one = entry.options(&|_, _| Some("x".into()));
            let hostile = entry.options(&|_, _| Some("x debug=1\" y".into()));
            assert!(count(&hostile.options) <= count(&one.options));
            assert!(!one.options.contains("${") || text.contains("$${"), "{}", one.options);
        }
    }
}

/// A line `#list` begins the next list, in the order of [`Lists`]; the last is the name, and in a second line a command line.
pub(crate) fn modules(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let parts: Vec<&str> = text.split("#list\n").collect();
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let lists =
        Lists { dependencies: part(0), soft: part(1), aliases: part(2), builtin: part(3), builtin_info: part(4) };
    let (name, line) = part(5).split_once('\n').unwrap_or((part(5), ""));
    let Ok(order) = lists.order(name, &|module| is_excluded(line, module)) else { return };
    assert!(order.len() <= ORDER_MAX);
    let mut seen = BTreeSet::new();
    for module in &order {
        assert_eq!(path::relative(&module.file), Ok(()));
        assert_eq!(name_of(&module.file), module.name);
        assert!(seen.insert(module.name.clone()), "{} twice", module.name);
        assert!(!module.asked || !module.soft);
        assert!(!parameters(line, &module.name).contains('\n') || line.contains('\n'));
    }
    let asked_by_name = order.iter().any(|module| module.name == plain(name));
    assert!(!asked_by_name || !order.is_empty());
}

/// A document, and behind a NUL what the kernel says of a device.
pub(crate) fn mdev(bytes: &[u8]) {
    let _ = mdev::is_about_a_node(bytes);
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let (document, uevent) = text.split_once('\0').unwrap_or((text, "MAJOR=188\nMINOR=3\nDEVNAME=ttyUSB3\n"));
    let name = ContainerName::parse("web").expect("it is one");
    let device = Device::of(uevent, "tty");
    let read = |text: &str| mdev::rules(&name, text, &mut Vec::new());
    if let (Ok(rules), Some(device)) = (read(document), &device)
        && let Some(node) = rules.node(device)
    {
        assert!(node.mode <= 0o777 && rules.owners().any(|owner| owner == (node.uid, node.gid)));
        for place in node.link.iter().chain([&node.path]) {
            assert_eq!(path::relative(place), Ok(()));
            assert!(!USUAL.contains(&place.as_str()) && place.len() <= mdev::NAME_MAX);
        }
    }
    let all = read(r#"{"rules":[".* 0:0 666"]}"#).expect("rules");
    let is_usual = |name: &str| USUAL.contains(&name.split('/').next().unwrap_or_default());
    if let Some(device) = device.filter(|device| !is_usual(device.name)) {
        assert_eq!(all.node(&device).map(|node| node.path), Some(device.name.to_owned()));
    }
}

/// A pattern, in the next line options, and in the third a place.
pub(crate) fn remount(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let (pattern, options, place) = (lines.next(), lines.next().unwrap_or("ro"), lines.next().unwrap_or("/a"));
    let Some(pattern) = pattern else { return };
    let Ok(rule) = Rule::parse(pattern, options) else { return };
    assert!(pattern.len() <= PATTERN_MAX);
    let is_about = rule.is_about(place);
    // What has nothing special in it is about itself alone.
    if !pattern.contains(['.', '[', '*', '+', '?', '\\', '^', '$']) {
        assert_eq!(is_about, pattern == place);
    }
    let whatever = Rule::parse(".*", options).map(|rule| rule.is_about(place));
    assert_eq!(whatever, Ok(true));
}
