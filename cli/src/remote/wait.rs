//! `pvr post --wait`: what becomes of a revision, until it is in use or given up.
//!
//! ```text
//!   NEW QUEUED DOWNLOADING INPROGRESS TESTING ─┬─▶ UPDATED, DONE            it is in use
//!        a device that is not there reboots    └─▶ WONTGO, ERROR, CANCELLED  it is not; the device says why
//! ```

use std::time::Duration;

use formats::json::Limits;
use formats::progress::{Report, Status};

use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, Repeat, host, nonsense, printable};
use crate::remote::info::Info;
use crate::watch::Watch;

/// What lies between two looks.
pub const BETWEEN: Duration = Duration::from_secs(1);

/// How often in a row a device may not know a revision that it has just taken.
const UNKNOWN_MAX: u32 = 10;

/// What became of a revision that is in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InUse {
    /// [`Status::Done`], or [`Status::Updated`] if the device does not fall back to it yet.
    pub status: Status,
    /// What the device says.
    pub message: String,
}

/// Waits until the device has decided about a revision. `goes_on` tells whether there is time for one more look.
///
/// # Errors
/// The device has not taken it into use, has not decided in time, or does not tell.
pub fn wait(
    client: &Client,
    info: &Info,
    revision: &str,
    goes_on: &mut dyn FnMut() -> bool,
    watch: &dyn Watch,
) -> Result<InUse> {
    let device = |message: String| Error { kind: ErrorKind::Device, message, hint: None };
    let url = info.progress(revision).ok_or_else(|| {
        device(format!("{} does not say where the progress of a revision stands", info.base))
            .hint("the revision was posted; look on the device what becomes of it")
    })?;
    let (mut said, mut unknown) = (String::new(), 0);
    let mut last = None;
    while goes_on() {
        let mut say = |line: String| {
            if line != said {
                watch.say(&line);
                said = line;
            }
        };
        match client.get(&url, Limits::DOCUMENT.bytes, Repeat::Never, watch) {
            Err(error) if error.kind == ErrorKind::Network => {
                say(format!("{}: no answer; it may be rebooting", host(&url)));
            }
            Err(error) => return Err(error),
            Ok(reply) if reply.status == 404 && unknown < UNKNOWN_MAX => unknown += 1,
            Ok(reply) if reply.status == 503 => say(format!("{}: busy", host(&url))),
            Ok(reply) => {
                unknown = 0;
                let report = reply.success("it was asked for the progress")?;
                let report = Report::parse(&report).map_err(|error| nonsense(&url, error))?;
                say(line(&report));
                if report.status.is_final() {
                    return verdict(revision, report);
                }
                last = Some(report);
            }
        }
        client.pause(BETWEEN);
    }
    let state = last.map_or_else(|| "and nothing was heard of it".into(), |report| format!("it is {}", line(&report)));
    Err(device(format!("{revision} is not in use in the time that was given; {state}"))
        .hint("the device goes on with it; --wait=SECONDS waits longer"))
}

fn line(report: &Report) -> String {
    let downloads = report.downloads.filter(|_| report.status == Status::Downloading);
    let bytes = downloads.map(|d| format!(" ({} of {} bytes)", d.total_downloaded, d.total_size)).unwrap_or_default();
    format!("{} {}% {}{bytes}", report.status.as_str(), report.progress, printable(&report.message))
}

fn verdict(revision: &str, report: Report) -> Result<InUse> {
    let message = printable(&report.message);
    let what = match report.status {
        Status::Done | Status::Updated => return Ok(InUse { status: report.status, message }),
        Status::WontGo => "the device refused",
        Status::Cancelled => "somebody withdrew",
        _ => "the device tried and gave up",
    };
    let logs = report.logs.as_deref().map(str::lines).into_iter().flatten();
    let logs: Vec<_> = logs.map(printable).filter(|line| !line.is_empty()).collect();
    let hint = match logs.is_empty() {
        true => "the device runs what it ran before".into(),
        false => format!("the device runs what it ran before. Its last errors:\n  {}", logs.join("\n  ")),
    };
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    Err(Error { kind: ErrorKind::Device, message: format!("{what} {revision}{message}"), hint: Some(hint) })
}
