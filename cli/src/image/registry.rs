//! A registry, by the OCI distribution API v2, as far as reading goes.
//!
//! ```text
//!   GET /v2/REPOSITORY/manifests/TAG-or-DIGEST     GET /v2/REPOSITORY/blobs/DIGEST [Range]
//!      └ 401 with a challenge ─▶ token of the realm, or name and password ─▶ once more
//! ```
//!
//! https, and plain http to this machine alone. Every request has time limits and few retries, not before the time that a
//! busy registry names; a redirect is followed without the credentials. What goes on goes on with the same bytes: `If-Range`
//! names them where the registry has named them. What a server answers is data: it is bounded, and believed only where a digest says so.

mod auth;
mod mirrors;
mod patience;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

pub use auth::{Credentials, Login};
pub use mirrors::{Mirrors, Url};
use patience::Patience;

use super::Limits;
use super::cosign::{self, Key};
use super::digest::Digest;
use super::fetch::{self, pause};
use super::manifest::{ACCEPT, Document};
use super::source::{Blob, Choice, Failure, Parts, Source, Tried};
use crate::cache::Cache;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::http::certificates;

/// How long a connection may take. A server that is there answers within a few round trips.
const CONNECT: Duration = Duration::from_secs(15);

/// The most that is read of an answer which only says what is wrong.
const COMPLAINT_MAX: u64 = 4096;

/// A repository of a registry, and one name in it.
pub struct Registry {
    agent: Agent,
    url: Url,
    repository: String,
    /// Tag or digest.
    what: String,
    login: Login,
    signer: Option<Key>,
    authorization: Mutex<Option<String>>,
    /// What the registry calls the bytes of a blob.
    marks: Mutex<HashMap<String, String>>,
    patience: Patience,
    cache: Option<Cache>,
    limits: Limits,
}

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Where images of a registry really are.
    pub mirrors: Mirrors,
    /// Who asks.
    pub login: Login,
    /// Certificates of authorities in PEM; these and no others are trusted then.
    pub authorities: Option<Vec<u8>>,
    /// Whose signature an image must have.
    pub signer: Option<Key>,
    /// What was fetched before, and where it is kept.
    pub cache: Option<Cache>,
}

impl Reach {
    /// Reads the authorities of a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn trust(&mut self, path: &Path) -> Result<()> {
        self.authorities = Some(std::fs::read(path).context("read", path)?);
        Ok(())
    }
}

impl Registry {
    /// A name in a repository. Nothing is asked yet.
    ///
    /// # Errors
    /// The registry could only be reached unsafely, or the authorities cannot be read.
    pub fn new(registry: &str, repository: &str, what: &str, reach: &Reach, limits: Limits) -> Result<Self> {
        let url = match reach.mirrors.get(registry) {
            Some(mirror) => mirror.clone(),
            None => Url::of(registry, reach.authorities.is_some()),
        };
        if !url.is_safe() {
            return Err(Error::user(format!("{url}: plain http is for registries on this machine only"))
                .hint("use https; --cacert names an authority of your own"));
        }
        let roots = match &reach.authorities {
            None => RootCerts::WebPki,
            Some(pem) => RootCerts::Specific(Arc::new(authorities(pem)?)),
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(url.is_https())
            .timeout_connect(Some(CONNECT))
            .timeout_resolve(Some(CONNECT))
            .timeout_recv_response(Some(limits.silence))
            .timeout_per_read(Some(limits.silence))
            .user_agent(concat!("pvr/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        if url.is_loopback() {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url,
            repository: repository.to_owned(),
            what: what.to_owned(),
            login: reach.login.clone(),
            signer: reach.signer.clone(),
            authorization: Mutex::new(None),
            marks: Mutex::default(),
            patience: Patience::default(),
            cache: reach.cache.clone(),
            limits,
        })
    }

    fn failed(&self, path: &str, what: impl std::fmt::Display) -> Error {
        let message = format!("{}/{} ({path}): {what}", self.url.host(), self.repository);
        Error { kind: ErrorKind::Network, message, hint: None }
    }

    /// Asks once, and once more after logging in if that is what is missing.
    fn get(&self, path: &str, accept: &str, from: u64) -> Tried<Response<Body>> {
        let url = self.url.of_repository(&self.repository, path);
        for again in [false, true] {
            let mut request = self.agent.get(&url).header("Accept", accept);
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
                if let Some(mark) = locked(&self.marks).get(path) {
                    request = request.header("If-Range", mark);
                }
            }
            if let Some(authorization) = &*locked(&self.authorization) {
                request = request.header("Authorization", authorization);
            }
            self.patience.wait();
            let response = request.call().map_err(|error| Failure {
                error: self.failed(path, &error).hint(advice(&error, &self.url)),
                passing: is_passing(&error),
            })?;
            if response.status() != StatusCode::UNAUTHORIZED || again {
                return self.judged(path, response);
            }
            let challenges: Vec<String> = response
                .headers()
                .get_all("WWW-Authenticate")
                .iter()
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect();
            let authorization = auth::answer(&self.agent, &challenges, &self.url, &self.repository, &self.login)?;
            *locked(&self.authorization) = Some(authorization);
        }
        Err(Error::internal("a request was neither answered nor refused").into())
    }

