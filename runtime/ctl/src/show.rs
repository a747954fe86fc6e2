//! Answers of the device as tables. Members that are missing are empty cells: an older or newer runtime may say less.

use formats::json::{self, Limits, Object, Value};

use crate::failure::Failure;
use crate::table::table;

/// Lists have one entry for each object of a pool.
pub(crate) const LIMITS: Limits = Limits { bytes: crate::client::TEXT_MAX as usize, depth: 8, values: 1_000_000 };

pub(crate) type Rows = Vec<Vec<String>>;

pub(crate) fn rows(text: &str, row: impl Fn(&Object<'_>) -> Vec<String>) -> Result<Rows, Box<Failure>> {
    let value = json::parse(text.as_bytes(), LIMITS).map_err(|_| Failure::answer("something that is not JSON"))?;
    let entries = value.as_array().ok_or(Failure::answer("something that is not a list"))?;
    Ok(entries.iter().filter_map(Value::as_object).map(row).collect())
}

/// A member as a cell: the characters of a string, or the JSON.
pub(crate) fn cell(object: &Object<'_>, member: &str) -> String {
    match object.get(member) {
        None => String::new(),
        Some(value) if value.raw() == "null" => String::new(),
        Some(value) => value.as_str().map_or_else(|| value.raw().into(), Into::into),
    }
}

pub(crate) fn number(object: &Object<'_>, member: &str) -> Option<u64> {
    object.get(member).and_then(Value::as_u64)
}

fn container(view: &Object<'_>) -> Vec<String> {
    let recovery = view.get("auto_recovery").and_then(Value::as_object);
    let left = recovery.map_or_else(String::new, |recovery| match number(recovery, "max_retries") {
        Some(0) => "any".into(),
        Some(most) => most.saturating_sub(number(recovery, "current_retries").unwrap_or(0)).to_string(),
        None => String::new(),
    });
    let retry = number(view, "next_retry_ms").map_or_else(String::new, |ms| format!("{}s", ms.div_ceil(1000)));
    let mut status = cell(view, "status");
    if cell(view, "user_stopped") == "true" {
        status += " (by hand)";
    }
    vec![
        cell(view, "name"),
        cell(view, "group"),
        status,
        cell(view, "status_goal"),
        cell(view, "restarts"),
        left,
        retry,
        cell(view, "reason"),
    ]
}

pub(crate) fn containers(text: &str) -> Result<String, Box<Failure>> {
    let heads = ["NAME", "GROUP", "STATUS", "GOAL", "RESTARTS", "RETRIES LEFT", "NEXT RETRY", "REASON"];
    Ok(table(&heads, &rows(text, container)?))
}

pub(crate) fn groups(text: &str) -> Result<String, Box<Failure>> {
    let row =
        |view: &Object<'_>| ["name", "status", "status_goal", "restart_policy"].map(|name| cell(view, name)).into();
    Ok(table(&["NAME", "STATUS", "GOAL", "RESTART POLICY"], &rows(text, row)?))
}

pub(crate) fn drivers(text: &str) -> Result<String, Box<Failure>> {
    let row = |view: &Object<'_>| ["name", "type", "status"].map(|name| cell(view, name)).into();
    // A container that declares none is told so by an object.
    let rows = if text.trim() == "{}" { Rows::new() } else { rows(text, row)? };
    Ok(table(&["NAME", "TYPE", "STATUS"], &rows))
}

/// Containers, then helpers.
pub(crate) fn processes(containers: &str, daemons: &str) -> Result<String, Box<Failure>> {
    let container = |view: &Object<'_>| {
        vec!["container".into(), cell(view, "name"), cell(view, "pid"), cell(view, "status"), String::new()]
    };
    let daemon = |view: &Object<'_>| {
        let pid = number(view, "pid").filter(|pid| *pid > 0);
        let status = if pid.is_some() { "STARTED" } else { "STOPPED" };
        let pid = pid.map_or_else(String::new, |pid| pid.to_string());
        vec!["helper".into(), cell(view, "name"), pid, status.into(), cell(view, "respawn")]
    };
    let mut all = rows(containers, container)?;
    all.extend(rows(daemons, daemon)?);
    Ok(table(&["KIND", "NAME", "PID", "STATUS", "RESPAWN"], &all))
}

