//! An inventory as SPDX 2.3 in JSON.
//!
//! Objects are packages and not files: SPDX wants a SHA-1 of every file, which nothing here has or trusts.

use formats::date::date;
use formats::json::Json;
use formats::object::ObjectId;

use super::collect::{Component, Inventory, Object, Reading};
use super::license::{Quoted, UNKNOWN, expression};
use super::purl::{oci, purl};
use crate::contents::packages::{Manager, Os, Package};

/// Who wrote it.
const TOOL: &str = concat!("Tool: pvr-", env!("CARGO_PKG_VERSION"));

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const STATE: &str = "SPDXRef-State";

/// What is being put together.
struct Document {
    created: String,
    packages: Vec<Json>,
    relationships: Vec<Json>,
    quoted: Quoted,
}

/// The document. `made` is the time that it has, instead of that of the newest image.
#[must_use]
pub fn document(inventory: &Inventory, made: Option<u32>) -> Json {
    let digest = ObjectId::of(inventory.state.canonical().as_bytes()).to_string();
    let mut document = Document {
        created: date(made.unwrap_or(inventory.newest).into()),
        packages: Vec::new(),
        relationships: Vec::new(),
        quoted: Quoted::new(),
    };
    let state = package(STATE, "state of a device", &digest, "FIRMWARE").with("checksums", sha256(&digest));
    document.packages.push(state);
    document.relate(DOCUMENT, "DESCRIBES", STATE);
    for (name, component) in &inventory.components {
        document.component(name, component);
    }
    let short = digest.get(..12).unwrap_or(&digest);
    let version = env!("CARGO_PKG_VERSION");
    let quoted: Vec<Json> = document
        .quoted
        .iter()
        .map(|(name, text)| Json::object().with("licenseId", name.as_str()).with("extractedText", text.as_str()))
        .collect();
    let json = Json::object()
        .with("spdxVersion", "SPDX-2.3")
        .with("dataLicense", "CC0-1.0")
        .with("SPDXID", DOCUMENT)
        .with("name", format!("state {short}"))
        .with("documentNamespace", format!("https://spdx.org/spdxdocs/pvr-{version}-{digest}"))
        .with("creationInfo", creation(&document.created))
        .with("packages", document.packages)
        .with("relationships", document.relationships);
    if quoted.is_empty() { json } else { json.with("hasExtractedLicensingInfos", quoted) }
}

fn creation(created: &str) -> Json {
    Json::object().with("created", created).with("creators", vec![TOOL])
}

/// What every package has.
fn package(id: &str, name: &str, version: &str, purpose: &str) -> Json {
    Json::object()
        .with("SPDXID", id)
        .with("name", name)
        .with("versionInfo", version)
        .with("downloadLocation", UNKNOWN)
        .with("filesAnalyzed", false)
        .with("primaryPackagePurpose", purpose)
        .with("licenseConcluded", UNKNOWN)
        .with("licenseDeclared", UNKNOWN)
        .with("copyrightText", UNKNOWN)
}

fn sha256(digest: &str) -> Vec<Json> {
    vec![Json::object().with("algorithm", "SHA256").with("checksumValue", digest)]
}

fn refer(url: String) -> Vec<Json> {
    let purl = Json::object().with("referenceCategory", "PACKAGE-MANAGER").with("referenceType", "purl");
    vec![purl.with("referenceLocator", url)]
}

/// An identifier that says for a person what it is, and is nobody else's.
fn id(kind: &str, shown: &str, whole: &[&str]) -> String {
    let plain: String = shown.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).take(60).collect();
    let digest = ObjectId::of(whole.join("\n").as_bytes()).to_string();
    format!("SPDXRef-{kind}-{plain}-{}", digest.get(..16).unwrap_or(&digest))
}

