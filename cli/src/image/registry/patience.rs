//! A registry that is busy says when to come again: all who ask it wait until then.

use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use ureq::http::HeaderMap;

use super::locked;

/// The longest that is waited: a person looks at this. Limits of hubs count in hours.
const LONGEST: Duration = Duration::from_secs(120);

/// When to ask again.
#[derive(Debug, Default)]
pub(super) struct Patience(Mutex<Option<Instant>>);

impl Patience {
    /// Notes what `Retry-After` says, if it says something: seconds, or a date.
    ///
    /// # Errors
    /// It asks for longer than anybody waits: for so many seconds.
    pub(super) fn asked(&self, headers: &HeaderMap) -> Result<(), u64> {
        let Some(text) = headers.get("Retry-After").and_then(|text| text.to_str().ok()) else { return Ok(()) };
        let Some(wait) = wait(text, SystemTime::now()) else { return Ok(()) };
        if wait > LONGEST {
            return Err(wait.as_secs());
        }
        let until = Instant::now() + wait;
        let mut when = locked(&self.0);
        *when = Some(when.map_or(until, |earlier| earlier.max(until)));
        Ok(())
    }

    /// Waits until then.
    pub(super) fn wait(&self) {
        let until = *locked(&self.0);
        if let Some(until) = until {
            sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood_and_everything_else_says_nothing() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(wait(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:07 GMT", now), Some(Duration::ZERO), "it is over");
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(wait(text, now), None, "{text:?}");
        }
    }

    #[test]
    fn who_asks_for_hours_is_not_waited_for() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "21600".parse().unwrap());
        let patience = Patience::default();
        assert_eq!(patience.asked(&headers), Err(21_600));
        headers.insert("retry-after", "1".parse().unwrap());
        patience.asked(&headers).unwrap();
        let start = Instant::now();
        patience.wait();
        assert!(start.elapsed() > Duration::from_millis(900));
    }
}
