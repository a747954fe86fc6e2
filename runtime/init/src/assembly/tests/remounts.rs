//! Policies of mount options.

use container::launch::Attributes;

use super::*;

const DEVICE: &str = r#"{"groups":[{"name":"app"}],"remount":{"default":[{"/run":"nodev"},{"/d.*":"noexec"}],
    "loose":[{"/":"nosuid"}]}}"#;

fn launch(policy: Option<&str>) -> container::Launch {
    let members = r#","remount":{"default":[{"/":"nosuid"},{"/proc":"ro"},{"/run":"noatime,noexec"}]}"#;
    let state = State::new().with("device.json", DEVICE).container("web", members, &template("web"));
    let settings = Settings { remount_policy: policy.map(str::to_owned), ..Settings::default() };
    state.assemble_with(&settings).unwrap().get("web").unwrap().program.clone().unwrap().launch
}

#[test]
fn a_policy_of_the_device_and_one_of_the_container_add_up_at_every_place_they_are_about() {
    let launch = launch(None);
    let noexec = Attributes { noexec: true, ..Attributes::default() };
    let expected = [
        ("/".to_owned(), Attributes { nosuid: true, ..Attributes::default() }),
        ("/dev".to_owned(), noexec),
        ("/dev/pts".to_owned(), noexec),
        ("/dev/shm".to_owned(), noexec),
        ("/proc".to_owned(), Attributes { read_only: true, ..Attributes::default() }),
    ];
    assert_eq!(launch.hardened, expected);
    let run = launch.mounts.iter().find(|mount| mount.target == "run").unwrap().attributes;
    assert!(run.nodev && run.noexec && run.noatime && !run.read_only && !run.nosuid, "{run:?}");
    let resolv = launch.mounts.iter().find(|mount| mount.target == "etc/resolv.conf").unwrap().attributes;
    assert!(!resolv.noexec && !resolv.nosuid);
}

#[test]
fn another_policy_is_another_list_and_an_unknown_one_adds_nothing() {
    assert_eq!(
        launch(Some("loose")).hardened,
        [("/".to_owned(), Attributes { nosuid: true, ..Attributes::default() })]
    );
    assert_eq!(launch(Some("none")).hardened, []);
}

#[test]
fn an_entry_of_the_device_that_is_no_rule_is_refused_with_its_place() {
    let device = DEVICE.replace("noexec", "exec");
    let state = State::new().with("device.json", &device).container("web", "", &template("web"));
    let error = state.assemble_with(&Settings::default()).unwrap_err().to_string();
    assert_eq!(error, "device.json: remount: \"/d.*\": \"exec\" is none of ro, nosuid, nodev, noexec, noatime");
}
