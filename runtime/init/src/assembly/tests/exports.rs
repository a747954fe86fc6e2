//! Exports: what a stage is told, and who waits for whom.

use super::*;

#[test]
fn a_container_tells_its_stage_what_it_exports() {
    let launch = program(r#","exports":["/run/a/","srv","/srv"]"#, "").unwrap().launch;
    let paths: Vec<_> = launch.exports.iter().map(|one| (one.path.as_str(), one.spot.as_str())).collect();
    assert_eq!(paths, [("run/a", "web/run%2fa"), ("srv", "web/srv")]);
    let long = format!(r#","exports":["/{}"]"#, "a".repeat(253));
    assert!(refused(&long, "").contains("spot: empty, too long"));
}

#[test]
fn containers_that_would_wait_for_ever_are_refused_with_the_way_they_wait() {
    let imports = |name: &str, from: &str, more: &str| {
        template(name) + &format!("lxc.mount.entry = /exports/{from}/srv in none bind,create=dir{more} 0 0\n")
    };
    let members = r#","group":"app","exports":["/srv"]"#;
    let state = |more: &str| {
        State::new()
            .container("a", members, &imports("a", "b", ""))
            .container("b", members, &imports("b", "c", ""))
            .container("c", members, &imports("c", "b", more))
    };
    let error = state("").assemble_with(&Settings::default()).unwrap_err().to_string();
    assert!(error.contains("b/run.json: waits for itself: b → c → b"), "{error}");
    assert_eq!(state(",optional").assemble().get("b").unwrap().member.after, ["c"]);
    let later = State::new().container("a", r#","group":"platform""#, &imports("a", "b", "")).container(
        "b",
        r#","group":"app","exports":["/srv"]"#,
        &template("b"),
    );
    let error = later.assemble_with(&Settings::default()).unwrap_err().to_string();
    assert!(error.contains("a/run.json: needs b, which starts later, in group app"), "{error}");
}
