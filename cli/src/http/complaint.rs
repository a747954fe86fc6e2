//! What a person hears when a call fails: who did not do what, and what to do about it.
//!
//! Text from a server is made one line without control characters before it is shown.

use std::io;

use super::{REDIRECTS, Reply, Server};
use crate::error::{Error, ErrorKind};

/// The error of an answer that is a refusal. `asked` completes "when".
pub(super) fn refused(reply: &Reply, asked: &str) -> Error {
    let (host, status) = (host(&reply.url), reply.status);
    let text = reply.text();
    let says = if text.is_empty() { format!("status {status}, without a word") } else { text };
    let device = |message: String| Error { kind: ErrorKind::Device, message, hint: None };
    match status {
        503 => {
            let when = match reply.retry_after {
                Some(time) => format!("try again in {} s", time.as_secs()),
                None => "try again later".into(),
            };
            device(format!("{host} is not ready when {asked}: {says}")).hint(when)
        }
        502 | 504 => network(format!("what stands before {host} cannot reach it (status {status})"))
            .hint("is the device on? else ask whoever runs the proxy"),
        401 => device(format!("{host} does not let us in when {asked}: {says}")).hint(match Server::of(&reply.url) {
            Some(server) => format!("run `pvcontrol pair` on the device, then here: pvr login {server}"),
            None => "is the address right?".into(),
        }),
        403 => device(format!("{host} does not let us in when {asked}: {says}")),
        404 => device(format!("{host} does not know {} (status 404): {says}", reply.url)),
        507 => device(format!("{host} has no room left when {asked}: {says}"))
            .hint("remove revisions or logs on the device, then run the command again; what is there is kept"),
        300..=399 => network(format!("{host} sends us elsewhere when {asked} (status {status})"))
            .hint("use the address that it sends to; bodies are not sent twice"),
        _ => device(format!("{host} refused when {asked} (status {status}): {says}")),
    }
}

/// A matter of the network's.
pub(crate) fn network(message: String) -> Error {
    Error { kind: ErrorKind::Network, message, hint: None }
}

/// A web page where data should be.
pub(crate) fn page(url: &str) -> Error {
    network(format!("{url} is a web page, and not what pvr asked for")).hint(
        "is the address right? A device is http://ADDRESS:12368; the login page of a network answers for everybody",
    )
}

/// An answer that makes no sense.
pub(crate) fn nonsense(url: &str, what: impl std::fmt::Display) -> Error {
    network(format!("the answer to {url} cannot be used: {what}"))
        .hint("is the address that of a device, and is its software current?")
}

/// The server of an address, as a person knows it.
pub(crate) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

/// One line without control characters, of a text that somebody else wrote.
pub(crate) fn printable(text: &str) -> String {
    let cut: String = text.chars().take(1000).map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error of a call that got no answer.
pub(super) fn failed(url: &str, error: &ureq::Error) -> Error {
    let host = host(url);
    let device = "is the device on, and is its endpoint open to the network? Its port is 12368";
    match error {
        ureq::Error::HostNotFound => unknown(host),
        ureq::Error::Io(error) if is_unknown_name(error) => unknown(host),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            network(format!("{host} refuses connections")).hint(device)
        }
        ureq::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) =>
        {
            network(format!("there is no way to {host}: {error}")).hint("check cable, network and address")
        }
        ureq::Error::Timeout(ureq::Timeout::Resolve) => network(format!("nobody says in time where {host} is"))
            .hint("check the network's name service; a number such as 10.0.0.5 works too"),
        ureq::Error::Timeout(ureq::Timeout::Connect) => {
            network(format!("{host} took too long to take a connection")).hint(device)
        }
        ureq::Error::Timeout(_) => network(format!("{host} took too long: nothing comes or goes any more"))
            .hint("run the command again; --timeout gives a slow device more time"),
        ureq::Error::TooManyRedirects => network(format!("{url} sends us in circles: more than {REDIRECTS} redirects"))
            .hint("is the address right? try that of the device itself"),
        ureq::Error::RedirectFailed => network(format!("{url} sends us elsewhere in the middle of a transfer"))
            .hint("use the address that it sends to"),
        ureq::Error::BodyExceedsLimit(limit) => nonsense(url, format_args!("it is longer than {limit} bytes")),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Error::user(format!("{url:?} is not an address")).hint("http://ADDRESS:12368, or just ADDRESS")
        }
        ureq::Error::Io(error) => network(format!("the connection to {host} broke: {error}"))
            .hint("run the command again; what has come is kept"),
        ureq::Error::Protocol(error) => nonsense(url, format_args!("{host} does not speak HTTP: {error}")),
        other => network(format!("{url}: {other}")),
    }
}

fn unknown(host: &str) -> Error {
    network(format!("there is no host called {host}")).hint("check the name; a number such as 10.0.0.5 works too")
}

/// Whether a name could not be resolved: the library has no kind for that, only these words.
fn is_unknown_name(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_what_stands_between_scheme_and_path_and_no_password_is_in_it() {
        assert_eq!(host("http://10.0.0.5:12368/cgi-bin/pvr"), "10.0.0.5:12368");
        assert_eq!(host("https://me:secret@h/x"), "h");
        assert_eq!(host("http://[::1]:1?x"), "[::1]:1");
    }

    #[test]
    fn what_a_server_says_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\r\n c\t"), "a [2Jb c");
    }
}
