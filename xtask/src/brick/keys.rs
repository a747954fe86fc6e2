//! A person who says when: any key cuts the power, `q` ends.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use machine::ordeal::{Dice, Fault, Trigger, Update, Wish};

/// How long a key is waited for: the time of one look at the device.
const LOOK: Duration = Duration::from_millis(50);

/// Ctrl-C, as a terminal gives it that makes no signal of it.
const INTERRUPT: u8 = 0x03;

/// The keys of somebody.
pub(super) struct Keys {
    pressed: Receiver<u8>,
    dice: Dice,
}

impl Keys {
    /// Listens. The thread ends with the process: nothing interrupts a read of a terminal.
    pub(super) fn new(mut from: impl Read + Send + 'static, dice: Dice) -> Self {
        let (sender, pressed) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                // An arrow or a function key is several bytes, and one press.
                let keys = buffer.get(..count).unwrap_or_default();
                let keys = if keys.first() == Some(&0x1b) { keys.get(..1).unwrap_or_default() } else { keys };
                if keys.iter().any(|key| sender.send(*key).is_err()) {
                    return;
                }
            }
        });
        Self { pressed, dice }
    }
}

impl Trigger for Keys {
    fn began(&mut self) {}

    fn ask(&mut self) -> Result<Wish, Fault> {
        match self.pressed.recv_timeout(LOOK) {
            Ok(b'q' | b'Q') => Ok(Wish::End),
            Ok(INTERRUPT) => Err("interrupted".into()),
            Ok(_) => Ok(Wish::Cut),
            Err(RecvTimeoutError::Timeout) => Ok(Wish::Nothing),
            // Nobody is there any more.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(LOOK);
                Ok(Wish::End)
            }
        }
    }

    fn update(&mut self) -> Update {
        if self.dice.roll(3) == 0 { Update::Bad } else { Update::Good }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_cuts_an_arrow_once_and_q_ends() {
        let wishes = |typed: &'static [u8], count: usize| {
            let mut keys = Keys::new(typed, Dice::new(1));
            (0..count).map(|_| keys.ask().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(wishes(b" xq", 3), [Wish::Cut, Wish::Cut, Wish::End]);
        assert_eq!(wishes(b"\x1b[A", 2), [Wish::Cut, Wish::End]);
        assert!(Keys::new(&b"\x03"[..], Dice::new(1)).ask().is_err());
    }
}
