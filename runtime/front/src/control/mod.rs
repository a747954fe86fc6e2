//! `pv-ctrl`: the REST interface for containers and for people on the device.
//!
//! Promises: the endpoints, bodies and codes of existing tools. An unknown endpoint, and a known one with a method that
//! it does not have, is 400. Who may ask is decided by PID 1 for every request, also for those that are answered here.

pub mod body;
mod program;
mod render;
pub mod route;

use formats::control::{Call, LogPiece, Reply, StepView, TEXT_MAX, Upload};
use formats::json::{Json, Limits};
use formats::log_times;
use formats::metadata::{Key, Metadata, VALUE_MAX};
use formats::path::ContainerName;
use statemachine::ids::RevisionId;

use crate::http::{Answer, Body, Conn, Content, Head, Method};
use crate::serve::{Asker, Fail, Handled};
use crate::transfer;
use body::{ACTION_MAX, COMMAND_MAX, PROGRAM_MAX};
use route::{Route, RouteError, StepName};

/// Answers one request.
pub(crate) async fn handle(asker: &Asker<'_>, conn: &mut Conn, head: &Head, body: &mut Body) -> Handled {
    if !is_local(head.host.as_deref()) {
        return Err(Fail::new(403, "the Host of this socket is localhost"));
    }
    let route = match route::route(&head.path) {
        Ok(route) => route,
        Err(RouteError::Unknown) => return Err(unknown(head)),
        Err(RouteError::Name(why)) => return Err(Fail::new(400, &why)),
    };
    match (head.method, route) {
        (Method::Get, route) => get(asker, conn, head, body, route).await,
        (Method::Put, Route::Container(name)) => act(asker, conn, body, name, false).await,
        (Method::Put, Route::Daemon(name)) => act(asker, conn, body, name, true).await,
        (Method::Put, Route::Object(id)) => {
            transfer::upload(asker, Upload::Object(id), conn, body).await?;
            Ok(Some(Answer::done()))
        }
        (Method::Put, Route::Step(StepName::Named(revision))) => put_step(asker, conn, body, revision).await,
        (Method::Put, Route::Message(StepName::Named(revision))) => message(asker, conn, body, revision).await,
        (Method::Post, Route::Programs(name)) => program::start(asker, conn, body, &name).await,
        (Method::Post, Route::Console(name)) => program::attach(asker, conn, body, &name).await,
        (Method::Put, Route::Program(program)) => {
            let signal =
                body::program_signal(&small(conn, body, ACTION_MAX).await?).map_err(|why| Fail::new(400, &why))?;
            done(asker.ask(Call::SignalProgram { program, signal }).await?)
        }
        (Method::Post, Route::Signal) => {
            let call = body::signal(&small(conn, body, ACTION_MAX).await?).map_err(|why| Fail::new(400, &why))?;
            done(asker.ask(call).await?)
        }
        (Method::Post, Route::Commands) => {
            let call = body::command(&small(conn, body, COMMAND_MAX).await?).map_err(|why| Fail::new(400, &why))?;
            match asker.ask(call).await? {
                // The command `RUN_GC` says nothing about its result, unlike the endpoint.
                Reply::Reclaimed(_) => done(Reply::Done),
                reply => done(reply),
            }
        }
        (Method::Post, Route::Collect) => match asker.ask(Call::Collect).await? {
            Reply::Reclaimed(bytes) => Ok(Some(Answer::json(&Json::object().with("reclaimed", bytes)))),
            _ => Err(Fail::mismatch()),
        },
        (Method::Post, Route::Selftest) => match asker.ask(Call::Rewrite).await? {
            Reply::Laws(views) => array(&views, render::law),
            _ => Err(Fail::mismatch()),
        },
        (Method::Post, Route::Pairings) => match asker.ask(Call::OfferPairing).await? {
            Reply::Code { code, seconds } => Ok(Some(Answer::json(&render::code(&code, seconds)))),
            _ => Err(Fail::mismatch()),
        },
        (Method::Put, Route::ActOnDrivers(name, load)) => done(asker.ask(Call::ActOnDrivers { name, load }).await?),
        (Method::Put, Route::Metadata(of, key)) => set_metadata(asker, conn, body, of, &key).await,
        (Method::Delete, Route::Metadata(of, key)) => {
            done(asker.ask(Call::RemoveMetadata { of, key: key.as_str().into() }).await?)
        }
        (Method::Delete, Route::Pairing(who)) => done(asker.ask(Call::Unpair { who }).await?),
        _ => Err(unknown(head)),
    }
}

