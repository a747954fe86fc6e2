//! Services that others require, and conditions: who waits for whom, and what is refused.

use super::*;

const SERVICES: &str = r#"[{"name":"api","type":"rest","socket":"/run/db/api.sock"}]"#;

/// `app` requires `api` of `db`, with what it mounts of it.
fn requiring(target: &str, entry: &str) -> State {
    let requires = format!(r#","group":"app","services":{{"required":[{{"name":"api","target":"{target}"}}]}}"#);
    State::new()
        .container("app", &requires, &(template("app") + entry))
        .container("db", r#","group":"app","exports":["/run/db"]"#, &template("db"))
        .with("db/services.json", SERVICES)
}

fn refused_by(state: &State) -> String {
    state.assemble_with(&Settings::default()).unwrap_err().to_string()
}

#[test]
fn a_container_waits_for_the_one_whose_service_it_requires_and_has_mounted() {
    for (target, entry) in [
        ("/run/db/api.sock", "lxc.mount.entry = /exports/db/run/db run/db none bind,create=dir,optional 0 0\n"),
        ("srv/x/api.sock", "lxc.mount.entry = /exports/db/run/db/ /srv/x none bind,create=dir,optional 0 0\n"),
        ("/run/api", "lxc.mount.entry = /exports/db/run/db/api.sock run/api none bind,create=file,optional 0 0\n"),
    ] {
        let assembly = requiring(target, entry).assemble();
        assert_eq!(assembly.get("app").unwrap().member.after, ["db"], "{entry}");
        assert!(assembly.get("db").unwrap().member.after.is_empty());
    }
}

#[test]
fn a_required_service_that_nobody_offers_or_that_is_nowhere_in_the_container_is_refused() {
    let entry = "lxc.mount.entry = /exports/db/run/db run/db none bind,create=dir 0 0\n";
    for (state, why) in [
        (requiring("/run/api.sock", entry), "services.required: nothing puts api at /run/api.sock: "),
        (requiring("/run/db/api.sock", ""), "add the directory of /run/db/api.sock to `exports` of db, and mount it"),
        (
            requiring("/run/db/api.sock", entry).with("db/services.json", "[]"),
            "services.required: no other container offers api",
        ),
        (
            requiring("/run/db/api.sock", entry).with("db/services.json", "[]").with("app/services.json", SERVICES),
            "no other container offers api",
        ),
        (requiring("/run/db/api.sock", entry).with("db/services.json", "{}"), "db/services.json: services: is missing"),
    ] {
        let error = refused_by(&state);
        assert!(error.contains(why), "{error}");
    }
    let nothing = State::new().with("db/services.json", "{}").container("db", "", &template("db"));
    assert!(nothing.assemble().warnings.iter().all(|warning| !warning.contains("services")), "nobody asks");
}

#[test]
fn an_optional_service_makes_nobody_wait_and_is_told_where_it_is_offered_for_nothing() {
    let optional = |entry: &str, offers: &str| {
        let asks = r#","group":"app","services":{"optional":[{"name":"api","target":"/run/db/api.sock"}]}"#;
        let assembly = State::new()
            .container("app", asks, &(template("app") + entry))
            .container("db", r#","group":"app","exports":["/run/db"]"#, &template("db"))
            .with("db/services.json", offers)
            .assemble();
        assert!(assembly.get("app").unwrap().member.after.is_empty());
        assembly.warnings.iter().any(|warning| warning.contains("app/run.json: services.optional: api: has no effect"))
    };
    let entry = "lxc.mount.entry = /exports/db/run/db run/db none bind,create=dir,optional 0 0\n";
    assert!(!optional(entry, SERVICES) && !optional("", "[]") && optional("", SERVICES));
}

#[test]
fn a_condition_is_the_name_of_a_container_that_comes_first() {
    let state = |a: &str, b: &str, c: &str| {
        [("a", a), ("b", b), ("c", c)].into_iter().fold(State::new(), |state, (name, conditions)| {
            let members = format!(r#","group":"app","conditions":[{conditions}]"#);
            state.container(name, &members, &template(name))
        })
    };
    let assembly = state(r#""b","c""#, r#""c""#, "").assemble();
    let after = |name: &str| assembly.get(name).unwrap().member.after.clone();
    assert_eq!((after("a"), after("b"), after("c")), (vec!["b".into(), "c".into()], vec!["c".into()], vec![]));
    for (state, why) in [
        (state(r#""b""#, r#""c""#, r#""a""#), "a/run.json: waits for itself: a → b → c → a"),
        (state(r#""a""#, "", ""), "a/run.json: waits for itself: a → a"),
        (state(r#""d""#, "", ""), "a/run.json: conditions: this revision has no container \"d\""),
    ] {
        let error = refused_by(&state);
        assert!(error.contains(why), "{error}");
    }
    // A circle of needs of every kind.
    let entry = "lxc.mount.entry = /exports/db/run/db run/db none bind,create=dir,optional 0 0\n";
    let mixed = requiring("/run/db/api.sock", entry).container(
        "db",
        r#","group":"app","exports":["/run/db"],"conditions":["app"]"#,
        &template("db"),
    );
    assert!(refused_by(&mixed).contains("waits for itself: app → db → app"));
}
