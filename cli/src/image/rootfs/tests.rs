//! Directories, tars and servers, and what is in the tree then.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use super::*;
use crate::http::Settings;
use crate::image::tree::{Node, PathTooLong};
use crate::watch::Unwatched;

fn client() -> Client {
    Client::new(Settings { idle: Duration::from_secs(5), ..Settings::default() }, |_| {})
}

fn read(place: &Place, owner: Owner) -> Result<Image> {
    let scratch = tempfile::tempdir().unwrap();
    super::read(place, owner, scratch.path(), Limits::DEFAULT, &client(), &Unwatched)
}

fn directory() -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    let at = |name: &str| top.path().join(name);
    fs::create_dir_all(at("etc/deep")).unwrap();
    fs::write(at("etc/conf"), "text").unwrap();
    fs::set_permissions(at("etc/conf"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::hard_link(at("etc/conf"), at("again")).unwrap();
    symlink("/etc/passwd", at("out")).unwrap();
    symlink("/", at("etc/deep/root")).unwrap();
    fs::write(at(".hidden"), "").unwrap();
    // The beginning of what this machine runs: this test.
    let mut head = vec![0; 4096];
    File::open(std::env::current_exe().unwrap()).unwrap().read_exact(&mut head).unwrap();
    fs::write(at("program"), head).unwrap();
    fs::set_permissions(at("program"), fs::Permissions::from_mode(0o755)).unwrap();
    top
}

fn tar_of(directory: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", directory).unwrap();
    builder.into_inner().unwrap()
}

/// Names with what they are.
fn names(image: &Image) -> Vec<String> {
    let mut names = Vec::new();
    image
        .tree
        .walk(|path, id, earlier| {
            let inode = image.tree.inode(id);
            let what = match (&inode.node, earlier) {
                (_, Some(earlier)) => format!("=={}", String::from_utf8_lossy(earlier)),
                (Node::Directory(_), _) => "/".to_owned(),
                (Node::File(it), _) => format!("[{}]", it.len),
                (Node::Symlink(to), _) => format!("->{}", String::from_utf8_lossy(to)),
                (node, _) => format!("{node:?}"),
            };
            names.push(format!("{}{what}", String::from_utf8_lossy(path)));
            Ok::<_, PathTooLong>(())
        })
        .unwrap();
    names
}

#[test]
fn a_directory_is_read_as_it_is_and_its_links_lead_nowhere() {
    let top = directory();
    let _listening = UnixListener::bind(top.path().join("socket")).unwrap();
    let image = read(&Place::Directory(top.path().into()), Owner::Kept).unwrap();
    assert_eq!(
        names(&image),
        [
            ".hidden[0]",
            "again[4]",
            "etc/",
            "etc/conf==again",
            "etc/deep/",
            "etc/deep/root->/",
            "out->/etc/passwd",
            "program[4096]",
        ]
    );
    let conf = image.tree.inode(image.tree.find(b"etc/conf").unwrap());
    assert_eq!((conf.attributes.mode, conf.attributes.uid), (0o4750, rustix::process::getuid().as_raw()));
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(image.config.platform.architecture, here);
}

#[test]
fn a_directory_is_the_same_however_it_is_read() {
    let top = directory();
    let digest = || read(&Place::Directory(top.path().into()), Owner::Kept).unwrap().digest;
    assert_eq!(digest(), digest());
    let before = digest();
    fs::write(top.path().join("more"), "").unwrap();
    assert_ne!(digest(), before);
}

#[test]
fn a_tar_is_the_same_however_it_is_packed() {
    let top = directory();
    let plain = tar_of(top.path());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    let kinds =
        [plain.clone(), gzip.finish().unwrap(), xz.finish().unwrap(), zstd::encode_all(plain.as_slice(), 1).unwrap()];
    let file = top.path().join("root.tar.any");
    let mut found = Vec::new();
    for bytes in kinds {
        fs::write(&file, bytes).unwrap();
        let image = read(&Place::parse(file.to_str().unwrap()).unwrap(), Owner::Root).unwrap();
        assert_eq!(image.tree.inode(image.tree.find(b"program").unwrap()).attributes.uid, 0);
        found.push((image.digest, names(&image)));
    }
    assert_eq!(found[0].0, Digest::of(&plain));
    assert!(found.windows(2).all(|two| two[0] == two[1]), "{found:?}");
}

#[test]
fn what_is_no_root_file_system_says_why() {
    let top = tempfile::tempdir().unwrap();
    let missing = top.path().join("none");
    assert!(Place::parse(missing.to_str().unwrap()).unwrap_err().message.contains("none"));
    let place = Place::Directory(top.path().into());
    assert!(read(&place, Owner::Kept).unwrap_err().message.contains("no files"));
    fs::write(top.path().join(".wh.x"), "").unwrap();
    let error = read(&place, Owner::Kept).unwrap_err();
    assert!(error.message.contains(".wh.x") && error.message.contains("marks of layers"), "{error}");
    let file = top.path().join("text");
    fs::write(&file, "x".repeat(1024)).unwrap();
    assert!(read(&Place::Archive(file), Owner::Kept).unwrap_err().message.contains("no tar archive"));
}

#[test]
fn bounds_hold_before_a_directory_is_copied() {
    let top = directory();
    let scratch = tempfile::tempdir().unwrap();
    let place = Place::Directory(top.path().into());
    for (limits, why) in [
        (Limits { bytes: 100, ..Limits::DEFAULT }, "--max-bytes"),
        (Limits { entries: 3, ..Limits::DEFAULT }, "--max-files"),
    ] {
        let error = super::read(&place, Owner::Kept, scratch.path(), limits, &client(), &Unwatched).unwrap_err();
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains(why)), "{error:?}");
    }
}

