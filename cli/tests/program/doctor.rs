//! `pvr doctor`: what would stop somebody is found before it does, and nothing is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use formats::object::ObjectId;

use crate::bench::{Bench, Ran, golden};
use crate::device::{Device, Fault};

/// The lines about one thing.
fn about<'r>(ran: &'r Ran, what: &str) -> Vec<(&'r str, &'r str)> {
    let lines = ran.stdout.lines().filter_map(|line| {
        let (level, rest) = line.split_once(' ')?;
        let (about, found) = rest.trim_start().split_once(' ')?;
        (!level.is_empty() && about == what).then_some((level, found.trim_start()))
    });
    lines.collect()
}

/// One line about it, at this level, which says all of this.
fn says(ran: &Ran, what: &str, level: &str, parts: &[&str]) {
    let lines = about(ran, what);
    let found = lines.iter().any(|(at, found)| *at == level && parts.iter().all(|part| found.contains(part)));
    assert!(found, "{what}: {level} {parts:?}: {}", ran.stdout);
}

/// A program of the host, as a script.
fn program(directory: &Path, name: &str, text: &str) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_path(bench: &Bench, args: &[&str], path: &Path) -> Ran {
    bench.command(args).env("PATH", path).output().unwrap().into()
}

#[test]
fn a_repository_that_is_well_has_no_line_that_fails_and_is_left_as_it_is() {
    let bench = Bench::with_web();
    let before = bench.books();
    let tools = bench.top().join("tools");
    program(&tools, "mksquashfs", "echo 'mksquashfs version 4.6.1 (2023/03/25)'");
    let ran = with_path(&bench, &["doctor"], &tools);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for (what, part) in [
        ("repository", "repo, version 1"),
        ("state", "6 files, and all of them signed"),
        ("pool", "2 objects; all were read (2), and are right"),
        ("leftovers", "none"),
        ("lock", "nobody else"),
        ("history", "1 entries"),
        ("rights", "can be written"),
        ("keys", "fingerprint"),
        ("mksquashfs", "4.6.1"),
        ("mkfs.erofs", "not installed"),
        ("mirrors", "none"),
        ("registries", "no logins"),
        ("remote", "none is remembered"),
    ] {
        says(&ran, what, "ok", &[part]);
    }
    assert_eq!(bench.books(), before);
    let json = bench.ok(&["doctor", "--json"]).stdout;
    assert!(json.contains(r#""about": "pool""#) && json.contains(r#""advice": null"#), "{json}");
}

#[test]
fn objects_that_are_gone_or_damaged_are_named() {
    let bench = Bench::with_web();
    let object = |bytes: &str| bench.path(".pvr/objects").join(ObjectId::of(bytes.as_bytes()).to_string());
    fs::write(object("not a real image"), "other bytes").unwrap();
    fs::remove_file(object("lxc.init.cmd = /bin/web\n")).unwrap();
    let ran = bench.refused(&["doctor"], &["2 things would stop you"]);
    says(&ran, "pool", "fail", &["1 of 2 objects are not in the pool: web/lxc.container.conf"]);
    says(&ran, "pool", "fail", &["1 objects have other bytes", "web/root.squashfs"]);
    bench.write("web/root.squashfs", "new");
    fs::remove_file(object("not a real image")).unwrap();
    bench.ok(&["commit"]);
    // One that no state of now names is read only if all are to be.
    fs::write(object("of then"), "other").unwrap();
    bench.ok(&["doctor"]);
    says(&bench.refused(&["doctor", "--deep"], &[]), "pool", "fail", &[&ObjectId::of(b"of then").to_string()]);
}

#[test]
fn what_a_broken_run_left_and_who_is_at_work_are_told() {
    let bench = Bench::with_web();
    bench.write(".pvr/new.999999999.0", "half");
    bench.write(&format!(".pvr/objects/{}.part", ObjectId::of(b"x")), "half");
    bench.write(&format!(".pvr/new.{}.0", std::process::id()), "of somebody who lives");
    let ran = bench.ok(&["doctor"]);
    says(&ran, "leftovers", "warn", &["new.999999999.0", ".part"]);
    assert!(!about(&ran, "leftovers")[0].1.contains(&std::process::id().to_string()), "{}", ran.stdout);
    let lock = fs::File::open(bench.path(".pvr/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    says(&bench.ok(&["doctor"]), "lock", "warn", &["another pvr (process "]);
}

#[test]
fn keys_that_others_read_and_certificates_that_end_are_found_before_a_device_finds_them() {
    let bench = Bench::with_web();
    let pvs = bench.top().join(".config/pvr/pvs");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&pvs.join("key.default.pem"), 0o644);
    says(&bench.refused(&["doctor"], &[]), "keys", "fail", &["can be used by others (mode 644)"]);
    mode(&pvs.join("key.default.pem"), 0o600);
    mode(&pvs, 0o777);
    says(&bench.refused(&["doctor"], &[]), "keys", "fail", &["can be written by others"]);
    mode(&pvs, 0o700);
    fs::copy(golden("keys/ca.crt.pem"), pvs.join("cacerts.default.pem")).unwrap();
    says(&bench.ok(&["doctor"]), "authorities", "ok", &["1 certificates"]);
    fs::copy(golden("keys/expired.crt.pem"), pvs.join("cacerts.default.pem")).unwrap();
    says(&bench.refused(&["doctor"], &[]), "authorities", "fail", &["expired on"]);
    fs::write(pvs.join("cacerts.default.pem"), "no certificate").unwrap();
    says(&bench.refused(&["doctor"], &[]), "authorities", "fail", &["no certificate"]);
    fs::remove_file(pvs.join("cacerts.default.pem")).unwrap();
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-new", "-sha256", "-subj", "/CN=short", "-days", "5", "-key"]);
    openssl.arg(pvs.join("key.default.pem")).arg("-out").arg(pvs.join("x5c.default.pem"));
    assert!(openssl.status().unwrap().success());
    says(&bench.ok(&["doctor"]), "chain", "warn", &["CN=short", "which is soon"]);
    fs::copy(golden("keys/es256.pub.pem"), pvs.join("pub.default.pem")).unwrap();
    says(&bench.refused(&["doctor"], &[]), "keys", "fail", &["is not the public half"]);
    let tokens = bench.top().join(".config/pvr/tokens");
    fs::create_dir(&tokens).unwrap();
    fs::write(tokens.join("t"), "x").unwrap();
    mode(&tokens.join("t"), 0o644);
    says(&bench.refused(&["doctor"], &[]), "tokens", "fail", &["can be read by others"]);
}

#[test]
fn programs_and_what_is_said_about_registries_are_looked_at() {
    let bench = Bench::with_web();
    let tools = bench.top().join("tools");
    program(&tools, "mksquashfs", "echo 'mksquashfs version 4.4-git.1 (2020/03/25)'");
    says(&with_path(&bench, &["doctor"], &tools), "mksquashfs", "warn", &["4.4-git.1", "too old"]);
    says(&with_path(&bench, &["doctor"], Path::new("/nowhere")), "mksquashfs", "warn", &["not installed"]);
    let docker = bench.top().join(".docker");
    fs::create_dir(&docker).unwrap();
    fs::write(docker.join("config.json"), r#"{"auths":{"a":{}},"credsStore":"vault"}"#).unwrap();
    says(&with_path(&bench, &["doctor"], &tools), "registries", "warn", &["docker-credential-vault", "not installed"]);
    program(&tools, "docker-credential-vault", "exit 1");
    says(&with_path(&bench, &["doctor"], &tools), "registries", "ok", &["1 logins, 1 programs"]);
    fs::write(bench.top().join(".config/pvr/mirrors.json"), "[]").unwrap();
    says(&bench.refused(&["doctor"], &["one thing would stop you"]), "mirrors", "fail", &["mirrors.json"]);
}

#[test]
fn the_remote_is_asked_unless_nobody_is_to_be() {
    let bench = Bench::with_web();
    let objects = fs::read_dir(bench.path(".pvr/objects")).unwrap();
    let device =
        Device::running(&bench.read(".pvr/json"), objects.map(|entry| fs::read(entry.unwrap().path()).unwrap()));
    bench.write("web/root.squashfs", "2");
    bench.ok(&["commit"]);
    bench.ok(&["post", &device.url()]);
    says(&bench.ok(&["doctor"]), "remote", "ok", &[&device.url(), "shows its state"]);
    device.fails("GET /cgi-bin/pvr/steps/current/state", &[Fault::Answer(401, "", "who are you".into())]);
    says(&bench.refused(&["doctor"], &["one thing would stop you"]), "remote", "fail", &["does not let us in"]);
    device.store().log.clear();
    says(&bench.ok(&["doctor", "--offline"]), "remote", "ok", &["was not asked"]);
    assert_eq!(device.store().log.len(), 0);
    device.fails("GET", &[Fault::Hangs]);
    says(&bench.refused(&["doctor", "--timeout", "1"], &[]), "remote", "fail", &["took too long"]);
}

#[test]
fn a_repository_of_a_newer_version_is_refused_by_every_command_and_told_by_the_doctor() {
    let bench = Bench::with_web();
    let config = bench.read(".pvr/config");
    bench.write(".pvr/config", config.replacen('{', "{\n\t\"FormatVersion\": 2,", 1));
    let before = bench.books();
    let part = "the repository is of version 2, and this pvr knows version 1";
    for args in [
        &["status"][..],
        &["add"],
        &["commit"],
        &["reset"],
        &["json"],
        &["diff"],
        &["sig", "ls"],
        &["history"],
        &["verify"],
        &["plan", "10.0.0.5"],
        &["get", "10.0.0.5"],
        &["post", "10.0.0.5"],
        &["export", "../x.tgz"],
        &["deploy", "../trails/0"],
        &["app", "ls"],
    ] {
        bench.refused(args, &[part, "hint: use the newer pvr"]);
    }
    let ran: Ran = bench.command(&["clone", "repo", "copy"]).current_dir(bench.top()).output().unwrap().into();
    assert!(ran.code == 1 && ran.stderr.contains(part), "{}", ran.stderr);
    says(&bench.refused(&["doctor"], &[]), "repository", "fail", &[part]);
    assert_eq!(bench.books(), before);
    let ran: Ran = bench.command(&["doctor"]).current_dir(bench.top()).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    says(&ran, "repository", "warn", &["is not in a repository"]);
}
