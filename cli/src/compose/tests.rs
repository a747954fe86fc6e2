//! Each key of a service: what it becomes, and what is said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use formats::json::Json;

use super::at::At;
use super::interpolate::Lookup;
use super::keys::{Fate, SERVICE};
use super::net::Pools;
use super::world::World;
use super::*;

const ENVIRONMENT: Lookup<'static> = &|name| (name == "FROM_HERE").then(|| "here".to_owned());

/// What a file comes to, in a directory with a few files.
fn import(text: &str, allow: &[&str]) -> (Plan, Report) {
    let scratch = tempfile::tempdir().unwrap();
    let project = scratch.path().join("shop");
    fs::create_dir_all(project.join("site/img")).unwrap();
    fs::create_dir_all(project.join("empty")).unwrap();
    for (name, contents) in [
        ("c.yml", text),
        ("site/index.html", "x"),
        ("site/img/a", "x"),
        ("app.conf", "x"),
        ("bad.json", "{"),
        ("v.env", "A=1\nB\n"),
    ] {
        fs::write(project.join(name), contents).unwrap();
    }
    let loaded = load(&project.join("c.yml"), &Source { environment: ENVIRONMENT, env_files: &[] }).unwrap();
    let device = Json::object().with(
        "network",
        Json::object().with("pools", Json::object().with("lan", Json::object().with("subnet", "10.0.3.0/24"))),
    );
    let allow: Vec<String> = allow.iter().map(|word| (*word).to_owned()).collect();
    let wishes =
        Wishes { environment: ENVIRONMENT, profiles: &["on".to_owned()], allow: &allow, pool: None, device: &device };
    map(&loaded, &wishes)
}

/// A service with these keys, beside another one; the rest of the file follows.
fn file(keys: &str, rest: &str) -> String {
    format!(
        "services:\n  web:\n    image: nginx\n    {}\n  db: {{image: postgres}}\n{rest}\n",
        keys.replace('\n', "\n    ")
    )
}

fn shown(keys: &str, rest: &str, allow: &[&str]) -> (String, String) {
    let (plan, report) = import(&file(keys, rest), allow);
    let config = plan.containers.first().map(|one| one.config.compact()).unwrap_or_default();
    let variables = plan.containers.first().map(|one| format!("{:?}", one.env)).unwrap_or_default();
    let findings = report.findings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    (format!("{}\n{config}\n{variables}", plan.lines().join("\n")), findings)
}