impl Document {
    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(
            Json::object().with("spdxElementId", from).with("relationshipType", how).with("relatedSpdxElement", to),
        );
    }

    fn annotation(&self, comment: &str) -> Json {
        Json::object()
            .with("annotationDate", self.created.as_str())
            .with("annotationType", "OTHER")
            .with("annotator", TOOL)
            .with("comment", comment)
    }

    fn component(&mut self, name: &str, component: &Component) {
        // What lies at the top of the state has no component of its own.
        if name.is_empty() {
            component.objects.iter().for_each(|(path, object)| self.object(STATE, path, object));
            return;
        }
        let this = id(if component.is_container { "Container" } else { "Part" }, name, &[name]);
        let text = |member: &str| component.src.as_ref().and_then(|src| src.get(member)).and_then(Json::as_str);
        let (image, digest, tag) = (text("docker_name"), text("docker_digest"), text("docker_tag"));
        let version = tag.or(digest).unwrap_or(UNKNOWN);
        let purpose = if component.is_container { "CONTAINER" } else { "OTHER" };
        let mut json = package(&this, name, version, purpose);
        if let Some(image) = image {
            json.set("sourceInfo", format!("made of the image {}", digest.unwrap_or(image)));
        }
        if let Some(url) = image.zip(digest).and_then(|(image, digest)| oci(image, digest, tag)) {
            json.set("externalRefs", refer(url));
        }
        self.packages.push(json);
        self.relate(STATE, "CONTAINS", &this);
        component.objects.iter().for_each(|(path, object)| self.object(&this, path, object));
    }

    fn object(&mut self, parent: &str, path: &str, object: &Object) {
        let (this, digest) = (id("Object", path, &[path]), object.id.to_string());
        let remarks: Vec<Json> = object.remarks().iter().map(|(_, said)| self.annotation(said)).collect();
        self.packages.push(
            package(&this, path, &digest, "FILE")
                .with("packageFileName", path)
                .with("checksums", sha256(&digest))
                .with("annotations", remarks),
        );
        self.relate(parent, "CONTAINS", &this);
        let Reading::Image { found, .. } = &object.reading else { return };
        for database in &found.databases {
            for package in &database.packages {
                self.installed(&this, path, (database.manager, database.path), found.os.as_ref(), package);
            }
        }
    }

    fn installed(&mut self, parent: &str, path: &str, from: (Manager, &str), os: Option<&Os>, it: &Package) {
        let architecture = it.architecture.as_deref().unwrap_or_default();
        let this = id("Package", &it.name, &[path, from.1, &it.name, &it.version, architecture]);
        let declared = expression(it.license.as_deref(), &mut self.quoted);
        let mut json = package(&this, &it.name, &it.version, "LIBRARY");
        json.set("primaryPackagePurpose", "INSTALL");
        json.set("licenseDeclared", declared);
        json.set("supplier", it.maintainer.as_deref().and_then(organization).unwrap_or(UNKNOWN.into()));
        if let Some(homepage) = it.homepage.as_deref().filter(|url| is_url(url)) {
            json.set("homepage", homepage);
        }
        if let Some(source) = &it.source {
            json.set("sourceInfo", format!("built from the source package {source}"));
        }
        json.set("externalRefs", refer(purl(from.0, os, it)));
        self.packages.push(json);
        self.relate(parent, "CONTAINS", &this);
    }
}

/// `Name <address>` as SPDX writes it. Whether it is a person nobody says.
fn organization(maintainer: &str) -> Option<String> {
    let plain =
        |text: &str| !text.is_empty() && !text.contains(['(', ')', '<', '>']) && !text.contains(char::is_control);
    let (name, address) = match maintainer.split_once('<') {
        Some((name, rest)) => (name.trim(), rest.trim_end().strip_suffix('>').filter(|it| it.contains('@'))?),
        None => (maintainer.trim(), ""),
    };
    match (plain(name), plain(address)) {
        (true, true) => Some(format!("Organization: {name} ({address})")),
        (true, false) if address.is_empty() => Some(format!("Organization: {name}")),
        _ => None,
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain =
        |one: char| one.is_ascii_graphic() && !matches!(one, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    rest.is_some_and(|rest| rest.contains('.') && !rest.starts_with(['.', '/']) && rest.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maintainer_is_an_organization_or_nobody() {
        for (text, is) in [
            ("GNU Libc <glibc@example.org>", Some("Organization: GNU Libc (glibc@example.org)")),
            ("Somebody", Some("Organization: Somebody")),
            ("A (b) <c@example.org>", None),
            ("<c@example.org>", None),
            ("A <nobody>", None),
            ("", None),
        ] {
            assert_eq!(organization(text).as_deref(), is, "{text}");
        }
    }

    #[test]
    fn what_a_name_cannot_tell_apart_its_identifier_does() {
        let [first, second] = ["a+b", "a-b"].map(|name| id("Package", name, &[name]));
        assert!(first.starts_with("SPDXRef-Package-a-b-") && second.starts_with("SPDXRef-Package-a-b-"));
        assert_ne!(first, second);
    }
}
