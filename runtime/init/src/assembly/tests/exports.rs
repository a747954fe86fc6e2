//! Exports: what a stage is told, who imports what, and who waits for whom.

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

/// A container `app` beside one that exports, and the sources of its imports.
fn imports(exports: &str, lines: &str) -> Result<(Vec<Source>, Assembled), String> {
    let web = format!(r#","group":"app","exports":{exports}"#);
    let (app, config) = (r#","group":"app""#, template("app") + lines);
    let state = State::new().container("web", &web, &template("web")).container("app", app, &config);
    let assembly = state.assemble_with(&Settings::default()).map_err(|error| error.to_string())?;
    let app = assembly.get("app").unwrap().clone();
    // What tools tell beforehand.
    let exports = |name: &str| assembly.get(name).map(|one| one.manifest.exports.as_slice());
    assert_eq!(app.uses, lxc::neighbours("app", &lxc::Config::parse(config.as_bytes()).unwrap(), exports));
    let launch = &app.program.as_ref().unwrap().launch;
    let sources = launch.mounts.iter().map(|mount| mount.source.clone());
    let sources: Vec<_> = sources.filter(|source| matches!(source, Source::Import { .. })).collect();
    assert_eq!(launch.showcase.is_some(), !sources.is_empty());
    Ok((sources, app))
}

fn import(options: &str) -> (String, bool, bool) {
    let line = format!("lxc.mount.entry = /exports/web/run/web/sub y none {options} 0 0\n");
    let (mut sources, app) = imports(r#"["/run/web/sub","/run"]"#, &line).unwrap();
    let Some(Source::Import { spot, path, live, .. }) = sources.pop() else { panic!("no import") };
    assert_eq!(path, "");
    (spot, live, app.uses.contains("web"))
}

#[test]
fn an_import_follows_its_exporter_where_its_restrictions_can_be_kept() {
    for options in ["bind,rw,create=dir", "bind,ro", "rbind,rslave", "bind,create=file,optional"] {
        assert_eq!(import(options), ("web/run%2fweb%2fsub".into(), true, false), "{options}");
    }
    for options in ["bind,noexec", "bind,ro,nosuid", "rbind,rprivate"] {
        assert_eq!(import(options), ("web/run%2fweb%2fsub".into(), false, true), "{options}");
    }
}

#[test]
fn a_place_in_what_is_exported_is_looked_up_in_there() {
    let line = "lxc.mount.entry = /exports/web/run/dbus/socket y none bind,create=file 0 0\n";
    let (sources, app) = imports(r#"["/run/dbus","/run"]"#, line).unwrap();
    let (spot, path) = ("web/run%2fdbus".to_owned(), "socket".to_owned());
    assert_eq!(sources, [Source::Import { spot, path, recursive: false, live: false }]);
    assert_eq!((app.member.after, app.uses.contains("web")), (vec!["web".to_owned()], true));
    let optional = line.replace("bind", "bind,optional");
    assert_eq!(imports(r#"["/run/dbus"]"#, &optional).unwrap().1.member.after, [""; 0]);
}

#[test]
fn only_what_another_container_exports_is_imported() {
    for (exports, path) in
        [(r#"["/run"]"#, "/exports/web/runs"), ("[]", "/exports/web"), (r#"["/run"]"#, "/exports/x/run")]
    {
        let line = format!("lxc.mount.entry = {path} y none bind 0 0\n");
        let error = imports(exports, &line).unwrap_err();
        assert!(
            error.contains("app/lxc.container.conf: line 10: lxc.mount.entry: ") && error.contains(path),
            "{error}"
        );
    }
    let own = refused(r#","exports":["/run"]"#, "lxc.mount.entry = /exports/web/run y none bind 0 0\n");
    assert!(own.contains("no other container exports it"), "{own}");
}
