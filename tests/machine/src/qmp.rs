//! QMP: orders to QEMU, and its events.
//!
//! ```text
//!   QEMU                                 we
//!     ── {"QMP": …} ───────────────────▶
//!     ◀── {"execute":"qmp_capabilities"} ─
//!     ── {"return": {}} ───────────────▶
//!     ── {"event":"RESET","data":…} ───▶    at any time
//! ```
//!
//! A message is a line of JSON. One order is underway at a time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::record::Record;

/// Where a QEMU that is about to start will report. The name is not in the file system, so nothing can stay behind.
pub(crate) struct Door {
    pub(crate) listener: UnixListener,
    pub(crate) name: String,
}

impl Door {
    pub(crate) fn open() -> std::io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cairn-machine-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, name })
    }

    /// QEMU's end of it.
    pub(crate) fn chardev(&self) -> String {
        format!("socket,id=qmp,path={},abstract=on,tight=on", self.name)
    }
}

/// A QEMU that listens.
pub(crate) struct Qmp {
    stream: UnixStream,
    answers: Receiver<Result<Value, String>>,
    reader: Option<JoinHandle<()>>,
    /// How long an order may take. They are carried out between two instructions of the guest.
    patience: Duration,
}

impl Qmp {
    /// Takes over the line. Afterwards events come.
    pub(crate) fn greet(stream: UnixStream, record: Arc<Record>, patience: Duration) -> Result<Self> {
        let start = |why: std::io::Error| Error::Order { order: "qmp_capabilities", why: why.to_string() };
        stream.set_nonblocking(false).map_err(start)?;
        stream.set_write_timeout(Some(patience)).map_err(start)?;
        let lines = BufReader::new(stream.try_clone().map_err(start)?);
        let (sender, answers) = channel();
        let reader = thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
                if let Some(name) = message.get("event").and_then(Value::as_str) {
                    record.event(name, message.get("data").cloned().unwrap_or_default());
                }
                let answer = match (message.get("return"), message.get("error")) {
                    (Some(value), _) => Ok(value.clone()),
                    (_, Some(error)) => Err(error.get("desc").unwrap_or(error).to_string()),
                    _ => continue,
                };
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut qmp = Self { stream, answers, reader: Some(reader), patience };
        qmp.order("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Gives an order and waits for its answer.
    pub(crate) fn order(&mut self, order: &'static str) -> Result<Value> {
        let failed = |why: String| Error::Order { order, why };
        let line = format!("{}\n", json!({ "execute": order }));
        self.stream.write_all(line.as_bytes()).map_err(|error| failed(error.to_string()))?;
        match self.answers.recv_timeout(self.patience) {
            Ok(answer) => answer.map_err(failed),
            Err(error) => Err(failed(format!("no answer: {error}"))),
        }
    }

    /// Reads to the end, once QEMU has ended: its last event says why.
    pub(crate) fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            // It has no reason to panic, and nothing of it is needed any more.
            let _ = reader.join();
        }
    }
}
