//! Writes variables into a buffer of fixed size; what does not fit is an error that names the variable.

use core::fmt::{self, Display, Write};

use super::{Error, Key};

/// The bytes written so far, and the room that is left.
pub(super) struct Text<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

/// Something did not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

impl<'a> Text<'a> {
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    pub(super) fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Appends all of `bytes` or nothing.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len.checked_add(bytes.len()).ok_or(Full)?;
        self.buffer.get_mut(self.len..end).ok_or(Full)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Appends `key=value` and the separator.
    pub(super) fn variable(&mut self, key: Key, value: impl Display, separator: u8) -> Result<(), Error> {
        let room = Error::Room { key, limit: self.buffer.len() };
        write!(self, "{key}={value}{}", char::from(separator)).map_err(|_| room)
    }

    /// Fills what is left.
    pub(super) fn fill(self, with: u8) {
        self.buffer.iter_mut().skip(self.len).for_each(|byte| *byte = with);
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes()).map_err(|Full| fmt::Error)
    }
}
