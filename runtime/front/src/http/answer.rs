//! What is answered: a code, a content, and their bytes.
//!
//! Every answer has a `Content-Length`, so that a client sees when one is cut short. Errors are `{"Error":"…"}`, or plain
//! text where the client shows them as they are.

use std::fmt::Write as _;

use formats::control::{Refused, Status};
use formats::json::Json;

/// What kind of bytes a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Json,
    Text,
    Bytes,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Bytes => "application/octet-stream",
        }
    }
}

/// An answer that fits into memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content: Content,
    pub(crate) body: Vec<u8>,
    /// Fields of this answer alone.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// What is wrong, in words: the body says the same.
    pub(crate) complaint: Option<String>,
}

impl Answer {
    /// It is done, and there is nothing to show.
    pub(crate) fn done() -> Self {
        Self { code: 200, content: Content::Json, body: Vec::new(), fields: Vec::new(), complaint: None }
    }

    pub(crate) fn json(value: &Json) -> Self {
        Self { body: value.compact().into_bytes(), ..Self::done() }
    }

    pub(crate) fn text(text: &str) -> Self {
        Self { content: Content::Text, body: text.into(), ..Self::done() }
    }

    pub(crate) fn error(code: u16, message: &str) -> Self {
        let complaint = Some(message.to_owned());
        Self { code, complaint, ..Self::json(&Json::object().with("Error", message)) }
    }

    /// The same for a client that shows the body of an error as it is.
    pub(crate) fn plain(self) -> Self {
        match &self.complaint {
            Some(text) => Self { body: format!("{text}\n").into(), content: Content::Text, ..self },
            None => self,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The head and the body.
    pub(crate) fn bytes(&self, keeps: bool) -> Vec<u8> {
        let mut bytes = head(self.code, self.content, self.body.len() as u64, &self.fields, keeps).into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let answer = Self::error(refused.status.code(), &refused.message);
        let answer = match refused.status {
            Status::Unauthorized => answer.with("WWW-Authenticate", "Bearer realm=\"cairn\""),
            _ => answer,
        };
        match refused.retry_after {
            Some(seconds) => answer.with("Retry-After", seconds.to_string()),
            // Who is told "not now" wants to know when; PID 1 had no better idea.
            None if refused.status == Status::Unavailable => answer.with("Retry-After", "10"),
            None => answer,
        }
    }
}

/// The head of an answer.
pub(crate) fn head(code: u16, content: Content, length: u64, fields: &[(&'static str, String)], keeps: bool) -> String {
    let mut head = format!("HTTP/1.1 {code} {}\r\nContent-Type: {}\r\n", phrase(code), content.name());
    let connection = if keeps { "keep-alive" } else { "close" };
    // Nobody may guess what a body is, or show it inside a page of their own. Writing to a `String` cannot fail.
    let _ = write!(head, "Content-Length: {length}\r\nConnection: {connection}\r\nX-Content-Type-Options: nosniff\r\n");
    for (name, value) in fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}

fn phrase(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let busy =
            Refused { status: Status::Unavailable, message: "an \"update\" runs".into(), retry_after: Some(600) };
        let text = String::from_utf8(Answer::from(busy).bytes(true)).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
        assert!(text.contains("\r\nRetry-After: 600\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: 30\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n{\"Error\":\"an \\\"update\\\" runs\"}"), "{text}");
    }
}
