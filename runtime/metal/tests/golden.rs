//! FAT images as people's tools make them (`mkfs.vfat`, mtools), of all three kinds: what is said to lie somewhere is
//! there, and what cannot be overwritten in place is not given a place.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the steps of a test may fail loudly")]

use std::convert::Infallible;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use boards_api::media::Sectors;
use metal::fat::{FatError, locate};
use tempfile::TempDir;

/// A medium in memory, which cannot be written.
struct Image(Vec<u8>);

impl Sectors for Image {
    type Error = Infallible;

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Infallible> {
        let at = usize::try_from(at).unwrap();
        into.copy_from_slice(&self.0[at..at + into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Infallible> {
        panic!("{} bytes were written at {at}", bytes.len());
    }
}

/// A file system in the making.
struct Fat {
    dir: TempDir,
    image: PathBuf,
}

impl Fat {
    /// `bits` is 12, 16 or 32; clusters have `per_cluster` sectors.
    fn new(bits: u32, mebibytes: u64, per_cluster: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("fat.img");
        File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        let (bits, per_cluster) = (bits.to_string(), per_cluster.to_string());
        let options = ["-F", &bits, "-s", &per_cluster, "-n", "CAIRN"];
        let fat = Self { dir, image };
        fat.run("mkfs.vfat", &options, &[&fat.image]);
        fat
    }

    fn run(&self, program: &str, options: &[&str], paths: &[&Path]) {
        let output = self.tool(program, options, paths);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn tool(&self, program: &str, options: &[&str], paths: &[&Path]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")).env("MTOOLS_SKIP_CHECK", "1");
        let output = command.args(options).args(paths).output();
        output.unwrap_or_else(|error| panic!("{program}: {error}; run `cargo xtask setup`"))
    }

    fn dir(&self, name: &str) -> &Self {
        self.run("mmd", &["-i", self.image.to_str().unwrap(), &format!("::/{name}")], &[]);
        self
    }

    fn file(&self, name: &str, bytes: &[u8]) -> &Self {
        let source = self.dir.path().join("source");
        fs::write(&source, bytes).unwrap();
        let image = self.image.to_str().unwrap();
        self.run("mcopy", &["-i", image, source.to_str().unwrap(), &format!("::/{name}")], &[]);
        self
    }

    /// Small files, by one call.
    fn files(&self, into: &str, count: usize) {
        let sources: Vec<_> = (0..count).map(|index| self.dir.path().join(format!("file{index}"))).collect();
        sources.iter().for_each(|source| fs::write(source, b"x").unwrap());
        let target = format!("::/{into}");
        let paths: Vec<_> = sources.iter().map(PathBuf::as_path).chain([Path::new(&target)]).collect();
        self.run("mcopy", &["-i", self.image.to_str().unwrap()], &paths);
    }

    fn remove(&self, name: &str) -> &Self {
        self.run("mdel", &["-i", self.image.to_str().unwrap(), &format!("::/{name}")], &[]);
        self
    }

    fn image(&self) -> Image {
        Image(fs::read(&self.image).unwrap())
    }
}

/// All three kinds, with small and with large clusters.
fn kinds() -> [Fat; 5] {
    [Fat::new(12, 1, 1), Fat::new(12, 16, 16), Fat::new(16, 16, 4), Fat::new(16, 64, 8), Fat::new(32, 48, 1)]
}

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| seed.wrapping_add((index % 251) as u8)).collect()
}

#[test]
fn a_file_is_where_it_is_said_to_be() {
    for fat in kinds() {
        // A long name before it and many names around it, so that a directory has pieces of names and several blocks.
        fat.dir("EFI").dir("cairn").file("EFI/A long name, in two pieces.txt", b"x");
        fat.files("cairn", 40);
        let (wanted, spent) = (bytes(1024, 1), bytes(1024, 2));
        fat.file("cairn/wanted", &wanted).file("cairn/spent", &spent).file("large.bin", &bytes(70_000, 3));
        let mut image = fat.image();
        for (path, held) in [("cairn/wanted", wanted), ("CAIRN/Spent", spent), ("large.bin", bytes(70_000, 3))] {
            let found = locate(&mut image, path).unwrap();
            let at = usize::try_from(found.at).unwrap();
            assert_eq!(found.length as usize, held.len(), "{path}");
            assert!(image.0[at..at + held.len()] == held, "{path} at {at}");
        }
    }
}

#[test]
fn what_is_not_there_is_named() {
    for fat in kinds() {
        fat.dir("cairn").file("cairn/empty", b"").file("gone", b"x").remove("gone");
        let mut image = fat.image();
        let mut missing = |path: &str| locate(&mut image, path).unwrap_err();
        assert_eq!(missing("cairn/wanted"), FatError::Missing("wanted".into()));
        assert_eq!(missing("boot/wanted"), FatError::Missing("boot".into()));
        assert_eq!(missing("gone"), FatError::Missing("gone".into()));
        assert_eq!(missing("cairn/empty"), FatError::Empty("empty".into()));
        assert_eq!(missing("cairn"), FatError::Kind("cairn".into()));
        assert_eq!(missing("cairn/empty/more"), FatError::Kind("empty".into()));
        assert_eq!(missing("a long name"), FatError::Name("a long name".into()));
        // The label of the volume is an entry too, and no file.
        assert_eq!(missing("/wanted"), FatError::Name(String::new()));
    }
}

#[test]
fn a_file_in_pieces_has_no_place() {
    for fat in [Fat::new(12, 1, 1), Fat::new(16, 16, 4), Fat::new(32, 48, 1)] {
        for name in ["hole1", "wall1", "hole2", "wall2"] {
            fat.file(name, b"x");
        }
        // Everything behind them is taken, by pieces of any size that still fits.
        let source = fat.dir.path().join("filling");
        let mut length = usize::try_from(fs::metadata(&fat.image).unwrap().len()).unwrap();
        for index in 0.. {
            fs::write(&source, vec![0; length]).unwrap();
            let target = format!("::/fill{index}");
            if !fat.tool("mcopy", &["-i", fat.image.to_str().unwrap()], &[&source, Path::new(&target)]).status.success()
            {
                length /= 2;
            }
            if length < 512 {
                break;
            }
        }
        fat.remove("hole1").remove("hole2");
        // Two clusters of any of the three.
        fat.file("wanted", &bytes(if fs::metadata(&fat.image).unwrap().len() == 16 << 20 { 4000 } else { 1000 }, 1));
        assert_eq!(locate(&mut fat.image(), "wanted"), Err(FatError::Fragmented("wanted".into())));
    }
}

#[test]
fn a_chain_that_leads_nowhere_is_an_error() {
    let fat = Fat::new(16, 16, 4);
    fat.file("wanted", &bytes(5000, 1));
    let whole = fat.image();
    // FAT16, one reserved row of sectors as mkfs.vfat makes it: the table's entries of 2 bytes.
    let table = usize::from(u16::from_le_bytes([whole.0[14], whole.0[15]])) * 512;
    let entry = |image: &Image, cluster: usize| {
        let at = table + 2 * cluster;
        u16::from_le_bytes([image.0[at], image.0[at + 1]])
    };
    // Clusters of 2 KiB: the file has three, from 2 on.
    assert_eq!([entry(&whole, 2), entry(&whole, 3)], [3, 4]);
    for (cluster, next) in [(2, 2), (3, 2), (3, 0), (3, 1), (3, 0xFFF7), (3, 0xFFFF), (3, 0xFFF0), (4, 5), (4, 3)] {
        let mut image = Image(whole.0.clone());
        image.0[table + 2 * cluster..][..2].copy_from_slice(&u16::to_le_bytes(next));
        let error = locate(&mut image, "wanted").unwrap_err();
        let broken = FatError::Chain("wanted".into());
        let pieces = FatError::Fragmented("wanted".into());
        assert!(error == broken || error == pieces, "{cluster} leads to {next:#x}: {error}");
    }
}

#[test]
fn a_directory_that_comes_back_to_itself_ends() {
    let fat = Fat::new(16, 16, 4);
    fat.dir("cairn");
    fat.files("cairn", 62);
    let mut image = fat.image();
    assert_eq!(locate(&mut image, "cairn/wanted"), Err(FatError::Missing("wanted".into())));
    let table = usize::from(u16::from_le_bytes([image.0[14], image.0[15]])) * 512;
    // The directory has one cluster, full to the last entry but none: now it follows itself.
    image.0[table + 4..][..2].copy_from_slice(&u16::to_le_bytes(2));
    assert!(matches!(locate(&mut image, "cairn/wanted"), Err(FatError::Chain(_))));
}

#[test]
fn other_things_are_no_fat() {
    let fat = Fat::new(16, 16, 4);
    fat.file("wanted", b"x");
    let whole = fat.image();
    assert!(matches!(locate(&mut Image(Vec::new()), "wanted"), Err(FatError::Unfit(_))));
    assert!(matches!(locate(&mut Image(vec![0; 4096]), "wanted"), Err(FatError::Unfit(_))));
    assert!(matches!(locate(&mut Image(whole.0[..1 << 20].to_vec()), "wanted"), Err(FatError::Unfit(_))));
    for (at, value) in [(11, 3), (13, 0), (13, 3), (14, 0), (16, 0), (22, 0), (22, 1)] {
        let mut image = Image(whole.0.clone());
        image.0[at] = value;
        if at == 14 || at == 22 {
            image.0[at + 1] = 0;
        }
        assert!(locate(&mut image, "wanted").is_err(), "byte {at} is {value}");
    }
}
