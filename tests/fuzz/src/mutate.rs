//! Inputs from inputs, the same ones for the same seed on every machine.

/// Nothing is made longer than this: twice the largest cell, more than any limit of a reader that is worth reaching here.
pub const LONGEST: usize = 128 * 1024;

/// Pieces that mean something to some reader.
const WORDS: &[&[u8]] = &[
    b"\0\0",
    b"\n",
    b"\\\n",
    b"=",
    b"#",
    b"x",
    b"0",
    b"locals/",
    b"pv_try=",
    b"pv_trying=",
    b"pv_rev=",
    b"cairn_max=",
    b"cairn_boots=",
    b"cairn_trial=",
    b"4294967296",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\u0000",
    b"../",
    b"\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80\x01",
];

/// Bytes at the edges of what readers compare with.
const EDGES: &[u8] = &[0, 1, 2, 3, 16, 17, 31, 32, 96, 97, 127, 128, 254, 255, b' ', b'/', b'.', b'-'];

/// xorshift64*: good enough to choose mutations, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Any number is a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Spread small seeds, and never start at zero, where the generator stays.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; zero if there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() >> 16) as usize % bound }
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// A new input: one of the seeds, changed in one to eight places.
#[must_use]
pub fn input(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.one(seeds).cloned().unwrap_or_default();
    for _ in 0..=random.below(8) {
        change(&mut bytes, seeds, random);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let until = at + random.below((bytes.len() - at).min(64) + 1);
    match random.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let (Some(byte), Some(edge)) = (bytes.get_mut(at), random.one(EDGES)) {
                *byte = *edge;
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = byte.wrapping_add(random.below(5) as u8).wrapping_sub(2);
            }
        }
        3 => drop(bytes.drain(at..until)),
        4 => {
            let copied: Vec<u8> = bytes.get(at..until).unwrap_or_default().to_vec();
            bytes.splice(at..at, copied);
        }
        5 => {
            let word = random.one(WORDS).copied().unwrap_or_default();
            bytes.splice(at..at, word.iter().copied());
        }
        6 => {
            let word = random.one(WORDS).copied().unwrap_or_default();
            let end = bytes.len().min(at + word.len());
            bytes.splice(at..end, word.iter().copied());
        }
        7 => bytes.truncate(at),
        _ => {
            let other = random.one(seeds).map_or(&[][..], Vec::as_slice);
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(from..).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let seeds = [b"one".to_vec(), b"two two".to_vec()];
        let (mut first, mut second) = (Random::new(3), Random::new(3));
        for _ in 0..200 {
            assert_eq!(input(&seeds, &mut first), input(&seeds, &mut second));
        }
    }

    #[test]
    fn mutations_grow_shrink_and_differ() {
        let seeds = [vec![b'a'; 40]];
        let mut random = Random::new(1);
        let inputs: Vec<_> = (0..500).map(|_| input(&seeds, &mut random)).collect();
        assert!(inputs.iter().any(|input| input.len() > 40) && inputs.iter().any(|input| input.len() < 40));
        assert!(inputs.iter().filter(|input| **input == seeds[0]).count() < 50);
    }
}
