//! Containers of a compose file: the whole way, what is left when it cannot be gone, and the report of a large file.

use std::fs;
use std::path::Path;

use snapbox::{Data, assert_data_eq};

use crate::bench::{Bench, Ran};
use crate::images::{Image, Layer, Packed};

const ALLOW: [&str; 6] = ["--allow", "gps:devices", "--allow", "caps", "--allow", "privileged"];

impl Bench {
    fn compose(&self, env: &[(&str, &str)], file: &str, more: &[&str]) -> Ran {
        self.with(env, &[&["import", "compose", file], more].concat())
    }

    fn project(&self, name: &str, text: &str) {
        let path = self.top().join("shop").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn golden(name: &str) -> Data {
    Data::read_from(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose").join(name), None)
}

/// A bench with the large example beside its repository.
fn stack() -> Bench {
    let bench = Bench::new();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/stack"), &bench.top().join("stack"));
    fs::create_dir(bench.top().join("stack/uploads")).unwrap();
    bench
}

const STACK: &str = "../stack/docker-compose.yml";
const ENV: [(&str, &str); 2] = [("REDIS_PASSWORD", "x"), ("TLS_KEY", "k")];

#[test]
fn the_report_of_a_large_file_names_every_line_that_is_not_simply_mapped() {
    let bench = stack();
    let before = bench.everything();
    let ran = bench.compose(&ENV, STACK, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_data_eq!(ran.stderr, golden("report.txt"));
    assert_eq!(bench.everything(), before);
    let ran = bench.compose(&ENV[..1], STACK, &["--dry-run"]);
    assert_eq!(ran.code, 0x1);
    assert!(ran.stderr.contains("secrets.tls: cannot be: the variable TLS_KEY is not set here"), "{}", ran.stderr);
    let ran = bench.compose(&[], STACK, &[]);
    assert!(ran.stderr.contains("docker-compose.yml:131: the variable REDIS_PASSWORD: set one"), "{}", ran.stderr);
}

#[test]
fn the_plan_of_a_large_file_is_shown_and_nothing_is_done() {
    let bench = stack();
    let path = bench.top().join("stack/docker-compose.yml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("      - /var/run/docker.sock:/var/run/docker.sock:ro\n", "");
    let text = text.replace(", \"/dev/gpiochip0\"", "").replace("  builder:\n    build: .\n", "");
    fs::write(&path, text).unwrap();
    let before = bench.everything();
    let more = [&["--dry-run", "--allow", "network", "--allow", "mounts"], &ALLOW[..]].concat();
    let ran = bench.compose(&ENV, STACK, &more);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_data_eq!(ran.stdout.clone(), golden("plan.txt"));
    let json = bench.compose(&ENV, STACK, &[&more[..], &["--json"]].concat());
    assert!(json.stdout.contains("\"imported\": false") && json.stderr.is_empty(), "{}", json.stdout);
    for value in ["hunter2", "abcdef"] {
        assert!(!ran.stdout.contains(value) && !ran.stderr.contains(value) && !json.stdout.contains(value), "{value}");
    }
    assert_eq!(bench.everything(), before);
}

const FILE: &str = "name: shop
services:
  web:
    image: oci:../one
    ports: ['8080:80']
    depends_on: [db]
    volumes: ['./site:/srv:ro']
    cap_drop: [ALL]
    tmpfs: /cache
  db:
    image: oci:../one
    command: [/bin/web, --data]
    environment: {A: b c}
    volumes: ['data:/var/db']
    networks: [default, back]
    restart: on-failure:3
  alone: {image: 'oci:../one', network_mode: none}
volumes: {data: }
networks: {back: {internal: true}}
";

fn bench() -> Bench {
    let bench = Bench::new();
    for name in ["one", "two"] {
        let layer = Layer::new().file("bin/web", "#!/bin/sh\n").file("version", name);
        bench.layout(name, &[Image::new(r#"{"Entrypoint":["/bin/web"]}"#).layer(layer, Packed::Zstd)]);
    }
    bench.project("c.yml", FILE);
    bench.project("site/index.html", "hello");
    bench.project("site/old.html", "old");
    bench
}

#[test]
fn services_become_containers_that_a_device_would_take() {
    let bench = bench();
    bench.write("device.json", r#"{"groups":[{"name":"app"}],"mine":1}"#);
    let ran = bench.compose(&[], "../shop/c.yml", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("Adding web from oci:../one@sha256:"), "{}", ran.stderr);
    assert_eq!(bench.read("_config/web/srv/index.html"), "hello");
    let device = bench.read("device.json");
    assert!(device.contains("\"mine\": 1") && device.contains("\"subnet\": \"10.0.4.0/24\""), "{device}");
    let web = bench.read("web/lxc.container.conf");
    assert!(
        web.contains("tmpfs cache tmpfs rw,nosuid,nodev,size=67108864") && web.contains("lxc.cap.keep = none"),
        "{web}"
    );
    assert!(bench.read("web/run.json").contains("\"8080:80\""));
    let db = bench.read("db/run.json");
    assert!(db.contains("\"interfaces\"") && db.contains("\"max_retries\": 3"), "{db}");
    assert!(bench.read("db/lxc.container.conf").contains("lxc.init.cmd = /bin/web /bin/web --data\n"));
    assert!(bench.read("alone/lxc.container.conf").contains("lxc.net.0.type = empty"));
    bench.ok(&["add", "."]);
    bench.ok(&["commit", "-m", "shop"]);
    bench.strict().unwrap();
}

#[test]
fn a_second_import_replaces_what_is_its_own_and_tells_what_the_file_no_longer_has() {
    let bench = bench();
    assert_eq!(bench.compose(&[], "../shop/c.yml", &[]).code, 0);
    let before = bench.read("web/root.squashfs.docker-digest");
    let device = bench.read("device.json");
    let begin = FILE.find("  alone:").unwrap();
    let end = FILE.find("volumes: {data").unwrap();
    let less = [&FILE[..begin], &FILE[end..]].concat().replacen("../one", "../two", 1);
    bench.project("c.yml", &less);
    fs::remove_file(bench.top().join("shop/site/old.html")).unwrap();
    bench.write("_config/web/srv/mine.html", "mine");
    let ran = bench.compose(&[], "../shop/c.yml", &["--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("\"imported\": true"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("Replacing web") && ran.stderr.contains("Removing _config/web/srv/old.html"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("alone is of this project, and the file no longer has it"), "{}", ran.stderr);
    assert_ne!(bench.read("web/root.squashfs.docker-digest"), before);
    assert!(!bench.path("_config/web/srv/old.html").exists());
    assert_eq!(bench.read("_config/web/srv/mine.html"), "mine");
    assert_eq!(bench.read("device.json"), device);
}

#[test]
fn what_cannot_be_made_leaves_nothing_of_the_others() {
    let bench = bench();
    bench.project("c.yml", &FILE.replacen("oci:../one', network_mode", "oci:../none', network_mode", 1));
    let before = bench.everything();
    let ran = bench.compose(&[], "../shop/c.yml", &[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("c.yml:17: services.alone: "), "{}", ran.stderr);
    assert_eq!(bench.everything(), before);
    // A container of somebody else.
    bench.project("c.yml", FILE);
    bench.write("db/run.json", "{}");
    let before = bench.everything();
    let ran = bench.compose(&[], "../shop/c.yml", &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("there is a db already, which is not of the project shop"), "{}", ran.stderr);
    assert_eq!(bench.everything(), before);
    assert_eq!(bench.compose(&[], "../shop/c.yml", &["--force"]).code, 0);
    // A file where a directory is to be: found when the first are in their places already.
    let bench = self::bench();
    bench.write("_config/web/srv", "a file");
    let before = bench.everything();
    assert_eq!(bench.compose(&[], "../shop/c.yml", &[]).code, 1);
    assert_eq!(bench.everything(), before);
}

#[test]
fn whoever_waits_for_health_needs_somebody_who_can_say_so() {
    let bench = bench();
    bench.project("c.yml", &FILE.replace("depends_on: [db]", "depends_on: {db: {condition: service_healthy}}"));
    let before = bench.everything();
    let ran = bench.compose(&[], "../shop/c.yml", &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("services.web.depends_on.db: db has no health check"), "{}", ran.stderr);
    assert_eq!(bench.everything(), before);
}

#[test]
fn words_of_the_command_line_are_told_from_bundles() {
    let bench = bench();
    let ran = bench.with(&[], &["import", "./compose"]);
    assert!(ran.code == 1 && ran.stderr.contains("compose"), "{}", ran.stderr);
    assert_eq!(bench.with(&[], &["import"]).code, 2);
    let ran = bench.compose(&[], "../shop/c.yml", &["--allow", "everything"]);
    assert!(ran.code == 1 && ran.stderr.contains("is no right that can be allowed"), "{}", ran.stderr);
}
