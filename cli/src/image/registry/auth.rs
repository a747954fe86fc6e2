//! Who asks: credentials as `docker login` keeps them, and the answer to a registry's challenge.
//!
//! ```text
//!   WWW-Authenticate: Bearer realm="https://auth…/token",service="…",scope="repository:…:pull"
//!      └─▶ GET realm?service=…&scope=… [Basic] ─▶ {"token": …} ─▶ Authorization: Bearer …
//!   WWW-Authenticate: Basic realm="…"  ─▶ Authorization: Basic …
//! ```
//!
//! Credentials belong to one host. They go to it, and to the realm that it names if that is https (or this machine).

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding as _};
use formats::json::{self, Json, Limits};
use ureq::Agent;

use super::Url;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::image::source::{Failure, Tried};

/// The most that a server of tokens may answer, in bytes. Tokens are a few kilobytes.
const ANSWER_MAX: u64 = 256 * 1024;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Where credentials are looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Login {
    /// These, before all others.
    pub named: Option<Credentials>,
    /// The directory with the `config.json` of `docker login`.
    pub docker: Option<PathBuf>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials {{ username: {:?}, .. }}", self.username)
    }
}

impl Credentials {
    fn header(&self) -> String {
        format!("Basic {}", Base64::encode_string(format!("{}:{}", self.username, self.password).as_bytes()))
    }
}

impl Login {
    /// The credentials for a host, if there are any.
    ///
    /// # Errors
    /// The configuration cannot be read, or the program it names fails.
    pub fn for_host(&self, host: &str) -> Result<Option<Credentials>> {
        if let Some(named) = &self.named {
            return Ok(Some(named.clone()));
        }
        let Some(path) = self.docker.as_ref().map(|directory| directory.join("config.json")) else { return Ok(None) };
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.context("read", &path)?,
        };
        let value = json::parse(&bytes, Limits::DOCUMENT)
            .map_err(|error| Error::user(format!("{}: {error}", path.display())))?
            .to_json();
        // The hub is kept under a name from its first years.
        let names = match host {
            "registry-1.docker.io" => vec!["https://index.docker.io/v1/".to_owned(), "docker.io".to_owned()],
            host => vec![host.to_owned(), format!("https://{host}"), format!("https://{host}/v2/")],
        };
        for name in &names {
            let helper = value.get("credHelpers").and_then(|helpers| helpers.get(name)).and_then(Json::as_str);
            let entry = value.get("auths").and_then(|auths| auths.get(name));
            let store = entry.and(value.get("credsStore")).and_then(Json::as_str);
            if let Some(helper) = helper.or(store) {
                return ask(helper, name);
            }
            if let Some(auth) = entry.and_then(|entry| entry.get("auth")).and_then(Json::as_str) {
                return decode(auth, &path, name).map(Some);
            }
        }
        Ok(None)
    }
}

