//! What clients post: a new revision, and the record of an object that they are going to send.
//!
//! The state of a revision is taken as the text it has inside the request, byte for byte, because that is what was
//! signed.

use formats::control::TEXT_MAX;
use formats::json::{self, Json, Limits, Value};
use formats::object::{ObjectId, sha256};
use statemachine::ids::RevisionId;

/// The most bytes of a posted revision: a state, and what stands around it.
pub const POST_MAX: usize = Limits::STATE.bytes + 16 * 1024;
/// The most bytes of a posted record.
pub const RECORD_MAX: usize = 16 * 1024;

/// A posted revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post<'a> {
    /// The text of the state.
    pub state: &'a str,
    /// What its maker says about it.
    pub message: Option<String>,
    /// The name it is to have; `None`: the device chooses.
    pub name: Option<RevisionId>,
    /// Also if its content was tried before and found bad.
    pub retry: bool,
}

/// Reads a posted revision: `{"commit-msg":"…","rev":-1,"state":{…}}`.
///
/// `"retry":true` tries once more what was found bad. `rev` is -1 (the device chooses), a number, `locals/NAME` or `NAME`; any name becomes one of a local revision.
///
/// # Errors
/// What is wrong, for the client.
pub fn post(bytes: &[u8]) -> Result<Post<'_>, String> {
    let limits = Limits {
        bytes: POST_MAX,
        depth: Limits::STATE.depth.saturating_add(1),
        values: Limits::STATE.values.saturating_add(64),
    };
    let value = json::parse(bytes, limits).map_err(|error| format!("the body is not JSON: {error}"))?;
    let body = value.as_object().ok_or("the body must be an object")?;
    let state = body.get("state").ok_or("the member \"state\" is missing")?;
    if state.as_object().is_none() {
        return Err("the member \"state\" must be an object".into());
    }
    let message = match body.get("commit-msg") {
        None => None,
        Some(text) => Some(text.as_str().ok_or("the member \"commit-msg\" must be a string")?),
    };
    if message.is_some_and(|text| text.len() > TEXT_MAX) {
        return Err(format!("the commit message has at most {TEXT_MAX} bytes"));
    }
    let message = message.filter(|text| !text.is_empty()).map(Into::into);
    let retry = match body.get("retry") {
        None => false,
        Some(retry) => retry.as_bool().ok_or("the member \"retry\" must be true or false")?,
    };
    Ok(Post { state: state.raw(), message, name: name(body.get("rev"))?, retry })
}

fn name(rev: Option<&Value<'_>>) -> Result<Option<RevisionId>, String> {
    let Some(rev) = rev.filter(|rev| rev.raw() != "-1") else { return Ok(None) };
    let name = match (rev.as_str(), rev.as_u64()) {
        (Some(text), _) => text.strip_prefix("locals/").unwrap_or(text).to_string(),
        (None, Some(number)) => number.to_string(),
        (None, None) => return Err("the member \"rev\" must be -1, a number or a name".into()),
    };
    RevisionId::parse(&format!("locals/{name}")).map(Some).map_err(|error| error.to_string())
}

/// The name that the device chooses for a state: no two of them in one millisecond unless they are the same state.
///
/// # Errors
/// What is wrong, for the client.
pub fn chosen_name(state: &str, now_ms: u64) -> Result<RevisionId, String> {
    let hash = digest(state);
    let name = format!("locals/pvr-{now_ms}-{}", hash.get(..8).unwrap_or_default());
    RevisionId::parse(&name).map_err(|error| error.to_string())
}

/// The SHA-256 of a state's text, as clients are told it.
#[must_use]
pub fn digest(state: &str) -> String {
    ObjectId::from_digest(sha256(state.as_bytes())).to_string()
}

