//! `.pv/progress`: how far an update is, for tools and hubs. No decision on a device reads it.
//!
//! ```text
//!   {"status":"DOWNLOADING","status-msg":"…","progress":25,"retries":1,"downloads":{"total":{…}},"logs":"…"}
//! ```
//!
//! Members are written in this order, `downloads` only while downloading, `logs` only if there is an excerpt. The
//! reader takes them in any order and ignores others, since newer devices may say more.
//!
//! API: [`Report::new`], [`Report::to_text`], [`Report::parse`]; the words are [`Status`], the sentences [`Message`].

use alloc::string::{String, ToString};
use core::fmt;

use crate::document::{DocumentError, Item, Place, Wrong};
use crate::json::{self, Json, Limits};
use crate::words::words;

/// The most of a log excerpt in bytes; its end is kept, where the error stands.
pub const LOGS_MAX: usize = 4096;

/// What a reader accepts: an excerpt of which every byte is escaped still fits.
const LIMITS: Limits = Limits { bytes: 32 * 1024, depth: 8, values: 256 };

words! {
    /// How far an update is.
    pub enum Status {
        /// Stored, not run.
        New = "NEW",
        /// Accepted, waiting.
        Queued = "QUEUED",
        /// Its objects are fetched.
        Downloading = "DOWNLOADING",
        /// Installed; rebooting, switching or trying.
        InProgress = "INPROGRESS",
        /// All goals are met; waiting for stability.
        Testing = "TESTING",
        /// In use, not yet proven by a boot.
        Updated = "UPDATED",
        /// In use, and what the device falls back to.
        Done = "DONE",
        /// Refused before anything changed.
        WontGo = "WONTGO",
        /// Failed, and undone.
        Error = "ERROR",
        /// A hub's word: on its way to the device.
        Syncing = "SYNCING",
        /// A hub's word: withdrawn.
        Cancelled = "CANCELLED",
    }
}

impl Status {
    /// The number that goes with it, 0 to 100.
    #[must_use]
    pub const fn progress(self) -> u8 {
        match self {
            Self::New | Self::Syncing => 0,
            Self::Queued => 5,
            Self::Downloading => 25,
            Self::InProgress => 50,
            Self::Testing => 75,
            Self::Updated | Self::Done | Self::WontGo | Self::Error | Self::Cancelled => 100,
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.progress() == 100
    }
}

/// The sentences that tools look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is its sentence, which stands below once")]
pub enum Message {
    NotYetInstalled,
    ReadyToRun,
    Retried { retry: u32, of: u32 },
    Applied,
    Trying,
    InPlace,
    Rebooting,
    FinishedWithoutRollbackPoint,
    FinishedWithRollbackPoint,
    Factory,
    BadObject,
    HubNotReachable,
    HubNotStable,
    Stale,
    GoalNotReached,
    ContainerNotStarted,
    Internal,
    TooManyRetries,
    TooManyDownloads,
    NoState,
    BadState,
    AwaitingRollbackPoint,
    AwaitingStability,
    AwaitingContainers,
    DownloadingMetadata { retry: u32, of: u32 },
    DownloadingArtifacts { retry: u32, of: u32 },
    UnexpectedRollback,
    NotCovered,
    BadSignature,
    NoSpace { required: u64, available: u64 },
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotYetInstalled => "Update not yet installed",
            Self::ReadyToRun => "Update ready to be run",
            Self::Retried { retry, of } => return write!(f, "Retried {retry} of {of}"),
            Self::Applied => "Update applied",
            Self::Trying => "Trying new revision",
            Self::InPlace => "Transitioning to new revision without rebooting",
            Self::Rebooting => "Rebooting",
            Self::FinishedWithoutRollbackPoint => "Update finished, revision not set as rollback point",
            Self::FinishedWithRollbackPoint => "Update finished, revision set as rollback point",
            Self::Factory => "Factory revision",
            Self::BadObject => "Object validation went wrong",
            Self::HubNotReachable => "Hub not reachable",
            Self::HubNotStable => "Hub communication not stable",
            Self::Stale => "Stale revision",
            Self::GoalNotReached => "Status goal not reached",
            Self::ContainerNotStarted => "A container could not be started",
            Self::Internal => "Internal error",
            Self::TooManyRetries => "Max update processing retries reached",
            Self::TooManyDownloads => "Max download update retries reached",
            Self::NoState => "State JSON not found",
            Self::BadState => "State JSON has bad format",
            Self::AwaitingRollbackPoint => "Awaiting to set rollback point if update is stable",
            Self::AwaitingStability => "Awaiting to see if update is stable",
            Self::AwaitingContainers => "Waiting for all containers to become stable",
            Self::DownloadingMetadata { retry, of } => {
                return write!(f, "Downloading update metadata, retry {retry} of {of}");
            }
            Self::DownloadingArtifacts { retry, of } => {
                return write!(f, "Downloading update artifacts, retry {retry} of {of}");
            }
            Self::UnexpectedRollback => "Unexpected rollback",
            Self::NotCovered => "State not fully covered by signatures",
            Self::BadSignature => "Signature validation failed",
            Self::NoSpace { required, available } => {
                return write!(f, "Space required {required} B, available {available} B");
            }
        })
    }
}

