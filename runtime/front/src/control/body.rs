//! The small bodies of `pv-ctrl`: an action, a signal, a command. Read whole, strictly, into a [`Call`].

use formats::control::{Action, Call, Program, TEXT_MAX};
use formats::json::{self, Limits, Object, Value};
use statemachine::ids::RevisionId;

/// The most bytes of a command.
pub(crate) const COMMAND_MAX: usize = 4096;
/// The most bytes of an action or a signal.
pub(crate) const ACTION_MAX: usize = 1024;
/// The most bytes of what is to be started: its words, each character of them perhaps as an escape.
pub(crate) const PROGRAM_MAX: usize = 60 * 1024;

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

/// What is to be started in a container: `{"argv":["ls","-l"],"env":["TERM=xterm"],"terminal":false}`.
///
/// # Errors
/// What is wrong, for the client.
pub fn program(container: &str, bytes: &[u8]) -> Result<Program, String> {
    within(bytes, Limits { bytes: PROGRAM_MAX, depth: 4, values: 1024 }, |body| {
        let words = |member: &str| -> Result<Vec<String>, String> {
            let wrong = || format!("the member {member:?} must be a list of strings");
            let list = body.get(member).map(|list| list.as_array().ok_or_else(wrong)).transpose()?;
            let words = list.unwrap_or_default().iter().map(|word| word.as_str().map(str::to_owned).ok_or_else(wrong));
            words.collect()
        };
        let (argv, env, terminal) = (words("argv")?, words("env")?, flag(body, "terminal")?);
        let detached = flag(body, "detached")?;
        let program = Program { container: container.into(), argv, env, terminal, detached };
        program.check().map(|()| program).map_err(Into::into)
    })
}

/// What is sent to a program: `{"signal":15}`.
///
/// # Errors
/// What is wrong, for the client.
pub fn program_signal(bytes: &[u8]) -> Result<u8, String> {
    with_object(bytes, |body| {
        let number = body.get("signal").and_then(Value::as_u64).and_then(|number| u8::try_from(number).ok());
        number.filter(|number| (1..=64).contains(number)).ok_or_else(|| "a signal is a number from 1 to 64".into())
    })
}

fn with_object<T>(bytes: &[u8], read: impl FnOnce(&Object<'_>) -> Result<T, String>) -> Result<T, String> {
    within(bytes, Limits { bytes: COMMAND_MAX, depth: 4, values: 64 }, read)
}

fn within<T>(bytes: &[u8], limits: Limits, read: impl FnOnce(&Object<'_>) -> Result<T, String>) -> Result<T, String> {
    let value = json::parse(bytes, limits).map_err(|error| format!("the body is not JSON: {error}"))?;
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
    fn a_program_has_words_and_a_signal_a_number() {
        let read = program("web", br#"{"argv":["ls","-l"],"env":["A=b"],"terminal":true}"#).unwrap();
        assert_eq!((read.argv.len(), read.env.len(), read.terminal, read.descriptors()), (2, 1, true, 2));
        assert_eq!(program("web", br#"{"argv":["ls"]}"#).map(|read| read.descriptors()), Ok(4));
        assert_eq!(program("web", br#"{"argv":["ls"],"detached":true}"#).map(|read| read.descriptors()), Ok(0));
        assert!(program("web", br#"{"argv":["ls"],"detached":true,"terminal":true}"#).is_err());
        for bad in [&br#"{"argv":[]}"#[..], br#"{"argv":"ls"}"#, br#"{"argv":[1]}"#, br#"{"argv":["a"],"env":["b"]}"#] {
            assert!(program("web", bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(program_signal(br#"{"signal":15}"#), Ok(15));
        assert!(program_signal(br#"{"signal":0}"#).is_err() && program_signal(br#"{"signal":65}"#).is_err());
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
