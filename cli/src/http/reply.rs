//! What a server answered: a document or a refusal, whole, or an object as it comes.

use std::io::{self, Read as _};
use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

use super::complaint::{failed, page, printable, refused};
use crate::error::{Error, Result};

/// What a server answered. It may be a refusal: see [`Reply::success`].
#[derive(Debug)]
pub struct Reply<B = Vec<u8>> {
    /// The status code.
    pub status: u16,
    /// What was asked for.
    pub url: String,
    /// How long the server wants us to wait.
    pub retry_after: Option<Duration>,
    /// Whether the body is a web page.
    pub is_page: bool,
    /// The body, or its beginning if the status is not of success.
    pub body: B,
}

/// A body that is still coming.
pub struct Stream {
    /// Where in the whole its first byte is.
    pub start: u64,
    /// The size of the whole in bytes, if the server says so.
    pub total: Option<u64>,
    /// Whether the server calls it a web page. An object may be one.
    pub is_page: bool,
    pub(super) reader: ureq::BodyReader<'static>,
    pub(super) url: String,
}

pub(super) fn reply(url: &str, response: &Response<Body>) -> Reply<()> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    Reply {
        status: response.status().as_u16(),
        url: url.into(),
        retry_after: header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs),
        is_page: header("content-type").is_some_and(|media| media.trim_start().starts_with("text/html")),
        body: (),
    }
}

/// `bytes 5-9/10`: where it starts, and the whole.
pub(super) fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

impl<B> Reply<B> {
    pub(super) fn with<C>(self, body: C) -> Reply<C> {
        self.map(|_| body)
    }

    pub(super) fn split(self) -> (Reply<()>, B) {
        let head = Reply {
            status: self.status,
            url: self.url,
            retry_after: self.retry_after,
            is_page: self.is_page,
            body: (),
        };
        (head, self.body)
    }

    pub(super) fn map<C>(self, change: impl FnOnce(B) -> C) -> Reply<C> {
        let (head, body) = self.split();
        let Reply { status, url, retry_after, is_page, body: () } = head;
        Reply { status, url, retry_after, is_page, body: change(body) }
    }
}

impl Reply {
    /// The body of an answer that is one. `asked` completes "when" in the complaint.
    ///
    /// # Errors
    /// A refusal, or a web page.
    pub fn success(self, asked: &str) -> Result<Vec<u8>> {
        if !(200..300).contains(&self.status) {
            return Err(self.refused(asked));
        }
        if self.is_page {
            return Err(page(&self.url));
        }
        Ok(self.body)
    }

    /// What the server says for a person.
    #[must_use]
    pub fn text(&self) -> String {
        if self.is_page { String::new() } else { printable(&String::from_utf8_lossy(&self.body)) }
    }

    /// The error of an answer that is a refusal.
    #[must_use]
    pub fn refused(&self, asked: &str) -> Error {
        refused(self, asked)
    }
}

impl Stream {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|error| failed(&self.url, &ureq::Error::from(error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_or_not_at_all() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(content_range("5-9/10"), None);
    }
}
