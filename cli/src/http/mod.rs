//! HTTP as remotes need it: blocking, bounded in time and size, patient where patience helps.
//!
//! | | |
//! |---|---|
//! | time | [`CONNECT`] to connect, then a time without a byte in either direction ([`IDLE`] unless told otherwise) |
//! | size | every call names the most bytes that it takes; an error text is cut at [`ERROR_TEXT`] |
//! | again | what may be repeated is, [`PAUSES`] apart, after broken connections and 502, 503, 504 |
//! | 503 with `Retry-After` | is waited for, up to [`PATIENCE`] in all, whatever the call is |
//! | redirects | at most [`REDIRECTS`], never of a body |
//!
//! The token of a pairing goes to the server that a command was sent to, and nowhere else: not along a redirect, and not to
//! whatever address that server names.
//!
//! Text from a server is stripped of control characters before a person sees it. A web page is never taken for a
//! document.

mod complaint;
mod reply;
mod settings;
mod tokens;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use formats::pairing::Secret;
use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::tls::TlsConfig;
use ureq::{Agent, Body, RequestBuilder, SendBody};

use complaint::failed;
pub(crate) use complaint::{host, network, nonsense, page, printable};
pub use reply::{Reply, Stream};
use reply::{content_range, reply};
pub(crate) use settings::certificates;
pub use settings::{Proxy, Settings};
pub(crate) use tokens::token;
pub use tokens::{Server, Tokens};

use crate::error::{Context as _, Error, Result};
use crate::watch::Watch;

/// How long a connection may take to stand.
pub const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come or go. A device thinks so long when it brings a large object to a slow card.
pub const IDLE: Duration = Duration::from_secs(60);
/// What lies between attempts.
pub const PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
/// How long servers that ask for patience are given it, in one call.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Calls at a time, for who makes several.
pub const CONNECTIONS: usize = 5;
/// How often a server may send us elsewhere.
pub const REDIRECTS: u32 = 5;
/// The most bytes of a server's complaint.
pub const ERROR_TEXT: usize = 4096;

/// Speaks HTTP. Connections are kept and shared between threads.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    sleep: fn(Duration),
    tokens: Option<Tokens>,
    /// What any server is shown that is spoken to, whatever is kept for it.
    token: Option<Secret>,
    is_told: bool,
    /// What the server is shown that is spoken to.
    pass: Mutex<Option<(Server, Secret)>>,
}

/// Whether a call may reach the server twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// It does the same again.
    Harmless,
    /// Only if it cannot have arrived.
    IfUnsent,
    /// No; whoever calls will ask again.
    Never,
}

