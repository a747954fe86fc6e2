//! The way of a log off the device: defmt's frames through a buffer into one file of the host.

use core::cell::RefCell;

use super::bare;

/// Bytes that leave at once. Each leaving stops the machine, so small ones are slow.
const BUFFER: usize = 512;

struct Stream {
    encoder: defmt::Encoder,
    buffer: Buffer,
}

struct Buffer {
    /// `None`: nothing has left yet.
    console: Option<bare::Console>,
    bytes: [u8; BUFFER],
    used: usize,
}

impl Buffer {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.used == BUFFER {
                self.flush();
            }
            if let Some(place) = self.bytes.get_mut(self.used) {
                *place = *byte;
                self.used += 1;
            }
        }
    }

    fn flush(&mut self) {
        let console = self.console.get_or_insert_with(bare::Console::open);
        console.write(self.bytes.get(..self.used).unwrap_or_default());
        self.used = 0;
    }
}

static STREAM: bare::OneThread<RefCell<Stream>> = bare::OneThread::new(RefCell::new(Stream {
    encoder: defmt::Encoder::new(),
    buffer: Buffer { console: None, bytes: [0; BUFFER], used: 0 },
}));

/// Begins a frame.
pub(super) fn start() {
    with(|Stream { encoder, buffer }| encoder.start_frame(|bytes| buffer.push(bytes)));
}

/// Bytes of a frame.
pub(super) fn write(data: &[u8]) {
    with(|Stream { encoder, buffer }| encoder.write(data, |bytes| buffer.push(bytes)));
}

/// Ends a frame.
pub(super) fn end() {
    with(|Stream { encoder, buffer }| encoder.end_frame(|bytes| buffer.push(bytes)));
}

/// Lets out what is still in the buffer.
pub(super) fn flush() {
    with(|stream| stream.buffer.flush());
}

/// Runs with the stream. While another has it nothing happens: that is a panic inside the log, which has no log.
fn with(act: impl FnOnce(&mut Stream)) {
    if let Ok(mut stream) = STREAM.get().try_borrow_mut() {
        act(&mut stream);
    }
}
