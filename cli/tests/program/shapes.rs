//! What a container is told beside its image: arguments, members of the image's configuration, passwords.

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

fn bench() -> Bench {
    let bench = Bench::new();
    let layer = Layer::new().file("etc/passwd", "web:x:101:102::/srv:/bin/sh\n").file("bin/web", "").file("bin/b", "");
    let image = Image::new(r#"{"Cmd":["/bin/web"],"Env":["A=1"],"User":"web"}"#).layer(layer, Packed::Plain);
    bench.layout("image", &[image]);
    bench
}

const FROM: [&str; 2] = ["--from", "oci:../image"];

#[test]
fn members_of_the_images_configuration_are_said_otherwise_one_by_one() {
    let bench = bench();
    bench.write("x.json", r#"{"Cmd":["/bin/b","x"],"Env":["B=2"],"Entrypoint":null,"Odd":1}"#);
    let more = ["--config-json", "x.json", "--config", "User=7:8", "--config", r#"Volumes={"/data":{}}"#];
    let said = bench.app(&[&["add", "web"], &FROM[..], &more[..]].concat()).stderr;
    assert!(said.contains("`config`: an image has no \"Odd\""), "{said}");
    let config = bench.read("web/lxc.container.conf");
    for line in ["lxc.init.cmd = /bin/b x\n", "lxc.init.uid = 7\nlxc.init.gid = 8\n", "= B=2\n", "docker--data data "] {
        assert!(config.contains(line), "{line}: {config}");
    }
    assert!(!config.contains("A=1"), "{config}");
    let src = bench.read("web/src.json");
    assert!(src.contains("\"User\": \"7:8\"") && src.contains("\"User\": \"web\""), "both are there: {src}");
    // The environment names such a file too.
    let ran = bench.with(&[("PVR_CONFIG_JSON", "x.json")], &[&["app", "add", "b"], &FROM[..]].concat());
    assert!(ran.code == 0 && bench.read("b/lxc.container.conf").contains("/bin/b x"), "{}", ran.stderr);
    bench.write("bad.json", "[1]");
    for (more, why) in [
        (["--config-json", "bad.json"], "bad.json is no JSON object"),
        (["--config-json", "none.json"], "cannot read none.json"),
        (["--config", "User"], "--config \"User\" is not NAME=VALUE"),
        (["--config", "Cmd=[1"], "is no JSON"),
        (["--config", "Cmd=[1]"], "`config.Cmd` is no list of strings"),
        (["--config", "User=nobody"], "\"nobody\", which is not in its /etc/passwd"),
    ] {
        bench.nothing(1, &[], &[&["c"], &FROM[..], &more[..]].concat(), &[why]);
    }
}

#[test]
fn an_argument_is_said_once_and_is_one_that_the_template_takes() {
    let bench = bench();
    let more = ["--arg", "PV_GROUP=platform", "--arg-json", r#"PV_AUTO_RECOVERY={"policy":"always"}"#];
    bench.app(&[&["add", "web"], &FROM[..], &more[..]].concat());
    let run = bench.read("web/run.json");
    assert!(run.contains("\"group\": \"platform\"") && run.contains("\"policy\": \"always\""), "{run}");
    for (more, why) in [
        (vec!["--arg", "X"], "--arg \"X\" is not NAME=VALUE"),
        (vec!["--arg-json", "PV_ROLES=[x"], "is no JSON"),
        (vec!["--arg", "PV_GROUP=a", "--arg", "PV_GROUP=b"], "PV_GROUP is said twice"),
        (vec!["--group", "a", "--arg", "PV_GROUP=b"], "the argument PV_GROUP is said twice, and differs"),
        (vec!["--arg", "PV_GRUOP=a"], "\"PV_GRUOP\" is not known"),
        (vec!["--arg", "PV_LXC_CAP_KEEP=chown"], "granted one by one: --cap"),
        (vec!["--template", "builtin-lxc-docker", "--users", "own"], "shares the users of the device"),
        (vec!["--volume", "ovl:/a:boot", "--volume", "/a:boot"], "volumes at the same place"),
    ] {
        bench.nothing(1, &[], &[&["c"], &FROM[..], &more[..]].concat(), &[why]);
    }
    let odd = ["--template", "builtin-lxc-docker", "--arg", "MY_OWN=x"];
    let said = bench.app(&[&["add", "old"], &FROM[..], &odd[..]].concat()).stderr;
    assert!(said.contains("\"MY_OWN\" is not known; it is kept"), "{said}");
    assert!(bench.read("old/src.json").contains("\"MY_OWN\": \"x\""));
    let said = bench.app(&[&["add", "level"], &FROM[..], &["--runlevel", "root"]].concat()).stderr;
    assert!(said.contains("an older word for a group"), "{said}");
    let run = bench.read("level/run.json");
    assert!(run.contains("\"runlevel\": \"root\"") && !run.contains("\"group\""), "{run}");
    let both = [&["app", "add", "c"], &FROM[..], &["--runlevel", "root", "--group", "app"]].concat();
    assert_eq!(bench.run(&both).code, 2);
}

#[test]
fn a_password_that_everybody_can_see_is_warned_of() {
    let bench = bench();
    let seen = |env: &[(&str, &str)], more: &[&str]| {
        let ran = bench.with(env, &[&["app", "add", "web", "--force"], &FROM[..], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr.contains("list of processes")
    };
    assert!(seen(&[], &["-u", "me", "-p", "secret"]));
    assert!(!seen(&[("PVR_REGISTRY_USERNAME", "me"), ("PVR_REGISTRY_PASSWORD", "secret")], &[]));
    assert_eq!(bench.run(&[&["app", "add", "x"], &FROM[..], &["-u", "me"]].concat()).code, 2);
}

#[test]
fn an_app_goes_to_the_group_of_apps_if_the_device_has_one() {
    let bench = bench();
    let group = |name: &str, more: &[&str]| {
        bench.app(&[&["add", name, "--from", "oci:../image"], more].concat());
        bench.read(&format!("{name}/run.json")).contains("\"group\": \"app\"")
    };
    assert!(group("a", &[]), "of the default groups");
    assert!(!group("b", &["--template", "builtin-lxc-docker"]));
    bench.write("device.json", r#"{"groups":[{"name":"root"},{"name":"app"}]}"#);
    assert!(group("c", &[]));
    bench.write("device.json", r#"{"groups":[{"name":"root"},{"name":"late"}]}"#);
    assert!(!group("d", &[]));
}