    fn judged(&self, path: &str, mut response: Response<Body>) -> Tried<Response<Body>> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE;
        // To ask again later is worth it if later is soon.
        let too_long = if is_busy { self.patience.asked(response.headers()).err() } else { None };
        let passing = (status.is_server_error() || is_busy) && too_long.is_none();
        let mut said = Vec::new();
        // The status is the news; a complaint that cannot be read only makes the message poorer.
        let _ = response.body_mut().as_reader().take(COMPLAINT_MAX).read_to_end(&mut said);
        let error = self.failed(path, format_args!("the registry answers {status}{}", complaint(&said)));
        if let Some(seconds) = too_long {
            let hint = format!("it asks to wait {seconds} s: try again then, log in, or use a mirror (PVR_MIRRORS)");
            return Err(Failure { error: error.hint(hint), passing });
        }
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => error.hint(
                "is the name right? Hubs say this of what does not exist, too. Else log in: `docker login`, or \
                 PVR_REGISTRY_USERNAME and PVR_REGISTRY_PASSWORD",
            ),
            StatusCode::NOT_FOUND => {
                error.hint("check registry, repository and tag; a tag that is not given is `latest`")
            }
            StatusCode::BAD_REQUEST if !self.url.is_https() => {
                error.hint("it was asked without TLS, because it is on this machine; --cacert or a mirror with https:// asks with it")
            }
            StatusCode::TOO_MANY_REQUESTS => error.hint("wait, log in, or use a mirror (PVR_MIRRORS)"),
            _ => error,
        };
        Err(Failure { error, passing })
    }

    /// A manifest or an index, whole. What a digest names is asked for once.
    fn document(&self, what: &str) -> Result<Vec<u8>> {
        let here = self.cache.as_ref().zip(Digest::parse(what));
        if let Some(bytes) = here.and_then(|(cache, id)| cache.document(&id, self.limits.document)) {
            return Ok(bytes);
        }
        let bytes = self.ask(what)?;
        if let Some((cache, id)) = here
            && Digest::of(&bytes) == id
        {
            // Without it, it is fetched again another time.
            let _ = cache.keep(&bytes);
        }
        Ok(bytes)
    }

    fn ask(&self, what: &str) -> Result<Vec<u8>> {
        let path = format!("manifests/{what}");
        let mut failures = 0;
        loop {
            match self.document_once(&path) {
                Ok(bytes) => return Ok(bytes),
                Err(failure) if failure.passing && failures < self.limits.retries => {
                    failures += 1;
                    pause(failures);
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    fn document_once(&self, path: &str) -> Tried<Vec<u8>> {
        let mut response = self.get(path, ACCEPT, 0)?;
        let kind = response.headers().get("Content-Type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/html") {
            return Err(self.no_registry(path).into());
        }
        let announced = response.body().content_length();
        let limit = self.limits.document as u64;
        let mut bytes = Vec::new();
        response.body_mut().as_reader().take(limit + 1).read_to_end(&mut bytes).map_err(|error| Failure {
            error: self.failed(path, format_args!("the answer breaks off: {error}")),
            passing: true,
        })?;
        if bytes.len() as u64 > limit {
            return Err(self.failed(path, format_args!("the answer is longer than {limit} bytes")).into());
        }
        if announced.is_some_and(|announced| announced != bytes.len() as u64) {
            return Err(Failure { error: self.failed(path, "the answer ends early"), passing: true });
        }
        if bytes.trim_ascii_start().starts_with(b"<") {
            return Err(self.no_registry(path).into());
        }
        Ok(bytes)
    }

    /// Whether the key that is asked for, if one is, has signed one of these. Each is named by the one before it, so that a
    /// signature of an index is one of its images.
    fn check_signed(&self, way: &[Digest]) -> Result<()> {
        let Some(key) = &self.signer else { return Ok(()) };
        let refused = |why: String| {
            Error::user(format!("{}: it is not signed with {}: {why}", self.name(), key.name()))
                .hint("nothing was taken; sign it with `cosign sign --key`, or ask its author for the key")
        };
        let mut reasons = Vec::new();
        for digest in way {
            let tag = cosign::tag(digest);
            let document = match self.document(&tag) {
                Ok(document) => document,
                Err(error) => {
                    reasons.push(error.message);
                    continue;
                }
            };
            let signatures =
                cosign::signatures(&document, self.limits).map_err(|why| refused(format!("{tag}: {why}")))?;
            if signatures.is_empty() {
                reasons.push(format!("{tag} holds no signature of cosign's"));
            }
            for signature in signatures {
                let judged = self.payload(&signature).map_err(|error| error.message);
                match judged.and_then(|payload| key.verify(&signature, &payload, way)) {
                    Ok(()) => return Ok(()),
                    Err(why) => reasons.push(format!("{tag}: {why}")),
                }
            }
        }
        Err(refused(reasons.join("; ")))
    }

    /// The bytes that were signed.
    fn payload(&self, signature: &cosign::Signature) -> Result<Vec<u8>> {
        let blob = Blob { place: signature.payload.to_string(), digest: Some(signature.payload), size: signature.size };
        fetch::document(self, &blob, self.limits)
    }

    fn no_registry(&self, path: &str) -> Error {
        self.failed(path, "this is no registry: it answers a web page")
            .hint("check the host; in a network with a sign-in page, sign in first")
    }
}

impl Source for Registry {
    fn name(&self) -> String {
        let separator = if self.what.starts_with("sha256:") { '@' } else { ':' };
        format!("{}/{}{separator}{}", self.url.host(), self.repository, self.what)
    }

    fn parts(&self, platform: &Choice) -> Result<Parts> {
        let mut what = self.what.clone();
        let mut way = Vec::new();
        for _ in 0..4 {
            let bytes = self.document(&what)?;
            let digest = Digest::of(&bytes);
            if Digest::parse(&what).is_some_and(|wanted| wanted != digest) {
                return Err(self
                    .failed(&what, format_args!("it came as other bytes ({digest})"))
                    .hint("something on the way changes it; try another mirror"));
            }
            way.push(digest);
            match Document::parse(&bytes, self.limits).map_err(|why| self.failed(&what, why))? {
                Document::Manifest(manifest) => {
                    self.check_signed(&way)?;
                    let layers = manifest.layers.iter().map(Blob::from).collect();
                    return Ok(Parts { digest, config: Blob::from(&manifest.config), layers });
                }
                Document::Index(manifests) => what = platform.pick(&self.name(), &manifests)?.digest.to_string(),
            }
        }
        Err(self.failed(&what, "indexes lead to indexes and to no image"))
    }

    fn blob(&self, blob: &Blob, from: u64) -> Tried<Box<dyn Read + '_>> {
        let path = format!("blobs/{}", blob.place);
        let response = self.get(&path, "*/*", from)?;
        if let Some(mark) = mark(response.headers()) {
            locked(&self.marks).insert(path, mark);
        }
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let range = response.headers().get("Content-Range").and_then(|range| range.to_str().ok());
        if is_part && range.is_some_and(|range| !range.starts_with(&format!("bytes {from}-"))) {
            return Err(self.failed(&blob.place, "it sends another part than it was asked for").into());
        }
        let skip = if is_part { 0 } else { from };
        // What ureq limits by itself is meant for documents; the caller counts.
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let skipped = std::io::copy(&mut body.by_ref().take(skip), &mut std::io::sink());
        match skipped {
            Ok(skipped) if skipped == skip => Ok(Box::new(body)),
            _ => Err(Failure {
                error: self.failed(&blob.place, format_args!("it breaks off before byte {from}")),
                passing: true,
            }),
        }
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }
}

/// A value that is whole whoever has held it.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of these very bytes. A weak one is a name of others, too.
fn mark(headers: &HeaderMap) -> Option<String> {
    let mark = headers.get("ETag")?.to_str().ok()?;
    (!mark.starts_with("W/")).then(|| mark.to_owned())
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate<'static>>> {
    certificates(pem).map_err(|why| Error::user(format!("the authorities are no certificates in PEM: {why}")))
}

/// What registries say is wrong, if they say it as they should.
fn complaint(said: &[u8]) -> String {
    let limits = formats::json::Limits::DOCUMENT;
    let parsed = formats::json::parse(said, limits).map(|value| value.to_json());
    let Ok(json) = parsed else { return String::new() };
    let first = json.get("errors").and_then(|errors| match errors {
        formats::json::Json::Array(list) => list.first(),
        _ => None,
    });
    let text = |member: &str| first.and_then(|error| error.get(member)).and_then(|text| text.as_str());
    match (text("code"), text("message")) {
        (_, Some(message)) if !message.is_empty() => format!(": {}", message.escape_default()),
        (Some(code), _) => format!(": {}", code.escape_default()),
        _ => String::new(),
    }
}

fn is_passing(error: &ureq::Error) -> bool {
    use ureq::Error::{ConnectionFailed, Io, Protocol, Timeout};
    !is_about_trust(error) && matches!(error, Io(_) | Timeout(_) | ConnectionFailed | Protocol(_))
}

/// Whether the other side could not prove who it is. What TLS says comes wrapped as an error of reading.
fn is_about_trust(error: &ureq::Error) -> bool {
    use ureq::Error::{Io, Rustls, Tls};
    matches!(error, Tls(_) | Rustls(_)) || matches!(error, Io(inner) if inner.to_string().contains("certificate"))
}

fn advice(error: &ureq::Error, url: &Url) -> &'static str {
    match error {
        ureq::Error::HostNotFound => "check the name of the registry and this machine's name service",
        _ if is_about_trust(error) => "an authority of your own is named with --cacert or PVR_REGISTRY_CACERT",
        ureq::Error::RequireHttpsOnly(_) => "the registry sends to a place without https; that is not followed",
        _ if url.is_loopback() => "is the registry running, and on this port?",
        _ => "check the connection; behind a proxy set HTTPS_PROXY; a mirror is named with PVR_MIRRORS",
    }
}
