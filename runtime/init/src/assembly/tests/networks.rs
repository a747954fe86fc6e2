//! Containers in pools: what they get, and what is refused before anything is touched.

use formats::leases::Leases;

use super::*;

const POOLS: &str = r#"{"groups":[{"name":"app"}],"network":{"pools":{
    "apps":{"type":"bridge","bridge":"br0","subnet":"10.0.3.0/24","nat":true},
    "tiny":{"type":"bridge","bridge":"br1","subnet":"10.0.4.0/30"},
    "lan":{"type":"macvlan","parent":"eth0","subnet":"192.168.1.0/24","gateway":"192.168.1.1"}}}}"#;

/// A state with a container of the template for each (name, further members).
fn state(containers: &[(&str, &str)]) -> State {
    let begin = State::new().with("device.json", POOLS);
    containers.iter().fold(begin, |state, (name, members)| state.container(name, members, &template(name)))
}

fn refused(containers: &[(&str, &str)]) -> String {
    state(containers).assemble_with(&Settings::default()).unwrap_err().to_string()
}

fn addresses(assembly: &Assembly, name: &str) -> Vec<String> {
    let network = assembly.get(name).unwrap().network.as_ref().unwrap();
    network.interfaces.iter().map(|one| format!("{} {} {}", one.name, one.pool.name, one.address)).collect()
}

