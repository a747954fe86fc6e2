//! What is longer than a frame: sent to PID 1 and fetched from it piece by piece, never held as a whole.

use formats::control::{Call, PAGE_MAX, PIECE_MAX, Reply, Upload};
use formats::json::Json;

use crate::http::{Answer, Body, Conn, Content};
use crate::serve::{Asker, Fail, Handled};

/// The most pages of a list: its text is held in memory.
const PAGES_MAX: usize = 64;

/// Gives the body of a request to PID 1. It is there afterwards, checked, or nothing of it is.
pub(crate) async fn upload(asker: &Asker<'_>, what: Upload, conn: &mut Conn, body: &mut Body) -> Result<(), Fail> {
    let upload = match asker.ask(Call::Begin { what, size: body.left }).await? {
        Reply::Upload(upload) => upload,
        // It is here already. The client sends it nevertheless, and has a right to be heard out.
        Reply::Done => {
            while !conn.piece(body).await?.is_empty() {}
            return Ok(());
        }
        _ => return Err(Fail::mismatch()),
    };
    let done = pieces(asker, upload, conn, body).await;
    finish(asker, upload, done).await
}

/// The same for bytes that are in memory.
pub(crate) async fn upload_bytes(asker: &Asker<'_>, what: Upload, bytes: &[u8]) -> Result<(), Fail> {
    let upload = match asker.ask(Call::Begin { what, size: bytes.len() as u64 }).await? {
        Reply::Upload(upload) => upload,
        Reply::Done => return Ok(()),
        _ => return Err(Fail::mismatch()),
    };
    let put = async {
        for piece in bytes.chunks(PIECE_MAX) {
            put(asker, upload, piece.to_vec()).await?;
        }
        Ok(())
    };
    let done = put.await;
    finish(asker, upload, done).await
}

async fn pieces(asker: &Asker<'_>, upload: u32, conn: &mut Conn, body: &mut Body) -> Result<(), Fail> {
    loop {
        let bytes = conn.piece(body).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        put(asker, upload, bytes).await?;
    }
}

async fn put(asker: &Asker<'_>, upload: u32, bytes: Vec<u8>) -> Result<(), Fail> {
    match asker.ask(Call::Put { upload, bytes }).await? {
        Reply::Done => Ok(()),
        _ => Err(Fail::mismatch()),
    }
}

async fn finish(asker: &Asker<'_>, upload: u32, done: Result<(), Fail>) -> Result<(), Fail> {
    if let Err(fail) = done {
        // PID 1 has forgotten it already if it was the one who refused; then this is refused too, which is as good.
        let _ = asker.ask(Call::Abandon { upload }).await;
        return Err(fail);
    }
    match asker.ask(Call::Finish { upload }).await? {
        Reply::Done => Ok(()),
        _ => Err(Fail::mismatch()),
    }
}

/// Sends what PID 1 reads piece by piece.
pub(crate) async fn download(
    asker: &Asker<'_>,
    content: Content,
    conn: &mut Conn,
    body: &mut Body,
    piece: impl Fn(u64) -> Call,
) -> Handled {
    let mut sent = 0;
    let mut total = None;
    loop {
        let reply = asker.ask(piece(sent)).await;
        let (bytes, size) = match (reply, total) {
            (Ok(Reply::Piece { bytes, size }), known) if known.unwrap_or(size) == size => (bytes, size),
            // Before the first byte a refusal is an answer; after it the connection ends, which a length makes visible.
            (Err(refused), None) => return Err(refused.into()),
            (Ok(_), None) => return Err(Fail::mismatch()),
            (_, Some(_)) => return Err(Fail::Cut),
        };
        if total.replace(size).is_none() {
            conn.start(content, size, body).await?;
        }
        sent += bytes.len() as u64;
        if sent > size || (bytes.is_empty() && sent < size) {
            return Err(Fail::Cut);
        }
        conn.send(&bytes).await?;
        if sent == size {
            return Ok(None);
        }
    }
}

/// A whole list, page after page, as one JSON array.
pub(crate) async fn list<T, K>(
    asker: &Asker<'_>,
    page: impl Fn(Option<K>) -> Call,
    entries: impl Fn(Reply) -> Option<Vec<T>>,
    key: impl Fn(&T) -> K,
    show: impl Fn(&T) -> Json,
) -> Handled {
    let mut shown = Vec::new();
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let found = entries(asker.ask(page(after.take())).await?).ok_or_else(Fail::mismatch)?;
        shown.extend(found.iter().map(&show));
        match found.last() {
            Some(last) if found.len() >= PAGE_MAX => after = Some(key(last)),
            _ => return Ok(Some(Answer::json(&Json::Array(shown)))),
        }
    }
    Err(Fail::new(507, "the list is too long to be shown"))
}
