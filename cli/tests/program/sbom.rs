//! What a state is made of, as a document that others read.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "what is not there fails a test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use formats::json::{Json, Limits, parse};

use crate::bench::Bench;

const APK: &str = "C:Q1p78yvTLG094tHE1+dToJGbmYzQE=\nP:busybox\nV:1.36.1-r15\nA:x86_64\nL:GPL-2.0-only\no:busybox\n\
                   m:Sören Tempel <soeren@example.org>\nU:https://busybox.net/\nF:bin\nR:busybox\na:0:0:755\n\n\
                   P:alpine-baselayout\nV:3.4.3-r2\nA:x86_64\nL:custom terms\n";

const OPKG: &str = "Package: libc6\nVersion: 2.39+git0+abc-r0\nStatus: install ok installed\nArchitecture: cortexa57\n\
                    License: GPL-2.0-only & LGPL-2.1-or-later\n";

/// One file for each package, as images without a shell have them.
const TZDATA: &str = "Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\nMaintainer: GNU Libc Maintainers \
                      <debian-glibc@lists.debian.org>\n";

impl Bench {
    /// A container whose image has these files.
    fn container(&self, name: &str, files: &[(&str, &[u8])]) {
        let root = self.top().join("roots").join(name);
        for (path, bytes) in files {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), bytes).unwrap();
        }
        if name == "alpine" {
            fs::create_dir_all(root.join("usr")).unwrap();
            fs::rename(root.join("lib"), root.join("usr/lib")).unwrap();
            symlink("usr/lib", root.join("lib")).unwrap();
        }
        self.packed(&root, &format!("{name}/root.squashfs"), &["-comp", "zstd", "-all-root"]);
        let run = format!(
            r##"{{"#spec":"service-manifest-run@1","name":"{name}","type":"lxc","config":"lxc.container.conf","group":"app"}}"##
        );
        self.write(&format!("{name}/run.json"), run);
        self.write(&format!("{name}/lxc.container.conf"), "lxc.init.cmd = /bin/init\n");
    }

    /// Containers of every package manager, one of none, and one that nobody reads.
    fn with_packages() -> Self {
        let bench = Self::new();
        let status = fs::read("/var/lib/dpkg/status").unwrap();
        bench.container(
            "debian",
            &[("var/lib/dpkg/status", &status), ("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n")],
        );
        bench.container("alpine", &[("lib/apk/db/installed", APK.as_bytes()), ("etc/os-release", b"ID=alpine\n")]);
        bench.container("yocto", &[("var/lib/opkg/status", OPKG.as_bytes())]);
        bench.container(
            "small",
            &[
                ("var/lib/dpkg/status", b""),
                ("var/lib/dpkg/status.d/tzdata", TZDATA.as_bytes()),
                ("var/lib/dpkg/status.d/tzdata.md5sums", b"0  usr/x\n"),
            ],
        );
        bench.container("plain", &[("bin/init", b"x")]);
        bench.container("redhat", &[("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3")]);
        bench.container("broken", &[("lib/apk/db/installed", b"P:a\nwhat is this\n")]);
        let src = format!(
            r##"{{"#spec":"service-manifest-src@1","docker_name":"docker.io/library/alpine","docker_tag":"3.19","docker_digest":"docker.io/library/alpine@sha256:{}"}}"##,
            "0".repeat(64)
        );
        bench.write("alpine/src.json", src);
        bench.ok(&["add"]);
        bench.ok(&["commit", "-m", "packages"]);
        bench
    }

    fn sbom(&self, args: &[&str]) -> Json {
        let said = self.ok(&[&["sbom"], args].concat()).stdout;
        parse(said.as_bytes(), Limits::STATE).unwrap().to_json()
    }
}

fn list<'a>(json: &'a Json, member: &str) -> &'a [Json] {
    let Some(Json::Array(list)) = json.get(member) else { panic!("{member}") };
    list
}

fn text<'a>(json: &'a Json, member: &str) -> &'a str {
    json.get(member).and_then(Json::as_str).unwrap_or_default()
}

