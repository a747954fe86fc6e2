//! Containers of what is no image of a registry, and images that have to be signed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use base64ct::{Base64, Encoding as _};
use cli::image::digest::Digest;
use tar::EntryType;

use crate::bench::Bench;
use crate::images::{Image, Layer, Layout};
use crate::registry::{Fault, Registry};

const INIT: &str = r#"Cmd=["/sbin/init"]"#;

/// A directory with a program in it.
fn root(bench: &Bench) -> PathBuf {
    let root = bench.top().join("root");
    fs::create_dir_all(root.join("sbin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::copy("/bin/true", root.join("sbin/init")).unwrap();
    fs::set_permissions(root.join("sbin/init"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc/shadow", root.join("etc/shadow")).unwrap();
    root
}

fn listing(image: &Path) -> String {
    let listed = Command::new("unsquashfs").args(["-lln", "-d", ""]).arg(image).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

#[test]
fn a_directory_becomes_a_container_and_its_links_stay_links() {
    let bench = Bench::new();
    let root = root(&bench);
    let from = root.to_str().unwrap();
    let add = |name: &str, more: &[&str]| {
        bench.app(&[&["add", name, "--type", "rootfs", "--from", from, "--config", INIT], more].concat())
    };
    add("sys", &["--owner", "root"]);
    let list = listing(&bench.path("sys/root.squashfs"));
    assert!(list.contains("/etc/shadow -> /etc/shadow"), "{list}");
    assert!(list.lines().filter(|line| line.contains("/sbin/init")).all(|line| line.contains(" 0/0 ")), "{list}");
    let (src, bytes) = (bench.read("sys/src.json"), bench.bytes("sys/root.squashfs"));
    let digest = Digest::of(&bytes).to_string();
    let (url, made) = (format!("\"rootfs_url\": \"{from}\""), format!("\"rootfs_digest\": \"{digest}\""));
    for said in [url, made, "docker_platform".to_owned()] {
        assert!(src.contains(&said), "{said}: {src}");
    }
    assert!(!src.contains("docker_name") && !src.contains("docker_source"), "{src}");
    assert_eq!(bench.read("sys/root.squashfs.rootfs-digest"), digest);
    assert!(bench.read("sys/lxc.container.conf").contains("/sbin/init"));
    add("again", &["--owner", "root"]);
    assert!(bytes == bench.bytes("again/root.squashfs"), "the same directory is the same file");
    let info = bench.app(&["info", "sys"]).stdout;
    assert!(info.contains(from) && info.contains(&digest), "{info}");
    bench.ok(&["add", "."]);
    bench.ok(&["commit"]);
    // Files of a tar are the same, and it can be packed.
    let packed = bench.top().join("root.tar.gz");
    let owners = ["--numeric-owner", "--owner=0", "--group=0"];
    let made = Command::new("tar").args(owners).arg("-czf").arg(&packed).args(["-C", from, "."]).status().unwrap();
    assert!(made.success());
    bench.app(&["add", "tarred", "--type", "rootfs", "--from", "../root.tar.gz", "--config", INIT]);
    assert_eq!(listing(&bench.path("tarred/root.squashfs")), list);
}

#[test]
fn a_root_file_system_that_cannot_run_is_refused() {
    let bench = Bench::new();
    let root = root(&bench);
    let from = root.to_str().unwrap();
    let rootfs = ["x", "--type", "rootfs", "--from", from];
    bench.nothing(1, &[], &rootfs, &["which program the container starts", "--config"]);
    let other = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
    let platform = [&rootfs[..], &["--config", INIT, "--platform", other]].concat();
    bench.nothing(1, &[], &platform, &["its programs are for linux/", &format!("not for linux/{other}")]);
    let signed = [&rootfs[..], &["--config", INIT, "--require-signed", "../none.pem"]].concat();
    bench.nothing(1, &[], &signed, &["none.pem"]);
    bench.nothing(1, &[], &["x", "--type", "rootfs", "--from", "../none"], &["none: No such file"]);
    bench.layout("image", &[Image::small("{}")]);
    bench.nothing(1, &[], &["x", "--from", "oci:../image", "--owner", "root"], &["--owner is for --type rootfs"]);
    bench.nothing(1, &[], &["x", "--from", "oci:../image", "--source", "local"], &["--source"]);
}

/// Signs a payload with openssl and puts the signature where cosign would, for the one manifest of a layout.
fn sign(layout: &Layout, key: &Path, about: &str, payload: &str) {
    let file = layout.0.join("payload");
    fs::write(&file, payload).unwrap();
    let signed = Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(key).arg(&file).output().unwrap();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let signature = Base64::encode_string(&signed.stdout);
    let digest = Digest::of(payload.as_bytes());
    fs::write(layout.0.join("blobs/sha256").join(digest.hex()), payload).unwrap();
    let document = format!(
        r#"{{"schemaVersion":2,"layers":[{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"{digest}","size":{},"annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}]}}"#,
        payload.len()
    );
    fs::write(layout.0.join(format!("sha256-{about}.sig")), document).unwrap();
}

/// A pair of keys of openssl's.
fn keys(bench: &Bench, name: &str) -> (PathBuf, String) {
    let (private, public) = (bench.top().join(format!("{name}.key")), bench.top().join(format!("{name}.pem")));
    let mut make = Command::new("openssl");
    make.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]).arg(&private);
    assert!(make.status().unwrap().success());
    let mut show = Command::new("openssl");
    show.args(["ec", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public);
    assert!(show.output().unwrap().status.success());
    (private, public.to_str().unwrap().to_owned())
}

fn payload(digest: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"a/b"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

#[test]
fn an_image_is_taken_if_the_key_has_signed_it_and_not_otherwise() {
    let bench = Bench::new();
    let ((private, public), (other, _)) = (keys(&bench, "ours"), keys(&bench, "other"));
    let layout = bench.layout("image", &[Image::small(r#"{"Cmd":["/bin/web"]}"#)]);
    let index = fs::read(layout.0.join("index.json")).unwrap();
    let (index_digest, text) = (Digest::of(&index), String::from_utf8(index).unwrap());
    let manifest = text.split("\"digest\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let hex = manifest.strip_prefix("sha256:").unwrap().to_owned();
    let place = Layout(layout.0.clone());
    let registry = Registry::serve(layout, Fault::None);
    let from = format!("{}/a/b", registry.address);
    let args = ["web", "--from", from.as_str(), "--require-signed", public.as_str()];
    bench.nothing(1, &[], &args, &["is not signed with", "ours.pem", "404"]);
    sign(&place, &other, &hex, &payload(&manifest));
    bench.nothing(1, &[], &args, &["another key"]);
    sign(&place, &private, &hex, &payload(&format!("sha256:{}", "0".repeat(64))));
    bench.nothing(1, &[], &args, &["about another image"]);
    sign(&place, &private, &hex, &payload(&manifest));
    bench.app(&[&["add"], &args[..]].concat());
    // The name leads to an index, and from there to the image: a signature of the index is enough.
    fs::remove_file(place.0.join(format!("sha256-{hex}.sig"))).unwrap();
    bench.nothing(1, &[], &["x", "--from", &from, "--require-signed", &public], &["is not signed with"]);
    sign(&place, &private, &index_digest.hex(), &payload(&index_digest.to_string()));
    bench.app(&["add", "indexed", "--from", &from, "--require-signed", &public]);
    // What is no registry has no signatures.
    let file = ["x", "--from", "oci:../image", "--require-signed", &public];
    bench.nothing(1, &[], &file, &["in no registry"]);
    let env = [("PVR_REQUIRE_SIGNED", private.to_str().unwrap())];
    bench.nothing(1, &env, &["x", "--from", &from], &["ours.key", "no public key"]);
}

/// A daemon that has one image, for as many requests as come.
fn daemon(bench: &Bench, id: &str, archive: Vec<u8>) -> String {
    use std::io::{BufRead as _, BufReader, Write as _};
    let socket = bench.top().join("sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = format!(r#"{{"Id":"{id}","RepoTags":["web:1"]}}"#);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let body: &[u8] = match path.as_str() {
                "/images/docker.io/library/web:1/json" => answer.as_bytes(),
                path if path.ends_with("/get") => &archive,
                _ => b"",
            };
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let _ =
                stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    format!("unix://{}", socket.display())
}

#[test]
fn a_name_is_looked_for_where_it_is_said_to_be() {
    let bench = Bench::new();
    let layer = Layer::new().file("bin/web", "#!/bin/sh\n").done();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/bin/web"]}},"rootfs":{{"diff_ids":["{}"]}}}}"#,
        Digest::of(&layer)
    );
    let text = |layer: Layer, path: &str, bytes: &[u8]| {
        layer.put(EntryType::Regular, path, 0o644, (0, 0), std::str::from_utf8(bytes).unwrap())
    };
    let archive = text(Layer::new(), "c.json", config.as_bytes());
    let archive = text(archive, "manifest.json", br#"[{"Config":"c.json","RepoTags":["web:1"],"Layers":["l.tar"]}]"#);
    let id = Digest::of(config.as_bytes()).to_string();
    let host = daemon(&bench, &id, text(archive, "l.tar", &layer).done());
    // The registry is asked at a port where nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirrors = format!("docker.io=http://{free}");
    let env = [("DOCKER_HOST", host.as_str()), ("PVR_MIRRORS", mirrors.as_str())];
    let add = |name: &str, order: &str| bench.with(&env, &["app", "add", name, "--from", "web:1", "--source", order]);
    let ran = add("web", "local");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let src = bench.read("web/src.json");
    assert!(src.contains("\"docker_source\": \"local\"") && src.contains(&format!("web@{id}")), "{src}");
    let ran = add("both", "remote,local");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(bench.bytes("both/root.squashfs") == bench.bytes("web/root.squashfs"));
    assert!(bench.read("both/src.json").contains("\"docker_source\": \"remote,local\""));
    bench.nothing(4, &env, &["x", "--from", "web:1"], &[&free.to_string()]);
    let both = ["x", "--from", "none:1", "--source", "remote,local"];
    bench.nothing(4, &env, &both, &[&free.to_string(), "it answers 404"]);
    bench.nothing(1, &env, &["x", "--from", "web:1", "--source", "far"], &["\"far\""]);
    let elsewhere = [("DOCKER_HOST", "tcp://192.0.2.1:2375")];
    bench.nothing(1, &elsewhere, &["x", "--from", "web:1", "--source", "local"], &["unix:///PATH"]);
}
