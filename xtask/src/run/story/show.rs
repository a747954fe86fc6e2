//! How a run is shown: a timeline for people, or one JSON object a line for programs.

use std::time::Duration;

use super::event::Event;
use crate::term::{Out, bold, dim, green, red};

pub(crate) enum Show {
    /// A line for each event that a person wants to see.
    Timeline(Out),
    /// The same, and what the scripts of steps have said that are to be shown, by step.
    Kept(Out, Vec<(String, String)>),
    /// Every event as it is.
    Json,
    #[cfg(test)]
    Nothing,
}

impl Show {
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        Self::Nothing
    }

    /// Where everything else that is said goes.
    pub(crate) fn out(&self) -> Out {
        match self {
            Self::Timeline(out) | Self::Kept(out, _) => *out,
            _ => Out::Stderr,
        }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        if let Self::Kept(_, told) = self
            && event.kind == "story"
            && event.text("is") == "told"
        {
            told.push((event.text("step").to_owned(), event.text("output").to_owned()));
        }
        match self {
            Self::Timeline(out) | Self::Kept(out, _) => {
                if let Some(text) = words(event, *out) {
                    let time = format!("{:>8.2} s", Duration::from_millis(event.t).as_secs_f64());
                    out.line(format!("{}  {text}", dim(*out, &time)));
                }
            }
            Self::Json => println!("{}", event.line()),
            #[cfg(test)]
            Self::Nothing => {}
        }
    }
}

/// An event in a few words; `None` for what is only noise to a person.
fn words(event: &Event, out: Out) -> Option<String> {
    let revision = event.text("revision");
    Some(match event.kind.as_str() {
        "story" => match event.text("is") {
            "begun" => bold(out, event.text("step")),
            "passed" => format!("  {}", green(out, "as told")),
            "over" => bold(out, "The end."),
            "told" => event.text("output").lines().map(|line| format!("\n            {line}")).collect(),
            "broken-off" => return None,
            _ => format!("  {} {}", red(out, "failed:"), event.text("why")),
        },
        "boot" => {
            let number = event.number("boot").unwrap_or_default();
            format!("  boot {number} of revision {revision} ({})", event.text("role"))
        }
        "end" if event.text("how") == "reboot" => "  the device reboots".into(),
        "end" => format!("  the boot ends: {}", event.text("how")),
        "container" => format!("  {} {}", event.text("name"), event.text("status")),
        "proposed" => format!("  {revision} proposed, {}", event.text("by")),
        "refused" => format!("  {revision} refused: {}", event.text("why")),
        "verdict" if event.members.get("good").is_some_and(|good| good == true) => {
            format!("  {revision} holds its goals")
        }
        "verdict" => format!("  {revision} is bad: {}", event.text("reason")),
        "commit" => format!("  {}", green(out, &format!("{revision} committed ({})", event.text("standing")))),
        "rollback" => {
            let text = format!("{revision} rolled back to {}: {}", event.text("to"), event.text("reason"));
            format!("  {}", red(out, &text))
        }
        "unreadable" => format!("  {} {}", red(out, "unreadable:"), event.text("line")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_person_reads_who_and_why() {
        let event = Event::new("rollback", 1, json!({ "revision": "locals/a", "to": "0", "reason": "goal-missed" }));
        let text = words(&event, Out::Stderr).unwrap();
        assert!(text.contains("locals/a") && text.contains("to 0: goal-missed"), "{text}");
        assert_eq!(words(&Event::new("state", 1, json!({ "state": "Idle" })), Out::Stderr), None);
    }
}