fn package<'a>(document: &'a Json, name: &str) -> &'a Json {
    list(document, "packages").iter().find(|package| text(package, "name") == name).unwrap()
}

fn purl(package: &Json) -> &str {
    text(&list(package, "externalRefs")[0], "referenceLocator")
}

/// What is contained in a package, by name.
fn inside<'a>(document: &'a Json, name: &str) -> Vec<&'a str> {
    let id = text(package(document, name), "SPDXID");
    let within = list(document, "relationships")
        .iter()
        .filter(|it| text(it, "spdxElementId") == id && text(it, "relationshipType") == "CONTAINS");
    let ids: Vec<_> = within.map(|it| text(it, "relatedSpdxElement")).collect();
    let all = list(document, "packages").iter().filter(|it| ids.contains(&text(it, "SPDXID")));
    all.map(|it| text(it, "name")).collect()
}

/// The reader of SPDX that its authors publish, as `cargo xtask setup` fetches it.
fn judge(document: &Path) -> (bool, String) {
    let target = PathBuf::from(assert_cmd::cargo::cargo_bin!("pvr"));
    let packages = target.ancestors().map(|at| at.join("packages/python/spdx-tools")).find(|at| at.is_dir());
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages.expect("cargo xtask setup"));
    python.args(["-c", "import sys; from spdx_tools.spdx.clitools.pyspdxtools import main; main()", "-i"]);
    let ran = python.arg(document).output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_document_is_one_for_the_reader_of_its_authors() {
    let bench = Bench::with_packages();
    let file = bench.top().join("state.spdx.json");
    bench.ok(&["sbom", "-o", file.to_str().unwrap()]);
    let (right, said) = judge(&file);
    assert!(right, "{said}");
    // And that reader finds fault where there is one.
    let wrong = bench.top().join("wrong.spdx.json");
    fs::write(&wrong, fs::read_to_string(&file).unwrap().replacen("\"SPDXRef-State\",", "\"SPDXRef-Else\",", 1))
        .unwrap();
    let (right, said) = judge(&wrong);
    assert!(!right && said.contains("SPDXRef-State"), "{said}");
}

#[test]
fn containers_objects_and_packages_hang_together() {
    let bench = Bench::with_packages();
    let document = bench.sbom(&[]);
    let containers = inside(&document, "state of a device");
    assert_eq!(containers, ["alpine", "broken", "debian", "plain", "redhat", "small", "yocto"]);
    assert_eq!(inside(&document, "alpine"), ["alpine/lxc.container.conf", "alpine/root.squashfs"]);
    assert_eq!(inside(&document, "alpine/root.squashfs"), ["alpine-baselayout", "busybox"]);
    assert_eq!(inside(&document, "small/root.squashfs"), ["tzdata"]);
    assert_eq!(inside(&document, "yocto/root.squashfs"), ["libc6"]);
    let installed = Command::new("dpkg-query").args(["-f", "${db:Status-Status}\\n", "-W"]).output().unwrap().stdout;
    let count = String::from_utf8(installed).unwrap().lines().filter(|line| *line == "installed").count();
    assert_eq!(inside(&document, "debian/root.squashfs").len(), count);
    let id = bench.revision().get("alpine/root.squashfs").unwrap().object_id().unwrap().to_string();
    let object = package(&document, "alpine/root.squashfs");
    assert_eq!(text(&list(object, "checksums")[0], "checksumValue"), id);
    let image = format!("pkg:oci/alpine@sha256%3A{}?repository_url=docker.io/library/alpine&tag=3.19", "0".repeat(64));
    assert_eq!(purl(package(&document, "alpine")), image);
    let busybox = package(&document, "busybox");
    assert_eq!(purl(busybox), "pkg:apk/alpine/busybox@1.36.1-r15?arch=x86_64");
    assert_eq!(text(busybox, "licenseDeclared"), "GPL-2.0-only");
    assert_eq!(text(busybox, "supplier"), "Organization: Sören Tempel (soeren@example.org)");
    let other = text(package(&document, "alpine-baselayout"), "licenseDeclared");
    let quoted = &list(&document, "hasExtractedLicensingInfos")[0];
    assert_eq!((text(quoted, "licenseId"), text(quoted, "extractedText")), (other, "custom terms"));
    let adduser = package(&document, "adduser");
    assert!(
        purl(adduser).starts_with("pkg:deb/debian/adduser@") && purl(adduser).ends_with("?arch=all&distro=debian-12")
    );
    assert_eq!(text(adduser, "licenseDeclared"), "NOASSERTION");
}