impl Client {
    /// A client that reaches servers so, and pauses with `sleep`.
    #[must_use]
    pub fn new(settings: Settings, sleep: fn(Duration)) -> Self {
        let idle = settings.idle;
        let tls = TlsConfig::builder().root_certs(settings.roots()).disable_verification(settings.is_insecure).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .timeout_resolve(Some(CONNECT.min(idle)))
            .timeout_connect(Some(CONNECT.min(idle)))
            .timeout_per_read(Some(idle))
            .timeout_per_write(Some(idle))
            .max_idle_connections_per_host(CONNECTIONS)
            .user_agent(concat!("pvr/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .proxy(settings.proxy.to_config())
            .tls_config(tls)
            .build();
        Self {
            agent: Agent::new_with_config(config),
            sleep,
            tokens: None,
            token: settings.token,
            is_told: settings.is_told,
            pass: Mutex::default(),
        }
    }

    /// The same with these tokens at hand.
    #[must_use]
    pub fn with_tokens(self, tokens: Option<Tokens>) -> Self {
        Self { tokens, ..self }
    }

    /// From now on this server is spoken to: it alone is shown its token, if there is one.
    ///
    /// # Errors
    /// The token cannot be read.
    pub fn enter(&self, base: &str) -> Result<()> {
        let pass = match (&self.token, &self.tokens, Server::of(base)) {
            (Some(token), _, Some(server)) => Some((server, token.clone())),
            (None, Some(tokens), Some(server)) => tokens.get(&server)?.map(|token| (server, token)),
            _ => None,
        };
        self.show(pass);
        Ok(())
    }

    /// From now on this server alone is shown this token.
    pub(crate) fn show(&self, pass: Option<(Server, Secret)>) {
        *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = pass;
    }

    /// The request with the token of the server that is spoken to, if it goes there.
    fn passed<B>(&self, request: RequestBuilder<B>, url: &str) -> RequestBuilder<B> {
        let pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        match &*pass {
            Some((server, token)) if Server::of(url).as_ref() == Some(server) => {
                request.header("Authorization", format!("Bearer {}", token.expose()))
            }
            _ => request,
        }
    }

    /// Waits.
    pub fn pause(&self, time: Duration) {
        (self.sleep)(time);
    }

    /// Gets a body of at most `limit` bytes.
    ///
    /// # Errors
    /// Nothing came, or too much.
    pub fn get(&self, url: &str, limit: usize, repeat: Repeat, watch: &dyn Watch) -> Result<Reply> {
        self.attempts("GET", url, repeat, watch, || whole(url, limit, self.passed(self.agent.get(url), url).call()?))
    }

    /// Posts a body.
    ///
    /// # Errors
    /// No answer came, or one of more than `limit` bytes.
    pub fn post(
        &self,
        url: &str,
        media: &str,
        body: &str,
        limit: usize,
        repeat: Repeat,
        watch: &dyn Watch,
    ) -> Result<Reply> {
        let call = || self.passed(self.agent.post(url), url).header("Content-Type", media).send(body.as_bytes());
        self.attempts("POST", url, repeat, watch, || whole(url, limit, call()?))
    }

    /// Puts a body.
    ///
    /// # Errors
    /// No answer came.
    pub fn put(&self, url: &str, media: &str, body: &str, watch: &dyn Watch) -> Result<Reply> {
        let call = || self.passed(self.agent.put(url), url).header("Content-Type", media).send(body.as_bytes());
        self.attempts("PUT", url, Repeat::Harmless, watch, || whole(url, ERROR_TEXT, call()?))
    }

    /// Deletes.
    ///
    /// # Errors
    /// No answer came.
    pub fn delete(&self, url: &str, watch: &dyn Watch) -> Result<Reply> {
        let call = || self.passed(self.agent.delete(url), url).call();
        self.attempts("DELETE", url, Repeat::IfUnsent, watch, || whole(url, ERROR_TEXT, call()?))
    }

    /// Puts a file, and tells how far it is.
    ///
    /// # Errors
    /// The file cannot be read, or no answer came.
    pub fn put_file(&self, url: &str, path: &Path, watch: &dyn Watch) -> Result<Reply> {
        let length = std::fs::metadata(path).context("look at", path)?.len();
        // What was told once is not told again when it is sent again.
        let told = Cell::new(0);
        self.attempts("PUT", url, Repeat::Harmless, watch, || {
            let mut body = Counted { file: File::open(path)?, sent: 0, told: &told, watch };
            let body = SendBody::from_reader(&mut body);
            let call = self.passed(self.agent.put(url), url).header("Content-Type", "application/octet-stream");
            whole(url, ERROR_TEXT, call.header("Content-Length", length.to_string()).send(body)?)
        })
    }

    /// Gets a body from a byte on, as it comes. The server may begin earlier: see [`Stream::start`].
    ///
    /// # Errors
    /// No answer came, or one that is not the body.
    pub fn open(&self, url: &str, from: u64, watch: &dyn Watch) -> Result<Stream> {
        let reply = self.attempts("GET", url, Repeat::Harmless, watch, || {
            let call = self.passed(self.agent.get(url), url);
            let call = if from > 0 { call.header("Range", format!("bytes={from}-")) } else { call };
            let response = call.call()?;
            match response.status().as_u16() {
                200 | 206 => Ok(reply(url, &response).with(Ok(response))),
                _ => Ok(whole(url, ERROR_TEXT, response)?.map(Err)),
            }
        })?;
        let status = reply.status;
        let (reply, response) = reply.split();
        let response = match response {
            Ok(response) => response,
            // We are behind its end: what we have is not the beginning of it.
            Err(_) if status == 416 && from > 0 => return self.open(url, 0, watch),
            Err(body) => return Err(reply.with(body).refused("it was asked for an object")),
        };
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let range = header("content-range").and_then(content_range);
        let (start, total) = match (status, range) {
            (206, Some(range)) => range,
            (206, None) => return Err(nonsense(url, "it sent a part and did not say which")),
            _ => (0, response.body().content_length()),
        };
        if start > from {
            return Err(nonsense(url, "it sent another part than was asked for"));
        }
        let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Stream { start, total, is_page: reply.is_page, reader, url: url.into() })
    }

    /// One call, as often as it may and need be.
    fn attempts<B>(
        &self,
        method: &str,
        url: &str,
        repeat: Repeat,
        watch: &dyn Watch,
        mut attempt: impl FnMut() -> std::result::Result<Reply<B>, ureq::Error>,
    ) -> Result<Reply<B>> {
        let mut pauses = PAUSES.into_iter();
        let mut patience = PATIENCE;
        loop {
            let outcome = attempt();
            if self.is_told {
                let came = outcome.as_ref().map_or_else(ToString::to_string, |reply| reply.status.to_string());
                watch.say(&format!("{method} {url}: {came}"));
            }
            let pause = match &outcome {
                _ if repeat == Repeat::Never => None,
                Ok(reply) if reply.status == 503 && reply.retry_after.is_some() => {
                    let asked = reply.retry_after.filter(|asked| *asked <= patience);
                    if let Some(asked) = asked {
                        patience = patience.saturating_sub(asked.max(Duration::from_secs(1)));
                        watch.say(&format!("{} is busy; trying again in {} s", host(url), asked.as_secs()));
                    }
                    asked
                }
                Ok(reply) if matches!(reply.status, 502..=504) && repeat == Repeat::Harmless => pauses.next(),
                Err(error) if is_passing(error, repeat) => pauses.next(),
                _ => None,
            };
            match pause {
                Some(pause) => self.pause(pause),
                None => return outcome.map_err(|error| self.behind_proxy(failed(url, &error))),
            }
        }
    }

    /// A proxy that is in the way is easily forgotten.
    fn behind_proxy(&self, error: Error) -> Error {
        match (&error.hint, self.agent.config().proxy()) {
            (Some(hint), Some(proxy)) => {
                let hint = format!("{hint}. Calls go through the proxy {}; NO_PROXY names what does not", proxy.host());
                error.hint(hint)
            }
            _ => error,
        }
    }
}

/// Whether an error may be gone when the call is made again, and making it is harmless.
fn is_passing(error: &ureq::Error, repeat: Repeat) -> bool {
    let ureq::Error::Io(error) = error else {
        return matches!(error, ureq::Error::Timeout(_)) && repeat == Repeat::Harmless;
    };
    match error.kind() {
        io::ErrorKind::ConnectionRefused => true,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::TimedOut
        | io::ErrorKind::UnexpectedEof => repeat == Repeat::Harmless,
        _ => false,
    }
}

/// Reads an answer to its end, or the beginning of a refusal.
fn whole(url: &str, limit: usize, response: Response<Body>) -> std::result::Result<Reply, ureq::Error> {
    let head = reply(url, &response);
    let mut body = response.into_body();
    if (200..300).contains(&head.status) {
        let bytes = body.with_config().limit(limit as u64).read_to_vec()?;
        return Ok(head.with(bytes));
    }
    let mut bytes = Vec::new();
    // A complaint that breaks off is still worth reading.
    let _ = body.as_reader().take(ERROR_TEXT as u64).read_to_end(&mut bytes);
    Ok(head.with(bytes))
}

/// A file that tells how much of it was sent.
struct Counted<'w> {
    file: File,
    sent: u64,
    told: &'w Cell<u64>,
    watch: &'w dyn Watch,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.sent += length as u64;
        if self.sent > self.told.get() {
            self.watch.advance(self.sent - self.told.get());
            self.told.set(self.sent);
        }
        Ok(length)
    }
}