/// How much has been fetched. Times are seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Downloads {
    /// Bytes to fetch.
    pub total_size: u64,
    /// Bytes fetched.
    pub total_downloaded: u64,
    /// When it began.
    pub start_time: u64,
    /// When this was written.
    pub current_time: u64,
}

/// A progress report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The word.
    pub status: Status,
    /// The sentence.
    pub message: String,
    /// The number; a hub may say another than [`Status::progress`].
    pub progress: u8,
    /// How often the update was begun again.
    pub retries: u32,
    /// How much has been fetched.
    pub downloads: Option<Downloads>,
    /// The last errors: lines of JSON, at most [`LOGS_MAX`] bytes.
    pub logs: Option<String>,
}

impl Report {
    /// A report with the number that goes with the word.
    #[must_use]
    pub fn new(status: Status, message: Message) -> Self {
        Self {
            status,
            message: message.to_string(),
            progress: status.progress(),
            retries: 0,
            downloads: None,
            logs: None,
        }
    }

    /// The document, without blanks.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut json = Json::object()
            .with("status", self.status.as_str())
            .with("status-msg", self.message.as_str())
            .with("progress", u64::from(self.progress))
            .with("retries", u64::from(self.retries));
        if let Some(downloads) = self.downloads.filter(|_| self.status == Status::Downloading) {
            let total = Json::object()
                .with("object_name", "total")
                .with("object_id", "none")
                .with("total_size", downloads.total_size)
                .with("total_downloaded", downloads.total_downloaded)
                .with("start_time", downloads.start_time)
                .with("current_time", downloads.current_time);
            json.set("downloads", Json::object().with("total", total));
        }
        if let Some(logs) = self.logs.as_deref().filter(|logs| !logs.is_empty()) {
            json.set("logs", end_of(logs));
        }
        json.compact()
    }

    /// Reads a report.
    ///
    /// # Errors
    /// [`DocumentError`] names the member.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        const DOCUMENT: &str = ".pv/progress";
        let value = json::parse(bytes, LIMITS).map_err(|error| DocumentError {
            place: Place { document: DOCUMENT.into(), member: String::new() },
            wrong: Wrong::Json(error),
        })?;
        let members = Item::root(DOCUMENT, &value).members()?;
        let status: Status = members.need("status")?.word()?;
        let logs = members.get("logs").map(|item| item.text().map(String::from)).transpose()?;
        let number = |name: &str, limit| members.read(name, |item| item.number(limit));
        let downloads = match members.get("downloads") {
            None => None,
            Some(downloads) => {
                let total = downloads.members()?.need("total")?.members()?;
                let number = |name: &str| match total.get(name) {
                    None => Ok(0),
                    Some(item) => item.value.as_u64().ok_or_else(|| {
                        item.error(Wrong::Type { wanted: "a whole number", found: item.value.kind_name() })
                    }),
                };
                Some(Downloads {
                    total_size: number("total_size")?,
                    total_downloaded: number("total_downloaded")?,
                    start_time: number("start_time")?,
                    current_time: number("current_time")?,
                })
            }
        };
        Ok(Self {
            status,
            message: members.c_text("status-msg")?.unwrap_or_default(),
            progress: number("progress", 100)?.and_then(|value| u8::try_from(value).ok()).unwrap_or(status.progress()),
            retries: number("retries", u32::MAX)?.unwrap_or_default(),
            downloads,
            logs,
        })
    }
}

