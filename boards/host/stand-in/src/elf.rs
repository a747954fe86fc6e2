//! Whether a file can be the one program of an initramfs: an ELF executable that asks for no interpreter.

/// Why a program cannot be PID 1 of an otherwise empty root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unfit {
    /// It is not an ELF file of 64 bits in this machine's order of bytes, or its headers end early.
    NotElf,
    /// It is linked dynamically.
    Dynamic,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotElf => "it is no program (ELF, 64 bits): on this board the initramfs is the program cairn itself",
            Self::Dynamic => {
                "it is linked dynamically, and its interpreter is not in the initramfs; build it with \
                 RUSTFLAGS='-C target-feature=+crt-static' and --target x86_64-unknown-linux-gnu"
            }
        })
    }
}

const PT_INTERP: u32 = 3;

/// Looks at the headers of a program.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Unfit> {
    match interpreter(bytes) {
        None => Err(Unfit::NotElf),
        Some(true) => Err(Unfit::Dynamic),
        Some(false) => Ok(()),
    }
}

/// Whether it names an interpreter. `None`: no ELF file.
fn interpreter(bytes: &[u8]) -> Option<bool> {
    // Magic, 64 bits, this machine's order of bytes.
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if bytes.get(..6)? != [0x7F, b'E', b'L', b'F', 2, order] {
        return None;
    }
    let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let table = usize::try_from(u64::from_ne_bytes(bytes.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let headers = bytes.get(table..table.checked_add(size.checked_mul(count)?)?)?;
    let mut kinds =
        headers.chunks_exact(size.max(4)).map(|header| header.first_chunk().map(|kind| u32::from_ne_bytes(*kind)));
    Some(kinds.any(|kind| kind == Some(PT_INTERP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_asks_for_an_interpreter_is_dynamic() {
        let myself = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(check(&myself), Err(Unfit::Dynamic));
    }

    #[test]
    fn headers_that_end_early_are_no_program() {
        let myself = std::fs::read("/proc/self/exe").unwrap();
        for length in [0, 5, 40, 57, 70] {
            assert_eq!(check(&myself[..length]), Err(Unfit::NotElf));
        }
        assert_eq!(check(b"#!/bin/sh\necho"), Err(Unfit::NotElf));
    }
}