/// Keys, what the plan shows of them, what the report says.
const ROWS: &[(&str, &str, &str)] = &[
    ("", "web: nginx\n  pools      shop\n", ""),
    ("command: a 'b c'", r#""Cmd":["a","b c"]"#, ""),
    ("command: [a, b c]", r#""Cmd":["a","b c"]"#, ""),
    ("entrypoint: /e\ncommand: [a]", r#"{"Entrypoint":["/e"],"Cmd":["a"]}"#, ""),
    ("entrypoint: [/e]", r#"{"Entrypoint":["/e"],"Cmd":[]}"#, ""),
    ("command: a 'b", "{}", "services.web.command: cannot be: a quote has no end"),
    (
        "user: '1:2'\nworking_dir: /srv\nstop_signal: SIGINT",
        r#"{"User":"1:2","WorkingDir":"/srv","StopSignal":"SIGINT"}"#,
        "",
    ),
    (
        "environment: {A: 1, B: , FROM_HERE: }",
        r#"[("A", "1"), ("FROM_HERE", "here")]"#,
        "environment.B: not mapped: it is to come",
    ),
    ("environment: [A=1=2, FROM_HERE]", r#"[("A", "1=2"), ("FROM_HERE", "here")]"#, ""),
    ("environment: {API_KEY: x}", "variables  API_KEY", "web.environment.API_KEY: a secret in plain text"),
    ("environment: {A: \"a\\nb\"}", "[]", "environment.A: cannot be: a value of several lines"),
    ("env_file: v.env\nenvironment: {A: 2}", r#"[("A", "2")]"#, ""),
    ("env_file: [{path: none.env, required: false}]", "[]", ""),
    ("env_file: none.env", "[]", "cannot be: cannot read"),
    (
        "healthcheck: {test: curl x, interval: 1m, retries: 3}",
        r#"{"Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":60000000000,"Retries":3}}"#,
        "",
    ),
    ("healthcheck: {test: [CMD, a], start_period: 1.5s}", r#"{"Test":["CMD","a"],"StartPeriod":1500000000}"#, ""),
    ("healthcheck: {disable: true}", r#"{"Test":["NONE"]}"#, ""),
    ("healthcheck: {test: [a, b]}", "{}", "healthcheck.test: cannot be: write [\"CMD\""),
    ("healthcheck: {interval: 1s}", "{}", "healthcheck: not mapped: times without"),
    (
        "restart: always",
        r#"{"policy":"always","retry_delay":1,"backoff_factor":2,"reset_window":10,"stable_timeout":10}"#,
        "",
    ),
    ("restart: on-failure:3", r#""max_retries":3,"backoff_policy":"never"}"#, ""),
    ("restart: no", r#"{"policy":"no"}"#, ""),
    ("restart: sometimes", "", "restart: cannot be: write no, always"),
    (
        "deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 2, window: 1m}}",
        r#"{"policy":"on-failure","retry_delay":5,"backoff_factor":2,"reset_window":60,"stable_timeout":10,"max_retries":2}"#,
        "",
    ),
    ("depends_on: [db]", "after      db", ""),
    (
        "depends_on: {db: {condition: service_completed_successfully}}",
        "after      db",
        "depends_on.db: not mapped: it starts when db has started",
    ),
    ("depends_on: {db: {restart: true}}", "after      db", "depends_on.db: not mapped: it is not started anew"),
    ("depends_on: [cache]", "", "depends_on[0]: cannot be: the file has no service cache"),
    ("depends_on: {cache: {required: false}}", "web", ""),
    ("links: ['db:base']", "after      db", ""),
    ("links: ['db:base']", "names      base", ""),
    ("ports: ['8080:80', 53:53/udp]", "publishes  8080:80, 53:53/udp", ""),
    ("ports: [{target: 80, published: 8080, host_ip: 127.0.0.1}]", "publishes  127.0.0.1:8080:80", ""),
    ("ports: ['80']", "", "ports[0]: cannot be: the device chooses no ports"),
    ("ports: ['[::1]:80:80']", "", "ports[0]: cannot be: \"[::1]:80:80\" is no"),
    ("hostname: www", "names      www", ""),
    ("container_name: shop-web", "names      shop-web", ""),
    ("hostname: www\ncontainer_name: other", "names      www", "container_name: not mapped: others find"),
    ("mac_address: 02:00:00:00:00:01", "pools      shop", ""),
    ("network_mode: none", "web: nginx\n  network    none", ""),
    ("network_mode: none\nhostname: x", "line       lxc.uts.name = x", ""),
    ("network_mode: service:db", "", "network_mode: cannot be: a container has no part"),
    ("network_mode: host", "", "network_mode: must be allowed: the network of the device"),
    ("network_mode: none\nnetworks: [back]", "", "networks: cannot be: it excludes `network_mode`"),
    ("networks: {back: {aliases: [www], ipv4_address: 10.9.0.7}}", "pools      back\n  names      www", ""),
    ("networks: [back, lan]", "pools      back, lan", ""),
    ("networks: [other]", "", "networks[0]: cannot be: the file has no network other"),
    (
        "mem_limit: 1m\nmemswap_limit: 3m",
        "line       lxc.cgroup2.memory.max = 1048576\n  line       lxc.cgroup2.memory.swap.max = 2097152",
        "",
    ),
    ("memswap_limit: 3m", "", "memswap_limit: cannot be: it is memory and swap together"),
    ("mem_reservation: 1k", "lxc.cgroup2.memory.low = 1024", ""),
    ("cpus: 0.5", "lxc.cgroup2.cpu.max = 50000 100000", ""),
    ("cpu_quota: 1000\ncpu_period: 2000", "lxc.cgroup2.cpu.max = 1000 2000", ""),
    ("cpu_shares: 1024", "lxc.cgroup2.cpu.weight = 39", ""),
    ("cpuset: 0-1", "lxc.cgroup2.cpuset.cpus = 0-1", ""),
    ("pids_limit: 7", "tasks      7", ""),
    ("oom_score_adj: -5", "lxc.proc.oom_score_adj = -5", ""),
    ("group_add: [7, 8]", "lxc.init.groups = 7,8", ""),
    ("group_add: [audio]", "", "group_add[0]: cannot be: it must be a number"),
    ("sysctls: {net.core.somaxconn: 1}", "lxc.sysctl.net.core.somaxconn = 1", ""),
    (
        "ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}",
        "lxc.prlimit.nofile = 1:2\n  line       lxc.prlimit.nproc = 3",
        "",
    ),
    ("ulimits: {nonsense: 1}", "", "ulimits.nonsense: cannot be: a device does not read"),
    (
        "deploy: {resources: {limits: {cpus: '2', memory: 1k, pids: 5}, reservations: {memory: 2k}}}",
        "lxc.cgroup2.memory.max = 1024\n  line       lxc.cgroup2.memory.low = 2048\n  line       lxc.cgroup2.cpu.max = 200000 100000",
        "",
    ),
    ("deploy: {replicas: 3}", "", "deploy.replicas: cannot be: a device runs one"),
    ("scale: 0", "left out: web", ""),
    ("profiles: [off]", "left out: web", "profiles[0]: changes nothing: left out"),
    ("profiles: [on]", "web: nginx", ""),
    ("cap_drop: [ALL]\ncap_add: [CHOWN]", "drops      dac_override, fowner", ""),
    ("cap_add: [SYS_TIME]", "", "cap_add[0]: must be allowed: the capability sys_time; `--allow web:caps`"),
    ("cap_add: [FLYING]", "", "cannot be: \"FLYING\" is no capability"),
    ("devices: ['/dev/ttyUSB0:/dev/ttyUSB0:rw']", "", "devices[0]: must be allowed: the device node /dev/ttyUSB0"),
    ("devices: ['/dev/ttyUSB0:/dev/gps']", "", "devices[0]: cannot be: a node has the same name"),
    ("devices: [/dev/gpiochip0]", "", "cannot be: the device \"/dev/gpiochip0\": its numbers"),
    ("privileged: true", "", "privileged: must be allowed: every capability"),
    ("privileged: false", "web: nginx", ""),
    ("security_opt: ['no-new-privileges:true', 'seccomp:unconfined']", "", "security_opt[1]: cannot be: the filter"),
    ("pid: host", "", "pid: cannot be: a container sees its own"),
    ("ipc: private", "web: nginx", "ipc: changes nothing"),
    ("uts: host", "", "uts: cannot be"),
    (
        "tmpfs: '/run/x:size=1m,mode=700'",
        "line       lxc.mount.entry = tmpfs run/x tmpfs rw,nosuid,nodev,size=1048576,mode=700,create=dir 0 0",
        "",
    ),
    ("tmpfs: [/a b]", "", "tmpfs[0]: cannot be: a place in a container has no blanks"),
    ("volumes: ['data:/var/data']", "keeps      /var/data:permanent", ""),
    ("volumes: [/var/data]", "keeps      /var/data:permanent", ""),
    ("volumes: ['other:/var/data']", "", "volumes[0]: cannot be: the file has no volume other"),
    ("volumes: ['nfs:/var/data']", "", "volumes.nfs.driver_opts: cannot be: a volume is a directory"),
    (
        "volumes: ['./site:/srv:ro']",
        "files      /srv/img/a, /srv/index.html",
        "volumes[0]: differs: its files are laid over",
    ),
    ("volumes: ['./app.conf:/etc/app.conf:ro']", "files      /etc/app.conf", ""),
    ("volumes: ['./app.conf:/etc/app.conf']", "files      /etc/app.conf", "differs: it comes with the revision"),
    (
        "volumes: ['./app.conf:/run/app.conf:ro']",
        "line       lxc.mount.entry = etc/compose/run/app.conf run/app.conf none bind,ro,relative,create=file 0 0",
        "",
    ),
    ("volumes: ['data:/srv', './app.conf:/srv/app.conf:ro']", "files      /etc/compose/srv/app.conf", ""),
    ("volumes: ['./bad.json:/etc/x.json:ro']", "", "cannot be: a state holds `.json` files as JSON"),
    ("volumes: ['./new:/srv']", "keeps      /srv:permanent", "volumes[0]: differs:"),
    ("volumes: ['./empty:/srv']", "keeps      /srv:permanent", "differs: the directory is empty"),
    ("volumes: ['/etc/localtime:/etc/localtime:ro']", "", "must be allowed: /etc/localtime of the device"),
    ("volumes: ['/var/run/docker.sock:/x']", "", "cannot be: there is no Docker"),
    ("volumes: ['~/x:/x']", "", "cannot be: the home directory"),
    ("volumes: ['data:/a', 'data:/a/']", "", "volumes[1]: cannot be: something else is mounted at /a"),
    (
        "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m}}]",
        "tmpfs t tmpfs rw,nosuid,nodev,size=1048576,mode=1777",
        "",
    ),
    ("volumes: [{type: bind, source: ./app.conf, target: /etc/a, read_only: true}]", "files      /etc/a", ""),
    ("volumes: ['data:/a/../../b']", "", "cannot be: no place in a container"),
    ("configs: [site]", "files      /site", ""),
    ("configs: [{source: site, target: /etc/site, mode: 0400}]", "files      /etc/site", "configs[0].mode: differs"),
    ("configs: [none]", "", "cannot be: the file has nothing called none below `configs`"),
    (
        "secrets: [word]",
        "line       lxc.mount.entry = etc/compose/run/secrets/word run/secrets/word none bind,ro,relative,create=file 0 0",
        "secrets.word: a secret in plain text",
    ),
    ("secrets: [outside]", "", "secrets.outside: cannot be: it has neither"),
    ("build: .", "web: nginx", "build: changes nothing: the image is fetched"),
    ("image: 'A:B:C'", "", "services.web.image: cannot be"),
    ("dns: 1.1.1.1", "web: nginx", "services.web.dns: not mapped"),
    ("stdin_open: false", "web: nginx", "stdin_open: changes nothing"),
    ("volume: [x]", "", "services.web.volume: cannot be: is no key of Compose"),
    ("x-mine: 1", "web: nginx", ""),
];

const REST: &str = "networks:
  back: {internal: true, ipam: {config: [{subnet: 10.9.0.0/24}]}}
  lan: {external: true}
volumes:
  data:
  nfs: {driver_opts: {type: nfs}}
configs:
  site: {content: x}
secrets:
  word: {environment: FROM_HERE}
  outside: {external: true}";

#[test]
fn each_key_becomes_what_its_row_says() {
    let mut wrong = Vec::new();
    for (keys, planned, said) in ROWS {
        // A key of this service in place of the one that it has.
        let keys_of = if keys.starts_with("image") { format!("x-a: 1\n{keys}") } else { (*keys).to_owned() };
        let text = file(&keys_of, REST);
        let text = if keys.starts_with("image") { text.replacen("    image: nginx\n", "", 1) } else { text };
        let (plan, report) = import(&text, &[]);
        let first = plan.containers.first();
        let config = first.map(|one| one.config.compact()).unwrap_or_default();
        let variables = first.map(|one| format!("{:?}", one.env)).unwrap_or_default();
        let plan = format!("{}\n{config}\n{variables}", plan.lines().join("\n"));
        let findings = report.findings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let about_it = report.findings().iter().filter(|one| one.path.starts_with("services.web")).count();
        let fine = if said.is_empty() { about_it == 0 } else { findings.contains(said) };
        if !plan.contains(planned) || !fine {
            wrong.push(format!("{keys}\n{plan}\n{findings}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_right_is_granted_to_whom_it_was_allowed() {
    let of = |keys: &str, allow: &[&str]| {
        let (plan, report) = shown(keys, "", allow);
        (plan, report.contains("must be allowed"))
    };
    for (keys, right, shown) in [
        ("cap_add: [SYS_TIME]", "caps", "grants     the capability sys_time"),
        ("devices: [/dev/ttyUSB0]", "devices", "grants     /dev/ttyUSB0"),
        ("volumes: ['/srv:/srv']", "mounts", "grants     /srv"),
        ("privileged: true", "privileged", "grants     /dev/, the capability chown"),
        ("network_mode: host", "network", "network    the device's"),
    ] {
        assert!(of(keys, &[]).1, "{keys}");
        assert!(of(keys, &[&format!("db:{right}")]).1, "{keys}");
        for allow in [right.to_owned(), format!("web:{right}")] {
            let (plan, refused) = of(keys, &[&allow]);
            assert!(!refused && plan.contains(shown), "{keys}: {plan}");
        }
    }
}

#[test]
fn a_volume_of_two_services_belongs_to_the_first() {
    let text = "services:\n  web: {image: a, volumes: ['data:/srv:ro']}\n  db: {image: b, volumes: ['data:/var/db:ro']}\nvolumes: {data: }\n";
    let (plan, report) = import(text, &[]);
    let lines = plan.lines().join("\n");
    assert!(lines.contains("keeps      /srv:permanent"), "{lines}");
    assert!(lines.contains("lxc.mount.entry = /volumes/web/docker--srv var/db none bind,ro,create=dir 0 0"), "{lines}");
    assert_eq!(report.count(Level::Differs), 1, "{report:?}");
}

#[test]
fn networks_become_pools_that_do_not_meet_others() {
    let (plan, _) = import(&file("networks: [default, back]", REST), &[]);
    let pools: Vec<_> = plan.pools.iter().map(|pool| (pool.name.as_str(), pool.to_json().compact())).collect();
    let wanted = [
        ("back", r#"{"type":"bridge","bridge":"br-back","subnet":"10.9.0.0/24"}"#),
        ("shop", r#"{"type":"bridge","bridge":"br-shop","subnet":"10.0.4.0/24","nat":true}"#),
    ];
    assert_eq!(pools, wanted.map(|(name, json)| (name, json.to_owned())));
    let network = &plan.containers.first().unwrap().network;
    assert_eq!((network.pool.as_deref(), network.beside.len()), (Some("shop"), 1));
    let (plan, _) = import("name: other\nservices: {web: {image: a}}\n", &[]);
    assert_eq!(plan.pools.first().map(|pool| pool.name.as_str()), Some("other"));
}

#[test]
fn what_is_wrong_with_the_whole_file_is_said() {
    for (text, why) in [
        ("services: {}", "c.yml:1: services: cannot be: the file has no services"),
        ("service: {web: {image: a}}", "c.yml:1: service: cannot be: is no key of Compose"),
        ("services: {web: }", "services.web: cannot be: a service is a map"),
        ("services: {web: {build: .}}", "services.web.build: cannot be: nothing is built"),
        ("services: {web: {restart: no}}", "services.web: cannot be: it has no `image`"),
        ("services: {-web: {image: a}}", "services.-web: cannot be: a container cannot be called so"),
        (
            "services: {a: {image: a, depends_on: [b]}, b: {image: a, depends_on: [c]}, c: {image: a, depends_on: [b]}}",
            "they wait for each other: b → c → b",
        ),
        (
            "services: {web: {image: a, networks: [x]}}\nnetworks: {x: {external: true}}",
            "networks.x: cannot be: device.json has no pool x",
        ),
        (
            "services: {web: {image: a, networks: [x]}}\nnetworks: {x: {driver: macvlan}}",
            "networks.x: cannot be: a pool of macvlan",
        ),
        ("services: {web: {image: '$NOT_SET'}}", "c.yml:1: ${NOT_SET}: not mapped: the variable NOT_SET is not set"),
    ] {
        let (_, report) = import(text, &[]);
        let findings = report.findings().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(findings.contains(why), "{text}\n{findings}");
    }
}

#[test]
fn every_key_that_becomes_something_is_looked_at() {
    let loaded = Loaded {
        tree: yaml::parse("c.yml", b"services: {web: {image: a}}").unwrap(),
        directory: "/nowhere".into(),
        bases: BTreeMap::new(),
        dotenv: BTreeMap::new(),
        unset: Vec::new(),
    };
    let services = loaded.tree.get("services").unwrap();
    let entry = &services.entries()[0];
    let device = Json::object();
    let wishes = Wishes { environment: ENVIRONMENT, profiles: &[], allow: &[], pool: None, device: &device };
    let all = vec![("web", At::new(&entry.value, &entry.place, "services.web"))];
    let (services, _) = map::chosen(all, &wishes, &mut Report::default());
    let mut world = World {
        loaded: &loaded,
        environment: ENVIRONMENT,
        allow: &[],
        pools: Pools::default(),
        shared: BTreeMap::new(),
        report: Report::default(),
    };
    map::container(&services[0], &[], &["web"], &[], &mut world);
    let asked = services[0].asked();
    // That one is gone when files have become one tree.
    let wanted: BTreeSet<String> = SERVICE
        .iter()
        .filter(|key| matches!(key.fate, Fate::Mapped(_)) && key.name != "extends")
        .map(|key| key.name.to_owned())
        .collect();
    assert_eq!(wanted.difference(&asked).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(asked.difference(&wanted).collect::<Vec<_>>(), Vec::<&String>::new());
}
