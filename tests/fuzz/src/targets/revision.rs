//! What a revision consists of: states, manifests, container configurations, reports, signatures.
//!
//! Lengths are limited by the readers themselves, so no target cuts its input.

use std::time::Duration;

use formats::bsp_json::Bsp;
use formats::ceiling::Ceiling;
use formats::device_json::Device;
use formats::glob::{Dialect, Pattern};
use formats::json::{self, Limits};
use formats::leases::{Claim, Leases, Why};
use formats::lxc::rights::confined;
use formats::lxc::{self, Config, Item, wire};
use formats::network::{Pool, Reach, Subnet, Subnet6};
use formats::path::{self, ContainerName};
use formats::progress::Report;
use formats::readiness;
use formats::resolve::resolve;
use formats::run_json::Manifest;
use formats::services_json;
use formats::signature::Signature;
use formats::state::Revision;
use formats::trust::Trust;
use formats::verify::{Cover, Mode, Policy, Untrusted, verify};

/// The authority of the golden states.
const AUTHORITY: &[u8] = include_bytes!("../../../formats/golden/states/keys/ca.crt.pem");

/// A moment at which its certificates are valid.
const NOW: Duration = Duration::from_secs(2_840_140_800);

pub(crate) fn json(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes, Limits::STATE) else { return };
    let tree = value.to_json();
    for text in [tree.canonical(), tree.compact(), tree.pretty()] {
        // Indenting makes a text longer, so a text that was just short enough may not be any more.
        if text.len() <= Limits::STATE.bytes {
            let again = json::parse(text.as_bytes(), Limits::STATE).map(|value| value.to_json().canonical());
            assert_eq!(again, Ok(tree.canonical()));
        }
    }
}

pub(crate) fn state(bytes: &[u8]) {
    let Ok(revision) = Revision::parse(bytes) else { return };
    assert_eq!(revision.text().as_bytes(), bytes);
    for entry in revision.entries() {
        assert_eq!(path::key(entry.key), Ok(()));
        assert_eq!(revision.get(entry.key), Some(entry));
    }
    if let Ok(resolved) = resolve(&revision) {
        assert_eq!(resolved.containers.len(), revision.containers().len());
        assert!(resolved.containers.iter().all(|container| container.group < resolved.device.groups.len()));
    }
    let _ = Bsp::of(&revision, &mut Vec::new());
}

pub(crate) fn strict(bytes: &[u8]) {
    let Ok(revision) = Revision::parse(bytes) else { return };
    let mut trust = Trust::new();
    assert_eq!(trust.add_certificates(AUTHORITY), Ok(1));
    let policy = Policy { mode: Mode::Strict, boot_chain_checks_fit: false };
    let Ok(verified) = verify(Untrusted::new(revision), policy, &trust.at(NOW)) else { return };
    for (entry, cover) in verified.entries().zip(&verified.coverage().rows) {
        let exempt = entry.key.starts_with("_sigs/") || entry.key.ends_with("/src.json");
        assert!(exempt || matches!(cover, Cover::Protected { .. }), "{}", entry.key);
    }
}

pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(name) = ContainerName::parse("web") else { return };
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(manifest) = Manifest::parse(&name, text, &mut Vec::new()) {
        let files = manifest.config.iter().chain(manifest.images().map(|volume| &volume.file)).chain(&manifest.exports);
        files.for_each(|file| assert_eq!(path::relative(file), Ok(())));
        manifest.storage.iter().for_each(|storage| assert_eq!(path::component(&storage.name), Ok(())));
        if let Some(asks) = &manifest.readiness {
            assert!(asks.exec.first().is_some_and(|program| !program.is_empty()));
            assert!(asks.exec.len() <= readiness::WORDS_MAX && !asks.exec.iter().any(|word| word.contains('\0')));
            assert!(asks.exec.iter().map(String::len).sum::<usize>() <= readiness::BYTES_MAX);
            let times = [asks.interval, asks.timeout, asks.start_interval];
            assert!(times.into_iter().all(|time| (1..=readiness::TIME_MAX).contains(&time)));
            assert!(asks.start_period <= readiness::TIME_MAX && (1..=readiness::RETRIES_MAX).contains(&asks.retries));
        }
    }
}