#[test]
fn an_address_that_can_be_forged_needs_a_digest() {
    let hex = "0".repeat(64);
    for (text, fine) in [
        ("https://example.com/root.tar.xz".to_owned(), true),
        ("http://127.0.0.1:8000/root.tar".to_owned(), true),
        ("http://example.com/root.tar".to_owned(), false),
        (format!("http://example.com/root.tar#sha256={hex}"), true),
        ("https://example.com/root.tar#sha256=12".to_owned(), false),
        ("https://name:secret@example.com/root.tar".to_owned(), false),
        ("ftp://example.com/root.tar".to_owned(), false),
    ] {
        assert_eq!(Place::parse(&text).is_ok(), fine, "{text}");
    }
    let place = Place::parse(&format!("https://example.com/a/root.tar.xz?x=1#sha256={hex}")).unwrap();
    assert_eq!(place.short_name().as_deref(), Some("root"));
}

/// A server that gives a file and breaks off after so many bytes of it, each time.
fn serve(file: Vec<u8>, at_a_time: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::result::Result::ok);
            let headers: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let from = headers.iter().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
            });
            let (from, len) = (from.unwrap_or(0), file.len());
            let status = if from > 0 {
                format!("206 Partial\r\nContent-Range: bytes {from}-{}/{len}", len - 1)
            } else {
                "200 OK".into()
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", len - from);
            let part = &file[from..len.min(from + at_a_time)];
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(part));
        }
    });
    format!("http://{address}/root.tar")
}

#[test]
fn a_download_goes_on_where_it_broke_and_has_the_digest_that_was_asked_for() {
    let top = directory();
    fs::remove_file(top.path().join("program")).unwrap();
    let bytes = tar_of(top.path());
    let place = |url: &str, digest| Place::Url { url: url.to_owned(), digest };
    let whole = serve(bytes.clone(), usize::MAX);
    let broken = serve(bytes.clone(), bytes.len() / 3 + 1);
    for url in [&whole, &broken] {
        let image = read(&place(url, Some(Digest::of(&bytes))), Owner::Kept).unwrap();
        assert!(image.tree.find(b"etc/conf").is_some());
    }
    let error = read(&place(&whole, Some(Digest::of(b""))), Owner::Kept).unwrap_err();
    assert!(error.message.contains("came as other bytes"), "{error}");
    let stuck = serve(bytes, 0);
    assert!(read(&place(&stuck, None), Owner::Kept).is_err());
}
