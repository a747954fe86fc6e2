//! The head of a request, read once and strictly.
//!
//! ```text
//!   METHOD SP /path SP HTTP/1.1 CRLF      at most TARGET_MAX bytes of path, visible ASCII, never decoded
//!   Name: value CRLF                      at most FIELDS_MAX of them
//!   CRLF                                  at most HEAD_MAX bytes in all
//! ```
//!
//! Two readers of one request must never see two requests, whatever proxy stands before this one. So what the standard
//! merely tolerates is refused: a line that ends without CR, a folded line, a second `Content-Length` (even an equal
//! one), a `Transfer-Encoding` that is one, a second `Host` or `Authorization`, a target that is not a plain path.
//!
//! A token is hashed here: nothing that comes out of a head can show it.

use std::fmt;

use formats::pairing::TokenHash;

/// The most bytes of a head.
pub const HEAD_MAX: usize = 8 * 1024;
/// The most bytes of a target.
pub const TARGET_MAX: usize = 1024;
/// The most fields of a head.
pub const FIELDS_MAX: usize = 32;
/// Digits of the longest `Content-Length`: what certainly fits into 64 bits.
const LENGTH_DIGITS: usize = 18;

/// What a request wants done with its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Show it.
    Get,
    /// Put it there.
    Put,
    /// Do it.
    Post,
    /// Remove it.
    Delete,
    /// Any other.
    Other,
}

impl Method {
    fn of(word: &str) -> Self {
        match word {
            "GET" => Self::Get,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// A head that has one meaning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// What is wanted.
    pub method: Method,
    /// Of what: begins with `/`.
    pub path: String,
    /// The field `Host`, which may be empty.
    pub host: Option<String>,
    /// The token of `Authorization: Bearer`, by its hash.
    pub token: Option<TokenHash>,
    /// Whether a web page asks: there is a field `Origin`.
    pub has_origin: bool,
    /// Bytes of the body. Without a `Content-Length` there is none.
    pub length: u64,
    /// The client waits for `100 Continue` before it sends the body.
    pub waits: bool,
    /// Whether another request may follow on the connection.
    pub keeps: bool,
}

/// Why a head is refused. The connection ends with the answer, for nobody knows where the next request begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadError {
    /// Not HTTP/1.0 or 1.1, or not as strict as it must be.
    Malformed,
    /// The target is no plain path.
    Target,
    /// The target is longer than [`TARGET_MAX`].
    TargetTooLong,
    /// More than [`HEAD_MAX`] bytes or [`FIELDS_MAX`] fields.
    TooLong,
    /// No length, two lengths, or one that is no number.
    Length,
    /// There is a `Transfer-Encoding` other than the one that means nothing.
    Encoding,
    /// No `Host`, or two of them.
    Host,
    /// Two of `Authorization`.
    Authorization,
    /// An expectation other than `100-continue`.
    Expectation,
}

impl HeadError {
    /// The status code of HTTP.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Malformed | Self::Target | Self::Length | Self::Host | Self::Authorization => 400,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::TooLong => 431,
            Self::Encoding => 501,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("this is not an HTTP/1.1 request; lines end with CR LF and are not folded"),
            Self::Target => f.write_str("the target must be a path that begins with / and has visible characters only"),
            Self::TargetTooLong => write!(f, "the path has more than {TARGET_MAX} bytes"),
            Self::TooLong => write!(f, "the head has more than {HEAD_MAX} bytes or {FIELDS_MAX} fields"),
            Self::Length => f.write_str("send one Content-Length, a plain number"),
            Self::Encoding => f.write_str("transfer encodings are not spoken here; send a Content-Length"),
            Self::Host => f.write_str("send one Host"),
            Self::Authorization => f.write_str("send one Authorization"),
            Self::Expectation => f.write_str("the only expectation that can be met is 100-continue"),
        }
    }
}