/// The bytes are a `device.json`.
pub(crate) fn pools(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let state = format!(r##"{{"#spec":"pantavisor-service-system@1","device.json":{text}}}"##);
    let Ok(revision) = Revision::parse(state.as_bytes()) else { return };
    let Ok(device) = Device::of(&revision, &mut Vec::new()) else { return };
    for (at, pool) in device.pools.iter().enumerate() {
        assert!(device.pools[..at].iter().all(|other| other.name != pool.name && !other.subnet.overlaps(pool.subnet)));
        assert!(pool.gateway.is_none_or(|gateway| pool.subnet.has_host(gateway)));
        if let Some(six) = pool.subnet6 {
            assert!(device.pools[..at].iter().all(|other| other.subnet6.is_none_or(|other| !other.overlaps(six))));
            assert_eq!(Subnet6::new(six.host([0; 4].into()), six.prefix()), Some(six));
        }
    }
    let names = ["a", "b", "c", "d", "e"];
    let claims: Vec<_> = device
        .pools
        .iter()
        .flat_map(|pool| names.iter().map(|container| Claim { pool: &pool.name, container, fixed: None }))
        .collect();
    match Leases::default().settle(&device.pools, &claims) {
        Ok(settled) => is_distinct(&settled),
        Err(refused) => assert_eq!(refused.why, Why::Full),
    }
}

pub(crate) fn leases(bytes: &[u8]) {
    let Ok(leases) = Leases::parse(bytes) else { return };
    assert_eq!(leases.to_text().as_bytes(), bytes);
    let pool = Pool {
        name: "n".into(),
        reach: Reach::Bridge("br0".into()),
        subnet: Subnet::new([10, 0, 3, 0].into(), 24).expect("it is one"),
        subnet6: None,
        gateway: Some([10, 0, 3, 1].into()),
        nat: true,
    };
    let claims = ["a", "b"].map(|container| Claim { pool: "n", container, fixed: None });
    let settled = leases.settle(&[pool], &claims).expect("there is room");
    let had = |name| leases.get("n", name).filter(|address| (2..=254).contains(&address.octets()[3]));
    if let (Some(a), Some(b)) = (settled.get("n", "a"), settled.get("n", "b")) {
        assert_ne!(a, b);
        // Who asks first keeps what it had, if that is of the pool.
        let fits = |address: &std::net::Ipv4Addr| address.octets()[..3] == [10, 0, 3];
        assert!(had("a").filter(fits).is_none_or(|before| before == a));
    }
}

fn is_distinct(leases: &Leases) {
    let all: Vec<_> = leases.iter().map(|(pool, _, address)| (pool, address)).collect();
    assert!(all.iter().enumerate().all(|(at, one)| !all[..at].contains(one)));
}

pub(crate) fn lxc(bytes: &[u8]) {
    let Ok(config) = Config::parse(bytes) else { return };
    let again = config.to_text().and_then(|text| Config::parse(text.as_bytes()));
    assert!(again.is_ok_and(|again| config.items().eq(again.items())));
    match wire::network(config.items()) {
        Ok(wire::Network::Wires(wires)) => {
            assert!(wires.len() <= wire::WIRES_MAX && wires.len() == wire::origins(config.items()).len());
            for (at, one) in wires.iter().enumerate() {
                assert!(!one.name.is_empty() && wires[..at].iter().all(|other| other.name != one.name));
                assert!(one.addresses.len() <= wire::ADDRESSES_MAX && (one.up || one.ways.is_empty()));
            }
        }
        Ok(wire::Network::Shared) => assert!(wire::shares(config.items())),
        Ok(_) => assert!(!wire::shares(config.items())),
        Err(wrong) => assert!(wrong.to_string().contains(wrong.why)),
    }
}

/// A line `#file` begins the next file; they are called `0`, `1` and so on, and the first is the configuration.
pub(crate) fn lxc_files(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let files: Vec<&str> = text.split("#file\n").collect();
    let mut read = |key: &str| {
        let index: usize = key.strip_prefix("web/")?.parse().ok()?;
        files.get(index).map(|file| file.as_bytes().to_vec())
    };
    let Ok(lines) = lxc::lines("web", "0", &mut read) else { return };
    assert!(lines.len() <= lxc::LINES_MAX);
    for line in &lines {
        assert!(!matches!(line.item, Item::Include(_) | Item::Fstab(_) | Item::Reset(_)), "{}", line.item);
        assert!(read(&line.document).is_some() && line.number > 0);
    }
}

pub(crate) fn progress(bytes: &[u8]) {
    let Ok(report) = Report::parse(bytes) else { return };
    let again = Report::parse(report.to_text().as_bytes());
    assert!(again.is_ok_and(|again| again.status == report.status && again.message == report.message));
}

/// The bytes are the header, which is encoded here: mutations of base64 would hardly ever decode.
pub(crate) fn signature(bytes: &[u8]) {
    let text = format!(r##"{{"#spec":"pvs@2","protected":"{}","signature":"AAAA"}}"##, base64url(bytes));
    if let Ok(signature) = Signature::parse("_sigs/x.json", &text) {
        let Ok(revision) = Revision::parse(br##"{"#spec":"pantavisor-service-system@1","a/b.json":1}"##) else {
            return;
        };
        for dialect in [Dialect::Device, Dialect::Tool] {
            let selection = signature.select(&revision, dialect);
            assert_eq!(selection.0.len(), 2);
            assert!(signature.input(&revision, &selection).starts_with(base64url(bytes).as_bytes()));
        }
    }
}

/// A pattern, and in the next line the key.
pub(crate) fn pattern(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let (pattern, key) = text.split_once('\n').unwrap_or((text, "a/b"));
    let Ok(pattern) = Pattern::parse(pattern) else { return };
    let device = pattern.matches(key, Dialect::Device);
    let tool = pattern.matches(key, Dialect::Tool);
    // What is neither special nor different is matched by itself, in both dialects.
    if !pattern.as_str().contains(['*', '?', '[', '{', '}', '\\']) {
        assert_eq!((device, tool), (pattern.as_str() == key, pattern.as_str() == key));
    }
}

pub(crate) fn trust(bytes: &[u8]) {
    let mut trust = Trust::new();
    let found = trust.add_certificates(bytes).is_ok() | trust.add_public_keys(bytes).is_ok();
    assert_eq!(found, !trust.is_empty());
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain([&0, &0]).take(3).fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for digit in 0..=chunk.len() {
            let index = group >> (18 - 6 * digit) & 63;
            text.push(DIGITS.get(index).map_or('A', |digit| char::from(*digit)));
        }
    }
    text
}

pub(crate) fn ceiling(bytes: &[u8]) {
    let Ok(ceiling) = Ceiling::parse(bytes) else { return };
    assert_eq!(ceiling.check("web", &confined()), Ok(()));
    let more = [bytes, b"\n# nothing\n"].concat();
    // It may have been as long as it can be.
    if let Ok(again) = Ceiling::parse(&more) {
        assert_eq!(again, ceiling);
    }
}

pub(crate) fn services(bytes: &[u8]) {
    let (Ok(text), Ok(name)) = (core::str::from_utf8(bytes), ContainerName::parse("web")) else { return };
    let Ok(services) = services_json::services(&name, text) else { return };
    assert!(services.iter().all(|service| path::relative(&service.socket).is_ok()));
}
