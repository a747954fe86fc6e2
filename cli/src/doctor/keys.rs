//! Keys, certificates and tokens of the developer.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Check;
use crate::sign::certificate::Certificate;
use crate::sign::keys::{DeveloperKey, KeyFiles};

/// Who has so little time left should know.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn look(configuration: Option<&Path>, now: Duration) -> Vec<Check> {
    let Some(configuration) = configuration else {
        let advice = "set HOME, or name a directory: --config-dir";
        return vec![Check::fail("keys", "there is no directory to keep keys in", advice)];
    };
    let files = KeyFiles::of(configuration);
    let mut checks = vec![key(&files)];
    checks.extend(certificates("chain", &files.chain(), now));
    checks.extend(certificates("authorities", &files.authorities(), now));
    checks.extend(tokens(&configuration.join("tokens")));
    checks
}

fn key(files: &KeyFiles) -> Check {
    let path = files.key();
    if !path.exists() {
        return Check::ok("keys", format!("none yet; the first commit makes {}", path.display()));
    }
    if let Some(directory) = path.parent()
        && others_write(directory)
    {
        let found = format!("{} can be written by others, who can put their key in its place", directory.display());
        return Check::fail("keys", found, format!("chmod go-w {}", directory.display()));
    }
    let chain = files.chain();
    let key = match DeveloperKey::open(&path, chain.exists().then_some(chain.as_path())) {
        Ok(key) => key,
        Err(error) => return Check::of("keys", error),
    };
    match fs::read_to_string(files.public()) {
        Ok(public) if public.trim() != key.public_key().trim() => {
            let found = format!("{} is not the public half of {}", files.public().display(), path.display());
            Check::fail("keys", found, "remove it: the next commit writes it again; devices must trust the new one")
        }
        _ => Check::ok("keys", format!("{}, fingerprint {}", path.display(), key.fingerprint())),
    }
}

fn others_write(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o022 != 0)
}

/// What certificates of a file are not good for long.
fn certificates(about: &'static str, path: &Path, now: Duration) -> Vec<Check> {
    let pem = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let found = format!("cannot read {}: {error}", path.display());
            return vec![Check::fail(about, found, "check owner and mode (ls -l)")];
        }
        Ok(pem) => pem,
    };
    let all: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    let parsed: Option<Vec<Certificate>> = all.and_then(|all| all.iter().map(|der| Certificate::parse(der)).collect());
    let Some(parsed) = parsed else {
        let found = format!("{}: it holds something that is no certificate", path.display());
        return vec![Check::fail(about, found, "certificates in PEM, the signer's first; or remove the file")];
    };
    let place = path.display();
    let mut checks: Vec<Check> = parsed
        .iter()
        .filter_map(|certificate| match certificate.untimely(now) {
            Some(why) => Some(Check::fail(about, format!("{place}: {why}"), "have it issued again; or set the clock")),
            None => certificate.untimely(now + SOON).map(|_| {
                let found = format!("{place}: {certificate}, which is soon");
                Check::warn(about, found, "have it issued again before devices refuse what is signed with it")
            }),
        })
        .collect();
    if checks.is_empty()
        && let Some(first) = parsed.iter().min_by_key(|certificate| certificate.until)
    {
        checks.push(Check::ok(about, format!("{} certificates; the first to end is {first}", parsed.len())));
    }
    checks
}

fn tokens(directory: &Path) -> Vec<Check> {
    let (mut count, mut open) = (0, Vec::new());
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        count += 1;
        if entry.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            open.push(entry.path());
        }
    }
    let checks = open.iter().map(|path| {
        let path = path.display();
        Check::fail("tokens", format!("{path} can be read by others"), format!("chmod 600 {path}"))
    });
    let checks: Vec<Check> = checks.collect();
    if checks.is_empty() && count > 0 { vec![Check::ok("tokens", format!("{count} kept"))] } else { checks }
}
