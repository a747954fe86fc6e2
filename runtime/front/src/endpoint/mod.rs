//! The endpoint for `pvr`: clone and post over HTTP on the device's own network.
//!
//! Promises: it is called by a name that only this device has ([`host`]); a web page gets no answer; objects and states
//! go to PID 1, which checks them before anybody sees them. A revision that is posted is run. Where this is more than the
//! device's loopback, PID 1 wants the token of a pairing for everything but the entry and the pairing itself.
//!
//! ```text
//!   POST …/pair {"code":…,"name":…} ─▶ 200 {"token":…}
//!   POST …/objects/ (record) ─▶ 200 with signed-puturl, or 409: it is here
//!   PUT  …/objects/SHA256/bytes
//!   POST …/post ─▶ Begin, Put…, Finish, SetMessage, Run ─▶ 200 {"rev":-1,"revlocal":"locals/…",…}
//! ```

pub mod host;
pub mod pair;
pub mod post;
pub mod route;

use std::time::{SystemTime, UNIX_EPOCH};

use formats::control::{Call, Reply, Upload};
use formats::json::{Json, Number};

use crate::control::route::{RouteError, StepName};
use crate::http::{Answer, Body, Conn, Content, Head, Method};
use crate::serve::{Asker, Fail, Handled};
use crate::transfer;
use pair::PAIR_MAX;
use post::{POST_MAX, RECORD_MAX};
use route::Route;

/// Answers one request. `pvr` shows the body of an error to a person as it is, so it is text.
pub(crate) async fn handle(asker: &Asker<'_>, conn: &mut Conn, head: &Head, body: &mut Body) -> Handled {
    answer(asker, conn, head, body).await.map_err(|fail| match fail {
        Fail::Answer(answer) => Fail::Answer(answer.plain()),
        other => other,
    })
}

async fn answer(asker: &Asker<'_>, conn: &mut Conn, head: &Head, body: &mut Body) -> Handled {
    let Some(host) = head.host.as_deref().filter(|host| host::may_name_us(host)) else {
        return Err(Fail::new(403, "call this device by its address or by its name in .local"));
    };
    let url = |route: Route| format!("http://{host}{route}");
    let route = match route::route(&head.path) {
        Ok(route) => route,
        Err(RouteError::Unknown) => return Err(Fail::new(404, "there is nothing here")),
        Err(RouteError::Name(why)) => return Err(Fail::new(400, &why)),
    };
    match (head.method, route) {
        (Method::Get, Route::Remote) => Ok(Some(Answer::json(&remote(&url)))),
        (Method::Post, Route::Pair) => pair(asker, conn, body).await,
        (Method::Delete, Route::Pair) => match asker.ask(Call::Leave).await? {
            Reply::Done => Ok(Some(Answer::done())),
            _ => Err(Fail::mismatch()),
        },
        (Method::Get, Route::State(name)) => {
            let revision = name.revision();
            let piece = |offset| Call::ReadStep { revision: revision.clone(), offset };
            transfer::download(asker, Content::Json, conn, body, piece).await
        }
        (Method::Get, Route::Progress(revision)) => match asker.ask(Call::Progress(revision)).await? {
            Reply::Text(text) => Ok(Some(Answer { content: Content::Json, ..Answer::text(&text) })),
            _ => Err(Fail::mismatch()),
        },
        (Method::Get, Route::Record(id)) => match asker.ask(Call::SizeOfObject(id)).await? {
            Reply::Size(size) => {
                Ok(Some(Answer::json(&post::shown_record(id, "", Some(size), &url(Route::Bytes(id))))))
            }
            _ => Err(Fail::mismatch()),
        },
        (Method::Get, Route::Bytes(id)) => {
            transfer::download(asker, Content::Bytes, conn, body, |offset| Call::ReadObject { id, offset }).await
        }
        (Method::Put, Route::Bytes(id)) => {
            transfer::upload(asker, Upload::Object(id), conn, body).await?;
            Ok(Some(Answer::done()))
        }
        (Method::Post, Route::Objects) => announce(asker, conn, body, &url).await,
        (Method::Post, Route::Post) => revision(asker, conn, body).await,
        (_, route) => {
            let allowed = match route {
                Route::Remote | Route::State(_) | Route::Progress(_) | Route::Record(_) => "GET",
                Route::Bytes(_) => "GET, PUT",
                Route::Pair => "POST, DELETE",
                Route::Objects | Route::Post => "POST",
            };
            Err(Fail::Answer(Answer::error(405, "not with this method").with("Allow", allowed)))
        }
    }
}

