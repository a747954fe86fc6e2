//! What a remote says about an object, and where its bytes go.
//!
//! ```text
//!   {"id":"<sha256>","storage-id":"…","owner":"…","objectname":"web/root.squashfs","sha256sum":"<sha256>","size":"123",
//!    "mime-type":"application/octet-stream","signed-puturl":"…","signed-geturl":"…","now":"…","expire-time":"…"}
//! ```
//!
//! Sizes are decimal numbers in strings. Who announces an object sends the same document with empty addresses.

use formats::json::{self, Json, Limits};
use formats::object::ObjectId;

use crate::error::Result;
use crate::http::{Client, Repeat, Reply, nonsense};
use crate::remote::info::{Info, checked};
use crate::watch::Watch;

/// An object that a remote has or wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its size in bytes, if the remote says so.
    pub size: Option<u64>,
    /// Where its bytes come from.
    pub get: Option<String>,
    /// Where its bytes go.
    pub put: Option<String>,
}

/// What came of announcing an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Announced {
    /// It is there.
    Present,
    /// It is to be put there.
    Wanted(String),
}

impl Record {
    /// Asks for the record of an object; `key` is for messages.
    ///
    /// # Errors
    /// The remote does not have it, or its record cannot be used.
    pub fn get(client: &Client, info: &Info, id: ObjectId, key: &str, watch: &dyn Watch) -> Result<Self> {
        let url = format!("{}/{id}", info.objects);
        let reply = client.get(&url, Limits::DOCUMENT.bytes, Repeat::Harmless, watch)?;
        if reply.status == 404 {
            return Err(reply.refused("").hint(format!("{key} needs this object: the state there is not complete")));
        }
        Self::parse(info, id, reply, &format!("it was asked for the object of {key}"))
    }

    /// The same; `None` if the remote does not have it.
    ///
    /// # Errors
    /// Nobody answers, or the record cannot be used.
    pub fn find(client: &Client, info: &Info, id: ObjectId, key: &str, watch: &dyn Watch) -> Result<Option<Self>> {
        let url = format!("{}/{id}", info.objects);
        let reply = client.get(&url, Limits::DOCUMENT.bytes, Repeat::Harmless, watch)?;
        if reply.status == 404 {
            return Ok(None);
        }
        Self::parse(info, id, reply, &format!("it was asked for the object of {key}")).map(Some)
    }

    /// Tells the remote of an object that it is going to need.
    ///
    /// # Errors
    /// It does not want it, or its answer cannot be used.
    pub fn announce(
        client: &Client,
        info: &Info,
        id: ObjectId,
        key: &str,
        size: u64,
        watch: &dyn Watch,
    ) -> Result<Announced> {
        let url = format!("{}/", info.objects);
        let body = announcement(id, key, size).compact();
        let limit = Limits::DOCUMENT.bytes;
        let reply = client.post(&url, "application/json", &body, limit, Repeat::Harmless, watch)?;
        if reply.status == 409 {
            return Ok(Announced::Present);
        }
        let record = Self::parse(info, id, reply, &format!("{key} was announced"))?;
        record.put.map(Announced::Wanted).ok_or_else(|| nonsense(&url, "it does not say where the object is to go"))
    }

    fn parse(info: &Info, id: ObjectId, reply: Reply, asked: &str) -> Result<Self> {
        let url = reply.url.clone();
        let body = reply.success(asked)?;
        let value = json::parse(&body, Limits::DOCUMENT).map_err(|error| nonsense(&url, error))?;
        let members = value.as_object().ok_or_else(|| nonsense(&url, "it is not an object"))?;
        let text = |name: &str| members.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
        if text("sha256sum").and_then(ObjectId::parse).is_some_and(|other| other != id) {
            return Err(nonsense(&url, "it is about another object"));
        }
        let address = |name: &str| text(name).map(|value| checked(&info.base, &url, name, value)).transpose();
        let size = members.get("size").and_then(|size| match size.as_str() {
            Some(text) => text.parse().ok(),
            None => size.as_u64(),
        });
        Ok(Self { size, get: address("signed-geturl")?, put: address("signed-puturl")? })
    }
}

fn announcement(id: ObjectId, key: &str, size: u64) -> Json {
    let mut record = Json::object();
    for name in ["id", "storage-id", "owner"] {
        record.set(name, "");
    }
    record = record
        .with("objectname", key)
        .with("sha256sum", id.to_string().as_str())
        .with("size", size.to_string().as_str())
        .with("mime-type", "application/octet-stream");
    for name in ["signed-puturl", "signed-geturl", "now", "expire-time"] {
        record.set(name, "");
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_has_every_member_in_the_order_that_servers_know() {
        let id = ObjectId::of(b"");
        assert_eq!(
            announcement(id, "web/x", 123).compact(),
            format!(
                r#"{{"id":"","storage-id":"","owner":"","objectname":"web/x","sha256sum":"{id}","size":"123","mime-type":"application/octet-stream","signed-puturl":"","signed-geturl":"","now":"","expire-time":""}}"#
            )
        );
    }
}
