//! Images from registries: how they are reached, and what is said when they go wrong.

use std::fs;

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};
use crate::registry::{Fault, Registry};

const LOGIN: [(&str, &str); 2] = [("PVR_REGISTRY_USERNAME", "name"), ("PVR_REGISTRY_PASSWORD", "secret")];

/// A layer that does not get small: a registry can break it off in the middle.
fn noise() -> String {
    (0..20_000_u32).map(|number| char::from(b'a' + (number.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect()
}

fn image() -> Image {
    Image::new("{}").layer(Layer::new().file("bin/web", &noise()), Packed::Plain)
}

fn serving(bench: &Bench, fault: Fault) -> (Registry, String) {
    let registry = Registry::serve(bench.layout("image", &[image()]), fault);
    let from = format!("{}/a/b", registry.address);
    (registry, from)
}

fn works(fault: Fault, env: &[(&str, &str)]) -> Registry {
    let bench = Bench::new();
    let (registry, from) = serving(&bench, fault);
    let ran = bench.with(env, &["app", "add", "--from", &from]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    bench.app(&["add", "same", "--from", "oci:../image"]);
    let read = |name: &str| fs::read(bench.path(name).join("root.squashfs")).unwrap();
    assert!(read("b") == read("same"));
    assert!(bench.read("b/src.json").contains("\"docker_tag\": \"latest\""));
    registry
}

fn fails(fault: Fault, env: &[(&str, &str)], parts: &[&str]) -> Registry {
    let bench = Bench::new();
    let (registry, from) = serving(&bench, fault);
    bench.nothing(4, env, &["web", "--from", &from], parts);
    registry
}

#[test]
fn a_registry_that_works_is_asked_once_for_each_thing() {
    let registry = works(Fault::None, &[]);
    let asked = registry.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(asked[0], "/v2/a/b/manifests/latest");
}

#[test]
fn a_token_is_fetched_with_name_and_password() {
    let registry = works(Fault::Token, &LOGIN);
    assert_eq!(registry.asked().iter().filter(|path| path.starts_with("/token")).count(), 1);
    fails(Fault::Token, &[], &["no token for a/b", "docker login"]);
    works(Fault::Basic, &LOGIN);
    fails(Fault::Basic, &[], &["wants a name and a password", "PVR_REGISTRY_USERNAME"]);
}

#[test]
fn docker_login_is_enough() {
    let bench = Bench::new();
    let (registry, from) = serving(&bench, Fault::Token);
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"bmFtZTpzZWNyZXQ="}}}}}}"#, registry.address);
    fs::create_dir(bench.top().join(".docker")).unwrap();
    fs::write(bench.top().join(".docker/config.json"), config).unwrap();
    bench.app(&["add", "--from", &from]);
}

#[test]
fn passwords_do_not_go_where_others_can_read_them() {
    let registry = fails(Fault::Lures, &LOGIN, &["http://192.0.2.1/token", "no place with https"]);
    assert_eq!(registry.asked().len(), 1);
    let bench = Bench::new();
    let mirrors = [("PVR_MIRRORS", "docker.io=http://192.0.2.1")];
    bench.nothing(1, &mirrors, &["web", "--from", "nginx"], &["http://192.0.2.1", "this machine only"]);
}

#[test]
fn what_breaks_off_goes_on_where_it_was() {
    let registry = works(Fault::BreaksOff { ranges: true }, &[]);
    let asked = registry.asked();
    assert!(asked.iter().any(|line| line.contains("bytes=")), "{asked:?}");
    fails(Fault::Stuck, &[], &["it breaks off after 100 of", "bytes"]);
}

#[test]
fn a_registry_that_cannot_go_on_begins_again_as_long_as_more_comes() {
    let bench = Bench::new();
    // Small enough for some hundred bytes more each time to come to an end.
    let small = Image::new("{}").layer(Layer::new().file("a", &noise()[..300]), Packed::Gzip);
    let registry = Registry::serve(bench.layout("image", &[small]), Fault::BreaksOff { ranges: false });
    let from = format!("{}/a/b", registry.address);
    bench.app(&["add", "--from", &from]);
}

#[test]
fn a_busy_registry_is_asked_again() {
    let registry = works(Fault::Busy, &[]);
    assert!(registry.asked().len() >= 12);
}

#[test]
fn a_page_a_wrong_blob_and_a_missing_name_are_told_apart() {
    fails(Fault::Html, &[], &["this is no registry: it answers a web page", "sign"]);
    fails(Fault::Wrong, &[], &["came as other bytes", "another mirror"]);
    let bench = Bench::new();
    let (_registry, from) = serving(&bench, Fault::None);
    let none = format!("{from}:none");
    bench.nothing(4, &[], &["web", "--from", &none], &["a/b (manifests/none)", "404", "manifest unknown"]);
    // A digest is looked at, too.
    let digest = format!("{from}@sha256:{}", "0".repeat(64));
    bench.nothing(4, &[], &["web", "--from", &digest], &["404"]);
}

#[test]
fn a_mirror_stands_for_its_registry() {
    let bench = Bench::new();
    let (registry, _) = serving(&bench, Fault::None);
    let list = format!("docker.io=http://{}/prefix", registry.address);
    let ran = bench.with(&[("PVR_MIRRORS", &list)], &["app", "add", "--from", "nginx"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(registry.asked()[0], "/v2/prefix/library/nginx/manifests/latest");
    assert!(bench.read("nginx/src.json").contains("\"docker_name\": \"nginx\""));
    let file = bench.top().join(".config/pvr/mirrors.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!(r#"{{"ghcr.io":"http://{}"}}"#, registry.address)).unwrap();
    bench.app(&["add", "--from", "ghcr.io/team/web"]);
    assert!(registry.asked().contains(&"/v2/team/web/manifests/latest".to_owned()));
    fs::write(&file, "{").unwrap();
    bench.nothing(1, &[], &["x", "--from", "ghcr.io/team/web"], &["mirrors.json"]);
}

#[test]
fn nobody_there_is_said_with_the_name() {
    let bench = Bench::new();
    // Reserved, and given back at once: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let from = format!("{free}/a/b");
    bench.nothing(4, &[], &["web", "--from", &from], &[&free.to_string(), "is the registry running"]);
}