async fn get(asker: &Asker<'_>, conn: &mut Conn, head: &Head, body: &mut Body, route: Route) -> Handled {
    match route {
        Route::Device => match asker.ask(Call::Device).await? {
            Reply::Device(view) => Ok(Some(Answer::json(&render::device(&view)))),
            _ => Err(Fail::mismatch()),
        },
        Route::Containers => match asker.ask(Call::Containers).await? {
            Reply::Containers(views) => array(&views, render::container),
            _ => Err(Fail::mismatch()),
        },
        Route::Container(name) => match asker.ask(Call::Inspect { name: name.as_str().into() }).await? {
            Reply::Inspected(view) => Ok(Some(Answer::json(&render::inspected(&view)))),
            _ => Err(Fail::mismatch()),
        },
        Route::Log(name, from, timed) => {
            match asker.ask(Call::ReadLog { name: name.as_str().into(), from, timed }).await? {
                Reply::Log(piece) => Ok(Some(log(piece))),
                _ => Err(Fail::mismatch()),
            }
        }
        Route::Groups => match asker.ask(Call::Groups).await? {
            Reply::Groups(views) => array(&views, render::group),
            _ => Err(Fail::mismatch()),
        },
        Route::Daemons => match asker.ask(Call::Daemons).await? {
            Reply::Daemons(views) => array(&views, render::daemon),
            _ => Err(Fail::mismatch()),
        },
        // Tools expect an object of a container that declares none.
        Route::Drivers => match asker.ask(Call::Drivers).await? {
            Reply::Drivers(views) if views.is_empty() => Ok(Some(Answer::json(&Json::object()))),
            Reply::Drivers(views) => array(&views, render::driver),
            _ => Err(Fail::mismatch()),
        },
        Route::Pairings => match asker.ask(Call::Pairings).await? {
            Reply::Pairings(views) => array(&views, render::pairing),
            _ => Err(Fail::mismatch()),
        },
        Route::AllMetadata(of) => metadata(asker, of).await,
        Route::Objects => {
            let views = |reply| if let Reply::Objects(views) = reply { Some(views) } else { None };
            transfer::list(asker, |after| Call::Objects { after }, views, |last| last.id, render::object).await
        }
        Route::Steps => {
            let views = |reply| if let Reply::Steps(views) = reply { Some(views) } else { None };
            let key = |last: &StepView| last.revision.clone();
            transfer::list(asker, |after| Call::Steps { after }, views, key, render::step).await
        }
        Route::Object(id) => {
            transfer::download(asker, Content::Bytes, conn, body, |offset| Call::ReadObject { id, offset }).await
        }
        Route::Step(name) => {
            let revision = name.revision();
            let piece = |offset| Call::ReadStep { revision: revision.clone(), offset };
            transfer::download(asker, Content::Json, conn, body, piece).await
        }
        Route::Progress(name) => {
            let revision = match name {
                StepName::Named(revision) => revision,
                StepName::Current => running(asker).await?,
            };
            match asker.ask(Call::Progress(revision)).await? {
                Reply::Text(text) => Ok(Some(Answer { body: text.into_bytes(), ..Answer::done() })),
                _ => Err(Fail::mismatch()),
            }
        }
        // Answered here; that PID 1 is asked at all is for the permission.
        Route::BuildInfo => match asker.ask(Call::Device).await? {
            Reply::Device(_) => Ok(Some(Answer::text(&asker.shared.buildinfo))),
            _ => Err(Fail::mismatch()),
        },
        // No links between containers are made yet, so the graph of them has no edge.
        Route::Graph => match asker.ask(Call::Device).await? {
            Reply::Device(_) => Ok(Some(Answer::json(&Json::Array(Vec::new())))),
            _ => Err(Fail::mismatch()),
        },
        _ => Err(unknown(head)),
    }
}

