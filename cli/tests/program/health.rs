//! Health checks of images, and what becomes of them in a container.

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

const CHECKED: &str = r#"{"Env":["PATH=/bin"],"Cmd":["web"],"Shell":["/bin/ash","-c"],
    "Healthcheck":{"Test":["CMD-SHELL","web --alive || exit 1"],"Interval":1500000000,"StartPeriod":45000000000,"Retries":2}}"#;

fn bench(config: &str) -> Bench {
    let bench = Bench::new();
    let layer = Layer::new().file("bin/web", "#!/bin/sh\n").file("bin/ash", "#!/bin/sh\n");
    bench.layout("image", &[Image::new(config).layer(layer, Packed::Plain)]);
    bench
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn the_health_check_of_an_image_decides_whether_the_container_is_ready() {
    let bench = bench(CHECKED);
    let said = bench.app(&["add", "web", "--from", "oci:../image"]).stderr;
    assert!(said.contains("may take 45 seconds to become healthy, and a device waits 30"), "{said}");
    assert!(!said.contains("nowhere along the PATH"), "{said}");
    let run = plain(&bench.read("web/run.json"));
    let asks = r#""readiness":{"exec":["/bin/ash","-c","web--alive||exit1"],"interval":2,"timeout":30,"retries":2,"start_period":45,"start_interval":5}"#;
    assert!(run.contains(asks) && run.contains(r#""status_goal":"READY""#), "{run}");
    let info = bench.ok(&["app", "info", "web"]).stdout;
    assert!(info.contains(r#"asked by    ["/bin/ash", "-c", "web --alive || exit 1"]"#), "{info}");
    bench.ok(&["add", "."]);
    let committed = bench.ok(&["commit", "-m", "asked"]);
    assert!(!committed.stderr.contains("readiness"), "{}", committed.stderr);
}

#[test]
fn it_is_left_out_where_somebody_says_so_and_another_goal_says_so_too() {
    let bench = bench(CHECKED);
    for (name, more, goal, told) in [
        ("off", ["--no-healthcheck", "--force"].as_slice(), None, false),
        ("started", &["--status-goal", "STARTED"], Some("STARTED"), false),
        ("mounted", &["--status-goal", "MOUNTED"], Some("MOUNTED"), false),
        ("old", &["--template", "builtin-lxc-docker"], None, true),
        ("old-off", &["--template", "builtin-lxc-docker", "--no-healthcheck"], None, false),
    ] {
        let said = bench.app(&[&["add", name, "--from", "oci:../image"], more].concat()).stderr;
        assert_eq!(said.contains("has a health check, which the template"), told, "{name}: {said}");
        let run = plain(&bench.read(&format!("{name}/run.json")));
        assert!(!run.contains("readiness"), "{run}");
        let found = goal.map(|goal| format!(r#""status_goal":"{goal}""#));
        assert_eq!(found.as_ref().is_some_and(|found| run.contains(found)), run.contains("status_goal"), "{run}");
        let argument = bench.read(&format!("{name}/src.json")).contains("PV_HEALTHCHECK_DISABLE");
        assert_eq!(argument, more.contains(&"--no-healthcheck"), "{name}: what was said is said when it is made again");
    }
    bench.app(&["add", "ready", "--from", "oci:../image", "--status-goal", "READY"]);
    assert!(bench.read("ready/run.json").contains("readiness"));
}

#[test]
fn a_check_that_no_device_could_run_is_named_before_anything_is_made() {
    let wrong = bench(r#"{"Cmd":["web"],"Healthcheck":{"Test":["curl"]}}"#);
    let parts = ["the image's health check cannot be used", "begins with \"curl\"", "--no-healthcheck"];
    wrong.nothing(1, &[], &["web", "--from", "oci:../image"], &parts);
    wrong.app(&["add", "web", "--from", "oci:../image", "--no-healthcheck"]);

    let lost = bench(r#"{"Cmd":["web"],"Healthcheck":{"Test":["CMD","curl"]}}"#);
    let said = lost.app(&["add", "web", "--from", "oci:../image"]).stderr;
    assert!(said.contains("\"curl\", which its health check runs, is nowhere along the PATH"), "{said}");
}