#[test]
fn what_was_not_read_is_said_twice() {
    let bench = Bench::with_packages();
    let ran = bench.ok(&["sbom"]);
    let document = parse(ran.stdout.as_bytes(), Limits::STATE).unwrap().to_json();
    for (path, said) in [
        ("plain/root.squashfs", "no packages are listed: it has no database of dpkg, apk or opkg"),
        (
            "redhat/root.squashfs",
            "the packages of var/lib/rpm/rpmdb.sqlite are not listed: databases of rpm are not read here",
        ),
        ("broken/root.squashfs", "the packages of lib/apk/db/installed are not listed: line 2: it has no colon"),
    ] {
        assert!(ran.stderr.contains(&format!("warning: {path}: {said}\n")), "{}", ran.stderr);
        let annotations = list(package(&document, path), "annotations");
        assert_eq!(annotations.iter().map(|it| text(it, "comment")).collect::<Vec<_>>(), [said]);
    }
    assert_eq!(ran.stderr.lines().count(), 3, "{}", ran.stderr);
}

#[test]
fn a_difference_replaces_the_database_of_the_image_below_it() {
    let bench = Bench::new();
    bench.container("app", &[("lib/apk/db/installed", b"P:old\nV:1\n")]);
    let root = bench.top().join("difference");
    fs::create_dir_all(root.join("lib/apk/db")).unwrap();
    fs::write(root.join("lib/apk/db/installed"), "P:new\nV:2\n").unwrap();
    bench.packed(&root, "app/root.ovl.squashfs", &["-comp", "zstd"]);
    bench.ok(&["add"]);
    bench.ok(&["commit", "-m", "a difference"]);
    let document = bench.sbom(&[]);
    assert_eq!(inside(&document, "app/root.ovl.squashfs"), ["new"]);
    assert!(inside(&document, "app/root.squashfs").is_empty());
    let said = text(&list(package(&document, "app/root.squashfs"), "annotations")[0], "comment");
    assert_eq!(said, "lib/apk/db/installed is not listed: app/root.ovl.squashfs is laid over it and has another");
}

#[test]
fn equal_states_are_equal_documents_wherever_and_whenever() {
    let bench = Bench::with_packages();
    let first = bench.ok(&["sbom"]).stdout;
    let bundle = bench.top().join("all.tgz").to_str().unwrap().to_owned();
    bench.ok(&["export", &bundle]);
    let other = Bench::new();
    other.ok(&["import", &bundle]);
    assert_eq!(other.ok(&["sbom"]).stdout, first);
    assert!(first.contains("\"created\": \"2001-09-09T01:46:40Z\""));
    let asked = bench.command(&["sbom"]).env("SOURCE_DATE_EPOCH", "86400").output().unwrap();
    assert!(String::from_utf8(asked.stdout).unwrap().contains("\"created\": \"1970-01-02T00:00:00Z\""));
}

#[test]
fn one_container_may_be_asked_for_and_none_that_is_not_there() {
    let bench = Bench::with_packages();
    let document = bench.sbom(&["alpine", "yocto/"]);
    assert_eq!(inside(&document, "state of a device"), ["alpine", "yocto"]);
    bench.refused(&["sbom", "alpin"], &["nothing of the name \"alpin\"", "alpine, broken, debian"]);
    let id = bench.revision().get("yocto/root.squashfs").unwrap().object_id().unwrap();
    fs::remove_file(bench.path(&format!(".pvr/objects/{id}"))).unwrap();
    let file = bench.top().join("none.json");
    bench.refused(&["sbom", "-o", file.to_str().unwrap()], &["yocto/root.squashfs: its object", "is not in the pool"]);
    assert!(!file.exists());
}
