//! What PID 1 shows, as the JSON that tools know. Members beyond those come last.

use formats::control::{
    ContainerView, DaemonView, DeviceView, DriverView, GroupView, InspectView, InterfaceView, LawView, NetworkView,
    ObjectView, PairingView, PressureView, RecoveryView, StepView, UpdateView, UsageView,
};
use formats::date::date;
use formats::json::{self, Json, Limits, Number};
use formats::metadata::VALUE_MAX;
use formats::pairing::Secret;
use formats::progress::Status;

/// A truth value as tools expect it in some places: a string.
fn spelled(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn optional<T>(value: Option<T>, show: impl FnOnce(T) -> Json) -> Json {
    value.map_or(Json::Null, show)
}

fn number(value: impl Into<u64>) -> Json {
    Json::from(value.into())
}

pub(super) fn device(view: &DeviceView) -> Json {
    let revision = |revision: &Option<_>| optional(revision.as_ref(), |name: &_| shown(name));
    Json::object()
        .with("board", view.board.as_str())
        .with("revision", revision(&view.revision))
        .with("default", revision(&view.default))
        .with("previous", revision(&view.previous))
        .with("factory", revision(&view.factory))
        .with("standing", view.standing.as_str())
        .with("update", optional(view.update.as_ref(), update))
        .with("uptime_ms", view.uptime_ms)
        .with("warnings", Json::Array(view.warnings.iter().map(|text| text.as_str().into()).collect()))
}

fn shown(value: &impl ToString) -> Json {
    value.to_string().into()
}

fn update(view: &UpdateView) -> Json {
    Json::object()
        .with("revision", shown(&view.revision))
        .with("phase", view.phase.as_str())
        .with("state", view.state.as_str())
        .with("reason", optional(view.reason.as_deref(), Json::from))
}

pub(super) fn container(view: &ContainerView) -> Json {
    let mut json = Json::object()
        .with("name", view.name.as_str())
        .with("group", view.group.as_str())
        .with("status", view.status.as_str())
        .with("status_goal", view.status_goal.as_str())
        .with("restart_policy", view.restart_policy.as_str())
        .with("roles", Json::Array(view.roles.iter().map(|role| role.as_str().into()).collect()));
    if let Some(recovery) = &view.recovery {
        json.set("auto_recovery", auto_recovery(recovery));
    }
    // Nobody can stop the others.
    if view.restart_policy == "container" {
        json.set("user_stopped", spelled(view.user_stopped));
    }
    json.with("pid", optional(view.pid, number))
        .with("restarts", number(view.restarts))
        .with("next_retry_ms", optional(view.next_retry_ms, Json::from))
        .with("reason", optional(view.reason.as_deref(), Json::from))
        .with("usage", optional(view.usage.as_ref(), usage))
        .with("network", optional(view.network.as_ref(), network))
}

fn network(view: &NetworkView) -> Json {
    let interface = |one: &InterfaceView| {
        Json::object()
            .with("name", one.name.as_str())
            .with("pool", one.pool.as_str())
            .with("ip", one.ip.as_str())
            .with("mac", one.mac.as_str())
    };
    Json::object()
        .with("interfaces", Json::Array(view.interfaces.iter().map(interface).collect()))
        .with("ports", Json::Array(view.ports.iter().map(|port| port.as_str().into()).collect()))
}

/// One container, as in a list, and what only one tells.
pub(super) fn inspected(view: &InspectView) -> Json {
    let list = |lines: &[String]| Json::Array(lines.iter().map(|line| Json::from(line.as_str())).collect());
    let mut images = Json::object();
    for (name, id) in &view.images {
        images.set(name.as_str(), id.to_string());
    }
    container(&view.container)
        .with("revision", view.revision.to_string())
        .with("running_ms", optional(view.running_ms, Json::from))
        .with("images", images)
        .with("limits", list(&view.limits))
        .with("privileges", list(&view.privileges))
}

/// What is not known on this device is left out.
fn usage(view: &UsageView) -> Json {
    let mut json = Json::object();
    for (name, value) in [
        ("memory", view.memory),
        ("memory_peak", view.memory_peak),
        ("memory_kills", view.memory_kills),
        ("cpu_us", view.cpu_us),
        ("tasks", view.tasks),
        ("io_read", view.read),
        ("io_written", view.written),
    ] {
        if let Some(value) = value {
            json.set(name, value);
        }
    }
    for (name, value) in ["cpu_pressure", "memory_pressure", "io_pressure"].into_iter().zip(view.pressure) {
        if let Some(PressureView { some, full }) = value {
            json.set(name, Json::object().with("some", percent(some)).with("full", percent(full)));
        }
    }
    json
}

/// Hundredths as a number with two places.
fn percent(hundredths: u16) -> Json {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    Number::parse(&text).map_or(Json::Null, Json::Number)
}

fn auto_recovery(view: &RecoveryView) -> Json {
    Json::object()
        .with("policy", view.policy.as_str())
        .with("max_retries", number(view.max_retries))
        .with("current_retries", number(view.current_retries))
        .with("stable_timeout", number(view.stable_timeout))
        .with("is_stable", spelled(view.is_stable))
        .with("backoff_policy", view.backoff_policy.as_str())
}

pub(super) fn group(view: &GroupView) -> Json {
    Json::object()
        .with("name", view.name.as_str())
        .with("status_goal", view.status_goal.as_str())
        .with("restart_policy", view.restart_policy.as_str())
        .with("status", view.status.as_str())
}

pub(super) fn daemon(view: &DaemonView) -> Json {
    // Clients know a helper that is down by this number.
    let pid = number(view.pid.unwrap_or(0));
    Json::object().with("name", view.name.as_str()).with("pid", pid).with("respawn", view.respawn)
}

pub(super) fn driver(view: &DriverView) -> Json {
    Json::object()
        .with("name", view.name.as_str())
        .with("type", view.kind.as_str())
        .with("status", view.status.as_str())
}

pub(super) fn object(view: &ObjectView) -> Json {
    Json::object().with("sha256", shown(&view.id)).with("size", view.size.to_string())
}

pub(super) fn step(view: &StepView) -> Json {
    let mut progress = Json::object();
    if let Some(word) = &view.progress {
        progress.set("status", word.as_str());
        if let Some(status) = Status::parse(word) {
            progress.set("progress", u64::from(status.progress()));
        }
    }
    Json::object()
        .with("name", shown(&view.revision))
        .with("date", view.date.map_or_else(String::new, date))
        .with("commitmsg", view.message.as_str())
        .with("progress", progress)
}

pub(super) fn pairing(view: &PairingView) -> Json {
    Json::object()
        .with("fingerprint", view.fingerprint.as_str())
        .with("name", view.name.as_str())
        .with("date", view.date.map_or_else(String::new, date))
}

pub(super) fn code(code: &Secret, seconds: u16) -> Json {
    Json::object().with("code", code.expose()).with("expires_in", number(seconds))
}

/// A value of metadata: what is a JSON object or array as such, everything else as the text that it is.
pub(super) fn value(text: String) -> Json {
    let limits = Limits { bytes: VALUE_MAX, depth: 8, values: 1024 };
    let parsed = text.starts_with(['{', '[']).then(|| json::parse(text.as_bytes(), limits).ok()).flatten();
    match parsed.map(|value| value.to_json()) {
        Some(json) => json,
        None => text.into(),
    }
}

/// What came of a law.
pub(super) fn law(view: &LawView) -> Json {
    Json::object().with("law", view.law.as_str()).with("fault", optional(view.fault.as_deref(), Json::from))
}

#[cfg(test)]
mod tests {
    use statemachine::ids::RevisionId;

    use super::*;

    fn web() -> ContainerView {
        ContainerView {
            name: "web".into(),
            group: "app".into(),
            status: "STARTED".into(),
            status_goal: "STARTED".into(),
            restart_policy: "container".into(),
            roles: vec!["mgmt".into()],
            recovery: Some(RecoveryView {
                policy: "on-failure".into(),
                max_retries: 5,
                current_retries: 0,
                stable_timeout: 30,
                is_stable: false,
                backoff_policy: "reboot".into(),
            }),
            user_stopped: false,
            pid: Some(77),
            restarts: 0,
            next_retry_ms: None,
            reason: None,
            usage: None,
            network: None,
        }
    }

    #[test]
    fn a_container_has_the_members_that_tools_know_and_then_others() {
        let known = concat!(
            r#"{"name":"web","group":"app","status":"STARTED","status_goal":"STARTED","restart_policy":"container","#,
            r#""roles":["mgmt"],"auto_recovery":{"policy":"on-failure","max_retries":5,"current_retries":0,"#,
            r#""stable_timeout":30,"is_stable":"false","backoff_policy":"reboot"},"user_stopped":"false""#,
        );
        let text = container(&web()).compact();
        assert!(text.starts_with(known), "{text}");
        let others = r#","pid":77,"restarts":0,"next_retry_ms":null,"reason":null,"usage":null,"network":null}"#;
        assert_eq!(&text[known.len()..], others);
    }

    #[test]
    fn a_container_in_a_pool_tells_its_address_and_what_it_publishes() {
        let eth0 = InterfaceView {
            name: "eth0".into(),
            pool: "apps".into(),
            ip: "10.0.3.9".into(),
            mac: "02:00:0a:00:03:09".into(),
        };
        let view = NetworkView { interfaces: vec![eth0], ports: vec!["8080:80".into()] };
        let text = container(&ContainerView { network: Some(view), ..web() }).compact();
        let told = concat!(
            r#","network":{"interfaces":[{"name":"eth0","pool":"apps","ip":"10.0.3.9","mac":"02:00:0a:00:03:09"}],"#,
            r#""ports":["8080:80"]}}"#
        );
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn what_a_container_uses_is_told_as_far_as_it_is_known() {
        let pressure = [Some(PressureView { some: 6525, full: 7 }), None, None];
        let known = UsageView { memory: Some(4096), cpu_us: Some(9), pressure, ..UsageView::default() };
        let text = usage(&known).compact();
        assert_eq!(text, r#"{"memory":4096,"cpu_us":9,"cpu_pressure":{"some":65.25,"full":0.07}}"#);
        assert_eq!(usage(&UsageView::default()).compact(), "{}");
    }

    #[test]
    fn a_container_of_the_system_shows_neither_a_stop_nor_a_recovery_it_cannot_have() {
        let text = container(&ContainerView { restart_policy: "system".into(), recovery: None, ..web() }).compact();
        assert!(!text.contains("user_stopped") && !text.contains("auto_recovery"), "{text}");
    }

    #[test]
    fn a_step_has_a_date_and_its_progress_as_an_object() {
        let view = StepView {
            revision: RevisionId::parse("locals/x").unwrap(),
            message: "m".into(),
            progress: Some("DONE".into()),
            date: Some(951_782_400),
        };
        let text = step(&view).compact();
        assert_eq!(
            text,
            r#"{"name":"locals/x","date":"2000-02-29T00:00:00Z","commitmsg":"m","progress":{"status":"DONE","progress":100}}"#
        );
        let text = step(&StepView { progress: None, date: None, ..view }).compact();
        assert!(text.ends_with(r#""date":"","commitmsg":"m","progress":{}}"#), "{text}");
    }

    #[test]
    fn a_value_of_metadata_is_nested_if_it_is_an_object_or_an_array() {
        for (text, shown) in
            [("{\"a\":[1]}", "{\"a\":[1]}"), ("[]", "[]"), ("7", "\"7\""), ("{half", "\"{half\""), ("true", "\"true\"")]
        {
            assert_eq!(value(text.into()).compact(), shown);
        }
    }

    #[test]
    fn sizes_of_objects_are_text_and_pids_are_numbers() {
        let id = formats::object::ObjectId::of(b"");
        assert!(object(&ObjectView { id, size: 7 }).compact().ends_with(r#","size":"7"}"#));
        let none = DaemonView { name: "front".into(), pid: None, respawn: true };
        assert_eq!(daemon(&none).compact(), r#"{"name":"front","pid":0,"respawn":true}"#);
    }
}
