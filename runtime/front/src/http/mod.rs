//! HTTP/1.1 as much as a device needs, read strictly.
//!
//! Promises: a request has one meaning or is refused; nothing is held of it beyond a bounded head and one piece of its
//! body; nobody holds a connection by being slow.
//!
//! | module | is about |
//! |---|---|
//! | [`head`] | bytes to one request head: the only place that reads them |
//! | `answer` | what is answered, as bytes |
//! | `conn` | one connection: requests in, answers out, and time |

pub(crate) mod answer;
pub(crate) mod conn;
pub mod head;

pub(crate) use answer::{Answer, Content};
pub(crate) use conn::{Body, Conn, Cut};
pub use head::{Head, Method};
