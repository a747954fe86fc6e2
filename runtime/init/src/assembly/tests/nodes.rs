//! Device nodes by rules.

use formats::lxc::DeviceKind;

use super::*;

const RULES: &str = r#"{"rules":[".* 0:0 666"]}"#;

fn state(lines: &str, rules: &str) -> State {
    State::new().with("web/mdev.json", rules).container("web", "", &(template("web") + lines))
}

#[test]
fn rules_are_of_a_dev_of_its_own_and_have_no_effect_on_another() {
    let assembly = state("", RULES).assemble();
    let own = assembly.get("web").and_then(|web| web.program.as_ref()).unwrap();
    assert!(!own.nodes.is_empty() && own.launch.nodes.is_none());
    let assembly = state("lxc.autodev = 0\n", RULES).assemble();
    let other = assembly.get("web").and_then(|web| web.program.as_ref()).unwrap();
    assert!(other.nodes.is_empty());
    assert!(assembly.warnings.iter().any(|warning| warning.starts_with("web/mdev.json: has no effect")));
}

#[test]
fn a_rule_that_is_none_makes_the_revision_impossible_with_its_place() {
    let refused = |rule: &str| {
        let rules = format!(r#"{{"rules":[".* 0:0 666",{rule:?}]}}"#);
        state("", &rules).assemble_with(&Settings::default()).unwrap_err().to_string()
    };
    assert!(refused("sd.* root:disk 660").starts_with("web/mdev.json: rules[1]: column 6: OWNER:GROUP are numbers"));
    assert!(refused("sd.* 0:6 660 @/bin/mount").starts_with("web/mdev.json: rules[1]: column 14: no program is run"));
}

#[test]
fn a_node_is_left_if_it_may_be_read_or_written_by_the_last_rule_that_speaks_of_that() {
    let leaves = |lines: &str| {
        let assembly = state(lines, RULES).assemble();
        let program = assembly.get("web").and_then(|web| web.program.clone()).unwrap();
        let nodes = [(DeviceKind::Character, 188, 0), (DeviceKind::Character, 188, 1), (DeviceKind::Block, 188, 0)];
        nodes.map(|(kind, major, minor)| program.devices.leaves(kind, major, minor))
    };
    let denied = "lxc.cgroup.devices.deny = a\n";
    assert_eq!(leaves(""), [true; 3]);
    assert_eq!(leaves(denied), [false; 3]);
    assert_eq!(leaves(&[denied, "lxc.cgroup.devices.allow = c 188:* r\n"].concat()), [true, true, false]);
    assert_eq!(leaves(&[denied, "lxc.cgroup.devices.allow = c 188:1 w\n"].concat()), [false, true, false]);
    // To make one is not to use it.
    assert_eq!(leaves(&[denied, "lxc.cgroup.devices.allow = b *:* m\n"].concat()), [false; 3]);
    assert_eq!(leaves("lxc.cgroup.devices.deny = c 188:0 rwm\n"), [false, true, true]);
    assert_eq!(leaves("lxc.cgroup.devices.deny = c 188:0 w\n"), [true; 3]);
}