/// A posted record: which object, and the name of the file that it is for its maker.
///
/// # Errors
/// What is wrong, for the client.
pub fn record(bytes: &[u8]) -> Result<(ObjectId, String, Option<u64>), String> {
    let limits = Limits { bytes: RECORD_MAX, depth: 4, values: 64 };
    let value = json::parse(bytes, limits).map_err(|error| format!("the body is not JSON: {error}"))?;
    let text = |member| value.as_object().and_then(|body| body.get(member)).and_then(Value::as_str);
    let id =
        text("sha256sum").and_then(ObjectId::parse).ok_or("the member \"sha256sum\" must be 64 lower-case digits")?;
    let size = text("size").and_then(|size| size.parse().ok());
    Ok((id, text("objectname").unwrap_or_default().into(), size))
}

/// The record of an object as clients read it.
#[must_use]
pub fn shown_record(id: ObjectId, name: &str, size: Option<u64>, bytes_url: &str) -> Json {
    let id = id.to_string();
    Json::object()
        .with("id", id.as_str())
        .with("storage-id", id.as_str())
        .with("owner", "")
        .with("objectname", name)
        .with("sha256sum", id.as_str())
        .with("size", size.map_or_else(String::new, |size| size.to_string()))
        .with("mime-type", "application/octet-stream")
        .with("signed-puturl", bytes_url)
        .with("signed-geturl", bytes_url)
        .with("now", "")
        .with("expire-time", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(rev: &str) -> Result<Option<RevisionId>, String> {
        post(format!(r#"{{"rev":{rev},"state":{{}}}}"#).as_bytes()).map(|post| post.name)
    }

    #[test]
    fn a_state_is_the_text_that_was_signed() {
        let body = br##"{"commit-msg":"first","rev":-1,"state":{"#spec" :"x", "a":1e3},"trail-id":"y"}"##;
        let post = post(body).unwrap();
        assert_eq!(post.state, r##"{"#spec" :"x", "a":1e3}"##);
        assert_eq!((post.message.as_deref(), post.name), (Some("first"), None));
    }

    #[test]
    fn a_name_is_one_of_a_local_revision_or_chosen_here() {
        let local = |name: &str| Ok(Some(RevisionId::parse(name).unwrap()));
        assert_eq!(named("-1"), Ok(None));
        assert_eq!(named("7"), local("locals/7"));
        assert_eq!(named(r#""locals/app-2""#), local("locals/app-2"));
        assert_eq!(named(r#""app-2""#), local("locals/app-2"));
        for bad in ["-2", "1.5", "null", "{}", r#""""#, r#""../x""#, r#""locals/a/b""#, r#""locals/locals/a""#] {
            assert!(named(bad).is_err(), "{bad}");
        }
        assert_eq!(chosen_name("{}", 12).unwrap().as_str(), "locals/pvr-12-44136fa3");
        assert!(chosen_name("{}", u64::MAX).is_ok());
    }

    #[test]
    fn what_was_found_bad_is_tried_again_only_if_that_is_said() {
        let retry = |members: &str| post(format!("{{{members}\"state\":{{}}}}").as_bytes()).map(|post| post.retry);
        assert_eq!((retry(""), retry("\"retry\":true,")), (Ok(false), Ok(true)));
        assert!(retry("\"retry\":1,").is_err());
    }

    #[test]
    fn what_is_no_revision_is_refused() {
        let long = format!(r#"{{"commit-msg":"{}","state":{{}}}}"#, "m".repeat(TEXT_MAX + 1));
        for bad in
            ["", "[]", "{}", r#"{"state":"{}"}"#, r#"{"state":{},"state":{}}"#, r#"{"state":{},"commit-msg":1}"#, &long]
        {
            assert!(post(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_names_its_object_by_the_hash() {
        let id = ObjectId::of(b"x");
        let text = format!(r#"{{"id":"","objectname":"app/root","sha256sum":"{id}","size":"1"}}"#);
        assert_eq!(record(text.as_bytes()), Ok((id, "app/root".into(), Some(1))));
        assert!(record(br#"{"sha256sum":"abc"}"#).is_err());
        let shown = shown_record(id, "app/root", Some(1), "http://h/x");
        assert_eq!(shown.get("size"), Some(&Json::from("1")));
        assert_eq!(shown.get("signed-puturl"), Some(&Json::from("http://h/x")));
    }
}
