//! `pvr login`, `pvr logout`: this workstation and a device get to know each other, and part again.
//!
//! ```text
//!   device: pvcontrol pair ─▶ code ─▶ a person ─▶ POST <base>/pair {"code":…,"name":…} ─▶ {"token":…} ─▶ kept here
//!   every call to that server from then on: Authorization: Bearer <token>
//! ```

use formats::json::{self, Json, Limits};
use formats::pairing::{NAME_MAX, TokenHash, is_name};

use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, Repeat, Server, Tokens, host, nonsense, token};
use crate::remote::address::{Address, Place};
use crate::remote::info::{Info, candidates};
use crate::watch::Watch;

/// A new pairing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paired {
    /// With whom.
    pub server: Server,
    /// The digits by which the device's list tells it apart.
    pub fingerprint: String,
}

/// A pairing that this workstation has given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parted {
    /// With whom it was.
    pub server: Server,
    /// The digits by which the device's list tells it apart, if the token could be read.
    pub fingerprint: Option<String>,
    /// Why the device still has it in its list, if it has.
    pub left: Option<Error>,
}

/// Pairs this workstation, called `name`, with a device. `code` is asked for when the device is found. `client` needs no
/// tokens: one that is there is replaced, and given up on the device.
///
/// # Errors
/// There is no device, it takes no code, or the token cannot be kept.
pub fn login(
    client: &Client,
    tokens: &Tokens,
    address: &Address,
    name: &str,
    code: &mut dyn FnMut(&Server) -> Result<String>,
    watch: &dyn Watch,
) -> Result<Paired> {
    if !is_name(name) {
        return Err(Error::user(format!("{name:?} is no name for a device's list"))
            .hint("letters, digits, and . _ @ - behind the first of them, at most 64"));
    }
    let info = Info::discover(client, url(address)?, watch)?;
    let server = server(&info.base)?;
    let body = Json::object().with("code", code(&server)?.trim()).with("name", name).compact();
    let place = format!("{}/pair", info.base);
    let reply = client.post(&place, "application/json", &body, Limits::DOCUMENT.bytes, Repeat::IfUnsent, watch)?;
    if matches!(reply.status, 404 | 405) {
        let message = format!("{} knows no pairing", host(&info.base));
        return Err(Error { kind: ErrorKind::Device, message, hint: None }
            .hint("it asks nobody for it; if it refuses calls, its software is older than this"));
    }
    let body = reply.success("the code was said")?;
    let value = json::parse(&body, Limits::DOCUMENT).map_err(|error| nonsense(&place, error))?;
    let text = value.as_object().and_then(|answer| answer.get("token")).and_then(|token| token.as_str());
    let new = text.and_then(token).ok_or_else(|| nonsense(&place, "it has no token"))?;
    // One that cannot be read is replaced like any other.
    let old = tokens.get(&server).ok().flatten();
    tokens.set(&server, &new)?;
    if let Some(old) = old {
        client.show(Some((server.clone(), old)));
        // If the device does not hear of it, its list has one that nobody uses.
        let _ = client.delete(&place, watch);
    }
    Ok(Paired { server, fingerprint: TokenHash::of(new.expose()).fingerprint() })
}

/// Forgets the token for a device, and asks the device to forget it too.
///
/// # Errors
/// There is none, or it cannot be removed.
pub fn logout(client: &Client, tokens: &Tokens, address: &Address, watch: &dyn Watch) -> Result<Parted> {
    for base in candidates(url(address)?) {
        let server = server(&base)?;
        let (fingerprint, told) = match tokens.get(&server) {
            Ok(None) => continue,
            Ok(Some(token)) => {
                let fingerprint = TokenHash::of(token.expose()).fingerprint();
                client.show(Some((server.clone(), token)));
                let told = client.delete(&format!("{base}/pair"), watch).and_then(|reply| match reply.status {
                    // It has forgotten it already.
                    401 => Ok(()),
                    _ => reply.success("the pairing was given up").map(drop),
                });
                (Some(fingerprint), told)
            }
            Err(error) => (None, Err(error)),
        };
        tokens.remove(&server)?;
        return Ok(Parted { server, fingerprint, left: told.err() });
    }
    Err(Error::user(format!("this workstation is not paired with {}", address.place.to_text()))
        .hint("is it the address that `pvr login` was given?"))
}

fn url(address: &Address) -> Result<&str> {
    match &address.place {
        Place::Url(url) => Ok(url),
        Place::Directory(_) | Place::Bundle(_) => {
            Err(Error::user(address.place.described()).hint("pairing is for devices: pvr login ADDRESS"))
        }
    }
}

fn server(base: &str) -> Result<Server> {
    Server::of(base)
        .ok_or_else(|| Error::user(format!("{base:?} is not an address")).hint("http://ADDRESS:12368, or just ADDRESS"))
}

/// A name for a device's list, made of whatever user and host are called.
#[must_use]
pub fn name_of(user: &str, host: &str) -> String {
    let joined = if user.is_empty() { host.to_owned() } else { format!("{user}@{host}") };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._@-".contains(c) { c } else { '-' };
    let name: String = joined.chars().map(plain).skip_while(|c| !c.is_ascii_alphanumeric()).take(NAME_MAX).collect();
    if name.is_empty() { "pvr".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_made_of_whatever_user_and_host_are_called() {
        assert_eq!(name_of("me", "my-host"), "me@my-host");
        assert_eq!(name_of("", "my-host"), "my-host");
        assert_eq!(name_of("DOMAIN\\jörg", "pc 7"), "DOMAIN-j-rg@pc-7");
        assert_eq!(name_of("", ""), "pvr");
        assert!(["_x", "..", &"y".repeat(100)].iter().all(|user| is_name(&name_of(user, "h"))));
    }
}
