//! The small bodies of `pv-ctrl`: an action, a signal, a command. Read whole, strictly, into a [`Call`].

use formats::control::{Action, Call, TEXT_MAX};
use formats::json::{self, Limits, Object, Value};
use statemachine::ids::RevisionId;

/// The most bytes of a command.
pub(crate) const COMMAND_MAX: usize = 4096;
/// The most bytes of an action or a signal.
pub(crate) const ACTION_MAX: usize = 1024;

/// What is done with a container or a helper: `{"action":"start"|"stop"|"restart"}`.
///
/// # Errors
/// What is wrong, for the client.
pub fn action(bytes: &[u8]) -> Result<Action, String> {
    with_object(bytes, |body| {
        let word = text(body, "action")?;
        Action::parse(word).ok_or_else(|| format!("unknown action {word:?}; there are start, stop and restart"))
    })
}

/// What a container says about itself: `{"type":"ready","payload":""}`.
///
/// # Errors
/// What is wrong, for the client.
pub fn signal(bytes: &[u8]) -> Result<Call, String> {
    with_object(bytes, |body| {
        let kind = text(body, "type")?;
        if kind.len() > TEXT_MAX {
            return Err(format!("the type of a signal has at most {TEXT_MAX} bytes"));
        }
        Ok(Call::Signal { kind: kind.into() })
    })
}

/// A command: `{"op":"LOCAL_RUN","payload":"locals/x"}`. The operation is compared whole.
///
/// # Errors
/// What is wrong, for the client.
pub fn command(bytes: &[u8]) -> Result<Call, String> {
    with_object(bytes, |body| {
        let op = text(body, "op")?;
        if let Some(payload) = body.get("payload")
            && payload.as_str().is_none()
        {
            return Err("the payload must be a string".into());
        }
        Ok(match op {
            // A trial commits by itself when its goals are met; there is no commit that could be forced.
            "LOCAL_RUN" | "LOCAL_RUN_COMMIT" => {
                let revision = RevisionId::parse(text(body, "payload")?).map_err(|error| error.to_string())?;
                Call::Run { revision, retry: flag(body, "retry")? }
            }
            "REBOOT_DEVICE" => Call::Reboot,
            "POWEROFF_DEVICE" => Call::PowerOff,
            "RUN_GC" => Call::Collect,
            "ROLLBACK" => Call::Rollback,
            other => return Err(format!("unknown command {other:?}")),
        })
    })
}

fn with_object<T>(bytes: &[u8], read: impl FnOnce(&Object<'_>) -> Result<T, String>) -> Result<T, String> {
    let value = json::parse(bytes, Limits { bytes: COMMAND_MAX, depth: 4, values: 64 })
        .map_err(|error| format!("the body is not JSON: {error}"))?;
    read(value.as_object().ok_or("the body must be an object")?)
}

fn text<'b>(body: &'b Object<'_>, member: &str) -> Result<&'b str, String> {
    body.get(member).and_then(Value::as_str).ok_or_else(|| format!("the member {member:?} must be a string"))
}

fn flag(body: &Object<'_>, member: &str) -> Result<bool, String> {
    match body.get(member) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| format!("the member {member:?} must be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_whole_and_never_by_its_beginning() {
        let run = |retry| Ok(Call::Run { revision: RevisionId::parse("locals/x").unwrap(), retry });
        assert_eq!(command(br#"{"op":"LOCAL_RUN","payload":"locals/x"}"#), run(false));
        assert_eq!(command(br#"{"op":"LOCAL_RUN_COMMIT","payload":"locals/x"}"#), run(false));
        assert_eq!(command(br#"{"op":"LOCAL_RUN","payload":"locals/x","retry":true}"#), run(true));
        assert_eq!(command(br#"{"op":"REBOOT_DEVICE","payload":"why"}"#), Ok(Call::Reboot));
        assert_eq!(command(br#"{"op":"POWEROFF_DEVICE","payload":""}"#), Ok(Call::PowerOff));
        assert_eq!(command(br#"{"op":"RUN_GC","payload":""}"#), Ok(Call::Collect));
        assert_eq!(command(br#"{"op":"ROLLBACK"}"#), Ok(Call::Rollback));
        for bad in [
            &br#"{"op":"L","payload":"locals/x"}"#[..],
            br#"{"op":"LOCAL_RUN"}"#,
            br#"{"op":"LOCAL_RUN","payload":"../x"}"#,
            br#"{"op":"LOCAL_RUN","payload":"locals/x","retry":"yes"}"#,
            br#"{"op":"LOCAL_RUN","op":"ROLLBACK","payload":"locals/x"}"#,
            br#"{"op":"REBOOT_DEVICE","payload":7}"#,
            b"[]",
            b"",
        ] {
            assert!(command(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn an_action_is_one_of_three() {
        assert_eq!(action(br#"{"action":"restart"}"#), Ok(Action::Restart));
        assert!(action(br#"{"action":"re"}"#).is_err());
        assert!(action(br#"{"do":"start"}"#).is_err());
    }

    #[test]
    fn a_signal_has_a_bounded_type() {
        assert_eq!(signal(br#"{"type":"ready","payload":""}"#), Ok(Call::Signal { kind: "ready".into() }));
        assert!(signal(format!(r#"{{"type":"{}"}}"#, "x".repeat(TEXT_MAX + 1)).as_bytes()).is_err());
    }
}