fn decode(auth: &str, path: &Path, name: &str) -> Result<Credentials> {
    let wrong = || {
        Error::user(format!("{}: auths: {name}: `auth` is not NAME:PASSWORD in base64", path.display()))
            .hint("log in again: `docker login`")
    };
    let text = Base64::decode_vec(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
    let (username, password) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Credentials { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// Asks the program that keeps the passwords.
fn ask(helper: &str, name: &str) -> Result<Option<Credentials>> {
    let program = format!("docker-credential-{helper}");
    let wrong = |what: String| Error::user(format!("{program}: {what}")).hint("log in again: `docker login`");
    if helper.is_empty() || !helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(wrong("this is no name of a program".into()));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| wrong(format!("it cannot be run: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not listen says so by how it ends.
        let _ = input.write_all(name.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_MAX).read_to_end(&mut answer).map_err(|error| wrong(error.to_string()))?;
    }
    let status = child.wait().map_err(|error| wrong(error.to_string()))?;
    let said = String::from_utf8_lossy(&answer).trim().to_owned();
    if !status.success() {
        return if said.contains("not found") {
            Ok(None)
        } else {
            Err(wrong(format!("it ends with {status}: {said}")))
        };
    }
    let json = json::parse(&answer, Limits::DOCUMENT).map_err(|error| wrong(error.to_string()))?.to_json();
    let text = |member: &str| json.get(member).and_then(Json::as_str).map(str::to_owned);
    match (text("Username"), text("Secret")) {
        (Some(username), Some(_)) if username == "<token>" => {
            Err(wrong("it keeps an identity token, which is not supported; log in with a name and a password".into()))
        }
        (Some(username), Some(password)) => Ok(Some(Credentials { username, password })),
        _ => Err(wrong("its answer has no Username and Secret".into())),
    }
}

/// What to say to a registry that has refused with these challenges.
pub(super) fn answer(
    agent: &Agent,
    challenges: &[String],
    url: &Url,
    repository: &str,
    login: &Login,
) -> Tried<String> {
    let host = url.host();
    let network = |message: String| Error { kind: ErrorKind::Network, message, hint: None };
    let credentials = login.for_host(host)?;
    let parsed: Vec<_> = challenges.iter().filter_map(|text| parse(text)).collect();
    if let Some((_, parameters)) = parsed.iter().find(|(scheme, _)| scheme == "bearer") {
        let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let realm = get("realm").ok_or_else(|| network(format!("{host}: its challenge names no realm")))?;
        return token(agent, realm, get("service"), get("scope"), repository, credentials.as_ref());
    }
    if parsed.iter().any(|(scheme, _)| scheme == "basic") {
        let credentials = credentials.ok_or_else(|| {
            network(format!("{host} wants a name and a password"))
                .hint(format!("`docker login {host}`, or PVR_REGISTRY_USERNAME and PVR_REGISTRY_PASSWORD"))
        })?;
        return Ok(credentials.header());
    }
    Err(network(format!("{host} wants to know who asks, in a way that is not supported ({})", challenges.join("; ")))
        .into())
}

fn token(
    agent: &Agent,
    realm: &str,
    service: Option<&str>,
    scope: Option<&str>,
    repository: &str,
    credentials: Option<&Credentials>,
) -> Tried<String> {
    let network = |what: String| Error { kind: ErrorKind::Network, message: format!("{realm}: {what}"), hint: None };
    let safe = realm.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        Url::parse(&format!("{scheme}://{host}")).is_some_and(|url| url.is_safe())
    });
    if !safe {
        return Err(network("a registry sends there for a token; it is no place with https".into()).into());
    }
    let scope = scope.map_or_else(|| format!("repository:{repository}:pull"), str::to_owned);
    let mut request = agent.get(realm).query("scope", &scope);
    if let Some(service) = service {
        request = request.query("service", service);
    }
    if let Some(credentials) = credentials {
        request = request.header("Authorization", credentials.header());
    }
    let mut response = request
        .call()
        .map_err(|error| Failure { error: network(error.to_string()), passing: super::is_passing(&error) })?;
    let status = response.status();
    if !status.is_success() {
        let error = network(format!("no token for {repository}: it answers {status}"));
        let error = match (status.as_u16(), credentials) {
            (401 | 403, Some(one)) => {
                error.hint(format!("name or password of {:?} are not (any more) right", one.username))
            }
            (401 | 403, None) => {
                error.hint("log in: `docker login`, or PVR_REGISTRY_USERNAME and PVR_REGISTRY_PASSWORD")
            }
            _ => error,
        };
        return Err(Failure { error, passing: status.is_server_error() });
    }
    let mut body = Vec::new();
    response
        .body_mut()
        .as_reader()
        .take(ANSWER_MAX)
        .read_to_end(&mut body)
        .map_err(|error| Failure { error: network(error.to_string()), passing: true })?;
    let limits = Limits { bytes: ANSWER_MAX as usize, ..Limits::DOCUMENT };
    let json =
        json::parse(&body, limits).map_err(|error| network(format!("its answer is no JSON: {error}")))?.to_json();
    let token = json.get("token").or_else(|| json.get("access_token")).and_then(Json::as_str);
    let token = token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    Ok(format!("Bearer {}", token.ok_or_else(|| network("its answer has no token".into()))?))
}

/// A challenge: its scheme in small letters, and its parameters.
fn parse(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let mut parameters = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if rest.is_empty() {
            return Some((scheme.to_ascii_lowercase(), parameters));
        }
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_may_have_commas_in_its_quotes() {
        let (scheme, parameters) =
            parse(r#"BEARER realm="https://a/t?x=1", service=s,scope="repository:a/b:pull,push""#).unwrap();
        assert_eq!(scheme, "bearer");
        let expected = [("realm", "https://a/t?x=1"), ("service", "s"), ("scope", "repository:a/b:pull,push")];
        assert_eq!(parameters, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(parse("Basic"), Some(("basic".into(), vec![])));
        assert_eq!(parse(r#"Bearer realm="a"#), None);
    }

    #[test]
    fn credentials_are_found_where_docker_login_puts_them() {
        let scratch = tempfile::tempdir().unwrap();
        let login = Login { named: None, docker: Some(scratch.path().into()) };
        assert_eq!(login.for_host("a"), Ok(None));
        let auth = Base64::encode_string(b"me:pass:word");
        let config = format!(
            r#"{{"auths":{{"a:5000":{{"auth":"{auth}"}},"https://index.docker.io/v1/":{{"auth":"{auth}"}},"b":{{"auth":"?"}}}}}}"#
        );
        std::fs::write(scratch.path().join("config.json"), config).unwrap();
        let me = Credentials { username: "me".into(), password: "pass:word".into() };
        assert_eq!(login.for_host("a:5000"), Ok(Some(me.clone())));
        assert_eq!(login.for_host("registry-1.docker.io"), Ok(Some(me)));
        assert_eq!(login.for_host("a"), Ok(None));
        assert!(login.for_host("b").unwrap_err().message.contains("base64"));
        assert!(!format!("{login:?}").contains("word"));
    }
}