/// A piece of a log: its bytes, and in the head where it goes on and when it was read.
fn log(LogPiece { bytes, place, lost, times }: LogPiece) -> Answer {
    let mut answer = Answer { content: Content::Bytes, body: bytes, ..Answer::done() };
    if let Some(place) = place {
        answer = answer.with("Log-Place", route::shown(place));
    }
    if !times.is_empty() {
        answer = answer.with("Log-Times", log_times::to_text(&times));
    }
    if lost { answer.with("Log-Lost", "1") } else { answer }
}

async fn act(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, name: ContainerName, daemon: bool) -> Handled {
    let action = body::action(&small(conn, body, ACTION_MAX).await?).map_err(|why| Fail::new(400, &why))?;
    let name = name.as_str().into();
    let call = if daemon { Call::ActOnDaemon { name, action } } else { Call::ActOnContainer { name, action } };
    done(asker.ask(call).await?)
}

async fn put_step(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, revision: RevisionId) -> Handled {
    if !revision.as_str().starts_with("locals/") {
        return Err(Fail::new(400, "only revisions named locals/NAME can be put"));
    }
    if body.left > Limits::STATE.bytes as u64 {
        return Err(Fail::new(507, &format!("a state has at most {} bytes", Limits::STATE.bytes)));
    }
    transfer::upload(asker, Upload::State(revision), conn, body).await?;
    Ok(Some(Answer::done()))
}

async fn message(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, revision: RevisionId) -> Handled {
    let text = String::from_utf8(small(conn, body, TEXT_MAX).await?).map_err(|_| Fail::new(400, "not UTF-8"))?;
    if text.is_empty() {
        return Err(Fail::new(400, "the message is empty"));
    }
    done(asker.ask(Call::SetMessage { revision, message: text }).await?)
}

/// All of one kind, as one object: at most [`KEYS_MAX`](formats::metadata::KEYS_MAX) values.
async fn metadata(asker: &Asker<'_>, of: Metadata) -> Handled {
    let (mut members, mut after) = (Vec::new(), None);
    loop {
        let Reply::Metadata(page) = asker.ask(Call::Metadata { of, after }).await? else {
            return Err(Fail::mismatch());
        };
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        members.extend(page.into_iter().map(|(key, value)| (key, render::value(value))));
    }
    Ok(Some(Answer::json(&Json::Object(members))))
}

async fn set_metadata(asker: &Asker<'_>, conn: &mut Conn, body: &mut Body, of: Metadata, key: &Key) -> Handled {
    let value = small(conn, body, VALUE_MAX).await?;
    let value = String::from_utf8(value).map_err(|_| Fail::new(400, "the value is not UTF-8"))?;
    if value.is_empty() {
        return Err(Fail::new(400, "the value is empty; delete the key to have none"));
    }
    done(asker.ask(Call::SetMetadata { of, key: key.as_str().into(), value }).await?)
}

async fn running(asker: &Asker<'_>) -> Result<RevisionId, Fail> {
    match asker.ask(Call::Device).await? {
        Reply::Device(view) => view.revision.ok_or_else(|| Fail::new(404, "no revision runs")),
        _ => Err(Fail::mismatch()),
    }
}

/// A whole body that fits into memory and into a piece.
async fn small(conn: &mut Conn, body: &mut Body, max: usize) -> Result<Vec<u8>, Fail> {
    if body.left > max as u64 {
        return Err(Fail::new(507, &format!("the body has at most {max} bytes here")));
    }
    Ok(conn.piece(body).await?)
}

fn array<T>(views: &[T], show: impl Fn(&T) -> Json) -> Handled {
    Ok(Some(Answer::json(&Json::Array(views.iter().map(show).collect()))))
}

fn done(reply: Reply) -> Handled {
    match reply {
        Reply::Done => Ok(Some(Answer::done())),
        _ => Err(Fail::mismatch()),
    }
}

fn unknown(head: &Head) -> Fail {
    Fail::new(400, &format!("unknown endpoint: {}", head.path))
}

/// A socket in a file system needs no name, and clients send this one.
fn is_local(host: Option<&str>) -> bool {
    match host {
        None | Some("" | "localhost") => true,
        Some(host) => host.strip_prefix("localhost:").is_some_and(|port| port.parse::<u16>().is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_this_machine_is_called_localhost() {
        assert!([None, Some(""), Some("localhost"), Some("localhost:80")].into_iter().all(is_local));
        assert!(
            !["localhost.evil.example", "localhost:x", "evil.example"].into_iter().any(|host| is_local(Some(host)))
        );
    }
}