/// Reads the head at the beginning of `bytes`, and says how many bytes it has; `None` if it goes on beyond them.
///
/// # Errors
/// [`HeadError`], as early as it is certain.
pub fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let Some(length) = end(bytes)? else {
        return if bytes.len() >= HEAD_MAX { Err(HeadError::TooLong) } else { Ok(None) };
    };
    let text = bytes.get(..length).filter(|text| text.len() <= HEAD_MAX).ok_or(HeadError::TooLong)?;
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(text) {
        Ok(httparse::Status::Complete(read)) if read == length => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLong),
        _ => return Err(HeadError::Malformed),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(HeadError::Malformed);
    };
    let path = path(target)?;
    let mut found = Fields::default();
    request.headers.iter().try_for_each(|field| found.take(field))?;
    let modern = version == 1;
    if found.encoded {
        // With a length beside it this is an attack; without, only something that is not spoken here.
        return Err(if found.length.is_some() || !modern { HeadError::Length } else { HeadError::Encoding });
    }
    if modern && found.host.is_none() {
        return Err(HeadError::Host);
    }
    let head = Head {
        method: Method::of(method),
        path,
        host: found.host,
        token: found.token.flatten(),
        has_origin: found.origin,
        length: found.length.unwrap_or(0),
        waits: found.waits && modern,
        keeps: modern && !found.close,
    };
    Ok(Some((head, length)))
}

/// Where the head ends. Line ends are checked on the way, because the parser is more tolerant about them.
fn end(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut line_start = 0;
    while let Some(at) = bytes.iter().skip(line_start).position(|byte| *byte == b'\n').map(|at| line_start + at) {
        let line = bytes.get(line_start..at).unwrap_or_default();
        let line = line.strip_suffix(b"\r").filter(|line| !line.contains(&b'\r')).ok_or(HeadError::Malformed)?;
        if line.is_empty() {
            // An empty line in the place of the request is nothing to be skipped here.
            return if line_start == 0 { Err(HeadError::Malformed) } else { Ok(Some(at + 1)) };
        }
        line_start = at + 1;
    }
    Ok(None)
}

fn path(target: &str) -> Result<String, HeadError> {
    if target.len() > TARGET_MAX {
        return Err(HeadError::TargetTooLong);
    }
    if target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(target.into())
    } else {
        Err(HeadError::Target)
    }
}

/// The fields that mean something here.
#[derive(Default)]
struct Fields {
    host: Option<String>,
    token: Option<Option<TokenHash>>,
    length: Option<u64>,
    origin: bool,
    encoded: bool,
    identity: bool,
    waits: bool,
    close: bool,
}

