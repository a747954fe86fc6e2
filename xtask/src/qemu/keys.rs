//! What is typed: orders after Ctrl-A, everything else for the device.

use std::io::Read as _;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Bytes for the device.
    Press(Vec<u8>),
    End,
    PowerButton,
    Reset,
    PowerCut,
    Help,
}

/// Orders from the standard input, until it ends.
pub(super) fn read() -> Receiver<Order> {
    let (sender, orders) = channel();
    // It ends with the process: nothing interrupts a read of a terminal.
    thread::spawn(move || {
        let (mut keys, mut buffer) = (Keys::default(), [0; 256]);
        while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
            for order in keys.take(buffer.get(..count).unwrap_or_default()) {
                if sender.send(order).is_err() {
                    return;
                }
            }
        }
    });
    orders
}

/// Whether the last key was Ctrl-A.
#[derive(Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    fn take(&mut self, bytes: &[u8]) -> Vec<Order> {
        let mut orders = Vec::new();
        for &byte in bytes {
            let order = match (std::mem::take(&mut self.escaped), byte) {
                (false, ESCAPE) => {
                    self.escaped = true;
                    continue;
                }
                (true, b'x') => Order::End,
                (true, b'b') => Order::PowerButton,
                (true, b'r') => Order::Reset,
                (true, b'k') => Order::PowerCut,
                (true, b'h' | b'?') => Order::Help,
                // After Ctrl-A: itself, and what means nothing.
                (_, byte) => Order::Press(vec![byte]),
            };
            match (orders.last_mut(), order) {
                (Some(Order::Press(before)), Order::Press(more)) => before.extend(more),
                (_, order) => orders.push(order),
            }
        }
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_makes_an_order_of_the_next_key_and_twice_it_is_itself() {
        let mut keys = Keys::default();
        let press = |bytes: &[u8]| Order::Press(bytes.to_vec());
        assert_eq!(keys.take(b"ls\r\x01"), [press(b"ls\r")]);
        assert_eq!(keys.take(b"xa\x01\x01b\x01k"), [Order::End, press(b"a\x01b"), Order::PowerCut]);
    }
}