pub(crate) fn objects(text: &str) -> Result<String, Box<Failure>> {
    let row = |view: &Object<'_>| vec![cell(view, "sha256"), cell(view, "size")];
    Ok(table(&["SHA256", "BYTES"], &rows(text, row)?))
}

pub(crate) fn steps(text: &str) -> Result<String, Box<Failure>> {
    let row = |view: &Object<'_>| {
        let progress = view.get("progress").and_then(Value::as_object);
        let status = progress.map_or_else(String::new, |progress| cell(progress, "status"));
        vec![cell(view, "name"), status, cell(view, "date"), cell(view, "commitmsg")]
    };
    Ok(table(&["NAME", "STATUS", "DATE", "MESSAGE"], &rows(text, row)?))
}

/// One container, a line for each thing worth knowing.
pub(crate) fn inspected(text: &str) -> Result<String, Box<Failure>> {
    let value = json::parse(text.as_bytes(), LIMITS).map_err(|_| Failure::answer("something that is not JSON"))?;
    let view = value.as_object().ok_or(Failure::answer("something that is not an object"))?;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let mut add = |name, text: String| {
        if !text.is_empty() {
            lines.push((name, text));
        }
    };
    add("container", format!("{} of {}", cell(view, "name"), cell(view, "revision")));
    let by_hand = if cell(view, "user_stopped") == "true" { ", stopped by hand" } else { "" };
    add("status", format!("{}, wanted {}{by_hand}", cell(view, "status"), cell(view, "status_goal")));
    if let (Some(pid), Some(ms)) = (number(view, "pid"), number(view, "running_ms")) {
        add("runs", format!("as {pid}, for {}s, started again {} times", ms / 1000, cell(view, "restarts")));
    }
    add("because", cell(view, "reason"));
    let roles: Vec<&str> =
        view.get("roles").and_then(Value::as_array).unwrap_or_default().iter().filter_map(Value::as_str).collect();
    add("roles", roles.join(" "));
    if let Some(images) = view.get("images").and_then(Value::as_object) {
        for (at, member) in images.iter().enumerate() {
            let id = member.value.as_str().unwrap_or_default();
            add(if at == 0 { "files" } else { "" }, format!("{id} {}", member.key));
        }
    }
    if let Some(network) = view.get("network").and_then(Value::as_object) {
        let list = |name| network.get(name).and_then(Value::as_array).unwrap_or_default();
        for (at, one) in list("interfaces").iter().filter_map(Value::as_object).enumerate() {
            let text =
                format!("{} in {}, {} ({})", cell(one, "ip"), cell(one, "pool"), cell(one, "name"), cell(one, "mac"));
            add(if at == 0 { "network" } else { "" }, text);
        }
        add("publishes", list("ports").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    }
    if let Some(usage) = view.get("usage").and_then(Value::as_object) {
        let used = [("memory", "bytes of memory"), ("tasks", "processes"), ("cpu_us", "µs of processor time")];
        let used = used.iter().filter_map(|(member, what)| Some(format!("{} {what}", number(usage, member)?)));
        add("uses", used.collect::<Vec<_>>().join(", "));
    }
    for (member, title) in [("limits", "limits"), ("privileges", "privileges")] {
        let list = view.get(member).and_then(Value::as_array).unwrap_or_default();
        for (at, line) in list.iter().enumerate() {
            add(if at == 0 { title } else { "" }, line.as_str().unwrap_or_default().into());
        }
    }
    Ok(lines.iter().map(|(name, text)| format!("{name:<11} {}\n", crate::failure::plain(text))).collect())
}

/// The device, a line for each thing worth knowing.
pub(crate) fn device(text: &str) -> Result<String, Box<Failure>> {
    let value = json::parse(text.as_bytes(), LIMITS).map_err(|_| Failure::answer("something that is not JSON"))?;
    let view = value.as_object().ok_or(Failure::answer("something that is not an object"))?;
    let mut lines: Vec<(String, String)> = Vec::new();
    let revision = cell(view, "revision");
    lines.push(("board".into(), cell(view, "board")));
    lines.push(("revision".into(), if revision.is_empty() { "none; this is recovery".into() } else { revision }));
    lines.push(("default".into(), format!("{} {}", cell(view, "default"), cell(view, "standing"))));
    lines.push(("previous".into(), cell(view, "previous")));
    lines.push(("factory".into(), cell(view, "factory")));
    if let Some(update) = view.get("update").and_then(Value::as_object) {
        let mut words = vec![cell(update, "revision"), cell(update, "phase")];
        let (state, reason) = (cell(update, "state"), cell(update, "reason"));
        if !state.is_empty() {
            words.push(format!("({state})"));
        }
        let mut reasons = reason.lines();
        words.extend(reasons.next().map(|reason| format!("because {reason}")));
        lines.push(("update".into(), words.join(" ")));
        // The verdict, then a line for each container that did not stand.
        lines.extend(reasons.map(|reason| (String::new(), reason.to_owned())));
    }
    lines.push(("up".into(), number(view, "uptime_ms").map_or_else(String::new, |ms| format!("{}s", ms / 1000))));
    for warning in view.get("warnings").and_then(Value::as_array).unwrap_or_default() {
        lines.push(("warning".into(), warning.as_str().unwrap_or_default().into()));
    }
    let told = lines.into_iter().filter(|(_, value)| !value.trim().is_empty());
    Ok(told.map(|(name, value)| format!("{name:<9} {}\n", crate::failure::plain(value.trim()))).collect())
}

pub(crate) fn pairings(text: &str) -> Result<String, Box<Failure>> {
    let row = |view: &Object<'_>| ["name", "date", "fingerprint"].map(|name| cell(view, name)).into();
    Ok(table(&["NAME", "DATE", "FINGERPRINT"], &rows(text, row)?))
}

/// Keys and values: texts as they are, all else as JSON.
pub(crate) fn metadata(text: &str) -> Result<String, Box<Failure>> {
    let value = json::parse(text.as_bytes(), LIMITS).map_err(|_| Failure::answer("something that is not JSON"))?;
    let object = value.as_object().ok_or(Failure::answer("something that is not an object"))?;
    let row = |key: &str| vec![key.to_owned(), cell(object, key)];
    Ok(table(&["KEY", "VALUE"], &object.iter().map(|member| row(&member.key)).collect::<Vec<_>>()))
}

/// A code, and for what it is good.
pub(crate) fn code(text: &str) -> Result<String, Box<Failure>> {
    let value = json::parse(text.as_bytes(), LIMITS).map_err(|_| Failure::answer("something that is not JSON"))?;
    let answer = value.as_object().ok_or(Failure::answer("something that is not an object"))?;
    let code = crate::failure::plain(&cell(answer, "code"));
    let minutes = number(answer, "expires_in").map(|seconds| seconds / 60).filter(|_| !code.is_empty());
    let minutes = minutes.ok_or(Failure::answer("no code"))?;
    Ok(format!("{code}\nvalid for {minutes} minutes and one `pvr login ADDRESS`\n"))
}

/// How many bytes were set free.
pub(crate) fn reclaimed(text: &str) -> Result<String, Box<Failure>> {
    let value = json::parse(text.as_bytes(), LIMITS).map_err(|_| Failure::answer("something that is not JSON"))?;
    let bytes = value.as_object().and_then(|answer| number(answer, "reclaimed"));
    Ok(format!("{} bytes set free\n", bytes.ok_or(Failure::answer("no number of bytes"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINERS: &str = concat!(
        r#"[{"name":"web","group":"app","status":"STARTED","status_goal":"READY","restart_policy":"container","#,
        r#""auto_recovery":{"policy":"always","max_retries":5,"current_retries":2},"user_stopped":"false","#,
        r#""pid":77,"restarts":3,"next_retry_ms":1500,"reason":"exited with 1"},"#,
        r#"{"name":"db","status":"STOPPED","user_stopped":"true"}]"#,
    );

    #[test]
    fn a_container_tells_what_is_left_for_it() {
        let text = containers(CONTAINERS).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["web", "app", "STARTED", "READY", "3", "3", "2s", "exited", "with", "1"]
        );
        assert!(lines[2].contains("STOPPED (by hand)"), "{text}");
        assert!(containers("{}").is_err() && containers("no").is_err());
    }

    #[test]
    fn helpers_stand_behind_containers_and_are_called_so() {
        let text = processes(CONTAINERS, r#"[{"name":"front","pid":9,"respawn":true},{"name":"x","pid":0}]"#).unwrap();
        let first: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(first, ["KIND", "container", "container", "helper", "helper"]);
        assert!(text.contains("front  9    STARTED"), "{text}");
    }

    #[test]
    fn metadata_is_a_table_of_texts_and_of_json() {
        let text = metadata(r#"{"country":"DE","storage":{"free":7},"two":"a\nb"}"#).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[..3], [vec!["KEY", "VALUE"], vec!["country", "DE"], vec!["storage", "{\"free\":7}"]]);
        assert_eq!(lines.len(), 4, "{text}");
        assert!(metadata("[]").is_err());
    }

    #[test]
    fn a_device_tells_what_it_knows_and_leaves_out_what_it_does_not() {
        let text = device(concat!(
            r#"{"board":"host","revision":null,"default":"7","previous":null,"standing":"DONE","uptime_ms":61000,"#,
            r#""update":{"revision":"8","phase":"rolled-back","state":"Idle","reason":"crashed: it did not recover\nweb: FAILED"},"warnings":["w\u001b"]}"#
        ))
        .unwrap();
        assert_eq!(
            text,
            concat!(
                "board     host\nrevision  none; this is recovery\ndefault   7 DONE\n",
                "update    8 rolled-back (Idle) because crashed: it did not recover\n          web: FAILED\nup        61s\nwarning   w?\n"
            )
        );
    }

    #[test]
    fn one_container_is_a_page_and_none_of_its_words_an_order() {
        let text = inspected(concat!(
            r#"{"name":"web","status":"STARTED","status_goal":"STARTED","roles":["mgmt"],"pid":7,"restarts":2,"reason":null,"#,
            r#""network":{"interfaces":[{"name":"eth0","pool":"apps","ip":"10.0.3.9","mac":"02:00:0a:00:03:09"}],"ports":["80:80","53:53/udp"]},"#,
            r#""usage":{"memory":4096,"tasks":3},"revision":"locals/x","running_ms":61000,"images":{"root.squashfs":"ab"},"#,
            r#""limits":["lxc.cgroup2.pids.max = 9"],"privileges":["user 0, group 0","sees /x\u001b of the device"]}"#
        ));
        assert_eq!(
            text.unwrap(),
            concat!(
                "container   web of locals/x\nstatus      STARTED, wanted STARTED\n",
                "runs        as 7, for 61s, started again 2 times\nroles       mgmt\nfiles       ab root.squashfs\n",
                "network     10.0.3.9 in apps, eth0 (02:00:0a:00:03:09)\npublishes   80:80 53:53/udp\n",
                "uses        4096 bytes of memory, 3 processes\nlimits      lxc.cgroup2.pids.max = 9\n",
                "privileges  user 0, group 0\n            sees /x? of the device\n"
            )
        );
        assert!(inspected("[]").is_err());
    }
}