impl Fields {
    fn take(&mut self, field: &httparse::Header<'_>) -> Result<(), HeadError> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let text = || str::from_utf8(field.value).map(str::trim).map_err(|_| HeadError::Malformed);
        if is("content-length") {
            let text = text()?;
            let plain = (1..=LENGTH_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            if self.length.is_some() || !plain {
                return Err(HeadError::Length);
            }
            self.length = Some(text.parse().map_err(|_| HeadError::Length)?);
        } else if is("host") {
            if self.host.replace(text()?.into()).is_some() {
                return Err(HeadError::Host);
            }
        } else if is("authorization") {
            let bearer = text()?.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            if self.token.replace(bearer.map(|(_, token)| TokenHash::of(token.trim()))).is_some() {
                return Err(HeadError::Authorization);
            }
        } else if is("expect") {
            if !text()?.eq_ignore_ascii_case("100-continue") {
                return Err(HeadError::Expectation);
            }
            self.waits = true;
        } else if is("connection") {
            self.close |= text()?.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
        }
        // The common control client sends `identity`, which has no meaning, beside its length.
        self.encoded |= is("transfer-encoding") && (self.identity || text()? != "identity");
        self.identity |= is("transfer-encoding");
        self.origin |= is("origin");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Head, HeadError> {
        read(text.as_bytes()).map(|head| head.expect("a whole head").0)
    }

    fn with(fields: &str) -> Result<Head, HeadError> {
        one(&format!("PUT /objects HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
    }

    #[test]
    fn a_head_is_read_and_what_follows_is_left() {
        let text = b"PUT /a HTTP/1.1\r\nHost: \r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET /";
        let (head, length) = read(text).unwrap().unwrap();
        assert_eq!((head.method, head.path.as_str(), head.host.as_deref()), (Method::Put, "/a", Some("")));
        assert_eq!((head.length, head.waits, head.keeps), (3, true, true));
        assert_eq!(&text[length..], b"abcGET /");
    }

    #[test]
    fn no_beginning_of_a_head_is_a_head() {
        let text = b"GET /containers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert!((0..text.len()).all(|end| read(&text[..end]) == Ok(None)));
        assert!(!read(text).unwrap().unwrap().0.keeps);
    }

    #[test]
    fn two_readers_never_see_two_requests() {
        for (fields, error) in [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", HeadError::Length),
            ("Transfer-Encoding: chunked\r\n", HeadError::Encoding),
            ("Transfer-Encoding : chunked\r\n", HeadError::Malformed),
            ("transfer-encoding: identity, chunked\r\n", HeadError::Encoding),
            ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", HeadError::Encoding),
            ("Transfer-Encoding: identity\r\nTransfer-Encoding: identity\r\n", HeadError::Encoding),
            ("Content-Length: 3\r\nTransfer-Encoding: \tchunked\r\n", HeadError::Length),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", HeadError::Length),
            ("Content-Length: 3\r\ncontent-length: 4\r\n", HeadError::Length),
            ("Content-Length: 3, 3\r\n", HeadError::Length),
            ("Content-Length: +3\r\n", HeadError::Length),
            ("Content-Length: 0x3\r\n", HeadError::Length),
            ("Content-Length: -1\r\n", HeadError::Length),
            ("Content-Length:\r\n", HeadError::Length),
            ("Content-Length: 9999999999999999999\r\n", HeadError::Length),
            ("Content-Length: 3\n", HeadError::Malformed),
            ("X: a\r\n b\r\n", HeadError::Malformed),
            ("X: a\rContent-Length: 3\r\n", HeadError::Malformed),
            ("X: a\0b\r\n", HeadError::Malformed),
            ("Host: other\r\n", HeadError::Host),
            ("Authorization: Bearer a\r\nauthorization: Bearer a\r\n", HeadError::Authorization),
            ("Authorization: Basic a\r\nAuthorization: Bearer a\r\n", HeadError::Authorization),
            ("Expect: more\r\n", HeadError::Expectation),
        ] {
            assert_eq!(with(fields), Err(error), "{fields:?}");
        }
        assert_eq!(one("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(HeadError::Length));
    }

    #[test]
    fn an_encoding_that_is_none_changes_nothing() {
        let head = with("Content-Length: 3\r\nTransfer-Encoding: identity\r\n");
        assert_eq!(head, with("Content-Length: 3\r\n"));
        assert_eq!(head.map(|head| head.length), Ok(3));
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_shown_by_nothing() {
        let token = |field: &str| with(&format!("Authorization: {field}\r\n")).unwrap().token;
        assert_eq!(token("Bearer s3cret-x"), Some(TokenHash::of("s3cret-x")));
        assert_eq!(token("bearer  s3cret-x "), Some(TokenHash::of("s3cret-x")));
        assert_ne!(token("Bearer s3cret-y"), Some(TokenHash::of("s3cret-x")));
        assert_eq!((token("Basic s3cret-x"), token("Bearer"), token("s3cret-x")), (None, None, None));
        assert!(!format!("{:?}", with("Authorization: Bearer s3cret-x\r\n")).contains("s3cret"));
    }

    #[test]
    fn what_is_no_request_is_refused_as_soon_as_a_line_is_there() {
        for text in
            ["hello\n", "\r\n", "GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\n X: folded\r\n\r\n"]
        {
            assert_eq!(read(text.as_bytes()), Err(HeadError::Malformed), "{text:?}");
        }
        assert_eq!(one("GET / HTTP/1.1\r\n\r\n"), Err(HeadError::Host));
        assert_eq!(one("GET / HTTP/1.0\r\n\r\n").map(|head| head.keeps), Ok(false));
    }

    #[test]
    fn a_target_is_a_bounded_plain_path() {
        for target in ["*", "http://device/", "device:80"] {
            assert_eq!(one(&format!("GET {target} HTTP/1.1\r\nHost:\r\n\r\n")), Err(HeadError::Target), "{target}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost:\r\n\r\n", "a".repeat(TARGET_MAX));
        assert_eq!(one(&long), Err(HeadError::TargetTooLong));
    }

    #[test]
    fn a_head_is_bounded_before_its_end_is_seen() {
        assert_eq!(read(&[b'a'; HEAD_MAX]), Err(HeadError::TooLong));
        assert_eq!(with(&"X: y\r\n".repeat(FIELDS_MAX)), Err(HeadError::TooLong));
        assert_eq!(with(&format!("X: {}\r\n", "y".repeat(HEAD_MAX))), Err(HeadError::TooLong));
    }
}