/// The last [`LOGS_MAX`] bytes, from the first whole character on.
fn end_of(logs: &str) -> &str {
    let mut start = logs.len().saturating_sub(LOGS_MAX);
    while !logs.is_char_boundary(start) {
        start += 1;
    }
    logs.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_written_in_the_order_that_readers_know() {
        let report = Report {
            retries: 1,
            downloads: Some(Downloads { total_size: 123, total_downloaded: 45, start_time: 1, current_time: 2 }),
            logs: Some("a\nb".into()),
            ..Report::new(Status::Downloading, Message::DownloadingArtifacts { retry: 1, of: 10 })
        };
        assert_eq!(
            report.to_text(),
            concat!(
                r#"{"status":"DOWNLOADING","status-msg":"Downloading update artifacts, retry 1 of 10","progress":25,"retries":1,"#,
                r#""downloads":{"total":{"object_name":"total","object_id":"none","total_size":123,"total_downloaded":45,"#,
                r#""start_time":1,"current_time":2}},"logs":"a\nb"}"#
            )
        );
        assert_eq!(Report::parse(report.to_text().as_bytes()), Ok(report));
    }

    #[test]
    fn downloads_are_told_only_while_downloading() {
        let downloads = Some(Downloads { total_size: 1, total_downloaded: 1, start_time: 1, current_time: 1 });
        let report = Report { downloads, ..Report::new(Status::Testing, Message::AwaitingStability) };
        assert_eq!(
            report.to_text(),
            r#"{"status":"TESTING","status-msg":"Awaiting to see if update is stable","progress":75,"retries":0}"#
        );
    }

    #[test]
    fn of_a_long_log_the_end_is_kept_in_whole_characters() {
        let report = Report { logs: Some("ä".repeat(3000) + "x"), ..Report::new(Status::Error, Message::Internal) };
        let read = Report::parse(report.to_text().as_bytes()).unwrap();
        let logs = read.logs.unwrap();
        assert!(logs.len() <= LOGS_MAX && logs.len() > LOGS_MAX - 4 && logs.ends_with("äx"));
    }

    #[test]
    fn the_longest_excerpt_reads_back_even_if_every_byte_is_escaped() {
        let report = Report { logs: Some("\u{1}".repeat(LOGS_MAX)), ..Report::new(Status::Error, Message::Internal) };
        assert!(Report::parse(report.to_text().as_bytes()).is_ok());
    }

    #[test]
    fn an_unknown_word_is_refused_and_an_unknown_member_is_not() {
        assert!(Report::parse(br#"{"status":"RUNNING"}"#).is_err());
        assert!(Report::parse(br#"{}"#).is_err());
        assert!(Report::parse(br#"{"status":"NEW","progress":101}"#).is_err());
        let report = Report::parse(br#"{"extra":[],"status":"NEW"}"#).unwrap();
        assert_eq!((report.status, report.progress), (Status::New, 0));
    }

    #[test]
    fn only_the_five_last_words_are_final() {
        let open =
            [Status::New, Status::Queued, Status::Downloading, Status::InProgress, Status::Testing, Status::Syncing];
        assert!(open.iter().all(|status| !status.is_final()));
        assert!(
            [Status::Updated, Status::Done, Status::WontGo, Status::Error, Status::Cancelled]
                .iter()
                .all(|s| s.is_final())
        );
    }
}
