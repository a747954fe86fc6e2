//! Images out of a daemon: a real podman, with storage of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cli::image::daemon::Daemon;
use cli::image::pack::Format;
use cli::image::source::Choice;
use cli::image::{Limits, pull};
use cli::watch::Unwatched;

use crate::images::{Image, Layout};
use crate::{cases, packed, pulled, run, text};

/// A daemon, until it is dropped.
struct Podman(Child);

impl Podman {
    fn serve(scratch: &Path) -> Self {
        let socket = scratch.join("sock");
        // It goes by itself if this test cannot end it.
        let service = ["system", "service", "--time", "60"];
        let mut command = Command::new("podman");
        command.args(options(scratch)).args(service).arg(format!("unix://{}", text(&socket)));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let podman = Self(child.unwrap_or_else(|error| panic!("podman: {error}; `cargo xtask setup` installs it")));
        let begin = Instant::now();
        while !socket.exists() {
            assert!(begin.elapsed() < Duration::from_secs(60), "podman does not listen");
            sleep(Duration::from_millis(50));
        }
        podman
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Who is gone already needs no end.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Storage of its own, of the kind that works wherever files can be copied.
fn options(scratch: &Path) -> Vec<String> {
    let place = |name: &str| text(&scratch.join(name)).to_owned();
    let storage = ["--root".into(), place("storage"), "--runroot".into(), place("run")];
    [&storage[..], &["--storage-driver".into(), "vfs".into(), "--cgroup-manager".into(), "cgroupfs".into()]].concat()
}

#[test]
fn an_image_of_podman_is_the_same_file_as_that_of_its_layout() {
    let scratch = tempfile::tempdir().unwrap();
    let image = cases::hard_links_reach_across_layers();
    let more: Image = cases::attributes_stay_with_their_files();
    let image = more.layers.into_iter().fold(image, |mut image, layer| {
        image.layers.push(layer);
        image
    });
    let layout = Layout::of(&scratch.path().join("layout"), &[image]);
    let archive = scratch.path().join("image.tar");
    let from = format!("oci:{}:amd64", text(&layout.0));
    let to = format!("docker-archive:{}:localhost/web:1", text(&archive));
    run("skopeo", &["--insecure-policy", "copy", "--quiet", &from, &to]);
    let load = options(scratch.path());
    let load: Vec<&str> =
        load.iter().map(String::as_str).chain(["load", "--quiet", "--input", text(&archive)]).collect();
    run("podman", &load);

    let podman = Podman::serve(scratch.path());
    let socket = scratch.path().join("sock");
    let daemon = |name: &str| Daemon::at(&socket, name, scratch.path(), Limits::DEFAULT);
    let get = |name: &str| pull(&daemon(name), &Choice::default(), scratch.path(), Limits::DEFAULT, &Unwatched);
    let theirs = get("localhost/web:1").unwrap();
    let missing = get("localhost/none:1").unwrap_err();
    assert!(missing.message.contains("404") && missing.message.contains("localhost/none:1"), "{missing}");
    drop(podman);
    assert!(get("localhost/web:1").unwrap_err().message.contains("cannot talk to it"));

    let files = [("theirs", &theirs), ("ours", &pulled(&layout, scratch.path()))].map(|(name, image)| {
        let file = scratch.path().join(name);
        packed(image, Format::Squashfs, &file, Format::Squashfs.packed()).unwrap();
        std::fs::read(file).unwrap()
    });
    assert!(files[0] == files[1], "the same image came as other files");
}