/// What there is, as absolute URLs.
fn remote(url: &impl Fn(Route) -> String) -> Json {
    let list = |name: &str| Json::Array(vec![name.into()]);
    Json::object()
        .with("pvr-spec", "pvr-pantahub-1")
        .with("json-get-url", url(Route::State(StepName::Current)))
        .with("json-key", "state")
        .with("objects-endpoint", url(Route::Objects))
        .with("post-url", url(Route::Post))
        .with("post-fields", list("commit-msg"))
        .with("post-fields-opt", list("rev"))
}

/// A client says the code that a person has read on the device.
async fn pair(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body) -> Handled {
    if body.left > PAIR_MAX as u64 {
        return Err(Fail::new(413, &format!("the body has at most {PAIR_MAX} bytes here")));
    }
    let call = pair::read(&conn.piece(body).await?).map_err(|why| Fail::new(400, why))?;
    match asker.ask(call).await? {
        Reply::Token(token) => Ok(Some(Answer::json(&Json::object().with("token", token.expose())))),
        _ => Err(Fail::mismatch()),
    }
}

/// A client says which object it is going to send.
async fn announce(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, url: &impl Fn(Route) -> String) -> Handled {
    let bytes = whole(asker, conn, body, RECORD_MAX).await?;
    let (id, name, size) = post::record(&bytes).map_err(|why| Fail::new(400, &why))?;
    // As if it came now: so one that does not fit is refused before it is sent, and one that is damaged is wanted again.
    match asker.ask(Call::Begin { what: Upload::Object(id), size: size.unwrap_or(0) }).await? {
        Reply::Done => {
            Err(Fail::Answer(Answer::error(409, "the object is here").with("Pantahub-Object-Type", "object")))
        }
        Reply::Upload(upload) => {
            asker.ask(Call::Abandon { upload }).await?;
            Ok(Some(Answer::json(&post::shown_record(id, &name, size, &url(Route::Bytes(id))))))
        }
        _ => Err(Fail::mismatch()),
    }
}

/// A client posts a revision, which is run.
async fn revision(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body) -> Handled {
    let bytes = whole(asker, conn, body, POST_MAX).await?;
    let posted = post::post(&bytes).map_err(|why| Fail::new(400, &why))?;
    let name = match posted.name {
        Some(name) => name,
        None => post::chosen_name(posted.state, now_ms()).map_err(|why| Fail::new(400, &why))?,
    };
    transfer::upload_bytes(asker, Upload::State(name.clone()), posted.state.as_bytes()).await?;
    if let Some(message) = posted.message {
        asker.ask(Call::SetMessage { revision: name.clone(), message }).await?;
    }
    asker.ask(Call::Run { revision: name.clone(), retry: posted.retry }).await?;
    let answer = Json::object()
        .with("rev", Json::Number(Number::from(-1_i64)))
        .with("revlocal", name.to_string())
        .with("state-sha", post::digest(posted.state))
        // A device without a hub has no trail there.
        .with("trail-id", "");
    Ok(Some(Answer::json(&answer)))
}

/// A whole body, of somebody who may send one. Each place of the endpoint can hold one state like this; parsing it takes
/// no turn of anybody else's, so there is never more than one tree.
async fn whole(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, max: usize) -> Result<Vec<u8>, Fail> {
    if body.left > max as u64 {
        return Err(Fail::new(413, &format!("the body has at most {max} bytes here")));
    }
    // Whoever is not let in is not listened to either.
    match asker.ask(Call::Enter).await? {
        Reply::Done => {}
        _ => return Err(Fail::mismatch()),
    }
    let mut bytes = Vec::with_capacity(max.min(usize::try_from(body.left).unwrap_or(max)));
    loop {
        let piece = conn.piece(body).await?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&piece);
    }
}

/// Milliseconds since 1970 by the device's clock; with a clock that is wrong the name is still one of its own.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