#[test]
fn a_container_in_a_pool_has_a_network_of_its_own_and_the_others_do_not() {
    let pool = r#","network":{"pool":"apps","hostname":"shop"}"#;
    let assembly = state(&[("db", r#","network":{"pool":"apps"}"#), ("web", pool), ("ui", "")]).assemble();
    assert_eq!(addresses(&assembly, "db"), ["eth0 apps 10.0.3.2"]);
    assert_eq!(addresses(&assembly, "web"), ["eth0 apps 10.0.3.3"]);
    assert_eq!(assembly.get("web").unwrap().network.as_ref().unwrap().interfaces[0].mac, [2, 0, 10, 0, 3, 3]);
    let launch = |name: &str| assembly.get(name).unwrap().program.as_ref().unwrap().launch.clone();
    assert!(launch("web").namespaces.net, "although the template keeps `net`");
    assert_eq!(launch("web").hostname.as_deref(), Some("shop"));
    assert!(!launch("ui").namespaces.net && assembly.get("ui").unwrap().network.is_none());
    let hosts = assembly.hosts();
    assert_eq!(hosts.keys().collect::<Vec<_>>(), ["db", "web"]);
    assert!(hosts["db"].ends_with("10.0.3.2 db\n10.0.3.3 web shop\n"), "{}", hosts["db"]);
}

#[test]
fn only_who_shares_a_pool_is_known_by_name() {
    let both = r#","network":{"interfaces":[{"pool":"apps"},{"pool":"lan","ip":"192.168.1.40"}]}"#;
    let assembly = state(&[
        ("a", both),
        ("b", r#","network":{"pool":"apps"}"#),
        ("c", r#","network":{"pool":"lan"}"#),
        ("d", r#","network":{"pool":"tiny"}"#),
    ])
    .assemble();
    assert_eq!(addresses(&assembly, "a"), ["eth0 apps 10.0.3.2", "eth1 lan 192.168.1.40"]);
    let hosts = assembly.hosts();
    let knows = |name: &str| ["a", "b", "c", "d"].map(|other| hosts[name].contains(&format!(" {other}\n")));
    assert_eq!(knows("a"), [true, true, true, false]);
    assert_eq!(knows("b"), [true, true, false, false]);
    assert_eq!(knows("c"), [true, false, true, false]);
    assert!(!hosts["b"].contains("192.168.1.40"), "an address that it does not reach");
    assert_eq!(knows("d"), [false, false, false, true]);
}

#[test]
fn what_two_containers_claim_is_refused_and_both_are_named() {
    let pool = |more: &str| format!(r#","network":{{"pool":"apps"{more}}}"#);
    let (nine, mac) = (pool(r#","ip":"10.0.3.9""#), pool(r#","mac":"02:00:00:00:00:01""#));
    let error = refused(&[("a", &nine), ("b", &nine)]);
    assert_eq!(error, "b/run.json: network.ip: pool apps: 10.0.3.9 is also that of a; give one of them another");
    let error = refused(&[("a", &mac), ("b", &mac)]);
    assert!(error.starts_with("b/run.json: network.mac: a has this Ethernet address"), "{error}");
    let (all, one) = (pool("") + r#","ports":["80:80"]"#, pool("") + r#","ports":["127.0.0.1:80:8080"]"#);
    let error = refused(&[("a", &all), ("b", &one)]);
    assert!(error.starts_with("b/run.json: ports: 127.0.0.1:80:8080: a publishes 80:80;"), "{error}");
    let udp = pool("") + r#","ports":["80:80/udp"]"#;
    assert!(state(&[("a", &all), ("b", &udp)]).assemble_with(&Settings::default()).is_ok());
}

#[test]
fn what_a_pool_cannot_give_is_refused_with_the_pool() {
    let tiny = r#","network":{"pool":"tiny"}"#;
    let error = refused(&[("a", tiny), ("b", tiny)]);
    assert!(error.starts_with("b/run.json: network.pool: pool tiny: every address is another"), "{error}");
    for (ip, why) in [("10.0.5.9", "no address of a host"), ("10.0.3.1", "gateway"), ("10.0.3.255", "no address")] {
        let error = refused(&[("a", &format!(r#","network":{{"pool":"apps","ip":"{ip}"}}"#))]);
        assert!(error.starts_with("a/run.json: network.ip: pool apps: ") && error.contains(why), "{error}");
    }
    let error = refused(&[("a", r#","network":{"pool":"none"}"#)]);
    assert_eq!(error, "a/run.json: network.pool: this revision has no pool \"none\"");
}

#[test]
fn who_is_in_a_pool_with_ipv6_has_an_address_of_it_and_a_name_for_that() {
    let pools = POOLS.replace("\"nat\":true", "\"nat\":true,\"subnet6\":\"fd00:3::/64\"");
    let pool = r#","network":{"pool":"apps"}"#;
    let both = r#","network":{"interfaces":[{"pool":"lan"},{"pool":"apps"}]},"ports":["80:80"]"#;
    let state = State::new().with("device.json", &pools);
    let state = state.container("db", pool, &template("db")).container("web", both, &template("web"));
    let assembly = state.assemble();
    let text = &assembly.hosts()["db"];
    let lines = "10.0.3.2 db\nfd00:3::a00:302 db\n10.0.3.3 web\nfd00:3::a00:303 web\n";
    assert!(text.ends_with(lines), "{text}");
    let web = assembly.get("web").unwrap().network.as_ref().unwrap();
    assert_eq!(web.published6(), Some("fd00:3::a00:303".parse().unwrap()));
    assert_eq!(web.interfaces.iter().map(Interface::address6).collect::<Vec<_>>(), [None, web.published6()]);
}

#[test]
fn ports_need_a_bridge_that_they_are_published_from() {
    for members in [r#","ports":["80:80"]"#, r#","network":{"pool":"lan"},"ports":["80:80"]"#] {
        assert!(
            refused(&[("a", members)]).starts_with("a/run.json: ports: there is no pool with a bridge"),
            "{members}"
        );
    }
    let both = r#","network":{"interfaces":[{"pool":"lan"},{"pool":"apps"}]},"ports":["80:80"]"#;
    let published = state(&[("a", both)]).assemble().get("a").unwrap().network.as_ref().unwrap().published();
    assert_eq!(published, Some([10, 0, 3, 2].into()));
}

#[test]
fn a_pool_and_lines_about_a_network_exclude_each_other() {
    let lines = template("web") + "lxc.net.0.type = none\n";
    let state = State::new().with("device.json", POOLS).container("web", r#","network":{"pool":"apps"}"#, &lines);
    let error = state.assemble_with(&Settings::default()).unwrap_err().to_string();
    assert!(error.contains("lxc.net and a pool in run.json exclude each other"), "{error}");
}

#[test]
fn an_unchanged_container_keeps_its_address_and_is_not_touched() {
    let pool = r#","network":{"pool":"apps"}"#;
    let first = state(&[("m", pool), ("z", pool)]).assemble();
    let settings = Settings { leases: first.leases.clone(), ..Settings::default() };
    let next = state(&[("a", pool), ("m", pool), ("z", pool)]).assemble_with(&settings).unwrap();
    assert_eq!(addresses(&next, "a"), ["eth0 apps 10.0.3.4"]);
    assert_eq!((next.get("m"), next.get("z")), (first.get("m"), first.get("z")));
    assert_eq!(Leases::parse(next.leases.to_text().as_bytes()), Ok(next.leases.clone()));
}

#[test]
fn one_that_has_to_make_room_is_started_anew() {
    let pool = r#","group":"app","network":{"pool":"apps"}"#;
    let old = state(&[("m", pool)]).assemble();
    let settings = Settings { leases: old.leases.clone(), ..Settings::default() };
    let fixed = r#","group":"app","network":{"pool":"apps","ip":"10.0.3.2"}"#;
    let new = state(&[("m", pool), ("x", fixed)]).assemble_with(&settings).unwrap();
    assert_eq!(
        (addresses(&new, "m"), addresses(&new, "x")),
        (vec!["eth0 apps 10.0.3.3".into()], vec!["eth0 apps 10.0.3.2".into()])
    );
    let rows = (old.rows(), new.rows());
    let Decision::InPlace(change) = decide(&rows.0, &rows.1) else { panic!("by reboot") };
    let switch = switch(change, &old, &new);
    assert_eq!(switch.stop, ["m"]);
    assert_eq!(switch.start.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["m", "x"]);
}
