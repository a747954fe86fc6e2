//! One image in every packing there is: the same files, and the same bytes each time.

use std::fs;
use std::path::Path;

use cli::image::pack::Format;

use crate::images::{Image, Layer, Layout, Packed};
use crate::{cases, has_erofs, mounted, packed, pulled, unpacked};

/// Files of every kind, and enough of them for tools that work with several threads to get into disorder.
fn layout(directory: &Path) -> Layout {
    let mut many = Layer::new();
    for number in 0..600_u32 {
        let noise =
            (0..number * 20).map(|at| char::from(b'a' + ((at ^ number).wrapping_mul(2_654_435_761) >> 28) as u8));
        many = many.file(&format!("file-{number}"), &noise.collect::<String>());
    }
    Layout::of(directory, &[cases::attributes_stay_with_their_files().layer(many, Packed::Zstd)])
}

#[test]
fn every_packing_holds_the_same_files_and_is_the_same_file_again() {
    let scratch = tempfile::tempdir().unwrap();
    let layout = layout(&scratch.path().join("layout"));
    let mut packings = vec![
        (Format::Squashfs, "-comp xz"),
        (Format::Squashfs, "-comp zstd -Xcompression-level 19"),
        (Format::Squashfs, "-comp gzip"),
        (Format::Squashfs, "-comp lz4 -Xhc"),
        (Format::Squashfs, "-comp zstd -no-fragments -b 64K"),
    ];
    if has_erofs() {
        packings.extend(["-zlz4hc", "-zlzma", "-zdeflate", "-b4096"].map(|options| (Format::Erofs, options)));
    }
    let mut first = None;
    let mut files = Vec::new();
    for (format, options) in packings {
        let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
        for file in [&one, &two] {
            // Read anew each time: nothing of the first run is at hand in the second.
            let image = pulled(&layout, scratch.path());
            packed(&image, format, file, &options.split(' ').collect::<Vec<_>>()).unwrap();
        }
        let bytes = fs::read(&one).unwrap();
        assert!(bytes == fs::read(&two).unwrap(), "{format} {options}: other bytes the second time");
        assert!(!files.contains(&bytes), "{format} {options}: the options change nothing");
        files.push(bytes);
        let found = if format == Format::Squashfs { unpacked(&one) } else { mounted(&one) };
        let first = first.get_or_insert_with(|| unpacked(&one));
        assert_eq!(first.differences(&found), Vec::<String>::new(), "{format} {options}");
        fs::remove_file(&one).and_then(|()| fs::remove_file(&two)).unwrap();
    }
}

#[test]
fn a_compressor_that_the_tool_lacks_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let image = Image::small("{}");
    let image = pulled(&Layout::of(&scratch.path().join("layout"), &[image]), scratch.path());
    let error = packed(&image, Format::Squashfs, &scratch.path().join("x"), &["-comp", "brotli"]).unwrap_err();
    assert!(error.message.contains("brotli") && error.message.contains("not supported"), "{error}");
    assert!(error.hint.as_ref().unwrap().contains("squashfs-tools"), "{error:?}");
    if has_erofs() {
        let error = packed(&image, Format::Erofs, &scratch.path().join("x"), &["-zbrotli"]).unwrap_err();
        assert!(error.message.contains("brotli"), "{error}");
    }
}
