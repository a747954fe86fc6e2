//! Plain lines from what a serial console says: colours, cursor moves and carriage returns are for terminals.
//!
//! ```text
//!   ESC [ 1 m …  ESC 7 …  CR  BEL        dropped
//!   ESC [ 5 ; 1 H                        the cursor is set: a new line, if the old one has text
//! ```

/// Where in an escape sequence we are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    Escape,
    /// After ESC and one of the bytes that announce a single further one.
    Designator,
    Control,
    /// In a string that BEL or ESC ends (a title of a window).
    Title,
}

/// The state between two pieces.
#[derive(Default)]
pub(crate) struct Plain {
    at: At,
    /// Whether the current line has text.
    line: bool,
}

impl Plain {
    /// Appends to `text` what is plain in `raw`.
    pub(crate) fn push(&mut self, raw: &[u8], text: &mut Vec<u8>) {
        for &byte in raw {
            self.at = match (self.at, byte) {
                (At::Escape, b'[') => At::Control,
                (At::Escape, b']') => At::Title,
                (At::Escape, b'(' | b')' | b'#') => At::Designator,
                (_, 0x1b) => At::Escape,
                (At::Control, b'H' | b'f') => {
                    if self.line {
                        text.push(b'\n');
                        self.line = false;
                    }
                    At::Text
                }
                (At::Control, 0x20..=0x3f) => At::Control,
                (At::Title, 0x07) => At::Text,
                (At::Title, _) => At::Title,
                (At::Escape | At::Designator | At::Control, _) => At::Text,
                (At::Text, b'\n') => {
                    text.push(b'\n');
                    self.line = false;
                    At::Text
                }
                (At::Text, b'\t' | 0x20..=0x7e | 0x80..) => {
                    text.push(byte);
                    self.line = true;
                    At::Text
                }
                (At::Text, _) => At::Text,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(pieces: &[&str]) -> String {
        let (mut plain, mut text) = (Plain::default(), Vec::new());
        pieces.iter().for_each(|piece| plain.push(piece.as_bytes(), &mut text));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn colours_and_returns_are_dropped_also_when_cut_in_two() {
        assert_eq!(plain(&["\x1b[1", ";31mred\x1b[0m\r", "\nnext\x1b", "7\x1b[6n|"]), "red\nnext|");
    }

    #[test]
    fn a_cursor_that_is_set_ends_a_line_once() {
        assert_eq!(plain(&["\x1b[01;01Hone\x1b[02;01H\x1b[03;01Htwo\x1b]0;title\x07!"]), "one\ntwo!");
    }

    #[test]
    fn letters_of_any_language_stay() {
        assert_eq!(plain(&["Käse\u{1F9C0}"]), "Käse\u{1F9C0}");
    }
}
