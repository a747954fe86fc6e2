//! As much of ELF as tells a static program from a dynamic one, and what is in it: 64 bit, little endian.
//!
//! Source: System V ABI, chapters 4 and 5 (`elf.h`). Nothing is trusted: a file that ends early is an error.
//!
//! ```text
//!  0         16      32    40            54   56   58   60   62   64
//! ┌───────────┬──╌╌──┬─────┬─────┬──╌╌──┬────┬────┬────┬────┬────┐
//! │ 7f E L F… │      │phoff│shoff│      │phsz│phn │shsz│shn │strx│
//! └───────────┴──╌╌──┴─────┴─────┴──╌╌──┴────┴────┴────┴────┴────┘
//! ```

use anyhow::{Context as _, Result, bail};

const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const SHT_NOBITS: u64 = 8;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;

/// What a program consists of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Elf {
    /// It needs another file to run: an interpreter, or a library.
    pub(crate) dynamic: bool,
    /// Bytes that are executed.
    pub(crate) text: u64,
    /// Bytes that are only read.
    pub(crate) rodata: u64,
    /// Bytes that are read and written, and stand in the file.
    pub(crate) data: u64,
    /// Bytes that start as zero, and do not stand in the file.
    pub(crate) bss: u64,
    /// Names in the symbol table; none in a stripped program.
    pub(crate) symbols: Vec<String>,
}

impl Elf {
    /// Reads a whole file.
    ///
    /// # Errors
    /// It is not such a file, or ends before what its headers name.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.get(..6) != Some(b"\x7fELF\x02\x01") {
            bail!("not a 64-bit little-endian ELF file");
        }
        let mut elf = Self::default();
        for at in headers(bytes, 32, 54)? {
            match uint(bytes, at, 4)? {
                PT_INTERP => elf.dynamic = true,
                PT_DYNAMIC => elf.dynamic |= needs_libraries(part(bytes, at + 8, at + 32)?)?,
                _ => {}
            }
        }
        let sections = headers(bytes, 40, 58)?;
        for &at in &sections {
            elf.count(bytes, at)?;
            if uint(bytes, at + 4, 4)? == SHT_SYMTAB {
                let strings = usize::try_from(uint(bytes, at + 40, 4)?)?;
                let strings = *sections.get(strings).context("the symbol table names no string table")?;
                elf.symbols = symbols(part(bytes, at + 24, at + 32)?, part(bytes, strings + 24, strings + 32)?)?;
            }
        }
        Ok(elf)
    }

    fn count(&mut self, bytes: &[u8], at: usize) -> Result<()> {
        let (kind, flags, size) = (uint(bytes, at + 4, 4)?, uint(bytes, at + 8, 8)?, uint(bytes, at + 32, 8)?);
        match () {
            () if flags & SHF_ALLOC == 0 => {}
            () if kind == SHT_NOBITS => self.bss += size,
            () if flags & SHF_EXECINSTR != 0 => self.text += size,
            () if flags & SHF_WRITE != 0 => self.data += size,
            () => self.rodata += size,
        }
        Ok(())
    }
}

/// The places of the entries of a header table. `offset` and `sizes` are the places of its own place, and of the size
/// and number of its entries.
fn headers(bytes: &[u8], offset: usize, sizes: usize) -> Result<Vec<usize>> {
    let start = usize::try_from(uint(bytes, offset, 8)?)?;
    let size = usize::try_from(uint(bytes, sizes, 2)?)?;
    let number = usize::try_from(uint(bytes, sizes + 2, 2)?)?;
    let within = start.checked_add(size * number).is_some_and(|end| end <= bytes.len());
    if !within {
        bail!("a header table lies beyond the end of the file");
    }
    Ok((0..number).map(|index| start + index * size).collect())
}

fn needs_libraries(dynamic: &[u8]) -> Result<bool> {
    for at in (0..dynamic.len()).step_by(16) {
        if uint(dynamic, at, 8)? == DT_NEEDED {
            return Ok(true);
        }
    }
    Ok(false)
}

fn symbols(table: &[u8], strings: &[u8]) -> Result<Vec<String>> {
    let name = |at| -> Result<String> {
        let start = usize::try_from(uint(table, at, 4)?)?;
        let rest = strings.get(start..).context("a symbol's name lies beyond the string table")?;
        let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    };
    (0..table.len()).step_by(24).map(name).filter(|name| !matches!(name, Ok(name) if name.is_empty())).collect()
}

/// The part of the file whose place and length stand at these places.
fn part(bytes: &[u8], place: usize, length: usize) -> Result<&[u8]> {
    let start = usize::try_from(uint(bytes, place, 8)?)?;
    let length = usize::try_from(uint(bytes, length, 8)?)?;
    let end = start.checked_add(length).context("a part of the file is longer than any file")?;
    bytes.get(start..end).context("a part lies beyond the end of the file")
}

/// A little-endian number of `width` bytes.
fn uint(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let field = bytes.get(at..at.saturating_add(width)).with_context(|| format!("the file ends before byte {at}"))?;
    Ok(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_test_program_is_dynamic_and_names_its_symbols() {
        let elf = Elf::parse(&own()).unwrap();
        assert!(elf.dynamic);
        assert!(elf.text > 0 && elf.rodata > 0 && elf.data > 0);
        assert!(elf.symbols.iter().any(|symbol| symbol == "main"));
    }

    #[test]
    fn a_file_that_ends_early_is_an_error_and_never_a_panic() {
        let bytes = own();
        for end in (0..4096).chain([bytes.len() - 1]) {
            assert!(Elf::parse(&bytes[..end]).is_err(), "{end}");
        }
    }
}
